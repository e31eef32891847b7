"""All pairs of 64-bit hashes that differ in few bits, in about linear time.

The bits are cut into m bands. Two hashes that differ in at most d bits agree in at least m - d of
them, so they meet in the table of some m - d bands. Each table is sorted once; what shares a key
there is compared. More bands mean more tables with longer keys, so for more hashes more bands are
taken, and buckets stay small (multi-index hashing; Norouzi et al. 2012 with d + 1 bands).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BITS = 64
BYTES_PER_ROW = 120
"""Of memory while a table is sorted: keys, their order, hashes in it, and ends of the buckets."""
BYTES_PER_PAIR = 256
"""Of memory while a pair is compared."""
_SORT, _COMPARE = 20.0, 1.0
"""Cost of sorting a row beside comparing a pair, measured; it decides the number of bands."""
_PER_ROW = 256
"""Comparisons per row beyond which it is worth while to decide a part of the rows first."""

Rows = NDArray[np.int64]
Pairs = tuple[Rows, Rows]


@dataclass(frozen=True)
class Hashes:
    """Hashes with the group that each belongs to; only hashes of one group are compared.

    Attributes:
        values: (n,) uint64.
        groups: (n,) integers.
        distance: most bits in which two may differ.
        memory: bytes that a search may take beside these arrays.
    """

    values: NDArray[np.uint64]
    groups: NDArray[np.int64]
    distance: int
    memory: int

    def bands(self, rows: Rows) -> int:
        """The number of bands that is cheapest for these rows."""
        _, counts = np.unique(self.groups[rows], return_counts=True)
        pairs = float((counts.astype(np.float64) ** 2).sum() / 2)

        def cost(bands: int) -> float:
            tables = math.comb(bands, self.distance)
            shared = 2.0 ** (-BITS * (bands - self.distance) / max(1, bands))
            return float(tables * (len(rows) * _SORT + pairs * shared * _COMPARE))

        return min(range(self.distance, self.distance + 5), key=cost)

    def within(self, rows: Rows, most: int) -> Pairs | None:
        """All close pairs among `rows` (ascending) as (later, earlier), in no order.

        `None` when there are more than `most` of them, or when finding them would mean to compare
        far more than there are rows.
        """
        found: list[Pairs] = []
        compared = total = 0
        for table in self._tables(rows):
            for order, keys in self._parts(table, rows):
                place = rows[order]
                # hashes as they lie in the buckets: what is compared is near in memory, then
                values, groups = self.values[place], self.groups[place]
                starts = np.arange(1, len(keys) + 1)
                ends = _ends(keys)
                compared += int((ends - starts).sum())
                if compared > max(most, _PER_ROW * len(rows)):
                    return None
                for left, right in self._expanded(starts, ends):
                    close = self._close(table, values[left] ^ values[right])
                    close &= groups[left] == groups[right]
                    a, b = place[left[close]], place[right[close]]
                    found.append((np.maximum(a, b), np.minimum(a, b)))
                    total += len(a)
                    if total > most:
                        return None
        return _joined(found)

    def between(self, rows: Rows, others: Rows) -> Iterator[Pairs]:
        """All close pairs of one of `rows` and one of `others`, in parts that fit into memory."""
        if len(rows) == 0 or len(others) == 0:
            return
        for table in self._tables(np.concatenate([rows, others])):
            keys = self._keys(table, others)
            order = np.argsort(keys)
            keys = keys[order]
            wanted = self._keys(table, rows)
            starts = np.searchsorted(keys, wanted, side="left")
            ends = np.searchsorted(keys, wanted, side="right")
            for left, right in self._expanded(starts, ends):
                a, b = rows[left], others[order[right]]
                close = self._close(table, self.values[a] ^ self.values[b])
                close &= self.groups[a] == self.groups[b]
                yield a[close], b[close]

    def _tables(self, rows: Rows) -> Iterator[_Table]:
        bands = self.bands(rows)
        cuts = [BITS * k // max(1, bands) for k in range(bands + 1)]
        masks = tuple(((1 << (high - low)) - 1) << low for low, high in itertools.pairwise(cuts))
        for chosen in itertools.combinations(range(bands), bands - self.distance):
            yield _Table(masks, chosen)

    def _parts(self, table: _Table, rows: Rows) -> Iterator[tuple[Rows, NDArray[np.uint64]]]:
        """Places in `rows` sorted by their key in a table, and the keys, as memory allows."""
        keys = self._keys(table, rows)
        parts = -(-len(rows) * BYTES_PER_ROW // max(1, self.memory))
        for part in range(parts):
            chosen = (
                np.flatnonzero(keys % np.uint64(parts) == part)
                if parts > 1
                else np.arange(len(keys))
            )
            place, sorted_keys = _sorted(keys[chosen])
            yield chosen[place], sorted_keys

    def _keys(self, table: _Table, rows: Rows) -> NDArray[np.uint64]:
        """Equal for hashes of one group that agree in the bands of a table, else hardly ever."""
        with np.errstate(over="ignore"):
            group = self.groups[rows].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
            mixed = (self.values[rows] & np.uint64(table.mask)) ^ group
            mixed ^= mixed >> np.uint64(31)
            mixed *= np.uint64(0xBF58476D1CE4E5B9)
            keys: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(29))
            return keys

    def _expanded(self, starts: Rows, ends: Rows) -> Iterator[Pairs]:
        """For each place k the pairs (k, starts[k]) to (k, ends[k] - 1), in parts."""
        most = max(1, self.memory // BYTES_PER_PAIR)
        counts = ends - starts
        places = np.flatnonzero(counts)
        upto = np.cumsum(counts[places])
        low = 0
        while low < len(places):
            before = int(upto[low - 1]) if low else 0
            high = max(low + 1, int(np.searchsorted(upto, before + most, side="right")))
            part = places[low:high]
            place = np.repeat(part, counts[part])
            first = np.repeat(starts[part] - (upto[low:high] - counts[part]) + before, counts[part])
            yield place, first + np.arange(len(place))
            low = high

    def _close(self, table: _Table, differ: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which pairs of one bucket are close and are found in no earlier table, too.

        Args:
            differ: the bits in which the two of each pair differ.
        """
        close: NDArray[np.bool_] = np.bitwise_count(differ) <= self.distance
        for band in range(table.chosen[-1] if table.chosen else 0):
            if band not in table.chosen:  # an earlier table has it in the place of a later band
                close &= (differ & np.uint64(table.masks[band])) != 0
        return close


