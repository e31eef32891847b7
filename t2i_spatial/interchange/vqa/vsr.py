"""VSR, Visual Spatial Reasoning: is a caption true of a photograph?

cambridgeltl/visual-spatial-reasoning, commit b27a0af (2023-03-25): JSON lines of `image`,
`caption`, `label` (1 is true), `relation`; a random split and one without shared concepts. The
pictures are COCO's, in `images/` or `trainval2017/`.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.interchange.vqa import VQA_SETS, Item, VqaSet
from t2i_spatial.interchange.vqa.marks import share, shares_by
from t2i_spatial.interchange.vqa.records import (
    checked,
    files_of,
    first_there,
    given,
    inside,
    once,
    records,
    roots_of,
)
from t2i_spatial.statistics.intervals import Interval

KINDS = {
    "adjacency": "adjacent to, alongside, at the side of, at the right side of, at the left side "
    "of, attached to, at the back of, ahead of, against, at the edge of",
    "directional": "off, past, toward, down, deep down, up, away from, along, around, from, into, "
    "to, across, across from, through, down from",
    "orientation": "facing, facing away from, parallel to, perpendicular to",
    "projective": "on top of, beneath, beside, behind, left of, right of, under, in front of, "
    "below, above, over, in the middle of",
    "proximity": "by, close to, near, far from, far away from",
    "topological": "connected to, detached from, has as a part, part of, contains, within, at, on, "
    "in, with, surrounding, among, consists of, out of, between, inside, outside, touching",
}
"""Kinds of relations after the paper's appendix; what is in none is "other"."""
KIND_OF = {relation: kind for kind, names in KINDS.items() for relation in names.split(", ")}


@VQA_SETS.register("vsr")
class VSR(VqaSet):
    """Yes/no questions: is the caption true of the image?"""

    title: ClassVar[str] = "VSR"
    rule: ClassVar[str] = "share of captions whose label is met, of each split"
    facts: ClassVar[tuple[str, ...]] = ("split", "kind")

    def read(self, place: Path) -> list[Item]:
        """See `VqaSet.read`: the test splits of a folder, or any file of the set."""
        found = files_of(place, self.title, "splits/*/test.jsonl", "*/test.jsonl", "test.jsonl")
        items = []
        for file in found:
            split = file.parent.name if place.is_dir() and file.parent != place else file.stem
            roots = roots_of(file, place, "images", "trainval2017")
            for where, number, record in records(file):
                label = given(record, where, "label")
                if label not in (0, 1, "0", "1"):
                    raise InputError(f"{where}: 'label' is 0 or 1, got {label!r}")
                relation = str(given(record, where, "relation"))
                caption = str(given(record, where, "caption")).strip().rstrip(".")
                path = inside(given(record, where, "image"), where)
                question = checked(
                    where,
                    text=f'Is this true of the image: "{caption}"?',
                    gold="yes" if int(label) else "no",
                    skill=relation,
                )
                facts = {"split": split, "kind": KIND_OF.get(relation, "other")}
                own = f"{split}/{number}"
                picture = first_there(path, roots)
                items.append(Item(own, str(path), picture, question, own, facts))
        return once(items, self.title)

    def numbers(self, marks: pl.DataFrame) -> dict[str, Interval]:
        """See `VqaSet.numbers`: each split, and the kinds of relations of all together."""
        splits = marks["split"].unique(maintain_order=True)
        of_splits = {str(name): share(marks.filter(pl.col("split") == name)) for name in splits}
        return {**of_splits, **shares_by(marks, "kind")}
