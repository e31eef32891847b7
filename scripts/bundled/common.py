"""What the training scripts share: devices, batches of scenes, averaged weights, checkpoints."""

from __future__ import annotations

import copy
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from t2i_spatial.bundled.scenes import Scene, render, sample_scene

SIDE = 64
BUNDLED = Path(__file__).parents[2] / "t2i_spatial" / "bundled"


def pick_device(name: str, threads: int) -> torch.device:
    """Return the device and set thread count and matmul precision."""
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def scene_batch(
    rng: np.random.Generator, count: int
) -> tuple[torch.Tensor, list[np.ndarray], list[Scene]]:
    """Render fresh scenes: images (count, 3, SIDE, SIDE) in [-1, 1], their boxes and scenes."""
    scenes = [sample_scene(rng) for _ in range(count)]
    drawn = [render(scene, SIDE) for scene in scenes]
    images = to_tensor(np.stack([image for image, _ in drawn]))
    return images, [boxes for _, boxes in drawn], scenes


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """Turn (n, h, w, 3) uint8 into (n, 3, h, w) float32 in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


class Averaged:
    """Exponential moving average of a model's weights, with a warm-up of the decay."""

    def __init__(self, model: nn.Module, decay: float = 0.998) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.updates += 1
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        average = list(self.model.parameters())
        current = [p.detach() for p in model.parameters()]
        torch._foreach_lerp_(average, current, weight)


class Clock:
    """Learning-rate schedule and stop condition by time or steps, and a log line on stderr."""

    def __init__(self, minutes: float, done_seconds: float = 0.0, warmup: int = 150) -> None:
        self.limit = minutes * 60
        self.started = time.monotonic() - done_seconds
        self.warmup = warmup

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def progress(self) -> float:
        return min(1.0, self.seconds / self.limit)

    def rate(self, step: int, peak: float, decay_from: float = 0.5, floor: float = 0.03) -> float:
        """Warm-up, plateau, then cosine to `floor * peak` over the last part of the time."""
        tail = max(0.0, (self.progress - decay_from) / (1 - decay_from))
        cosine = floor + (1 - floor) * 0.5 * (1 + float(np.cos(np.pi * tail)))
        return peak * min(1.0, (step + 1) / self.warmup) * cosine


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)


def save_checkpoint(path: Path, **state: object) -> None:
    """Write a checkpoint so that an interruption leaves either the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def load_checkpoint(path: Path) -> dict | None:
    """Return a checkpoint written by `save_checkpoint`, or None if there is none."""
    if not path.exists():
        return None
    return torch.load(path, map_location="cpu", weights_only=True)


def log(message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)
