"""Noun phrases with an open vocabulary: which words are the noun, what is said about it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from t2i_spatial.prompts.inflection import INVARIANT, is_plural, rare_singular, singular
from t2i_spatial.prompts.parser.lexicon import (
    ADJECTIVES,
    BASE_VERBS,
    COLOR_NOUNS,
    COLORS,
    COMPOUNDS,
    CONTAINERS,
    DETERMINERS,
    ED_NOUNS,
    FINITE_VERBS,
    GROUPS,
    ING_NOUNS,
    LY_NOUNS,
    MATERIAL_NOUNS,
    NUMBERS,
    OPEN_NUMBERS,
    POSTURES,
    SHADES,
    SINGULAR_DETERMINERS,
)
from t2i_spatial.prompts.words import word_set
from t2i_spatial.scene import ObjectSpec

_MASS = word_set(
    "water grass snow sand rice milk coffee tea juice wine beer soup smoke fog fire ice food "
    "bread cheese butter sugar salt flour hair fur jewelry traffic scenery greenery vegetation "
    "foliage"
)
_PLURALIA = word_set(
    "scissors skis jeans pants trousers shorts leggings tights sunglasses eyeglasses goggles "
    "binoculars headphones earphones tongs pliers pajamas pyjamas clothes"
)
_ONE = SINGULAR_DETERMINERS | {"number"}
_MAYBE_ADJECTIVES = COLOR_NOUNS | MATERIAL_NOUNS
_COLOR_SUFFIXES = ("-colored", "-coloured", "-toned")
_ADJECTIVE_SUFFIXES = ("ous", "ful", "less", "ish", "ive", "able", "ible", "-shaped", "-sized")


class NounPhrase(NamedTuple):
    """What a run of words says.

    Attributes:
        spec: the object, or `None` when the run has no noun.
        rest: words behind the noun that do not belong to it (a verb and what follows).
        determined: the run begins with an article or a number.
        definite: the run begins with "the" or the like, and may speak of something known.
    """

    spec: ObjectSpec | None
    rest: tuple[str, ...]
    determined: bool
    definite: bool


def is_modifier(word: str) -> bool:
    """Whether a word may stand before a noun and say how it looks."""
    return (
        word in ADJECTIVES
        or word in COLORS
        or word.endswith(_ADJECTIVE_SUFFIXES)
        or word.endswith(_COLOR_SUFFIXES)
        or word.endswith(("'s", "’s"))
        or (word.endswith("ed") and len(word) > 4 and word not in ED_NOUNS)
    )


@lru_cache(maxsize=65536)
def noun_phrase(tokens: tuple[str, ...]) -> NounPhrase:
    """Read a run of words without conjunctions, relation phrases and punctuation.

    >>> noun_phrase(("three", "small", "wine", "glasses")).spec
    ObjectSpec(name='wine glass', count=3, color=None, attributes=('small',), frame_position=None)
    >>> noun_phrase(("five", "giraffes", "roamed")).rest
    ('roamed',)
    """
    start, count, article, definite = _quantity(tokens)
    words = tokens[start:]
    determined = start > 0
    if not words:
        return NounPhrase(None, (), determined, definite)
    if not determined and (words[0] in POSTURES or (len(words) == 1 and _is_verb(words[0]))):
        return NounPhrase(None, words, False, False)
    of_rest: tuple[str, ...] = ()
    if "of" in words:
        words, count, of_rest = _partitive(words, count)
        if not words:
            return NounPhrase(None, of_rest, determined, definite)
    skip = 0
    color = None
    attributes: list[str] = []
    end = _noun_end(words, count, article)
    while skip < end - 1 and not _known_compound(words[skip:end]):
        word = words[skip]
        if word == "very" or word in ("extremely", "really", "quite", "rather"):
            skip += 1
            continue
        if word in COLORS and color is None:
            color = "gray" if word == "grey" else word
        elif word.endswith(_COLOR_SUFFIXES) and word.rpartition("-")[0] in COLORS:
            color = word.rpartition("-")[0]
        elif is_modifier(word) or word in SHADES or _is_participle(word):
            attributes.append(word)
        elif any(w in ADJECTIVES or w in COLORS for w in words[skip + 1 : end - 1]) and (
            word not in _MAYBE_ADJECTIVES
            and not any(w in _MAYBE_ADJECTIVES for w in words[skip + 1 : end - 1])
        ):
            # an unknown word before a known adjective is one too
            attributes.append(word)
        else:
            break
        skip += 1
    noun = list(words[skip:end])
    rest = words[end:] + of_rest
    if len(noun) == 1 and _is_no_noun(noun[0]):
        return NounPhrase(None, words + of_rest, determined, definite)
    last = noun[-1]
    eyewear = last == "glasses" and len(noun) == 1 and not determined
    if article in SINGULAR_DETERMINERS or (count == 1 and article == "number"):
        pass
    elif last in _PLURALIA or eyewear:
        if count == 1 and article != "number":
            count = None
    elif is_plural(last):
        noun[-1] = singular(last)
        if count == 1 and last not in INVARIANT:
            count = None
    elif count not in (0, 1) and article == "number" and " " not in last:
        noun[-1] = rare_singular(last) or last
    elif not determined and last in _MASS:
        count = None
    name = " ".join(noun)
    return NounPhrase(ObjectSpec(name, count, color, tuple(attributes)), rest, determined, definite)


def predicate(words: Sequence[str]) -> tuple[str | None, tuple[str, ...], tuple[str, ...]]:
    """Colour, attributes and unread words of what stands behind "is" ("red and shiny").

    >>> predicate(("red", "shiny"))
    ('red', ('shiny',), ())
    """
    color = None
    attributes = []
    rest: list[str] = []
    for word in words:
        if rest:
            rest.append(word)
        elif word in COLORS and color is None:
            color = "gray" if word == "grey" else word
        elif word in ADJECTIVES or word.endswith(_ADJECTIVE_SUFFIXES):
            attributes.append(word)
        elif word not in POSTURES and word != "very":
            rest.append(word)
    return color, tuple(attributes), tuple(rest)


def _quantity(tokens: tuple[str, ...]) -> tuple[int, int | None, str, bool]:
    """Where the words begin, the count, the kind of determiner, and whether it is definite."""
    position = 0
    count: int | None = 1
    article = ""
    definite = False
    total = len(tokens)
    if tokens[0] in DETERMINERS or tokens[0] == "these" or tokens[0] == "those":
        article = tokens[0]
        definite = article in ("the", "this", "that", "its", "their", "these", "those")
        position = 1
    if position < total:
        word = tokens[position]
        if word in NUMBERS and (total > position + 1 or word != "single"):
            article, count = "number", NUMBERS[word]
            position += 1
        elif word.isdecimal() and len(word) < 4:
            article, count = "number", int(word)
            position += 1
        elif word in OPEN_NUMBERS:
            article, count = "number", None
            position += 1
            if word in ("these", "those"):
                article = "the"
    if position < total and tokens[position] == "dozen":
        article, count = "number", 12 if count == 1 else (count or 1) * 12
        position += 1
    if (
        position + 2 < total
        and tokens[position] in GROUPS
        and tokens[position + 1] == "of"
        and (article or tokens[position] == "lots")
    ):
        group = tokens[position]
        position += 2
        if tokens[position] in ("the", "some") and position + 1 < total:
            position += 1
        if tokens[position] in NUMBERS and position + 1 < total:
            count = NUMBERS[tokens[position]]
            position += 1
        elif group in ("pair", "couple"):
            pieces = 1 if tokens[-1] in _PLURALIA else 2
            count = None if count is None else count * pieces
        else:
            count = None
        article = "number"
    elif position + 1 < total and tokens[position] == "couple" and article:
        position, count, article = position + 1, 2, "number"
    return position, count, article, definite


def _partitive(
    words: tuple[str, ...], count: int | None
) -> tuple[tuple[str, ...], int | None, tuple[str, ...]]:
    """ "Glass of water" is one noun; what follows another "of" is not read."""
    at = words.index("of")
    if 0 < at < len(words) - 1 and singular(words[at - 1]) in CONTAINERS:
        kind = words[at - 1] if count == 1 else singular(words[at - 1])
        inner_end = at + 1 + _noun_end(words[at + 1 :], None, "")
        name = " ".join((kind, *words[at:inner_end]))
        return (*words[: at - 1], name), count, words[inner_end:]
    return words[:at], count, words[at:]


def _noun_end(words: tuple[str, ...], count: int | None, article: str) -> int:
    """Index behind the head noun: before a verb, an adverb or a trailing adjective."""
    total = len(words)
    if total == 1:
        return 1
    if count != 1 and article == "number":
        for index, word in enumerate(words):
            if (
                is_plural(word)
                and word not in ADJECTIVES
                and (index == 0 or not word.endswith("ss"))
            ):
                end = index + 1
                while end < total and is_plural(words[end]) and words[end] not in FINITE_VERBS:
                    end += 1
                if end < total and _known_compound(words[index : end + 1]):
                    end += 1
                return end
    noun_seen = False
    for index, word in enumerate(words):
        if index and noun_seen:
            if _known_compound(words[index - 1 : index + 1]):
                continue
            if index < total - 1 and (words[index - 1] in _MAYBE_ADJECTIVES):
                # "an orange striped cat": so far only words that may be adjectives
                continue
            if word in FINITE_VERBS or word in POSTURES:
                if word not in BASE_VERBS or is_plural(words[index - 1]):
                    return index
            elif word in BASE_VERBS and is_plural(words[index - 1]) and article not in _ONE:
                return index
            if word.endswith("ing") and word not in ING_NOUNS and len(word) > 4:
                return index
            if word.endswith("ed") and word not in ED_NOUNS and len(word) > 3:
                return index
            if word.endswith("ly") and word not in LY_NOUNS and len(word) > 3:
                return index
            if (article in SINGULAR_DETERMINERS or article == "number") and _third_person(
                word, words[index - 1], index == total - 1
            ):
                return index
        if not is_modifier(word) or word in _MAYBE_ADJECTIVES:
            noun_seen = True
    end = total
    while (
        end > 1
        and words[end - 1] in ADJECTIVES
        and words[end - 1] not in MATERIAL_NOUNS
        and words[end - 1] not in SHADES
        and not is_modifier(words[end - 2])
    ):
        end -= 1
    return end


def _third_person(word: str, before: str, last: bool) -> bool:
    """ "A dog sits": a word in -s behind a singular noun that "a" or "one" introduced."""
    return (
        last
        and word.endswith("s")
        and is_plural(word)
        and word not in INVARIANT
        and not is_plural(before)
    )


def _is_verb(word: str) -> bool:
    return (
        word in FINITE_VERBS
        or (word.endswith("ing") and word not in ING_NOUNS and len(word) > 4)
        or (word.endswith("ed") and word not in ED_NOUNS and len(word) > 4)
    )


def _is_participle(word: str) -> bool:
    return word.endswith("ing") and word not in ING_NOUNS and len(word) > 5


def _is_no_noun(word: str) -> bool:
    if word in COLOR_NOUNS or word in MATERIAL_NOUNS:
        return False
    return (
        word in COLORS
        or word in ADJECTIVES
        or (word.endswith("ly") and word not in LY_NOUNS and len(word) > 3)
    )


@lru_cache(maxsize=65536)
def _known_compound(words: tuple[str, ...]) -> bool:
    return len(words) > 1 and singular(" ".join(words)) in COMPOUNDS
