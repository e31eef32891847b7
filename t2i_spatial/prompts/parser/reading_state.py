"""What the reader of a prompt knows while it goes from chunk to chunk."""

from __future__ import annotations

from collections.abc import Sequence

from t2i_spatial.prompts.parser.chunks import (
    AND,
    COMMA,
    NP,
    STOP,
    Chunk,
)
from t2i_spatial.prompts.parser.coreference import Things
from t2i_spatial.prompts.parser.relation_phrases import RelationPhrase

# what the last noun phrase was
SUBJECT, GROUND, THEME, OWNED, OTHER = range(5)
END = Chunk(STOP, "")

NESTING = frozenset(["in", "on"])
"""Relations that may hold one inside the other ("a fish in a bowl on a table")."""


class ReadingState:
    """The chunks, the things found so far, and who is being spoken of.

    Attributes:
        subject, actor: of the clause, and of the verb or preposition being read.
        group, role: the last noun phrase and what it was.
        related, relation: subjects of the last relation phrase, and that phrase.
        host, owning: what "with" or "has" belongs to, and whether its phrase is being read.
        relative: what "that" or "who" stands for, until its verb comes.
        fronted: relations whose subject is yet to come ("on the mat is a cat").
        pending_place: a place in the picture whose object is yet to come.
        topic: the subject of the sentence before.
        after: kind of the chunk before, STOP at the beginning of a sentence.
    """

    def __init__(self, chunks: list[Chunk], quotes: Sequence[str]) -> None:
        self.chunks = chunks
        self.quotes = quotes
        self.things = Things()
        self.at = 0
        self.quoted = 0
        self.closes = _closing_lists(chunks)
        self.topic: list[int] = []
        self._clause()

    def _clause(self) -> None:
        """A new sentence."""
        self.subject: list[int] = []
        self.group: list[int] = []
        self.actor: list[int] = []
        self.relative: list[int] | None = None
        self.host: list[int] = []
        self.related: list[int] = []
        self.relation: RelationPhrase | None = None
        self.role = OTHER
        self.owning = False
        self.negated = False
        self.finite = False
        self.pending_place = ""
        self.place_done = False
        self.fronted: list[tuple[list[RelationPhrase], list[int]]] = []
        self.earlier: list[int] = []
        self.owned_directly = False
        self.shines = False
        self.part = False
        self.verb = ""
        self.after = STOP

    def _next(self, ahead: int = 0) -> Chunk:
        at = self.at + ahead
        return self.chunks[at] if at < len(self.chunks) else END

    def _kind(self, at: int) -> int:
        return self.chunks[at].kind if at < len(self.chunks) else STOP


def _closing_lists(chunks: Sequence[Chunk]) -> list[int]:
    """For every comma that continues a list of noun phrases: the index of its last one, else 0.

    "A cup, a plate and a fork": the comma's list ends with the fork.
    """
    count = len(chunks)
    closes = [0] * (count + 4)
    kinds = [chunk.kind for chunk in chunks] + [STOP] * 4
    for at in range(count - 1, -1, -1):
        if kinds[at] != COMMA or kinds[at + 1] != NP:
            continue
        if kinds[at + 2] == AND and kinds[at + 3] == NP:
            closes[at] = at + 3
        elif kinds[at + 2] == COMMA and kinds[at + 3] == AND and kinds[at + 4] == NP:
            closes[at] = at + 4
        elif kinds[at + 2] == COMMA and kinds[at + 3] == NP:
            closes[at] = closes[at + 2]
    return closes
