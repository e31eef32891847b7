"""Training state on disk, as safetensors: weights, optimiser moments, moving average."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from t2i_spatial.errors import InputError
from t2i_spatial.files import atomic_write

_KEPT = 2


def save_checkpoint(
    folder: Path,
    step: int,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    average: Mapping[str, Tensor],
    extra: Mapping[str, Any],
) -> Path:
    """Write the state after `step` steps, and drop all but the last two checkpoints."""
    import safetensors.torch

    tensors: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        tensors[f"weight/{name}"] = parameter.detach()
        for key, value in optimizer.state[parameter].items():
            tensors[f"{key}/{name}"] = value
    for name, value in average.items():
        tensors[f"average/{name}"] = value
    metadata = {"step": str(step), "extra": json.dumps(dict(extra))}
    content = safetensors.torch.save(
        {name: value.cpu().contiguous() for name, value in tensors.items()}, metadata
    )
    path = folder / f"step-{step:08d}.safetensors"
    with atomic_write(path) as file:
        file.write(content)
    for old in sorted(folder.glob("step-*.safetensors"))[:-_KEPT]:
        old.unlink()
    return path


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a folder, if there is one."""
    return max(folder.glob("step-*.safetensors"), default=None)


def load_checkpoint(
    path: Path,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    average: Mapping[str, Tensor],
) -> tuple[int, dict[str, Any]]:
    """Restore a state in place; returns its step and what `extra` held.

    Raises:
        InputError: unreadable, or of other layers.
    """
    import safetensors

    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"checkpoint {path} cannot be read: {error}") from None
    if {f"weight/{name}" for name in parameters} - set(tensors):
        raise InputError(f"checkpoint {path} is of other LoRA layers")
    for name, parameter in parameters.items():
        parameter.data.copy_(tensors[f"weight/{name}"])
        state = {
            key: tensors[f"{key}/{name}"]
            for key in ("step", "exp_avg", "exp_avg_sq")
            if f"{key}/{name}" in tensors
        }
        optimizer.state[parameter] = {
            key: value if key == "step" else value.to(parameter.device)
            for key, value in state.items()
        }
    for name, value in average.items():
        value.copy_(tensors[f"average/{name}"])
    return int(metadata["step"]), json.loads(metadata["extra"])
