"""English number: singular and plural of nouns, and the indefinite article.

Own tables and rules: an inflection library would take longer to import than a thousand prompts take
to read.
"""

from __future__ import annotations

from functools import lru_cache

from t2i_spatial.prompts.words import word_set

_PLURAL_OF: dict[str, str] = {
    "person": "people",
    "man": "men",
    "woman": "women",
    "child": "children",
    "mouse": "mice",
    "louse": "lice",
    "goose": "geese",
    "foot": "feet",
    "tooth": "teeth",
    "ox": "oxen",
    "die": "dice",
    "knife": "knives",
    "wife": "wives",
    "leaf": "leaves",
    "loaf": "loaves",
    "half": "halves",
    "shelf": "shelves",
    "bookshelf": "bookshelves",
    "wolf": "wolves",
    "thief": "thieves",
    "calf": "calves",
    "scarf": "scarves",
    "hoof": "hooves",
    "elf": "elves",
    "dwarf": "dwarves",
    "cactus": "cacti",
    "fungus": "fungi",
}
_RARE_PLURALS = (
    "alumni alumnus,octopi octopus,hippopotami hippopotamus,platypi platypus,radii radius,"
    "nuclei nucleus,syllabi syllabus,stimuli stimulus,foci focus,loci locus,bacilli bacillus,"
    "larvae larva,algae alga,antennae antenna,vertebrae vertebra,formulae formula,nebulae nebula,"
    "matrices matrix,vertices vertex,indices index,appendices appendix,crises crisis,oases oasis,"
    "theses thesis,ellipses ellipse,phenomena phenomenon,criteria criterion,automata automaton,"
    "bacteria bacterium,curricula curriculum,strata stratum,tableaux tableau,chateaux chateau,"
    "gateaux gateau,bureaux bureau,plateaux plateau,seraphim seraph,cherubim cherub,"
    "wharves wharf,kerchieves kerchief,beeves beef,brethren brother,kine cow,dwarfs dwarf,"
    "scarfs scarf,hoofs hoof,wolves wolf,selves self,sheaves sheaf,staves staff,"
    "paparazzi paparazzo,graffiti graffiti,spaghetti spaghetti,biscotti biscotto,zucchini zucchini,"
    "stadia stadium,aquaria aquarium,terraria terrarium,millennia millennium,fora forum,"
    "oxen ox,lice louse,dice die,passersby passerby,runners-up runner-up"
)
_SINGULAR_OF = {
    rare: singular for rare, _, singular in (p.partition(" ") for p in _RARE_PLURALS.split(","))
} | {plural: singular for singular, plural in _PLURAL_OF.items()}

INVARIANT = word_set(
    "sheep deer fish shrimp moose bison elk salmon trout squid swine cod tuna aircraft spacecraft "
    "hovercraft watercraft series species offspring broccoli bamboo scissors skis jeans pants "
    "trousers shorts leggings tights sunglasses eyeglasses goggles binoculars headphones earphones "
    "tongs pliers pajamas pyjamas clothes furniture luggage equipment cutlery silverware "
    "popcorn spaghetti graffiti confetti cattle poultry corn"
)
"""Nouns of one form; those that exist only in the plural keep it as their name."""

_SINGULAR_IN_S = word_set(
    "bus minibus trolleybus gas lens canvas atlas christmas tennis chess iris trellis oasis "
    "rhinoceros asparagus citrus compass news gymnastics mathematics chaos cosmos pancreas "
    "mattress dress glass grass kiss class boss moss cross brass hourglass molasses yes his this "
    "its was is has does as us always perhaps across series species plus minus physics texas "
    "paris swiss swiss-chess"
)
_IE = word_set(
    "cookies movies brownies zombies hoodies selfies smoothies genies pixies collies birdies "
    "rookies magpies cuties veggies bogies eyries neckties bowties doggies kiddies budgies "
    "walkie-talkies calories prairies lassies"
)
_CHE = word_set("aches headaches mustaches moustaches caches quiches niches avalanches")
_OE = word_set("shoes toes canoes horseshoes snowshoes hoes oboes foes tiptoes")
_XE = word_set("axes pickaxes")


