"""Labels of other detectors beside the names that prompts use: what is certainly the same word.

Capitals, blanks, hyphens, underscores, a full stop, an article, a plural and LVIS's bracketed
remarks change no meaning, and a few class lists spell a class in their own way. Everything else
stays as it is: whether a "van" is a "car" is for a protocol to say (`metrics.labels`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.labels import canonical_label, label_names
from t2i_spatial.progress import note
from t2i_spatial.prompts.inflection import singular

_SPELLINGS: tuple[tuple[str, ...], ...] = (
    # COCO, Pascal VOC, GenEval, Open Images, Objects365 and LVIS for one class
    ("airplane", "aeroplane"),
    ("bicycle", "bike"),
    ("cell phone", "cellphone", "mobile phone", "cellular telephone"),
    ("computer keyboard", "keyboard"),
    ("computer mouse", "mouse"),
    ("couch", "sofa"),
    ("dining table", "diningtable", "kitchen dining room table"),
    ("donut", "doughnut"),
    ("hair drier", "hair dryer"),
    ("motorcycle", "motorbike"),
    ("potted plant", "pottedplant", "houseplant"),
    ("refrigerator", "fridge"),
    ("traffic light", "trafficlight"),
    ("tv", "tvmonitor", "tv monitor", "television", "television set"),
    ("tv remote", "remote", "remote control"),
    ("hot dog", "hotdog"),
    ("skis", "ski"),
    ("stop sign", "stopsign"),
)
_GROUP = {name: group for group in _SPELLINGS for name in group}
_ARTICLE = re.compile(r"^(a|an|the) (?=\S)")
_SHOWN = 6


@dataclass(frozen=True)
class Matched:
    """What labels mean.

    Attributes:
        names: label -> name of the prompts, for labels that are spelt otherwise.
        doubtful: label -> name that it may mean, and is not taken for.
        known: how many labels are a name of the prompts.
    """

    names: dict[str, str]
    doubtful: dict[str, str]
    known: int


def match_labels(labels: Collection[str], asked: Collection[str]) -> Matched:
    """Labels of a file beside the names that the prompts use.

    >>> match_labels(["Traffic-Light", "cats.", "tvmonitor", "van"], ["traffic light", "cat", "tv"])
    Matched(names={'Traffic-Light': 'traffic light', 'cats.': 'cat', 'tvmonitor': 'tv'}, \
doubtful={}, known=3)
    """
    plain_asked = {_plain(name): name for name in asked}
    taken = {_plain(label) for label in labels}
    names: dict[str, str] = {}
    doubtful: dict[str, str] = {}
    known = 0
    for label in labels:
        if label in asked:
            known += 1
        elif (name := _certain(label, plain_asked, taken)) is not None:
            names[label] = name
            known += 1
        elif label_names(label) & {canonical_label(name) for name in asked}:
            known += 1
            doubtful[label] = next(n for n in asked if canonical_label(n) in label_names(label))
        elif close := difflib.get_close_matches(_plain(label), plain_asked, n=1, cutoff=0.85):
            doubtful[label] = plain_asked[close[0]]
    return Matched(names, doubtful, known)


def _certain(label: str, asked: dict[str, str], taken: Collection[str]) -> str | None:
    word = _plain(label)
    bare = _plain(re.sub(r"\([^)]*\)", "", label.replace("_", " ")))
    for form in dict.fromkeys((word, bare, singular(word))):
        if form in asked:
            return asked[form]
    for form in dict.fromkeys((word, bare, singular(word))):
        for other in _GROUP.get(form, ()):
            if other in asked and other not in taken:
                return asked[other]
    return None


def _plain(label: str) -> str:
    words = " ".join(re.sub(r"[_\-]+", " ", label.casefold()).split()).strip(" .,;:")
    return _ARTICLE.sub("", words)


def labels_of(table: pl.DataFrame) -> list[str]:
    """The distinct labels of a DETECTIONS table in alphabetical order."""
    labels = table["detections"].explode().drop_nulls().struct.field("label")
    return sorted(labels.drop_nulls().unique())


def asked_names(prompts: pl.DataFrame) -> list[str]:
    """The distinct names of the objects of a PROMPTS table."""
    return sorted(prompts["objects"].explode().drop_nulls().struct.field("name").unique())


def matched_labels(
    labels: Collection[str], prompts: pl.DataFrame, what: str, *, any_label: bool = False
) -> dict[str, str]:
    """Label -> name of the prompts, with notes of what was renamed and what is doubtful.

    Raises:
        InputError: no label is a name of the prompts (unless `any_label`).
    """
    asked = asked_names(prompts)
    if not labels or not asked:
        return {}
    found = match_labels(labels, asked)
    if not found.known and not any_label:
        numbers = all(label.isdecimal() for label in labels)
        hint = (
            "the labels are class numbers; say what they mean with --classes coco80, coco91 or a "
            "file of names"
            if numbers
            else "is this the right prompt file, and the right file of detections? "
            "--any-label scores it all the same"
        )
        raise InputError(
            f"{what}: no box has a label that any prompt asks for: labels {_some(labels)}; asked "
            f"{_some(asked)}; {hint}"
        )
    if found.names:
        pairs = [f"{label!r} as {name!r}" for label, name in found.names.items()]
        note(f"{what}: labels read as the prompts spell them: {_joined(pairs)}")
    if found.doubtful:
        pairs = [f"{label!r} (beside {name!r})" for label, name in found.doubtful.items()]
        note(f"{what}: labels that are left as they are, and may mean a name: {_joined(pairs)}")
    return found.names


def renamed(table: pl.DataFrame, names: dict[str, str]) -> pl.DataFrame:
    """The table with labels replaced."""
    if not names:
        return table
    label = pl.element().struct.field("label").replace(names)
    return table.with_columns(
        pl.col("detections").list.eval(pl.element().struct.with_fields(label.alias("label")))
    )


def _some(words: Collection[str]) -> str:
    return _joined([repr(word) for word in words])


def _joined(parts: list[str]) -> str:
    more = f" and {len(parts) - _SHOWN:,} more" if len(parts) > _SHOWN else ""
    return ", ".join(parts[:_SHOWN]) + more
