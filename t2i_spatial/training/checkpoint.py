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


class BrokenCheckpointError(InputError):
    """A checkpoint that cannot be read; there may be an older one."""


def save_checkpoint(
    folder: Path,
    step: int,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    average: Mapping[str, Tensor],
    extra: Mapping[str, Any],
    every: int = 1,
) -> Path:
    """Write the state after `step` steps, and drop all but the last two checkpoints.

    Of older ones only those of every `every` steps count: what an interrupt left in between goes,
    so that the folder of a resumed training ends as that of one that was not interrupted.
    """
    import safetensors.torch

    tensors: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        tensors[f"weight/{name}"] = parameter.detach()
        for key, value in optimizer.state[parameter].items():
            tensors[f"{key}/{name}"] = value
    for name, value in average.items():
        tensors[f"average/{name}"] = value
    # one entry: safetensors writes several in an order of its own, and equal states are equal files
    metadata = {"state": json.dumps({"step": step, "extra": dict(extra)})}
    content = safetensors.torch.save(
        {name: value.cpu().contiguous() for name, value in tensors.items()}, metadata
    )
    path = folder / f"step-{step:08d}.safetensors"
    with atomic_write(path) as file:
        file.write(content)
    older = [old for old in checkpoints(folder) if old != path]
    planned = [old for old in older if int(old.stem.removeprefix("step-")) % every == 0]
    for old in set(older) - set(planned[: _KEPT - 1]):
        old.unlink()
    return path


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, the newest first."""
    return sorted(folder.glob("step-*.safetensors"), reverse=True)


def load_checkpoint(
    path: Path,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    average: Mapping[str, Tensor],
) -> tuple[int, dict[str, Any]]:
    """Restore a state in place; returns its step and what `extra` held.

    Raises:
        BrokenCheckpointError: unreadable.
        InputError: of other layers.
    """
    import safetensors

    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        state = json.loads(metadata["state"])
        step, extra = int(state["step"]), dict(state["extra"])
    except (OSError, safetensors.SafetensorError, TypeError, KeyError, ValueError) as error:
        raise BrokenCheckpointError(f"checkpoint {path} cannot be read: {error}") from None
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
    return step, extra
