"""How far a run of content words goes: up to the next boundary between phrases."""

from __future__ import annotations

from t2i_spatial.prompts.parser.kinds import (
    COMMA,
    CONJUNCTION,
    DETERMINER,
    INTENSIFIER,
    KINDS,
    NUMBER,
    PREPOSITION,
    STARTER,
)
from t2i_spatial.prompts.parser.lexicon import OTHER_PREPOSITIONS
from t2i_spatial.prompts.parser.noun_phrase import is_modifier
from t2i_spatial.prompts.parser.phrases import match_frame, match_relation


def content_run(tokens: list[str], at: int) -> tuple[tuple[str, ...], int]:
    """The words of the run that begins at `at`, and the index behind it.

    "And" or a comma between two adjectives does not end a run, and is left out of it.

    >>> content_run("a big , red cat on a mat".split(), 0)
    (('a', 'big', 'red', 'cat'), 5)
    """
    kinds = KINDS
    count = len(tokens)
    end = at + 1
    skipped = []
    while end < count:
        word = tokens[end]
        kind = kinds.get(word)
        if kind is None or (kind == INTENSIFIER and word == "very"):
            pass
        elif kind == NUMBER:
            if kinds.get(tokens[end - 1]) != DETERMINER and tokens[end - 1] != "of":
                break
        elif kind == STARTER:
            if (
                word in OTHER_PREPOSITIONS
                or match_relation(tokens, end) is not None
                or match_frame(tokens, end) is not None
            ):
                break
        elif kind == PREPOSITION and word == "of":
            if end + 1 < count and kinds.get(tokens[end + 1]) == DETERMINER:
                break
        elif kind in (CONJUNCTION, COMMA):
            if not (
                end + 2 < count
                and is_modifier(tokens[end + 1])
                and is_modifier(tokens[end - 1])
                and kinds.get(tokens[end + 2]) is None
            ):
                break
            skipped.append(end)
        else:
            break
        end += 1
    if skipped:
        return tuple(tokens[k] for k in range(at, end) if k not in skipped), end
    return tuple(tokens[at:end]), end
