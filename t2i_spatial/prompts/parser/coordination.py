"""Which noun phrases form a list: "and", commas, and where a clause begins instead."""

from __future__ import annotations

from collections.abc import Sequence

from t2i_spatial.prompts.parser.chunks import (
    AND,
    COMMA,
    COP,
    FRAME,
    HAVE,
    NP,
    OR,
    REL,
    VERB,
    Chunk,
)
from t2i_spatial.prompts.parser.coreference import head_of
from t2i_spatial.prompts.parser.noun_phrase import NounPhrase
from t2i_spatial.prompts.parser.nouns import (
    ANIMATE,
)
from t2i_spatial.prompts.parser.reading_state import (
    GROUND,
    NESTING,
    OWNED,
    SUBJECT,
    THEME,
    ReadingState,
)


class Coordination(ReadingState):
    """Reads lists of noun phrases."""

    def _span(self, first: int, role: int) -> tuple[list[NounPhrase], int]:
        """The coordinated noun phrases from chunk `first` on, and the index behind them."""
        chunks, count = self.chunks, len(self.chunks)
        phrases = [chunks[first].phrase]
        end = first + 1
        while end + 1 < count:
            kind, following = chunks[end].kind, chunks[end + 1]
            if kind in (AND, OR) and following.kind == NP:
                if not self._joins(end + 1, role, phrases):
                    break
                if kind == OR:
                    self.things.unparsed.append("or")
                phrases.append(following.phrase)
                end += 2
            elif kind == COMMA and following.kind == NP and self.closes[end]:
                last = self.closes[end]
                if role in (GROUND, THEME) and self._has_own(last, role):
                    break
                if role == SUBJECT and self._numbered(first, last):
                    break
                if role == GROUND and self._counted_clauses(end, last):
                    break
                phrases += [c.phrase for c in chunks[end + 1 : last + 1] if c.kind == NP]
                end = last + 1
                break
            elif kind == COMMA and following.kind == AND and end + 2 < count:
                if role != SUBJECT or chunks[end + 2].kind != NP or not self._plural_verb(end + 3):
                    break
                phrases.append(chunks[end + 2].phrase)
                end += 3
            else:
                break
        return [phrase for phrase in phrases if phrase is not None], end

    def _plural_verb(self, at: int) -> bool:
        """Whether a verb for several subjects stands at `at`."""
        if at >= len(self.chunks):
            return False
        chunk = self.chunks[at]
        if chunk.kind == COP:
            return chunk.word in ("are", "were", "aren't", "weren't")
        return chunk.kind == VERB and chunk.verb is not None and chunk.word == chunk.verb.stem

    def _has_own(self, at: int, role: int) -> bool:
        """Whether the noun phrase at `at` has a predicate of its own."""
        kind = self._kind(at + 1)
        return kind in (COP, HAVE) or (kind in (VERB, REL, FRAME) and role == GROUND)

    def _numbered(self, first: int, last: int) -> bool:
        """ "Two cats, a dog, and three birds on a mat": only the birds are on it."""
        if self._kind(last + 1) != REL:
            return False
        phrases = (self.chunks[at].phrase for at in range(first, last + 1))
        return any(p is not None and p.article == "number" for p in phrases)

    def _counted_clauses(self, comma: int, last: int) -> bool:
        """ "In front of a couch, three kites, and a bus": counted things are clauses."""
        if self._kind(last - 2) != COMMA:
            return False
        phrases = (self.chunks[at].phrase for at in range(comma + 1, last + 1))
        return any(p is not None and p.article == "number" for p in phrases)

    def _joins(self, at: int, role: int, phrases: Sequence[NounPhrase | None]) -> bool:
        """Whether the noun phrase at `at`, behind "and", is part of the list."""
        if role == SUBJECT:
            return True
        phrase = self.chunks[at].phrase
        assert phrase is not None
        kind = self._kind(at + 1)
        animate = head_of(phrase.spec.name) in ANIMATE
        first = phrases[0]
        if role == GROUND:
            if self.relation is not None and self.relation.relations == ("between",):
                return len(phrases) > 1 or first is None or first.spec.count == 1
            if kind in (REL, FRAME):
                return not phrase.article and phrase.spec.count is None
            if kind in (COP, VERB, HAVE):
                # "in a suit and tie standing": a noun without an article begins no clause
                return not phrase.article and phrase.spec.count == 1
            holds = self.relation is not None and set(self.relation.relations) & NESTING
            if holds and animate and first is not None and phrase.article:
                # "a cat on a mat and a dog"
                return head_of(first.spec.name) in ANIMATE
            return True
        if kind == COP or (kind == VERB and self._finite(self.chunks[at + 1])):
            return not self.finite or (role == OWNED and not animate)
        if role == THEME:
            if kind in (VERB, REL, FRAME) and animate:
                return first is not None and head_of(first.spec.name) in ANIMATE
            return True
        if kind == REL:
            relation = self.chunks[at + 1].relation
            assert relation is not None
            return not (relation.pronoun and len(phrases) > 0 and self._own_before(at))
        return True

    def _own_before(self, at: int) -> bool:
        return self._kind(at - 2) == REL

    def _finite(self, chunk: Chunk) -> bool:
        return chunk.verb is not None and chunk.verb.form == "finite"
