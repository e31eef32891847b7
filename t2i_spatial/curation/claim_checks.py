"""What the boxes of a picture say to the claims of a text, by the rules of `spatial`.

Only boxes that are certain decide. What they cannot decide, they cannot tell: it is neither for
nor against a text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from t2i_spatial.curation.claims import COUNTS, OBJECTS, PLACES, RELATED, Claim, claims_of
from t2i_spatial.metrics.assignment import matches
from t2i_spatial.metrics.rules.spatial import UNSURE
from t2i_spatial.metrics.spatial import Spatial
from t2i_spatial.prompts.parser.nouns import COMPOUNDS
from t2i_spatial.scene import ObjectSpec, Prompt, SceneSpec
from t2i_spatial.tables import DETECTIONS, SCORED, prompts_to_table

SUPPORTED = "supported"
CONTRADICTED = "contradicted"
CANNOT_TELL = "cannot_tell"
UNDETECTED = "undetected"
FATES = (SUPPORTED, CONTRADICTED, UNDETECTED, CANNOT_TELL)
"""What becomes of a claim. `undetected`: a thing that the detector was asked for and did not find,
or something about one; detectors overlook things, so that is unsure and no contradiction."""


@dataclass(frozen=True)
class Finding:
    """What boxes say to a claim.

    Attributes:
        fate: one of `FATES`.
        probability: by the rules of `spatial`, where they judge.
        reason: why, in words.
    """

    claim: Claim
    fate: str
    probability: float | None
    reason: str


class Seen:
    """The boxes of one picture.

    Args:
        row: of DETECTIONS; `None`, or one without boxes, can tell nothing.
        asked: what the detector was asked for.
        min_score: detector score from which a box is certain.
    """

    def __init__(
        self, row: Mapping[str, Any] | None, asked: Iterable[str], min_score: float
    ) -> None:
        self.usable = row is not None and row["status"] == SCORED
        self.row = dict(row or {})
        boxes = (self.row.get("detections") or []) if self.usable else []
        self.boxes = boxes
        self.certain = [box for box in boxes if box["score"] >= min_score]
        self.doubtful = [box["label"] for box in boxes if box["score"] < min_score]
        self.asked = frozenset(asked).union(box["label"] for box in self.certain)

    def name_of(self, name: str) -> str | None:
        """What the detector calls a thing of a text: itself, or its last word ("tabby cat").

        `None` for what it was not asked for.
        """
        if any(matches(asked, name, {name}) for asked in self.asked):
            return name
        words = name.split()
        heads = [] if name in COMPOUNDS else [" ".join(words[k:]) for k in range(1, len(words))]
        return next((head for head in heads if head in self.asked), None)

    def colors(self, name: str) -> list[str | None]:
        """Of the certain boxes of a name."""
        return [b["color"] for b in self.certain if matches(b["label"], name, {name})]

    def number(self, name: str) -> int:
        """Certain boxes of a name."""
        return len(self.colors(name))

    def asked_as(self, prompt_id: str, *, certain: bool) -> dict[str, Any]:
        """A row of DETECTIONS that belongs to another prompt."""
        boxes = self.certain if certain else self.boxes
        return {**self.row, "prompt_id": prompt_id, "detections": boxes}


def check(texts: Sequence[Sequence[str]], seen: Sequence[Seen]) -> list[list[Finding]]:
    """What the boxes of n pictures say to the claims of n texts, given as sentences.

    A relation or place is judged on the certain boxes; a number also on all boxes, and both must
    agree. Where words that no box shows pick one of several things ("the wooden chair"), a claim
    is supported only if it holds for every one of them.
    """
    asked: list[tuple[Prompt, dict[str, Any]]] = []

    def put(scene: SceneSpec, text: str, boxes: Seen, *, certain: bool = True) -> int:
        name = f"{len(asked)}"
        asked.append((Prompt(name, text, scene=scene), boxes.asked_as(name, certain=certain)))
        return len(asked) - 1

    open_: list[list[Finding | tuple[Claim, bool, list[int]]]] = [
        [
            _settled(claim, boxes) or _put(claim, boxes, put)
            for claim in claims_of(sentences)
            if claim.kind != OBJECTS or boxes.name_of(claim.scene.objects[0].name)
        ]
        for sentences, boxes in zip(texts, seen, strict=True)
    ]
    verdicts: list[dict[str, Any]] = []
    if asked:
        table = pl.DataFrame([row for _, row in asked], schema=DETECTIONS)
        verdicts = Spatial().judge(prompts_to_table(p for p, _ in asked), table).to_dicts()
    return [
        [
            entry
            if isinstance(entry, Finding)
            else _judged(*entry[:2], [verdicts[k] for k in entry[2]])
            for entry in of_text
        ]
        for of_text in open_
    ]


def _settled(claim: Claim, seen: Seen) -> Finding | None:
    """What needs no rule."""
    if not claim.scene.objects:
        return Finding(claim, CANNOT_TELL, None, "the parser does not read it")
    if not seen.usable:
        return Finding(claim, CANNOT_TELL, None, "the picture has no boxes")
    for spec in claim.scene.objects:
        name = seen.name_of(spec.name)
        if name is None:
            told = f"the detector was not asked for {spec.name!r}"
            return Finding(claim, CANNOT_TELL, None, told)
        number = seen.number(name)
        if spec.count == 0:
            return _absent(claim, name, number, seen)
        if number == 0:
            told = f"the detector was asked for {name!r} and is sure of none"
            return Finding(claim, UNDETECTED, None, told)
    if claim.kind == OBJECTS:
        return Finding(claim, SUPPORTED, None, "there is a box of it")
    return None


def _absent(claim: Claim, name: str, number: int, seen: Seen) -> Finding:
    if claim.kind == COUNTS and number:
        return Finding(claim, CONTRADICTED, None, f"{number} {name} found, none wanted")
    if claim.kind != COUNTS or any(matches(label, name, {name}) for label in seen.doubtful):
        return Finding(claim, CANNOT_TELL, None, "it may be overlooked, or somewhere else")
    return Finding(claim, SUPPORTED, None, f"no {name} found")


def _put(claim: Claim, seen: Seen, put: Any) -> tuple[Claim, bool, list[int]]:
    """The scenes by which a claim is judged, as numbers of what is asked.

    Returns:
        The claim, whether it must hold for every thing of a name, and the numbers.
    """
    objects = claim.scene.objects
    picked = any(_is_picked(spec, seen) for spec in objects)
    scene = dataclasses.replace(claim.scene, objects=tuple(_shown(spec, seen) for spec in objects))
    numbers = [put(scene, claim.text, seen)]
    if claim.kind == COUNTS and seen.doubtful:
        numbers.append(put(scene, claim.text, seen, certain=False))
    if claim.kind == RELATED and picked:
        [relation] = scene.relations
        turned = dataclasses.replace(relation, negated=not relation.negated)
        numbers.append(put(dataclasses.replace(scene, relations=(turned,)), "", seen))
    return claim, picked, numbers


def _shown(spec: ObjectSpec, seen: Seen) -> ObjectSpec:
    """An object by the detector's name and without what no box shows."""
    name = seen.name_of(spec.name) or spec.name
    color = None if None in seen.colors(name) else spec.color
    return dataclasses.replace(spec, name=name, color=color, attributes=())


