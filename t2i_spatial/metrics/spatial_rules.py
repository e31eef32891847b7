"""`spatial`: the probability that people would call a relation between two boxes true.

Every rule is a cut on box geometry, taken from those that agreed best with held-out human labels
on photographs (`docs/protocols/spatial.md` has the evidence), turned into a logistic of the
distance from that cut: 0.5 exactly on it, monotone, no dependence on the place or scale of the
boxes. The slope is set so that a textbook case gets the rate at which people agree with each
other on that relation, and no more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from t2i_spatial.metrics.geometry import Boxes, Floats, interval_gap, precedes
from t2i_spatial.metrics.relations import Pairs, relation_rule

UNSURE = (0.35, 0.65)
"""Probabilities in this band are reported as unsure."""


@dataclass(frozen=True)
class Cut:
    """Where a relation begins to hold, and how sure a textbook case is.

    Attributes:
        at: cut on the rule's quantity, where the probability is 0.5.
        span: distance from the cut to a textbook case.
        agreement: probability of a textbook case.
    """

    at: float
    span: float
    agreement: float


LATERAL = Cut(at=0.70, span=0.30, agreement=0.97)
VERTICAL = Cut(at=0.55, span=0.45, agreement=0.95)
AGREEMENT = {
    "on": 0.88,
    "in": 0.90,
    "under": 0.86,
    "next to": 0.80,
    "near": 0.73,
    "behind": 0.82,
    "in front of": 0.82,
}
"""Probability of a textbook case: how often a second person confirmed the relation."""


def _logistic(margin: Floats, agreement: float) -> Floats:
    """0.5 at margin 0, `agreement` at margin 1."""
    slope = math.log(agreement / (1 - agreement))
    return np.asarray(1 / (1 + np.exp(-slope * margin)), dtype=np.float64)


def _ordered(probability: Floats, cut: Cut) -> Floats:
    return _logistic((probability - cut.at) / cut.span, cut.agreement)


def _before_x(a: Boxes, b: Boxes) -> Floats:
    return precedes(a.x1, a.x2, b.x1, b.x2)


def _before_y(a: Boxes, b: Boxes) -> Floats:
    return precedes(a.y1, a.y2, b.y1, b.y2)


@relation_rule("spatial", "left of")
def left_of(pairs: Pairs) -> Floats:
    """A random point of the subject lies left of one of the object more often than 0.70."""
    return _ordered(_before_x(pairs.subject, pairs.object), LATERAL)


@relation_rule("spatial", "right of")
def right_of(pairs: Pairs) -> Floats:
    """`left_of` with the two boxes exchanged."""
    return _ordered(_before_x(pairs.object, pairs.subject), LATERAL)


@relation_rule("spatial", "above")
def above(pairs: Pairs) -> Floats:
    """A random point of the subject lies above one of the object more often than 0.55."""
    return _ordered(_before_y(pairs.subject, pairs.object), VERTICAL)


@relation_rule("spatial", "below")
def below(pairs: Pairs) -> Floats:
    """`above` with the two boxes exchanged."""
    return _ordered(_before_y(pairs.object, pairs.subject), VERTICAL)


@relation_rule("spatial", "on")
def on(pairs: Pairs) -> Floats:
    """Held from below: 0.7 of the subject's width over the object, its centre not far below the
    object's (0.4 mean heights), and a tenth of the subject inside the object's box.
    """
    a, b = pairs.subject, pairs.object
    covered = _share_x(a, b)
    below = (a.centre_y - b.centre_y) / _mean_height(a, b)
    gap = interval_gap(a.y1, a.y2, b.y1, b.y2) / _mean_height(a, b)
    inside = _share_inside(a, b)
    return _logistic(
        _weakest(
            (covered - 0.7) / 0.3,
            (0.4 - below) / 0.4,
            # little overlap is doubtful, a clear one soon is not
            np.where(inside < 0.1, (inside - 0.1) / 0.5 - 2 * gap, (inside - 0.1) / 0.15),
        ),
        AGREEMENT["on"],
    )


@relation_rule("spatial", "in")
def inside(pairs: Pairs) -> Floats:
    """0.55 of the subject inside the object's box, and the subject the smaller one."""
    a, b = pairs.subject, pairs.object
    larger = _contrast(b.area, a.area)
    return _logistic(
        _weakest((_share_inside(a, b) - 0.55) / 0.45, 2 * larger - 0.02), AGREEMENT["in"]
    )


@relation_rule("spatial", "under")
def under(pairs: Pairs) -> Floats:
    """Half of the narrower width shared, and the subject's bottom not above the object's."""
    a, b = pairs.subject, pairs.object
    lower = (a.y2 - b.y2) / _mean_height(a, b)
    return _logistic(
        _weakest((_overlap_x(a, b) - 0.5) / 0.5, (lower + 0.02) / 0.5), AGREEMENT["under"]
    )


@relation_rule("spatial", "next to")
def next_to(pairs: Pairs) -> Floats:
    """A gap below 0.75 mean sizes, heights that overlap, and not stacked (0.85 of the width)."""
    a, b = pairs.subject, pairs.object
    return _logistic(
        _weakest(
            (0.75 - _gap(a, b) / _mean_size(a, b)) / 0.75,
            (0.85 - _overlap_x(a, b)) / 0.35,
            (_overlap_y(a, b) - 0.02) / 0.3,
        ),
        AGREEMENT["next to"],
    )


