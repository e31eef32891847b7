"""SpatialBench: existence, counting, position, reach and size, each in its own file and rule.

BAAI-DCAI/SpatialBot, `bunny/eval/eval_spatialbench.py` (2024): JSON lists of `image`, `question`,
`answer`, where questions of `existence`, `reach` and `size` come in pairs, a positive one and a
negative one. An answer is right when the reply holds it. The files themselves are gated on their
hub page; this was written after the script that reads them.
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
    checked,
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
from t2i_spatial.questions import NUMBER, SAY, Question
from t2i_spatial.statistics.intervals import Interval, ratio_interval

PARTS = ("existence", "counting", "positional", "reach", "size")
LETTERED = re.compile(r"(?:^|\s)\(?([A-J])[).:]\s*(.+?)(?=\s+\(?[A-J][).:]\s|\s*$)", re.DOTALL)
"""Options within the text of a question."""


@VQA_SETS.register("spatialbench")
class SpatialBench(VqaSet):
    """Yes/no, counts and choices; `counting` is told as the share of exact counts."""

    title: ClassVar[str] = "SpatialBench"
    rule: ClassVar[str] = (
        "existence: pairs with both right; reach and size: a third each for both questions of a "
        "pair and for having both; positional and counting: share right"
    )
    facts: ClassVar[tuple[str, ...]] = ("part", "pair")

    def read(self, place: Path) -> list[Item]:
        """See `VqaSet.read`: all parts that the folder has."""
        items = []
        for file in files_of(place, self.title, *(f"{part}.json" for part in PARTS)):
            if file.stem not in PARTS:
                raise InputError(f"{file} is no file of {self.title} ({', '.join(PARTS)}.json)")
            roots = roots_of(file, place)
            for where, number, record in records(file):
                image = given(record, where, "image")
                if isinstance(image, list) and len(image) != 1:
                    raise InputError(f"{where}: a question about {len(image)} pictures")
                name = inside(image[0] if isinstance(image, list) else image, where)
                own = f"{file.stem}/{number}"
                facts = {"part": file.stem, "pair": f"{file.stem}/{number // 2}"}
                question = _question(record, where, file.stem)
                items.append(Item(own, str(name), first_there(name, roots), question, own, facts))
        return once(items, self.title)

    def numbers(self, marks: pl.DataFrame) -> dict[str, Interval]:
        """See `VqaSet.numbers`."""
        found = {}
        for part in marks["part"].unique(maintain_order=True):
            own = marks.filter(pl.col("part") == part)
            if part == "existence":
                found[part] = all_right(own, "pair", "right", of=2)
            elif part in ("reach", "size"):
                found[part] = _thirds(own)
            else:
                found[str(part)] = share(own)
        return found


def _thirds(marks: pl.DataFrame) -> Interval:
    """Of three points of a pair: one for each right answer, one for having both."""
    pairs = marks.group_by("pair", maintain_order=True).agg(
        pl.col("right").sum().cast(pl.Float64).alias("right"), pl.len().alias("rows")
    )
    points = (pairs["right"] + (pairs["right"] == 2).cast(pl.Float64)) / 3
    return ratio_interval(points, pairs["rows"] / 2, pairs["pair"])


def _question(record: Any, where: str, part: str) -> Question:
    text = str(given(record, where, "question")).strip()
    answer = str(given(record, where, "answer")).strip()
    if maybe(record, "options", "choices") is not None:
        return choice(where, text, options_of(record, where), answer, part)
    shown = LETTERED.findall(text)
    if len(shown) > 1 and "".join(letter for letter, _ in shown) == "ABCDEFGHIJ"[: len(shown)]:
        head = LETTERED.split(text, maxsplit=1)[0].strip() or "Which is true of the image?"
        return choice(where, head, [option.strip() for _, option in shown], answer, part)
    if answer.lower().rstrip(".") in ("yes", "no"):
        gold = answer.lower().rstrip(".")
        return checked(where, text=text, gold=gold, skill=part)
    if answer.isdigit():
        return checked(
            where, text=text, kind="count", gold=answer, skill=part, template=NUMBER.name
        )
    return checked(where, text=text, kind="text", gold=answer, skill=part, template=SAY.name)
