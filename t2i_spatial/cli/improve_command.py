"""`t2i-spatial improve`: the loop as one command."""

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
    overwrite_option,
    settings_options,
)
from t2i_spatial.engine_settings import EngineSettings
from t2i_spatial.stages.stage_settings import DetectorSettings, GenerateSettings, ImproveSettings
from t2i_spatial.training.hyperparameters import FinetuneSettings

OWN = ("data", "rounds", "train_prompts", "train_samples", "eval_prompts", "rendered", "drift_clip")


@click.command("improve", cls=Command)
@click.option(
    "-o",
    "--output",
    type=LOCAL_FOLDER,
    default=Path("improve-run"),
    help="Folder of all runs of the loop; an interrupted one goes on there.",
)
@settings_options(GenerateSettings, only=("model",))
@settings_options(DetectorSettings, only=("detector",))
@settings_options(ImproveSettings, only=OWN)
@click.option("--steps", type=click.IntRange(min=1), default=400, help="Optimiser steps.")
@settings_options(FinetuneSettings, only=("learning_rate", "tenor"))
@settings_options(ImproveSettings, only=("seed",))
@settings_options(EngineSettings, without=("shard",))
@overwrite_option
@as_json_option
def command(
    output: Path,
    model: str,
    detector: str,
    steps: int,
    learning_rate: float | None,
    tenor: bool,
    overwrite: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Generate, detect, score, curate, fine-tune, and measure again on held-out prompts.

    Held-out prompts are about pairs of objects that no training prompt is about. Before and after
    share prompts and seeds, so differences are paired; what else changed stands beside the gain.
    """
    from t2i_spatial.engines import make_engine
    from t2i_spatial.stages.demo import improve_settings
    from t2i_spatial.stages.improve import check_names, format_rounds, improve
    from t2i_spatial.stages.suitable import check_detector

    settings = improve_settings(
        model=model,
        detector=detector,
        steps=steps,
        learning_rate=learning_rate,
        tenor=tenor,
        **given(ImproveSettings, options).model_dump(include={*OWN, "seed"}),
    )
    check_detector(given(DetectorSettings, {"detector": detector}), model)
    check_names(settings)
    engine = make_engine(given(EngineSettings, options))
    result = improve(output, settings, overwrite=overwrite, engine=engine)
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        click.echo(format_rounds(result))
        chosen = output / f"round-{result['best'] or len(result['rounds'])}"
        click.echo(f"\nLoRA         {chosen / 'lora'}")
        click.echo(f"pictures     {output / 'improve.png'}")
        click.echo(f"report       {chosen / 'after' / 'report.html'}")
