"""The training loop. Step k draws its images, noise and times from (seed, k) and nothing else."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from t2i_spatial.errors import T2ISpatialError
from t2i_spatial.files import atomic_write
from t2i_spatial.generation.generator import Generator, Sampling
from t2i_spatial.generation.lora import FLAGS_FILE
from t2i_spatial.generation.png import write_png
from t2i_spatial.generation.resolve import ModelSource
from t2i_spatial.generation.seeds import image_seed
from t2i_spatial.progress import note, progress_bar
from t2i_spatial.settings import dtype_name
from t2i_spatial.training.attention import Grounder
from t2i_spatial.training.checkpoint import (
    BrokenCheckpointError,
    checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from t2i_spatial.training.families import Family
from t2i_spatial.training.hyperparameters import FinetuneSettings
from t2i_spatial.training.latent_cache import Captions
from t2i_spatial.training.lora_layers import Adapters
from t2i_spatial.training.objective import Diffusion, Flow
from t2i_spatial.training.processes import Processes
from t2i_spatial.training.trackers import Trackers

LAST_GOOD = "last_good"
"""Folder of the LoRA that is kept when the loss stops being a number."""

_LOG_EVERY = 10
_RECENT = 50
"""The loss that is told is the mean of that many steps, also of those before a resume."""


@dataclasses.dataclass
class Loop:
    """Everything a training needs, loaded and on its device."""

    source: ModelSource
    family: Family
    objective: Diffusion | Flow
    adapters: Adapters
    latents: Tensor
    captions: Captions
    grounder: Grounder | None
    weights: Tensor
    settings: FinetuneSettings
    precision: str
    processes: Processes
    trackers: Trackers
    folder: Path

    def __post_init__(self) -> None:
        options = self.settings
        self.device = self.processes.device
        self.parameters = self.adapters.parameters
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(),
            lr=options.rate,
            betas=(0.9, 0.99),
            weight_decay=options.weight_decay,
        )
        self.average = (
            {name: value.detach().clone() for name, value in self.parameters.items()}
            if options.ema
            else {}
        )
        # packed weights are whole numbers, and LoRA weights are float32 whatever lies below them
        self._frozen = next(
            value.dtype
            for value in self.family.denoiser.parameters()
            if value.is_floating_point() and not value.requires_grad
        )
        kind = self.device.split(":")[0]
        self.autocast = torch.autocast(
            kind,
            dtype=getattr(torch, dtype_name(self.precision)),
            enabled=self.precision != "fp32",
        )
        self.scaler = torch.amp.GradScaler(kind, enabled=self.precision == "fp16")
        self._epoch: tuple[int, Tensor] = (-1, torch.empty(0))
        self._good: tuple[int, dict[str, Tensor]] = (0, {})

    # -- running --------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Train to the last step, from the newest checkpoint if there is one.

        Raises:
            T2ISpatialError: loss or gradient is not a number; the LoRA of the last step whose loss
                was one is kept in `last_good`.
        """
        options = self.settings
        step, recent = self._restore()
        self._forget_log(step)
        per_step = options.batch_size * options.accumulate
        started, first = time.monotonic(), step
        complete = True  # whether parameters and optimiser belong to the same step
        loss = math.nan
        with progress_bar(options.steps * per_step, "finetune", "img", step * per_step) as bar:
            try:
                while step < options.steps:
                    loss = self._gradients(step)
                    complete = False
                    self._update(step)
                    step += 1
                    due = step % options.checkpoint_every == 0 or step == options.steps
                    if due and not self._finite():
                        self._stop(f"the weights after step {step} are not finite", *self._good)
                    complete = True
                    recent = [*recent[1 - _RECENT :], loss]
                    bar.set_postfix(loss=f"{sum(recent) / len(recent):.4f}")
                    bar.update(per_step)
                    if step % _LOG_EVERY == 0 or step == options.steps:
                        rate = (step - first) * per_step / (time.monotonic() - started)
                        self._log(step, recent[-_LOG_EVERY:], rate)
                    if due:
                        self._checkpoint(step, recent)
                    if options.validate_every and step % options.validate_every == 0:
                        self._validate(step)
            except KeyboardInterrupt:
                if complete and step > first and self._finite():
                    self._checkpoint(step, recent)
                raise
        seconds = time.monotonic() - started
        return {
            "steps": step,
            "loss": sum(recent) / len(recent) if recent else None,
            "seconds": round(seconds, 2),
            "images_per_second": round((step - first) * per_step / max(seconds, 1e-9), 2),
        }

    def save_weights(self) -> None:
        """Write the LoRA (its moving average, if one is kept); the first process does."""
        if self.processes.is_first:
            self.adapters.save(self.family.pipe, self.folder, self.average)
        self.processes.wait()

    def _gradients(self, step: int) -> float:
        """Accumulate the gradients of one step; returns the mean loss."""
        options = self.settings
        total = 0.0
        for micro in range(options.accumulate):
            position = step * options.accumulate + micro
            generator = torch.Generator().manual_seed(image_seed(options.seed, "step", position))
            drawn = list(self._indices(position))
            chosen = torch.tensor([index for index, _ in drawn])
            epochs = [epoch for _, epoch in drawn]
            numbers = self.captions.drawn(chosen.tolist(), epochs, options.seed)
            dropped = torch.rand(len(chosen), generator=generator) < options.caption_dropout
            numbers[dropped] = 0
            device, rows = torch.device(self.device), self.processes.rows
            latents = self.latents[chosen].to(device)
            noised = self.objective(latents, generator).part(rows)
            weights = self.weights[chosen[rows]].to(device)
            with self.autocast:
                text = self.captions.rows(self.family, numbers[rows], device)
                output = self.family.predict(self._cast(noised.latents), noised.time, text)
            errors = (output.float() - noised.target.float()).square().mean(dim=(1, 2, 3))
            loss = (errors * noised.factor * weights).mean()
            if self.grounder is not None:
                loss = loss + self.grounder(chosen.tolist(), dropped.tolist(), self.processes)
            loss = loss / options.accumulate
            mean = loss.detach().clone()
            self.processes.average([mean])
            total += mean.item()
            if not math.isfinite(total):
                self._stop(f"the loss of step {step + 1} is not finite", *self._good)
            self.scaler.scale(loss).backward()
        return total

    def _update(self, step: int) -> None:
        options = self.settings
        self.processes.average(p.grad for p in self.parameters.values() if p.grad is not None)
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), options.max_grad_norm)
        if not self.scaler.is_enabled() and not torch.isfinite(norm):
            self._stop(f"the gradient of step {step + 1} is not finite", step, self._kept())
        self._good = step, {k: v.detach().clone() for k, v in self._kept().items()}
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(step)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if options.ema:
            weight = 1 - min(options.ema, (1 + step) / (10 + step))
            with torch.no_grad():
                for name, value in self.average.items():
                    value.lerp_(self.parameters[name].detach(), weight)

    def _finite(self) -> bool:
        """Whether the weights can be written: a loss shows what an update broke one step later."""
        return all(bool(value.isfinite().all()) for value in self._kept().values())

    def _stop(self, what: str, good: int, values: dict[str, Tensor]) -> None:
        """Keep the LoRA of `values`, the last one whose loss was a number, and give up."""
        folder = self.folder / LAST_GOOD
        kept = f"see {folder}" if folder.exists() else "nothing was learnt yet"
        if good and values:
            if self.processes.is_first:
                self.adapters.save(self.family.pipe, folder, values)
                shutil.copyfile(self.folder / FLAGS_FILE, folder / FLAGS_FILE)
            kept = f"the LoRA after step {good} is kept in {folder}"
        raise T2ISpatialError(
            f"{what}; {kept}; a lower --learning-rate, or another --precision, usually helps"
        )

    def _kept(self) -> dict[str, Tensor]:
        """What a LoRA saved now would hold."""
        return self.average or {name: value.data for name, value in self.parameters.items()}

    def _cast(self, latents: Tensor) -> Tensor:
        """Latents in the format of the frozen weights, where those are not float32."""
        return latents.to(self._frozen)

    def _indices(self, position: int) -> Iterator[tuple[int, int]]:
        """Images of one batch and their epochs, each a permutation that follows from the seed."""
        count = len(self.latents)
        start = position * self.settings.batch_size
        for place in range(start, start + self.settings.batch_size):
            epoch = place // count
            if self._epoch[0] != epoch:
                generator = torch.Generator().manual_seed(
                    image_seed(self.settings.seed, "epoch", epoch)
                )
                self._epoch = (epoch, torch.randperm(count, generator=generator))
            yield int(self._epoch[1][place % count]), epoch

    def _learning_rate(self, step: int) -> float:
        options = self.settings
        rate = options.rate * min(1.0, (step + 1) / max(1, options.warmup))
        if options.schedule == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * step / options.steps))
        return rate

    # -- keeping --------------------------------------------------------------------------------

    def _checkpoint(self, step: int, recent: list[float]) -> Path:
        folder = self.folder / "checkpoints"
        if not self.processes.is_first:
            return folder
        return save_checkpoint(
            folder,
            step,
            self.parameters,
            self.optimizer,
            self.average,
            {"scaler": self.scaler.state_dict(), "recent": recent},
            self.settings.checkpoint_every,
        )

    def _restore(self) -> tuple[int, list[float]]:
        """Steps done and their last losses, from the newest checkpoint that can be read."""
        for path in checkpoints(self.folder / "checkpoints"):
            try:
                step, extra = load_checkpoint(path, self.parameters, self.optimizer, self.average)
            except BrokenCheckpointError as error:
                note(f"{error}; going on from the one before")
                continue
            if self.scaler.is_enabled():
                self.scaler.load_state_dict(extra["scaler"])
            note(f"going on after step {step}")
            return step, list(extra.get("recent", []))
        return 0, []

    def _log(self, step: int, losses: list[float], rate: float) -> None:
        if not self.processes.is_first:
            return
        record = {
            "step": step,
            "loss": sum(losses) / len(losses),
            "learning_rate": self._learning_rate(step - 1),
            "images_per_second": round(rate, 2),
        }
        try:
            with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise T2ISpatialError(
                f"cannot write {self.folder / 'log.jsonl'}: {error.strerror}"
            ) from None
        told = ("loss", "learning_rate", "images_per_second")
        self.trackers.log({name: record[name] for name in told}, step)

    def _forget_log(self, step: int) -> None:
        """Drop log lines of steps that are going to be repeated, and one that was cut off."""
        path = self.folder / "log.jsonl"
        if path.is_file() and self.processes.is_first:
            lines = path.read_text("utf-8").splitlines()
            whole = [line for line in lines if line.endswith("}")]
            with atomic_write(path, "w") as file:
                file.writelines(f"{line}\n" for line in whole if json.loads(line)["step"] <= step)

    def _validate(self, step: int) -> None:
        """Images of the validation prompts (the first captions, if none are given)."""
        if not self.processes.is_first:
            return
        texts = list(self.settings.validation_prompts or self.captions.texts[1:5])
        generator = Generator(self.family.pipe, self.source, self.device, self.precision)
        self.family.pipe.set_progress_bar_config(disable=True)
        seeds = [image_seed(self.settings.seed, "validation", k) for k in range(len(texts))]
        with self.autocast, self.adapters.holding(self.average):
            results = generator(texts, seeds, generator.resolved(self._sampling()))
        shown = {}
        for k, (text, result) in enumerate(zip(texts, results, strict=True)):
            if result.image is not None:
                shown[text] = result.image
                path = self.folder / "validation" / f"step-{step:08d}" / f"{k}.png"
                write_png(path, result.image, {"prompt": text, "seed": seeds[k], "step": step})
        self.trackers.log_images(shown, step)

    def _sampling(self) -> Sampling:
        from t2i_spatial.generation.generator import default_sampling

        size = self.latents.shape[-1] * self.family.pixels_per_latent
        return dataclasses.replace(default_sampling(self.source.name), width=size, height=size)
