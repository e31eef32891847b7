"""Text to scene, by rules: deterministic, offline, and honest about what it could not read."""

from __future__ import annotations

from t2i_spatial.errors import InputError
from t2i_spatial.prompts.parser.attachment import SceneReader
from t2i_spatial.prompts.parser.chunker import chunk
from t2i_spatial.prompts.parser.tokens import tokenize
from t2i_spatial.relation_algebra import contradictions
from t2i_spatial.scene import SceneSpec


def parse_prompt(text: str) -> SceneSpec:
    """What must be in a picture of `text`."""
    tokens, quotes = tokenize(text)
    if not tokens:
        raise InputError("an empty prompt")
    things = SceneReader(chunk(tokens), quotes).read()
    relations = tuple(things.relations)
    unparsed = things.unparsed
    if len(relations) > 1:
        for found in contradictions(relations):
            said = [
                f"{things.objects[r.subject].name} {r.relation} {things.objects[r.object].name}"
                for r in (relations[index] for index in found.relations)
            ]
            unparsed.append("contradiction: " + ", ".join(said))
    return SceneSpec(tuple(things.objects), relations, tuple(unparsed))
