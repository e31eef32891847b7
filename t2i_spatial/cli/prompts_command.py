"""`t2i-spatial prompts`: write, convert, sample or parse prompt sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from t2i_spatial.progress import note
from t2i_spatial.prompts import load_prompts, sample_prompts, unread, write_prompts
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
@_limit
@_seed
@_output
def sr2d_command(relations_only: bool, limit: int | None, seed: int, output: Path | None) -> None:
    """The prompt set of VISOR: 31,680 prompts, 25,280 of them relational."""
    from t2i_spatial.prompts import sr2d

    _write(_limited(sr2d(relations_only), limit, seed), output)


@command.command()
@click.argument("source")
@click.option(
    "--format",
    "format_",
    help="Record format, instead of recognising it; `text` for one prompt per line.",
)
@click.option("--column", help="Column that holds the prompt.  [default: text, prompt, caption]")
@_limit
@_seed
@_output
def convert(
    source: str,
    format_: str | None,
    column: str | None,
    limit: int | None,
    seed: int,
    output: Path | None,
) -> None:
    """Convert a prompt file; scenes it does not bring are read from the text.

    SOURCE: our own JSON lines, GenEval, GenEval 2, SpatialGenEval or SR2D files, T2I-CompBench and
    other plain text, JSON, CSV, TSV or Parquet with a caption column, the prompts.parquet of a run,
    a directory that `datasets` reads, or hf:OWNER/NAME[:SPLIT].
    """
    prompts = load_prompts(source, format=format_, column=column)
    _report_unread(prompts)
    _write(_limited(prompts, limit, seed), output)


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
