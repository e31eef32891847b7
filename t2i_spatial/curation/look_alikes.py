"""Which images look like an earlier one that stays: exact, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from t2i_spatial.curation.close_hashes import Hashes, Pairs, Rows

SIDE = 16
"""Side of the colour thumbnail that is kept of every image."""

PLACE = 48.0
"""Largest change of colour in a place of the thumbnail. 150 rendered scenes of 64 x 64 pixels
changed by at most 46 when they were re-encoded (JPEG 60), resized, made noisy or 10 % brighter;
two discs of 9 % of the width, exchanged, by at least 50 for each pair of ten basic colours."""

_SMALL = 64
_BYTES_PER_ALIKE = 512
"""Of memory while look-alikes are gone through in order."""
_PAIRS_PER_ROW = 32
_BYTES_PER_THUMBNAIL = 24_576
"""Of memory while one is compared."""


@dataclass(frozen=True)
class Sameness:
    """What "looks the same" means; see `filters.near_duplicates`."""

    distance: int
    colour: float
    place: float

    def __call__(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """(k,) for two stacks of thumbnails (k, SIDE, SIDE, 3)."""
        first, second = a.astype(np.int16), b.astype(np.int16)
        differ = first - second
        same = np.abs(differ).mean(axis=(1, 2, 3))
        mirrored = np.abs(first - second[:, :, ::-1]).mean(axis=(1, 2, 3))
        local = np.abs(differ - differ.mean(axis=(1, 2), keepdims=True)).max(axis=(1, 2, 3))
        result: NDArray[np.bool_] = (
            (same <= self.colour) & (same <= mirrored) & (local <= self.place)
        )
        return result


def first_look_alikes(
    hashes: NDArray[np.uint64],
    thumbnails: NDArray[np.uint8],
    same: Sameness,
    *,
    groups: NDArray[np.int64],
    pixels: NDArray[np.int64] | None,
    memory: int,
) -> NDArray[np.int64]:
    """For each image the first earlier one that stays and looks the same, or -1.

    Args:
        groups: (n,); images of two groups are the same only if they have the same `pixels`.
        pixels: (n,) or `None`: equal pixels are not looked for.
        memory: bytes, beside the arguments.
    """
    search = _Search(
        Hashes(hashes, groups, same.distance, memory),
        thumbnails,
        same,
        _shared(pixels),
        np.full(len(hashes), -1, np.int64),
        {},
        max(1024, memory // _BYTES_PER_ALIKE),
    )
    search.settle(np.arange(len(hashes)))
    return search.first


def _shared(pixels: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    """A number for the pixels that several images have, -1 for those of one image only."""
    if pixels is None:
        return None
    _, inverse, counts = np.unique(pixels, return_inverse=True, return_counts=True)
    return np.where(counts[inverse] > 1, inverse, -1)


@dataclass
class _Search:
    hashes: Hashes
    thumbnails: NDArray[np.uint8]
    same: Sameness
    shared: NDArray[np.int64] | None
    first: NDArray[np.int64]
    stays: dict[int, int]
    """Of pixels that several images have: the image that stays."""
    most_pairs: int

    def settle(self, rows: Rows) -> None:
        """Decide `rows` (ascending), which look like no earlier image that stays.

        Many look-alikes make very many pairs. Then the first half is decided alone; what looks
        like one that stays of it is out, and need not be compared with anything else.
        """
        most = min(self.most_pairs, max(_SMALL**2, _PAIRS_PER_ROW * len(rows)))
        pairs = self.hashes.within(rows, most)
        if pairs is not None:
            self._decide(rows, *self._alike(pairs))
            return
        left, right = np.array_split(rows, 2)
        self.settle(left)
        stay = left[self.first[left] < 0]
        for part in self.hashes.between(right, stay):
            later, earlier = self._alike(part)
            known = self.first[later]
            self.first[later] = np.where(known < 0, earlier, known)  # any, to know they are out
            np.minimum.at(self.first, later, earlier)
        self.settle(right[self.first[right] < 0])

    def _decide(self, rows: Rows, later: Rows, earlier: Rows) -> None:
        """Go through the images in order: who looks like one that stays is out."""
        like: dict[int, list[int]] = {}
        order = np.lexsort((earlier, later))
        for row, other in zip(later[order].tolist(), earlier[order].tolist(), strict=True):
            like.setdefault(row, []).append(other)
        asked = later if self.shared is None else [*later, *rows[self.shared[rows] >= 0]]
        for row in np.unique(np.asarray(asked, np.int64)).tolist():
            twin = -1 if self.shared is None else int(self.shared[row])
            for other in like.get(row, ()):
                if self.first[other] < 0:
                    self.first[row] = other
                    break
            else:
                if twin >= 0:
                    self.first[row] = self.stays.get(twin, -1)
                    self.stays.setdefault(twin, row)

    def _alike(self, pairs: Pairs) -> Pairs:
        """Those of the pairs that also look the same."""
        later, earlier = pairs
        keep = np.zeros(len(later), bool)
        at_once = max(64, min(4096, self.hashes.memory // _BYTES_PER_THUMBNAIL))
        for start in range(0, len(later), at_once):
            part = slice(start, start + at_once)
            keep[part] = self.same(self.thumbnails[later[part]], self.thumbnails[earlier[part]])
        return later[keep], earlier[keep]
