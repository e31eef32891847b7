"""Speed and peak memory of `finetune` against diffusers' own LoRA script, side by side in one run.

    python benchmarks/training.py --script train_text_to_image_lora.py
    python benchmarks/training.py --script ... --models tiny --precision bf16

The script is `examples/text_to_image/train_text_to_image_lora.py` of a clone of diffusers; nothing
of it is part of this repository. Both train the same random Stable Diffusion checkpoint on the same
pictures, with the same batch, rank, layers and number format, each in a process of its own. Each
runs twice, for a few steps and for more: what the further steps took is the time of a step, the
rest is the start. Times are of the processor, which other work on the machine disturbs least; wall
time is printed beside them. Memory is that of the host: on a GPU look there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

IMAGES = 16
RANK = 16


@dataclass(frozen=True)
class Size:
    """A random checkpoint: widths of UNet and VAE, width and layers of the text encoder."""

    unet: tuple[int, ...]
    vae: tuple[int, ...]
    text: tuple[int, int]
    resolution: int
    batch: int


SIZES = {
    "tiny": Size((32, 64), (16, 32), (32, 2), 64, 4),
    "mid": Size((128, 256, 512), (32, 64, 128, 128), (512, 6), 256, 4),
}


class Cost(NamedTuple):
    """What a process took: seconds of the processor and of the wall, megabytes at its peak."""

    processor: float
    wall: float
    peak: float


def build(size: Size, folder: Path) -> None:
    """Save a Stable Diffusion 1.x checkpoint with random weights."""
    import torch
    from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline
    from diffusers import UNet2DConditionModel as UNet
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    width, layers = size.text
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789"]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    end = len(words) - 1
    ids = {"bos_token_id": end - 1, "eos_token_id": end, "pad_token_id": end}
    tokenizer = CLIPTokenizer(vocab={word: k for k, word in enumerate(words)}, merges=[])
    tokenizer.model_max_length = 77
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 64),
        projection_dim=width,
        **ids,
    )
    crossed = len(size.unet) - 1
    unet = UNet(
        sample_size=size.resolution // 2 ** (len(size.vae) - 1),
        block_out_channels=size.unet,
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D",) * crossed + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * crossed,
        cross_attention_dim=width,
        attention_head_dim=8,
    )
    vae = AutoencoderKL(
        block_out_channels=size.vae,
        down_block_types=("DownEncoderBlock2D",) * len(size.vae),
        up_block_types=("UpDecoderBlock2D",) * len(size.vae),
        latent_channels=4,
        norm_num_groups=8,
    )
    scheduler = DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False
    )
    pipe = StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(config),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(folder)
    print(f"UNet of {sum(p.numel() for p in unet.parameters()) / 1e6:.1f} M parameters", flush=True)


def draw(size: Size, folder: Path) -> None:
    """Random pictures with captions, as `curate` exports them."""
    random = np.random.default_rng(0)
    folder.mkdir()
    lines = []
    for k in range(IMAGES):
        pixels = random.integers(0, 256, (size.resolution, size.resolution, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
        lines.append(json.dumps({"file_name": f"{k}.png", "text": f"picture {k}"}) + "\n")
    (folder / "metadata.jsonl").write_text("".join(lines), "utf-8")


def ours(options: argparse.Namespace, size: Size, folder: Path, steps: int) -> list[str]:
    output = folder / f"ours-{steps}"
    command = f"-m t2i_spatial finetune {folder / 'data'} -q -o {output} --model {folder / 'model'}"
    command += f" --steps {steps} --batch-size {size.batch} --rank {RANK} --device {options.device}"
    command += f" --resolution {size.resolution} --learning-rate 1e-4 --warmup 0"
    command += f" --dtype {options.precision} --weight-decay 0.01"
    return [*command.split(), *(["--gradient-checkpointing"] if options.checkpointing else [])]


def theirs(options: argparse.Namespace, size: Size, folder: Path, steps: int) -> list[str]:
    output = folder / f"theirs-{steps}"
    precision = "no" if options.precision == "fp32" else options.precision
    command = f"{options.script} --pretrained_model_name_or_path {folder / 'model'} --seed 0"
    command += f" --train_data_dir {folder / 'data'} --output_dir {output} --rank {RANK}"
    command += f" --max_train_steps {steps} --train_batch_size {size.batch} --lr_warmup_steps 0"
    command += f" --resolution {size.resolution} --learning_rate 1e-4 --mixed_precision {precision}"
    command += f" --checkpointing_steps 1000000 --cache_dir {folder / 'cache'}"
    return [*command.split(), *(["--gradient_checkpointing"] if options.checkpointing else [])]


def cost(arguments: list[str], device: str, log: Path) -> Cost:
    """Run Python on its own and measure it.

    Raises:
        SystemExit: it failed; the end of what it printed is shown.
    """
    environment = os.environ | {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
    if device == "cpu":  # the script takes whatever there is
        environment["CUDA_VISIBLE_DEVICES"] = ""
    started = time.monotonic()
    with log.open("w") as file:
        actions = [(os.POSIX_SPAWN_DUP2, file.fileno(), number) for number in (1, 2)]
        command = [sys.executable, *arguments]
        child = os.posix_spawn(sys.executable, command, environment, file_actions=actions)
        _, status, used = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}\n{log.read_text()[-2000:]}")
    wall = time.monotonic() - started
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss * unit / 1e6)


def measure(options: argparse.Namespace, name: str, folder: Path) -> list[dict[str, Any]]:
    """Both programs on one size, each with few and with many steps, by turns."""
    size = SIZES[name]
    build(size, folder / "model")
    draw(size, folder / "data")
    found: dict[str, dict[int, Cost]] = {"finetune": {}, "diffusers' script": {}}
    for steps in (options.few, options.many):
        for program, line in zip(found, (ours, theirs), strict=True):
            arguments = line(options, size, folder, steps)
            found[program][steps] = cost(arguments, options.device, folder / "log.txt")
    rows = []
    for program, costs in found.items():
        few, many = costs[options.few], costs[options.many]
        extra = options.many - options.few
        step = (many.processor - few.processor) / extra
        rows.append(
            {
                "model": name,
                "program": program,
                "step": step,
                "wall": (many.wall - few.wall) / extra,
                "rate": size.batch / step,
                "start": few.processor - options.few * step,
                "peak": many.peak,
            }
        )
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Everything as Markdown, with the ratio of theirs to ours below each pair."""
    lines = [
        "| model | program | s per step | wall | images/s | start, s | peak memory, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        for row in (first, second):
            lines.append(
                f"| {row['model']} | {row['program']} | {row['step']:.3f} | {row['wall']:.3f} | "
                f"{row['rate']:.2f} | {row['start']:.1f} | {row['peak']:,.0f} |"
            )
        ratios = [f"{second[key] / first[key]:.2f}" for key in ("step", "wall")]
        rest = [f"{first['rate'] / second['rate']:.2f}", f"{second['start'] / first['start']:.2f}"]
        memory = f"{first['peak'] / second['peak']:.2f} of theirs"
        lines.append(f"| | times as fast | {' | '.join([*ratios, *rest, memory])} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what was asked for and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--script", type=Path, required=True, help="train_text_to_image_lora.py")
    parser.add_argument("--models", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"], default="fp32")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:0")
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing")
    parser.add_argument("--few", type=int, default=3, metavar="STEPS")
    parser.add_argument("--many", type=int, default=15, metavar="STEPS")
    options = parser.parse_args()
    if not options.script.is_file():
        parser.error(f"{options.script} is no file; it lies in examples/text_to_image of diffusers")
    if options.few >= options.many:
        parser.error("--many must be more than --few")
    rows = []
    for name in options.models:
        with tempfile.TemporaryDirectory() as folder:
            rows += measure(options, name, Path(folder))
    load = os.getloadavg()[0]
    print(f"one of {os.cpu_count()} CPUs each, load average {load:.1f}, {options.precision}\n")
    print(table(rows))


if __name__ == "__main__":
    main()
