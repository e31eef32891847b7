"""`t2i-spatial curate`: keep what is right, with reasons, as a training set."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("curate")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--protocol", "-p", default="visor", help="Whose verdicts decide what is correct.")
@click.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    default=0.3,
    help="Lowest detector score of the boxes that the verdict used.",
)
@click.option(
    "--min-margin",
    type=float,
    default=0.05,
    help="Least distance from the other answer, in the protocol's unit (VISOR: image sides).",
)
@click.option(
    "--duplicate-distance",
    type=click.IntRange(-1, 12),
    default=4,
    help="Drop near-duplicates within this many bits of pHash; -1 keeps them.",
)
@click.option(
    "--export",
    default="imagefolder",
    help="Format of the training set; 'none' writes selection.parquet only.",
)
@click.option(
    "--resolution",
    type=click.IntRange(min=8),
    help="Resize every image, whole, to this square side.  [default: as they are]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
def command(run: Path, export: str, as_json: bool, **settings: object) -> None:
    """Select images of RUN and write them as a training set.

    RUN/selection.parquet says of every image whether it is in, and if not, which filter refused
    it and why.
    """
    from t2i_spatial.run import Run
    from t2i_spatial.stages.curate import CurateSettings, curate_run

    chosen = CurateSettings.model_validate(
        {**settings, "export": None if export == "none" else export}
    )
    curated = curate_run(Run.open(run), chosen)
    selection = curated.selection
    if as_json:
        stages = [
            {"filter": s.name, "removed": s.refused, "left": s.kept} for s in selection.stages
        ]
        folder = None if curated.folder is None else str(curated.folder)
        counts = {"candidates": selection.candidates, "kept": selection.kept, "stages": stages}
        click.echo(json.dumps({**counts, "exported": curated.images, "folder": folder}, indent=2))
        return
    click.echo(selection.counts())
    if curated.folder is not None:
        click.echo(f"{curated.images:,} images as {export} in {curated.folder}")
