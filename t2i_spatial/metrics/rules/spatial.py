"""`spatial`: the probability that people would call a relation between two boxes true.

Every rule is a cut on box geometry, taken from those that agreed best with held-out human labels
on photographs (`docs/protocols/spatial.md` has the evidence), turned into a logistic of the
distance from that cut: 0.5 exactly on it, monotone, no dependence on the place or scale of the
boxes. No probability goes beyond the share of such statements that people confirm, nor below its
complement.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.geometry import Boxes, Floats, interval_gap, iou, precedes
from t2i_spatial.metrics.nouns import VESSELS, WEARABLES, among, typical_sizes
from t2i_spatial.metrics.relations import Pairs, relation_rule
from t2i_spatial.metrics.rules.quantities import (
    contrast,
    gap,
    log_ratio,
    mean_height,
    mean_size,
    overlap_x,
    overlap_y,
    share_inside,
    share_x,
)

UNSURE = (0.35, 0.65)
"""Probabilities in this band are reported as unsure."""


@dataclass(frozen=True)
class Certainty:
    """How fast a rule becomes sure, and how sure it may be.

    Attributes:
        above, below: slope of the logistic over the margin, on either side of the cut.
        most: the highest probability; 1 - `most` is the lowest.
    """

    above: float
    below: float
    most: float

    def of(self, margin: Floats) -> Floats:
        """Probability at a margin: 0.5 at 0, a textbook case being 1."""
        steep = margin * np.where(margin > 0, self.above, self.below)
        return np.clip(1 / (1 + np.exp(-steep)), 1 - self.most, self.most)


def _textbook(agreement: float) -> Certainty:
    """A textbook case gets the rate at which people confirm each other."""
    slope = math.log(agreement / (1 - agreement))
    return Certainty(slope, slope, agreement)


CERTAINTY = {
    "left of": Certainty(4.3, 1.5, 0.97),
    "above": _textbook(0.95),
    "on": _textbook(0.88),
    "in": Certainty(1.9, 0.8, 0.90),
    "under": _textbook(0.86),
    "next to": Certainty(2.2, 1.6, 0.80),
    "near": _textbook(0.73),
    "in front of": _textbook(0.82),
    "between": _textbook(0.85),
    "larger than": _textbook(0.85),
    "same size as": _textbook(0.75),
    "far from": _textbook(0.85),
    "touching": _textbook(0.70),
    "surrounding": _textbook(0.85),
    "wearing": _textbook(0.90),
}
"""By relation; its opposite has the same."""


# -- directions -------------------------------------------------------------------------------


def _lateral(pairs: Pairs, before: Floats) -> Floats:
    """Beyond 0.75, and beyond 0.60 where one box lies in the other.

    Between half and 0.7 inside the cut slides: a box that moves on never loses by it.
    """
    a, b = pairs.subject, pairs.object
    nested = np.maximum(share_inside(a, b), share_inside(b, a))
    cut = 0.75 - 0.15 * np.clip((nested - 0.5) / 0.2, 0.0, 1.0)
    return CERTAINTY["left of"].of((before - cut) / (1 - cut))


def _vertical(before: Floats) -> Floats:
    return CERTAINTY["above"].of((before - 0.55) / 0.45)


def _before_x(a: Boxes, b: Boxes) -> Floats:
    return precedes(a.x1, a.x2, b.x1, b.x2)


def _before_y(a: Boxes, b: Boxes) -> Floats:
    return precedes(a.y1, a.y2, b.y1, b.y2)


@relation_rule("spatial", "left of")
def left_of(pairs: Pairs) -> Floats:
    """A random point of the subject lies left of one of the object more often than 0.75; more
    often than 0.60 where one box lies in the other.
    """
    return _lateral(pairs, _before_x(pairs.subject, pairs.object))


@relation_rule("spatial", "right of")
def right_of(pairs: Pairs) -> Floats:
    """`left_of` with the two boxes exchanged."""
    return _lateral(pairs, _before_x(pairs.object, pairs.subject))


@relation_rule("spatial", "above")
def above(pairs: Pairs) -> Floats:
    """A random point of the subject lies above one of the object more often than 0.55."""
    return _vertical(_before_y(pairs.subject, pairs.object))


@relation_rule("spatial", "below")
def below(pairs: Pairs) -> Floats:
    """`above` with the two boxes exchanged."""
    return _vertical(_before_y(pairs.object, pairs.subject))


@relation_rule("spatial", "between")
def between(pairs: Pairs) -> Floats:
    """On one axis after one end and before the other (0.70 of random points), and on the other
    axis less than half a mean height or width off the band that both ends span.
    """
    if pairs.second is None:
        raise InputError("'between' needs the boxes of both ends; give second=")
    a, b, c = pairs.subject, pairs.object, pairs.second
    margins = []
    for before, axis in ((_before_x, 1), (_before_y, 0)):
        order = np.maximum(
            np.minimum(before(b, a), before(a, c)), np.minimum(before(c, a), before(a, b))
        )
        low, high = np.minimum(b[axis], c[axis]), np.maximum(b[axis + 2], c[axis + 2])
        off = interval_gap(a[axis], a[axis + 2], low, high) / mean_size(b, c)
        margins.append(_weakest((order - 0.70) / 0.30, (0.5 - off) / 0.5))
    return CERTAINTY["between"].of(np.maximum(*margins))


# -- contact and containment ------------------------------------------------------------------


@relation_rule("spatial", "on")
def on(pairs: Pairs) -> Floats:
    """Held from below: 0.7 of the subject's width over the object, its centre not far below the
    object's (0.4 mean heights), and a tenth of the subject inside the object's box.
    """
    a, b = pairs.subject, pairs.object
    below = (a.centre_y - b.centre_y) / mean_height(a, b)
    apart = interval_gap(a.y1, a.y2, b.y1, b.y2) / mean_height(a, b)
    inside = share_inside(a, b)
    return CERTAINTY["on"].of(
        _weakest(
            (share_x(a, b) - 0.7) / 0.3,
            (0.4 - below) / 0.4,
            # little overlap is doubtful, a clear one soon is not
            np.where(inside < 0.1, (inside - 0.1) / 0.5 - 2 * apart, (inside - 0.1) / 0.15),
        )
    )


@relation_rule("spatial", "in")
def inside(pairs: Pairs) -> Floats:
    """0.55 of the subject inside the object's box, and the subject the smaller one.

    In a vessel it may instead stick out at the top; what is worn is around its wearer.
    """
    a, b, n = pairs.subject, pairs.object, len(pairs)
    margin = _weakest((share_inside(a, b) - 0.55) / 0.45, 2 * contrast(b.area, a.area) - 0.02)
    vessel = among(pairs.object_name, n, VESSELS)
    if vessel.any():
        margin = np.where(vessel, np.maximum(margin, _in_vessel(a, b)), margin)
    worn = among(pairs.object_name, n, WEARABLES) & ~vessel
    found = CERTAINTY["in"].of(margin)
    return np.where(worn, wearing(pairs), found) if worn.any() else found


def _in_vessel(a: Boxes, b: Boxes) -> Floats:
    """0.6 of the narrower width shared, the bottom between 0.1 and 1.1 of the vessel's height below
    its top, and the centre above the vessel's.
    """
    deep = (a.y2 - b.y1) / np.maximum(b.height, 1e-6 * mean_height(a, b))
    higher = (b.centre_y - a.centre_y) / mean_height(a, b)
    return _weakest(
        (overlap_x(a, b) - 0.6) / 0.4, (deep - 0.1) / 0.4, (1.1 - deep) / 0.4, higher / 0.25
    )


@relation_rule("spatial", "wearing")
def wearing(pairs: Pairs) -> Floats:
    """0.7 of the object inside the subject's box."""
    worn = share_inside(pairs.object, pairs.subject)
    return CERTAINTY["wearing"].of(_weakest((worn - 0.7) / 0.3))


