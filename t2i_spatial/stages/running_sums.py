"""Sums per prompt of tables that come piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import TypeVar

T = TypeVar("T", bound=Sized)


def keep_sum(sums: list[T], new: T, add: Callable[[T, T], T]) -> None:
    """Put a sum to those of earlier pieces, which are added up when they are no longer than it.

    So every prompt is added up a few times only, however many pieces there are, whether every piece
    has prompts of its own or all have the same.

    Args:
        sums: what is kept, longer ones first; changed in place. `total` adds up the rest.
    """
    sums.append(new)
    while len(sums) > 1 and len(sums[-2]) <= 2 * len(sums[-1]):
        last = sums.pop()
        sums[-1] = add(sums[-1], last)


def total(sums: list[T], add: Callable[[T, T], T]) -> T:
    """All that was kept, as one sum; there must be some."""
    while len(sums) > 1:
        last = sums.pop()
        sums[-1] = add(sums[-1], last)
    return sums[0]
