"""What a prompt asks for: objects, their counts and colours, and relations between them.

The vocabulary of relations is the table of `t2i_spatial.relations`. Every spelling that a benchmark
or a caption uses maps onto it through `canonical_relation`; the words that stood in the prompt stay
in `RelationSpec.phrase`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from t2i_spatial.errors import InputError, nearest
from t2i_spatial.relations import RELATION_ALIASES as RELATION_ALIASES
from t2i_spatial.relations import RELATION_TABLE
from t2i_spatial.relations import RELATIONS as RELATIONS
from t2i_spatial.relations import canonical_relation as canonical_relation

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

CountRule = Literal["exactly", "at least", "at most"]
COUNT_RULES: tuple[CountRule, ...] = ("exactly", "at least", "at most")

Reading = Literal["read", "read in part", "not read"]
"""How much of a text its scene holds."""


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """One kind of object that a prompt asks for.

    Two objects of one name are two things ("a small dog and a big dog").

    Attributes:
        name: singular noun, lower case ("traffic light").
        count: how many; 0 when it must not be there ("no dog"), `None` when the prompt leaves it
            open ("dogs").
        color: colour word, or `None`.
        attributes: other adjectives in the order of the prompt ("wooden", "small").
        frame_position: place in the picture ("top left", "center"), or `None`.
        count_rule: how `count` is meant: "exactly", "at least" or "at most".
        text: of an object named "text", the string to be written; `None` for everything else.
    """

    name: str
    count: int | None = 1
    color: str | None = None
    attributes: tuple[str, ...] = ()
    frame_position: str | None = None
    count_rule: CountRule = "exactly"
    text: str | None = None

    def __post_init__(self) -> None:
        if not self.name or not self.name.strip():
            raise InputError("an object needs a name")
        if self.count is not None and self.count < 0:
            raise InputError(f"count of {self.name!r} must not be negative, got {self.count}")
        if self.count_rule not in COUNT_RULES:
            raise InputError(
                f"unknown count rule {self.count_rule!r} of {self.name!r}; "
                f"{nearest(str(self.count_rule), COUNT_RULES)}"
            )


@dataclass(frozen=True, slots=True)
class RelationSpec:
    """`objects[subject]` stands in `relation` to `objects[object]` (indices into the scene).

    Subject and object may be one: then it is a relation among the instances of that object ("two
    cats next to each other").

    Attributes:
        subject, object: indices into the scene's objects.
        relation: canonical name.
        phrase: the words of the prompt, where they were others.
        negated: the relation must not hold ("not on the table").
        second: the other end of "between"; `None` when the object itself is several ("between
            two trees"), and for every other relation.
    """

    subject: int
    relation: str
    object: int
    phrase: str | None = None
    negated: bool = False
    second: int | None = None

    def __post_init__(self) -> None:
        if self.relation not in RELATION_TABLE:
            raise InputError(
                f"unknown relation {self.relation!r}; {nearest(self.relation, RELATIONS)}"
            )
        if self.second is not None and RELATION_TABLE[self.relation].ends < 2:
            raise InputError(f"{self.relation!r} has one other end, got a second: {self.second}")

    @property
    def reciprocal(self) -> bool:
        """Whether it holds among the instances of one object ("each other")."""
        one = self.subject == self.object and self.second is None
        return one and RELATION_TABLE[self.relation].ends == 1

    @property
    def indices(self) -> tuple[int, ...]:
        """Every object it speaks of."""
        ends = (self.subject, self.object)
        return ends if self.second is None else (*ends, self.second)


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
            for index in relation.indices:
                if not 0 <= index < len(self.objects):
                    raise InputError(
                        f"relation {relation.relation!r} names object {index}, "
                        f"but the scene has {len(self.objects)} objects"
                    )

    @property
    def names(self) -> tuple[str, ...]:
        """Distinct object names in order of first mention."""
        return tuple(dict.fromkeys(spec.name for spec in self.objects))

    @property
    def reading(self) -> Reading:
        """How much of its text the scene holds: a verdict on a part is one on another prompt.

        >>> SceneSpec((ObjectSpec("cat"),), unparsed=("in the mood",)).reading
        'read in part'
        """
        if not self.objects:
            return "not read"
        return "read in part" if self.unparsed else "read"

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
            if spec.count_rule != "exactly":
                entry["count_rule"] = spec.count_rule
            if spec.text is not None:
                entry["text"] = spec.text
            objects.append(entry)
        relations = []
        for rel in self.relations:
            entry = {"subject": rel.subject, "relation": rel.relation, "object": rel.object}
            if rel.phrase:
                entry["phrase"] = rel.phrase
            if rel.negated:
                entry["negated"] = True
            if rel.second is not None:
                entry["second"] = rel.second
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
        return cls(
            tuple(_object(entry) for entry in _listed(data, "objects")),
            tuple(_relation(entry) for entry in _listed(data, "relations")),
            _words(data, "unparsed"),
        )


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


_OBJECT_KEYS = {"name", "count", "color", "attributes", "frame_position", "count_rule", "text"}
_RELATION_KEYS = {"subject", "relation", "object", "phrase", "negated", "second"}


def _object(entry: Any) -> ObjectSpec:
    _check_keys(entry, _OBJECT_KEYS, "object")
    if not isinstance(entry.get("name"), str):
        raise InputError(f"an object needs a name (text), got {entry.get('name')!r}")
    count = entry.get("count", 1)
    if count is not None and not _is_whole(count):
        raise InputError(f"count of {entry['name']!r} must be a whole number, got {count!r}")
    return ObjectSpec(
        name=entry["name"],
        count=count,
        color=_word(entry, "color"),
        attributes=_words(entry, "attributes"),
        frame_position=_word(entry, "frame_position"),
        count_rule=cast(CountRule, _word(entry, "count_rule") or "exactly"),
        text=_word(entry, "text"),
    )


def _relation(entry: Any) -> RelationSpec:
    _check_keys(entry, _RELATION_KEYS, "relation")
    for key in ("subject", "relation", "object"):
        if entry.get(key) is None:
            raise InputError(f"a relation needs the key {key!r}: {dict(entry)}")
    words = _word(entry, "relation") or ""
    phrase, relation = _word(entry, "phrase") or words, canonical_relation(words)
    subject, target, second = entry["subject"], entry["object"], entry.get("second")
    if not (_is_whole(subject) and _is_whole(target) and (second is None or _is_whole(second))):
        raise InputError(f"the ends of a relation are indices, got {dict(entry)}")
    negated = entry.get("negated") or False
    if not isinstance(negated, bool):
        raise InputError(f"negated must be true or false, got {negated!r}")
    return RelationSpec(
        subject, relation, target, None if phrase == relation else phrase, negated, second
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


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
