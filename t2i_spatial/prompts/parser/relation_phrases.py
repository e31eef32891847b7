"""Relation phrases and places in the picture, matched on tokens, longest first."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from t2i_spatial.prompts.parser.adjectives import FRAME_PARTS, FRAME_WORDS
from t2i_spatial.prompts.parser.nouns import THE_PICTURE
from t2i_spatial.prompts.parser.verbs import BASE, GERUND, PAST, THIRD
from t2i_spatial.prompts.words import word_set
from t2i_spatial.relations import RELATION_ALIASES, RELATION_TABLE, REVERSED_ALIASES


class RelationPhrase(NamedTuple):
    """What a phrase means.

    Attributes:
        relations: canonical relations; several for "to the upper left of", none for a phrase that
            is understood but not in the table of relations ("taller than").
        text: the words.
        reversed: the relation holds from the other end ("worn by").
        pronoun: the possessive that stands for the object ("to its left"), or "".
        takes_object: a noun phrase must follow; not so for "next to each other".
        trails: may stand without its object where that is plain ("with a cat on top").
    """

    relations: tuple[str, ...]
    text: str
    reversed: bool = False
    pronoun: str = ""
    takes_object: bool = True
    trails: bool = False


RECIPROCAL = frozenset(
    ("next to", "near", "touching", "across from", "facing", "looking at", "far from", "holding",
     "in front of", "behind", "above", "leaning against", "surrounding", "on")
)  # fmt: skip
"""Relations that are said of several things and "each other"."""
_ALONE = ("in a row", "in a line", "in a circle", "in rows", "in line", "in lines", "in pairs",
          "in a pile", "in a group", "in groups", "in a cluster")  # fmt: skip
"""Phrases that take no object."""
_SYNONYMS = {
    "next to": (
        "on either side of|on both sides of|on each side of|at either side of|to either side of|"
        "along the side of|off to the side of|besides|neighboring|bordering|directly beside|"
        "next-to|right by|to one side of|at the foot of|at the base of"
    ),
    "on": (
        "on the back of|on top off|on-top of|ontop of|on the roof of|along the top of|"
        "on the top half of|on the front of|on the face of|up on|down on|back on|out on|"
        "on the middle of|on the center of|on the tip of|on the end of|over top of"
    ),
    "in": (
        "in the middle of|in the center of|in the centre of|at the center of|at the centre of|"
        "in the midst of|in the interior of|on the inside of|out in|down in|up in|back in|"
        "at the heart of|in the heart of|at the middle of|in between the pages of|in the bed of"
    ),
    "under": "right underneath|directly underneath|on the underside of|from under|from underneath|"
             "from beneath|under the shade of|in the shade of",
    "below": "lower than|down from|underneath-of|off below",
    "above": "up above|high above|higher than|over the top of|high over|up over|overtop",
    "behind": "in the rear of|at the rear of|to the rear of|just behind|from behind|out behind|"
              "to the back of",
    "in front of": "in-front of|infront of|before the front of|out in front of|"
                   "to the front of|ahead of|at the forefront of|up in front of",
    "near": "not far from|in close proximity to|in proximity to|in the neighborhood of|"
            "a short distance from|close up to|within reach of|around the corner from",
    "far from": "away from|far off from|at a distance from",
    "between": "in-between|sandwiched between|caught between|midway between|halfway between|"
               "right between|somewhere between|nestled between|squeezed between|wedged between",
    "touching": "up against|pressed against",
    "larger than": "twice as big as|twice as large as|twice the size of|double the size of|"
                   "much larger than|much bigger than|more massive than",
    "smaller than": "half the size of|half as big as|half as large as|much smaller than",
    "same size as": "about the same size as|similar in size to|of equal size to|"
                    "the same size of|identical in size to|the size of|as tall and wide as",
}  # fmt: skip
_UNDERSTOOD = (
    "taller than", "shorter than", "longer than", "wider than", "narrower than", "thinner than",
    "thicker than", "heavier than", "lighter than", "older than", "younger than", "brighter than",
    "darker than", "faster than", "slower than", "as tall as", "as long as", "as high as",
    "as wide as", "more expensive than", "closer to", "closer than", "nearer to", "deeper than",
    "twice as tall as", "twice the height of", "half as tall as", "half the height of",
)  # fmt: skip
"""Understood, but nothing in the table says it."""
_TRAILING = {
    "on top": "on", "inside": "in", "underneath": "under", "beneath": "under", "below": "below",
    "above": "above", "behind": "behind", "in front": "in front of", "under": "under",
    "in the front": "in front of", "on the inside": "in", "on the side": "next to",
    "on both sides": "next to", "on either side": "next to", "nearby": "near", "close by": "near",
    "beside": "next to", "on each side": "next to", "alongside": "next to", "in it": "in",
    "in between": "between", "within": "in", "atop": "on", "overhead": "above",
    "to the left": "left of", "to the right": "right of", "to one side": "next to",
    "to the side": "next to", "around": "surrounding", "up top": "on", "next door": "next to",
    "at the side": "next to",
}  # fmt: skip
_PRONOUNS = ("its", "their", "his", "her")


def _meanings() -> dict[str, RelationPhrase]:
    relations: dict[str, tuple[str, ...]] = {name: (name,) for name in RELATION_TABLE}
    relations |= {phrase: (name,) for phrase, name in RELATION_ALIASES.items()}
    for name, phrases in _SYNONYMS.items():
        for phrase in phrases.split("|"):
            relations.setdefault(phrase, (name,))
    relations |= dict.fromkeys(_UNDERSTOOD, ())
    for phrase in ("next to", "beside", "above", "below", "under", "behind", "near", "in front of"):
        relations[f"right {phrase}"] = relations[phrase]
    for side, relation in (("left", "left of"), ("right", "right of")):
        for start, far, kind, end in itertools.product(
            ("", "to the ", "on the ", "at the ", "in the ", "to ", "on ", "at "),
            ("", "immediate ", "far ", "direct ", "very "),
            ("", " side", " hand side", "-hand side", " hand"),
            (" of", " from"),
        ):
            if end == " of" or kind == "":
                relations.setdefault(f"{start}{far}{side}{kind}{end}", (relation,))
        for height, vertical in (("upper", 0), ("top", 0), ("lower", 1), ("bottom", 1)):
            pair = (("above", "below")[vertical], relation)
            for gap in (" ", "-"):
                relations[f"to the {height}{gap}{side} of"] = pair
    spoken = {phrase: RelationPhrase(found, phrase) for phrase, found in relations.items()}
    for phrase, name in REVERSED_ALIASES.items():
        spoken[phrase] = RelationPhrase((name,), phrase, reversed=True)
    for phrase, name in _TRAILING.items():
        spoken[phrase] = RelationPhrase((name,), phrase, trails=True)
    spoken |= {phrase: RelationPhrase((), phrase, takes_object=False) for phrase in _ALONE}
    for phrase, found in relations.items():
        if found and found[0] in RECIPROCAL:
            text = f"{phrase} each-other"
            spoken[text] = RelationPhrase(found, text, takes_object=False)
    text = "side by side"
    spoken[text] = RelationPhrase(("next to",), text, takes_object=False)
    for side, pronoun, start in itertools.product(("left", "right"), _PRONOUNS, ("to", "on", "at")):
        text = f"{start} {pronoun} {side}"
        spoken[text] = RelationPhrase((f"{side} of",), text, pronoun=pronoun)
        spoken[f"{text} side"] = RelationPhrase((f"{side} of",), text, pronoun=pronoun)
    for pronoun in _PRONOUNS:
        for place, name in (("front", "in front of"), ("rear", "behind")):
            text = f"in {pronoun} {place}"
            spoken[text] = RelationPhrase((name,), text, pronoun=pronoun)
    return spoken


class _Table(NamedTuple):
    meanings: dict[tuple[str, ...], RelationPhrase]
    lengths: dict[str, tuple[int, ...]]
    longer: dict[tuple[str, ...], tuple[int, ...]]
    starters: frozenset[str]


@lru_cache(maxsize=1)
def _table(spellings: int) -> _Table:
    """The phrases by their words; made anew when the table of relations has grown."""
    del spellings
    meanings = {tuple(phrase.split()): meaning for phrase, meaning in _meanings().items()}
    lengths: dict[str, set[int]] = {}
    longer: dict[tuple[str, ...], set[int]] = {}
    for words in meanings:
        lengths.setdefault(words[0], set()).add(len(words))
        if len(words) > 1:
            longer.setdefault(words[:2], set()).add(len(words))
    ordered = {word: _longest_first(found) for word, found in lengths.items()}
    by_two = {words: _longest_first(found) for words, found in longer.items()}
    starters = frozenset(
        word for word in ordered if (word not in GERUND and word not in PAST) or word in _NO_VERBS
    )
    return _Table(meanings, ordered, by_two, starters)


def _longest_first(lengths: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(lengths, reverse=True))


_NO_VERBS = word_set("left right close opposite near neighboring bordering")


def table() -> _Table:
    """The phrases that are known now."""
    return _table(len(RELATION_TABLE.spellings))


def match_relation(tokens: Sequence[str], start: int) -> tuple[RelationPhrase, int] | None:
    """The longest relation phrase at `start`, and the index behind it; `None` when there is none.

    >>> found, end = match_relation("on top of the mat".split(), 0)
    >>> found.relations, found.text, end
    (('on',), 'on top of', 3)
    """
    known = table()
    first = tokens[start]
    # most words that begin a phrase are followed by none of its second words
    if start + 1 < len(tokens):
        for length in known.longer.get((first, tokens[start + 1]), ()):
            meaning = known.meanings.get(tuple(tokens[start : start + length]))
            if meaning is not None:
                return meaning, start + length
    meaning = known.meanings.get((first,))
    return None if meaning is None else (meaning, start + 1)


_GERUNDS = {stem: gerund for gerund, stem in GERUND.items()}


def match_verb(word: str, tokens: Sequence[str], behind: int) -> tuple[RelationPhrase, int] | None:
    """A relation that a verb and what follows it say ("holds", "looks at", "covered by").

    >>> match_verb("leans", "leans against a wall".split(), 1)[0].relations
    ('leaning against',)
    """
    known = table()
    stem = THIRD.get(word) or GERUND.get(word) or (word if word in BASE else PAST.get(word, ""))
    for form in dict.fromkeys((word, _GERUNDS.get(stem, word))):
        participle = form != word and word in PAST and word not in _SAME_PAST
        if participle and behind < len(tokens) and tokens[behind] in ("by", "with", "in"):
            continue  # "held by" is no "holding by": a participle speaks from the other end
        for length in known.lengths.get(form, ()):
            key = (form, *tokens[behind : behind + length - 1])
            meaning = known.meanings.get(key)
            if meaning is not None and len(key) == length:
                return meaning, behind + length - 1
    return None


_SAME_PAST = word_set("wore rode")
_FRAME_STARTS = frozenset(
    ["in", "on", "at", "near", "to", "towards", "toward", "along", "from", "off", "across"]
)
_ORDER = {"background": 0, "foreground": 0, "top": 1, "bottom": 1, "center": 2}
_PICTURE_FRONT = {"front": "foreground", "back": "background"}


def match_frame(tokens: Sequence[str], start: int) -> tuple[str, int] | None:
    """A place in the picture at `start`, and the index behind it; `None` when there is none.

    "On the left of the dog" is a relation, and "on the left of the image" a place.

    >>> match_frame("in the upper left corner of the image".split(), 0)
    ('top left', 8)
    >>> match_frame("on the left of the dog".split(), 0) is None
    True
    """
    if tokens[start] not in _FRAME_STARTS:
        return None
    end = start + 1
    count = len(tokens)
    if end < count and tokens[end] in ("the", "far", "very"):
        end += 1
    while end < count and tokens[end] in (
        "far",
        "very",
        "extreme",
        "immediate",
        "distant",
        "blurred",
    ):
        end += 1
    words: list[str] = []
    front = ""
    while end < count:
        token = tokens[end]
        if token in FRAME_WORDS:
            words.extend(FRAME_WORDS[token].split())
        elif token in _PICTURE_FRONT and not words and not front:
            front = _PICTURE_FRONT[token]
        elif token not in FRAME_PARTS or not (words or front):
            break
        end += 1
    if not (words or front) or (words == ["top"] and end == start + 2):
        return None
    in_picture = False
    if end < count and tokens[end] in ("of", "in", "on", "from"):
        behind = end + 1
        if behind < count and tokens[behind] in ("the", "this", "an", "a"):
            behind += 1
        if behind < count and tokens[behind] in THE_PICTURE:
            in_picture, end = True, behind + 1
        elif tokens[end] in ("of", "from"):
            return None
    if front and not in_picture:
        return None
    if front:
        words.append(front)
    if not in_picture and tokens[start] not in ("in", "on", "at"):
        return None
    adjective = not in_picture and end < count and end - start < 4
    if adjective and tokens[end] not in _AFTER_FRAME:
        # "on the left chair": an adjective
        said = frozenset(tokens[start:end])
        if said.isdisjoint(("side", "corner", "background", "foreground")):
            return None
    return " ".join(sorted(dict.fromkeys(words), key=lambda word: _ORDER.get(word, 3))), end


_AFTER_FRAME = word_set(
    ", . ; : ! ? ( ) \n and & a an the is are there there's was were stands sits with while of one "
    "two three several some in on next behind under above below near beside that which who has "
    "facing looking holding wearing four five six but has we i you"
) | {"\n"}
