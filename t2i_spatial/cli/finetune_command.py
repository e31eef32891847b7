"""`t2i-spatial finetune`: LoRA fine-tuning on a curated set."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from t2i_spatial.training.hyperparameters import FinetuneSettings

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_DEFAULTS = {name: field.default for name, field in FinetuneSettings.model_fields.items()}


def _option(flag: str, kind: Any, text: str) -> _Decorator:
    """An option whose default is that of `FinetuneSettings`."""
    name = flag.removeprefix("--").replace("-", "_")
    return click.option(flag, type=kind, default=_DEFAULTS[name], help=text)


def _switch(flag: str, text: str) -> _Decorator:
    return click.option(flag, is_flag=True, help=text)


@click.command("finetune")
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--output",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the LoRA.  [default: DATA/lora, if DATA is a run directory]",
)
@_option("--model", str, "'bundled', a diffusers hub id or local folder.")
@click.option("--revision", help="Commit, tag or branch of a hub id.")
@click.option("--variant", help="Weight files of a variant, such as fp16.")
@_option("--device", str, "auto, cpu or cuda:0.")
@_option(
    "--precision",
    click.Choice(["auto", "fp32", "bf16", "fp16"]),
    "Number format of the computation; auto: fp32 on the CPU, bf16 (else fp16) on a GPU.",
)
@_option("--steps", click.IntRange(min=1), "Optimiser steps.")
@_option("--batch-size", click.IntRange(min=1), "Images at a time.")
@_option("--accumulate", click.IntRange(min=1), "Batches per step.")
@click.option(
    "--learning-rate", type=float, help="Of AdamW.  [default: 2e-3 for 'bundled', else 1e-4]"
)
@_option("--schedule", click.Choice(["constant", "cosine"]), "Of the learning rate.")
@_option("--warmup", click.IntRange(min=0), "Steps until the full learning rate.")
@_option("--weight-decay", float, "Of AdamW.")
@_option("--max-grad-norm", float, "Longer gradients are shortened to this.")
@_option("--rank", click.IntRange(1, 1024), "Of the LoRA matrices.")
@click.option("--alpha", type=float, help="Scale of the LoRA times its rank.  [default: the rank]")
@click.option(
    "--target",
    "targets",
    multiple=True,
    default=_DEFAULTS["targets"],
    help="Layers that get a LoRA, by the end of their name; may be repeated.",
)
@_switch("--text-encoder", "Train LoRA layers in the CLIP text encoders too.")
@click.option("--lora", help="Start from these LoRA weights.")
@_switch("--tenor", "Add token order to the keys of text attention, here and when generating.")
@_option("--token-loss", float, "Factor of the attention loss on tokens (needs `objects`).")
@_option("--pixel-loss", float, "Factor of the attention loss on pixels (needs `objects`).")
@click.option(
    "--resolution", type=click.IntRange(8, 4096), help="Pixels.  [default: the model's own size]"
)
@_option(
    "--caption-dropout",
    click.FloatRange(0, 1, max_open=True),
    "Share of captions left empty, for guidance.",
)
@_switch("--truncate-captions", "Accept captions whose end the text encoder does not read.")
@click.option("--min-snr", type=float, help="Gamma of min-SNR weights.  [default: none]")
@_option("--noise-mean", float, "Of the logit-normal noise level (flow models).")
@_option("--noise-std", float, "Of the logit-normal noise level (flow models).")
@click.option("--ema", type=float, help="Decay of a moving average to save.  [default: none]")
@_switch("--gradient-checkpointing", "Less memory, more time.")
@_switch("--compile", "torch.compile the denoiser.")
@_option("--seed", click.IntRange(min=0), "Of everything random.")
@_option("--checkpoint-every", click.IntRange(min=1), "Steps between checkpoints.")
@_option("--validate-every", click.IntRange(min=0), "Steps between validation images; 0: none.")
@click.option(
    "--validation-prompt",
    "validation_prompts",
    multiple=True,
    help="May be repeated.  [default: the first four captions]",
)
@click.option(
    "--tracker", "trackers", multiple=True, help="tensorboard, wandb, mlflow …; may be repeated."
)
@_switch("--offline", "Use only models that are on this machine.")
@_switch("--resume", "Go on with the training in the output folder.")
@_switch("--overwrite", "Throw away the training in the output folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    data: Path,
    output: Path | None,
    resume: bool,
    overwrite: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a LoRA on DATA: a run directory with a curated set, or an imagefolder.

    Images are scaled to fit and padded, never cropped or flipped. The weights load with
    `pipe.load_lora_weights` of plain diffusers and with `t2i-spatial generate --lora`.
    """
    from t2i_spatial.stages.finetune import finetune_folder
    from t2i_spatial.training.processes import is_first

    if resume and overwrite:
        raise click.UsageError("--resume and --overwrite exclude each other")
    settings = FinetuneSettings(**options)
    folder, result = finetune_folder(data, output, settings, resume=resume, overwrite=overwrite)
    if not is_first():
        return
    if as_json:
        click.echo(json.dumps({"output": str(folder), **result}))
    else:
        loss = "" if result["loss"] is None else f", loss {result['loss']:.4f}"
        click.echo(
            f"{result['steps']:,} steps on {result['images']:,} images{loss}, "
            f"{result['images_per_second']:.1f} img/s: {folder}"
        )
