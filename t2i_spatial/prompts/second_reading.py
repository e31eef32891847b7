"""A second opinion on what a prompt asks: the question to a language model, and its reply.

Whoever reads, the reply must be a scene in our own form, and every word of it that names a thing
must stand in the prompt. What the two readers read differently is told part by part.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

from t2i_spatial.errors import InputError
from t2i_spatial.prompts.inflection import singular
from t2i_spatial.prompts.phrasing import noun_phrase
from t2i_spatial.questions import Question, Template, template
from t2i_spatial.relations import RELATION_TABLE, RELATIONS
from t2i_spatial.scene import COUNT_RULES, ObjectSpec, RelationSpec, SceneSpec

READ = template(
    Template(
        "scene/1",
        system="You read prompts of text-to-image models and answer in JSON only.",
        max_tokens=2048,
    )
)
_TEXT = {"type": "string"}
_INDEX = {"type": "integer", "minimum": 0}
_RULES = (
    "objects: things that must be seen, as singular nouns in the prompt's own words; no words of "
    "the picture itself (image, view, style). Two things of one name are two objects.",
    "count: a number, 0 for what must not be there, null when the prompt leaves it open.",
    "frame_position: a place in the picture, such as 'top left'.",
    "text: of an object named 'text' only: the string to be written.",
    "relations: subject, object and second (the other end of 'between') are indices into objects; "
    "subject and object are the same index for 'each other'; left and right are the viewer's; "
    "negated when the relation must not hold.",
    "unparsed: words of the prompt that none of this can say.",
)


def scene_schema() -> dict[str, Any]:
    """The JSON Schema of a scene, as in our prompt files."""
    thing = {
        "name": _TEXT,
        "count": {"type": ["integer", "null"], "minimum": 0},
        "count_rule": {"enum": list(COUNT_RULES)},
        "color": _TEXT,
        "attributes": {"type": "array", "items": _TEXT},
        "frame_position": _TEXT,
        "text": _TEXT,
    }
    relation = {
        "subject": _INDEX,
        "relation": {"enum": list(RELATIONS)},
        "object": _INDEX,
        "second": _INDEX,
        "negated": {"type": "boolean"},
    }
    return _closed(
        {
            "objects": _list_of(_closed(thing, "name")),
            "relations": _list_of(_closed(relation, "subject", "relation", "object")),
            "unparsed": _list_of(_TEXT),
        },
        "objects",
        "relations",
    )


def _closed(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _list_of(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def reading_question(text: str) -> Question:
    """What a judge is asked about a prompt; there is no picture to it."""
    return Question(
        "\n".join(
            [
                "Say what this prompt asks for, as one JSON object of this schema, nothing else.",
                json.dumps(scene_schema(), separators=(",", ":")),
                *_RULES,
                f"Prompt: {json.dumps(text, ensure_ascii=False)}",
            ]
        ),
        "text",
        template=READ.name,
    )


def scene_of_reply(reply: str, text: str) -> SceneSpec:
    """The scene in a reply, if it is one about this prompt.

    A reply may think aloud or fence its JSON; the last object counts.

    Raises:
        InputError: no JSON object, one that is no scene, or a name, colour or string in it that
            does not stand in the prompt.
    """
    scene = SceneSpec.from_dict(last_object(reply))
    said = _words(text)
    for spec in scene.objects:
        named = [spec.text] if spec.text is not None else [spec.name]
        for words in filter(None, [*named, spec.color]):
            if absent := [word for word in _words(words) if word not in said]:
                raise InputError(
                    f"the reply speaks of {words!r}, but {absent[0]!r} does not stand in the prompt"
                )
    return scene


def last_object(reply: str) -> dict[str, Any]:
    """The outermost JSON object of a reply that ends last: it may think aloud, or fence its JSON.

    Raises:
        InputError: there is none.
    """
    decoder = json.JSONDecoder()
    found, start = None, reply.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(reply, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            found = value if isinstance(value, dict) else found
        start = reply.find("{", end)
    if found is None:
        line = " ".join(reply.split())
        raise InputError(f"the reply holds no JSON object: {line[:60]!r}")
    return found


def _words(text: str) -> set[str]:
    """Words as they stand, without their plurals: "two red mice" -> two, red, mouse."""
    return {singular(word) for word in re.findall(r"\w+", text.lower().replace("grey", "gray"))}


def disagreements(rules: SceneSpec, judge: SceneSpec) -> list[str]:
    """What one reader reads and the other does not, a line each; equal scenes give none.

    >>> cats = SceneSpec((ObjectSpec("cat", 2),))
    >>> disagreements(cats, SceneSpec((ObjectSpec("cat", 2), ObjectSpec("dog"))))
    ['only the judge: a dog']
    """
    first, second = (Counter([*map(_thing, s.objects), *_related(s)]) for s in (rules, judge))
    return [
        *(f"only the rules: {part}" for part in (first - second).elements()),
        *(f"only the judge: {part}" for part in (second - first).elements()),
    ]


def _thing(spec: ObjectSpec) -> str:
    words = f"no {spec.name}" if spec.count == 0 else noun_phrase(spec)
    if spec.count_rule != "exactly":
        words = f"{spec.count_rule} {words}"
    words += f" {spec.text!r}" if spec.text is not None else ""
    return f"{words} in the {spec.frame_position}" if spec.frame_position else words


def _related(scene: SceneSpec) -> list[str]:
    """Relations in words, told from the same side whoever told them."""
    return [
        _told(scene, relation)
        for relation in scene.relations
        # what "between" implies stands beside it for protocols without a rule for it
        if relation.relation == "between" or relation.phrase != "between"
    ]


def _told(scene: SceneSpec, relation: RelationSpec) -> str:
    name, row = relation.relation, RELATION_TABLE[relation.relation]
    subject, *ends = (scene.objects[k].name for k in relation.indices)
    if relation.reciprocal:
        ends = ["each other"]
    elif row.symmetric:
        subject, *ends = sorted([subject, *ends])
    elif row.inverse and RELATIONS.index(row.inverse) < RELATIONS.index(name):
        name, subject, ends = row.inverse, ends[0], [subject]
    return f"{subject} {'not ' * relation.negated}{name} {' and '.join(sorted(ends))}"
