"""`t2i-spatial card`: write, verify and tabulate result cards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from t2i_spatial.cli.options import FILE, FOLDER, NEW_FOLDER, Command


class _CardGroup(click.Group):
    """A group whose sub-command may also be the folder of a run."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            return "write", self.commands["write"], args
        return super().resolve_command(ctx, args)


@click.group(cls=_CardGroup, subcommand_metavar="RUN|COMMAND [OPTIONS]")
def command() -> None:
    """Numbers of a run with all that they depend on, for others to verify.

    `card RUN` writes card.json and card.md (a model card's `model-index`) into the run
    (`t2i-spatial card write --help` has the options).
    """


@command.command("write", cls=Command)
@click.argument("run", type=FOLDER)
@click.option("--name", help="Of what is measured.  [default: the model's, else the folder's]")
@click.option(
    "-o",
    "--output",
    type=NEW_FOLDER,
    help="Folder for NAME.json and NAME.md.  [default: card.json and card.md in RUN]",
)
def write_command(run: Path, name: str | None, output: Path | None) -> None:
    """Write the card of RUN as JSON and Markdown."""
    from t2i_spatial.files import atomic_write, write_json
    from t2i_spatial.run import Run
    from t2i_spatial.stages.card import make_card, markdown

    card = make_card(Run.open(run), name)
    stem = "card" if output is None else "".join(c if c.isalnum() else "-" for c in card["name"])
    place = (output or run) / f"{stem}.json"
    write_json(place, card)
    with atomic_write(place.with_suffix(".md"), "w") as file:
        file.write(markdown(card))
    click.echo(f"{place} and {place.with_suffix('.md').name}")


@command.command("verify", cls=Command)
@click.argument("card", type=FILE)
@click.argument("run", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print results as JSON.")
def verify_command(card: Path, run: Path, as_json: bool) -> None:
    """Make the card again from the tables and pictures of RUN, and say what differs."""
    from t2i_spatial.run import Run
    from t2i_spatial.stages.card import differences, read_card

    found = differences(read_card(card), Run.open(run))
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo("\n".join(found) or "the run gives this card")
    if found:
        click.get_current_context().exit(1)


@command.command("table", cls=Command)
@click.argument("folder", type=FOLDER)
def table_command(folder: Path) -> None:
    """A leaderboard of the cards in FOLDER as Markdown; what was measured otherwise is apart."""
    from t2i_spatial.errors import InputError
    from t2i_spatial.stages.card import read_card, table

    paths = sorted(folder.glob("*.json")) or sorted(folder.glob("*/card.json"))
    if not paths:
        raise InputError(f"{folder} holds no cards (*.json, or */card.json)")
    click.echo(table([read_card(path) for path in paths]), nl=False)
