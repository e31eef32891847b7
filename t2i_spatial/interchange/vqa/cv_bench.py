"""CV-Bench: counts, relations, depth order and distance, as multiple choice.

nyu-visionx/CV-Bench: `test.jsonl`, `test_2d.jsonl`, `test_3d.jsonl` with pictures in `img/`, or
Parquet files that hold them; `choices`, `answer` as "(A)", `task`, `type`, `source`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from t2i_spatial.interchange.vqa import VQA_SETS, Item, VqaSet
from t2i_spatial.interchange.vqa.marks import share, shares_by
from t2i_spatial.interchange.vqa.records import (
    choice,
    files_of,
    first_there,
    given,
    inside,
    maybe,
    once,
    options_of,
    records,
    roots_of,
)
from t2i_spatial.statistics.intervals import Interval
from t2i_spatial.statistics.strata import weighted_sum

FILES = tuple(
    f"{stem}.{end}" for stem in ("test", "test_2d", "test_3d") for end in ("parquet", "jsonl")
)
SOURCES = {"ADE20K": 0.25, "COCO": 0.25, "Omni3D": 0.5}
"""Weights of the sources in the one number of the set."""


@VQA_SETS.register("cvbench")
class CVBench(VqaSet):
    """Choices in the order of the set."""

    title: ClassVar[str] = "CV-Bench"
    rule: ClassVar[str] = "half the mean of ADE20K and COCO (2D), half Omni3D (3D)"
    facts: ClassVar[tuple[str, ...]] = ("task", "source")

    def read(self, place: Path) -> list[Item]:
        """See `VqaSet.read`; one file for 2D and 3D if there are several of the same."""
        items = []
        for file in _chosen(files_of(place, self.title, *FILES)):
            roots = roots_of(file, place)
            for where, _, record in records(file):
                own = str(given(record, where, "idx"))
                task, source = (str(given(record, where, key)) for key in ("task", "source"))
                name, picture = _picture(record, where, roots)
                question = choice(
                    where,
                    str(given(record, where, "question")),
                    options_of(record, where),
                    given(record, where, "answer"),
                    task,
                )
                facts = {"task": task, "source": source}
                items.append(Item(own, name, picture, question, own, facts))
        return once(items, self.title)

    def numbers(self, marks: pl.DataFrame) -> dict[str, Interval]:
        """See `VqaSet.numbers`: undefined where a source is lacking."""
        by = {name: share(marks.filter(pl.col("source") == name)) for name in SOURCES}
        return {
            "CV-Bench": weighted_sum(list(by.values()), list(SOURCES.values())),
            "2D": weighted_sum((by["ADE20K"], by["COCO"]), (0.5, 0.5)),
            "3D": by["Omni3D"],
            **shares_by(marks, "task"),
        }


def _chosen(files: list[Path]) -> list[Path]:
    """The whole file if there is one, else one of each half."""
    by_stem: dict[str, Path] = {}
    for file in files:
        by_stem.setdefault(file.stem, file)
    return [by_stem["test"]] if "test" in by_stem else list(by_stem.values())


def _picture(record: Any, where: str, roots: list[Path]) -> tuple[str, Path | bytes]:
    held = maybe(record, "image")
    if isinstance(held, dict) and held.get("bytes"):
        return str(maybe(record, "filename", "idx") or held.get("path")), held["bytes"]
    path = inside(given(record, where, "filename"), where)
    below = [path, inside(f"img/{path}", where)]
    tried = [first_there(each, roots) for each in below]
    return str(path), next((each for each in tried if each.is_file()), tried[0])
