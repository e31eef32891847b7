"""Numbers that file names and records carry: natural order, and which image of its prompt it is."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

_DIGITS = re.compile(r"(\d+)")


def natural_key(name: str) -> list[tuple[int, int | str]]:
    """A sort key under which numbers in names count as numbers.

    >>> sorted(["10.txt", "9.txt", "1.txt"], key=natural_key)
    ['1.txt', '9.txt', '10.txt']
    """
    parts = _DIGITS.split(name)
    key: list[tuple[int, int | str]] = [
        (0, int(part)) if part.isdecimal() else (1, part.casefold()) for part in parts if part
    ]
    return [*key, (2, name)]


@dataclass(frozen=True)
class Grid:
    """What the sample numbers of a set of images are.

    Attributes:
        kind: "counted" (0, 1, 2, … or 1, 2, 3, … in every prompt), "shared" (the same numbers in
            every prompt, seeds for instance) or "running" (numbers of images, each used once).
        numbers: the distinct numbers in order; empty for "running".
    """

    kind: str
    numbers: tuple[int, ...] = ()


def sample_grid(images: int, prompts: int, most: int, numbers: Sequence[int]) -> Grid:
    """Whether sample numbers count images within their prompt.

    Numbers that would ask for many more images than there are cannot be counts: a global index or
    random seeds are used once each, chosen seeds by all prompts. A gap in counted numbers is an
    image that is missing, so in doubt numbers are counts.

    Args:
        images: how many there are.
        prompts: how many prompts have any.
        most: images of the prompt that has most.
        numbers: the distinct sample numbers.

    >>> sample_grid(6, 6, 1, range(6)).kind, sample_grid(8, 2, 4, [42, 43, 44, 45]).kind
    ('running', 'shared')
    >>> sample_grid(7, 2, 4, range(4)).kind
    'counted'
    """
    ordered = tuple(sorted(numbers))
    if not ordered:
        return Grid("counted")
    first = min(ordered[0], 1)
    span = ordered[-1] - first + 1
    if first >= 0 and span <= most:
        return Grid("counted", ordered)
    used_once = len(ordered) == images and images >= 3
    sparse = len(ordered) > 2 * most and images < 0.25 * len(ordered) * prompts
    if prompts > 1 and (used_once or sparse):
        return Grid("running")
    if ordered[0] < 0 or span > 4 * len(ordered):
        return Grid("shared", ordered)
    return Grid("counted", ordered)


def rank_samples(keys: Sequence[tuple[str, int]]) -> tuple[list[int], str]:
    """The sample of every image of a set, and what was done, for a note ("" when nothing).

    Args:
        keys: prompt id and the number the image came with; a key may stand twice.
    """
    counts = Counter(prompt for prompt, _ in set(keys))
    given = [number for _, number in keys]
    images = sum(counts.values())
    grid = sample_grid(images, len(counts), max(counts.values(), default=0), list(set(given)))
    if grid.kind == "counted":
        return given, ""
    if grid.kind == "shared":
        places = {number: rank for rank, number in enumerate(grid.numbers)}
        told = (
            f"the sample numbers are {_some(grid.numbers)} in all prompts; they are read as "
            f"samples 0 to {len(places) - 1}"
        )
        return [places[number] for number in given], told
    within: dict[str, set[int]] = defaultdict(set)
    for prompt, number in keys:
        within[prompt].add(number)
    ranks = {
        (prompt, number): rank
        for prompt, own in within.items()
        for rank, number in enumerate(sorted(own))
    }
    told = (
        f"the sample numbers ({_some(sorted(set(given)))}) run over all images and not within each "
        f"prompt; they are read in their order as samples 0 to {max(counts.values()) - 1} of their "
        "prompts"
    )
    return [ranks[key] for key in keys], told


def _some(numbers: Sequence[int]) -> str:
    shown = [*map(str, numbers[:3]), "…"] if len(numbers) > 4 else [*map(str, numbers)]
    return ", ".join([*shown, str(numbers[-1])] if len(numbers) > 4 else shown)
