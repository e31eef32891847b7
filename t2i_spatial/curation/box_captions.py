"""Captions made from boxes: true of them by construction, and read back by the parser as such."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from t2i_spatial.curation.object_pairs import OVERLAP_LIMIT, triples
from t2i_spatial.errors import require
from t2i_spatial.metrics.geometry import Boxes, columns, iou
from t2i_spatial.prompts.inflection import article
from t2i_spatial.relation_algebra import canonical_key, closure, mirror_scene
from t2i_spatial.scene import ObjectSpec, RelationSpec, SceneSpec

CLIP_TOKENS = 77
"""What a CLIP text encoder reads, start and end marks included; the rest is cut silently."""

SAME_OBJECT = 0.5
"""Boxes of one name that overlap more than this (IoU) are one object."""

JUDGED = "judge_caption"
"""Column of candidates with the captions of a judge, see `dense_captions`."""

_PIECES = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|[^\s\w]+|_", re.IGNORECASE)


def count_tokens(text: str, tokenizer: Any = None) -> int:
    """How many CLIP tokens a caption has, start and end included.

    With a Hugging Face tokenizer the number is exact; without one it is an estimate: pieces are
    split as CLIP splits them, and a word of more than eight letters counts one more for every
    further eight.

    >>> count_tokens("a cat to the left of a dog")
    10
    """
    if tokenizer is not None:
        return len(tokenizer(text)["input_ids"])
    return 2 + sum(1 + (len(piece) - 1) // 8 for piece in _PIECES.findall(text))


def load_tokenizer(source: str) -> Any:
    """The tokenizer of a model: a folder with it, a pipeline's folder, or a hub id.

    Raises:
        MissingDependencyError: transformers is not installed.
        ModelLoadError: there is no tokenizer.
    """
    from pathlib import Path

    from t2i_spatial.errors import ModelLoadError

    transformers = require("transformers", "detect")
    folder = Path(source)
    # of several the one that reads furthest: that of T5
    inner = [folder / name for name in ("tokenizer_3", "tokenizer_2", "tokenizer")]
    found = [str(path) for path in inner if path.is_dir()] or [source]
    try:
        loaded = [transformers.AutoTokenizer.from_pretrained(path) for path in found]
        return next((one for one in loaded if "T5" in type(one).__name__), loaded[-1])
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise ModelLoadError(f"no tokenizer could be loaded from {source}: {first}") from None


def pair_caption(
    subject: str, words: Sequence[str], target: str, number: int = 0, *, template: str = "short"
) -> str:
    """One pair in words.

    Args:
        subject, target: names of the two objects.
        words: ways to say where the subject stands (`scop.relation_words`).
        number: which of the triples to say (`scop.triples`), modulo their count.
        template: "short" or "scop", CoMPaSS's own: "a photo of", and without "to the".

    >>> pair_caption("cat", ["to the left of"], "umbrella", 1)
    'an umbrella to the right of a cat'
    >>> words = ["to the left of and above", "above and to the left of"]
    >>> pair_caption("cat", words, "dog", template="scop")
    'a photo of a cat left of and above a dog'
    """
    options = triples(subject, list(words), target)
    first, said, second = options[number % len(options)]
    text = f"{article(first)} {first} {said} {article(second)} {second}"
    return f"a photo of {text.replace(' to the', '')}" if template == "scop" else text


def scene_of_boxes(
    labels: Sequence[str], boxes: ArrayLike, *, most_objects: int = 6, most_relations: int = 4
) -> SceneSpec:
    """What can be said of boxes without doubt.

    Args:
        labels: name of each box.
        boxes: (n, 4) `xyxy` in pixels, best first; of boxes of one name that overlap by more
            than `SAME_OBJECT` only the first counts.
        most_objects: only the largest so many kinds of object are named.
        most_relations: how many relations are told, the clearest first, none that follows from
            those told before.

    A relation is told between objects that occur once, on an axis on which their boxes overlap
    by less than a third of the shorter one and their centres differ. No boxes give an empty scene.
    """
    kept = distinct(labels, boxes)
    if not kept:
        return SceneSpec()
    flat = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    areas = (flat[:, 2] - flat[:, 0]) * (flat[:, 3] - flat[:, 1])
    kinds: dict[str, list[int]] = {}
    for index in kept:
        kinds.setdefault(labels[index], []).append(index)
    largest = sorted(kinds, key=lambda name: -max(areas[i] for i in kinds[name]))[:most_objects]
    objects = tuple(ObjectSpec(name, len(kinds[name])) for name in largest)
    single = [(place, kinds[n][0]) for place, n in enumerate(largest) if len(kinds[n]) == 1]
    found: list[tuple[float, RelationSpec]] = []
    for order, (place, index) in enumerate(single):
        for other_place, other in single[order + 1 :]:
            for axis, words in ((0, ("left of", "right of")), (1, ("above", "below"))):
                clearness, before = _clearness(flat[index], flat[other], axis)
                if clearness is not None:
                    relation = RelationSpec(place, words[0 if before else 1], other_place)
                    found.append((clearness, relation))
    told: list[RelationSpec] = []
    for _, relation in sorted(found, key=lambda item: -item[0]):
        key = (relation.subject, relation.relation, relation.object)
        if len(told) < most_relations and key not in closure(told):
            told.append(relation)
    return SceneSpec(objects, tuple(told))


def long_caption(labels: Sequence[str], boxes: ArrayLike, **limits: int) -> str | None:
    """Several sentences about boxes (`scene_of_boxes`), or `None` when nothing can be said.

    >>> long_caption(["cat", "dog", "cup"], [(0, 50, 30, 80), (60, 50, 90, 80), (62, 5, 85, 20)])
    'A cat is to the left of a dog. ... The dog is below the cup.'
    """
    from t2i_spatial.prompts.phrasing import phrasings

    scene = scene_of_boxes(labels, boxes, **limits)
    if not scene.relations:
        return None
    return phrasings(scene).get("sentences")


def mirror_caption(text: str) -> str | None:
    """The caption of the mirror image, left and right swapped, or `None` when that is not safe.

    Safe is what the parser reads, before and after, as a scene and its mirror image.

    >>> mirror_caption("a cat to the left of a dog"), mirror_caption("a dog above a cat")
    ('a cat to the right of a dog', 'a dog above a cat')
    >>> mirror_caption("a cat right next to a dog") is None
    True
    """
    return _mirror_caption(text)


@lru_cache(maxsize=65536)
def _mirror_caption(text: str) -> str | None:
    from t2i_spatial.prompts.parser import parse_prompt

    if not text.strip() or _SIDED.search(text):
        return None
    swapped = _SIDES.sub(_other_side, text)
    before, after = parse_prompt(text), parse_prompt(swapped)
    if before.unparsed or after.unparsed:
        return None
    return swapped if canonical_key(after) == canonical_key(mirror_scene(before)) else None


_SIDES = re.compile(r"\b(left|right)\b", re.IGNORECASE)
_SIDED = re.compile(r"\b(?:left|right)\w", re.IGNORECASE)
"""Words such as "leftmost", which the parser takes for part of a name."""


def _other_side(match: re.Match[str]) -> str:
    word = match.group()
    other = "right" if word.lower() == "left" else "left"
    return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other


def distinct(labels: Sequence[str], boxes: ArrayLike) -> list[int]:
    """Places of the boxes (best first) that no better one of their name covers (`SAME_OBJECT`)."""
    sides = columns(np.asarray(boxes, dtype=np.float64).reshape(-1, 4))
    kept: list[int] = []
    for index, label in enumerate(labels):
        one = Boxes(*(side[index : index + 1] for side in sides))
        same = [k for k in kept if labels[k] == label]
        others = Boxes(*(side[same] for side in sides))
        if not len(same) or float(iou(one, others).max()) <= SAME_OBJECT:
            kept.append(index)
    return kept


def _clearness(a: Any, b: Any, axis: int) -> tuple[float | None, bool]:
    """How clearly a and b are apart on an axis (`None`: not), and whether a comes first."""
    shorter = min(a[axis + 2] - a[axis], b[axis + 2] - b[axis])
    common = max(0.0, min(a[axis + 2], b[axis + 2]) - max(a[axis], b[axis]))
    distance = float(b[axis] + b[axis + 2] - a[axis] - a[axis + 2]) / 2
    if distance == 0 or (common > 0 and common >= OVERLAP_LIMIT * shorter):
        return None, False
    return abs(distance), distance > 0


Captioner = Callable[[dict[str, Any], int], str | None]
"""Row of candidates and a number that depends on its key -> caption, or `None`."""


def _pair(template: str) -> Captioner:
    def caption(row: dict[str, Any], number: int) -> str | None:
        if row["a_label"] is None or row["b_label"] is None or not row["words"]:
            return None
        return pair_caption(row["a_label"], row["words"], row["b_label"], number, template=template)

    return caption


def _long(row: dict[str, Any], number: int) -> str | None:
    found = row.get("detections")
    if found is None:
        corners = []
        for role in "ab":
            x, y, w, h = (row[f"{role}_{part}"] for part in "xywh")
            if x is None:
                return None
            corners.append((x, y, x + w, y + h))
        return long_caption([row["a_label"], row["b_label"]], corners)
    return long_caption([box["label"] for box in found], [box["box"] for box in found])


CAPTIONS: dict[str, Captioner] = {
    "prompt": lambda row, number: row["text"],
    "short": _pair("short"),
    "scop": _pair("scop"),
    "long": _long,
    "judge": lambda row, number: row[JUDGED] or row["text"],
}
"""Kinds of caption: the prompt as it is, one pair in one of two wordings, several relations, or
what a judge wrote (the column `JUDGED`; the prompt where that is null)."""
