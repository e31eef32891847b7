"""Adjectives of a scene: those that say where or how things stand, and those of looks.

"Left", "in a row" and "smaller" are parts of what a spatial protocol is asked: without a rule for
them they make a prompt judged in part. "Wooden" and "fluffy" are not, and no protocol on boxes
claims to look at them: they are told beside the verdict and held against no image.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from t2i_spatial.scene import ObjectSpec, SceneSpec


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PLACES = _words(
    "left right top bottom upper lower middle central front rear back foremost far near close "
    "nearby distant faraway far-off close-by remote adjacent neighboring neighbouring opposite "
    "opposing facing"
)
_POSES = _words(
    "upside-down inverted reversed mirrored upright horizontal vertical diagonal parallel "
    "perpendicular slanted tilted crooked rotated sideways overlapping stacked aligned "
    "symmetrical"
)
_SIZES = (
    "bigg small larg littl tini hug tall short long wid narrow thick thinn high low close clos "
    "near farth furth broad deep"
)
_COMPARING = frozenset(stem + end for stem in _SIZES.split() for end in ("er", "est"))
_ARRANGING = _words("in on at by along across around side")
"""First words of phrases such as "in a row" and "side by side"; "with red eyes" is none."""


def arranges(attribute: str) -> bool:
    """Whether an adjective or phrase says where or how something stands, or compares sizes.

    >>> [arranges(words) for words in ("in a row", "smaller", "much taller", "wooden", "small")]
    [True, True, True, False, False]
    """
    words = attribute.lower().split()
    placed = _PLACES | _POSES | _COMPARING
    return bool(words) and (words[0] in _ARRANGING or words[0] in placed or words[-1] in placed)


def said(spec: ObjectSpec, arranging: bool) -> Iterator[str]:
    """The adjectives of an object with its name, those that arrange or the others."""
    yield from (f"{a} {spec.name}" for a in spec.attributes if arranges(a) == arranging)


def of_looks(scene: SceneSpec) -> tuple[str, ...]:
    """Adjectives of a scene that no protocol on boxes judges, with their objects.

    >>> of_looks(SceneSpec((ObjectSpec("chair", attributes=("wooden",)), ObjectSpec("cat"))))
    ('wooden chair',)
    """
    words = (word for spec in scene.objects for word in said(spec, arranging=False))
    return tuple(dict.fromkeys(words))


HAS_ADJECTIVES = (
    pl.col("objects")
    .list.eval(pl.element().struct.field("attributes").list.len().fill_null(0) > 0)
    .list.any()
    .fill_null(False)
)
"""PROMPTS of which some object has adjectives, found for all at once."""
