"""Online RL on the bundled generator, with the scorer as the reward. Minutes on two CPU cores.

    python examples/rl_bundled.py --output rl-run
    python examples/rl_bundled.py --server http://127.0.0.1:18085     # `t2i-spatial serve`

As in GRPO, a group of images is drawn per prompt and rewards are compared within the group. The
update is DiffusionNFT's (Zheng et al. 2025, beta = 1): on noised images, the model is drawn to what
the good ones show and, mirrored at its old prediction, away from what the bad ones show. It needs
neither the sampler's trajectory nor its likelihood, and learns from few images.

Writes `curve.json`, `curve.png` (needs matplotlib), `pytorch_lora_weights.safetensors` and, before
and after, the same prompts and seeds: `before.png`, `after.png`, `evaluation.json`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image

from t2i_spatial.generation import load_generator
from t2i_spatial.generation.generator import Sampling
from t2i_spatial.rewards import Client, ItemScore, LocalScorer

RELATIONS = ("to the left of", "to the right of", "above", "below")
TRAINED = [f"a {a} {r} a {b}" for a, b in (("cat", "dog"), ("car", "pizza")) for r in RELATIONS]
OTHERS = [f"a {a} {r} a {b}" for a, b in (("zebra", "bus"), ("cake", "cup")) for r in RELATIONS]
"""Asked before and after, never trained on."""
CHUNK = 8
REWARD = {"spatial": 0.5, "spatial.mean": 0.5}


class Policy:
    """The bundled pipeline with a LoRA, as what is sampled and what learns."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.generator = load_generator("bundled")
        self.pipe: Any = self.generator.pipe
        self.unet = self.pipe.unet.requires_grad_(False)
        self.shift = float(self.pipe.scheduler.config.flow_shift)
        self.sampling = Sampling(steps=options.steps, guidance_scale=options.guidance)
        target = ["to_q", "to_k", "to_v", "to_out.0"]
        torch.manual_seed(0)
        self.unet.add_adapter(
            LoraConfig(r=options.rank, lora_alpha=options.rank, target_modules=target)
        )
        self.parameters = [p for p in self.unet.parameters() if p.requires_grad]
        rate = options.learning_rate
        self.optimizer = torch.optim.AdamW(self.parameters, lr=rate, weight_decay=0.0)

    def sample(
        self, prompts: Sequence[str], seeds: Sequence[int], sampling: Sampling | None = None
    ) -> list[Image.Image]:
        """Images of the present policy, by few steps unless told otherwise."""
        made = [
            image
            for start in range(0, len(prompts), CHUNK)
            for image in self.generator(
                prompts[start : start + CHUNK],
                seeds[start : start + CHUNK],
                sampling or self.sampling,
            )
        ]
        return [entry.image for entry in made if entry.image is not None]

    @torch.no_grad()
    def encode(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Any:
        """Latents and text embeddings."""
        pixels = self.pipe.image_processor.preprocess(list(images))
        latents = (
            self.pipe.vae.encode(pixels).latent_dist.mean * self.pipe.vae.config.scaling_factor
        )
        length = self.pipe.tokenizer.model_max_length
        tokens = self.pipe.tokenizer(
            list(prompts), padding="max_length", max_length=length, return_tensors="pt"
        )
        return latents, self.pipe.text_encoder(tokens.input_ids)[0]

    def velocity(self, noisy: torch.Tensor, level: torch.Tensor, text: torch.Tensor) -> Any:
        """What the model predicts: noise minus image."""
        return self.unet(noisy, 1000 * level, text).sample

    def learn(
        self,
        latents: torch.Tensor,
        text: torch.Tensor,
        worth: torch.Tensor,
        batches: Sequence[torch.Tensor],
        random: torch.Generator,
    ) -> float:
        """One optimiser step per batch; returns the distance to the base model.

        Args:
            worth: (n,) in [0, 1]; a half is the mean of the group.
            batches: rows of each step.
        """
        drawn = []
        with torch.no_grad():  # what the policy said before it learns from these images
            for rows in batches:
                noise = torch.randn(latents[rows].shape, generator=random)
                level = torch.sigmoid(torch.randn(len(rows), generator=random) * 1.2 + 0.7)
                level = self.shift * level / (1 + (self.shift - 1) * level)
                mixed = level[:, None, None, None]
                noisy = (1 - mixed) * latents[rows] + mixed * noise
                old = self.velocity(noisy, level, text[rows])
                drawn.append((noisy, level, noise - latents[rows], old))
        for rows, (noisy, level, target, old) in zip(batches, drawn, strict=True):
            new = self.velocity(noisy, level, text[rows])
            good = ((new - target) ** 2).mean(dim=(1, 2, 3))
            bad = ((2 * old - new - target) ** 2).mean(dim=(1, 2, 3))
            loss = (worth[rows] * good + (1 - worth[rows]) * bad).mean()
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimizer.step()
        noisy, level, _, _ = drawn[0]
        with torch.no_grad():
            now = self.velocity(noisy, level, text[batches[0]])
            self.unet.disable_adapters()
            base = self.velocity(noisy, level, text[batches[0]])
            self.unet.enable_adapters()
        return float((now - base).square().mean() / base.square().mean())


def worth_of(rewards: torch.Tensor, group: int) -> torch.Tensor:
    """A half for the mean of the group, 0 and 1 from one standard deviation of all."""
    centred = (
        rewards.view(-1, group) - rewards.view(-1, group).mean(dim=1, keepdim=True)
    ).flatten()
    return 0.5 + 0.5 * (centred / (rewards.std() + 1e-4)).clamp(-1, 1)


def shares(items: Sequence[ItemScore]) -> dict[str, float]:
    """Mean reward, and the shares of images with both objects and with the right relation."""
    visor = [item.verdicts["visor"] for item in items]
    return {
        "reward": float(np.mean([item.reward or 0.0 for item in items])),
        "both objects": float(np.mean([v["components"]["objects_found"] or 0.0 for v in visor])),
        "right relation": float(np.mean([bool(v["correct"]) for v in visor])),
    }


def diversity(images: Sequence[Image.Image], group: int) -> float:
    """Mean standard deviation of a pixel, in [0, 1], among the images of one prompt."""
    pixels = np.stack([np.asarray(image, dtype=np.float64) / 255 for image in images])
    return float(pixels.reshape(-1, group, *pixels.shape[1:]).std(axis=1).mean())


def evaluate(policy: Policy, scorer: Any, per_prompt: int, sheet: Path) -> dict[str, Any]:
    """The shipped sampler on fixed seeds: prompts that are trained on, and others."""
    found = {}
    for name, prompts in (("trained prompts", TRAINED), ("other prompts", OTHERS)):
        texts = [prompt for prompt in prompts for _ in range(per_prompt)]
        seeds = [1_000_000 + i for i in range(len(texts))]
        images = policy.sample(texts, seeds, Sampling())
        found[name] = {**shares(scorer(images, texts)), "diversity": diversity(images, per_prompt)}
        if prompts is TRAINED:
            side = images[0].width
            grid = Image.new("RGB", (8 * side, 4 * side))
            for place, image in enumerate(images[:: max(1, len(images) // 32)][:32]):
                grid.paste(image, (place % 8 * side, place // 8 * side))
            grid.resize((16 * side, 8 * side), Image.Resampling.BICUBIC).save(sheet)
    return found


def plot(curve: list[dict[str, float]], path: Path) -> None:
    """Reward, what it is made of, and drift beside it."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.1), layout="constrained")
    x = [point["iteration"] for point in curve]

    def draw(axis: Any, name: str, color: str) -> None:
        y = np.array([point[name] for point in curve])
        window = max(1, min(7, len(y)))
        smooth = np.convolve(np.pad(y, window // 2, mode="edge"), np.ones(window) / window, "valid")
        axis.plot(x, y, color=color, alpha=0.25)
        axis.plot(x, smooth[: len(x)], color=color, label=name)

    draw(axes[0], "reward", "#1f3a5f")
    axes[0].set(title="reward", xlabel="iteration")
    draw(axes[1], "both objects", "#c96a00")
    draw(axes[1], "right relation", "#1f6fd6")
    axes[1].set(title="share of images", xlabel="iteration")
    axes[1].legend(frameon=False)
    draw(axes[2], "distance", "#7a55c7")
    axes[2].set(title="drift", xlabel="iteration", ylabel="distance to the base model")
    other = axes[2].twinx()
    draw(other, "diversity", "#69655d")
    other.set(ylabel="diversity within a prompt")
    for axis in (*axes, other):
        axis.spines["top"].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Train, and compare before and after on fixed seeds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("rl-run"))
    parser.add_argument("--server", help="score through a server instead of in this process")
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--group", type=int, default=8, help="images per prompt")
    parser.add_argument("--steps", type=int, default=8, help="sampling steps of the rollouts")
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--updates", type=int, default=16, help="optimiser steps per iteration")
    parser.add_argument("--batch", type=int, default=16, help="images per optimiser step")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument(
        "--evaluate", type=int, default=8, help="images per prompt, before and after"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)

    scorer: Any
    if options.server:
        scorer = Client(options.server, reward=REWARD, protocols=["visor"])
    else:
        scorer = LocalScorer("bundled", REWARD, protocols=["visor"])
    policy = Policy(options)
    before = evaluate(policy, scorer, options.evaluate, options.output / "before.png")
    print("before", json.dumps(before), flush=True)
    random = torch.Generator().manual_seed(options.seed)
    texts = [prompt for prompt in TRAINED for _ in range(options.group)]
    curve: list[dict[str, float]] = []
    begun = time.monotonic()
    for iteration in range(options.iterations):
        seeds = torch.randint(2**31, (len(texts),), generator=random).tolist()
        images = policy.sample(texts, seeds)
        items = scorer(images, texts)
        worth = worth_of(torch.tensor([item.reward or 0.0 for item in items]), options.group)
        latents, text = policy.encode(images, texts)
        batches = [
            torch.randperm(len(texts), generator=random)[: options.batch]
            for _ in range(options.updates)
        ]
        distance = policy.learn(latents, text, worth, batches, random)
        curve.append(
            {
                "iteration": iteration,
                **shares(items),
                "distance": distance,
                "diversity": diversity(images, options.group),
                "seconds": round(time.monotonic() - begun, 1),
            }
        )
        print(json.dumps(curve[-1]), flush=True)
        (options.output / "curve.json").write_text(json.dumps(curve, indent=1))
    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(policy.unet))
    StableDiffusionPipeline.save_lora_weights(options.output, unet_lora_layers=layers)
    after = evaluate(policy, scorer, options.evaluate, options.output / "after.png")
    print("after ", json.dumps(after))
    (options.output / "evaluation.json").write_text(
        json.dumps({"before": before, "after": after}, indent=1)
    )
    plot(curve, options.output / "curve.png")


if __name__ == "__main__":
    main()
