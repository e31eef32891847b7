"""How many: determiners, numbers and quantifiers before a noun."""

from __future__ import annotations

from typing import NamedTuple

from t2i_spatial.prompts.parser.function_words import (
    DETERMINERS,
    NUMBERS,
    OPEN_NUMBERS,
    POSSESSIVES,
    SINGULAR_DETERMINERS,
)
from t2i_spatial.prompts.parser.word_classes import ADJECTIVE, NOUN, classes
from t2i_spatial.prompts.words import word_set

_ANOTHER = word_set("another second third fourth other")


class Quantity(NamedTuple):
    """What stands before a noun; the fields are those of `ObjectSpec` and `NounPhrase`."""

    number: int | None = 1
    rule: str = "exactly"
    article: str = ""
    possessive: str = ""
    new: bool = False


def read_quantity(words: tuple[str, ...], at: int) -> tuple[int, Quantity]:
    """How many, and of what kind the determiner is."""
    count: int | None = 1
    rule, article, possessive, new = "exactly", "", "", False
    total = len(words)
    begin = at
    while at < total:
        word = words[at]
        if word in DETERMINERS:
            if at > begin and words[at - 1] in DETERMINERS and article:
                break
            if word in POSSESSIVES:
                article, possessive = "the", word
            else:
                article = "a" if word in SINGULAR_DETERMINERS or word == "any" else "the"
                if at > begin and words[at - 1] == "both":
                    count = 1
                new = new or word == "another"
        elif word in ("at-least", "more-than", "or-more"):
            rule = "at least" if word != "more-than" else "more"
        elif word in ("at-most", "fewer-than"):
            rule = "at most" if word != "fewer-than" else "fewer"
        elif word in (
            "exactly",
            "only",
            "just",
            "all",
            "both",
            "such",
            "approximately",
            "about",
        ) and (at == begin or word == "only"):
            if word == "both":
                count, article = 2, "the"
        elif word in NUMBERS and not (word in ("single", "lone", "double") and at + 1 == total):
            if count not in (1, None) and article == "number" and word != "dozen":
                break
            count = (count or 1) * 12 if word == "dozen" and article == "number" else NUMBERS[word]
            if article != "the" or count != 1:
                article = "number" if article != "the" or word in ("no", "zero") else "the"
        elif word.isdecimal() and len(word) < 5:
            if article == "number":
                break
            count, article = int(word), ("the" if article == "the" else "number")
        elif word in OPEN_NUMBERS:
            count, article = None, ("the" if word in ("these", "those") else "number")
        elif word in ("second", "third", "fourth", "other", "more", "additional", "extra"):
            if at + 1 == total and word != "other":
                break
            new = True
        elif (
            word == "couple"
            and article
            and at + 1 < total
            and classes(words[at + 1]) & (NOUN | ADJECTIVE)
            and words[at + 1] != "of"
        ):
            count, article = 2, "number"
        else:
            break
        at += 1
    if rule == "more":
        count, rule = (count or 1) + 1, "at least"
    elif rule == "fewer":
        count, rule = max((count or 1) - 1, 0), "at most"
    return at, Quantity(count, rule, article, possessive, new)
