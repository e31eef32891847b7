"""Picture damage that keeps boxes valid, so that the detector reads more than clean renderings."""

from __future__ import annotations

import io

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image


def jpeg(image: torch.Tensor, quality: int) -> torch.Tensor:
    """Compress one (3, h, w) image in [-1, 1] and read it back."""
    pixels = ((image + 1) * 127.5).clamp(0, 255).byte().permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    back = np.asarray(Image.open(buffer), np.float32)
    return torch.from_numpy(back / 127.5 - 1).permute(2, 0, 1)


def augment(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Jitter colours of all images; blur, shrink-and-grow, add noise to or compress some.

    Takes and returns (n, 3, h, w) float in [-1, 1]. Nothing moves or is mirrored.
    """
    count, _, side, _ = images.shape
    gain = torch.from_numpy(rng.uniform(0.85, 1.15, (count, 3, 1, 1))).float()
    shift = torch.from_numpy(rng.uniform(-0.12, 0.12, (count, 1, 1, 1))).float()
    images = images * gain + shift
    draw = rng.random(count)
    soft = np.flatnonzero(draw < 0.15)
    if len(soft):
        padded = F.pad(images[soft], (1, 1, 1, 1), mode="replicate")
        images[soft] = 0.5 * images[soft] + 0.5 * F.avg_pool2d(padded, 3, 1)
    small = np.flatnonzero((draw >= 0.15) & (draw < 0.28))
    if len(small):
        size = int(rng.integers(side // 2, side))
        shrunk = F.interpolate(images[small], size=size, mode="bilinear", antialias=True)
        images[small] = F.interpolate(shrunk, size=side, mode="bilinear")
    noisy = np.flatnonzero((draw >= 0.28) & (draw < 0.5))
    if len(noisy):
        strength = torch.from_numpy(rng.uniform(0.01, 0.15, (len(noisy), 1, 1, 1))).float()
        images[noisy] += strength * torch.randn_like(images[noisy])
    for index in np.flatnonzero((draw >= 0.5) & (draw < 0.58)):
        images[index] = jpeg(images[index], int(rng.integers(40, 90)))
    return images.clamp(-1, 1)
