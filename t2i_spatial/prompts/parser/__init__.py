"""Text to scene, by rules: deterministic, offline, and honest about what it could not read."""

from __future__ import annotations

import re

from t2i_spatial.errors import InputError
from t2i_spatial.prompts.parser.clauses import Reader
from t2i_spatial.prompts.parser.kinds import skip_prefix
from t2i_spatial.relation_algebra import contradictions
from t2i_spatial.scene import SceneSpec

_TOKEN = re.compile(r"\w+(?:[-'’]\w+)*|&|[,.;:!?()]")


def parse_prompt(text: str) -> SceneSpec:
    """What must be in a picture of `text`.

    Nouns are open vocabulary, in the singular. Relations are in the viewer's frame. Whatever is
    not read (verbs, unknown relation words, styles) stands in `unparsed`, and so does a
    contradiction between relations, after "contradiction: ". How ambiguous sentences are read is
    told in `t2i_spatial.prompts.parser.clauses`.

    Returns:
        The scene; without objects when no noun was found.

    Raises:
        InputError: the text is empty.

    >>> scene = parse_prompt("a red cat to the left of two dogs")
    >>> [(o.count, o.color, o.name) for o in scene.objects], scene.relations[0].relation
    ([(1, 'red', 'cat'), (2, None, 'dog')], 'left of')
    >>> parse_prompt("a man riding a horse").unparsed
    ('riding',)
    """
    tokens = _TOKEN.findall(text.lower())
    if not tokens:
        raise InputError("an empty prompt")
    reader = Reader(tokens)
    reader.read(skip_prefix(tokens))
    relations = tuple(reader.relations)
    unparsed = reader.unparsed
    if len(relations) > 1:
        for found in contradictions(relations):
            said = [
                f"{reader.objects[r.subject].name} {r.relation} {reader.objects[r.object].name}"
                for r in (relations[index] for index in found.relations)
            ]
            unparsed.append("contradiction: " + ", ".join(said))
    return SceneSpec(tuple(reader.objects), relations, tuple(unparsed))
