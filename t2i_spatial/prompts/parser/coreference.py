"""The things of a prompt while it is being read: which phrase and which pronoun speaks of which."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from t2i_spatial.prompts.inflection import INVARIANT
from t2i_spatial.prompts.parser.noun_phrase import NounPhrase
from t2i_spatial.prompts.parser.nouns import (
    ANIMATE,
    FEMALE,
    GENERIC,
    MALE,
    PERSONS,
)
from t2i_spatial.prompts.parser.relation_phrases import RelationPhrase
from t2i_spatial.scene import ObjectSpec, RelationSpec

_LOOK_BACK = 12
"""How many things of one name a phrase may choose among; more would not be linear."""
_MOST_PAIRS = 100
"""Of two lists that a relation joins; longer lists are not read."""


def head_of(name: str) -> str:
    """The head noun of a name: "pile of books" -> "pile"."""
    return name.split(" of ", 1)[0].rpartition(" ")[2]


class Things:
    """Objects and relations found so far, and the parts of the text that were not read."""

    __slots__ = ("bare", "by_head", "heads", "objects", "relations", "unparsed")

    def __init__(self) -> None:
        self.objects: list[ObjectSpec] = []
        self.heads: list[str] = []
        self.bare: list[bool] = []
        self.by_head: dict[str, list[int]] = {}
        self.relations: list[RelationSpec] = []
        self.unparsed: list[str] = []

    def index(self, phrase: NounPhrase, others: Collection[int] = ()) -> int:
        """The place of what a phrase speaks of: a new one, or one that was named before.

        `others` are what it cannot be (the other end of the relation).
        """
        spec = phrase.spec
        head = head_of(spec.name)
        if not phrase.new and spec.count != 0:
            known = self._known(phrase, spec, head, others)
            if known is not None:
                return known
        self.objects.append(spec)
        self.heads.append(head)
        self.bare.append(phrase.article == "")
        index = len(self.objects) - 1
        self.by_head.setdefault(head, []).append(index)
        return index

    def _known(
        self, phrase: NounPhrase, spec: ObjectSpec, head: str, others: Collection[int]
    ) -> int | None:
        candidates = self.by_head.get(head, ())[-_LOOK_BACK:]
        if phrase.article == "":
            for index in reversed(candidates):
                there = self.objects[index]
                if index not in others and self.bare[index] and _same(spec, there):
                    return index
            return None
        if not phrase.definite or phrase.possessive:
            return None
        for index in reversed(candidates):
            if index not in others and _fits(spec, self.objects[index]):
                return index
        if head in GENERIC and spec.name == head and not spec.color and self.objects:
            return self._generic(head, others, spec.count != 1)
        return None

    def _generic(self, head: str, others: Collection[int], plural: bool) -> int | None:
        """ "The animal", "the vehicle": what was named last and can be called so."""
        wants_animate = head in ("animal", "creature", "bird", "pet", "beast", "person", "insect")
        for index in range(len(self.objects) - 1, max(-1, len(self.objects) - _LOOK_BACK), -1):
            animate = self.heads[index] in ANIMATE
            fits = animate if wants_animate else not animate
            if fits and index not in others and (self.objects[index].count == 1) != plural:
                return index
        return None

    def pronoun(
        self, word: str, preferred: Sequence[Sequence[int]], others: Collection[int] = ()
    ) -> list[int]:
        """What a pronoun speaks of: the first of the preferred groups that fits."""
        for group in preferred:
            fitting = [index for index in group if index not in others]
            if fitting and self._agrees(word, fitting):
                return fitting
        for index in range(len(self.objects) - 1, max(-1, len(self.objects) - _LOOK_BACK), -1):
            if index not in others and self._agrees(word, [index]):
                return [index]
        return []

    def _agrees(self, word: str, group: list[int]) -> bool:
        heads = [self.heads[index] for index in group]
        if any(self.objects[index].count == 0 for index in group):
            return False
        if word in ("he", "him", "his", "himself"):
            return len(group) == 1 and (heads[0] in MALE or heads[0] in PERSONS - FEMALE)
        if word in ("she", "her", "herself"):
            return len(group) == 1 and (heads[0] in FEMALE or heads[0] in PERSONS - MALE)
        if word in ("they", "them", "their", "themselves"):
            many = len(group) > 1 or self.objects[group[0]].count != 1
            return many or heads[0] in PERSONS
        if len(group) > 1:
            return False
        plural = self.objects[group[0]].count != 1 and not self.bare[group[0]]
        return heads[0] not in PERSONS and not plural

    def relate(
        self,
        subjects: Sequence[int],
        phrase: RelationPhrase,
        targets: Sequence[int],
        negated: bool = False,
    ) -> None:
        """Relate objects as a phrase says; "between" takes its targets together."""
        if not phrase.relations or len(subjects) * len(targets) > _MOST_PAIRS:
            self.unparsed.append(phrase.text)
            return
        middle = phrase.text.startswith(("in the middle", "in the cent"))
        if middle and len(targets) == 1 and self.objects[targets[0]].count not in (0, 1):
            phrase = phrase._replace(relations=("between",))  # "in the middle of two elephants"
        if phrase.relations == ("between",) and not phrase.reversed:
            self._between(subjects, phrase, targets, negated)
            return
        for subject in subjects:
            for target in targets:
                if phrase.reversed:
                    self.add(target, phrase, subject, negated)
                else:
                    self.add(subject, phrase, target, negated)

    def _between(
        self,
        subjects: Sequence[int],
        phrase: RelationPhrase,
        targets: Sequence[int],
        negated: bool,
    ) -> None:
        beside = RelationPhrase(("next to",), phrase.text)
        for subject in subjects:
            for target in targets:
                if not negated:
                    self.add(subject, beside, target)
            if self._absent(subject, *targets[:2]):
                self.unparsed.append(phrase.text)
                continue
            second = targets[1] if len(targets) > 1 else None
            words = None if phrase.text == "between" else phrase.text
            self.relations.append(
                RelationSpec(subject, "between", targets[0], words, negated, second)
            )

    def add(self, subject: int, phrase: RelationPhrase, target: int, negated: bool = False) -> None:
        """One relation, once."""
        if self._absent(subject, target):
            # what must not be there cannot be related; "no cat on the sofa" is not "no cat"
            if phrase.text not in self.unparsed[-2:]:
                self.unparsed.append(phrase.text)
            return
        for relation in phrase.relations:
            words = None if phrase.text == relation else phrase.text
            self.relations.append(RelationSpec(subject, relation, target, words, negated))

    def _absent(self, *indices: int) -> bool:
        return any(self.objects[index].count == 0 for index in indices)

    def place(self, position: str, indices: Sequence[int]) -> None:
        """Note where in the picture objects are."""
        for index in indices:
            if self.objects[index].frame_position is None:
                self.objects[index] = replace(self.objects[index], frame_position=position)

    def describe(
        self, indices: Sequence[int], color: str | None, attributes: tuple[str, ...]
    ) -> None:
        """Add what a predicate says of objects."""
        for index in indices:
            spec = self.objects[index]
            extra = tuple(word for word in attributes if word not in spec.attributes)
            self.objects[index] = replace(
                spec, color=spec.color or color, attributes=spec.attributes + extra
            )

    def animate(self, indices: Sequence[int]) -> bool:
        """Whether these are people or animals."""
        return bool(indices) and all(self.heads[index] in ANIMATE for index in indices)


def _same(spec: ObjectSpec, there: ObjectSpec) -> bool:
    """Whether two phrases without articles name one thing ("cup on table. lamp on table")."""
    return (
        spec.name == there.name
        and spec.count == there.count
        and spec.color in (None, there.color)
        and spec.frame_position in (None, there.frame_position)
        and set(spec.attributes) <= set(there.attributes)
    )


def _fits(spec: ObjectSpec, there: ObjectSpec) -> bool:
    """Whether "the red cup" may be the cup that is there."""
    if spec.color is not None and spec.color != there.color:
        return False
    if spec.frame_position is not None and spec.frame_position != there.frame_position:
        return False
    if there.count == 0:
        return False
    if spec.count != 1 and there.count == 1 and head_of(spec.name) not in INVARIANT:
        return False
    if " " in spec.name and not there.name.endswith(spec.name):
        return False
    return set(spec.attributes) <= set(there.attributes)
