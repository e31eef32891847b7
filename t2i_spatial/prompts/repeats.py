"""Prompts that stand several times in a file: one row per question, or one line per image."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from t2i_spatial.errors import InputError
from t2i_spatial.progress import note
from t2i_spatial.prompts.readers import numbered
from t2i_spatial.scene import Prompt

REPEATED_AS = "repeated_as"
"""Metadata key: the ids that the further lines of a merged prompt would have had."""
CHOICES = ("auto", "merge", "keep")


def merge_repeats(prompts: Sequence[Prompt], numbers: Sequence[int], repeated: str) -> list[Prompt]:
    """Each prompt once, where the file repeats them.

    - Rows of one id and text that say different things of it (one row per question) are one prompt;
      what differs becomes a list in its metadata.
    - "auto": where every prompt stands equally often and has no id of its own (one line per image,
      as in flow_grpo's metadata), its lines are samples of one prompt. It keeps the id of its
      first line, and those of the others in `metadata["repeated_as"]`. Texts that only some lines
      repeat stay prompts of their own.
    - "merge": equal texts are one prompt, whatever their ids.
    - "keep": every line is a prompt.

    Args:
        numbers: 0-based number in the file of every prompt.

    Raises:
        InputError: another choice.
    """
    if repeated not in CHOICES:
        raise InputError(f"repeated must be one of {', '.join(CHOICES)}, got {repeated!r}")
    if repeated == "keep":
        return list(prompts)
    rows = _question_rows(prompts, numbers)
    groups: dict[Any, list[Prompt]] = defaultdict(list)
    for prompt in rows:
        groups[prompt.text, prompt.scene, prompt.tag].append(prompt)
    sizes = Counter(len(group) for group in groups.values())
    if set(sizes) <= {1}:
        return rows
    counted = {numbered(number) for number in numbers}
    by_line = all(prompt.id in counted for prompt in rows)
    whole = len(sizes) == 1 and by_line
    twice = sum(len(group) > 1 for group in groups.values())
    if repeated == "auto" and not by_line:  # who gives ids of their own tells them apart
        return rows
    if repeated == "auto" and not whole:
        note(
            f"{twice:,} of {len(groups):,} texts stand in more than one line of the prompt file "
            "and count as prompts of their own; `t2i-spatial prompts FILE --repeated merge` makes "
            "each a single prompt"
        )
        return rows
    if repeated == "auto":
        times = next(iter(sizes))
        note(
            f"every prompt stands {times} times in the file: {len(groups):,} prompts, the further "
            "lines being samples of them (`prompts FILE --repeated keep` takes each as its own)"
        )
    return [_merged(group) for group in groups.values()]


def _merged(group: Sequence[Prompt]) -> Prompt:
    first = group[0]
    if len(group) == 1:
        return first
    metadata = {**first.metadata, REPEATED_AS: [prompt.id for prompt in group[1:]]}
    return dataclasses.replace(first, metadata=metadata)


def _question_rows(prompts: Sequence[Prompt], numbers: Sequence[int]) -> list[Prompt]:
    """Rows about one prompt, of which only metadata differ, as one prompt.

    Rows without ids of their own are counted anew, one number per prompt.
    """
    groups: dict[Any, list[int]] = defaultdict(list)
    for place, prompt in enumerate(prompts):
        own = prompt.id if prompt.id != numbered(numbers[place]) else None
        groups[own, prompt.text, prompt.scene].append(place)
    about = {
        key: places
        for key, places in groups.items()
        if len(places) > 1 and _all_differ([prompts[place] for place in places])
    }
    if not about or any(key not in about for key, places in groups.items() if len(places) > 1):
        return list(prompts)
    result: list[Prompt] = []
    for (own, _, _), places in groups.items():
        first = prompts[places[0]]
        if own is None:
            first = dataclasses.replace(first, id=numbered(len(result)))
        if len(places) > 1:
            metadata = _joined([prompts[place] for place in places])
            first = dataclasses.replace(first, metadata=metadata)
        result.append(first)
    note(f"{len(prompts):,} rows of the prompt file speak of {len(result):,} prompts")
    return result


def _all_differ(rows: Sequence[Prompt]) -> bool:
    said = {json.dumps([dict(row.metadata), row.tag], sort_keys=True, default=str) for row in rows}
    return len(said) == len(rows) and all(row.scene is None for row in rows)


def _joined(rows: Sequence[Prompt]) -> dict[str, Any]:
    keys = dict.fromkeys(key for row in rows for key in row.metadata)
    joined: dict[str, Any] = {}
    for key in keys:
        values = [row.metadata.get(key) for row in rows]
        joined[key] = values[0] if all(value == values[0] for value in values) else values
    return joined
