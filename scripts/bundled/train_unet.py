"""Train the denoiser by flow matching on a bank of encoded scenes and captions.

Captions are sampled anew at every step. In the first part of the time their relation words are
right (probability `--clean-accuracy`), so that the layout is learnt fast; then they are right only
with `--accuracy`, as in web captions, and the denoiser unlearns to trust them: that is the room
for improvement that LoRA on curated data fills.

Objective: x_t = (1 - s) x + s e, timestep 1000 s, target e - x, s = sigmoid(N(m, 1.2)) with m 0.8
while the layout is learnt and lower afterwards, when detail is what is missing. The shipped
scheduler says so (`prediction_type="flow_prediction"`, `use_flow_sigmas=True`).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from common import Averaged, Clock, load_checkpoint, log, pick_device, save_checkpoint, set_rate
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from train_text import TEXT_LENGTH, WIDTH, vary
from train_vae import LATENT_CHANNELS
from transformers import CLIPTextModel, CLIPTokenizer

from t2i_spatial.bundled.scene_captions import describe
from t2i_spatial.bundled.scenes import Scene, SceneObject

CHANNELS = (64, 128)


def build_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=CHANNELS,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * len(CHANNELS),
        up_block_types=("CrossAttnUpBlock2D",) * len(CHANNELS),
        cross_attention_dim=WIDTH,
        attention_head_dim=tuple(channels // 32 for channels in CHANNELS),  # number of heads
        norm_num_groups=16,
    )


class PlainAttention:
    """Attention by explicit matrix products: on CPUs the bf16 fused backward is several times
    slower. Same weights and result as the stock processor."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query = attn.to_q(hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        key = attn.to_k(source).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        value = attn.to_v(source).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        weights = (query @ key.transpose(-1, -2) * attn.scale).softmax(-1).to(value.dtype)
        return attn.to_out[0]((weights @ value).transpose(1, 2).flatten(2))


def load_scenes(path: Path) -> list[Scene]:
    """Read what the captions need of the bank's scenes (places are not kept)."""
    return [
        Scene(
            tuple(
                SceneObject(noun, 0.5, 0.5, 0.4, colour=colour) for noun, colour in row["objects"]
            ),
            relation=row["relation"],
        )
        for row in json.loads(path.read_text())
    ]


def noised(latents: torch.Tensor, sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return x_t and the velocity target for noise levels `sigma` (n,)."""
    noise = torch.randn_like(latents)
    level = sigma[:, None, None, None]
    return (1 - level) * latents + level * noise, noise - latents


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--accuracy", type=float, default=0.33)
    parser.add_argument("--clean-accuracy", type=float, default=0.85)
    parser.add_argument("--clean-part", type=float, default=0.5, help="share of the time")
    parser.add_argument("--late-noise", type=float, default=0.1, help="noise mean afterwards")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1.2e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--seed", type=int, default=4)
    arguments = parser.parse_args()
    device = pick_device(arguments.device, arguments.threads)
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    tokenizer = CLIPTokenizer.from_pretrained(arguments.out / "tokenizer")
    tower = CLIPTextModel.from_pretrained(arguments.out / "text_encoder").eval().to(device)
    latents = torch.from_numpy(np.load(arguments.out / "latents.npy"))
    scenes = load_scenes(arguments.out / "scenes.json")
    held_out = 512

    unet = build_unet().to(device, memory_format=torch.channels_last)
    unet.set_attn_processor(PlainAttention())
    average = Averaged(unet, 0.998)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01)
    step, seconds, path = 0, 0.0, arguments.out / "unet.pt"
    if saved := load_checkpoint(path):
        unet.load_state_dict(saved["model"])
        average.model.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        step, seconds, average.updates = saved["step"], saved["seconds"], saved["step"]
        rng = np.random.default_rng(arguments.seed + step)
        torch.manual_seed(arguments.seed + step)
    log(f"unet: {sum(weight.numel() for weight in unet.parameters()) / 1e6:.2f} M parameters")
    forward = torch.compile(unet) if arguments.compile else unet

    @torch.no_grad()
    def encode(texts: list[str]) -> torch.Tensor:
        tokens = tokenizer(
            texts, padding="max_length", truncation=True, max_length=TEXT_LENGTH,
            return_tensors="pt",
        ).input_ids.to(device)  # fmt: skip
        return tower(tokens).last_hidden_state

    def caption_rows(rows: np.ndarray, accuracy: float) -> torch.Tensor:
        texts = [vary(describe(scenes[row], rng, accuracy).text, rng) for row in rows]
        drop = rng.random(len(texts)) < 0.1
        return encode(["" if gone else text for text, gone in zip(texts, drop, strict=True)])

    def flow_loss(rows: np.ndarray, text: torch.Tensor, noise_mean: float) -> torch.Tensor:
        clean = latents[rows].float().to(device, memory_format=torch.channels_last)
        sigma = torch.sigmoid(torch.randn(len(rows), device=device) * 1.2 + noise_mean)
        noisy, target = noised(clean, sigma)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            velocity = forward(noisy, sigma * 1000, text, return_dict=False)[0]
        return F.mse_loss(velocity.float(), target)

    clock = Clock(arguments.minutes, seconds)
    recent: list[float] = []
    while clock.progress < 1:
        set_rate(optimizer, clock.rate(step, arguments.rate, decay_from=0.55))
        noisy_captions = clock.progress > arguments.clean_part
        accuracy = arguments.accuracy if noisy_captions else arguments.clean_accuracy
        rows = rng.integers(held_out, len(latents), arguments.batch)
        noise_mean = arguments.late_noise if noisy_captions else 0.8
        loss = flow_loss(rows, caption_rows(rows, accuracy), noise_mean)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update(unet)
        recent.append(loss.item())
        step += 1
        if step % 200 == 0 or clock.progress >= 1:
            rate = step * arguments.batch / clock.seconds
            log(f"unet step {step} loss {np.mean(recent):.4f}, {rate:.0f} img/s")
            recent.clear()
            save_checkpoint(
                path,
                model=unet.state_dict(),
                average=average.model.state_dict(),
                optimizer=optimizer.state_dict(),
                step=step,
                seconds=clock.seconds,
            )


if __name__ == "__main__":
    main()
