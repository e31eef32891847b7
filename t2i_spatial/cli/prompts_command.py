"""`t2i-spatial prompts`: write, convert, sample or parse prompt sets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from t2i_spatial.cli.options import (
    FILE,
    NEW_FILE,
    NEW_FOLDER,
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
    sample_scenes,
    solve_layout,
    unread,
    write_prompts,
)
from t2i_spatial.prompts.jsonl import prompt_line
from t2i_spatial.scene import Prompt, SceneSpec
from t2i_spatial.stages.ask_settings import JudgeSettings
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
    type=NEW_FOLDER,
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
@click.option("--count", default=100, type=click.IntRange(min=1), help="Number of scenes.")
@click.option(
    "--difficulty",
    type=click.Choice(["easy", "medium", "hard"]),
    default="easy",
    help="easy: 2 objects, 1 relation; medium: 3, 2 and some colours; hard: 4, 4, counts, colours.",
)
@click.option("--objects", type=click.IntRange(min=1), help="Objects per scene.  [default: preset]")
@click.option(
    "--relations", type=click.IntRange(min=0), help="Relations per scene.  [default: preset]"
)
@click.option(
    "--relation",
    "relation_names",
    multiple=True,
    help="A relation to use; repeat for several.  [default: left of, right of, above, below]",
)
@click.option(
    "--vocabulary",
    type=FILE,
    help="Nouns, singular, one per line.  [default: the 80 COCO classes]",
)
@click.option("--max-count", type=click.IntRange(1, 20), help="Most of a kind.  [default: preset]")
@click.option("--colors/--no-colors", default=None, help="Give colours.  [default: preset]")
@click.option("--wordings", default=1, type=click.IntRange(min=1), help="Prompts per scene.")
@click.option(
    "--held-out",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of object sets that goes to --held-out-output instead.  [default: none]",
)
@click.option(
    "--held-out-output",
    type=NEW_FILE,
    help="Where the held-out prompts go.  [default: none]",
)
@_seed
@_output
def sample(
    count: int,
    difficulty: str,
    objects: int | None,
    relations: int | None,
    relation_names: tuple[str, ...],
    vocabulary: Path | None,
    max_count: int | None,
    colors: bool | None,
    wordings: int,
    held_out: float | None,
    held_out_output: Path | None,
    seed: int,
    output: Path | None,
) -> None:
    """Sample new scenes: satisfiable, balanced over relations and object order."""
    from t2i_spatial.prompts.sampling import options_for, read_vocabulary, split_prompts

    if (held_out is None) != (held_out_output is None):
        raise click.UsageError("--held-out and --held-out-output go together")
    options = options_for(
        difficulty,
        n_objects=objects,
        n_relations=relations,
        relations=relation_names or None,
        vocabulary=None if vocabulary is None else read_vocabulary(vocabulary),
        max_count=max_count,
        colors=colors,
    )
    prompts = sample_scenes(count, options, seed=seed, wordings=wordings)
    if held_out is not None and held_out_output is not None:
        prompts, others = split_prompts(prompts, held_out, seed)
        _write(others, held_out_output)
    _write(prompts, output)


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
    partly = unread(prompts)
    if not partly:
        return
    note(f"{len(partly)} of {len(prompts)} prompts could not be read fully, for example:")
    for prompt in partly[:3]:
        parts = "; ".join(prompt.scene.unparsed) if prompt.scene else ""
        note(f"  {prompt.id}: {prompt.text!r} (not read: {parts or 'no object found'})")


def _write(prompts: Sequence[Prompt], output: Path | None) -> None:
    if output is None or str(output) == "-":
        for prompt in prompts:
            click.echo(prompt_line(prompt))
        return
    write_prompts(prompts, output)
    note(f"{len(prompts)} prompts written to {output}")
