"""`t2i-spatial prompts`: write, convert, sample or parse prompt sets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from t2i_spatial.cli.options import (
    LOCAL_FOLDER,
    NEW_FILE,
    Command,
    given,
    refuse_given,
    settings_options,
)
from t2i_spatial.progress import note
from t2i_spatial.prompts import (
    load_prompts,
    parse_prompt,
    sample_prompts,
    solve_layout,
    told_unread,
    write_prompts,
)
from t2i_spatial.prompts.jsonl import prompt_line
from t2i_spatial.scene import Prompt, SceneSpec
from t2i_spatial.stages.ask_settings import DenseSettings, JudgeSettings
from t2i_spatial.stages.sample_settings import SampleSettings
from t2i_spatial.stages.stage_settings import PromptSettings

_seed = click.option(
    "--seed", type=click.IntRange(min=0), default=0, help="Seed of what is drawn at random."
)
_output = click.option(
    "-o", "--output", type=NEW_FILE, help="Write to this file.  [default: stdout]"
)
_balanced = ("limit", "seed")
_judged = ("judge", "judge_model", "revision", "dtype", "device", "options")
_reading = ("format", "column", "delimiter", "repeated")


class _PromptsGroup(click.Group):
    """A group whose sub-command may also be the name of a file or data set."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            return "convert", self.commands["convert"], args
        return super().resolve_command(ctx, args)


@click.group(cls=_PromptsGroup, subcommand_metavar="NAME|FILE [OPTIONS]")
def command() -> None:
    """Write a prompt set as JSON lines, ready for `generate` and `score`.

    NAME is `sr2d` or one of the commands below; FILE is a prompt file of any known format
    (`t2i-spatial prompts convert --help` lists them).
    """


@command.command("sr2d", cls=Command)
@settings_options(PromptSettings, only=("relations_only", "nouns", *_balanced))
@_output
def sr2d_command(output: Path | None, **options: Any) -> None:
    """The prompt set of VISOR: 31,680 prompts, 25,280 of them relational."""
    _write(given(PromptSettings, options).load(), output)


@command.command(cls=Command)
@click.argument("source")
@settings_options(PromptSettings, only=(*_reading, *_balanced))
@_output
def convert(source: str, output: Path | None, **options: Any) -> None:
    """Convert a prompt file; scenes it does not bring are read from the text.

    SOURCE: our own JSON lines, GenEval, GenEval 2, SpatialGenEval or SR2D files, T2I-CompBench and
    other plain text, JSON, CSV, TSV or Parquet with a caption column, the prompts.parquet of a run,
    a directory that `datasets` reads, hf:OWNER/NAME[:SPLIT], or - for lines on stdin.
    """
    settings = given(PromptSettings, options)
    prompts = load_prompts(source, **settings.reading)
    _report_unread(prompts)
    if settings.limit is not None:
        prompts = sample_prompts(prompts, settings.limit, settings.seed)
    _write(prompts, output)


@command.command(cls=Command)
@click.argument("text")
@click.option("--json", "as_json", is_flag=True, help="The scene as JSON instead of a table.")
@click.option(
    "--drawing",
    type=NEW_FILE,
    help="Draw a layout in which the prompt is true (.svg or .png).  [default: none]",
)
@click.option(
    "--reader",
    type=click.Choice(["rules", "judge"]),
    default="rules",
    help="judge: a language model reads, and what the rules read otherwise is told.",
)
@settings_options(JudgeSettings, only=_judged, prefix="With --reader judge: ")
@click.option(
    "--cache",
    type=LOCAL_FOLDER,
    help="With --reader judge: folder of replies; what was read before costs nothing.  "
    "[default: none]",
)
@_seed
def parse(
    text: str, as_json: bool, drawing: Path | None, reader: str, seed: int, **options: Any
) -> None:
    """Show what TEXT asks for: objects, relations and what was not read."""
    from t2i_spatial.prompts.parser import clean_prompt
    from t2i_spatial.prompts.scene_table import scene_table

    scene = parse_prompt(text)
    if stripped := clean_prompt(text).stripped:
        note(f"taken out before reading: {' '.join(stripped)}")
    if reader == "judge":
        scene = _read_again(text, scene, given(JudgeSettings, options))
    else:
        refuse_given((*_judged, "cache"), "only a judge takes it (--reader judge)")
    click.echo(json.dumps(scene.to_dict(), ensure_ascii=False) if as_json else scene_table(scene))
    if drawing is not None:
        from t2i_spatial.prompts.drawing import draw_layout

        draw_layout(drawing, solve_layout(scene, seed), [spec.color for spec in scene.objects])
        note(f"drawing written to {drawing}")


