"""The stages of a small run, in a folder or on a store, and what they leave behind."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from t2i_spatial.files import read_table
from t2i_spatial.images import read_image
from t2i_spatial.locations import locate
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.prompts import load_prompts
from t2i_spatial.run import Run
from t2i_spatial.stages.ask import ask_run
from t2i_spatial.stages.ask_settings import AskSettings
from t2i_spatial.stages.curate import CurateSettings, curate_run
from t2i_spatial.stages.detect import detect_run
from t2i_spatial.stages.generate import generate_run
from t2i_spatial.stages.import_images import import_images
from t2i_spatial.stages.report import report_run
from t2i_spatial.stages.score import import_detections, score_run
from t2i_spatial.stages.stage_settings import DetectSettings, GenerateSettings
from t2i_spatial.tables import prompts_to_table
from tests.builders import box, boxes, detection_rows, relation_prompt

PROMPTS = "a cat to the left of a dog\na car above a bench\n"
CLOCKED = ("changed", "image", "seconds")
"""Where a picture lies, when it was written, how long an answer took."""
KEPT = CurateSettings(pipeline=("present", "upright"), min_images=1)


def scored(place: str | Path) -> Run:
    """A run of boxes that were given, without a picture."""
    prompts = prompts_to_table(
        [relation_prompt("cat", "left of", "dog", id=str(n)) for n in range(3)]
    )
    dog = box("dog", 200, 0, 250, 50)
    found = detection_rows(
        {
            (str(n), sample): boxes("cat", 10 * n, 0, 10 * n + 50, 50, 0.9, dog)
            for n in range(3)
            for sample in range(2)
        }
    )
    run = Run.create(place)
    import_detections(run, prompts, found, "by hand")
    score_run(run, [PROTOCOLS["visor"](), PROTOCOLS["spatial"]()])
    return run


def generated(place: str | Path, prompts: str | Path) -> Run:
    run = Run.create(place)
    generate_run(run, load_prompts(prompts), GenerateSettings(steps=1, samples=2, batch_size=2))
    return run


def judged(place: str | Path, images: str | Path, prompts: str | Path) -> Run:
    """Imported, looked at, asked about, scored, curated and reported."""
    run = Run.create(place)
    import_images(run, images, load_prompts(prompts))
    detect_run(run, DetectSettings(batch_size=2))
    ask_run(run, None, AskSettings(judge="boxes", protocols=("spatial_vqa",)))
    score_run(run, [PROTOCOLS["visor"](), PROTOCOLS["spatial"]()])
    curate_run(run, KEPT)
    report_run(run)
    return run


def copied(run: Run, place: str) -> Run:
    """The same files on a store."""
    for path in run.path.rglob("*"):
        if path.is_file() and not path.name.endswith(".lock"):
            name = path.relative_to(run.path).as_posix()
            locate(f"{place}/{name}").write_bytes(path.read_bytes())
    return Run.open(place)


def tables(run: Run) -> dict[str, pl.DataFrame]:
    """Every table of a run by its name in it, without what differs between two in folders."""
    found = list(run.path.rglob("*.parquet"))
    named = {str(path).removeprefix(f"{run.path}/"): read_table(path) for path in found}
    return {name: table.drop(*CLOCKED, strict=False) for name, table in named.items()}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, locks aside."""
    found = [p for p in folder.rglob("*") if p.is_file() and not p.name.endswith(".lock")]
    return {str(path).removeprefix(f"{folder}/"): path.read_bytes() for path in found}


def pixels(run: Run) -> list[bytes]:
    return [read_image(run.image_path(image)).tobytes() for image in run.images()["image"]]