@dataclass(frozen=True)
class _Table:
    masks: tuple[int, ...]
    chosen: tuple[int, ...]

    @property
    def mask(self) -> int:
        return sum(self.masks[band] for band in self.chosen)


def _sorted(keys: NDArray[np.uint64]) -> tuple[Rows, NDArray[np.uint64]]:
    """Places of keys in their order, and the keys without their last bits.

    A key and its place are one number, so that nothing is fetched from memory out of order: 1.6
    times as quick as an argsort of ten million keys. What it costs are bits of the key; two that
    differ in those only are compared for nothing.
    """
    bits = np.uint64(max(1, (len(keys) - 1).bit_length()))
    low = (np.uint64(1) << bits) - np.uint64(1)
    both = (keys & ~low) | np.arange(len(keys), dtype=np.uint64)
    both.sort()
    return (both & low).astype(np.int64), both >> bits


def _ends(keys: NDArray[np.uint64]) -> Rows:
    """For each of the sorted keys the place after the last one that is equal."""
    last = np.append(np.flatnonzero(keys[1:] != keys[:-1]) + 1, len(keys))
    ends: Rows = np.repeat(last, np.diff(last, prepend=0))
    return ends


def _joined(parts: list[Pairs]) -> Pairs:
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate([a for a, _ in parts]), np.concatenate([b for _, b in parts])
