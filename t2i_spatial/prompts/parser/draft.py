"""The scene while it is being read."""

from __future__ import annotations

from dataclasses import replace

from t2i_spatial.prompts.parser.phrases import RelationPhrase
from t2i_spatial.scene import ObjectSpec, RelationSpec


class Draft:
    """Objects and relations found so far, and what was not read.

    Attributes:
        objects, relations, unparsed: as in `SceneSpec`.
        loose: unread words that are not yet closed into one part.
        subjects: objects that the relation being read belongs to.
    """

    __slots__ = ("loose", "named", "objects", "relations", "subjects", "unparsed")

    def __init__(self) -> None:
        self.objects: list[ObjectSpec] = []
        self.relations: list[RelationSpec] = []
        self.unparsed: list[str] = []
        self.loose: list[str] = []
        self.named: dict[str, list[int]] = {}
        self.subjects: list[int] = []

    def index(self, spec: ObjectSpec, definite: bool) -> int:
        """The place of an object: a new one, or the one that "the" speaks of."""
        known = self.named.setdefault(spec.name, [])
        if definite:
            for index in reversed(known):
                there = self.objects[index]
                if (
                    index not in self.subjects
                    and (spec.color is None or spec.color == there.color)
                    and set(spec.attributes) <= set(there.attributes)
                ):
                    return index
        self.objects.append(spec)
        known.append(len(self.objects) - 1)
        return known[-1]

    def add(self, subject: int, phrase: RelationPhrase, target: int) -> None:
        """Relate two objects as a phrase says."""
        if 0 in (self.objects[subject].count, self.objects[target].count):
            # what must not be there cannot be related; "no cat on the sofa" is not "no cat"
            self.unparsed.append(phrase.text)
            return
        for relation in phrase.relations:
            words = None if phrase.text == relation else phrase.text
            self.relations.append(RelationSpec(subject, relation, target, words))

    def place(self, position: str, indices: list[int]) -> None:
        """Note where in the picture objects are."""
        for index in indices:
            self.objects[index] = replace(self.objects[index], frame_position=position)

    def flush(self) -> None:
        """Close a part of the text that was not read."""
        if self.loose:
            self.unparsed.append(" ".join(self.loose))
            self.loose = []
