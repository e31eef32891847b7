"""UniGenBench++'s test_prompts CSV, English.

Source: CodeGoat24/UniGenBench @ 49d0bce, data/test_prompts_en.csv (CC BY 4.0, not shipped).
"""

from __future__ import annotations

import json

from t2i_spatial.errors import InputError
from t2i_spatial.prompts.readers import FORMATS, PromptFormat, Record, own_id, text_of
from t2i_spatial.scene import Prompt


def _matches(record: Record) -> bool:
    return "prompt_en" in record and "sub_dims_en" in record


def _read(record: Record, number: int) -> Prompt:
    found = record["sub_dims_en"]
    try:
        points = json.loads(found) if isinstance(found, str) else dict(found)
    except (ValueError, TypeError):
        raise InputError(f"sub_dims_en must be a JSON object, got {found!r:.80}") from None
    if not isinstance(points, dict):
        raise InputError(f"sub_dims_en must be a JSON object, got {found!r:.80}")
    tag = points.get("Primary Categories")
    return Prompt(
        own_id(record, number, "index"),
        text_of(record, "prompt_en"),
        tag if isinstance(tag, str) else None,
        metadata={"unigenbench": points},
    )


FORMATS.register("unigenbench")(PromptFormat(_matches, _read))