@relation_rule("spatial", "surrounding")
def surrounding(pairs: Pairs) -> Floats:
    """Half of the object inside the subject's box, and the object the smaller one."""
    a, b = pairs.subject, pairs.object
    larger = contrast(a.area, b.area)
    return CERTAINTY["surrounding"].of(
        _weakest((share_inside(b, a) - 0.5) / 0.5, 2 * larger - 0.02)
    )


@relation_rule("spatial", "under")
def under(pairs: Pairs) -> Floats:
    """0.6 of the narrower width shared, and the subject's bottom not above the object's."""
    a, b = pairs.subject, pairs.object
    return CERTAINTY["under"].of(
        _weakest((overlap_x(a, b) - 0.6) / 0.4, (_lower_edge(a, b) + 0.02) / 0.5)
    )


# -- distance ---------------------------------------------------------------------------------


@relation_rule("spatial", "next to")
def next_to(pairs: Pairs) -> Floats:
    """A gap below 0.75 mean sizes, a tenth of the heights shared, bottoms less than a mean height
    apart, and not stacked (0.85 of the width).
    """
    a, b = pairs.subject, pairs.object
    return CERTAINTY["next to"].of(
        _weakest(
            (0.75 - gap(a, b) / mean_size(a, b)) / 0.75,
            (0.85 - overlap_x(a, b)) / 0.35,
            (overlap_y(a, b) - 0.1) / 0.3,
            1 - np.abs(_lower_edge(a, b)),
        )
    )


