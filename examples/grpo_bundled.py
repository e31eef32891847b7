"""GRPO on the bundled generator, with the scorer as the reward. Minutes on two CPU cores.

    python examples/grpo_bundled.py --output grpo-run
    python examples/grpo_bundled.py --server http://127.0.0.1:18085     # `t2i-spatial serve`

The loop is Flow-GRPO's in small: the early sampling steps are made stochastic (an SDE with the
marginals of the flow), a group of images is drawn per prompt, rewards are normalised within the
group, and a LoRA follows the policy gradient with a penalty on drifting from the base model. The
later steps stay deterministic, so images are as clean as the sampler makes them.

Writes `curve.json`, `curve.png` (needs matplotlib), `pytorch_lora_weights.safetensors` and, before
and after, the same prompts and seeds with the shipped sampler: `before.png`, `after.png`.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image

from t2i_spatial.generation import Generator, load_generator
from t2i_spatial.rewards import Client, ItemScore, LocalScorer

PROMPTS = [
    f"a {first} {relation} a {second}"
    for first, second in (("cat", "dog"), ("car", "pizza"))
    for relation in ("to the left of", "to the right of", "above", "below")
]
REWARD = {"spatial": 0.5, "spatial.mean": 0.5}
CHUNK = 8


@dataclass
class Rollout:
    """Images of one iteration and the stochastic steps that led to them."""

    embeddings: torch.Tensor
    states: list[torch.Tensor]
    nexts: list[torch.Tensor]
    images: np.ndarray


class Policy:
    """The bundled pipeline as a stochastic policy over its early sampling steps."""

    def __init__(self, generator: Generator, options: argparse.Namespace) -> None:
        self.pipe: Any = generator.pipe
        self.unet = self.pipe.unet.requires_grad_(False)
        target = ["to_q", "to_k", "to_v", "to_out.0"]
        torch.manual_seed(0)
        self.unet.add_adapter(
            LoraConfig(r=options.rank, lora_alpha=2 * options.rank, target_modules=target)
        )
        self.pipe.scheduler.set_timesteps(options.steps)
        self.sigmas = self.pipe.scheduler.sigmas.float()
        self.timesteps = self.pipe.scheduler.timesteps
        self.noisy, self.noise, self.guidance = options.noisy, options.noise, options.guidance
        self.empty = self.encode([""])

    def parameters(self) -> list[torch.nn.Parameter]:
        """What is trained."""
        return [p for p in self.unet.parameters() if p.requires_grad]

    def encode(self, prompts: list[str]) -> torch.Tensor:
        """Text embeddings of prompts."""
        tokens = self.pipe.tokenizer(
            prompts,
            padding="max_length",
            max_length=self.pipe.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        with torch.no_grad():
            return self.pipe.text_encoder(tokens.input_ids)[0]

    def mean(
        self, state: torch.Tensor, step: int, embeddings: torch.Tensor, noisy: bool
    ) -> tuple[torch.Tensor, float]:
        """Mean and standard deviation of the next state (Flow-GRPO's SDE of a rectified flow)."""
        both = torch.cat([self.empty.expand(len(state), -1, -1), embeddings])
        time_of = self.timesteps[step].expand(len(both))
        without, given = self.unet(state.repeat(2, 1, 1, 1), time_of, both).sample.chunk(2)
        velocity = without + self.guidance * (given - without)
        sigma, step_size = (
            float(self.sigmas[step]),
            float(self.sigmas[step + 1] - self.sigmas[step]),
        )
        if not noisy:
            return state + velocity * step_size, 0.0
        spread = self.noise * (sigma / (1 - min(sigma, float(self.sigmas[1])))) ** 0.5
        pull = spread**2 / (2 * sigma)
        drift = velocity + pull * (state + (1 - sigma) * velocity)
        return state + drift * step_size, spread * (-step_size) ** 0.5

    @torch.no_grad()
    def sample(self, prompts: list[str], random: torch.Generator) -> Rollout:
        """Images of prompts, with the stochastic steps that led to them."""
        embeddings = self.encode(prompts)
        side, channels = self.unet.config.sample_size, self.unet.config.in_channels
        state = torch.randn(len(prompts), channels, side, side, generator=random)
        states, nexts = [], []
        for step in range(len(self.timesteps)):
            noisy = step < self.noisy
            parts = [
                self.mean(s, step, e, noisy)
                for s, e in zip(state.split(CHUNK), embeddings.split(CHUNK), strict=True)
            ]
            following = torch.cat([mean for mean, _ in parts])
            if noisy:
                following += parts[0][1] * torch.randn(following.shape, generator=random)
                states.append(state)
                nexts.append(following)
            state = following
        pixels = self.pipe.vae.decode(state / self.pipe.vae.config.scaling_factor).sample
        images = (pixels / 2 + 0.5).clamp(0, 1).numpy()
        return Rollout(embeddings, states, nexts, images)

    def update(
        self, rollout: Rollout, advantages: torch.Tensor, beta: float, optimizer: Any
    ) -> float:
        """One policy-gradient step over all images; returns the mean KL to the base model."""
        optimizer.zero_grad()
        total, terms = 0.0, len(advantages) * self.noisy
        for step in range(self.noisy):
            for rows in torch.arange(len(advantages)).split(CHUNK):
                state, embeddings = rollout.states[step][rows], rollout.embeddings[rows]
                mean, spread = self.mean(state, step, embeddings, True)
                self.unet.disable_adapters()
                with torch.no_grad():
                    base, _ = self.mean(state, step, embeddings, True)
                self.unet.enable_adapters()
                distance = (rollout.nexts[step][rows] - mean) ** 2
                log_probability = -distance.mean(dim=(1, 2, 3)) / (2 * spread**2)
                kl = ((mean - base) ** 2).mean(dim=(1, 2, 3)) / (2 * spread**2)
                loss = -(advantages[rows] * log_probability) + beta * kl
                (loss.sum() / terms).backward()
                total += float(kl.detach().sum())
        torch.nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        optimizer.step()
        return total / terms


def group_advantages(rewards: torch.Tensor, group: int) -> torch.Tensor:
    """Rewards minus their group's mean, over the spread of all; zero where a group is uniform."""
    centred = rewards.view(-1, group) - rewards.view(-1, group).mean(dim=1, keepdim=True)
    return (centred / (rewards.std() + 1e-4)).flatten().clamp(-5, 5)


def mean_of(items: list[ItemScore], name: str) -> float:
    """Mean of a part of the reward or of a VISOR component; an image without one counts 0."""
    if name in REWARD:
        return float(np.mean([item.parts[name] or 0.0 for item in items]))
    return float(np.mean([item.verdicts["visor"]["components"].get(name) or 0.0 for item in items]))


def spread_of(images: np.ndarray, group: int) -> float:
    """Diversity: mean standard deviation of a pixel among the images of one prompt."""
    return float(images.reshape(-1, group, *images.shape[1:]).std(axis=1).mean())


def evaluate(generator: Generator, scorer: Any, per_prompt: int, sheet: Path) -> dict[str, float]:
    """The shipped sampler on all prompts and fixed seeds."""
    texts = [prompt for prompt in PROMPTS for _ in range(per_prompt)]
    made = generator(texts, [1_000_000 + i for i in range(len(texts))])
    images = [entry.image for entry in made]
    items = scorer(images, texts)
    side = images[0].width
    grid = Image.new("RGB", (8 * side, 4 * side))
    for place, image in enumerate(images[:: max(1, len(images) // 32)][:32]):
        grid.paste(image, (place % 8 * side, place // 8 * side))
    grid.resize((16 * side, 8 * side), Image.Resampling.BICUBIC).save(sheet)
    values = np.stack([np.asarray(image, dtype=np.float64) / 255 for image in images])
    return {
        "reward": float(np.mean([item.reward or 0.0 for item in items])),
        "both objects": mean_of(items, "objects_found"),
        "right relation": float(np.mean([item.verdicts["visor"]["correct"] for item in items])),
        "diversity": spread_of(values, per_prompt),
    }


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
    draw(axes[2], "kl", "#7a55c7")
    axes[2].set(title="drift", xlabel="iteration", ylabel="KL to the base model")
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
    parser.add_argument("--output", type=Path, default=Path("grpo-run"))
    parser.add_argument("--server", help="score through a server instead of in this process")
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--prompts", type=int, default=8, help="prompts per iteration")
    parser.add_argument("--group", type=int, default=8, help="images per prompt")
    parser.add_argument("--steps", type=int, default=8, help="sampling steps")
    parser.add_argument("--noisy", type=int, default=2, help="stochastic ones among them")
    parser.add_argument("--noise", type=float, default=0.7)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--beta", type=float, default=0.05, help="weight of the KL penalty")
    parser.add_argument(
        "--evaluate", type=int, default=12, help="images per prompt, before and after"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)

    scorer: Any
    if options.server:
        scorer = Client(options.server, reward=REWARD, protocols=["visor"])
    else:
        scorer = LocalScorer("bundled", REWARD, protocols=["visor"])
    before = evaluate(
        load_generator("bundled"), scorer, options.evaluate, options.output / "before.png"
    )
    print("before", json.dumps(before))
    generator = load_generator("bundled")
    policy = Policy(generator, options)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=options.learning_rate, weight_decay=0.0)
    random = torch.Generator().manual_seed(options.seed)
    curve: list[dict[str, float]] = []
    begun = time.monotonic()
    for iteration in range(options.iterations):
        chosen = torch.randperm(len(PROMPTS), generator=random)[: options.prompts].tolist()
        texts = [PROMPTS[i] for i in chosen for _ in range(options.group)]
        rollout = policy.sample(texts, random)
        items = scorer(rollout.images, texts)
        rewards = torch.tensor([item.reward or 0.0 for item in items])
        kl = policy.update(
            rollout, group_advantages(rewards, options.group), options.beta, optimizer
        )
        curve.append(
            {
                "iteration": iteration,
                "reward": float(rewards.mean()),
                "both objects": mean_of(items, "objects_found"),
                "right relation": float(
                    np.mean([item.verdicts["visor"]["correct"] for item in items])
                ),
                "kl": kl,
                "diversity": spread_of(rollout.images, options.group),
                "seconds": time.monotonic() - begun,
            }
        )
        print(json.dumps(curve[-1]), flush=True)
        (options.output / "curve.json").write_text(json.dumps(curve, indent=1))
    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(policy.unet))
    StableDiffusionPipeline.save_lora_weights(options.output, unet_lora_layers=layers)
    after = evaluate(generator, scorer, options.evaluate, options.output / "after.png")
    print("after ", json.dumps(after))
    (options.output / "evaluation.json").write_text(
        json.dumps({"before": before, "after": after}, indent=1)
    )
    plot(curve, options.output / "curve.png")


if __name__ == "__main__":
    main()
