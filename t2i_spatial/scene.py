"""What a prompt asks for: objects, their counts and colours, and relations between them.

The relation vocabulary is fixed and small. Every spelling that a benchmark or a caption uses
maps onto it through `canonical_relation`; the words that stood in the prompt stay in
`RelationSpec.phrase`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from t2i_spatial.errors import InputError, nearest

RELATIONS: tuple[str, ...] = (
    "left of",
    "right of",
    "above",
    "below",
    "on",
    "under",
    "in",
    "next to",
    "near",
    "in front of",
    "behind",
)
"""The canonical relations, in the viewer's frame (left is the left side of the picture)."""

COLORS: tuple[str, ...] = (
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "pink",
    "brown",
    "black",
    "white",
)
"""GenEval's ten colours. `gray` and others may stand in a scene; protocols may not know them."""

RELATION_ALIASES: dict[str, str] = {
    "to the left of": "left of",
    "on the left of": "left of",
    "on the left side of": "left of",
    "to the left side of": "left of",
    "at the left side of": "left of",
    "left side of": "left of",
    "to the right of": "right of",
    "on the right of": "right of",
    "on the right side of": "right of",
    "to the right side of": "right of",
    "at the right side of": "right of",
    "right side of": "right of",
    "over": "above",
    "on the top of": "above",
    "beneath": "under",
    "underneath": "under",
    "below": "below",
    "on the bottom of": "below",
    "on top of": "on",
    "atop": "on",
    "inside": "in",
    "inside of": "in",
    "within": "in",
    "beside": "next to",
    "by the side of": "next to",
    "on side of": "next to",
    "on the side of": "next to",
    "adjacent to": "next to",
    "close to": "near",
    "nearby": "near",
    "by": "near",
    "hidden by": "behind",
    "in the back of": "behind",
    "in the front of": "in front of",
    "upon": "on",
    "onto": "on",
    "on the surface of": "on",
    "into": "in",
    "in back of": "behind",
    "at the back of": "behind",
    "at the front of": "in front of",
    "close by": "near",
    "near to": "near",
    "in the vicinity of": "near",
    "alongside": "next to",
    "at the side of": "next to",
    "to the side of": "next to",
    "on one side of": "next to",
    "side by side with": "next to",
    "down below": "below",
    "at the top of": "above",
    "at the bottom of": "below",
    "in the bottom of": "below",
    "hidden behind": "behind",
    "obscured by": "behind",
    "occluded by": "behind",
    "blocked by": "behind",
    "concealed by": "behind",
}
"""Other spellings -> canonical relation (lower case)."""


def canonical_relation(phrase: str) -> str:
    """Map a relation phrase onto the canonical vocabulary.

    >>> canonical_relation("to the left of"), canonical_relation("Beside")
    ('left of', 'next to')

    Raises:
        InputError: the phrase is not a known relation.
    """
    key = " ".join(phrase.lower().split())
    if key in RELATIONS:
        return key
    if key in RELATION_ALIASES:
        return RELATION_ALIASES[key]
    raise InputError(f"unknown relation {phrase!r}; {nearest(key, RELATIONS)}")


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """One kind of object that a prompt asks for.

    Attributes:
        name: singular noun, lower case ("traffic light").
        count: how many; `None` when the prompt leaves it open ("dogs").
        color: colour word, or `None`.
        attributes: other adjectives in the order of the prompt ("wooden", "small").
        frame_position: place in the picture ("top left", "center"), or `None`.
    """

    name: str
    count: int | None = 1
    color: str | None = None
    attributes: tuple[str, ...] = ()
    frame_position: str | None = None

    def __post_init__(self) -> None:
        if not self.name or not self.name.strip():
            raise InputError("an object needs a name")
        if self.count is not None and self.count < 0:
            raise InputError(f"count of {self.name!r} must not be negative, got {self.count}")


@dataclass(frozen=True, slots=True)
class RelationSpec:
    """`objects[subject]` stands in `relation` to `objects[object]` (indices into the scene)."""

    subject: int
    relation: str
    object: int
    phrase: str | None = None

    def __post_init__(self) -> None:
        if self.relation not in RELATIONS:
            raise InputError(
                f"unknown relation {self.relation!r}; {nearest(self.relation, RELATIONS)}"
            )


