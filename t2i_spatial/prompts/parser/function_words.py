"""The closed classes of English: numbers, determiners, pronouns, conjunctions, adverbs."""

from __future__ import annotations

from t2i_spatial.prompts.words import word_set

_ONE_TO_TWENTY = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
)
_TENS_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS = {
    ten if one == 0 else f"{ten}-{unit}": tens * 10 + one
    for tens, ten in enumerate(_TENS_WORDS.split(), 2)
    for one, unit in enumerate(["", *_ONE_TO_TWENTY.split()[:9]])
}
NUMBERS: dict[str, int] = (
    {word: value for value, word in enumerate(_ONE_TO_TWENTY.split(), 1)}
    | _TENS
    | {
        "single": 1,
        "no": 0,
        "zero": 0,
        "dozen": 12,
        "both": 2,
        "lone": 1,
    }
)

OPEN_NUMBERS = word_set("several many multiple some numerous various few these those")
"""More than one, nobody says how many."""

SINGULAR_DETERMINERS = word_set("a an another each every")
POSSESSIVES = word_set("its his her their my your our")
DETERMINERS = SINGULAR_DETERMINERS | POSSESSIVES | word_set("the this that these those any")

COPULAS = word_set("is are was were be been am isn't aren't wasn't weren't isn’t aren’t wasn’t")
NEGATIONS = word_set(
    "not never neither isn't aren't wasn't weren't doesn't don't didn't hasn't haven't can't "
    "isn’t aren’t wasn’t doesn’t don’t can’t cannot"
)
CONJUNCTIONS = frozenset(["and", "&", "plus"])
RELATIVES = word_set("that which who whom")
SUBORDINATORS = word_set("while whereas where as when because since before after until then if")
SUBJECT_PRONOUNS = word_set("it they he she one")
OBJECT_PRONOUNS = word_set("it them him her itself himself herself themselves each-other")
SPEAKERS = word_set("i we you")
ADVERBS = word_set(
    "twice thrice ahead "
    "directly slightly just immediately partially partly completely somewhat diagonally exactly "
    "mostly fully very quite also still clearly too so really rather extremely almost nearly only "
    "even perfectly neatly mainly firmly safely gently slowly again already now both all together "
    "approximately about-to away else yet once alone outside outdoors indoors overhead proudly "
    "prominently centrally vertically horizontally casually quietly happily half straight right "
    "back there here upside down up out off around forward along therefore instead"
)
"""Words that add nothing a picture is judged by; some may be prepositions as well."""
OTHER_PREPOSITIONS = word_set(
    "for around across along through against at from up down off out toward towards past during "
    "amid among amongst outside throughout than like of to via per despite about after before "
    "until since underwater beyond as aboard amidst unlike"
)
TAKES_NO_OBJECT = word_set("during like as since until despite about per via unlike than of to")
"""After these a noun phrase is no thing that must be seen."""
