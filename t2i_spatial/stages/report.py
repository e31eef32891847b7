"""The report stage: a run directory in, one HTML file out."""

from __future__ import annotations

from pathlib import Path

from t2i_spatial.errors import InputError
from t2i_spatial.files import atomic_write
from t2i_spatial.locations import locate
from t2i_spatial.report import render_report
from t2i_spatial.run import Run


def report_run(
    run: Run, output: str | Path | None = None, *, max_images: int = 400, thumbnail: int = 320
) -> Path:
    """Write the report of a run (to `report.html` in the run unless `output` is given).

    Raises:
        InputError: the run has not been scored, or `output` is a file that belongs to a run.
        T2ISpatialError: the file cannot be written; an older report stays as it was.
    """
    path = run.path / "report.html" if output is None else locate(output)
    _spare_the_run(run, path)
    html = render_report(run, max_images=max_images, thumbnail=thumbnail)
    with atomic_write(path, "w") as file:
        file.write(html)
    return path


def _spare_the_run(run: Run, path: Path) -> None:
    """Refuse to write HTML over the tables, pictures and weights of a run."""
    target, home = path.resolve(), run.path.resolve()
    inside = home in target.parents or (target.parent / "run.json").is_file()
    if inside and target.suffix.lower() not in (".html", ".htm"):
        raise InputError(
            f"{path} is a place of the run's own files; a report in a run directory ends in .html"
        )
