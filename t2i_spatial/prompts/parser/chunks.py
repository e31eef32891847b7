"""Pieces of a sentence: noun phrases, verbs, relation phrases, places, conjunctions."""

from __future__ import annotations

from typing import NamedTuple

from t2i_spatial.prompts.parser.function_words import (
    ADVERBS,
    CONJUNCTIONS,
    COPULAS,
    DETERMINERS,
    NEGATIONS,
    NUMBERS,
    OPEN_NUMBERS,
    OTHER_PREPOSITIONS,
    RELATIVES,
    SPEAKERS,
    SUBORDINATORS,
)
from t2i_spatial.prompts.parser.noun_phrase import NounPhrase
from t2i_spatial.prompts.parser.relation_phrases import RelationPhrase
from t2i_spatial.prompts.parser.tokens import QUOTE
from t2i_spatial.prompts.parser.verbs import HAVING, MODALS
from t2i_spatial.prompts.words import word_set

(NP, VERB, ADJP, REL, FRAME, PREP, COP, HAVE, WITH, WITHOUT, NOT, AND, OR, COMMA, STOP, THERE,
 THAT, SUB, PRON, TEXT) = range(20)  # fmt: skip


class Verb(NamedTuple):
    """A verb: its stem, its form ("ing", "ed", "finite", "base") and its words."""

    stem: str
    form: str
    word: str


class Chunk(NamedTuple):
    """A piece of a sentence; which of the fields are set depends on the kind."""

    kind: int
    word: str = ""
    phrase: NounPhrase | None = None
    relation: RelationPhrase | None = None
    verb: Verb | None = None


DETERMINER, NUMBER, SKIPPED = 100, 101, 102
_QUANTIFIERS = word_set("at-least at-most more-than fewer-than or-more")
TOKEN_KINDS: dict[str, int] = (
    dict.fromkeys(ADVERBS | SPEAKERS, SKIPPED)
    | dict.fromkeys(OTHER_PREPOSITIONS, PREP)
    | dict.fromkeys([*NUMBERS, *OPEN_NUMBERS, *_QUANTIFIERS], NUMBER)
    | dict.fromkeys(DETERMINERS, DETERMINER)
    | dict.fromkeys(COPULAS, COP)
    | dict.fromkeys(CONJUNCTIONS, AND)
    | dict.fromkeys(SUBORDINATORS, SUB)
    | dict.fromkeys(RELATIVES, THAT)
    | dict.fromkeys(word_set("; : ! ? .") | {"\n"}, STOP)
    | dict.fromkeys(word_set(", ( )"), COMMA)
    | dict.fromkeys(
        word_set("it them they he she itself himself herself themselves him each-other"), PRON
    )
    | dict.fromkeys(HAVING, HAVE)
    | dict.fromkeys(MODALS, SKIPPED)
    | dict.fromkeys(NEGATIONS, NOT)
    | dict.fromkeys(
        word_set(
            "made-of in-style-of full-of topped-with decorated-with as-if due-to shaped-like out-of"
        ),
        PREP,
    )
    | {"with": WITH, "without": WITHOUT, "there": THERE, "there's": THERE, "there’s": THERE,
       "but": COMMA, "or": OR, "nor": OR, "it's": PRON, "it’s": PRON, QUOTE: TEXT,
       "her": DETERMINER,
       "both": NUMBER, "being": SKIPPED, "very": SKIPPED, "whose": WITH, "/": OR}
)  # fmt: skip