@relation_rule("spatial", "near")
def near(pairs: Pairs) -> Floats:
    """A gap below one mean size. People do not agree on this one, nor can boxes decide it."""
    a, b = pairs.subject, pairs.object
    return _logistic(_weakest(1 - _gap(a, b) / _mean_size(a, b)), AGREEMENT["near"])


@relation_rule("spatial", "in front of")
def in_front_of(pairs: Pairs) -> Floats:
    """Nearer by depth where it is known; otherwise a bottom edge not above the object's."""
    by_edge = (_lower_edge(pairs) + 0.01) / 0.5
    return _logistic(_by_depth_or(pairs, by_edge, 1.0), AGREEMENT["in front of"])


@relation_rule("spatial", "behind")
def behind(pairs: Pairs) -> Floats:
    """Farther by depth; otherwise a bottom edge above the object's by 0.05 mean heights."""
    by_edge = (-_lower_edge(pairs) - 0.05) / 0.5
    return _logistic(_by_depth_or(pairs, by_edge, -1.0), AGREEMENT["behind"])


def _lower_edge(pairs: Pairs) -> Floats:
    """How far the subject's bottom edge is below the object's, in mean heights."""
    a, b = pairs.subject, pairs.object
    return (a.y2 - b.y2) / _mean_height(a, b)


def _by_depth_or(pairs: Pairs, by_edge: Floats, sign: float) -> Floats:
    """A margin from depth, a difference of 0.2 being a clear case; from the edges without it."""
    nearness = pairs.nearness()
    if nearness is not None:
        by_depth = sign * (nearness[0] - nearness[1]) / 0.2
        by_edge = np.where(np.isnan(by_depth), by_edge, by_depth)
    return np.clip(by_edge, -3.0, 1.0)


# -- quantities -------------------------------------------------------------------------------


def _weakest(*margins: Floats) -> Floats:
    """The condition that is nearest to failing; a textbook case is 1, a clear miss down to -3."""
    lowest = margins[0]
    for margin in margins[1:]:
        lowest = np.minimum(lowest, margin)
    return np.clip(lowest, -3.0, 1.0)


def _mean_height(a: Boxes, b: Boxes) -> Floats:
    return _positive((a.height + b.height) / 2, a, b)


def _mean_size(a: Boxes, b: Boxes) -> Floats:
    return _positive((np.sqrt(a.area) + np.sqrt(b.area)) / 2, a, b)


def _positive(length: Floats, a: Boxes, b: Boxes) -> Floats:
    """`length`, kept away from 0 for boxes without extent, in proportion to the pair's extent."""
    extent = np.maximum(
        np.maximum(a.x2, b.x2) - np.minimum(a.x1, b.x1),
        np.maximum(a.y2, b.y2) - np.minimum(a.y1, b.y1),
    )
    return np.maximum(length, np.where(extent > 0, 1e-6 * extent, 1.0))


def _gap(a: Boxes, b: Boxes) -> Floats:
    """Distance between the nearest points of two boxes."""
    return np.hypot(interval_gap(a.x1, a.x2, b.x1, b.x2), interval_gap(a.y1, a.y2, b.y1, b.y2))


def _contrast(a: Floats, b: Floats) -> Floats:
    """(a - b) / (a + b), 0 when both are 0."""
    total = a + b
    contrast: Floats = np.zeros_like(total)
    np.divide(a - b, total, out=contrast, where=total > 0)
    return contrast


def _signed_share(
    low_a: Floats, high_a: Floats, low_b: Floats, high_b: Floats, of: Floats
) -> Floats:
    """Overlap of two intervals over the length `of`, negative for a gap, clipped to [-3, 1].

    For a length of 0 the overlap is 1 where they touch and -3 where they do not.
    """
    overlap = np.minimum(high_a, high_b) - np.maximum(low_a, low_b)
    share: Floats = np.divide(overlap, of, out=np.where(overlap >= 0, 1.0, -3.0), where=of > 0)
    return np.clip(share, -3.0, 1.0)


def _overlap_x(a: Boxes, b: Boxes) -> Floats:
    return _signed_share(a.x1, a.x2, b.x1, b.x2, np.minimum(a.width, b.width))


def _overlap_y(a: Boxes, b: Boxes) -> Floats:
    return _signed_share(a.y1, a.y2, b.y1, b.y2, np.minimum(a.height, b.height))


def _share_x(a: Boxes, b: Boxes) -> Floats:
    """Share of a's width that lies over b, negative for a gap."""
    return _signed_share(a.x1, a.x2, b.x1, b.x2, a.width)


def _share_inside(a: Boxes, b: Boxes) -> Floats:
    """Share of a's area inside b; a box without area is inside as far as its sides are."""
    x = np.maximum(_share_x(a, b), 0.0)
    y = np.maximum(_signed_share(a.y1, a.y2, b.y1, b.y2, a.height), 0.0)
    return x * y
