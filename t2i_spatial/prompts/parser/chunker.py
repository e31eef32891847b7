"""From tokens to chunks: noun phrases, verbs, relation phrases, places, conjunctions.

One pass, left to right; a run of content words (everything between two closed-class words) is
read by itself and remembered, for the same runs come again and again in a prompt set.
"""

from __future__ import annotations

from t2i_spatial.prompts.parser.chunks import (
    ADJP,
    AND,
    COMMA,
    COP,
    DETERMINER,
    FRAME,
    HAVE,
    NOT,
    NP,
    NUMBER,
    OR,
    PREP,
    PRON,
    REL,
    SKIPPED,
    STOP,
    SUB,
    TEXT,
    THAT,
    THERE,
    TOKEN_KINDS,
    VERB,
    WITHOUT,
    Chunk,
    Verb,
)
from t2i_spatial.prompts.parser.content_runs import (
    AFTER_AND,
    AFTER_COPULA,
    AFTER_MODAL,
    AFTER_NOUN,
    AFTER_THAT,
    AFTER_VERB,
    START,
    sort_of,
    split_run,
)
from t2i_spatial.prompts.parser.function_words import (
    NEGATIONS,
    SPEAKERS,
)
from t2i_spatial.prompts.parser.noun_boundary import is_modifier
from t2i_spatial.prompts.parser.relation_phrases import (
    match_frame,
    match_relation,
    match_verb,
    table,
)
from t2i_spatial.prompts.parser.verbs import BASE, HAVING, MODALS, PAST, VERBISH_S
from t2i_spatial.prompts.parser.word_classes import (
    NOUN,
    VERB_ING,
    classes,
)
from t2i_spatial.prompts.words import word_set

_SEEING = word_set("see find notice observe spot view")
_CONTEXT = {COP: AFTER_COPULA, AND: AFTER_AND, COMMA: AFTER_AND, SUB: AFTER_AND,
            THAT: AFTER_THAT, PRON: AFTER_THAT, NP: AFTER_NOUN, VERB: AFTER_VERB,
            FRAME: AFTER_NOUN, NOT: AFTER_COPULA, OR: AFTER_AND, ADJP: AFTER_NOUN,
            TEXT: AFTER_NOUN}  # fmt: skip
_STOP_WORDS = frozenset(["her"])


def chunk(tokens: list[str]) -> list[Chunk]:
    """The chunks of a tokenised prompt.

    >>> [c.word or c.phrase.spec.name for c in chunk("a dog sits on two mats".split())]
    ['dog', 'sits', 'on', 'mat']
    """
    chunks: list[Chunk] = []
    starters = table().starters
    kinds = TOKEN_KINDS
    at, count = 0, len(tokens)
    while at < count:
        token = tokens[at]
        kind = kinds.get(token)
        if token in starters or kind == PREP:
            end = _relation_or_preposition(tokens, at, kind, chunks)
            if end > at:
                at = end
                continue
            kind = None if kind in (PREP, SKIPPED) else kind
        if token in _EACH and at + 1 < count and _acts(tokens[at + 1]):
            at += 1  # "both wearing hats"
        elif token == "her" and not _noun_may_follow(tokens, at + 1):
            chunks.append(Chunk(PRON, token))
            at += 1
        elif kind is None or kind in (DETERMINER, NUMBER):
            at = _run(tokens, at, chunks)
        elif kind == SKIPPED:
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
            while (
                at < count
                and kinds.get(tokens[at]) in (COP, SKIPPED)
                and tokens[at] not in ("both",)
            ):
                at += 1
            chunks.append(Chunk(THERE, token))
        elif (kind == THAT and _determines(tokens, at, chunks)) or (
            kind == HAVE and chunks and chunks[-1].kind in (DETERMINER,)
        ):
            at = _run(tokens, at, chunks)
        else:
            chunks.append(_PLAIN.get(token) or Chunk(kind, token))
            at += 1
    return chunks


_PLAIN = {word: Chunk(kind, word) for word, kind in TOKEN_KINDS.items() if kind < 100}


_PART_WORDS = frozenset(["one", "other", "others", "another", "two", "three", "some"])
_EACH = word_set("both each all")


def _acts(word: str) -> bool:
    kinds = classes(word)
    return word in ("with", "having") or (bool(kinds & VERB_ING) and not kinds & NOUN)


def _noun_may_follow(tokens: list[str], at: int) -> bool:
    if at >= len(tokens):
        return False
    kind = TOKEN_KINDS.get(tokens[at])
    left = tokens[at] in ("left", "right") and at + 1 < len(tokens)
    return left or (kind in (None, NUMBER, SKIPPED) and tokens[at] not in table().starters)


