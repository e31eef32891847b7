"""GenEval's `evaluation_metadata.jsonl`, and the same records in flow_grpo's data sets.

Source: djghosh13/geneval @ af4902f, prompts/evaluation_metadata.jsonl.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from t2i_spatial.errors import InputError
from t2i_spatial.prompts.readers import FORMATS, PromptFormat, Record, own_id, text_of
from t2i_spatial.prompts.readers.caption import caption_column
from t2i_spatial.scene import ObjectSpec, Prompt, RelationSpec, SceneSpec, canonical_relation


def geneval_scene(record: Record) -> SceneSpec:
    """The scene that a GenEval record asks for, objects in the order of its `include` list.

    A class that is only excluded becomes an object with count 0. What the record says beside that
    (`unread_keys`) is not read.

    >>> scene = geneval_scene({"include": [{"class": "dog", "count": 1},
    ...     {"class": "cat", "count": 1, "position": ["left of", 0]}]})
    >>> told = scene.relations[0]
    >>> told.subject, told.relation, told.object
    (1, 'left of', 0)

    Raises:
        InputError: a clause without class, a bad count, index or relation.
    """
    objects = []
    relations = []
    unread = []
    for key in ("include", "exclude"):
        if not isinstance(record.get(key) or [], list):
            raise InputError(f"{key} must be a list of clauses, got {record[key]!r:.80}")
    for index, clause in enumerate(record.get("include") or ()):
        objects.append(_object(clause))
        if position := clause.get("position"):
            if not (
                isinstance(position, list)
                and len(position) == 2
                and isinstance(position[0], str)
                and isinstance(position[1], int)
            ):
                raise InputError(f"position must be [relation, index], got {position!r}")
            relation = canonical_relation(position[0])
            if position[1] == index:
                raise InputError(f"the position of clause {index} names itself: {position!r}")
            relations.append(RelationSpec(index, relation, position[1]))
    names = {spec.name for spec in objects}
    for clause in record.get("exclude") or ():
        spec = _object(clause)
        if spec.name not in names and spec.count == 1:
            objects.append(ObjectSpec(spec.name, 0))
        elif not _goes_without_saying(clause, record):
            unread.append(f"fewer than {spec.count} {spec.name}")
    return SceneSpec(
        tuple(objects), tuple(relations), tuple(dict.fromkeys([*unread, *unread_keys(record)]))
    )


RECORD_KEYS = frozenset({"prompt", "tag", "include", "exclude"})
CLAUSE_KEYS = frozenset({"class", "count", "color", "position"})
BOOKKEEPING = frozenset({"id", "index", "idx", "key", "seed", "source", "comment", "score"})
"""Keys that ask nothing of a picture."""


def unread_keys(record: Record) -> tuple[str, ...]:
    """What a GenEval-style record asks by keys that GenEval does not have, in words.

    Single values beside the clauses are labels for people (a category, a difficulty); lists and
    mappings there, and any key within a clause, ask for something.

    >>> unread_keys({"include": [{"class": "cat", "count": 1, "size": "large"}]})
    ('size large of the cat',)
    """
    told = []
    for key, value in record.items():
        structured = isinstance(value, list | tuple | Mapping) and value
        if structured and key not in RECORD_KEYS | BOOKKEEPING:
            told.append(f"{key} {json.dumps(value, default=str)}")
    for part, known in (("include", CLAUSE_KEYS), ("exclude", frozenset({"class", "count"}))):
        for clause in record.get(part) or ():
            if isinstance(clause, Mapping):
                what = f"the {clause.get('class')}" + " that is excluded" * (part == "exclude")
                told += [
                    f"{key} {value} of {what}"
                    for key, value in clause.items()
                    if key not in known | BOOKKEEPING and value not in (None, "", [], {})
                ]
    return tuple(dict.fromkeys(told))


def _goes_without_saying(excluded: Record, record: Record) -> bool:
    """Whether the scene says it already: GenEval excludes one more than a count of two and more."""
    asked = [c.get("count", 1) for c in record["include"] if c["class"] == excluded["class"]]
    return bool(sum(asked) >= 2) and excluded.get("count", 1) == sum(asked) + 1


def _object(clause: Record) -> ObjectSpec:
    if not isinstance(clause, dict) or not isinstance(clause.get("class"), str):
        raise InputError(f"a clause of include or exclude needs a class, got {clause!r}")
    count = clause.get("count", 1)
    if isinstance(count, bool) or not isinstance(count, int):
        raise InputError(f"count of {clause['class']!r} must be a whole number, got {count!r}")
    color = clause.get("color")
    if not isinstance(color, str | None):
        raise InputError(f"color of {clause['class']!r} must be text, got {color!r}")
    return ObjectSpec(clause["class"], count, color)


def _column(record: Record) -> str | None:
    return "prompt" if "prompt" in record else caption_column(record)


def _matches(record: Record) -> bool:
    return "include" in record and _column(record) is not None


def _read(record: Record, number: int) -> Prompt:
    return Prompt(
        own_id(record, number, "id", "prompt_id"),
        text_of(record, _column(record) or "prompt"),
        record.get("tag"),
        geneval_scene(record),
        {"geneval": dict(record)},
    )


FORMATS.register("geneval")(PromptFormat(_matches, _read))
