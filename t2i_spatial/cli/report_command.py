"""`t2i-spatial report`: one self-contained HTML file for a run."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The HTML file to write.  [default: RUN/report.html]",
)
@click.option(
    "--max-images",
    type=click.IntRange(min=0),
    default=400,
    help="Most images in the gallery, taken evenly over relation, status and verdict.",
)
@click.option(
    "--thumbnail",
    type=click.IntRange(min=32, max=2048),
    default=320,
    help="Longer side of the embedded pictures, in pixels.",
)
def command(run: Path, output: Path | None, max_images: int, thumbnail: int) -> None:
    """Write one self-contained HTML file for RUN: scores, gallery, reasons, curation.

    The file loads nothing from the network and can be sent as it is.
    """
    from t2i_spatial.run import Run
    from t2i_spatial.stages.report import report_run

    click.echo(report_run(Run.open(run), output, max_images=max_images, thumbnail=thumbnail))
