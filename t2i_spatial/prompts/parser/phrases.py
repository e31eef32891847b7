"""Relation phrases and places in the picture, matched on tokens, longest first."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from t2i_spatial.prompts.parser.lexicon import FRAME_PARTS, FRAME_WORDS, THE_PICTURE
from t2i_spatial.prompts.words import word_set
from t2i_spatial.relations import RELATION_ALIASES, RELATION_TABLE, RELATIONS


class RelationPhrase(NamedTuple):
    """What a phrase means.

    Attributes:
        relations: canonical relations; several for "to the upper left of", none for a phrase that
            is understood but not in the vocabulary ("in the middle of").
        text: the words.
        pronoun: the phrase brings its object as a pronoun ("to its left").
        takes_object: a noun phrase must follow; not so for "next to each other".
    """

    relations: tuple[str, ...]
    text: str
    pronoun: bool = False
    takes_object: bool = True


_ALONE = ("in a row", "in a line", "in a circle", "by itself")
"""Phrases that take no object."""
_NOT_IN_VOCABULARY = (
    "in the middle of",
    "in the center of",
    "in the centre of",
    "at the center of",
    "at the centre of",
    "at the edge of",
    "on the edge of",
    "in the corner of",
    "at the corner of",
    "on the back of",
    "on the front of",
    "far from",
    "far away from",
    "away from",
    "across from",
    *_ALONE,
)

_NOT_YET_READ = frozenset(
    (
        "between",
        "larger than",
        "smaller than",
        "same size as",
        "far from",
        "touching",
        "surrounding",
        "wearing",
        *(name for name in RELATIONS if RELATION_TABLE[name].witness == "answers"),
    )
)
"""Relations of the table that this grammar does not read."""


def _phrases() -> dict[str, RelationPhrase]:
    # the table has the words, plugins' too; `REVERSED_ALIASES` has those with the ends exchanged
    meanings: dict[str, tuple[str, ...]] = {
        relation: (relation,) for relation in RELATIONS if relation not in _NOT_YET_READ
    }
    meanings |= {
        phrase: (relation,)
        for phrase, relation in RELATION_ALIASES.items()
        if relation not in _NOT_YET_READ
    }
    meanings["on top"] = ("on",)
    meanings |= dict.fromkeys(_NOT_IN_VOCABULARY, ())
    for phrase in ("next to", "beside", "above", "below", "under", "behind", "near", "in front of"):
        meanings[f"right {phrase}"] = meanings[phrase]
    # a thing between two others is beside both; the phrase keeps what the vocabulary cannot say
    meanings["between"] = meanings["in between"] = ("next to",)
    for side, relation in (("left", "left of"), ("right", "right of")):
        for start, far, kind, end in itertools.product(
            ("", "to the ", "on the ", "at the ", "in the ", "to "),
            ("", "immediate ", "far ", "direct "),
            ("", " side", " hand side", "-hand side", " hand"),
            (" of", " from"),
        ):
            if end == " of" or kind == "":
                meanings.setdefault(f"{start}{far}{side}{kind}{end}", (relation,))
        for height, vertical in (("upper", 0), ("top", 0), ("lower", 1), ("bottom", 1)):
            pair = (("above", "below")[vertical], relation)
            for gap in (" ", "-"):
                meanings[f"to the {height}{gap}{side} of"] = pair
    phrases = {phrase: RelationPhrase(found, phrase) for phrase, found in meanings.items()}
    phrases |= {phrase: RelationPhrase((), phrase, takes_object=False) for phrase in _ALONE}
    for relation in ("next to", "near", "beside", "close to", "on top of", "in front of"):
        for reciprocal in ("each other", "one another"):
            text = f"{relation} {reciprocal}"
            phrases[text] = RelationPhrase(meanings[relation], text, takes_object=False)
    phrases["side by side"] = RelationPhrase(("next to",), "side by side", takes_object=False)
    for side, pronoun, start in itertools.product(
        ("left", "right"), ("its", "their", "his", "her"), ("to", "on", "at")
    ):
        text = f"{start} {pronoun} {side}"
        phrases[text] = RelationPhrase((f"{side} of",), text, pronoun=True)
        phrases[f"{text} side"] = RelationPhrase((f"{side} of",), text, pronoun=True)
    return phrases


_MEANINGS = {tuple(phrase.split()): meaning for phrase, meaning in _phrases().items()}
_LENGTHS: dict[str, tuple[int, ...]] = {
    first: tuple(sorted({len(words) for words in _MEANINGS if words[0] == first}, reverse=True))
    for first in {words[0] for words in _MEANINGS}
}
STARTERS = frozenset(_LENGTHS)
"""Words that a relation phrase may begin with."""


def match_relation(tokens: Sequence[str], start: int) -> tuple[RelationPhrase, int] | None:
    """The longest relation phrase at `start`, and the index behind it; `None` when there is none.

    >>> match_relation("on top of the mat".split(), 0)
    (RelationPhrase(relations=('on',), text='on top of', pronoun=False, takes_object=True), 3)
    """
    for length in _LENGTHS.get(tokens[start], ()):
        meaning = _MEANINGS.get(tuple(tokens[start : start + length]))
        if meaning is not None:
            return meaning, start + length
    return None


_FRAME_STARTS = frozenset(["in", "on", "at", "near", "to", "towards", "toward", "along"])
_ORDER = {"background": 0, "foreground": 0, "top": 1, "bottom": 1, "center": 2}


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
    if end < count and tokens[end] in ("far", "very", "extreme"):
        end += 1
    words: list[str] = []
    while end < count:
        token = tokens[end]
        if token in FRAME_WORDS:
            words.extend(FRAME_WORDS[token].split())
        elif token not in FRAME_PARTS or not words:
            break
        end += 1
    if not words or (words == ["top"] and end == start + 2):
        return None
    in_picture = False
    if end < count and tokens[end] in ("of", "in"):
        behind = end + 1
        if behind < count and tokens[behind] in ("the", "this"):
            behind += 1
        if behind < count and tokens[behind] in THE_PICTURE:
            in_picture, end = True, behind + 1
        elif tokens[end] == "of":
            return None
    if not in_picture and tokens[start] not in ("in", "on", "at"):
        return None
    if not in_picture and end < count and end - start < 3 and tokens[end] not in _AFTER_FRAME:
        return None
    return " ".join(sorted(dict.fromkeys(words), key=lambda word: _ORDER.get(word, 3))), end


_AFTER_FRAME = word_set(
    ", . ; : ! ? ( ) and & a an the is are there stands sits with while of one two three"
)
