"""Public sets of questions about pictures, in their own files: what judges are measured on.

One module each. A set is read into items (a picture, a question whose answer is known, what its
numbers are told by); a table of marks, one row per item, becomes the numbers that the set
publishes, by its own rule. The data are never shipped.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import polars as pl

from t2i_spatial.questions import Question
from t2i_spatial.registry import Registry
from t2i_spatial.statistics.intervals import Interval


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a set.

    Attributes:
        id: unique in the set.
        image: name of the picture; questions about one picture are not independent.
        picture: its file, which may be missing, or its bytes.
        question: with its right answer, and the relation or category as `skill`.
        whole: the question that this one is a variant of (mirrored, options rotated); its own id
            if it is none.
        facts: what else the set tells its numbers by.
    """

    id: str
    image: str
    picture: Path | bytes
    question: Question
    whole: str
    facts: Mapping[str, str] = field(default_factory=dict)


class VqaSet(abc.ABC):
    """How the files of one set are read and what is published of it; registers in `VQA_SETS`.

    Attributes:
        name: that it is registered by.
        title: for people.
        rule: how its published number is made, in words.
        facts: the names of `Item.facts`.
        shuffled: whether options are shown in a random order, because the set lists the right one
            first.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    rule: ClassVar[str]
    facts: ClassVar[tuple[str, ...]] = ()
    shuffled: ClassVar[bool] = False

    @abc.abstractmethod
    def read(self, place: Path) -> list[Item]:
        """The items of a folder or file, in its order; pictures are not looked at.

        Raises:
            InputError: no file of this set, a record that lacks something, a right answer that is
                none of the options, or an id twice (says where).
        """

    @abc.abstractmethod
    def numbers(self, marks: pl.DataFrame) -> dict[str, Interval]:
        """The numbers that the set publishes, by its own rule.

        Args:
            marks: `id, image, whole, skill, right, every` and the columns of `facts`, one row per
                item: `right` is 1 or 0 for the options in the order shown, `every` the same for
                all orders that were shown.
        """


VQA_SETS: Registry[type[VqaSet]] = Registry(
    "set of questions", "t2i_spatial.interchange.vqa", classes=(VqaSet,)
)
