"""Loading checkpoints strictly: safetensors only, every weight accounted for, errors in words."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i_spatial.errors import ModelLoadError, require

if TYPE_CHECKING:
    import torch

DERIVED = ("position_ids", "relative_position_index")
"""Buffers that old checkpoints carry and that the model computes itself."""


def is_local(source: str) -> bool:
    """Whether `source` means a path and not a hub id."""
    return Path(source).expanduser().exists() or source.startswith((".", "/", "~"))


def read_config(source: str, revision: str | None = None) -> tuple[dict[str, Any], str | None]:
    """`config.json` of a local folder or hub id, and the resolved commit of the latter.

    Raises:
        ModelLoadError: not there, not readable, or the hub cannot be reached.
    """
    if is_local(source):
        path = Path(source).expanduser() / "config.json"
        try:
            return dict(json.loads(path.read_text("utf-8"))), None
        except FileNotFoundError:
            raise ModelLoadError(f"{source} has no config.json; is it a model folder?") from None
        except (OSError, ValueError) as error:
            raise ModelLoadError(f"{path} cannot be read: {error}") from None
    transformers = require("transformers", "detect")
    try:
        config, _ = transformers.PreTrainedConfig.get_config_dict(source, revision=revision)
    except (OSError, ValueError) as error:
        raise _hub_error(source, error) from None
    if not config:
        raise ModelLoadError(f"{source!r} has no config.json; is it a model id?")
    return dict(config), config.get("_commit_hash")


def load_model(
    model_class: Any, source: str, revision: str | None, device: str, dtype: str = "float32"
) -> Any:
    """A transformers model in `dtype` on `device`, in eval mode.

    Raises:
        ModelLoadError: no safetensors, or weights that are missing, unexpected or misshapen.
    """
    torch = require("torch", "detect")
    try:
        with _quiet():
            model, info = model_class.from_pretrained(
                _path(source),
                revision=revision or "main",
                use_safetensors=True,
                dtype=getattr(torch, dtype),
                output_loading_info=True,
                # reported in the same way as missing ones, below
                ignore_mismatched_sizes=True,
            )
    except (OSError, ValueError, RuntimeError) as error:
        if "safetensors" in str(error):
            raise ModelLoadError(
                f"{source!r} has no model.safetensors; pickled weights are not loaded "
                "(convert them with save_pretrained on a machine you trust)"
            ) from None
        raise _hub_error(source, error) from None
    check_keys(source, info["missing_keys"], info["unexpected_keys"], info["mismatched_keys"])
    return model.eval().requires_grad_(False).to(device)


def check_keys(
    source: str, missing: Sequence[str], unexpected: Sequence[str], mismatched: Sequence[Any] = ()
) -> None:
    """Raise `ModelLoadError` unless a checkpoint has exactly the weights of its model."""
    surplus = sorted(key for key in unexpected if not key.endswith(DERIVED))
    for what, keys in (
        ("lacks weights of its model", sorted(k for k in missing if not k.endswith(DERIVED))),
        ("has weights its model does not know", surplus),
        ("has weights of another shape", sorted(str(entry[0]) for entry in mismatched)),
    ):
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise ModelLoadError(
                f"{source!r} {what}: {', '.join(keys[:3])}{more}; "
                "boxes of such a model would be wrong, so it is not used"
            )


def load_part(part_class: Any, source: str, revision: str | None, **options: Any) -> Any:
    """A processor or tokenizer; errors in words as for `load_model`."""
    try:
        return part_class.from_pretrained(_path(source), revision=revision or "main", **options)
    except (OSError, ValueError) as error:
        raise _hub_error(source, error) from None


def weights_hash(source: str) -> str | None:
    """sha256 over the weight files of a local folder or file; `None` for a hub id."""
    path = Path(source).expanduser()
    if not path.exists():
        return None
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest() if files else None


@contextlib.contextmanager
def autocast(device: str, dtype: str) -> Iterator[None]:
    """Inference mode, with matrix products in `dtype` when it is not float32."""
    torch = require("torch", "detect")
    kind = device.split(":")[0]
    with (
        torch.inference_mode(),
        torch.autocast(kind, dtype=getattr(torch, dtype), enabled=dtype != "float32"),
    ):
        yield


def to_device(tensors: Sequence[torch.Tensor], device: str) -> torch.Tensor:
    """Tensors of one shape stacked on `device`, through pinned memory when that is a GPU."""
    torch = require("torch", "detect")
    if not device.startswith("cuda"):
        return torch.stack(list(tensors)).to(device)
    first = tensors[0]
    stage = torch.empty((len(tensors), *first.shape), dtype=first.dtype, pin_memory=True)
    torch.stack(list(tensors), out=stage)
    return stage.to(device, non_blocking=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No loading bars and reports: what they would warn of is an error here."""
    logging = require("transformers", "detect").utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _path(source: str) -> str:
    return str(Path(source).expanduser()) if is_local(source) else source


def _hub_error(source: str, error: BaseException) -> ModelLoadError:
    lines = str(error).strip().splitlines()
    line = lines[0] if lines else type(error).__name__
    if is_local(source):
        return ModelLoadError(f"{source} cannot be loaded: {line}")
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")
    state = (
        "HF_HUB_OFFLINE is set, so only the local cache is used"
        if offline
        else ("without a network set HF_HUB_OFFLINE=1 to use the local cache")
    )
    return ModelLoadError(
        f"{source!r} cannot be loaded: {line} ({state}; or give the path of a folder with "
        "config.json and model.safetensors)"
    )