def _determines(tokens: list[str], at: int, chunks: list[Chunk]) -> bool:
    """Whether "that" is a determiner: not behind a noun phrase."""
    return tokens[at] == "that" and not (chunks and chunks[-1].kind in (NP, COMMA, AND, ADJP, TEXT))


def _adverb(tokens: list[str], at: int, chunks: list[Chunk]) -> int:
    """Skip an adverb, or read the run that it begins ("very big dogs"); "I can see" is "there"."""
    token = tokens[at]
    end = at
    if token in SPEAKERS or token in MODALS:
        while end < len(tokens) and (
            tokens[end] in SPEAKERS or TOKEN_KINDS.get(tokens[end]) == SKIPPED
        ):
            end += 1
        if end < len(tokens) and tokens[end] in _SEEING:
            chunks.append(Chunk(THERE, "see"))
            return end + 1
        return max(end, at + 1)
    if (
        at + 2 < len(tokens)
        and is_modifier(tokens[at + 1])
        and TOKEN_KINDS.get(tokens[at + 2]) is None
        and not (chunks and chunks[-1].kind in (COP, NP, VERB))
    ):
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
    side = _own_side(tokens, at)
    if side:
        return _of_possessor(tokens, at, chunks)
    if token == "nearby" and at + 1 < len(tokens) and TOKEN_KINDS.get(tokens[at + 1]) is None:
        return at  # "nearby candles": an adjective
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
        following = tokens[at + 1] if at + 1 < len(tokens) else ""
        if token == "to" and _infinitive(following, chunks):
            chunks.append(Chunk(VERB, following, verb=Verb(following, "base", following)))
            return at + 2
        particle = token in _PARTICLES and following in table().starters
        if particle and match_relation(tokens, at + 1) is not None:
            return at + 1  # "up on", "down below"
        chunks.append(_PLAIN.get(token) or Chunk(PREP, token))
        return at + 1
    return at


def _own_side(tokens: list[str], at: int) -> bool:
    """ "To the dog's left"."""
    if tokens[at] not in ("to", "on", "at") or at + 3 >= len(tokens):
        return False
    return tokens[at + 2].endswith(("'s", "’s")) and tokens[at + 3] in (*_LEFT_RIGHT, "own")


def _of_possessor(tokens: list[str], at: int, chunks: list[Chunk]) -> int:
    """The relation and the noun phrase of "to the dog's left"."""
    own = tokens[at + 3] == "own"
    end = at + 4 + own
    side = tokens[end - 1]
    found = match_relation(["left" if side == "left" else "right", "of"], 0)
    noun = tokens[at + 2][:-2]
    if own or found is None:
        chunks.append(Chunk(PREP, f"on-own-{side}-of"))
    else:
        text = " ".join(tokens[at:end])
        chunks.append(Chunk(REL, text, relation=found[0]._replace(text=text)))
    chunks += split_run((tokens[at + 1], noun), START, False)
    return end + (tokens[end : end + 1] == ["side"])


def _infinitive(word: str, chunks: list[Chunk]) -> bool:
    """Whether "to" and this word are an infinitive ("to eat") and no place."""
    if word not in BASE or TOKEN_KINDS.get(word) is not None or word == "water":
        return False
    return not (chunks and chunks[-1].kind == REL)


_LONGEST_RUN = 40
"""Words; what is longer is cut, so that no text costs more than its length."""
_DIRECTIONS = word_set("up down over back straight directly out intently")
_AIMS = (["at"], ["towards"], ["toward"])
_LEFT_RIGHT = frozenset(["left", "right"])
_ALSO_ADJECTIVES = word_set("near close opposite far inside")
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
        kind = TOKEN_KINDS.get(token)
        if kind == COP or token in PAST or token in VERBISH_S or token in HAVING:
            return True
        if kind in (STOP, COMMA, AND, PREP):
            return False
    return False


def _run(tokens: list[str], at: int, chunks: list[Chunk]) -> int:
    words, end = _content_run(tokens, at)
    context = _CONTEXT.get(chunks[-1].kind, START) if chunks else START
    if at and TOKEN_KINDS.get(tokens[at - 1]) == SKIPPED and tokens[at - 1] in MODALS:
        context = AFTER_MODAL
    follows = end < len(tokens) and (
        TOKEN_KINDS.get(tokens[end]) in (DETERMINER, NUMBER, PRON) or tokens[end] in ("her", "him")
    )
    found = split_run(words, context, follows)
    if found and found[-1].kind == VERB:
        last = found[-1]
        behind = end
        while tokens[behind : behind + 1] and tokens[behind] in _DIRECTIONS:
            behind += 1  # "gazing down at"
        match = match_verb(
            last.word, tokens, behind if tokens[behind : behind + 1] in _AIMS else end
        )
        chunks += found[:-1]
        if match is not None:
            chunks.append(last._replace(relation=match[0]))
            return match[1]
        chunks.append(last)
        return end
    if found and found[-1].kind == ADJP and end < len(tokens):
        # "hidden by", "visible from": an adjective that begins a relation phrase
        word = found[-1].word.rpartition(" ")[2]
        match = match_verb(word, tokens, end) if word in PAST else None
        if match is not None and match[1] > end:
            verb = Verb(PAST[word] or word, "ed", word)
            chunks += (*found[:-1], Chunk(VERB, word, relation=match[0], verb=verb))
            return match[1]
    if not found and chunks and _speaks_of_part(words, tokens, end):
        chunks.append(Chunk(PRON, "part"))
        return max(end, at + 1 if tokens[end : end + 1] != ["of"] else end)
    chunks += found
    return max(end, at + 1)


