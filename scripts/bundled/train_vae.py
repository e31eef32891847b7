"""Train the autoencoder on scenes rendered on the fly: 64 x 64 RGB to 16 x 16 x 8 latents.

The first part of the time goes to 32-px crops around objects (four times cheaper, and where the
detail is), the rest to whole scenes. Latent channels are pushed to mean 0 and variance 1 and get a
little noise, so that the denoiser's small errors stay small. Quality is PSNR on fresh scenes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from common import (
    SIDE,
    Averaged,
    Clock,
    load_checkpoint,
    log,
    pick_device,
    save_checkpoint,
    scene_batch,
    set_rate,
)
from diffusers import AutoencoderKL

CHANNELS = (24, 48, 96)
LATENT_CHANNELS = 8


def build_vae() -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        block_out_channels=CHANNELS,
        down_block_types=("DownEncoderBlock2D",) * len(CHANNELS),
        up_block_types=("UpDecoderBlock2D",) * len(CHANNELS),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=SIDE,
        scaling_factor=1.0,
    )


def psnr(first: torch.Tensor, second: torch.Tensor) -> float:
    """Mean over images of PSNR in dB; inputs (n, 3, h, w) in [-1, 1]."""
    error = ((first - second) / 2).pow(2).mean(dim=(1, 2, 3)).clamp(min=1e-10)
    return float((-10 * error.log10()).mean())


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, images: torch.Tensor) -> torch.Tensor:
    """Encode and decode as the pipeline does, clamped to [-1, 1]."""
    return vae.decode(vae.encode(images).latent_dist.mode()).sample.clamp(-1, 1)


def crop(images: torch.Tensor, boxes: list[np.ndarray], rng: np.random.Generator, side: int):
    """Cut a (side x side) window near a random object out of each image."""
    parts = []
    for image, found in zip(images, boxes, strict=True):
        x0, y0, x1, y1 = found[rng.integers(len(found))]
        centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2]) + rng.uniform(-8, 8, 2)
        left, top = np.clip(centre - side / 2, 0, SIDE - side).astype(int)
        parts.append(image[:, top : top + side, left : left + side])
    return torch.stack(parts)


def loss_of(vae: AutoencoderKL, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    latents = vae.encode(images).latent_dist.mode().float()
    mean, variance = latents.mean(dim=(0, 2, 3)), latents.var(dim=(0, 2, 3))
    regular = mean.pow(2).mean() + (variance - 1).pow(2).mean()
    output = vae.decode(latents + 0.07 * torch.randn_like(latents)).sample.float()
    error = output - images
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.pow(2).mean() + 0.1 * error.abs().mean() + 0.05 * edges + 1e-3 * regular, error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    device = pick_device(arguments.device, arguments.threads)
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    fresh, _, _ = scene_batch(np.random.default_rng(10_000), 128)
    fresh = fresh.to(device)

    vae = build_vae().to(device, memory_format=torch.channels_last)
    average = Averaged(vae)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=1e-4)
    step, seconds, path = 0, 0.0, arguments.out / "vae.pt"
    if saved := load_checkpoint(path):
        vae.load_state_dict(saved["model"])
        average.model.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        step, seconds, average.updates = saved["step"], saved["seconds"], saved["step"]
        rng = np.random.default_rng(arguments.seed + step)
    clock = Clock(arguments.minutes, seconds)
    while clock.progress < 1:
        set_rate(optimizer, clock.rate(step, 2e-3, decay_from=0.4))
        whole = clock.progress > 0.55
        images, boxes, _ = scene_batch(rng, arguments.batch)
        if not whole:
            images = crop(images, boxes, rng, 32)
        images = images.to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss, _error = loss_of(vae, images)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update(vae)
        step += 1
        if step % 200 == 0 or clock.progress >= 1:
            quality = psnr(reconstruct(average.model, fresh), fresh)
            rate = step * arguments.batch / clock.seconds
            log(f"vae step {step} loss {loss.item():.5f} psnr {quality:.2f} dB, {rate:.0f} img/s")
            save_checkpoint(
                path,
                model=vae.state_dict(),
                average=average.model.state_dict(),
                optimizer=optimizer.state_dict(),
                step=step,
                seconds=clock.seconds,
            )


if __name__ == "__main__":
    main()