def is_plural(word: str) -> bool:
    """Whether a noun has a plural form; nouns of one form count as plural.

    >>> [is_plural(word) for word in ("dogs", "people", "sheep", "bus", "glass")]
    [True, True, True, False, False]
    """
    if word in _SINGULAR_OF or word in INVARIANT:
        return True
    if word.endswith("s"):
        if word[:-1] in INVARIANT:
            return True
        return not (
            word.endswith(("ss", "us", "is")) or word in _SINGULAR_IN_S or len(word) < 3
        ) or word in ("skis", "menus", "emus", "gnus", "tutus", "bikinis", "taxis", "zucchinis")
    return word.endswith(("fish", "craft", "people")) or (
        word.endswith("men") and len(word) > 5 and word not in ("specimen", "abdomen", "regimen")
    )


@lru_cache(maxsize=65536)
def singular(word: str) -> str:
    """The singular of a noun (its last word); a singular stays as it is.

    >>> [singular(word) for word in ("mice", "buses", "knifes", "butterflies", "scissors")]
    ['mouse', 'bus', 'knife', 'butterfly', 'scissors']
    """
    head, space, last = word.rpartition(" ")
    return head + space + _singular(last)


def _singular(word: str) -> str:
    if word in _SINGULAR_OF:
        return _SINGULAR_OF[word]
    if not is_plural(word) or word in INVARIANT:
        return word
    if not word.endswith("s"):
        if word.endswith("men"):
            return word[:-3] + "man"
        return word[:-6] + "person" if word.endswith("people") else word
    if word[:-1] in INVARIANT or word[:-2] in INVARIANT:
        return word[:-1] if word[:-1] in INVARIANT else word[:-2]
    if word.endswith("ies"):
        return word[:-1] if len(word) <= 4 or word in _IE else word[:-3] + "y"
    if word.endswith("es"):
        stem = word[:-2]
        if word in _CHE or word in _OE or word in _XE:
            return word[:-1]
        if stem.endswith(("ch", "sh", "x", "o", "ss")):
            return stem
        if word.endswith("zzes"):
            return stem[:-1] if len(stem) <= 5 else stem
        if stem.endswith("s") and (not is_plural(stem) or stem in INVARIANT):
            return word[:-1] if word.endswith(("ouses", "ises")) else stem
    return word[:-1]


@lru_cache(maxsize=65536)
def plural(noun: str) -> str:
    """The plural of a noun (its last word).

    >>> [plural(noun) for noun in ("cup", "wine glass", "knife", "sheep", "butterfly", "potato")]
    ['cups', 'wine glasses', 'knives', 'sheep', 'butterflies', 'potatoes']
    """
    head, space, last = noun.rpartition(" ")
    if not head and " of " in noun:
        return noun
    return head + space + _plural(last)


def _plural(word: str) -> str:
    if word in _PLURAL_OF:
        return _PLURAL_OF[word]
    if word in INVARIANT or word.endswith(("fish", "craft")):
        return word
    if word.endswith("man") and len(word) > 4 and word not in ("human", "german", "talisman"):
        return word[:-3] + "men"
    if word.endswith(("s", "x", "ch", "sh", "z")):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    if word in ("tomato", "potato", "hero", "mango", "echo", "volcano"):
        return word + "es"
    return word + "s"


_VOWEL_SOUND = ("hour", "honest", "honor", "heir", "x-ray", "mri", "sos")
_CONSONANT_SOUND = (
    "uni", "use", "usu", "uk", "euro", "eu", "one", "once", "ufo", "ute", "ura", "ukulele"
)  # fmt: skip


def article(phrase: str) -> str:
    """ "a" or "an", by the sound the phrase starts with.

    >>> [article(phrase) for phrase in ("cat", "umbrella", "unicorn", "hourglass", "old cat")]
    ['a', 'an', 'a', 'an', 'an']
    """
    if phrase.startswith(_VOWEL_SOUND):
        return "an"
    if phrase.startswith(_CONSONANT_SOUND) and not phrase.startswith(("unin", "unim", "unid")):
        return "a"
    return "an" if phrase[:1] in tuple("aeiou") else "a"
