"""Any multiple choice about pictures: JSON, JSON lines, CSV, TSV or Parquet.

A record has a question, options (a list `options` or `choices`, a mapping of letters, or columns A,
B, C, ...), an answer (a letter or the text of an option), a picture (a path, or base64 or bytes)
and, if there is one, a category: the form of SpatiaLab, of tables for evaluation kits, and of your
own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from t2i_spatial.interchange.vqa import VQA_SETS, Item, VqaSet
from t2i_spatial.interchange.vqa.marks import share, shares_by
from t2i_spatial.interchange.vqa.records import (
    REFERENCE,
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

CATEGORY = ("main_category", "category", "task", "skill", "type", "sub_category")
PICTURE = ("image", "image_path", "img_path", "image_file", "filename", "file_name", "image_name")


@VQA_SETS.register("choices")
class MultipleChoice(VqaSet):
    """Choices in the order of the file."""

    title: ClassVar[str] = "multiple choice"
    rule: ClassVar[str] = "share right, of all and of each category"
    facts: ClassVar[tuple[str, ...]] = ("category",)

    def read(self, place: Path) -> list[Item]:
        """See `VqaSet.read`: one file, or the only one of a folder."""
        patterns = ("*.json", "*.jsonl", "*.parquet", "*.tsv", "*.csv")
        items = []
        for file in files_of(place, self.title, *patterns):
            roots, held = roots_of(file, place, "images"), Base64Pictures()
            for where, number, record in records(file):
                own = str(maybe(record, "id", "question_id", "qid", "idx", "index") or number)
                category = maybe(record, *CATEGORY)
                name, picture = _picture(record, own, where, roots, held)
                question = choice(
                    where,
                    str(given(record, where, "question", "text")),
                    options_of(record, where),
                    given(record, where, "answer", "correct_answer", "label"),
                    None if category is None else str(category),
                )
                facts = {"category": "none" if category is None else str(category)}
                items.append(Item(own, name, picture, question, own, facts))
        return once(items, self.title)

    def numbers(self, marks: pl.DataFrame) -> dict[str, Interval]:
        """See `VqaSet.numbers`."""
        by = shares_by(marks, "category")
        return {"all": share(marks), **(by if len(by) > 1 else {})}


def _picture(
    record: Any, index: str, where: str, roots: list[Path], held: Base64Pictures
) -> tuple[str, Path | bytes]:
    field = given(record, where, *PICTURE)
    if isinstance(field, dict):
        if field.get("bytes"):
            return str(field.get("path") or index), field["bytes"]
        field = given(field, where, "path")
    if isinstance(field, list):
        field = field[0]
    text = str(field)
    if len(text) > 4 * REFERENCE and "." not in text[-6:]:
        return index, held.of(index, text, where)
    path = inside(text, where)
    return str(path), first_there(path, roots)
