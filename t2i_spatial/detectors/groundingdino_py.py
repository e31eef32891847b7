"""The `groundingdino-py` package: Grounding DINO's own code, configs and checkpoints.

Spec: `groundingdino_py:CHECKPOINT` with an official `.pth` (read with `weights_only=True`) or a
`.safetensors` file. Options: `config` ("swin_t", "swin_b", or a config file, which is read and
never executed), `text_encoder` (folder or hub id of the tokenizer and config of BERT), `sha256`
of the checkpoint, `short_side`, `long_side`, `phrase_score`.

The package (0.4) needs one change with transformers 5: its wrapper around BERT calls methods
that are gone. `_text_tower` below takes its place; the names of its parts, hence of the weights,
are the same. No compiled operator is used.
"""

from __future__ import annotations

import ast
import contextlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from PIL import Image

from t2i_spatial.detectors import DETECTORS
from t2i_spatial.detectors.base import DetectorSpec
from t2i_spatial.detectors.captioned import CaptionedDetector
from t2i_spatial.detectors.grounding_dino import caption_builder
from t2i_spatial.detectors.loading import autocast, check_keys, load_part, weights_hash
from t2i_spatial.detectors.phrase_grounding import Caption
from t2i_spatial.errors import InputError, ModelLoadError, require

if TYPE_CHECKING:
    import torch

CONFIGS = {"swin_t": "GroundingDINO_SwinT_OGC.py", "swin_b": "GroundingDINO_SwinB_cfg.py"}
UNUSED = ("label_enc.weight", "bert.pooler.dense.weight", "bert.pooler.dense.bias")
"""Weights of official checkpoints that inference has no use for."""


