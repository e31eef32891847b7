"""What's Up: which of two or four captions, that differ in the preposition, is true of a picture?

amitakamath/whatsup_vlms, commit 7c1f255 (2024-02-28), `dataset_zoo/aro_datasets.py`. Six files:
photographs taken for it (A on tables and chairs, B in front and behind) hold `image_path` and
`caption_options`, those after COCO and GQA lists of image id, right and wrong caption. The first
caption is always the right one, so options are shown shuffled.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.interchange.vqa import VQA_SETS, Item, VqaSet
from t2i_spatial.interchange.vqa.marks import all_right, share
from t2i_spatial.interchange.vqa.records import (
    choice,
    files_of,
    first_there,
    given,
    inside,
    once,
    records,
    roots_of,
)
from t2i_spatial.statistics.intervals import Interval
from t2i_spatial.statistics.strata import weighted_sum

TAKEN = {"controlled_images_dataset": "A", "controlled_clevr_dataset": "B"}
LISTED = {
    "coco_qa_one_obj": ("COCO one object", "val2017/{:0>12}.jpg"),
    "coco_qa_two_obj": ("COCO two objects", "val2017/{:0>12}.jpg"),
    "vg_qa_one_obj": ("GQA one object", "vg_images/{}.jpg"),
    "vg_qa_two_obj": ("GQA two objects", "vg_images/{}.jpg"),
}
AVERAGES = {
    "What's Up": ("A", "B"),
    "COCO-spatial": ("COCO one object", "COCO two objects"),
    "GQA-spatial": ("GQA one object", "GQA two objects"),
}
"""Means of two subsets, as the paper's first table gives them."""
TEXT = "Which caption is true of the image?"


@VQA_SETS.register("whatsup")
class WhatsUp(VqaSet):
    """Choices of captions; A and B also by pairs and sets of opposite photographs."""

    title: ClassVar[str] = "What's Up"
    rule: ClassVar[str] = (
        "share right of each subset and the mean of two; pairs and sets count when all their "
        "pictures are right"
    )
    facts: ClassVar[tuple[str, ...]] = ("subset", "pair", "set")
    shuffled: ClassVar[bool] = True

    def read(self, place: Path) -> list[Item]:
        """See `VqaSet.read`: all files of the set that the folder has."""
        names = [f"{stem}.json" for stem in (*TAKEN, *LISTED)]
        items: list[Item] = []
        for file in files_of(place, self.title, *names, *(f"data/{name}" for name in names)):
            if file.stem not in (*TAKEN, *LISTED):
                raise InputError(f"{file} is no file of {self.title} ({', '.join(names)})")
            items += _items(file, place)
        return once(items, self.title)

    def numbers(self, marks: pl.DataFrame) -> dict[str, Interval]:
        """See `VqaSet.numbers`."""
        found = {}
        for name in marks["subset"].unique(maintain_order=True):
            own = marks.filter(pl.col("subset") == name)
            found[str(name)] = share(own)
            if name in TAKEN.values():
                found[f"{name} pairs"] = all_right(own, "pair", "right", of=2)
                found[f"{name} sets"] = all_right(own, "set", "right", of=4)
        for name, (first, second) in AVERAGES.items():
            if first in found and second in found:
                found[name] = weighted_sum((found[first], found[second]), (0.5, 0.5))
        return found


def _items(file: Path, place: Path) -> Iterator[Item]:
    subset = TAKEN[file.stem] if file.stem in TAKEN else LISTED[file.stem][0]
    roots = roots_of(file, place)
    for where, number, record in records(file):
        if file.stem in TAKEN:
            name = inside(given(record, where, "image_path"), where)
            captions = given(record, where, "caption_options")
            skill, groups = _turned(name.stem, subset, where)
        else:
            image, captions = _listed(record, where)
            name = inside(LISTED[file.stem][1].format(image), where)
            skill, groups = _preposition(captions[0], file.stem), {}
        # paths are written as seen from the repository, whose `data` folder may be the one given
        below = [name, name.relative_to("data")] if name.parts[0] == "data" else [name]
        tried = [first_there(path, roots) for path in below]
        picture = next((path for path in tried if path.is_file()), tried[-1])
        own = f"{subset}/{number}"
        question = choice(where, TEXT, [str(text) for text in captions], "A", skill)
        yield Item(own, str(name), picture, question, own, {"subset": subset, **groups})


def _listed(record: Any, where: str) -> tuple[str, list[str]]:
    if not isinstance(record, list) or len(record) != 3:
        raise InputError(f"{where}: expected [image id, right caption, wrong caption]")
    return str(record[0]), [str(record[1]), str(record[2])]


def _turned(stem: str, subset: str, where: str) -> tuple[str, dict[str, str]]:
    """Relation, pair and set of a photograph named OBJECT_RELATION_OBJECT."""
    parts = stem.split("_")
    across = ("left", "right")
    upright = ("on", "under") if subset == "A" else ("in-front", "behind")
    if len(parts) < 3 or parts[1] not in (*across, *upright):
        raise InputError(f"{where}: the picture {stem!r} is not named OBJECT_RELATION_OBJECT")
    both = f"{subset}/{parts[0]}/{parts[-1]}"
    direction = "across" if parts[1] in across else "upright"
    return parts[1], {"pair": f"{both}/{direction}", "set": both}


def _preposition(caption: str, stem: str) -> str:
    if stem.endswith("one_obj"):
        return caption.rstrip(". ").split()[-1]
    for phrase, name in (("left of", "left"), ("right of", "right"), ("front of", "front")):
        if phrase in caption:
            return name
    return next((w for w in ("behind", "above", "below") if w in caption.split()), "top")
