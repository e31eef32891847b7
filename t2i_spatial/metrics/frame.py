"""Places in the picture: "top left", "center", "left middle"."""

from __future__ import annotations

import itertools
import math

_SIDES = {"left": (0, -1), "right": (0, 1)}
_SIDES |= {"top": (1, -1), "upper": (1, -1), "bottom": (1, 1), "lower": (1, 1)}
_MIDDLE = ("center", "centre", "middle")

PLACES = frozenset(
    gap.join(word for word in words if word)
    for gap in (" ", "-")
    for pair in itertools.product(
        ("top", "upper", "bottom", "lower", *_MIDDLE, ""), ("left", "right", *_MIDDLE, "")
    )
    for words in itertools.permutations(pair)
    if any(words)
)
"""What `place_probability` knows."""


def place_probability(place: str, x: float, y: float) -> float | None:
    """Probability that the middle of a box, in fractions of the picture, is where a prompt puts it.

    "left", "right", "top", "bottom" and their combinations mean that half of the picture, "center"
    its middle half on both axes, or on the other axis beside a side ("left middle"). `None` for
    other words.

    >>> place_probability("left", 0.25, 0.9) > 0.9, place_probability("bottom left", 0.25, 0.5)
    (True, 0.5)
    """
    if place.lower() not in PLACES:
        return None
    words = place.lower().replace("-", " ").split()
    at = (x, y)
    margins = []
    free = {0, 1}
    for word in words:
        if word in _SIDES:
            axis, sign = _SIDES[word]
            margins.append(sign * (at[axis] - 0.5) / 0.25)
            free.discard(axis)
    if any(word in _MIDDLE for word in words):
        margins += [(0.25 - abs(at[axis] - 0.5)) / 0.125 for axis in free]
    return 1 / (1 + math.exp(-3 * min(margins)))
