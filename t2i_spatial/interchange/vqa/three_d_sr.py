"""3DSRBench: heights, locations, orientations and relations of several objects in depth.

ccvl/3DSRBench: tables for evaluation kits (`3dsrbench_v1_vlmevalkit.tsv`, with mirrored pictures;
`..._circular.tsv`, with rotated options too) hold the pictures in base64; the CSV and Parquet of
the annotations name COCO pictures by URL. A `qid` is eight characters, then `-flip` for a mirrored
picture and `-N` for rotated options. What counts after which rule was read from the port of
EvolvingLMMs-Lab/lmms-eval (2026); the set's own script is not public outside its hub page.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.interchange.vqa import VQA_SETS, Item, VqaSet
from t2i_spatial.interchange.vqa.marks import all_right, share
from t2i_spatial.interchange.vqa.records import (
    Base64Pictures,
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

FILES = (
    "3dsrbench_v1_vlmevalkit_circular.tsv",
    "3dsrbench_v1_vlmevalkit.tsv",
    "3dsrbench_v1*.parquet",
    "3dsrbench_v1.csv",
)
"""The fullest that a folder has is read."""
MAIN = ("height", "location", "orientation", "multi_object")
QID = re.compile(r"(?P<base>.+?)(?P<flip>-flip)?(?:-(?P<turn>\d+))?", re.DOTALL)


@VQA_SETS.register("3dsrbench")
class ThreeDSR(VqaSet):
    """Choices whose variants are mirrored pictures and rotated options."""

    title: ClassVar[str] = "3DSRBench"
    rule: ClassVar[str] = (
        "share of questions of which every variant is right: options rotated (CircularEval) and "
        "picture mirrored (FlipEval)"
    )
    facts: ClassVar[tuple[str, ...]] = ("main", "turned", "mirrored")

    def read(self, place: Path) -> list[Item]:
        """See `VqaSet.read`: the fullest file of a folder."""
        file = files_of(place, self.title, *FILES)[0]
        roots, held = roots_of(file, place, "coco_images", "images"), Base64Pictures()
        items = []
        for where, number, record in records(file):
            index = str(maybe(record, "index") or number)
            own = str(maybe(record, "qid") or index)
            found = QID.fullmatch(own)
            assert found is not None  # any text fits
            base, flip, turn = found["base"], found["flip"] or "", found["turn"] or "0"
            category = str(given(record, where, "category"))
            name, picture = _picture(record, index, where, roots, held)
            question = choice(
                where,
                str(given(record, where, "question")),
                options_of(record, where),
                given(record, where, "answer"),
                category,
            )
            main = next((m for m in MAIN if category.startswith(m)), "other")
            # of the same rotation, mirrored and not; of the same picture, all rotations
            facts = {"main": main, "turned": base + flip, "mirrored": f"{base}-{turn}"}
            items.append(Item(own, name + flip, picture, question, base, facts))
        return once(items, self.title)

    def numbers(self, marks: pl.DataFrame) -> dict[str, Interval]:
        """See `VqaSet.numbers`: the strict number, its four parts, and the less strict ones."""
        groups = [m for m in (*MAIN, "other") if m in set(marks["main"])]
        return {
            "3DSRBench": all_right(marks, "whole"),
            **{m: all_right(marks.filter(pl.col("main") == m), "whole") for m in groups},
            "CircularEval": all_right(marks, "turned"),
            "FlipEval": all_right(marks, "mirrored", "right"),
            "every row": share(marks),
        }


def _picture(
    record: Any, index: str, where: str, roots: list[Path], held: Base64Pictures
) -> tuple[str, Path | bytes]:
    url = maybe(record, "image_url")
    field = maybe(record, "image")
    if isinstance(field, dict) and field.get("bytes"):
        return str(field.get("path") or index), field["bytes"]
    if isinstance(field, str) and url is None:
        data = held.of(index, field, where)
        return index, data
    name = maybe(record, "image_path") or (str(url).rsplit("/", 1)[-1] if url else None)
    if name is None:
        raise InputError(f"{where}: no picture ('image', 'image_path' or 'image_url')")
    path = inside(name, where)
    return str(path), first_there(path, roots)