@dataclass(frozen=True, slots=True)
class SceneSpec:
    """What must be in the picture.

    `unparsed` lists the parts of a prompt that the parser could not read; a scene written by
    hand has none.
    """

    objects: tuple[ObjectSpec, ...] = ()
    relations: tuple[RelationSpec, ...] = ()
    unparsed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for relation in self.relations:
            for index in (relation.subject, relation.object):
                if not 0 <= index < len(self.objects):
                    raise InputError(
                        f"relation {relation.relation!r} names object {index}, "
                        f"but the scene has {len(self.objects)} objects"
                    )

    @property
    def names(self) -> tuple[str, ...]:
        """Distinct object names in order of first mention."""
        return tuple(dict.fromkeys(spec.name for spec in self.objects))

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, as in a prompt file; defaults are left out."""
        objects = []
        for spec in self.objects:
            entry: dict[str, Any] = {"name": spec.name, "count": spec.count}
            if spec.color:
                entry["color"] = spec.color
            if spec.attributes:
                entry["attributes"] = list(spec.attributes)
            if spec.frame_position:
                entry["frame_position"] = spec.frame_position
            objects.append(entry)
        relations = []
        for rel in self.relations:
            entry = {"subject": rel.subject, "relation": rel.relation, "object": rel.object}
            if rel.phrase:
                entry["phrase"] = rel.phrase
            relations.append(entry)
        scene: dict[str, Any] = {"objects": objects, "relations": relations}
        if self.unparsed:
            scene["unparsed"] = list(self.unparsed)
        return scene

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SceneSpec:
        """Read a scene from plain containers; relation aliases are accepted.

        Raises:
            InputError: an unknown key, a missing name, a bad index or an unknown relation.
        """
        _check_keys(data, {"objects", "relations", "unparsed"}, "scene")
        objects = []
        for entry in _listed(data, "objects"):
            _check_keys(entry, {"name", "count", "color", "attributes", "frame_position"}, "object")
            if not isinstance(entry.get("name"), str):
                raise InputError(f"an object needs a name (text), got {entry.get('name')!r}")
            count = entry.get("count", 1)
            if count is not None and (isinstance(count, bool) or not isinstance(count, int)):
                raise InputError(
                    f"count of {entry['name']!r} must be a whole number, got {count!r}"
                )
            objects.append(
                ObjectSpec(
                    name=entry["name"],
                    count=count,
                    color=_word(entry, "color"),
                    attributes=_words(entry, "attributes"),
                    frame_position=_word(entry, "frame_position"),
                )
            )
        relations = []
        for entry in _listed(data, "relations"):
            _check_keys(entry, {"subject", "relation", "object", "phrase"}, "relation")
            for key in ("subject", "relation", "object"):
                if entry.get(key) is None:
                    raise InputError(f"a relation needs the key {key!r}: {dict(entry)}")
            words = _word(entry, "relation") or ""
            phrase, relation = _word(entry, "phrase") or words, canonical_relation(words)
            subject, target = entry["subject"], entry["object"]
            if not (isinstance(subject, int) and isinstance(target, int)):
                raise InputError(f"subject and object of a relation are indices, got {dict(entry)}")
            relations.append(
                RelationSpec(subject, relation, target, None if phrase == relation else phrase)
            )
        return cls(tuple(objects), tuple(relations), _words(data, "unparsed"))


@dataclass(frozen=True, slots=True)
class Prompt:
    """One line of a prompt set.

    Attributes:
        id: unique within the set.
        text: what the generator is given.
        tag: group for reporting ("position", "left of" ...), or `None`.
        scene: what must be in the picture; `None` until a parser has read the text.
        metadata: what else the source said, kept as it was (a GenEval record, planned boxes ...).
    """

    id: str
    text: str
    tag: str | None = None
    scene: SceneSpec | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form of a prompt file; empty parts are left out."""
        record: dict[str, Any] = {"id": self.id, "text": self.text}
        if self.tag is not None:
            record["tag"] = self.tag
        if self.scene is not None:
            record["scene"] = self.scene.to_dict()
        if self.metadata:
            record["metadata"] = dict(self.metadata)
        return record

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Prompt:
        """Read one record of our own prompt file format.

        Raises:
            InputError: no id or text, an empty text, unknown keys, or a broken scene.
        """
        _check_keys(data, {"id", "text", "tag", "scene", "metadata"}, "prompt")
        for key in ("id", "text"):
            if key not in data:
                raise InputError(f"a prompt needs the key {key!r}, got {sorted(data)}")
        text = data["text"]
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"prompt '{data['id']}' has an empty text")
        scene, metadata = data.get("scene"), data.get("metadata") or {}
        if not isinstance(metadata, Mapping):
            raise InputError(f"prompt '{data['id']}' has metadata that is no mapping: {metadata!r}")
        return cls(
            id=str(data["id"]),
            text=text,
            tag=data.get("tag") or None,
            scene=None if scene is None else SceneSpec.from_dict(scene),
            metadata=metadata,
        )


def check_unique_ids(prompts: Sequence[Prompt]) -> None:
    """Raise `InputError` naming the first prompt id that occurs twice."""
    seen: dict[str, int] = {}
    for number, prompt in enumerate(prompts, 1):
        if prompt.id in seen:
            raise InputError(
                f"prompt id {prompt.id!r} occurs twice (records {seen[prompt.id]} and {number}); "
                "ids must be unique"
            )
        seen[prompt.id] = number


def _listed(data: Mapping[str, Any], key: str) -> Sequence[Any]:
    value = data.get(key)
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise InputError(f"{key} must be a list, got {type(value).__name__}")
    return value


def _word(data: Mapping[str, Any], key: str) -> str | None:
    value = data.get(key)
    if value is not None and not isinstance(value, str):
        raise InputError(f"{key} must be text, got {type(value).__name__}")
    return value


def _words(data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    words = tuple(_listed(data, key))
    for word in words:
        if not isinstance(word, str):
            raise InputError(f"{key} must hold texts, got {type(word).__name__}")
    return words


def _check_keys(data: Any, known: set[str], what: str) -> None:
    if not isinstance(data, Mapping):
        raise InputError(f"a {what} must be a mapping, got {type(data).__name__}")
    for key in data:
        if key not in known:
            raise InputError(f"unknown key {key!r} in a {what}; {nearest(str(key), known)}")
