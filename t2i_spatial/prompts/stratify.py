"""A small sample of a prompt set that is balanced over relations and over objects."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from t2i_spatial.errors import InputError
from t2i_spatial.scene import Prompt

_CANDIDATES = 64


def sample_prompts(prompts: Sequence[Prompt], limit: int, seed: int = 0) -> list[Prompt]:
    """`limit` prompts, as even as possible over relations and over objects in each role.

    Every stratum (the relations of a scene, or the tag where there are none) gives the same
    number of prompts until it runs out. Within a stratum each draw takes, of a seeded random
    handful, the prompt whose objects were drawn least so far, as first or second object.

    Returns:
        The sample in the order of `prompts`; all of them when `limit` is not smaller than that.
        The same seed and prompts give the same sample on every machine.

    Raises:
        InputError: `limit` is below 1.

    >>> from collections import Counter
    >>> from t2i_spatial.prompts import sr2d
    >>> sorted(Counter(p.tag for p in sample_prompts(sr2d(relations_only=True), 8)).items())
    [('above', 2), ('below', 2), ('left of', 2), ('right of', 2)]
    """
    if limit < 1:
        raise InputError(f"limit must be at least 1, got {limit}")
    if limit >= len(prompts):
        return list(prompts)
    rng = random.Random(seed)
    strata: dict[tuple[str, ...], list[int]] = {}
    for index, prompt in enumerate(prompts):
        strata.setdefault(_stratum(prompt), []).append(index)
    order = sorted(strata)
    rng.shuffle(order)
    used: Counter[tuple[str, int]] = Counter()
    chosen: list[int] = []
    while len(chosen) < limit:
        for key in order:
            members = strata[key]
            if members and len(chosen) < limit:
                chosen.append(_draw(members, prompts, used, rng))
    return [prompts[index] for index in sorted(chosen)]


def _stratum(prompt: Prompt) -> tuple[str, ...]:
    if prompt.scene is not None and prompt.scene.relations:
        return tuple(sorted(relation.relation for relation in prompt.scene.relations))
    return ("", prompt.tag or "")


def _draw(
    members: list[int],
    prompts: Sequence[Prompt],
    used: Counter[tuple[str, int]],
    rng: random.Random,
) -> int:
    best, best_cost = -1, (0, 0)
    for _ in range(min(_CANDIDATES, len(members))):
        place = rng.randrange(len(members))
        cost = _cost(prompts[members[place]], used)
        if best < 0 or cost < best_cost:
            best, best_cost = place, cost
    index = members[best]
    members[best] = members[-1]
    members.pop()
    for role, name in _roles(prompts[index]):
        used[name, role] += 1
        used[name, -1] += 1
    return index


def _cost(prompt: Prompt, used: Counter[tuple[str, int]]) -> tuple[int, int]:
    roles = _roles(prompt)
    return sum(used[name, -1] for _, name in roles), sum(used[name, role] for role, name in roles)


def _roles(prompt: Prompt) -> list[tuple[int, str]]:
    if prompt.scene is None:
        return []
    return [(min(place, 1), spec.name) for place, spec in enumerate(prompt.scene.objects)]
