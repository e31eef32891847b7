"""VISOR's published `text_spatial_rel_phrases.json`.

Source: microsoft/VISOR @ b9e368b.
"""

from __future__ import annotations

from t2i_spatial.errors import InputError
from t2i_spatial.prompts.readers import FORMATS, PromptFormat, Record, id_text, text_of
from t2i_spatial.scene import ObjectSpec, Prompt, RelationSpec, SceneSpec, canonical_relation


def _matches(record: Record) -> bool:
    return "unique_id" in record and "rel_type" in record


def _read(record: Record, number: int) -> Prompt:
    kind = record["rel_type"]
    if not isinstance(kind, str):
        raise InputError(f"rel_type must be text, got {kind!r}")
    names = [_name(record.get(key)) for key in ("obj_1_attributes", "obj_2_attributes")]
    objects = tuple(ObjectSpec(name) for name in names if name)
    relations: tuple[RelationSpec, ...] = ()
    if kind not in ("and", "single"):
        if len(objects) != 2:
            raise InputError(f"rel_type {kind!r} needs two objects, got {names}")
        relation = canonical_relation(kind)
        relations = (RelationSpec(0, relation, 1, None if kind == relation else kind),)
        kind = relation
    scene = SceneSpec(objects, relations)
    return Prompt(id_text(record["unique_id"], "unique_id"), text_of(record, "text"), kind, scene)


def _name(attributes: object) -> str | None:
    """The first of an object's attributes, which is its name."""
    if not attributes:
        return None
    if not isinstance(attributes, list) or not isinstance(attributes[0], str | None):
        raise InputError(f"the attributes of an object must be a list of texts, got {attributes!r}")
    return attributes[0]


FORMATS.register("sr2d")(PromptFormat(_matches, _read))
