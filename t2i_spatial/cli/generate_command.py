"""`t2i-spatial generate`: images for a prompt set with a diffusers model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click


def _batch_size(ctx: click.Context, param: click.Parameter, value: str) -> int | str:
    if value == "auto":
        return value
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is neither a positive number nor auto", ctx, param)
    return int(value)


@click.command("generate")
@click.argument("prompts")
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Run directory; the same command goes on where it stopped.",
)
@click.option("--model", default="bundled", help="'bundled', a diffusers hub id or local folder.")
@click.option("--revision", help="Commit, tag or branch of a hub id.")
@click.option("--variant", help="Weight files of a variant, such as fp16.")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    help="Number format; auto: fp32 on the CPU, bf16 (else fp16) on a GPU.",
)
@click.option(
    "--device",
    default="auto",
    help="auto, cpu, cuda:0, ... or several, comma-separated, one process each.",
)
@click.option("--lora", help="LoRA weights: file, folder, run directory or hub id.")
@click.option("--lora-scale", default=1.0, help="Strength of the LoRA.")
@click.option("--samples", type=click.IntRange(min=1), default=4, help="Images per prompt.")
@click.option(
    "--steps", type=click.IntRange(min=1), help="Denoising steps.  [default: the model's own]"
)
@click.option(
    "--guidance-scale",
    type=click.FloatRange(min=0),
    help="Classifier-free guidance.  [default: the model's own]",
)
@click.option("--negative-prompt", help="What the image should not be.  [default: none]")
@click.option(
    "--width", type=click.IntRange(min=8), help="Pixels.  [default: the model's own size]"
)
@click.option(
    "--height", type=click.IntRange(min=8), help="Pixels.  [default: the model's own size]"
)
@click.option(
    "--batch-size",
    default="auto",
    metavar="INTEGER|auto",
    callback=_batch_size,
    help="Images at a time, or auto: what fits. Recorded, since it changes pixels by rounding.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the run.")
@click.option("--offline", is_flag=True, help="Use only models that are on this machine.")
@click.option("--overwrite", is_flag=True, help="Make the images anew if made by another plan.")
@click.option("--json", "as_json", is_flag=True, help="Print counts as JSON.")
def command(prompts: str, output: Path, overwrite: bool, as_json: bool, **options: Any) -> None:
    """Generate images for PROMPTS, a prompt file or `sr2d`, into a run directory."""
    from t2i_spatial.prompts import load_prompts
    from t2i_spatial.run import Run
    from t2i_spatial.stages.generate import STAGE, GenerateSettings, generate_run

    loaded = load_prompts(prompts)
    run = Run.create(output)
    generate_run(run, loaded, GenerateSettings(**options), overwrite=overwrite)
    results = run.manifest["stages"][STAGE]["results"]
    if as_json:
        click.echo(json.dumps({"output": str(output), **results}))
    else:
        expected = results["images"] + results["missing"]
        click.echo(f"{results['images']:,} of {expected:,} images in {output / 'images'}")
