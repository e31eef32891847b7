"""What a word can be, by the lists and by its ending; a word that is nothing else is a noun."""

from __future__ import annotations

from functools import lru_cache

from t2i_spatial.prompts.inflection import is_plural
from t2i_spatial.prompts.parser.adjectives import (
    ADJECTIVES,
    COLOR_NOUNS,
    COLORS,
    FRAME_WORDS,
    MATERIAL_NOUNS,
)
from t2i_spatial.prompts.parser.nouns import ED_NOUNS, ING_NOUNS, LY_NOUNS
from t2i_spatial.prompts.parser.verbs import ALSO_NOUNS, BASE, GERUND, PAST, THIRD
from t2i_spatial.prompts.words import word_set

(ADJECTIVE, NOUN, PLURAL, VERB_BASE, VERB_S, VERB_ED, VERB_ING, ADVERB, POSSESSOR, COLOR) = (
    1 << bit for bit in range(10)
)
FINITE = VERB_BASE | VERB_S | VERB_ED
ANY_VERB = FINITE | VERB_ING

ADJECTIVE_NOUNS = word_set(
    "square oval spiral crescent miniature antique adult plain round standard light cold classic "
    "electric real digital flat short long minimalist elderly floral plaid diamond pyramidal "
    "teardrop rectangular chocolate african american patient cylindrical compact native stray open "
    "calm warm"
)
_SHAPE_NOUNS = word_set(
    "square oval spiral crescent miniature antique adult light plaid diamond chocolate"
)
_ADJECTIVE_SUFFIXES = (
    "ous", "ful", "less", "ish", "ive", "able", "ible", "-shaped", "-sized", "-looking", "-like",
    "-themed", "-style", "-inspired", "-old", "esque", "-free", "-high", "-tall", "-long", "-wide",
    "-colored", "-coloured", "-toned", "-tier", "-quality", "-length", "-legged", "ian", "ese",
    "-facing", "-hued", "-lit", "-made", "-height", "ical", "ular", "istic", "ential", "-story",
    "-storey", "-shaven", "-bodied", "shaped", "-eye",
)  # fmt: skip
_NOT_ADJECTIVES = word_set(
    "dish fish octopus walrus hippopotamus radish table vegetable cable olive hive archive "
    "detective native-hive locomotive turntable platypus cactus bus circus lotus crocus hibiscus "
    "papyrus citrus syllabus cheese chinese-cheese geese starfish goldfish jellyfish musician "
    "guardian pedestrian guitarist librarian magician technician politician electrician physician "
    "comedian equestrian italian-cafe gargoyle bible crucible dirigible spatula handful mouthful "
    "spoonful armful collective alien australian-cattle constable stable timetable roundtable "
    "tablecloth british parish relish rubbish varnish polish captive executive relative adjective "
    "initiative perspective incentive peninsula formula barbarian rectangular-box amphibian "
    "reptilian-beast vertical-bar historian custodian meridian civilian historical-site squish "
    "swordfish catfish crayfish dragonfish lionfish blowfish pufferfish angelfish shellfish "
    "obelisk medical-kit musical jive dive five chive veterinarian dalmatian martian"
)


@lru_cache(maxsize=65536)
def classes(word: str) -> int:
    """The classes a word may belong to, as bits.

    >>> classes("sitting") & VERB_ING > 0, classes("red") & COLOR > 0, classes("zorblat") == NOUN
    (True, True, True)
    """
    found = _listed(word) or _by_ending(word) or NOUN
    if found & (NOUN | VERB_S) and is_plural(word):
        found |= PLURAL
    return found


def _listed(word: str) -> int:
    found = 0
    if word in COLORS:
        found |= COLOR | ADJECTIVE | (NOUN if word in COLOR_NOUNS else 0)
    if word in ADJECTIVES:
        noun = word in MATERIAL_NOUNS or word in _SHAPE_NOUNS
        found |= ADJECTIVE | (NOUN if noun else 0)
    if word in ING_NOUNS:
        found |= NOUN
    if word in GERUND:
        found |= VERB_ING
    if word in PAST:
        found |= VERB_ED
    if word in BASE:
        found |= VERB_BASE | (NOUN if word in ALSO_NOUNS else 0)
    if word in THIRD:
        stem = THIRD[word]
        found |= VERB_S | (NOUN if stem in ALSO_NOUNS else 0)
    if word in ("left", "rose", "felt", "saw", "ground", "wound", "fell", "bit", "bat", "lay"):
        found |= NOUN
    return found


def _graded(word: str) -> bool:
    """ "Smaller", "biggest": of a known adjective."""
    stem = word[:-3] if word.endswith("est") else word[:-2]
    stems = {stem, stem + "e", stem[:-1] + "y" if stem.endswith("i") else stem}
    if len(stem) > 2 and stem[-1] == stem[-2]:
        stems.add(stem[:-1])
    return word not in ("cooler", "dryer", "slicer", "forest", "flower", "corner", "lighter") and (
        not stems.isdisjoint(ADJECTIVES)
    )


def _by_ending(word: str) -> int:
    if word.endswith(("'s", "’s", "s'", "s’")):
        return POSSESSOR
    if word in FRAME_WORDS and word not in ("center", "centre", "middle", "background"):
        return ADJECTIVE
    if word.endswith(_ADJECTIVE_SUFFIXES) and word not in _NOT_ADJECTIVES:
        return ADJECTIVE
    if word.endswith(("er", "est")) and _graded(word):
        return ADJECTIVE
    if len(word) > 4:
        if word.endswith("ing") and word not in ING_NOUNS:
            return VERB_ING if "-" not in word else ADJECTIVE
        if word.endswith("ed") and word not in ED_NOUNS:
            return VERB_ED if "-" not in word else ADJECTIVE
    if len(word) > 3 and word.endswith("ly") and word not in LY_NOUNS:
        return ADVERB
    return 0