@DETECTORS.register("groundingdino_py")
class GroundingDinoPyDetector(CaptionedDetector):
    """Grounding DINO through groundingdino-py; same boxes as the transformers port."""

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Fills in `config`, `text_encoder`, `short_side`, `long_side` and `sha256`."""
        own: dict[str, Any] = {
            "config": "swin_t",
            "text_encoder": None,
            "sha256": None,
            "short_side": 800,
            "long_side": 1333,
        }
        rest = {key: value for key, value in options.items() if key not in own}
        own |= {key: value for key, value in options.items() if key in own}
        for side in ("short_side", "long_side"):
            try:
                own[side] = int(own[side])
            except (TypeError, ValueError):
                raise InputError(f"{side} must be a whole number, got {own[side]!r}") from None
        return own | super().check_options(rest)

    def __init__(self, spec: DetectorSpec, device: str = "cpu") -> None:
        super().__init__(spec, device)
        transforms = require("groundingdino.datasets.transforms", "groundingdino")
        options = spec.options
        expected, seen = options["sha256"], spec.weights or weights_hash(spec.source)
        if seen is None:
            raise ModelLoadError(f"{spec.source} does not exist; expected a .pth or .safetensors")
        if expected and expected.lower() != seen:
            raise ModelLoadError(f"{spec.source} has sha256 {seen}, expected {expected}")
        config = read_python_config(options["config"])
        config |= {"use_checkpoint": False, "use_transformer_ckpt": False}
        if options["text_encoder"]:
            config["text_encoder_type"] = options["text_encoder"]
        self.model = _build(config).eval().requires_grad_(False)
        state = _read_state(spec.source)
        result = self.model.load_state_dict(state, strict=False)
        surplus = [key for key in result.unexpected_keys if key not in UNUSED]
        check_keys(spec.source, result.missing_keys, surplus)
        self.model.to(device)
        self.builder = caption_builder(self.model.tokenizer, config["max_text_len"], spec)
        self._transform = transforms.Compose(
            [
                transforms.RandomResize([options["short_side"]], max_size=options["long_side"]),
                transforms.ToTensor(),
                transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )
        if spec.compile:
            self.model.backbone.compile()

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """(3, h, w) float32 through the package's own transforms."""
        tensor: torch.Tensor = self._transform(image, None)[0]
        return tensor

    def run_model(
        self, pixels: torch.Tensor, captions: Sequence[Caption]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Token probabilities and relative boxes of one pass."""
        import torch

        with autocast(self.device, self.spec.dtype):
            out = self.model(pixels, captions=[caption.text for caption in captions])
            return torch.sigmoid(out["pred_logits"].float()), out["pred_boxes"]


def read_python_config(name: str) -> dict[str, Any]:
    """Constants of a Grounding DINO config file; the file is parsed, never executed.

    Raises:
        InputError: no such file, or an assignment that is no constant.
    """
    if name in CONFIGS:
        package = require("groundingdino", "groundingdino")
        path = Path(str(package.__file__)).parent / "config" / CONFIGS[name]
    else:
        path = Path(name).expanduser()
    try:
        tree = ast.parse(path.read_text("utf-8"))
        return {
            target.id: ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
    except OSError:
        known = ", ".join(CONFIGS)
        raise InputError(f"no Grounding DINO config {name!r}; a file, or one of {known}") from None
    except (SyntaxError, ValueError) as error:
        raise InputError(f"{path} is not a plain Grounding DINO config: {error}") from None


def _build(config: Mapping[str, Any]) -> Any:
    """The package's model with random weights; BERT is made from its config, not downloaded."""
    transformers = require("transformers", "detect")
    models = require("groundingdino.models", "groundingdino")
    module: Any = require("groundingdino.models.GroundingDINO.groundingdino", "groundingdino")

    def bert_from_config(name: str) -> Any:
        return transformers.BertModel(load_part(transformers.BertConfig, name, None))

    encoder = config["text_encoder_type"]
    tokenizer = load_part(transformers.AutoTokenizer, encoder, None)
    language = SimpleNamespace(
        get_tokenlizer=lambda _: tokenizer, get_pretrained_language_model=bert_from_config
    )
    before = module.BertModelWarper, module.get_tokenlizer
    module.BertModelWarper, module.get_tokenlizer = _text_tower, language
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return models.build_model(SimpleNamespace(**config))
    except (KeyError, AttributeError, AssertionError) as error:
        raise ModelLoadError(f"the Grounding DINO config does not build a model: {error}") from None
    finally:
        module.BertModelWarper, module.get_tokenlizer = before


def _text_tower(bert_model: Any) -> Any:
    """What the package's `BertModelWarper` did, without the methods transformers 5 dropped."""
    import torch

    class TextTower(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.config = bert_model.config
            self.embeddings = bert_model.embeddings
            self.encoder = bert_model.encoder

        def forward(
            self,
            input_ids: torch.Tensor,
            attention_mask: torch.Tensor,
            token_type_ids: torch.Tensor,
            position_ids: torch.Tensor,
        ) -> dict[str, torch.Tensor]:
            hidden = self.embeddings(
                input_ids=input_ids, position_ids=position_ids, token_type_ids=token_type_ids
            )
            allowed = attention_mask.bool()
            allowed = allowed[:, None] if allowed.dim() == 3 else allowed[:, None, None]
            mask = torch.zeros_like(allowed, dtype=hidden.dtype)
            mask.masked_fill_(~allowed, torch.finfo(hidden.dtype).min)
            return {"last_hidden_state": self.encoder(hidden, attention_mask=mask)[0]}

    return TextTower()


def _read_state(source: str) -> dict[str, torch.Tensor]:
    torch = require("torch", "detect")
    path = Path(source).expanduser()
    try:
        if path.suffix == ".safetensors":
            state = require("safetensors.torch", "detect").load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
            state = loaded.get("model", loaded)
    except Exception as error:  # noqa: BLE001 - whatever a foreign file can break, one error
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelLoadError(f"{source} cannot be read as plain weights: {line}") from None
    return {key.removeprefix("module."): value for key, value in state.items()}
