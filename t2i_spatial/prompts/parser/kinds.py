"""What kind of token a word is for the clause reader, and where a prompt begins."""

from __future__ import annotations

from t2i_spatial.prompts.parser.lexicon import (
    CONJUNCTIONS,
    COPULAS,
    DETERMINERS,
    IMAGE_WORDS,
    INTENSIFIERS,
    NUMBERS,
    OPEN_NUMBERS,
    OTHER_PREPOSITIONS,
    RELATIVES,
)
from t2i_spatial.prompts.parser.phrases import STARTERS
from t2i_spatial.prompts.words import word_set

(DETERMINER, NUMBER, COPULA, CONJUNCTION, COMMA, STOP, WITH, WITHOUT, NOT, PREPOSITION, RELATIVE,
 PRONOUN, THERE, STARTER, INTENSIFIER) = range(15)  # fmt: skip

KINDS: dict[str, int] = (
    dict.fromkeys(INTENSIFIERS, INTENSIFIER)
    | dict.fromkeys(OTHER_PREPOSITIONS, PREPOSITION)
    | dict.fromkeys(STARTERS, STARTER)
    | dict.fromkeys(DETERMINERS, DETERMINER)
    | dict.fromkeys([*NUMBERS, *OPEN_NUMBERS], NUMBER)
    | dict.fromkeys(COPULAS, COPULA)
    | dict.fromkeys(CONJUNCTIONS, CONJUNCTION)
    | dict.fromkeys(RELATIVES, RELATIVE)
    | dict.fromkeys(word_set("; : ! ? ."), STOP)
    | dict.fromkeys(word_set(", ( )"), COMMA)
    | dict.fromkeys(word_set("it them they he she itself himself herself"), PRONOUN)
    | {
        "with": WITH,
        "has": WITH,
        "have": WITH,
        "had": WITH,
        "having": WITH,
        "there's": THERE,
        "there’s": THERE,
        "containing": WITH,
        "contains": WITH,
        "featuring": WITH,
        "without": WITHOUT,
        "not": NOT,
        "there": THERE,
        "but": COMMA,
        "or": CONJUNCTION,
    }
)
"""Words that are no content words; a later kind wins over an earlier one."""


def skip_prefix(tokens: list[str]) -> int:
    """Where the prompt begins behind "a photo of", "this is an oil painting of" and the like.

    >>> skip_prefix("a photo of a cat".split()), skip_prefix("a painting on a wall".split())
    (3, 0)
    """
    for at, token in enumerate(tokens[:8]):
        if token in IMAGE_WORDS and at + 2 < len(tokens):
            if tokens[at + 1] in ("of", "showing", "depicting", "featuring", "that"):
                return at + 2
        elif token in STARTERS or token in CONJUNCTIONS:
            return 0
    return 0
