"""The one table of spatial relations: how each is spelled, told, mirrored, ordered and witnessed.

Everything else that knows about relations follows from these rows: the names that a scene may use
(`scene.canonical_relation`), what relations say about each other (`relation_algebra`), what the
parser listens for, how prompts are worded, sampled and drawn. What holds between boxes is a rule
of a protocol (`metrics.relation_rule`); a relation without one is *unsure* there.

A package of its own adds a relation by an entry point of the group `t2i_spatial.relations`, which
names a `Relation` or a module that calls `add_relation` (and, beside it, `metrics.relation_rule`).
Rows of others are read at the first look into the table, never while a module is being imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar, overload

from t2i_spatial.errors import InputError, nearest
from t2i_spatial.registry import Registry

Box = tuple[float, float, float, float]
Witness = Literal["boxes", "answers"]


@dataclass(frozen=True, slots=True)
class Relation:
    """One relation, in the viewer's frame (left is the left side of the picture).

    Attributes:
        name: canonical name, lower case.
        aliases: other spellings that say the same from the same end.
        reversed_aliases: spellings that say it from the other end ("worn by" of "wearing").
        wording: how prompts say it; the name when empty.
        inverse: A r B exactly when B `inverse` A; symmetric relations are their own.
        transitive: A r B and B r C entail A r C.
        entails: A r B entails A s B for these s.
        excludes: A r B and A s B cannot both hold, beyond what `axis` says.
        axis: the order it belongs to ("x", "y", "z", "size", "containment") and whether its
            subject comes first (-1), last (1) or level (0) there; no chain in one order may close.
        mirrored: the relation in the picture flipped left to right; itself when empty.
        ends: how many objects stand on the other side of it (2 for "between").
        drawn: whether it plainly holds of two boxes (x1, y1, x2, y2 as fractions of the picture),
            for witness layouts; those of this file are drawn by `prompts.witness_layout`.
        witness: what can show it: "boxes" where a box rule is meaningful, or only "answers".
    """

    name: str
    aliases: tuple[str, ...] = ()
    reversed_aliases: tuple[str, ...] = ()
    wording: str = ""
    inverse: str | None = None
    transitive: bool = False
    entails: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    axis: tuple[str, int] | None = None
    mirrored: str = ""
    ends: int = 1
    drawn: Callable[[Box, Box], bool] | None = None
    witness: Witness = "boxes"

    @property
    def symmetric(self) -> bool:
        """A r B exactly when B r A."""
        return self.inverse == self.name

    @property
    def words(self) -> str:
        """How a prompt says it.

        >>> RELATION_TABLE["left of"].words, RELATION_TABLE["above"].words
        ('to the left of', 'above')
        """
        return self.wording or self.name


class _Table(Registry[Relation]):
    """Rows by name in the order of registration; a spelling means one relation."""

    def __init__(self) -> None:
        super().__init__("relation", "t2i_spatial.relations", instance=Relation)
        self.spellings: dict[str, str] = {}

    def register(self, name: str) -> Callable[[Relation], Relation]:
        """Add a row; the entry point's name and the row's name are one."""
        add = super().register(name)

        def checked(entry: Relation) -> Relation:
            self._check_kind(name, entry)
            if entry.name != name:
                raise InputError(f"relation {entry.name!r} is registered as {name!r}")
            for spelling in (name, *entry.aliases, *entry.reversed_aliases):
                if spelling != " ".join(spelling.lower().split()):
                    raise InputError(f"relation {name!r}: {spelling!r} is not plain lower case")
                other = self.spellings.get(spelling, name)
                if other != name:
                    raise InputError(f"{spelling!r} means both {other!r} and {name!r}")
            add(entry)
            self.spellings |= dict.fromkeys((name, *entry.aliases, *entry.reversed_aliases), name)
            return entry

        return checked

    def named_by(self, spelling: str) -> Relation | None:
        """The row that a spelling belongs to, from either end."""
        self._load()
        name = self.spellings.get(spelling)
        return None if name is None else self._entries[name]

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(list(self._entries))

    def __len__(self) -> int:
        self._load()
        return len(self._entries)


RELATION_TABLE = _Table()
"""Every relation by its canonical name: those of this file first, then those of plugins."""


def add_relation(row: Relation) -> Relation:
    """Put a relation into the table.

    Raises:
        InputError: the name or a spelling is taken, or is not plain lower case.
    """
    return RELATION_TABLE.register(row.name)(row)


# -- the rows ---------------------------------------------------------------------------------

_ROWS = (
    Relation(
        "left of",
        (
            "to the left of",
            "on the left of",
            "on the left side of",
            "to the left side of",
            "at the left side of",
            "left side of",
        ),
        wording="to the left of",
        inverse="right of",
        transitive=True,
        axis=("x", -1),
        mirrored="right of",
    ),
    Relation(
        "right of",
        (
            "to the right of",
            "on the right of",
            "on the right side of",
            "to the right side of",
            "at the right side of",
            "right side of",
        ),
        wording="to the right of",
        inverse="left of",
        transitive=True,
        axis=("x", 1),
        mirrored="left of",
    ),
    Relation(
        "above",
        ("over", "on the top of", "at the top of"),
        inverse="below",
        transitive=True,
        axis=("y", -1),
    ),
    Relation(
        "below",
        ("on the bottom of", "down below", "at the bottom of", "in the bottom of"),
        inverse="above",
        transitive=True,
        axis=("y", 1),
    ),
    Relation("on", ("on top of", "atop", "upon", "onto", "on the surface of"), axis=("y", -1)),
    Relation("under", ("beneath", "underneath"), entails=("below",), axis=("y", 1)),
    Relation(
        "in",
        ("inside", "inside of", "within", "into"),
        transitive=True,
        axis=("containment", -1),
    ),
    Relation(
        "next to",
        (
            "beside",
            "by the side of",
            "on side of",
            "on the side of",
            "adjacent to",
            "alongside",
            "at the side of",
            "to the side of",
            "on one side of",
            "side by side with",
        ),
        inverse="next to",
        entails=("near",),
    ),
    Relation(
        "near",
        ("close to", "nearby", "by", "close by", "near to", "in the vicinity of"),
        inverse="near",
    ),
    Relation(
        "in front of",
        ("in the front of", "at the front of"),
        inverse="behind",
        transitive=True,
        axis=("z", -1),
    ),
    Relation(
        "behind",
        (
            "hidden by",
            "in the back of",
            "in back of",
            "at the back of",
            "hidden behind",
            "obscured by",
            "occluded by",
            "blocked by",
            "concealed by",
        ),
        inverse="in front of",
        transitive=True,
        axis=("z", 1),
    ),
    Relation("between", ("in between",), ends=2),
    Relation(
        "larger than",
        ("bigger than", "greater than"),
        inverse="smaller than",
        transitive=True,
        axis=("size", 1),
    ),
    Relation(
        "smaller than",
        ("tinier than", "littler than"),
        inverse="larger than",
        transitive=True,
        axis=("size", -1),
    ),
    Relation(
        "same size as",
        (
            "the same size as",
            "of the same size as",
            "as large as",
            "as big as",
            "as small as",
            "equal in size to",
        ),
        wording="the same size as",
        inverse="same size as",
        axis=("size", 0),
    ),
    Relation(
        "far from",
        ("far away from", "a long way from", "distant from"),
        inverse="far from",
        excludes=("next to", "near", "touching", "on", "in"),
    ),
    Relation(
        "touching",
        ("in contact with", "in touch with"),
        inverse="touching",
        entails=("near",),
    ),
    Relation(
        "surrounding",
        ("all around", "encircling", "enclosing"),
        ("surrounded by", "encircled by", "enclosed by"),
        axis=("containment", 1),
    ),
    Relation("wearing", ("dressed in", "clad in", "clothed in"), ("worn by",)),
    # what boxes cannot show: a protocol of boxes says "unsure"
    Relation(
        "facing", ("turned towards", "turned toward"), excludes=("facing away from",),
        witness="answers",
    ),
    Relation(
        "facing away from",
        ("turned away from", "turning away from", "looking away from"),
        excludes=("facing", "looking at"),
        witness="answers",
    ),
    Relation(
        "looking at",
        ("gazing at", "staring at", "looking towards", "looking toward"),
        excludes=("facing away from",),
        witness="answers",
    ),
    Relation("pointing at", ("pointing to", "pointing towards"), witness="answers"),
    Relation(
        "leaning against",
        ("leaning on", "leaned against", "leant against", "propped against", "resting against"),
        witness="answers",
    ),
    Relation(
        "attached to",
        ("fastened to", "fixed to", "stuck to", "tied to", "connected to"),
        witness="answers",
    ),
    Relation("hanging from", ("suspended from", "dangling from"), witness="answers"),
    Relation(
        "across from",
        ("opposite", "opposite to", "opposite of", "on the opposite side of"),
        inverse="across from",
        witness="answers",
    ),
    Relation("at the edge of", ("on the edge of",), witness="answers"),
    Relation("at the corner of", ("in the corner of", "on the corner of"), witness="answers"),
    Relation("holding", ("gripping", "clutching", "grasping"), ("held by",), witness="answers"),
    Relation("riding", ("riding on",), ("ridden by",), witness="answers"),
    Relation("covering", (), ("covered by", "covered with", "covered in"), witness="answers"),
)  # fmt: skip
for _row in _ROWS:
    add_relation(_row)


# -- views ------------------------------------------------------------------------------------
# Live views and no copies: a copy made while modules are imported would miss rows of plugins.

V = TypeVar("V")


class _Names(Sequence[str]):
    """The canonical names, in the order of the table."""

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return tuple(RELATION_TABLE)[index]

    def __len__(self) -> int:
        return len(RELATION_TABLE)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in RELATION_TABLE

    def __iter__(self) -> Iterator[str]:
        return iter(RELATION_TABLE)

    def __repr__(self) -> str:
        return repr(tuple(self))


class _Column(Mapping[str, V], Generic[V]):
    """One property of the relations that have it."""

    def __init__(self, value: Callable[[Relation], V | None]) -> None:
        self._value = value

    def __getitem__(self, name: str) -> V:
        value = self._value(RELATION_TABLE[name]) if name in RELATION_TABLE else None
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return (name for name in RELATION_TABLE if self._value(RELATION_TABLE[name]) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))


class RelationSet(Set[str]):
    """The relations that a condition picks, plugins' included."""

    def __init__(self, picks: Callable[[Relation], bool]) -> None:
        self._picks = picks

    def __contains__(self, name: object) -> bool:
        return name in RELATIONS and self._picks(RELATION_TABLE[str(name)])

    def __iter__(self) -> Iterator[str]:
        return (name for name in RELATION_TABLE if self._picks(RELATION_TABLE[name]))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @classmethod
    def _from_iterable(cls, names: Iterable[str]) -> frozenset[str]:  # type: ignore[override]
        return frozenset(names)

    def __repr__(self) -> str:
        return repr(set(self))


