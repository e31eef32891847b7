"""How far a run of content words goes: up to the next boundary between phrases."""

from __future__ import annotations

from t2i_spatial.prompts.parser.kinds import (
    COMMA,
    CONJUNCTION,
    COPULA,
    DETERMINER,
    INTENSIFIER,
    KINDS,
    NUMBER,
    PREPOSITION,
    PRONOUN,
    STARTER,
    THERE,
)
from t2i_spatial.prompts.parser.lexicon import OTHER_PREPOSITIONS, POSTURES
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
        if kind is None:
            # "larger than": the comparison is no part of the noun
            if end + 1 < count and tokens[end + 1] == "than":
                break
        elif kind == INTENSIFIER and word == "very":
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


def fronts(tokens: list[str], at: int) -> bool:
    """Whether a subject follows the noun phrase at `at`, as in "[under] the table is a dog".

    >>> fronts("the table is a dog".split(), 0), fronts("the table is red".split(), 0)
    (True, False)
    """
    for end in range(at, len(tokens) - 1):
        kind = KINDS.get(tokens[end])
        if kind in (COPULA, THERE) or tokens[end] in POSTURES:
            following = tokens[end + 1]
            return KINDS.get(following) in (DETERMINER, NUMBER, COPULA) or following.isdecimal()
        if kind not in (None, DETERMINER, NUMBER, PRONOUN):
            return False
    return False
