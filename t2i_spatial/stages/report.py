"""The report stage: a run directory in, one HTML file out."""

from __future__ import annotations

from pathlib import Path

from t2i_spatial.files import atomic_write
from t2i_spatial.report import render_report
from t2i_spatial.run import Run


def report_run(
    run: Run, output: str | Path | None = None, *, max_images: int = 400, thumbnail: int = 320
) -> Path:
    """Write the report of a run (to `report.html` in the run unless `output` is given).

    Raises:
        InputError: the run has not been scored.
        T2ISpatialError: the file cannot be written; an older report stays as it was.
    """
    path = run.path / "report.html" if output is None else Path(output)
    html = render_report(run, max_images=max_images, thumbnail=thumbnail)
    with atomic_write(path, "w") as file:
        file.write(html)
    return path
