"""Runs of content words: where noun phrases end and verbs or adjectives begin."""

from __future__ import annotations

from functools import lru_cache

from t2i_spatial.prompts.parser.adjectives import COLORS, MATERIALS
from t2i_spatial.prompts.parser.chunks import (
    ADJP,
    DETERMINER,
    NP,
    NUMBER,
    PRON,
    SKIPPED,
    TOKEN_KINDS,
    VERB,
    Chunk,
    Verb,
)
from t2i_spatial.prompts.parser.noun_boundary import is_modifier
from t2i_spatial.prompts.parser.noun_phrase import NounPhrase, read_noun_phrase
from t2i_spatial.prompts.parser.nouns import ANIMATE, COMPOUNDS
from t2i_spatial.prompts.parser.relation_phrases import (
    match_verb,
)
from t2i_spatial.prompts.parser.verbs import BASE, GERUND, PAST, THIRD, VERBISH_S
from t2i_spatial.prompts.parser.word_classes import (
    ADJECTIVE,
    ADVERB,
    ANY_VERB,
    COLOR,
    NOUN,
    PLURAL,
    VERB_BASE,
    VERB_ED,
    VERB_ING,
    VERB_S,
    classes,
)
from t2i_spatial.prompts.words import word_set

# what a run of content words is preceded by
START, AFTER_COPULA, AFTER_AND, AFTER_MODAL, AFTER_VERB, AFTER_NOUN, AFTER_THAT = range(7)

_INTRANSITIVE = word_set(
    "fly run sleep smile bark glow shine burn fall float laugh cry swim jump stand sit rise "
    "sparkle flicker gleam glisten twinkle bloom grow rust crumble lie age rot blaze shimmer "
    "dance live work swirl roll tower drift"
)


def sort_of(word: str) -> str:
    """Whether an adjective is a colour, a material or something else."""
    if word in COLORS:
        return "color"
    return "material" if word in MATERIALS else "other"


@lru_cache(maxsize=65536)
def split_run(words: tuple[str, ...], context: int, follows: bool) -> tuple[Chunk, ...]:
    """A run of content words as noun phrases, verbs and predicative adjectives."""
    found: list[Chunk] = []
    at, total = 0, len(words)
    part = _part_that_acts(words)
    if part:
        found.append(Chunk(PRON, "part"))
        at, context = part, AFTER_THAT
    while at < total:
        word = words[at]
        kind = TOKEN_KINDS.get(word)
        if kind in (DETERMINER, NUMBER) or word.isdecimal():
            verb = None
        else:
            kinds = classes(word)
            adverb = kind == SKIPPED or (kinds & ADVERB and not kinds & (NOUN | ADJECTIVE))
            if adverb and (context == AFTER_COPULA or not _noun_follows(words, at)):
                at += 1
                continue
            verb = _verb_at(words, at, context, follows)
            if verb is None and _adjectives_only(words, at, context):
                found.append(Chunk(ADJP, " ".join(words[at:])))
                break
        if verb is not None:
            found.append(Chunk(VERB, word, relation=None, verb=verb))
            at += 1
            context = AFTER_VERB
            if at < total:
                match = match_verb(word, (), 0)
                if match is not None:
                    found[-1] = found[-1]._replace(relation=match[0])
            continue
        before = at
        phrase, at = read_noun_phrase(words, at)
        if phrase is not None and follows and at == total:
            # "the girl paints a picture": what looks like a plural noun is the verb
            phrase, at = _without_verb(words, before, at, phrase)
        elif phrase is not None and at == total and before < total - 1:
            last = words[-1]
            alone = phrase.article != "number" and phrase.spec.name not in COMPOUNDS
            if alone and last in THIRD and classes(last) & VERB_S and words[-2] in ANIMATE:
                phrase, at = _without_verb(words, before, at, phrase)
        if phrase is not None:
            found.append(Chunk(NP, phrase.spec.name, phrase))
            context = AFTER_NOUN
        elif at <= before:
            at = before + 1
    return tuple(found)


