"""Noun phrases with an open vocabulary: where they end, which words are the noun, what is said."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from t2i_spatial.prompts.inflection import INVARIANT, is_plural, singular
from t2i_spatial.prompts.parser.adjectives import (
    COLORS,
    FRAME_WORDS,
    MATERIAL_NOUNS,
)
from t2i_spatial.prompts.parser.function_words import (
    DETERMINERS,
)
from t2i_spatial.prompts.parser.noun_boundary import INNER_PARTICIPLES, noun_end
from t2i_spatial.prompts.parser.nouns import (
    ABSTRACT_EXCEPTIONS,
    ABSTRACT_SUFFIXES,
    COMPOUND_STARTS,
    COMPOUNDS,
    CONTAINERS,
    GROUPS,
    MASS,
    MEASURES,
    NOT_THINGS,
    PLURALIA,
    SCENE_NOUNS,
    THE_PICTURE,
)
from t2i_spatial.prompts.parser.quantity import Quantity, read_quantity
from t2i_spatial.prompts.parser.word_classes import (
    ADJECTIVE,
    ADVERB,
    COLOR,
    NOUN,
    VERB_ED,
    VERB_ING,
    classes,
)
from t2i_spatial.prompts.words import word_set
from t2i_spatial.scene import ObjectSpec

"""Participles between two nouns of one phrase ("a snow covered mountain")."""
_SHELVES = word_set("shelf drawer floor bunk deck rack step stair story layer tier rung button row")
"""What has a top or a left one of itself: no place in the picture."""
_FRAME_ADJECTIVES = {k: v for k, v in FRAME_WORDS.items() if v not in ("foreground",)}
_MAYBE_THINGS = word_set(
    "shape form line circle light surface pattern design sign display element figure stage lens "
    "camera track spring baseball basketball football volleyball symbol rainbow stripe title "
    "lights sight match storm"
)
"""Things when "a", a number or a colour stands before them, otherwise rather not."""


class NounPhrase(NamedTuple):
    """What a noun phrase says.

    Attributes:
        spec: the object.
        article: "a", "the", "number" or "" for none.
        possessive: the pronoun before it ("its"), or "".
        thing: whether it can be seen as an object (no "style", no "contrast").
        scene: whether its head names a kind of picture ("photo", "view").
        part_of: the phrase behind "of" where it is a thing of its own ("the roof of a house").
        new: whether it speaks of another one for sure ("another cat", "a second dog").
    """

    spec: ObjectSpec
    article: str = ""
    possessive: str = ""
    thing: bool = True
    scene: bool = False
    part_of: NounPhrase | None = None
    new: bool = False

    @property
    def definite(self) -> bool:
        """Whether it may speak of something known."""
        return self.article == "the" and not self.new


def read_noun_phrase(words: tuple[str, ...], at: int) -> tuple[NounPhrase | None, int]:
    """The noun phrase that begins at `at`, and the index behind it.

    >>> phrase, end = read_noun_phrase(tuple("three small wine glasses stand".split()), 0)
    >>> phrase.spec.name, phrase.spec.count, phrase.spec.attributes, end
    ('wine glass', 3, ('small',), 4)
    """
    start, quantity = read_quantity(words, at)
    if start == len(words):
        return _pronominal(words, at, start, quantity)
    if words[start] == "of":
        start += 1
        if start < len(words) and words[start] in DETERMINERS:
            start += 1
        if start == len(words):
            return None, start
    end = noun_end(words, start, quantity)
    if end == start:
        return None, max(start, at + 1)
    phrase = _describe(words[start:end], quantity)
    if end < len(words) and words[end] == "of":
        return _with_of(phrase, words, start, end, quantity)
    return phrase, end


def _pronominal(
    words: tuple[str, ...], at: int, end: int, quantity: Quantity
) -> tuple[NounPhrase | None, int]:
    """ "The other", "two": nothing is named."""
    if words[end - 1] in ("other", "others", "one", "another"):
        return None, end
    return None, end


def _describe(words: tuple[str, ...], quantity: Quantity) -> NounPhrase:
    """The object that these words (without determiner) name; the last one is the head."""
    total = len(words)
    color: str | None = None
    attributes: list[str] = []
    frame: list[str] = []
    skip = 0
    adverb = ""
    count, article = quantity.number, quantity.article
    for index in range(total - 1):
        if words[index].endswith(("'s", "’s", "s'", "s’")):
            # "a girl's shoulder": the part is the object
            skip = index + 1
            article = "the" if article != "number" else article
    while skip < total - 1 and not _compound(words[skip:]):
        word = words[skip]
        kinds = classes(word)
        if kinds & COLOR or word in COLORS:
            if color is None:
                color = "gray" if word == "grey" else word
            else:
                attributes.append(word)
        elif word in _FRAME_ADJECTIVES and words[-1] != word:
            frame.append(word)
        elif word.endswith(("-colored", "-coloured", "-toned", "-hued")):
            base = word.rpartition("-")[0]
            if base in COLORS and color is None:
                color = base
            else:
                attributes.append(word)
        elif word in ("colored", "coloured", "toned", "color", "hued") and (color or attributes):
            pass
        elif kinds & ADVERB or word in ("very", "extremely", "really", "quite", "too", "so"):
            if word not in ("very", "extremely", "really", "quite", "too", "so"):
                adverb = word + " "
                skip += 1
                continue
        elif kinds & (ADJECTIVE | VERB_ED | VERB_ING) and (
            adverb or kinds & ADJECTIVE or not kinds & NOUN
        ):
            attributes.append(adverb + word)
        elif word in MATERIAL_NOUNS or _modified_later(words, skip):
            attributes.append(word)
        else:
            break
        adverb = ""
        skip += 1
    noun = list(words[skip:])
    last = noun[-1]
    count = _counted(last, len(noun), count, article)
    noun[-1] = _one(last, count, article if len(noun) == 1 else article or "the")
    name = " ".join(noun)
    place = None
    if frame:
        if noun[-1] in _SHELVES:
            attributes[:0] = frame
        else:
            place = _frame_place(frame)
    spec = ObjectSpec(name, count, color, tuple(attributes), place, quantity.rule)  # type: ignore[arg-type]
    head = noun[-1]
    thing = _is_thing(name, head, article, color, quantity)
    scene = head in SCENE_NOUNS
    return NounPhrase(spec, article, quantity.possessive, thing, scene, None, quantity.new)


def _frame_place(words: list[str]) -> str:
    found: list[str] = []
    for word in words:
        found.extend(_FRAME_ADJECTIVES[word].split())
    order = {"background": 0, "top": 1, "bottom": 1, "center": 2}
    return " ".join(sorted(dict.fromkeys(found), key=lambda word: order.get(word, 3)))


def _modified_later(words: tuple[str, ...], at: int) -> bool:
    """An unknown word before a known adjective is one too ("a flimmering big quux")."""
    for word in words[at + 1 : -1]:
        kinds = classes(word)
        if kinds & ADJECTIVE and not kinds & NOUN and word not in INNER_PARTICIPLES:
            return True
        if word in INNER_PARTICIPLES:
            return True
    return False


def _compound(words: tuple[str, ...]) -> bool:
    return (
        len(words) > 1
        and words[0] in COMPOUND_STARTS
        and (singular(" ".join(words)) in COMPOUNDS or " ".join(words) in COMPOUNDS)
    )


def _counted(last: str, length: int, count: int | None, article: str) -> int | None:
    if article == "a" or count != 1 or article == "number":
        return count
    if last in PLURALIA and not (last == "glasses" and article == ""):
        return None
    if last == "glasses" and article == "":
        return None
    if is_plural(last) and last not in INVARIANT:
        return None
    if not article and last in MASS:
        return None
    if not article and last in INVARIANT:
        return 1
    return count


def _one(last: str, count: int | None, article: str) -> str:
    """The head in the singular."""
    if last == "glasses" and article == "":
        return last
    if article == "a" and not last.endswith(("ches", "shes", "ves", "men")) and last in PLURALIA:
        return last
    if article == "a" and count == 1 and last.endswith("s"):
        return last
    return singular(last)


def _is_thing(name: str, head: str, article: str, color: str | None, quantity: Quantity) -> bool:
    if name in COMPOUNDS:
        return True
    if name in ("golf course",):
        return True
    indefinite = article in ("a", "number") or color is not None
    if name in NOT_THINGS or head in NOT_THINGS:
        if head in _MAYBE_THINGS and (indefinite or " " in name):
            return True
        if head in THE_PICTURE or head in SCENE_NOUNS:
            return article in ("a", "number") and head not in ("scene", "view", "shot", "style")
        return False
    if head.endswith(ABSTRACT_SUFFIXES) and head not in ABSTRACT_EXCEPTIONS and len(head) > 5:
        return False
    kinds = classes(head)
    if kinds & ADVERB:
        return False
    if kinds & VERB_ING and not kinds & NOUN:
        return article in ("a", "number")
    if kinds & ADJECTIVE and not kinds & (NOUN | COLOR) and not article:
        return False
    if kinds & COLOR and not kinds & NOUN:
        return article == "number" and quantity.number != 1
    return True


def _with_of(
    phrase: NounPhrase, words: tuple[str, ...], start: int, end: int, quantity: Quantity
) -> tuple[NounPhrase | None, int]:
    """The phrase together with what stands behind "of"."""
    inner, behind = read_noun_phrase(words, end + 1)
    if inner is None:
        return phrase, max(behind, end + 1)
    head = words[end - 1]
    if head == "glasses" and phrase.spec.name.endswith("glasses"):
        whole = phrase.spec.name[:-2]  # "glasses of wine" are no spectacles
        phrase = phrase._replace(spec=replace(phrase.spec, name=whole))
    name = phrase.spec.name.split()[-1]
    if head in SCENE_NOUNS and phrase.article != "number":
        # "a photo of a cat"; a painting that hangs somewhere is told apart by the chunker
        return inner._replace(scene=False, part_of=phrase._replace(scene=True)), behind
    if (name in GROUPS or head in GROUPS) and (phrase.article or head in GROUPS):
        return _grouped(phrase, inner, name, quantity), behind
    if not classes(head) & NOUN and classes(head) & ADJECTIVE:
        # "the largest of the three boxes"
        attributes = (*phrase.spec.attributes, head, *inner.spec.attributes)
        one = replace(inner.spec, count=phrase.spec.count, attributes=attributes)
        return inner._replace(spec=one, article=phrase.article, new=True), behind
    if name in MEASURES and not inner.article and inner.thing:
        whole = f"{phrase.spec.name} of {' '.join(words[end + 1 : behind])}"
        return phrase._replace(spec=replace(phrase.spec, name=whole), thing=True), behind
    said = " ".join(words[end:behind])
    if f"{phrase.spec.name} {said}" in COMPOUNDS:
        whole = f"{phrase.spec.name} {said}"
        return phrase._replace(spec=replace(phrase.spec, name=whole), thing=True), behind
    known = name in NOT_THINGS or not phrase.thing
    if known and name not in CONTAINERS:
        # "the beauty of the dog": the thing behind "of" is what can be seen
        return (inner if inner.thing and inner.article else phrase), behind
    if inner.article and inner.thing and name not in CONTAINERS:
        return phrase._replace(part_of=inner), behind
    spec = replace(phrase.spec, attributes=(*phrase.spec.attributes, said))
    return phrase._replace(spec=spec, thing=True if name in CONTAINERS else phrase.thing), behind


def _grouped(phrase: NounPhrase, inner: NounPhrase, group: str, quantity: Quantity) -> NounPhrase:
    count = inner.spec.count if inner.article == "number" or inner.article == "the" else None
    if group in ("pair", "couple", "duo") and inner.article != "number":
        pieces = 1 if inner.spec.name in PLURALIA else 2
        count = None if quantity.number is None else quantity.number * pieces
    elif group == "trio" and inner.article != "number":
        count = 3
    elif group == "dozen":
        count = 12
    elif inner.article == "the" and inner.spec.count == 1:
        count = None
    name = "glass" if inner.spec.name == "glasses" and group != "pair" else inner.spec.name
    spec = replace(
        inner.spec,
        name=name,
        count=count,
        frame_position=inner.spec.frame_position or phrase.spec.frame_position,
        color=inner.spec.color or phrase.spec.color,
    )
    return inner._replace(spec=spec, article=phrase.article or "number", new=phrase.new)