def _is_picked(spec: ObjectSpec, seen: Seen) -> bool:
    """Whether words that no box shows pick one of several things of a name."""
    shown = _shown(spec, seen)
    unseen = bool(spec.attributes) or (shown.name, shown.color) != (spec.name, spec.color)
    return unseen and seen.number(shown.name) > max(1, spec.count or 1)


def _judged(claim: Claim, picked: bool, verdicts: Sequence[Mapping[str, Any]]) -> Finding:
    values = [_value(verdict, claim.kind) for verdict in verdicts]
    reason = str(verdicts[0]["reason"])
    first = values[0]
    if first is None:
        told = ", ".join(verdicts[0]["unjudged"]) or reason
        return Finding(claim, CANNOT_TELL, None, f"boxes do not show it: {told}")
    fates = [_fate(value, claim.kind) for value in values]
    fate = fates[0]
    if claim.kind == PLACES and fate == CONTRADICTED:
        reason = "its box is elsewhere"
    if claim.kind == COUNTS and len(set(fates)) > 1:
        fate, reason = CANNOT_TELL, f"{reason}, but some boxes are doubtful"
    elif picked and claim.kind != RELATED and fate != CANNOT_TELL:
        fate, reason = CANNOT_TELL, f"{reason}, but no box shows which are meant"
    elif picked and fate == SUPPORTED and fates[-1] != CONTRADICTED:
        fate, reason = (
            CANNOT_TELL,
            f"{reason}, but not of all, and no box shows which is meant",
        )
    return Finding(claim, fate, first, reason)


def _value(verdict: Mapping[str, Any], kind: str) -> float | None:
    """How surely the part of this kind holds, whatever else the scene needs."""
    found = {part["name"]: part["value"] for part in verdict["components"] or ()}
    value = found.get(kind)
    return None if value is None else float(value)


def _fate(value: float | None, kind: str) -> str:
    if value is None:
        return CANNOT_TELL
    if kind == COUNTS:  # a number is right or wrong, however little it is off
        return SUPPORTED if value > 0.5 else CONTRADICTED
    if UNSURE[0] < value < UNSURE[1]:
        return CANNOT_TELL
    return CONTRADICTED if value <= UNSURE[0] else SUPPORTED