def _speaks_of_part(words: tuple[str, ...], tokens: list[str], end: int) -> bool:
    """ "One", "the other", "two of them": some of what was named before."""
    del tokens, end
    words = tuple(word for word in words if word != "of")
    return bool(words) and words[-1] in _PART_WORDS and len(words) < 4


def _content_run(tokens: list[str], at: int) -> tuple[tuple[str, ...], int]:
    """The words of the run that begins at `at`, and the index behind it.

    "And" or a comma between two adjectives does not end a run, and is left out of it.
    """
    kinds, starters = TOKEN_KINDS, table().starters
    count = len(tokens)
    end = at + 1
    skipped = 0
    words = [tokens[at]]
    quantity = kinds.get(tokens[at]) in (DETERMINER, NUMBER)
    while end < count and len(words) < _LONGEST_RUN:
        word = tokens[end]
        kind = kinds.get(word)
        if word == "can" and (quantity or _closed(tokens, end + 1)):
            kind = None  # "a can of soda", "a soda can"
        if word in starters and word not in ("around", "like", "of"):
            found = match_relation(tokens, end)
            adjective = (quantity and word in _ALSO_ADJECTIVES) or (
                word in _LEFT_RIGHT and found is not None and found[1] == end + 1
            )
            if found is not None and not adjective:
                break
            if match_frame(tokens, end) is not None or kind == PREP:
                break
            if kind not in (None, DETERMINER, NUMBER):
                if not quantity:
                    break
                kind = None
        if kind is None:
            if end + 1 < count and tokens[end + 1] == "than":
                break
            quantity = False
        elif kind in (DETERMINER, NUMBER):
            if not (quantity or words[-1] == "of"):
                break
            quantity = True
        elif kind == SKIPPED:
            if word in MODALS or (
                not (quantity or is_modifier(words[-1]))
                and not (end + 2 < count and is_modifier(tokens[end + 1]) and quantity)
            ):
                break
            if not (end + 1 < count and kinds.get(tokens[end + 1]) is None):
                break
        elif kind == PREP and word == "of":
            if not (end + 1 < count and kinds.get(tokens[end + 1]) in (None, DETERMINER, NUMBER)):
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


def _closed(tokens: list[str], at: int) -> bool:
    """Whether no content word stands at `at`."""
    if at >= len(tokens) or tokens[at] in table().starters:
        return True
    return TOKEN_KINDS.get(tokens[at]) not in (None, SKIPPED)


def _adjectives_go_on(tokens: list[str], at: int) -> bool:
    """Whether the comma or "and" at `at` stands between two adjectives of one noun."""
    before = tokens[at - 1]
    if not (is_modifier(before) and TOKEN_KINDS.get(before) is None) or at + 1 >= len(tokens):
        return False
    if classes(before) & NOUN and sort_of(before) != sort_of(tokens[at + 1]):
        return False  # "a green square and red rectangle"
    count = min(len(tokens), at + _LONGEST_RUN)
    end = at + 1
    for _ in range(8):
        begin = end
        while end < count and (
            (is_modifier(tokens[end]) and TOKEN_KINDS.get(tokens[end]) is None)
            or (TOKEN_KINDS.get(tokens[end]) == SKIPPED and tokens[end] not in MODALS)
        ):
            end += 1
        if end == begin:
            return False
        if end >= count:
            return end - begin > 1 and bool(classes(tokens[end - 1]) & NOUN)
        kind = TOKEN_KINDS.get(tokens[end])
        closed = kind is not None or tokens[end] in table().starters
        if closed and end - begin > 1 and classes(tokens[end - 1]) & NOUN:
            return True  # "a small, matte red square": the last of them is the noun
        if kind in (AND, COMMA):
            end += 1
            if kind == COMMA and end < count and TOKEN_KINDS.get(tokens[end]) == AND:
                end += 1
            continue
        kinds = classes(tokens[end])
        return (
            kind is None
            and bool(kinds & NOUN)
            and not (tokens[end] in table().starters and match_relation(tokens, end) is not None)
        )
    return False
