"""The random order in which prompts are judged when one may stop early."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def prompt_order(prompt_ids: Iterable[str], seed: int = 0) -> list[str]:
    """The ids in a random order that depends on the set of ids and the seed alone.

    Raises:
        ValueError: an id occurs twice.

    >>> prompt_order(["c", "a", "b"], seed=1) == prompt_order(["a", "b", "c"], seed=1)
    True
    """
    ids = sorted(prompt_ids)
    if len(set(ids)) != len(ids):
        raise ValueError("prompt ids must be unique")
    return [ids[k] for k in np.random.default_rng(seed).permutation(len(ids))]
