"""LoRA files of every trainer, read into one form: a pair of matrices per layer of the model.

Names of layers come in several schemes: those of diffusers and PEFT (`transformer.x.lora_A.weight`,
`base_model.model.x...` with an `adapter_config.json`), flat ones (`lora_unet_x_y.lora_down.weight`
with `.alpha`: kohya, ComfyUI, musubi-tuner), and those of a model's original code
(`diffusion_model.x.lora_A.weight`: ai-toolkit, diffusion-pipe, ComfyUI). Names that are those of
the loaded model, dotted or flat, are matched here; others go through diffusers' converter of the
family.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from t2i_spatial.errors import ModelLoadError, require
from t2i_spatial.generation.resolve import PEFT_SETTINGS, LoraSource, quiet_libraries

_ENDINGS = (
    (re.compile(r"(\.lora_A|\.lora_down|[._]lora\.down|\.lora_linear_layer\.down)"), "down"),
    (re.compile(r"(\.lora_B|\.lora_up|[._]lora\.up|\.lora_linear_layer\.up)"), "up"),
    (re.compile(r"(\.lora_magnitude_vector|\.dora_scale)"), "magnitude"),
)
_TAIL = r"(\.default)?(\.weight)?$"
_OTHER = {
    "lokr_": "LoKr",
    "hada_": "LoHa",
    "oft_": "OFT",
    "lora_mid": "Tucker-decomposed LoRA",
    "diff": "full weights",
}
_PARTS = {"unet": ("unet", "transformer"), "transformer": ("transformer", "unet")}
_ENCODERS = {"te": "text_encoder", "te1": "text_encoder", "te2": "text_encoder_2"}


class Layer(NamedTuple):
    """What a LoRA adds to one layer: `alpha / rank * up @ down`.

    Attributes:
        down, up: of shapes (rank, inputs, ...) and (outputs, rank, ...).
        alpha: the scale times the rank.
        magnitude: DoRA's norms of the outputs, where the file has them.
    """

    down: Any
    up: Any
    alpha: float
    magnitude: Any = None

    @property
    def rank(self) -> int:
        """Rank of the update."""
        return int(self.down.shape[0])

    @property
    def norm(self) -> float:
        """Frobenius norm of the update, from two small Gram matrices."""
        down, up = self.down.float().flatten(1), self.up.float().flatten(1)
        product = ((up.T @ up) * (down @ down.T)).sum().clamp(min=0)
        return abs(self.alpha) / self.rank * math.sqrt(float(product))


class LoraFile(NamedTuple):
    """A LoRA file by the model's own names.

    Attributes:
        scheme: how its names were spelt, and by whom.
        parts: component of the pipeline -> layer -> what is added.
    """

    scheme: str
    parts: dict[str, dict[str, Layer]]

    def __str__(self) -> str:
        ranks = sorted({layer.rank for layers in self.parts.values() for layer in layers.values()})
        where = ", ".join(
            f"{len(layers)} layers of the {part}" for part, layers in self.parts.items()
        )
        spread = f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {ranks[0]} to {ranks[-1]}"
        return f"{self.scheme}; {spread}, {where}"


def read_lora(pipe: Any, lora: LoraSource) -> LoraFile:
    """Read LoRA weights and find the layer of `pipe` for each.

    Raises:
        ModelLoadError: an unreadable file, one with values that are no numbers, half a layer, a
            layer that the pipeline lacks, or something that is not LoRA.
    """
    weights, settings = _load(lora)
    scheme = recognise(weights, settings)
    if broken := [name for name, value in weights.items() if not value.isfinite().all()]:
        raise ModelLoadError(
            f"the LoRA {lora.name!r} holds values that are not numbers, such as in {broken[0]}"
        )
    if other := [found for found in map(_other_kind, weights) if found]:
        raise ModelLoadError(f"{lora.name!r} holds {other[0]}, not LoRA; only LoRA is read")
    places = _Places(pipe)
    groups = _grouped(lora, scheme, weights)
    parts, left = _placed(places, groups, settings)
    if left:
        converted = _convert(pipe, lora, scheme, weights)
        if converted is not None:
            renamed = _grouped(lora, scheme, converted)
            again = _placed(places, renamed, settings)
            if len(again[1]) < len(left):
                groups, (parts, left) = renamed, again
    if left:
        raise _misfit(pipe, lora, scheme, groups, left, settings)
    return LoraFile(scheme, parts)


def recognise(names: Iterable[str], settings: Mapping[str, Any]) -> str:
    """The scheme of a file's names.

    >>> recognise(["lora_unet_a_b.lora_down.weight"], {}), recognise(["unet.a.lora_A.weight"], {})
    ('kohya, ComfyUI or musubi names', 'diffusers names')
    """
    names = list(names)

    def some(*starts: str) -> bool:
        return any(name.startswith(starts) for name in names)

    if "peft_type" in settings or some("base_model.model."):
        return "PEFT names"
    if some("lora_unet_", "lora_te", "lora_transformer_", "lycoris_"):
        return "kohya, ComfyUI or musubi names"
    if some("diffusion_model.", "model.diffusion_model."):
        return "ai-toolkit, diffusion-pipe or ComfyUI names"
    if some("unet.", "transformer.", "text_encoder"):
        return "diffusers names"
    return "bare names"


def _load(lora: LoraSource) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors of a file, and the settings that stand in its header or beside it."""
    safetensors = require("safetensors", "generate")
    try:
        with safetensors.safe_open(str(lora.file), framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            header = file.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise ModelLoadError(f"the LoRA {lora.name!r} cannot be read: {error}") from None
    if not weights:
        raise ModelLoadError(f"the LoRA {lora.name!r} is empty")
    beside = lora.file.with_name(PEFT_SETTINGS)
    try:
        settings = json.loads(header.get("lora_adapter_metadata", "{}"))
        if beside.is_file():
            settings = json.loads(beside.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"the settings of the LoRA {lora.name!r}: {error}") from None
    return weights, settings if isinstance(settings, dict) else {}


def _other_kind(name: str) -> str | None:
    last = name.rsplit(".", 2)[1:]
    return next(
        (kind for word, kind in _OTHER.items() if any(part.startswith(word) for part in last)), None
    )


def _grouped(
    lora: LoraSource, scheme: str, weights: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Tensors by the layer that they belong to, and by what they are."""
    groups: dict[str, dict[str, Any]] = {}
    for name, value in weights.items():
        layer, kind = _layer_and_kind(name)
        if kind is None:
            raise ModelLoadError(
                f"the LoRA {lora.name!r} ({scheme}) has a tensor that is no part of a LoRA: {name}"
            )
        groups.setdefault(layer, {})[kind] = float(value) if kind == "alpha" else value
    halves = [
        f"{name} ({'lora_B' if 'down' in group else 'lora_A'})"
        for name, group in groups.items()
        if not {"down", "up"} <= set(group)
    ]
    if halves:
        raise ModelLoadError(
            f"the LoRA {lora.name!r} ({scheme}): {len(halves)} tensors are missing in the file, "
            f"such as that of {halves[0]}"
        )
    return groups


def _layer_and_kind(name: str) -> tuple[str, str | None]:
    """The layer that a tensor belongs to, and what it is there.

    >>> _layer_and_kind("a.attn1.processor.to_q_lora.down.weight")
    ('a.attn1.to_q', 'down')
    >>> _layer_and_kind("a.to_q.lora.alpha"), _layer_and_kind("a.bias")
    (('a.to_q', 'alpha'), ('a.bias', None))
    """
    bare, alpha = name.removesuffix(".alpha"), name.endswith(".alpha")
    for pattern, kind in _ENDINGS:
        if found := re.search(pattern.pattern + _TAIL, bare):
            layer = bare[: found.start()]
            if found[1].startswith("_lora"):  # of the time when attention processors held them
                layer = re.sub(r"to_out$", "to_out.0", layer.replace(".processor.", "."))
            return layer, "alpha" if alpha else kind
    return (bare.removesuffix(".lora"), "alpha") if alpha else (name, None)


class _Places:
    """The layers of a pipeline, by all the names that files give them."""

    def __init__(self, pipe: Any) -> None:
        self.parts: dict[str, dict[str, Any]] = {}
        self.flat: dict[str, dict[str, str]] = {}
        for part, component in pipe.components.items():
            if hasattr(component, "named_modules") and not part.startswith(("vae", "safety")):
                layers = {
                    name: module
                    for name, module in component.named_modules()
                    if getattr(module, "weight", None) is not None
                }
                self.parts[part] = {
                    name.removesuffix(".base_layer"): module
                    for name, module in layers.items()
                    if ".lora_" not in name
                }
                self.flat[part] = {name.replace(".", "_"): name for name in self.parts[part]}

    def find(self, name: str) -> tuple[str, str] | None:
        """Component and layer that a name of a file means."""
        name = name.removeprefix("base_model.model.")
        for prefix in ("model.diffusion_model.", "diffusion_model."):
            if name.startswith(prefix):
                return self._in(_PARTS["transformer"], name.removeprefix(prefix))
        if found := re.match(r"lora_(unet|transformer)_(.*)", name):
            return self._in(_PARTS[found[1]], found[2])
        if found := re.match(r"lora_(te1?|te2)_(.*)", name):
            return self._in((_ENCODERS[found[1]],), found[2])
        part, _, rest = name.partition(".")
        if part in self.parts:
            return self._in((part,), rest)
        if part in ("unet", "transformer"):
            return self._in(_PARTS[part], rest)
        return self._in(_PARTS["transformer"], name)

    def _in(self, parts: Iterable[str], name: str) -> tuple[str, str] | None:
        for part in parts:
            for spelt in _spellings(name):
                layers, flat = self.parts.get(part, {}), self.flat.get(part, {})
                if spelt in layers:
                    return part, spelt
                if spelt in flat:
                    return part, flat[spelt]
        return None

    def fits(self, part: str, name: str, group: Mapping[str, Any]) -> bool:
        """Whether the tensors have the shape of the layer."""
        shape = tuple(self.parts[part][name].weight.shape)
        down, up = group["down"].shape, group["up"].shape
        return (up[0], down[0]) == (shape[0], up[1]) and tuple(down[1:2]) == shape[1:2]


def _spellings(name: str) -> Iterable[str]:
    """CLIP's encoders have lost their inner `text_model` in newer transformers."""
    yield name
    for inner, joint in (("text_model", "."), ("text_model", "_")):
        if name.startswith(inner + joint):
            yield name.removeprefix(inner + joint)
        else:
            yield f"{inner}{joint}{name}"


def _placed(
    places: _Places, groups: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any]
) -> tuple[dict[str, dict[str, Layer]], list[str]]:
    """Layers by component and name, and the names that have no place."""
    parts: dict[str, dict[str, Layer]] = {}
    left = []
    for name, group in groups.items():
        place = places.find(name)
        if place is None or not places.fits(*place, group):
            left.append(name)
        else:
            part, module = place
            parts.setdefault(part, {})[module] = _layer(group, part, module, settings)
    return parts, left


def _layer(group: Mapping[str, Any], part: str, module: str, settings: Mapping[str, Any]) -> Layer:
    rank = int(group["down"].shape[0])
    alpha = group.get("alpha")
    if alpha is None:
        alpha = _stated_alpha(rank, part, module, settings)
    magnitude = group.get("magnitude")
    return Layer(
        group["down"], group["up"], alpha, None if magnitude is None else magnitude.flatten()
    )


def _stated_alpha(rank: int, part: str, module: str, settings: Mapping[str, Any]) -> float:
    """The alpha that settings of PEFT give a layer; the rank (a scale of one) without any."""
    own = {
        key.removeprefix(f"{part}."): value
        for key, value in settings.items()
        if key.startswith(f"{part}.") or "." not in key
    }
    alpha = own.get("lora_alpha")
    for pattern, value in (own.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            alpha = value
            break
    if not isinstance(alpha, (int, float)) or isinstance(alpha, bool):
        return float(rank)
    return float(alpha) * (math.sqrt(rank) if own.get("use_rslora") else 1.0)


def _convert(
    pipe: Any, lora: LoraSource, scheme: str, weights: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The file by diffusers' names, if its class of this family knows how it is spelt."""
    if not hasattr(pipe, "lora_state_dict"):
        return None
    plain = {name.removeprefix("base_model.model."): value for name, value in weights.items()}
    options = {"return_alphas": True}
    if hasattr(pipe, "unet"):
        options["unet_config"] = pipe.unet.config
    try:
        with quiet_libraries():
            found = pipe.lora_state_dict(plain, **options)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, IndexError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
        raise ModelLoadError(
            f"{_does_not_fit(pipe, lora, scheme)}diffusers cannot convert it: {reason}"
        ) from None
    converted, alphas = found if isinstance(found, tuple) else (found, None)
    return {**converted, **(alphas or {})}


def _does_not_fit(pipe: Any, lora: LoraSource, scheme: str) -> str:
    return f"the LoRA {lora.name!r} ({scheme}) does not fit {type(pipe).__name__} of this size: "


def _misfit(
    pipe: Any,
    lora: LoraSource,
    scheme: str,
    groups: Mapping[str, Mapping[str, Any]],
    left: list[str],
    settings: Mapping[str, Any],
) -> ModelLoadError:
    norms = {name: _layer(group, "", name, settings).norm for name, group in groups.items()}
    whole = math.hypot(*norms.values())
    kept = math.hypot(*(norm for name, norm in norms.items() if name not in left))
    share = f" ({kept / whole:.0%} of its norm)" if whole else ""
    count = sum(len(group.keys() - {"alpha"}) for group in groups.values())
    lost = sum(len(groups[name].keys() - {"alpha"}) for name in left)
    return ModelLoadError(
        f"{_does_not_fit(pipe, lora, scheme)}{count - lost} of {count} tensors{share} found their "
        f"place, none for {left[0]}; was it trained for another model family?"
    )
