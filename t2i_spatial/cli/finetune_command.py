"""`t2i-spatial finetune`: LoRA fine-tuning on a curated set or one of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from t2i_spatial.cli.options import (
    LOCAL_FOLDER,
    Command,
    as_json_option,
    given,
    settings_options,
)
from t2i_spatial.training.hyperparameters import FinetuneSettings


@click.command("finetune", cls=Command, renamed={"--precision": "--dtype"})
@click.argument("data")
@click.option(
    "--output",
    "-o",
    type=LOCAL_FOLDER,
    help="Folder of the LoRA.  [default: DATA/lora, if DATA is a run directory]",
)
@settings_options(FinetuneSettings)
@click.option("--resume", is_flag=True, help="Go on with the training in the output folder.")
@click.option("--overwrite", is_flag=True, help="Throw away the training in the output folder.")
@click.option(
    "--estimate", "estimated", is_flag=True, help="Tell what memory this would need, and stop."
)
@as_json_option
def command(
    data: str,
    output: Path | None,
    resume: bool,
    overwrite: bool,
    estimated: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a LoRA on DATA: a run directory with a curated set, or a training set.

    A training set is a folder of images with metadata.jsonl (.csv, .parquet) or a .txt beside each
    image, a kohya TOML, WebDataset or Parquet files, or hf:OWNER/NAME.

    Images are scaled to fit and padded, never cropped or flipped. The weights load with
    `pipe.load_lora_weights` of plain diffusers and with `t2i-spatial generate --lora`.
    """
    from t2i_spatial.stages.finetune import finetune_folder
    from t2i_spatial.training.processes import is_first

    if resume and overwrite:
        raise click.UsageError("--resume and --overwrite exclude each other")
    settings = given(FinetuneSettings, options)
    if estimated:
        from t2i_spatial.training.trainer import estimate_memory

        found = estimate_memory(settings)
        click.echo(json.dumps(found.to_dict()) if as_json else str(found))
        return
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
