"""Where a noun phrase ends: before a verb, an adverb or a trailing adjective."""

from __future__ import annotations

from t2i_spatial.prompts.inflection import INVARIANT, is_plural, singular
from t2i_spatial.prompts.parser.nouns import (
    ANIMATE,
    COMPOUND_STARTS,
    COMPOUNDS,
    PLURALIA,
)
from t2i_spatial.prompts.parser.quantity import Quantity
from t2i_spatial.prompts.parser.verbs import POSTURES, THIRD, VERBISH_S
from t2i_spatial.prompts.parser.word_classes import (
    ADJECTIVE,
    ADVERB,
    ANY_VERB,
    COLOR,
    NOUN,
    PLURAL,
    POSSESSOR,
    VERB_BASE,
    VERB_ED,
    VERB_ING,
    VERB_S,
    classes,
)
from t2i_spatial.prompts.words import word_set

INNER_PARTICIPLES = word_set(
    "covered lined shaped colored coloured filled topped patterned themed sized flavored flavoured "
    "stained handled legged haired eyed faced tailed winged coated trimmed framed plated printed "
    "powered lit style styled inspired made painted bound tipped striped dotted studded kissed "
    "drawn driven infested ridden dappled clad capped baked wrapped decorated roofed walled built "
    "carved knit knitted sleeved looking toned tiled paved soaked rimmed encrusted laden strewn "
    "drenched splattered fired grown fed branded collared necked breasted bellied crested"
)


def is_modifier(word: str) -> bool:
    """Whether a word may stand before a noun and say how it looks."""
    return bool(classes(word) & (ADJECTIVE | VERB_ED | POSSESSOR)) and word not in POSTURES


def is_compound(name: str) -> bool:
    """Whether a name of several words is known as one noun, in the singular or plural."""
    if name.partition(" ")[0] not in COMPOUND_STARTS:
        return False
    return name in COMPOUNDS or singular(name) in COMPOUNDS


def noun_end(words: tuple[str, ...], start: int, quantity: Quantity) -> int:
    """Index behind the head noun: before a verb, an adverb or a trailing adjective."""
    total = len(words)
    article = quantity.article
    one = article == "a" or (article == "number" and quantity.number == 1)
    many = article == "number" and quantity.number != 1
    adjective = -1
    head = -1  # index of the last word that can be the head
    at = start
    while at < total:
        word = words[at]
        kinds = classes(word)
        following = classes(words[at + 1]) if at + 1 < total and words[at + 1] != "of" else 0
        if word == "of":
            break
        if head >= 0 and at - head == 1 and is_compound(f"{words[head]} {word}"):
            head = at
            at += 1
            continue
        if (
            at + 1 < total
            and is_compound(f"{word} {words[at + 1]}")
            and not (head >= 0 and kinds & VERB_ING and _ends_before(words, at, head, one, many))
        ):
            head = at + 1
            at += 2
            continue
        if kinds & POSSESSOR:
            if head >= 0:
                head = -1
            at += 1
            continue
        if head < 0:
            if (kinds & NOUN and not (kinds & ADJECTIVE and following & NOUN)) or (
                kinds & (VERB_BASE | VERB_S) and not kinds & (ADJECTIVE | VERB_ED)
            ):
                head = at
            elif kinds & (ADJECTIVE | VERB_ED | VERB_ING | ADVERB) and not (
                at + 1 < total and words[at + 1] != "of"
            ):
                if not kinds & (NOUN | COLOR | ADJECTIVE) and adjective >= 0:
                    head = adjective  # "a blonde smiling"
                elif kinds & (NOUN | COLOR) or (article and not kinds & ADVERB):
                    head = at
                break
            adjective = at if kinds & ADJECTIVE else adjective
            at += 1
            continue
        if word in INNER_PARTICIPLES and following & (NOUN | ADJECTIVE) and at + 1 < total:
            head = -1
            at += 1
            continue
        if _ends_before(words, at, head, one, many):
            break
        if kinds & (ADJECTIVE | VERB_ED) and not kinds & NOUN:
            # "a plush red velvet cushion": adjectives inside, if a noun follows
            if _noun_ahead(words, at) and not many_plural(words[head], many):
                head = -1
                at += 1
                continue
            break
        head = at
        at += 1
    return head + 1 if head >= 0 else start


def _noun_ahead(words: tuple[str, ...], at: int) -> bool:
    """Whether a noun follows the adjectives behind `at`."""
    for word in words[at + 1 : at + 5]:
        kinds = classes(word)
        if kinds & NOUN:
            return True
        if not kinds & (ADJECTIVE | VERB_ED | COLOR) or word == "of":
            return False
    return False


_PLURAL_HEADS = INVARIANT | PLURALIA | word_set("series species")


def many_plural(word: str, many: bool) -> bool:
    """ "Three cats": the first plural behind a number is the head."""
    return many and is_plural(word)


def _ends_before(words: tuple[str, ...], at: int, head: int, one: bool, many: bool) -> bool:
    """Whether the word at `at` is no part of the noun phrase whose head so far is `head`."""
    word, before = words[at], words[head]
    kinds, earlier = classes(word), classes(before)
    last = at + 1 == len(words)
    following = 0 if last else classes(words[at + 1])
    if kinds & ADVERB or word in ("full", "alone", "together", "upside", "apart", "ahead"):
        return True
    plural_before = bool(earlier & PLURAL) and before not in ("glass",)
    if kinds & VERB_ING:
        # "ducks crossing", "a man painting", but "a railroad crossing"
        return not kinds & NOUN or plural_before or before in ANIMATE
    if kinds & VERB_ED and not kinds & (NOUN | ADJECTIVE):
        return True
    if kinds & VERB_ED and word not in ("cut", "set", "left", "bat", "fit", "lay", "rose", "lit"):
        return not (following & NOUN and not kinds & VERB_BASE)
    if word in ("lay", "lit", "left", "fell", "sat") and (last or not following & NOUN):
        return True
    if kinds & VERB_S and word in THIRD:
        if one and not plural_before:
            return True
        if plural_before or not kinds & NOUN or word in VERBISH_S:
            return before not in ("sports", "clothes")
    if one and last and kinds & PLURAL and not plural_before and word not in _PLURAL_HEADS:
        return word.endswith("s")  # "a dog swivels": what "a" introduces does not end in a plural
    if kinds & VERB_BASE:
        if not kinds & (NOUN | ADJECTIVE):
            return True
        if plural_before and not one and before not in ("sports", "glasses"):
            return not (kinds & ADJECTIVE and following & NOUN)
    if many and plural_before and not kinds & PLURAL:
        return bool(kinds & ANY_VERB)
    return False
