"""`t2i-spatial improve`: the loop as one command."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("improve-run"),
    help="Folder of all runs of the loop; an interrupted one goes on there.",
)  # fmt: skip
@click.option("--model", default="bundled", help="'bundled', a diffusers hub id or local folder.")
@click.option("--detector", default="bundled", help="As for `detect`.")
@click.option(
    "--data", type=click.Choice(["own", "rendered", "mixture"]), default="own",
    help="Train on the model's own curated images, on rendered scenes chosen by SCOP, or both.",
)  # fmt: skip
@click.option("--rounds", type=click.IntRange(min=1), default=1, help="At most so many rounds.")
@click.option("--train-prompts", type=click.IntRange(min=1), default=240, help="For candidates.")
@click.option("--train-samples", type=click.IntRange(min=1), default=4, help="Of each of them.")
@click.option("--eval-prompts", type=click.IntRange(min=1), default=60, help="Held-out prompts.")
@click.option("--scenes", type=click.IntRange(min=1), default=2000, help="Rendered scenes.")
@click.option("--steps", type=click.IntRange(min=1), default=400, help="Optimiser steps.")
@click.option("--learning-rate", type=float, help="Of AdamW.  [default: the model's own]")
@click.option("--tenor", is_flag=True, help="Add token order to the keys of text attention.")
@click.option("--drift-clip", help="open_clip model whose score is drift, too: ViT-L-14/openai.")
@click.option("--overwrite", is_flag=True, help="Throw away a loop with other settings.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of everything random.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    output: Path,
    model: str,
    detector: str,
    data: str,
    rounds: int,
    train_prompts: int,
    train_samples: int,
    eval_prompts: int,
    scenes: int,
    steps: int,
    learning_rate: float | None,
    tenor: bool,
    drift_clip: str | None,
    overwrite: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Generate, detect, score, curate, fine-tune, and measure again on held-out prompts.

    Held-out prompts are about pairs of objects that no training prompt is about. Before and after
    share prompts and seeds, so differences are paired; what else changed stands beside the gain.
    """
    from t2i_spatial.stages.demo import improve_settings
    from t2i_spatial.stages.improve import format_rounds, improve

    settings = improve_settings(
        model=model,
        detector=detector,
        data=data,
        rounds=rounds,
        train_prompts=train_prompts,
        train_samples=train_samples,
        eval_prompts=eval_prompts,
        rendered=scenes,
        drift_clip=drift_clip,
        steps=steps,
        learning_rate=learning_rate,
        tenor=tenor,
        seed=seed,
    )
    result = improve(output, settings, overwrite=overwrite)
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        click.echo(format_rounds(result))
        chosen = output / f"round-{result['best'] or len(result['rounds'])}"
        click.echo(f"\nLoRA         {chosen / 'lora'}")
        click.echo(f"pictures     {output / 'improve.png'}")
        click.echo(f"report       {chosen / 'after' / 'report.html'}")
