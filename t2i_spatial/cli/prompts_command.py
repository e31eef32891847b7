"""`t2i-spatial prompts`: write, convert, sample or parse prompt sets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from t2i_spatial.errors import InputError
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
from t2i_spatial.scene import Prompt

_limit = click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="Only so many prompts, balanced over relations and objects.  [default: all]",
)
_seed = click.option("--seed", default=0, help="Seed of the balanced sample.")
_output = click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to this file.  [default: stdout]",
)


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


@command.command("sr2d")
@click.option("--relations-only", is_flag=True, help='Leave out the "and" and single prompts.')
@click.option(
    "--nouns",
    metavar="FILE|bundled",
    help="Only prompts about the nouns of a text file, or those that the bundled models know.",
)
@_limit
@_seed
@_output
def sr2d_command(
    relations_only: bool, nouns: str | None, limit: int | None, seed: int, output: Path | None
) -> None:
    """The prompt set of VISOR: 31,680 prompts, 25,280 of them relational."""
    from t2i_spatial.bundled import NOUNS
    from t2i_spatial.prompts import sr2d
    from t2i_spatial.prompts.sampling import only_about, read_vocabulary

    prompts = sr2d(relations_only)
    if nouns is not None:
        prompts = only_about(prompts, NOUNS if nouns == "bundled" else read_vocabulary(nouns))
        if not prompts:
            raise InputError(f"SR2D has no prompt about the nouns of {nouns}")
    _write(_limited(prompts, limit, seed), output)


@command.command()
@click.argument("source")
@click.option(
    "--format",
    "format_",
    help="Record format, instead of recognising it; `text` for one prompt per line.",
)
@click.option("--column", help="Column that holds the prompt.  [default: text, prompt, caption]")
@click.option(
    "--delimiter", help="Sign between the fields of a CSV file.  [default: found in the file]"
)
@click.option(
    "--repeated",
    type=click.Choice(["auto", "merge", "keep"]),
    default="auto",
    help="Prompts that stand several times in the file: merge makes each one prompt, keep takes "
    "every line as its own, auto merges where all stand equally often.",
)
@_limit
@_seed
@_output
def convert(
    source: str,
    format_: str | None,
    column: str | None,
    delimiter: str | None,
    repeated: str,
    limit: int | None,
    seed: int,
    output: Path | None,
) -> None:
    """Convert a prompt file; scenes it does not bring are read from the text.

    SOURCE: our own JSON lines, GenEval, GenEval 2, SpatialGenEval or SR2D files, T2I-CompBench and
    other plain text, JSON, CSV, TSV or Parquet with a caption column, the prompts.parquet of a run,
    a directory that `datasets` reads, or hf:OWNER/NAME[:SPLIT].
    """
    prompts = load_prompts(
        source, format=format_, column=column, delimiter=delimiter, repeated=repeated
    )
    _report_unread(prompts)
    _write(_limited(prompts, limit, seed), output)


@command.command()
@click.argument("text")
@click.option("--json", "as_json", is_flag=True, help="The scene as JSON instead of a table.")
@click.option(
    "--drawing",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw a layout in which the prompt is true (.svg or .png).  [default: none]",
)
@_seed
def parse(text: str, as_json: bool, drawing: Path | None, seed: int) -> None:
    """Show what TEXT asks for: objects, relations and what was not read."""
    from t2i_spatial.prompts.scene_table import scene_table

    scene = parse_prompt(text)
    click.echo(json.dumps(scene.to_dict(), ensure_ascii=False) if as_json else scene_table(scene))
    if drawing is not None:
        from t2i_spatial.prompts.drawing import draw_layout

        draw_layout(drawing, solve_layout(scene, seed), [spec.color for spec in scene.objects])
        note(f"drawing written to {drawing}")


@command.command()
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
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
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
    type=click.Path(dir_okay=False, path_type=Path),
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


@command.command()
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


def _limited(prompts: list[Prompt], limit: int | None, seed: int) -> list[Prompt]:
    return prompts if limit is None else sample_prompts(prompts, limit, seed)


def _report_unread(prompts: Sequence[Prompt]) -> None:
    partly = unread(prompts)
    if not partly:
        return
    note(f"{len(partly)} of {len(prompts)} prompts could not be read fully, for example:")
    for prompt in partly[:3]:
        parts = "; ".join(prompt.scene.unparsed) if prompt.scene else ""
        note(f"  {prompt.id}: {prompt.text!r} (not read: {parts or 'no object found'})")


def _write(prompts: Sequence[Prompt], output: Path | None) -> None:
    if output is None:
        for prompt in prompts:
            click.echo(prompt_line(prompt))
        return
    write_prompts(prompts, output)
    note(f"{len(prompts)} prompts written to {output}")
