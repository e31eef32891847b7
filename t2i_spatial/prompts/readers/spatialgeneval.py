"""SpatialGenEval's prompt file; the parser reads what it can of its long texts.

Source: AMAP-ML/SpatialGenEval @ 8b294b5 (data without a licence, not shipped).
"""

from __future__ import annotations

import re

from t2i_spatial.errors import InputError
from t2i_spatial.prompts.readers import FORMATS, PromptFormat, Record, own_id, text_of
from t2i_spatial.scene import Prompt

DOMAINS = (
    "object", "attribute", "position", "orientation", "layout", "comparison", "proximity",
    "occlusion", "motion", "causal",
)  # fmt: skip
"""The ten sub-domains; the first two are "basic", the others "spatial"."""


def _matches(record: Record) -> bool:
    return "prompt" in record and "questions" in record and "answers" in record


def _read(record: Record, number: int) -> Prompt:
    return Prompt(
        own_id(record, number),
        text_of(record, "prompt"),
        record.get("scene"),
        metadata={"spatialgeneval": dict(record)},
    )


def read_options(text: str) -> tuple[str, dict[str, str]]:
    """A question without its options, and letter -> option.

    >>> read_options("Where is it?  Options: A: Left, by day, B: In C: major. E: None")
    ('Where is it?', {'A': 'Left, by day', 'B': 'In', 'C': 'major', 'E': 'None'})

    Raises:
        InputError: no options.
    """
    stem, mark, rest = text.partition("Options:")
    options: dict[str, str] = {}
    starts: list[re.Match[str]] = []
    for found in re.finditer(r"(?:^|(?<=[\s,.;]))([A-J])\s*[:.)]\s+", rest):
        if not starts or found[1] > starts[-1][1]:
            starts.append(found)
    ends = [following.start() for following in starts[1:]]
    for found, end in zip(starts, [*ends, len(rest)], strict=False):
        options[found[1]] = rest[found.end() : end].strip().rstrip(",.;").strip()
    if not mark or len(options) < 2:
        raise InputError(f"a question without options: {text!r:.80}")
    return stem.strip(), options


FORMATS.register("spatialgeneval")(PromptFormat(_matches, _read))
