"""Which images are meant, in which order, and how many there are of each kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2i_spatial.errors import InputError, nearest
from t2i_spatial.view.index import Codes, Column, Floats, Index, Rows

Mask = NDArray[np.bool_]

FACETS = (
    "flip",
    "verdict",
    "status",
    "relation",
    "object",
    "tag",
    "kept",
    "filter",
    "witnesses",
)
"""Groupings in the order in which they are shown; a run need not have all of them."""
SORTS = (
    "prompt",
    "margin",
    "-margin",
    "closest",
    "value",
    "-value",
    "flips",
    "disagreement",
    "random",
)
MOST_MEMBERS = 60
"""Members of one facet that are listed, the most frequent ones; the chosen ones always are."""
SEED = 0


@dataclass(frozen=True)
class Range:
    """Bounds, both included; `None` is open."""

    low: float | None = None
    high: float | None = None

    def holds(self, values: Floats) -> Mask | None:
        """Which values lie inside; `None` when all do."""
        if self.low is None and self.high is None:
            return None
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        return (values >= low) & (values <= high)


OPEN = Range()


@dataclass(frozen=True)
class Query:
    """What is looked for.

    Attributes:
        chosen: facet -> names, of which an image must have one.
        words: parts of the prompt's text, id or tag that must all occur.
        margin, value: bounds.
        sort: one of `SORTS`.
    """

    chosen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    margin: Range = OPEN
    value: Range = OPEN
    sort: str = "prompt"

    @property
    def key(self) -> tuple[Any, ...]:
        """The same for the same question."""
        chosen = tuple(sorted((k, tuple(sorted(v))) for k, v in self.chosen.items()))
        return (chosen, self.words, self.margin, self.value, self.sort)


def parse_query(items: Iterable[tuple[str, str]]) -> Query:
    """A query from the pairs of a URL; what is none of ours is passed over.

    >>> parse_query([("verdict", "wrong"), ("q", "a Cat"), ("margin", "..0.1")]).words
    ('a', 'cat')

    Raises:
        InputError: an unknown order, or bounds that are no numbers.
    """
    chosen: dict[str, tuple[str, ...]] = {}
    others: dict[str, str] = {}
    for name, text in items:
        if name in FACETS:
            chosen[name] = (*chosen.get(name, ()), text)
        else:
            others[name] = text
    sort = others.get("sort") or "prompt"
    if sort not in SORTS:
        raise InputError(f"unknown order {sort!r}; {nearest(sort, SORTS)}")
    words = tuple(dict.fromkeys(others.get("q", "").lower().split()))
    bounds = {name: _range(name, others.get(name, "")) for name in ("margin", "value")}
    return Query(chosen, words, bounds["margin"], bounds["value"], sort)


def _range(name: str, text: str) -> Range:
    if not text:
        return Range()
    low, dots, high = text.partition("..")
    try:
        found = Range(float(low) if low else None, float(high) if high else None)
    except ValueError:
        dots = ""
    if not dots:
        raise InputError(f"{name} must be bounds such as -0.1..0.3, got {text!r}")
    return found


@dataclass(frozen=True, eq=False)
class Answer:
    """The images that a query means.

    Attributes:
        rows: of the index, in the asked order.
        total: images in all.
        facets: of each grouping the members with their counts, were this facet not chosen.
    """

    rows: Rows
    total: int
    facets: list[dict[str, Any]]


def answer(index: Index, query: Query, more: Mapping[str, Column] | None = None) -> Answer:
    """Find, order and count.

    Args:
        more: groupings beside those of the index ("flip", "witnesses").

    Raises:
        InputError: a facet or an order that this run does not have.
    """
    columns = {**index.columns, **(more or {})}
    groups = index.prompts.groups
    for name in query.chosen:
        if name not in columns and name not in groups:
            raise InputError(f"there is no {name} to choose from here")
    base = _base(index, query)
    masks = {
        name: _member_mask(index, columns, name, chosen) for name, chosen in query.chosen.items()
    }
    facets = []
    for name in FACETS:
        others = base
        for other, mask in masks.items():
            if other != name:
                others = others & mask
        if name in columns:
            counts = np.bincount(columns[name].codes[others] + 1)[1:]
            facets.append(_facet(name, columns[name].names, counts, query.chosen.get(name, ())))
        elif name in groups and groups[name].names:
            group = groups[name]
            images = _per_prompt(index, others)
            counts = np.bincount(group.codes, weights=images[group.prompts])
            facets.append(_facet(name, group.names, counts, query.chosen.get(name, ())))
    matched = base
    for mask in masks.values():
        matched = matched & mask
    rows = np.flatnonzero(matched)
    return Answer(_ordered(index, rows, query.sort, columns), len(index), facets)


def _base(index: Index, query: Query) -> Mask:
    """The images that the words and bounds leave."""
    mask = np.ones(len(index), dtype=bool)
    if query.words:
        fits = np.ones(len(index.prompts), dtype=bool)
        for word in query.words:
            fits &= index.prompts.search.str.contains(word, literal=True).to_numpy()
        mask &= _of_prompts(index, fits)
    for bounds, values in ((query.margin, index.margin), (query.value, index.value)):
        inside = bounds.holds(values)
        if inside is not None:
            mask &= inside
    return mask


def _member_mask(
    index: Index, columns: Mapping[str, Column], name: str, chosen: tuple[str, ...]
) -> Mask:
    if name in columns:
        column = columns[name]
        wanted = np.array([member in chosen for member in column.names] + [False])
        return np.asarray(wanted[column.codes])
    group = index.prompts.groups[name]
    wanted = np.array([member in chosen for member in group.names] + [False])
    fits = np.zeros(len(index.prompts), dtype=bool)
    fits[group.prompts[wanted[group.codes]]] = True
    return _of_prompts(index, fits)


def _of_prompts(index: Index, fits: Mask) -> Mask:
    """Images of the prompts that fit; those of unknown prompts do not."""
    return np.asarray(np.append(fits, False)[index.prompt])


def _per_prompt(index: Index, mask: Mask) -> Codes:
    places = index.prompt[mask]
    return np.bincount(places[places >= 0], minlength=len(index.prompts)).astype(np.int32)


def _facet(
    name: str, names: tuple[str, ...], counts: NDArray[Any], chosen: tuple[str, ...]
) -> dict[str, Any]:
    padded = np.zeros(len(names), dtype=np.int64)
    padded[: len(counts)] = counts
    order = np.argsort(-padded, kind="stable")
    listed = [int(k) for k in order if padded[k] or names[k] in chosen]
    shown = [k for n, k in enumerate(listed) if n < MOST_MEMBERS or names[k] in chosen]
    members = [{"name": names[k], "count": int(padded[k]), "chosen": names[k] in chosen}
               for k in shown]  # fmt: skip
    gone = [
        {"name": member, "count": 0, "chosen": True} for member in chosen if member not in names
    ]
    return {"name": name, "members": members + gone, "more": len(listed) - len(shown)}


def _ordered(index: Index, rows: Rows, sort: str, columns: Mapping[str, Column]) -> Rows:
    if sort == "prompt":
        return rows
    if sort == "random":
        return np.random.default_rng(SEED).permutation(rows)
    if sort in ("flips", "disagreement"):
        name = {"flips": "flip", "disagreement": "witnesses"}[sort]
        if name not in columns:
            raise InputError(f"there is nothing to order by {sort} here")
        by = columns[name].codes[rows].astype(np.float64)
        by[by < 0] = np.nan
    elif sort == "closest":
        by = np.abs(index.margin[rows])
    else:
        by = getattr(index, sort.removeprefix("-"))[rows]
        by = -by if sort.startswith("-") else by
    return np.asarray(rows[np.argsort(by, kind="stable")])  # not-a-numbers come last
