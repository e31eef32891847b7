"""Noun phrases with an open vocabulary: where they end, which words are the noun, what is said."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from t2i_spatial.prompts.inflection import INVARIANT, is_plural, singular
from t2i_spatial.prompts.parser.adjectives import (
    COLORS,
    FRAME_WORDS,
    MATERIAL_NOUNS,
    SHADES,
)
from t2i_spatial.prompts.parser.function_words import (
    DETERMINERS,
    NUMBERS,
    OPEN_NUMBERS,
    POSSESSIVES,
    SINGULAR_DETERMINERS,
)
from t2i_spatial.prompts.parser.nouns import (
    ABSTRACT_EXCEPTIONS,
    ABSTRACT_SUFFIXES,
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
from t2i_spatial.scene import ObjectSpec

_INNER_PARTICIPLES = word_set(
    "covered lined shaped colored coloured filled topped patterned themed sized flavored flavoured "
    "stained handled legged haired eyed faced tailed winged coated trimmed framed plated printed "
    "powered lit style styled inspired made painted bound tipped striped dotted studded kissed "
    "drawn driven infested ridden dappled clad capped baked wrapped decorated roofed walled built "
    "carved knit knitted sleeved looking toned tiled paved soaked rimmed encrusted laden strewn "
    "drenched splattered fired grown fed branded collared necked breasted bellied crested"
)
"""Participles between two nouns of one phrase ("a snow covered mountain")."""
_SHELVES = word_set("shelf drawer floor bunk deck rack step stair story layer tier rung button row")
"""What has a top or a left one of itself: no place in the picture."""
_FRAME_ADJECTIVES = {k: v for k, v in FRAME_WORDS.items() if v not in ("foreground",)}
_MAYBE_THINGS = word_set(
    "shape form line circle light shadow thing shadow pattern design reflection layer row sign "
    "shine display element figure stage race voice lens camera stop touch edge touch story series "
    "match game trail track spring ring training feature cause show case hint trace test pose "
    "symbol part quarter blend backdrop background corner sunset sunrise lights "
    "wave move sail turn water bite symbol swirl rainbow stripe splash title"
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

    @property
    def plural(self) -> bool:
        return self.spec.count != 1


def is_modifier(word: str) -> bool:
    """Whether a word may stand before a noun and say how it looks."""
    return bool(classes(word) & (ADJECTIVE | VERB_ED | POSSESSOR)) and word not in POSTURES


def read_noun_phrase(words: tuple[str, ...], at: int) -> tuple[NounPhrase | None, int]:
    """The noun phrase that begins at `at`, and the index behind it.

    >>> phrase, end = read_noun_phrase(tuple("three small wine glasses stand".split()), 0)
    >>> phrase.spec.name, phrase.spec.count, phrase.spec.attributes, end
    ('wine glass', 3, ('small',), 4)
    """
    start, quantity = _quantity(words, at)
    if start == len(words):
        return _pronominal(words, at, start, quantity)
    if words[start] == "of":
        start += 1
        if start < len(words) and words[start] in DETERMINERS:
            start += 1
        if start == len(words):
            return None, start
    end = _noun_end(words, start, quantity)
    if end == start:
        return None, max(start, at + 1)
    phrase = _describe(words[start:end], quantity)
    if end < len(words) and words[end] == "of":
        return _with_of(phrase, words, start, end, quantity)
    return phrase, end


class _Quantity(NamedTuple):
    count: int | None = 1
    rule: str = "exactly"
    article: str = ""
    possessive: str = ""
    new: bool = False


def _pronominal(
    words: tuple[str, ...], at: int, end: int, quantity: _Quantity
) -> tuple[NounPhrase | None, int]:
    """ "The other", "two": nothing is named."""
    if words[end - 1] in ("other", "others", "one", "another"):
        return None, end
    return None, end


_ANOTHER = word_set("another second third fourth other")


def _quantity(words: tuple[str, ...], at: int) -> tuple[int, _Quantity]:
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
                new = new or word == "another"
        elif word in ("at-least", "more-than", "or-more"):
            rule = "at least" if word != "more-than" else "more"
        elif word in ("at-most", "fewer-than"):
            rule = "at most" if word != "fewer-than" else "fewer"
        elif word in ("exactly", "only", "just", "all", "both", "such", "approximately", "about") and (
            at == begin or word == "only"
        ):
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
        elif word == "couple" and article and at + 1 < total and words[at + 1] != "of":
            count, article = 2, "number"
        else:
            break
        at += 1
    if rule == "more":
        count, rule = (count or 1) + 1, "at least"
    elif rule == "fewer":
        count, rule = max((count or 1) - 1, 0), "at most"
    return at, _Quantity(count, rule, article, possessive, new)


def _noun_end(words: tuple[str, ...], start: int, quantity: _Quantity) -> int:
    """Index behind the head noun: before a verb, an adverb or a trailing adjective."""
    total = len(words)
    article = quantity.article
    one = article == "a" or (article == "number" and quantity.count == 1)
    many = article == "number" and quantity.count != 1
    head = -1  # index of the last word that can be the head
    at = start
    while at < total:
        word = words[at]
        kinds = classes(word)
        following = classes(words[at + 1]) if at + 1 < total and words[at + 1] != "of" else 0
        if word == "of":
            break
        if head >= 0 and at - head == 1:
            pair = f"{words[head]} {word}"
            if pair in COMPOUNDS or singular(pair) in COMPOUNDS:
                head = at
                at += 1
                continue
        if at + 1 < total:
            pair = f"{word} {words[at + 1]}"
            if pair in COMPOUNDS or singular(pair) in COMPOUNDS:
                if head < 0 or not kinds & VERB_ING or not _ends_before(words, at, head, one, many):
                    head = at + 1
                    at += 2
                    continue
        if kinds & POSSESSOR:
            if head >= 0:
                head = -1
            at += 1
            continue
        if head < 0:
            if kinds & NOUN and not (kinds & ADJECTIVE and following & NOUN):
                head = at
            elif kinds & (VERB_BASE | VERB_S) and not kinds & (ADJECTIVE | VERB_ED):
                head = at
            elif kinds & (ADJECTIVE | VERB_ED | VERB_ING | ADVERB) and not (
                at + 1 < total and words[at + 1] != "of"
            ):
                if kinds & (NOUN | COLOR) or (article and not kinds & ADVERB):
                    head = at
                break
            at += 1
            continue
        if word in _INNER_PARTICIPLES and following & (NOUN | ADJECTIVE) and at + 1 < total:
            head = -1
            at += 1
            continue
        if _ends_before(words, at, head, one, many):
            break
        if kinds & (ADJECTIVE | VERB_ED) and not kinds & NOUN:
            # "a stone gray wall": an adjective inside, if a noun follows
            if following & NOUN and at + 1 < total and not many_plural(words[head], many):
                head = -1
                at += 1
                continue
            break
        head = at
        at += 1
    return head + 1 if head >= 0 else start


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
    if kinds & VERB_ING:
        return not kinds & NOUN
    plural_before = bool(earlier & PLURAL) and before not in ("glass",)
    if kinds & VERB_ED and not kinds & (NOUN | ADJECTIVE):
        return True
    if kinds & VERB_ED and word not in ("cut", "set", "left", "bat", "fit", "lay", "rose", "lit"):
        return not (following & NOUN and not kinds & VERB_BASE)
    if word in ("lay", "lit", "left", "fell", "sat") and (last or not following & NOUN):
        return True
    if kinds & VERB_S and word in THIRD:
        if one and not plural_before:
            return True
        if not kinds & NOUN or word in VERBISH_S:
            return not plural_before
    if kinds & VERB_BASE:
        if not kinds & (NOUN | ADJECTIVE):
            return True
        if plural_before and not one and before not in ("sports", "glasses"):
            return not (kinds & ADJECTIVE and following & NOUN)
    if many and plural_before and not kinds & PLURAL:
        return bool(kinds & ANY_VERB)
    return False


def _describe(words: tuple[str, ...], quantity: _Quantity) -> NounPhrase:
    """The object that these words (without determiner) name; the last one is the head."""
    total = len(words)
    color: str | None = None
    attributes: list[str] = []
    frame: list[str] = []
    skip = 0
    adverb = ""
    count, article = quantity.count, quantity.article
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
        elif kinds & (ADJECTIVE | VERB_ED | VERB_ING) and not (
            kinds & NOUN and word not in MATERIAL_NOUNS and word not in SHADES
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
    noun[-1] = _one(last, count, article)
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
        if kinds & ADJECTIVE and not kinds & NOUN and word not in _INNER_PARTICIPLES:
            return True
        if word in _INNER_PARTICIPLES:
            return True
    return False


def _compound(words: tuple[str, ...]) -> bool:
    return len(words) > 1 and (singular(" ".join(words)) in COMPOUNDS or " ".join(words) in COMPOUNDS)


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


def _is_thing(
    name: str, head: str, article: str, color: str | None, quantity: _Quantity
) -> bool:
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
        return article == "number" and quantity.count != 1
    return True


def _with_of(
    phrase: NounPhrase, words: tuple[str, ...], start: int, end: int, quantity: _Quantity
) -> tuple[NounPhrase | None, int]:
    """The phrase together with what stands behind "of"."""
    inner, behind = read_noun_phrase(words, end + 1)
    if inner is None:
        return phrase, max(behind, end + 1)
    head = words[end - 1]
    name = phrase.spec.name.split()[-1]
    if head in SCENE_NOUNS and phrase.article != "number":
        # "a photo of a cat"; a painting that hangs somewhere is told apart by the chunker
        return inner._replace(scene=False, part_of=phrase._replace(scene=True)), behind
    if (name in GROUPS or head in GROUPS) and (phrase.article or head in GROUPS):
        return _grouped(phrase, inner, name, quantity), behind
    if name in MEASURES and not inner.article:
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


def _grouped(
    phrase: NounPhrase, inner: NounPhrase, group: str, quantity: _Quantity
) -> NounPhrase:
    count = inner.spec.count if inner.article == "number" or inner.article == "the" else None
    if group in ("pair", "couple", "duo") and inner.article != "number":
        pieces = 1 if inner.spec.name in PLURALIA else 2
        count = None if quantity.count is None else quantity.count * pieces
    elif group == "trio" and inner.article != "number":
        count = 3
    elif group == "dozen":
        count = 12
    elif inner.article == "the" and inner.spec.count == 1:
        count = None
    spec = replace(
        inner.spec,
        count=count,
        frame_position=inner.spec.frame_position or phrase.spec.frame_position,
        color=inner.spec.color or phrase.spec.color,
    )
    return inner._replace(spec=spec, article=phrase.article or "number", new=phrase.new)
