"""Encode a bank of scenes once: latents for the denoiser, reconstructions for the detector.

Also folds the latents' mean and standard deviation into the autoencoder's quantisation
convolutions, so that its latents are standard and `scaling_factor` is 1.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from common import load_checkpoint, log, pick_device, scene_batch
from diffusers import AutoencoderKL
from train_vae import LATENT_CHANNELS, build_vae, psnr, reconstruct

from t2i_spatial.bundled.scenes import NOUNS


@torch.no_grad()
def standardise(vae: AutoencoderKL, images: torch.Tensor) -> None:
    """Make the latents of `images` have mean 0 and variance 1 per channel."""
    latents = vae.encode(images).latent_dist.mode()
    mean = latents.mean(dim=(0, 2, 3))
    deviation = latents.std(dim=(0, 2, 3))
    encode, decode = vae.quant_conv, vae.post_quant_conv
    encode.weight[:LATENT_CHANNELS] /= deviation[:, None, None, None]
    encode.bias[:LATENT_CHANNELS] = (encode.bias[:LATENT_CHANNELS] - mean) / deviation
    encode.weight[LATENT_CHANNELS:] = 0  # the variance half is not trained: say "certain"
    encode.bias[LATENT_CHANNELS:] = -12
    decode.bias += torch.einsum("oi,i->o", decode.weight[:, :, 0, 0], mean)
    decode.weight *= deviation[None, :, None, None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=40_000)
    parser.add_argument("--reconstructions", type=int, default=8_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=3)
    arguments = parser.parse_args()
    device = pick_device(arguments.device, arguments.threads)
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    vae = build_vae()
    saved = load_checkpoint(arguments.out / "vae.pt")
    if saved is None:
        raise SystemExit(f"no vae.pt in {arguments.out}: run train_vae.py first")
    vae.load_state_dict(saved["average"])
    vae.eval().to(device)
    standardise(vae, scene_batch(np.random.default_rng(30_000), 256)[0].to(device))
    vae.half().save_pretrained(arguments.out / "vae")
    vae.float()
    fresh = scene_batch(np.random.default_rng(10_000), 256)[0].to(device)
    log(f"autoencoder: {psnr(reconstruct(vae, fresh), fresh):.2f} dB on 256 fresh scenes")

    vae = vae.to(memory_format=torch.channels_last)
    latents = np.empty((arguments.scenes, LATENT_CHANNELS, 16, 16), np.float16)
    described, pictures, kept = [], [], {"boxes": [], "nouns": [], "counts": []}
    batch = 100
    for start in range(0, arguments.scenes, batch):
        images, boxes, scenes = scene_batch(rng, batch)
        images = images.to(device, memory_format=torch.channels_last)
        with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16):
            encoded = vae.encode(images).latent_dist.mode().float()
            latents[start : start + batch] = encoded.cpu().numpy()
            if start < arguments.reconstructions:
                noise = 0.25 * torch.rand(batch, 1, 1, 1, device=device)
                decoded = vae.decode(encoded + noise * torch.randn_like(encoded)).sample
                pixels = ((decoded.float().clamp(-1, 1) + 1) * 127.5).round().byte()
                pictures.append(pixels.permute(0, 2, 3, 1).cpu().numpy())
                for found, scene in zip(boxes, scenes, strict=True):
                    pad = 4 - len(found)
                    nouns = [NOUNS.index(item.noun) for item in scene.objects]
                    kept["boxes"].append(np.pad(found, ((0, pad), (0, 0))))
                    kept["nouns"].append(nouns + [0] * pad)
                    kept["counts"].append(len(nouns))
        for scene in scenes:
            items = [(item.noun, item.colour) for item in scene.objects]
            described.append({"objects": items, "relation": scene.relation})
        if start % 4000 == 0:
            log(f"bank {start}/{arguments.scenes}")
        if pictures and start + batch == arguments.reconstructions:
            columns = {name: np.array(values) for name, values in kept.items()}
            partial = arguments.out / "bank.partial.npz"
            np.savez(partial, images=np.concatenate(pictures), **columns)
            partial.rename(arguments.out / "bank.npz")
    np.save(arguments.out / "latents.npy", latents)
    (arguments.out / "scenes.json").write_text(json.dumps(described))
    log(f"latents: mean {latents[:2000].mean():.3f}, deviation {latents[:2000].std():.3f}")


if __name__ == "__main__":
    main()
