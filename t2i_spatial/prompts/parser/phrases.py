"""Relation phrases and places in the picture, matched on tokens, longest first."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from t2i_spatial.prompts.parser.lexicon import FRAME_PARTS, FRAME_WORDS, THE_PICTURE
from t2i_spatial.prompts.words import word_set
from t2i_spatial.scene import RELATION_ALIASES, RELATIONS


class RelationPhrase(NamedTuple):
    """What a phrase means.

    Attributes:
        relations: canonical relations; several for "to the upper left of", none for a phrase that
            is understood but not in the vocabulary ("in the middle of").
        text: the words.
        pronoun: the phrase brings its object as a pronoun ("to its left").
    """

    relations: tuple[str, ...]
    text: str
    pronoun: bool = False


BETWEEN = "between"

_MORE: dict[str, str] = {
    "on top": "on",
    "upon": "on",
    "onto": "on",
    "on the surface of": "on",
    "into": "in",
    "in between": BETWEEN,
    "in the back of": "behind",
    "in back of": "behind",
    "at the back of": "behind",
    "in the front of": "in front of",
    "at the front of": "in front of",
    "close by": "near",
    "near to": "near",
    "in the vicinity of": "near",
    "alongside": "next to",
    "at the side of": "next to",
    "to the side of": "next to",
    "on one side of": "next to",
    "side by side with": "next to",
    "down below": "below",
    "at the top of": "above",
    "at the bottom of": "below",
    "in the bottom of": "below",
    "hidden behind": "behind",
    "obscured by": "behind",
    "occluded by": "behind",
    "blocked by": "behind",
    "concealed by": "behind",
}
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
    "in a row",
    "in a line",
    "in a circle",
    "by itself",
)


def _phrases() -> dict[str, RelationPhrase]:
    meanings: dict[str, tuple[str, ...]] = {relation: (relation,) for relation in RELATIONS}
    meanings |= {phrase: (relation,) for phrase, relation in RELATION_ALIASES.items()}
    meanings |= {phrase: (relation,) for phrase, relation in _MORE.items()}
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
    for side, pronoun, start in itertools.product(
        ("left", "right"), ("its", "their", "his", "her"), ("to", "on", "at")
    ):
        text = f"{start} {pronoun} {side}"
        phrases[text] = RelationPhrase((f"{side} of",), text, pronoun=True)
        phrases[f"{text} side"] = RelationPhrase((f"{side} of",), text, pronoun=True)
    return phrases


def _by_first_word() -> dict[str, list[tuple[tuple[str, ...], RelationPhrase]]]:
    table: dict[str, list[tuple[tuple[str, ...], RelationPhrase]]] = {}
    for phrase, meaning in _phrases().items():
        words = tuple(phrase.split())
        table.setdefault(words[0], []).append((words, meaning))
    for options in table.values():
        options.sort(key=lambda option: -len(option[0]))
    return table


STARTERS = _by_first_word()
"""First word -> the phrases that begin with it, longest first."""

_SINGLE_WORD = {
    word: next((meaning for words, meaning in options if len(words) == 1), None)
    for word, options in STARTERS.items()
}
_SECOND_WORDS = {
    word: frozenset(words[1] for words, _ in options if len(words) > 1)
    for word, options in STARTERS.items()
}


def match_relation(tokens: Sequence[str], start: int) -> tuple[RelationPhrase, int] | None:
    """The longest relation phrase at `start`, and the index behind it; `None` when there is none.

    >>> match_relation("on top of the mat".split(), 0)
    (RelationPhrase(relations=('on',), text='on top of', pronoun=False), 3)
    """
    first = tokens[start]
    options = STARTERS.get(first)
    if options is None:
        return None
    if start + 1 < len(tokens) and tokens[start + 1] in _SECOND_WORDS[first]:
        for words, meaning in options:
            end = start + len(words)
            if tuple(tokens[start:end]) == words:
                return meaning, end
    single = _SINGLE_WORD[first]
    return None if single is None else (single, start + 1)


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
    if not words:
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
