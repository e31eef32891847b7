"""Text to scene, by rules: deterministic, offline, and honest about what it could not read."""

from __future__ import annotations

from t2i_spatial.errors import InputError
from t2i_spatial.prompts.parser.attachment import SceneReader
from t2i_spatial.prompts.parser.chunker import chunk
from t2i_spatial.prompts.parser.tokens import tokenize
from t2i_spatial.relation_algebra import contradictions
from t2i_spatial.scene import SceneSpec


def parse_prompt(text: str) -> SceneSpec:
    """What must be in a picture of `text`.

    Nouns are open vocabulary, in the singular. Relations are in the viewer's frame. What is not
    read (an action on something, a relation outside the table) stands in `unparsed`, and so does
    a contradiction between relations, after "contradiction: ". How ambiguous sentences are read is
    told in `t2i_spatial.prompts.parser.attachment`.

    Returns:
        The scene; without objects when no noun was found.

    Raises:
        InputError: the text is empty.

    >>> scene = parse_prompt("a red cat to the left of two dogs")
    >>> [(o.count, o.color, o.name) for o in scene.objects], scene.relations[0].relation
    ([(1, 'red', 'cat'), (2, None, 'dog')], 'left of')
    >>> parse_prompt("a man washing a horse").unparsed
    ('washing',)
    """
    tokens, quotes = tokenize(text.strip())
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
