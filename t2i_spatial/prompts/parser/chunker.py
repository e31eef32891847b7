"""From tokens to chunks: noun phrases, verbs, relation phrases, places, conjunctions.

One pass, left to right; a run of content words (everything between two closed-class words) is
read by itself and remembered, for the same runs come again and again in a prompt set.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from t2i_spatial.prompts.parser.function_words import (
    ADVERBS,
    CONJUNCTIONS,
    COPULAS,
    DETERMINERS,
    NEGATIONS,
    NUMBERS,
    OPEN_NUMBERS,
    OTHER_PREPOSITIONS,
    RELATIVES,
    SPEAKERS,
    SUBORDINATORS,
)
from t2i_spatial.prompts.parser.noun_phrase import NounPhrase, is_modifier, read_noun_phrase
from t2i_spatial.prompts.parser.nouns import ANIMATE
from t2i_spatial.prompts.parser.relation_phrases import (
    RelationPhrase,
    match_frame,
    match_relation,
    match_verb,
    table,
)
from t2i_spatial.prompts.parser.tokens import QUOTE
from t2i_spatial.prompts.parser.verbs import BASE, GERUND, HAVING, MODALS, PAST, THIRD, VERBISH_S
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

(NP, VERB, ADJP, REL, FRAME, PREP, COP, HAVE, WITH, WITHOUT, NOT, AND, OR, COMMA, STOP, THERE,
 THAT, SUB, PRON, TEXT) = range(20)  # fmt: skip


class Verb(NamedTuple):
    """A verb: its stem, its form ("ing", "ed", "finite", "base") and its words."""

    stem: str
    form: str
    word: str


class Chunk(NamedTuple):
    """A piece of a sentence; which of the fields are set depends on the kind."""

    kind: int
    word: str = ""
    phrase: NounPhrase | None = None
    relation: RelationPhrase | None = None
    verb: Verb | None = None


_DETERMINER, _NUMBER, _ADVERB = 100, 101, 102
_QUANTIFIERS = word_set("at-least at-most more-than fewer-than or-more")
_KINDS: dict[str, int] = (
    dict.fromkeys(ADVERBS, _ADVERB)
    | dict.fromkeys(OTHER_PREPOSITIONS, PREP)
    | dict.fromkeys([*NUMBERS, *OPEN_NUMBERS, *_QUANTIFIERS], _NUMBER)
    | dict.fromkeys(DETERMINERS, _DETERMINER)
    | dict.fromkeys(COPULAS, COP)
    | dict.fromkeys(CONJUNCTIONS, AND)
    | dict.fromkeys(SUBORDINATORS, SUB)
    | dict.fromkeys(RELATIVES, THAT)
    | dict.fromkeys(word_set("; : ! ? .") | {"\n"}, STOP)
    | dict.fromkeys(word_set(", ( )"), COMMA)
    | dict.fromkeys(
        word_set("it them they he she itself himself herself themselves him each-other"), PRON
    )
    | dict.fromkeys(HAVING, HAVE)
    | dict.fromkeys(MODALS, _ADVERB)
    | dict.fromkeys(NEGATIONS, NOT)
    | dict.fromkeys(
        word_set(
            "made-of in-style-of full-of topped-with decorated-with as-if due-to shaped-like"
        ),
        PREP,
    )
    | {"with": WITH, "without": WITHOUT, "there": THERE, "there's": THERE, "there’s": THERE,
       "but": COMMA, "or": OR, "nor": OR, "it's": PRON, "it’s": PRON, QUOTE: TEXT, "her": _DETERMINER,
       "both": _NUMBER, "being": _ADVERB, "very": _ADVERB, "whose": WITH, "/": OR}
)  # fmt: skip
_SEEING = word_set("see find notice observe spot view")
# what a run of content words is preceded by
_START, _AFTER_COPULA, _AFTER_AND, _AFTER_MODAL, _AFTER_VERB, _AFTER_NOUN, _AFTER_THAT = range(7)
_CONTEXT = {COP: _AFTER_COPULA, AND: _AFTER_AND, COMMA: _AFTER_AND, SUB: _AFTER_AND,
            THAT: _AFTER_THAT, PRON: _AFTER_THAT, NP: _AFTER_NOUN, VERB: _AFTER_VERB,
            FRAME: _AFTER_NOUN, NOT: _AFTER_COPULA, OR: _AFTER_AND, ADJP: _AFTER_NOUN,
            TEXT: _AFTER_NOUN}  # fmt: skip
_STOP_WORDS = frozenset(["her"])


def chunk(tokens: list[str]) -> list[Chunk]:
    """The chunks of a tokenised prompt.

    >>> [c.word or c.phrase.spec.name for c in chunk("a dog sits on two mats".split())]
    ['dog', 'sits', 'on', 'mat']
    """
    chunks: list[Chunk] = []
    starters = table().starters
    kinds = _KINDS
    at, count = 0, len(tokens)
    while at < count:
        token = tokens[at]
        kind = kinds.get(token)
        if token in starters or kind == PREP:
            end = _relation_or_preposition(tokens, at, kind, chunks)
            if end > at:
                at = end
                continue
            kind = None if kind in (PREP, _ADVERB) else kind
        if kind is None or kind in (_DETERMINER, _NUMBER):
            at = _run(tokens, at, chunks)
        elif kind == _ADVERB:
            at = _adverb(tokens, at, chunks)
        elif kind == SUB and token == "as" and not chunks:
            at += 1
        elif kind == COP and token in NEGATIONS:
            chunks += (Chunk(COP, token), Chunk(NOT, token))
            at += 1
        elif kind == NOT:
            if token not in ("not", "never"):
                pass
            if at + 1 < count and kinds.get(tokens[at + 1]) == HAVE:
                chunks.append(Chunk(WITHOUT, token))
                at += 2
                continue
            chunks.append(Chunk(NOT, token))
            at += 1
        elif token in ("it's", "it’s"):
            chunks += (Chunk(PRON, "it"), Chunk(COP, "is"))
            at += 1
        elif kind == THERE:
            at += 1
            while at < count and kinds.get(tokens[at]) in (COP, _ADVERB) and tokens[at] not in (
                "both",
            ):
                at += 1
            chunks.append(Chunk(THERE, token))
        elif kind == THAT and _determines(tokens, at, chunks):
            at = _run(tokens, at, chunks)
        elif kind == HAVE and chunks and chunks[-1].kind in (_DETERMINER,):
            at = _run(tokens, at, chunks)
        else:
            chunks.append(_PLAIN.get(token) or Chunk(kind, token))
            at += 1
    return chunks


_PLAIN = {word: Chunk(kind, word) for word, kind in _KINDS.items() if kind < 100}


def _determines(tokens: list[str], at: int, chunks: list[Chunk]) -> bool:
    """Whether "that" is a determiner: not behind a noun phrase."""
    return tokens[at] == "that" and not (chunks and chunks[-1].kind in (NP, COMMA, AND, ADJP, TEXT))


def _adverb(tokens: list[str], at: int, chunks: list[Chunk]) -> int:
    """Skip an adverb, or read the run that it begins ("very big dogs"); "I can see" is "there"."""
    token = tokens[at]
    end = at
    if token in SPEAKERS or token in MODALS:
        while end < len(tokens) and (tokens[end] in SPEAKERS or _KINDS.get(tokens[end]) == _ADVERB):
            end += 1
        if end < len(tokens) and tokens[end] in _SEEING:
            chunks.append(Chunk(THERE, "see"))
            return end + 1
        return max(end, at + 1)
    if at + 2 < len(tokens) and is_modifier(tokens[at + 1]) and _KINDS.get(tokens[at + 2]) is None:
        if not (chunks and chunks[-1].kind in (COP, NP, VERB)):
            return _run(tokens, at + 1, chunks)
    return at + 1


def _relation_or_preposition(
    tokens: list[str], at: int, kind: int | None, chunks: list[Chunk]
) -> int:
    """Append the relation, place or preposition at `at`; `at` itself when there is none."""
    frame = match_frame(tokens, at)
    if frame is not None:
        chunks.append(Chunk(FRAME, frame[0]))
        return frame[1]
    found = match_relation(tokens, at)
    token = tokens[at]
    if found is not None:
        phrase, end = found
        if token in _LEFT_RIGHT and end == at + 1:
            return at
        if end == at + 1 and token in _PARTICLES and _particle(tokens, at, chunks):
            return end
        chunks.append(Chunk(REL, phrase.text, relation=phrase))
        return end
    if kind == PREP:
        if token == "as" and _clause_follows(tokens, at):
            chunks.append(Chunk(SUB, token))
            return at + 1
        if token == "to" and at + 1 < len(tokens):
            word = tokens[at + 1]
            if word in BASE and not (chunks and chunks[-1].kind == REL):
                if classes(word) & VERB_BASE and _KINDS.get(word) is None and word != "water":
                    chunks.append(Chunk(VERB, word, verb=Verb(word, "base", word)))
                    return at + 2
        if at + 1 < len(tokens) and tokens[at + 1] in table().starters and token in _PARTICLES:
            if match_relation(tokens, at + 1) is not None:
                return at + 1  # "up on", "down below"
        chunks.append(_PLAIN.get(token) or Chunk(PREP, token))
        return at + 1
    return at


_LEFT_RIGHT = frozenset(["left", "right"])
_PARTICLES = word_set("over up down out off around by under through along back away")


def _particle(tokens: list[str], at: int, chunks: list[Chunk]) -> bool:
    """ "Tipped over on": a particle of the verb, for another preposition follows."""
    if not (chunks and chunks[-1].kind == VERB) or at + 1 >= len(tokens):
        return False
    following = tokens[at + 1]
    return following in table().starters and match_relation(tokens, at + 1) is not None


def _clause_follows(tokens: list[str], at: int) -> bool:
    """ "As a man walks by": a clause and no comparison."""
    for token in tokens[at + 1 : at + 7]:
        kind = _KINDS.get(token)
        if kind == COP or token in PAST or token in VERBISH_S or token in HAVING:
            return True
        if kind in (STOP, COMMA, AND, PREP):
            return False
    return False


def _run(tokens: list[str], at: int, chunks: list[Chunk]) -> int:
    words, end = _content_run(tokens, at)
    context = _CONTEXT.get(chunks[-1].kind, _START) if chunks else _START
    if at and _KINDS.get(tokens[at - 1]) == _ADVERB and tokens[at - 1] in MODALS:
        context = _AFTER_MODAL
    follows = end < len(tokens) and (
        _KINDS.get(tokens[end]) in (_DETERMINER, _NUMBER, PRON) or tokens[end] in ("her", "him")
    )
    found = _split(words, context, follows)
    if found and found[-1].kind == VERB:
        last = found[-1]
        match = match_verb(last.word, tokens, end)
        chunks += found[:-1]
        if match is not None:
            chunks.append(last._replace(relation=match[0]))
            return match[1]
        chunks.append(last)
        return end
    if not found:
        return max(end, at + 1)
    chunks += found
    return end


def _content_run(tokens: list[str], at: int) -> tuple[tuple[str, ...], int]:
    """The words of the run that begins at `at`, and the index behind it.

    "And" or a comma between two adjectives does not end a run, and is left out of it.
    """
    kinds, starters = _KINDS, table().starters
    count = len(tokens)
    end = at + 1
    skipped = 0
    words = [tokens[at]]
    quantity = kinds.get(tokens[at]) in (_DETERMINER, _NUMBER)
    while end < count:
        word = tokens[end]
        kind = kinds.get(word)
        if word in starters and word not in ("around", "like"):
            if match_relation(tokens, end) is not None and not (
                word in _LEFT_RIGHT and match_relation(tokens, end)[1] == end + 1  # type: ignore[index]
            ):
                if not (quantity and word in ("near", "close", "opposite", "far", "inside")):
                    break
            if match_frame(tokens, end) is not None or kind == PREP:
                break
            kind = None if kind != _DETERMINER and kind != _NUMBER else kind
        if kind is None:
            if end + 1 < count and tokens[end + 1] == "than":
                break
            if word in starters and word not in _LEFT_RIGHT and not quantity:
                break
            quantity = False
        elif kind in (_DETERMINER, _NUMBER):
            if not (quantity or words[-1] == "of"):
                break
            quantity = True
        elif kind == _ADVERB:
            if word in MODALS or not (quantity or is_modifier(words[-1])) and not (
                end + 2 < count and is_modifier(tokens[end + 1]) and quantity
            ):
                break
            if not (end + 1 < count and kinds.get(tokens[end + 1]) is None):
                break
        elif kind == PREP and word == "of":
            if not (end + 1 < count and kinds.get(tokens[end + 1]) in (None, _DETERMINER, _NUMBER)):
                end += 1
                break
            if tokens[end + 1] in starters and match_relation(tokens, end + 1) is not None:
                break
            quantity = True
        elif kind in (AND, COMMA) and word != "but":
            if not _adjectives_go_on(tokens, end):
                break
            end += 1
            skipped += 1
            continue
        else:
            break
        words.append(word)
        end += 1
    return tuple(words), end


def _adjectives_go_on(tokens: list[str], at: int) -> bool:
    """Whether the comma or "and" at `at` stands between two adjectives of one noun."""
    if not (is_modifier(tokens[at - 1]) and _KINDS.get(tokens[at - 1]) is None):
        return False
    count = len(tokens)
    end = at + 1
    for _ in range(8):
        begin = end
        while end < count and (
            is_modifier(tokens[end])
            and _KINDS.get(tokens[end]) is None
            or _KINDS.get(tokens[end]) == _ADVERB and tokens[end] not in MODALS
        ):
            end += 1
        if end == begin or end >= count:
            return False
        kind = _KINDS.get(tokens[end])
        if kind in (AND, COMMA):
            end += 1
            if kind == COMMA and end < count and _KINDS.get(tokens[end]) == AND:
                end += 1
            continue
        kinds = classes(tokens[end])
        return kind is None and bool(kinds & NOUN) and not (
            tokens[end] in table().starters and match_relation(tokens, end) is not None
        )
    return False


@lru_cache(maxsize=65536)
def _split(words: tuple[str, ...], context: int, follows: bool) -> tuple[Chunk, ...]:
    """A run of content words as noun phrases, verbs and predicative adjectives."""
    found: list[Chunk] = []
    at, total = 0, len(words)
    while at < total:
        word = words[at]
        kind = _KINDS.get(word)
        if kind in (_DETERMINER, _NUMBER) or word.isdecimal():
            verb = None
        else:
            kinds = classes(word)
            if kind == _ADVERB or (kinds & ADVERB and not kinds & (NOUN | ADJECTIVE)):
                if context == _AFTER_COPULA or not _noun_follows(words, at):
                    at += 1
                    continue
            verb = _verb_at(words, at, context, follows)
            if verb is None and _adjectives_only(words, at, context):
                found.append(Chunk(ADJP, " ".join(words[at:])))
                break
        if verb is not None:
            found.append(Chunk(VERB, word, relation=None, verb=verb))
            at += 1
            context = _AFTER_VERB
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
            if last in THIRD and classes(last) & VERB_S and words[-2] in ANIMATE:
                phrase, at = _without_verb(words, before, at, phrase)
        if phrase is not None:
            found.append(Chunk(NP, phrase.spec.name, phrase))
            context = _AFTER_NOUN
        elif at <= before:
            at = before + 1
    return tuple(found)


def _without_verb(
    words: tuple[str, ...], before: int, end: int, phrase: NounPhrase
) -> tuple[NounPhrase, int]:
    last = words[end - 1]
    if end - 1 > before and last in THIRD and classes(last) & VERB_S:
        if not classes(words[end - 2]) & PLURAL and classes(words[end - 2]) & NOUN:
            shorter, at = read_noun_phrase(words[: end - 1], before)
            if shorter is not None and at == end - 1:
                return shorter, at
    return phrase, end


def _noun_follows(words: tuple[str, ...], at: int) -> bool:
    """ "Brightly painted doors": the adverb belongs to an adjective before a noun."""
    if at + 2 >= len(words) or not is_modifier(words[at + 1]):
        return False
    return bool(classes(words[at + 2]) & (NOUN | ADJECTIVE))


_INTRANSITIVE = word_set(
    "fly run sleep smile bark glow shine burn fall float laugh cry swim jump stand sit rise "
    "sparkle flicker gleam glisten twinkle bloom grow rust crumble lie age rot blaze shimmer "
    "dance live work swirl roll tower drift"
)


def _verb_at(
    words: tuple[str, ...], at: int, context: int, follows: bool
) -> Verb | None:
    """The verb at `at`, or `None` when a noun phrase or an adjective begins there."""
    word = words[at]
    kinds = classes(word)
    if not kinds & ANY_VERB:
        return None
    last = at + 1 == len(words)
    following = 0 if last else classes(words[at + 1])
    noun_next = bool(following & (NOUN | ADJECTIVE)) and not last
    stem = THIRD.get(word) or GERUND.get(word) or (word if word in BASE else PAST.get(word, word))
    if kinds & VERB_ING and not kinds & NOUN:
        if context == _START and noun_next and not last:
            return None
        if context == _AFTER_AND and noun_next and stem in _INTRANSITIVE:
            return None
        if context == _AFTER_VERB and noun_next:
            return None
        return Verb(stem, "ing", word)
    if context in (_AFTER_MODAL,) and kinds & VERB_BASE:
        return Verb(stem, "base", word)
    if kinds & VERB_ED and (not kinds & ADJECTIVE or context == _AFTER_NOUN):
        if context in (_START, _AFTER_VERB, _AFTER_AND) and noun_next:
            return None
        if context == _AFTER_COPULA and noun_next and following & PLURAL:
            return None
        if context in (_START, _AFTER_AND) and kinds & NOUN:
            return None
        return Verb(stem, "ed", word)
    if kinds & VERB_S:
        if context in (_AFTER_NOUN, _AFTER_THAT):
            return Verb(stem, "finite", word)
        if context == _AFTER_AND and (not kinds & NOUN or word in VERBISH_S or follows):
            return Verb(stem, "finite", word)
        return None
    if kinds & VERB_BASE:
        if context in (_AFTER_NOUN, _AFTER_THAT) and not (kinds & ADJECTIVE):
            return Verb(stem, "finite", word)
        if context == _AFTER_AND and not kinds & (NOUN | ADJECTIVE):
            return Verb(stem, "finite", word)
        if context == _START and not kinds & (NOUN | ADJECTIVE) and last:
            return Verb(stem, "base", word)
    return None


def _adjectives_only(words: tuple[str, ...], at: int, context: int) -> bool:
    """Whether only adjectives stand from `at` on, none of them used as a noun."""
    for word in words[at:]:
        kinds = classes(word)
        if not kinds & (ADJECTIVE | ADVERB | COLOR | VERB_ED) and _KINDS.get(word) != _ADVERB:
            return False
    kinds = classes(words[-1])
    if kinds & NOUN and context in (_START, _AFTER_AND):
        return False
    return context != _START or not kinds & COLOR