@relation_rule("spatial", "near")
def near(pairs: Pairs) -> Floats:
    """A gap below one mean size. People do not agree on this one, nor can boxes decide it."""
    a, b = pairs.subject, pairs.object
    return CERTAINTY["near"].of(_weakest(1 - gap(a, b) / mean_size(a, b)))


@relation_rule("spatial", "far from")
def far_from(pairs: Pairs) -> Floats:
    """A gap above one mean size, a clear case being two."""
    a, b = pairs.subject, pairs.object
    return CERTAINTY["far from"].of(_weakest(gap(a, b) / mean_size(a, b) - 1))


@relation_rule("spatial", "touching")
def touching(pairs: Pairs) -> Floats:
    """An IoU above 0.05. Boxes of things that touch overlap, and so do those of others."""
    a, b = pairs.subject, pairs.object
    apart = gap(a, b) / mean_size(a, b)
    return CERTAINTY["touching"].of(_weakest((iou(a, b) - 0.05) / 0.25 - 2 * apart))


# -- size in the picture ----------------------------------------------------------------------

_LARGER, _CLEARLY_LARGER = math.log(1.3), math.log(3.0)
"""Ratios of box areas: sides that differ by a seventh are told apart, the rest is one size."""


def _larger(a: Boxes, b: Boxes) -> Floats:
    margin = (log_ratio(a.area, b.area) - _LARGER) / (_CLEARLY_LARGER - _LARGER)
    return CERTAINTY["larger than"].of(_weakest(margin))


@relation_rule("spatial", "larger than")
def larger_than(pairs: Pairs) -> Floats:
    """A box of 1.3 times the object's area, as it appears in the picture."""
    return _larger(pairs.subject, pairs.object)


@relation_rule("spatial", "smaller than")
def smaller_than(pairs: Pairs) -> Floats:
    """`larger_than` with the two boxes exchanged."""
    return _larger(pairs.object, pairs.subject)


@relation_rule("spatial", "same size as")
def same_size_as(pairs: Pairs) -> Floats:
    """Areas within a factor of 1.3."""
    apart = np.abs(log_ratio(pairs.subject.area, pairs.object.area))
    return CERTAINTY["same size as"].of(_weakest((_LARGER - apart) / _LARGER))


# -- depth ------------------------------------------------------------------------------------


@relation_rule("spatial", "in front of")
def in_front_of(pairs: Pairs) -> Floats:
    """Nearer by depth where it is known; otherwise what `behind` says of the two exchanged."""
    return _nearer(pairs, 1.0)


@relation_rule("spatial", "behind")
def behind(pairs: Pairs) -> Floats:
    """Farther by depth where it is known. Otherwise the bottom edge is the higher one, or the
    subject appears smaller than things of its kind do beside the object: a logistic of both.
    """
    return _nearer(pairs, -1.0)


def _nearer(pairs: Pairs, sign: float) -> Floats:
    """Probability that the subject is nearer (1) or farther (-1): by depth, a difference of 0.2
    being a clear case, by edges and sizes without it.
    """
    near, far = (pairs.subject, pairs.object) if sign > 0 else (pairs.object, pairs.subject)
    lower = np.clip(_lower_edge(near, far), -0.5, 0.5)
    sizes = (
        typical_sizes(pairs.subject_name, len(pairs)),
        typical_sizes(pairs.object_name, len(pairs)),
    )
    apparent = sign * (
        log_ratio(pairs.subject.area, pairs.object.area) / 2 - np.log(sizes[0] / sizes[1])
    )
    closer = np.clip(np.nan_to_num(apparent), -1.5, 1.5)
    certainty = CERTAINTY["in front of"]
    chance = 1 / (1 + np.exp(0.242 - 2.620 * lower - 0.650 * closer))
    by_boxes = np.clip(chance, 1 - certainty.most, certainty.most)
    nearness = pairs.nearness()
    if nearness is None:
        return by_boxes
    by_depth = sign * (nearness[0] - nearness[1]) / 0.2
    known = ~np.isnan(by_depth)
    return np.where(known, certainty.of(_weakest(np.where(known, by_depth, 0.0))), by_boxes)


def _lower_edge(a: Boxes, b: Boxes) -> Floats:
    """How far a's bottom edge is below b's, in mean heights."""
    return (a.y2 - b.y2) / mean_height(a, b)


def _weakest(*margins: Floats) -> Floats:
    """The condition that is nearest to failing; a textbook case is 1, a clear miss down to -3."""
    lowest = margins[0]
    for margin in margins[1:]:
        lowest = np.minimum(lowest, margin)
    return np.clip(lowest, -3.0, 1.0)
