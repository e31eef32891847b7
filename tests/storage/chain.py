"""The stages of a small run, in a folder or on a store, and what they leave behind."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from t2i_spatial.files import read_table
from t2i_spatial.images import read_image
from t2i_spatial.locations import locate
from t2i_spatial.prompts import load_prompts
from t2i_spatial.run import Run
from t2i_spatial.stages.detect import detect_run
from t2i_spatial.stages.generate import generate_run
from t2i_spatial.stages.import_images import import_images
from t2i_spatial.stages.stage_settings import DetectSettings, GenerateSettings

PROMPTS = "a cat to the left of a dog\na car above a bench\n"


def generated(place: str | Path, prompts: str | Path) -> Run:
    run = Run.create(place)
    generate_run(run, load_prompts(prompts), GenerateSettings(steps=1, samples=2, batch_size=2))
    return run


def imported(place: str | Path, images: str | Path, prompts: str | Path) -> Run:
    run = Run.create(place)
    import_images(run, images, load_prompts(prompts))
    detect_run(run, DetectSettings(batch_size=2))
    return run


def tables(run: Run) -> dict[str, pl.DataFrame]:
    """Every table of a run by its name in it, without when its pictures were changed."""
    found = list(run.path.rglob("*.parquet"))
    named = {str(path).removeprefix(f"{run.path}/"): read_table(path) for path in found}
    return {name: table.drop("changed", strict=False) for name, table in named.items()}


def pixels(run: Run) -> list[bytes]:
    return [read_image(run.image_path(image)).tobytes() for image in run.images()["image"]]


def copied(run: Run, place: str) -> Run:
    """The same files on a store."""
    for path in run.path.rglob("*"):
        if path.is_file() and not path.name.endswith(".lock"):
            locate(f"{place}/{path.relative_to(run.path).as_posix()}").write_bytes(
                path.read_bytes()
            )
    return Run.open(place)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, locks aside."""
    found = [p for p in folder.rglob("*") if p.is_file() and not p.name.endswith(".lock")]
    return {str(path).removeprefix(f"{folder}/"): path.read_bytes() for path in found}
