"""Captions of rendered scenes, right or (on purpose) spatially noisy.

A caption comes with slots: what it says about each object it names, in order. The slots are the
hand-made supervision of the bundled text tower; captions alone are what the denoiser sees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from t2i_spatial.bundled.scenes import RELATIONS, Scene

PHRASES: dict[str, tuple[str, ...]] = {
    "left": ("to the left of", "left of", "on the left of", "on the left side of"),
    "right": ("to the right of", "right of", "on the right of", "on the right side of"),
    "above": ("above", "over", "on top of"),
    "below": ("below", "under", "beneath", "underneath"),
}
"""Ways to say a relation; the first is that of SR2D."""

INVERSE = {"left": "right", "right": "left", "above": "below", "below": "above"}
SIDES = {"left": (-1, 0), "right": (1, 0), "above": (0, -1), "below": (0, 1)}
NUMBERS = {1: "a", 2: "two", 3: "three"}
PREFIXES = ("", "", "", "a photo of ", "a picture of ", "an image of ")


@dataclass(frozen=True)
class Slot:
    """What a caption says about one object: side -1/0/+1 of the picture (x right, y down)."""

    noun: str
    side_x: int = 0
    side_y: int = 0
    count: int = 1
    colour: str | None = None


@dataclass(frozen=True)
class Caption:
    """A caption, its slots, and the relation it claims between its first two objects."""

    text: str
    slots: tuple[Slot, ...]
    relation: str | None = None


def plural(noun: str) -> str:
    """Return the plural of a noun.

    >>> plural("bus"), plural("teddy bear"), plural("broccoli")
    ('buses', 'teddy bears', 'broccoli')
    """
    if noun == "broccoli":
        return noun
    return noun + ("es" if noun.endswith("s") else "s")


def noun_phrase(noun: str, colour: str | None = None, count: int = 1) -> str:
    """Return a noun with its article or number and colour.

    >>> noun_phrase("apple"), noun_phrase("car", "red"), noun_phrase("dog", count=2)
    ('an apple', 'a red car', 'two dogs')
    """
    words = (f"{colour} " if colour else "") + (plural(noun) if count > 1 else noun)
    if count > 1:
        return f"{NUMBERS[count]} {words}"
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def describe(scene: Scene, rng: np.random.Generator, relation_accuracy: float = 1.0) -> Caption:
    """Sample a caption of a scene.

    Two related objects are mostly described as in SR2D, from either object's side. With
    probability 1 - `relation_accuracy` the relation word is one of the three wrong ones.

    >>> from t2i_spatial.bundled.scenes import Scene, SceneObject
    >>> scene = Scene((SceneObject("cat", 0.5, 0.5, 0.4),))
    >>> describe(scene, np.random.default_rng(3)).slots
    (Slot(noun='cat', side_x=0, side_y=0, count=1, colour=None),)
    """
    items = list(scene.objects)
    relation = scene.relation
    prefix = PREFIXES[rng.integers(len(PREFIXES))]
    if len(items) > 1 and len({item.noun for item in items}) == 1:
        noun, count = items[0].noun, len(items)
        return Caption(prefix + noun_phrase(noun, None, count), (Slot(noun, count=count),))
    if len(items) == 1:
        slot = Slot(items[0].noun, colour=items[0].colour)
        return Caption(prefix + noun_phrase(slot.noun, slot.colour), (slot,))
    if rng.random() < 0.5:
        items[:2] = items[1::-1]
        relation = INVERSE.get(relation or "")
    if relation is None or rng.random() < 0.12:
        slots = tuple(Slot(item.noun, colour=item.colour) for item in items)
        said = [noun_phrase(slot.noun, slot.colour) for slot in slots]
        if len(said) == 2:
            joint = " and " if rng.random() < 0.7 else " next to "
            return Caption(prefix + joint.join(said), slots)
        return Caption(f"{prefix}{said[0]}, {said[1]} and {said[2]}", slots)
    if rng.random() >= relation_accuracy:
        relation = RELATIONS[(RELATIONS.index(relation) + rng.integers(1, 4)) % 4]
    phrases = PHRASES[relation]
    phrase = phrases[0] if rng.random() < 0.6 else phrases[rng.integers(len(phrases))]
    x, y = SIDES[relation]
    slots = (
        Slot(items[0].noun, x, y, 1, items[0].colour),
        Slot(items[1].noun, -x, -y, 1, items[1].colour),
        *(Slot(item.noun, colour=item.colour) for item in items[2:]),
    )
    said = [noun_phrase(slot.noun, slot.colour) for slot in slots]
    text = f"{prefix}{said[0]} {phrase} {said[1]}" + "".join(f" and {word}" for word in said[2:])
    return Caption(text, slots, relation)