def _read_again(text: str, rules: SceneSpec, settings: JudgeSettings) -> SceneSpec:
    """What a judge reads; what the rules read otherwise goes to stderr."""
    from t2i_spatial.prompts.second_reading import disagreements
    from t2i_spatial.stages.second_reader import load_reader, read_by_judge

    judge = load_reader(settings)
    try:
        scene = read_by_judge(text, judge, settings.cache)
    finally:
        judge.close()
    for line in disagreements(rules, scene) or ["rules and judge agree"]:
        note(line)
    return scene


@command.command(cls=Command)
@settings_options(SampleSettings)
@click.option(
    "--held-out-output",
    type=NEW_FILE,
    help="Where the held-out prompts go.  [default: none]",
)
@_output
def sample(held_out_output: Path | None, output: Path | None, **options: Any) -> None:
    """Sample new scenes: satisfiable, balanced over relations and object order."""
    settings = given(SampleSettings, options)
    if (settings.held_out is None) != (held_out_output is None):
        raise click.UsageError("--held-out and --held-out-output go together")
    prompts, others = settings.draw()
    if held_out_output is not None:
        _write(others, held_out_output)
    _write(prompts, output)


@command.command(cls=Command)
@click.option(
    "-o", "--output", type=NEW_FILE, required=True, help="Write to this file and OUTPUT.json."
)
@settings_options(DenseSettings)
@click.option(
    "--dry-run", is_flag=True, help="Only say how many requests and tokens it would take."
)
def dense(output: Path, dry_run: bool, **options: Any) -> None:
    """Have a language model write long prompts with ten questions each, one per sub-domain.

    The file has SpatialGenEval's form: `generate`, `ask -p spatialgeneval` and their code read it.
    Replies that are not what was asked for are asked for once more, then left out and counted.
    What was replied is kept: the same command goes on.
    """
    from t2i_spatial.stages.dense_prompts import cost_of_dense_prompts, write_dense_prompts

    settings = given(DenseSettings, options)
    if str(output) == "-":
        raise click.UsageError("--output must be a file: what it is made of lies beside it")
    if dry_run:
        cost = cost_of_dense_prompts(settings)
        told = (
            "{requests:,} requests, about {tokens:,} tokens; {most_requests:,} and {most_tokens:,} "
            "if everything is asked for twice"
        )
        click.echo(told.format(**cost))
        return
    made = write_dense_prompts(settings, output)
    note(made.as_text())
    made.require_some()


@command.command(cls=Command)
@click.argument("name", required=False)
@_output
def fetch(name: str | None, output: Path | None) -> None:
    """Download a public prompt file, check it, keep it, and convert it.

    Without NAME: list the files that are known.
    """
    from t2i_spatial.prompts.fetch import PUBLIC, fetch_prompts

    if name is None:
        for known, entry in PUBLIC.items():
            how = "" if entry.url else ", to be fetched by hand"
            click.echo(f"{known}\t{entry.licence}{how}\t{entry.page}")
        return
    path = fetch_prompts(name)
    note(f"{name}: {path}")
    prompts = load_prompts(path)
    _report_unread(prompts)
    _write(prompts, output)


def _report_unread(prompts: Sequence[Prompt]) -> None:
    for line in told_unread(prompts):
        note(line)


def _write(prompts: Sequence[Prompt], output: Path | None) -> None:
    if output is None or str(output) == "-":
        for prompt in prompts:
            click.echo(prompt_line(prompt))
        return
    write_prompts(prompts, output)
    note(f"{len(prompts)} prompts written to {output}")
