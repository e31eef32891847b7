"""One option for every object of a scene, so that the sum of all fits is highest."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from t2i_spatial.metrics.geometry import Bools, Floats

Option = tuple[int, ...]
"""Boxes that an object may take together."""

MAX_COMBINATIONS = 20_000
"""Assignments that are searched exhaustively; beyond, objects are improved in turn."""


class Link(Protocol):
    """Something that depends on the options of several objects."""

    @property
    def ends(self) -> tuple[int, ...]:
        """The objects, different ones."""

    def logs(self, options: Sequence[Sequence[Option]]) -> Floats:
        """Log of the fit of every choice of one option per end, (m_1, ..., m_e)."""


def search(
    unary: Sequence[Floats], options: Sequence[Sequence[Option]], links: Sequence[Link]
) -> tuple[int, ...]:
    """The option of every object with the highest sum; of equal ones the first.

    Args:
        unary: log of the fit of every option of an object on its own.
        options: at least one per object.
        links: what depends on two objects or more.
    """
    if math.prod(len(choices) for choices in options) <= MAX_COMBINATIONS:
        return _exhaustive(unary, options, links)
    picks = [int(np.argmax(fits)) for fits in unary]
    of_object: list[list[Link]] = [[] for _ in options]
    for link in links:
        for k in link.ends:
            of_object[k].append(link)
    for _ in options:
        before = list(picks)
        for k, fits in enumerate(unary):
            if len(options[k]) > 1:
                total = fits.copy()
                for link in of_object[k]:
                    given = [options[j] if j == k else [options[j][picks[j]]] for j in link.ends]
                    total += link.logs(given).ravel()
                picks[k] = int(np.argmax(total))
        if picks == before:
            break
    return tuple(picks)


def _exhaustive(
    unary: Sequence[Floats], options: Sequence[Sequence[Option]], links: Sequence[Link]
) -> tuple[int, ...]:
    free = [k for k, choices in enumerate(options) if len(choices) > 1]
    total = np.zeros([len(options[k]) for k in free])

    def spread(values: Floats, ends: Sequence[int]) -> Floats:
        """Values over the options of `ends`, laid along the axes of those that are free."""
        order = sorted(range(len(ends)), key=lambda place: ends[place])
        shape = [len(options[k]) if k in ends else 1 for k in free]
        return values.transpose(order).reshape(shape)

    for k, fits in enumerate(unary):
        total += spread(fits, (k,))
    for link in links:
        total += spread(link.logs([options[k] for k in link.ends]), link.ends)
    best = dict(zip(free, np.unravel_index(int(np.argmax(total)), total.shape), strict=True))
    return tuple(int(best.get(k, 0)) for k in range(len(options)))


@dataclass(frozen=True, eq=False)
class Related:
    """A relation that must hold for all boxes of its ends; the worst ones count.

    Attributes:
        ends: objects of the scene.
        boxes: for every end the boxes that its object may take.
        table: probability for every choice of one box per end, (n_1, ..., n_e).
        pair: the last end stands for two of its boxes ("between two trees"): `table` has one axis
            more, and the best two count.
        least: probabilities below count as this in the choice of boxes.
    """

    ends: tuple[int, ...]
    boxes: tuple[Sequence[int], ...]
    table: Floats
    pair: bool = False
    least: float = 0.0

    def logs(self, options: Sequence[Sequence[Option]]) -> Floats:
        """See `Link`."""
        return np.log(np.maximum(self.worst(options), self.least))

    def worst(self, options: Sequence[Sequence[Option]]) -> Floats:
        """Probability for every choice of one option per end; 1 where an end has too few boxes
        (what is missing counts by itself).
        """
        table = self.table
        for axis, choices in enumerate(options):
            places = {box: place for place, box in enumerate(self.boxes[axis])}
            if self.pair and axis == len(options) - 1:
                parts = [_best_pair(table, [places[i] for i in ids]) for ids in choices]
            else:
                parts = [
                    table.take([places[i] for i in ids], axis).min(axis, initial=1.0)
                    for ids in choices
                ]
            table = np.stack(parts, axis)
        return table


@dataclass(frozen=True, eq=False)
class Among:
    """A relation among several boxes of one object, whichever stands to which.

    Attributes:
        ends: the object.
        boxes: those that it may take.
        table: probability for every two of them, in either order, (n, n).
        every: whether any two boxes must stand in the relation ("far from each other"). Otherwise
            a chain of them is enough ("three dogs side by side"), and its weakest link counts.
        least: probabilities below count as this in the choice of boxes.
    """

    ends: tuple[int]
    boxes: tuple[Sequence[int]]
    table: Floats
    every: bool = False
    least: float = 0.0
    pair: ClassVar[bool] = True

    def logs(self, options: Sequence[Sequence[Option]]) -> Floats:
        """See `Link`."""
        return np.log(np.maximum(self.worst(options), self.least))

    def worst(self, options: Sequence[Sequence[Option]]) -> Floats:
        """Probability for every option; 1 where it has fewer than two boxes."""
        places = {box: place for place, box in enumerate(self.boxes[0])}
        return np.array([self._of([places[i] for i in ids]) for ids in options[0]])

    def _of(self, ids: Sequence[int]) -> float:
        among = self.table[np.ix_(ids, ids)]
        if len(ids) < 2:
            return 1.0
        if self.every:
            return float(among[np.triu_indices(len(ids), 1)].min())
        reached, weakest = among[0].copy(), 1.0
        left = set(range(1, len(ids)))
        while left:  # the strongest tree, grown from the first box
            nearest = max(sorted(left), key=lambda place: reached[place])
            left.remove(nearest)
            weakest = min(weakest, float(reached[nearest]))
            reached = np.maximum(reached, among[nearest])
        return weakest


def _best_pair(table: Floats, ids: Sequence[int]) -> Floats:
    """The highest of all pairs of places on the last two axes; 1 when there is no pair."""
    pairs = list(itertools.combinations(ids, 2))
    if not pairs:
        return np.ones(table.shape[:-2])
    first, second = zip(*pairs, strict=True)
    highest: Floats = table[..., first, second].max(axis=-1)
    return highest


@dataclass(frozen=True, eq=False)
class Apart:
    """Two objects that must not be one box, nor one thing under two boxes.

    Attributes:
        ends: two objects of the scene.
        alike: (n, n), whether two boxes cover the same thing.
        shared, covered: log of the fit of one box, and of two boxes on one thing.
    """

    ends: tuple[int, int]
    alike: Bools
    shared: float
    covered: float

    def logs(self, options: Sequence[Sequence[Option]]) -> Floats:
        """See `Link`."""
        ids = sorted({i for choices in options for option in choices for i in option})
        place = {box: at for at, box in enumerate(ids)}
        first, second = (_members(choices, place) for choices in options)
        near = first @ self.alike[np.ix_(ids, ids)].astype(np.float64) @ second.T
        apart = np.where(near > 0, self.covered, 0.0)
        return np.where(first @ second.T > 0, self.shared, apart)


def _members(choices: Sequence[Option], place: dict[int, int]) -> Floats:
    """Which boxes belong to which option, (m, n), as 0 and 1."""
    members = np.zeros((len(choices), len(place)))
    for row, option in enumerate(choices):
        members[row, [place[i] for i in option]] = 1.0
    return members
