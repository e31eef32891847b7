"""Prompts as triples: records with a subject, a relation and an object."""

from __future__ import annotations

from t2i_spatial.prompts.readers import PromptFormat, Record, numbered, text_of
from t2i_spatial.scene import ObjectSpec, Prompt, RelationSpec, SceneSpec, canonical_relation

KEYS = {"subject", "relation", "object"}


def read(record: Record, number: int) -> Prompt:
    """The scene is that of the triple; the text is made from it."""
    subject, relation, other = (text_of(record, key) for key in ("subject", "relation", "object"))
    scene = SceneSpec(
        (ObjectSpec(subject), ObjectSpec(other)),
        (RelationSpec(0, canonical_relation(relation), 1, relation),),
    )
    return Prompt(numbered(number), f"a {subject} {relation} a {other}", "triple", scene)


TRIPLES = PromptFormat(matches=lambda record: record.keys() >= KEYS, read=read)