def _part_that_acts(words: tuple[str, ...]) -> int:
    """Index of the verb behind "one" or "the other" ("one sitting on a chair"), else 0."""
    verb = 2 if words[0] == "the" else 1
    if len(words) <= verb or words[verb - 1] not in ("one", "other", "others", "another", "two"):
        return 0
    kinds = classes(words[verb])
    noun_next = len(words) > verb + 1 and classes(words[verb + 1]) & (NOUN | ADJECTIVE)
    acts = kinds & (VERB_ING | VERB_S) and not kinds & (NOUN | ADJECTIVE)
    return verb if acts and not noun_next else 0


def _without_verb(
    words: tuple[str, ...], before: int, end: int, phrase: NounPhrase
) -> tuple[NounPhrase, int]:
    """Leave out a last word that is the verb of the noun before it."""
    last = words[end - 1]
    if end - 1 <= before or last not in THIRD or not classes(last) & VERB_S:
        return phrase, end
    if classes(words[end - 2]) & (PLURAL | NOUN) == NOUN:
        shorter, at = read_noun_phrase(words[: end - 1], before)
        if shorter is not None and at == end - 1:
            return shorter, at
    return phrase, end


def _noun_follows(words: tuple[str, ...], at: int) -> bool:
    """ "Brightly painted doors": the adverb belongs to an adjective before a noun."""
    if at + 2 >= len(words) or not is_modifier(words[at + 1]):
        return False
    return bool(classes(words[at + 2]) & (NOUN | ADJECTIVE))


def _verb_at(words: tuple[str, ...], at: int, context: int, follows: bool) -> Verb | None:
    """The verb at `at`, or `None` when a noun phrase or an adjective begins there."""
    word = words[at]
    kinds = classes(word)
    if not kinds & ANY_VERB:
        return None
    last = at + 1 == len(words)
    following = 0 if last else classes(words[at + 1])
    noun_next = bool(following & (NOUN | ADJECTIVE)) and not last
    stem = THIRD.get(word) or GERUND.get(word) or (word if word in BASE else PAST.get(word, word))
    acts = context in (AFTER_NOUN, AFTER_COPULA) or (context == AFTER_AND and follows)
    if kinds & VERB_ING and (acts or not kinds & NOUN):
        if context == START and noun_next and not last:
            return None
        if context == AFTER_AND and noun_next and stem in _INTRANSITIVE:
            return None
        if context == AFTER_VERB and noun_next:
            return None
        return Verb(stem, "ing", word)
    if context in (AFTER_MODAL,) and kinds & VERB_BASE:
        return Verb(stem, "base", word)
    if kinds & VERB_ED and (not kinds & ADJECTIVE or context == AFTER_NOUN):
        if context in (START, AFTER_VERB, AFTER_AND) and noun_next:
            return None
        if context == AFTER_COPULA and noun_next and following & PLURAL:
            return None
        if context in (START, AFTER_AND) and kinds & NOUN:
            return None
        return Verb(stem, "ed", word)
    if kinds & VERB_S:
        if context in (AFTER_NOUN, AFTER_THAT):
            return Verb(stem, "finite", word)
        if context == AFTER_AND and (not kinds & NOUN or word in VERBISH_S or follows):
            return Verb(stem, "finite", word)
        return None
    if kinds & VERB_BASE:
        if context in (AFTER_NOUN, AFTER_THAT) and not (kinds & ADJECTIVE):
            return Verb(stem, "finite", word)
        if context == AFTER_AND and not kinds & (NOUN | ADJECTIVE):
            return Verb(stem, "finite", word)
        if context == START and not kinds & (NOUN | ADJECTIVE) and last:
            return Verb(stem, "base", word)
    return None


def _adjectives_only(words: tuple[str, ...], at: int, context: int) -> bool:
    """Whether only adjectives stand from `at` on, none of them used as a noun."""
    for word in words[at:]:
        kinds = classes(word)
        if not kinds & (ADJECTIVE | ADVERB | COLOR | VERB_ED) and TOKEN_KINDS.get(word) != SKIPPED:
            return False
    kinds = classes(words[-1])
    if kinds & NOUN and context in (START, AFTER_AND):
        return False
    return context != START or not kinds & COLOR