class _Aliases(Mapping[str, str]):
    """Spelling -> canonical relation."""

    def __init__(self, column: str) -> None:
        self._column = column

    def _all(self) -> dict[str, str]:
        rows = (RELATION_TABLE[name] for name in RELATION_TABLE)
        return {a: row.name for row in rows for a in getattr(row, self._column)}

    def __getitem__(self, spelling: str) -> str:
        row = RELATION_TABLE.named_by(spelling)
        if row is None or spelling not in getattr(row, self._column):
            raise KeyError(spelling)
        return row.name

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return repr(self._all())


RELATIONS: Sequence[str] = _Names()
"""The canonical relations."""

RELATION_ALIASES: Mapping[str, str] = _Aliases("aliases")
"""Other spellings -> canonical relation (lower case)."""

REVERSED_ALIASES: Mapping[str, str] = _Aliases("reversed_aliases")
"""Spellings that say a relation from its other end -> canonical relation: "a coat worn by a man"
is "a man wearing a coat"."""

INVERSE: Mapping[str, str] = _Column(lambda row: row.inverse)
"""Relations whose converse the vocabulary can say: A r B exactly when B INVERSE[r] A."""

ENTAILS: Mapping[str, frozenset[str]] = _Column(lambda row: frozenset(row.entails) or None)
"""A r B entails A s B for these s (`r` itself left out)."""

AXES: Mapping[str, tuple[str, int]] = _Column(lambda row: row.axis)
"""The order a relation belongs to, and whether its subject comes first (-1), last (1) or level (0).

Image axes: x to the right, y down, z away from the viewer. No chain in one order may close."""

WORDINGS: Mapping[str, str] = _Column(lambda row: row.words)
"""How a prompt says a relation."""


def canonical_relation(phrase: str) -> str:
    """Map a relation phrase onto the canonical vocabulary.

    >>> canonical_relation("to the left of"), canonical_relation("Beside")
    ('left of', 'next to')

    Raises:
        InputError: the phrase is not a known relation.
    """
    key = " ".join(phrase.lower().split())
    if key in RELATION_TABLE:
        return key
    if key in RELATION_ALIASES:
        return RELATION_ALIASES[key]
    raise InputError(f"unknown relation {phrase!r}; {nearest(key, RELATIONS)}")


def relation_row(name: str) -> Relation:
    """The row of a relation or alias.

    Raises:
        InputError: not a known relation.
    """
    return RELATION_TABLE[canonical_relation(name)]
