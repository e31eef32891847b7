"""What a text claims about space, sentence by sentence: numbers, places in the frame, relations."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from t2i_spatial.curation.spright import ALL, CLEAR
from t2i_spatial.metrics.assignment import says_one
from t2i_spatial.prompts import parse_prompt
from t2i_spatial.scene import CountRule, ObjectSpec, RelationSpec, SceneSpec

OBJECTS, COUNTS, PLACES, RELATED, UNREAD = "objects", "counts", "frame", "relations", "unread"
"""Kinds of claim, called as the parts of `spatial` are; `unread` are words about space that the
parser did not read."""

_SPATIAL_WORDS = re.compile(ALL, re.IGNORECASE)
_OTHERWISE_MEANT = re.compile(CLEAR, re.IGNORECASE)


NOTHING = SceneSpec()


@dataclass(frozen=True)
class Claim:
    """One thing that a text says.

    Attributes:
        sentence: number of the sentence that says it, from 0.
        kind: see above.
        said: it in words.
        scene: what must be in the picture for it to hold; empty for what was not read.
        text: the text it stands in, for what words alone say ("a single cat").
    """

    sentence: int
    kind: str
    said: str
    scene: SceneSpec = NOTHING
    text: str = ""


def claims_of(sentences: Sequence[str]) -> list[Claim]:
    """The claims of a text in its order, each with the sentence that makes it.

    >>> [(c.sentence, c.said) for c in claims_of(["A cat is left of a dog.", "It is above a cup."])]
    [(0, 'a cat'), (0, 'a dog'), (0, 'cat left of dog'), (1, 'a cup'), (1, 'cat above cup')]
    """
    found: list[Claim] = []
    introduced: dict[str, int] = {}
    in_part: set[int] = set()
    before = SceneSpec()
    # sentences before it say what "the dog" is, so each is read with all of them
    for number in range(len(sentences)):
        scene = parse_prompt(" ".join(sentences[: number + 1]))
        for spec in scene.objects[len(before.objects) :]:
            introduced[spec.name] = number
            if spec.count != 0 and spec.text is None:
                found.append(Claim(number, OBJECTS, f"a {spec.name}", _alone(spec)))
        found += _new_places(number, before, scene)
        found += _new_relations(number, before, scene)
        found += _unread(number, before, scene)
        if len(scene.unparsed) > len(before.unparsed):
            in_part.add(number)
        before = scene
    found += _numbers(before, introduced, in_part, " ".join(sentences))
    return sorted(found, key=lambda claim: claim.sentence)


def _alone(spec: ObjectSpec, **changes: Any) -> SceneSpec:
    return SceneSpec((_loose(spec, frame_position=None, **changes),))


def _loose(spec: ObjectSpec, **changes: Any) -> ObjectSpec:
    """Of which there may be more: how many there are is a claim of its own."""
    rule = "at least" if (spec.count or 0) > 1 else "exactly"  # "a cat" asks for one or more
    return dataclasses.replace(spec, **({"count_rule": rule} | changes))


def _new_places(number: int, before: SceneSpec, scene: SceneSpec) -> Iterator[Claim]:
    for k, spec in enumerate(scene.objects):
        known = before.objects[k].frame_position if k < len(before.objects) else None
        if spec.frame_position and spec.frame_position != known and spec.count != 0:
            said = f"{spec.name} in the {spec.frame_position} of the picture"
            yield Claim(number, PLACES, said, SceneSpec((_loose(spec),)))


def _new_relations(number: int, before: SceneSpec, scene: SceneSpec) -> Iterator[Claim]:
    known = Counter(map(_identity, before.relations))
    for relation in scene.relations:
        if known[_identity(relation)]:
            known[_identity(relation)] -= 1
        elif not (relation.phrase == "between" != relation.relation):  # told by "between" itself
            yield Claim(number, RELATED, relation_said(scene, relation), _part(scene, relation))


def _identity(relation: RelationSpec) -> tuple[Any, ...]:
    return (*relation.indices, relation.relation, relation.negated)


def relation_said(scene: SceneSpec, relation: RelationSpec) -> str:
    """A relation in the words of the vocabulary: "cat left of dog"."""
    subject, *ends = (scene.objects[k].name for k in relation.indices)
    others = "each other" if relation.reciprocal else " and ".join(ends)
    return f"{subject} {'not ' * relation.negated}{relation.relation} {others}"


def _part(scene: SceneSpec, relation: RelationSpec) -> SceneSpec:
    """A scene of one relation and its ends alone."""
    ends = sorted(set(relation.indices))
    moved = dataclasses.replace(
        relation,
        subject=ends.index(relation.subject),
        object=ends.index(relation.object),
        second=None if relation.second is None else ends.index(relation.second),
    )
    objects = tuple(
        spec if spec.count == 0 else _loose(spec, frame_position=None)
        for spec in (scene.objects[k] for k in ends)
    )
    return SceneSpec(objects, (moved,))


def _unread(number: int, before: SceneSpec, scene: SceneSpec) -> Iterator[Claim]:
    for words in (Counter(scene.unparsed) - Counter(before.unparsed)).elements():
        if words.startswith("contradiction: "):
            continue  # one of the two is read, and judged, as a claim
        found = _SPATIAL_WORDS.findall(words)
        if any(not _OTHERWISE_MEANT.search(phrase) for phrase in found):
            yield Claim(number, UNREAD, words)


def _numbers(
    scene: SceneSpec, introduced: Mapping[str, int], in_part: Set[int], text: str
) -> Iterator[Claim]:
    """How many there are of each name.

    "Two dogs … a brown dog" may be two dogs or three: then it is both at least and at most that is
    claimed, in the last sentence that speaks of another.
    """
    bound = {k for relation in scene.relations for k in relation.indices}
    for name, number in introduced.items():
        specs = []
        for k, spec in enumerate(scene.objects):
            if spec.name != name:
                continue
            if spec.count != 0:
                specs.append(dataclasses.replace(spec, frame_position=None))
            elif k in bound or spec.frame_position or number in in_part:  # elsewhere there may be
                yield Claim(number, UNREAD, f"no {name} at some place")
            else:
                yield Claim(number, COUNTS, f"no {name}", SceneSpec((spec,)), text)
        if len(specs) == 1 and _says_number(specs[0], text):
            yield Claim(number, COUNTS, _number_said(specs[0]), SceneSpec((specs[0],)), text)
        elif len(specs) > 1 and any(_says_number(spec, text) for spec in specs):
            yield from _bounds(number, specs)


def _bounds(number: int, specs: Sequence[ObjectSpec]) -> Iterator[Claim]:
    """Of several mentions: no fewer than the largest, no more than all together."""
    counts = [spec.count or 1 for spec in specs]
    closed = all(spec.count is not None and spec.count_rule != "at least" for spec in specs)
    ends: list[tuple[CountRule, int]] = []
    if any(spec.count_rule != "at most" for spec in specs):
        ends.append(("at least", max(counts)))
    if closed:
        ends.append(("at most", sum(counts)))
    for rule, count in ends:
        spec = ObjectSpec(specs[0].name, count, count_rule=rule)
        yield Claim(number, COUNTS, _number_said(spec), SceneSpec((spec,)))


def _says_number(spec: ObjectSpec, text: str) -> bool:
    if spec.count is None or spec.text is not None:
        return False
    return spec.count != 1 or spec.count_rule != "exactly" or says_one(text, spec.name)


def _number_said(spec: ObjectSpec) -> str:
    if spec.count == 0:
        return f"no {spec.name}"
    rule = "" if spec.count_rule == "exactly" else f"{spec.count_rule} "
    return f"{rule}{'some' if spec.count is None else spec.count} {spec.name}"
