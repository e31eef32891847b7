"""Text to scene, by rules: deterministic, offline, and honest about what it could not read."""

from __future__ import annotations

from t2i_spatial.errors import InputError
from t2i_spatial.prompts.parser.arrangements import unread_arrangements
from t2i_spatial.prompts.parser.attachment import SceneReader
from t2i_spatial.prompts.parser.chunker import chunk
from t2i_spatial.prompts.parser.language import other_language
from t2i_spatial.prompts.parser.markup import clean_prompt as clean_prompt
from t2i_spatial.prompts.parser.tokens import tokenize
from t2i_spatial.relation_algebra import contradictions
from t2i_spatial.scene import SceneSpec


def parse_prompt(text: str) -> SceneSpec:
    """What must be in a picture of `text`.

    The text is cleaned first (`clean_prompt`: weights and tags of web UIs, HTML, emoji). A text in
    another language is not read, and `unparsed` says which one it seems to be.

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
    if not text.strip():
        raise InputError("an empty prompt")
    cleaned = clean_prompt(text).text
    tokens, quotes = tokenize(cleaned.strip())
    if not tokens:
        return SceneSpec(unparsed=("nothing to read",))
    language = other_language(cleaned, tokens)
    if language is not None:
        return SceneSpec(unparsed=(f"not English, it seems to be {language}",))
    things = SceneReader(chunk(tokens), quotes).read()
    relations = tuple(things.relations)
    unparsed = things.unparsed
    unparsed += unread_arrangements(cleaned, unparsed)
    if len(relations) > 1:
        for found in contradictions(relations):
            said = [
                f"{things.objects[r.subject].name} {r.relation} {things.objects[r.object].name}"
                for r in (relations[index] for index in found.relations)
            ]
            unparsed.append("contradiction: " + ", ".join(said))
    return SceneSpec(tuple(things.objects), relations, tuple(unparsed))
