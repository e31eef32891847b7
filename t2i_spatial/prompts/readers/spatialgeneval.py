"""SpatialGenEval's prompt file; the parser reads what it can of its long texts.

Source: AMAP-ML/SpatialGenEval @ 8b294b5 (data without a licence, not shipped).
"""

from __future__ import annotations

from t2i_spatial.prompts.readers import FORMATS, PromptFormat, Record, own_id, text_of
from t2i_spatial.scene import Prompt


def _matches(record: Record) -> bool:
    return "prompt" in record and "questions" in record and "answers" in record


def _read(record: Record, number: int) -> Prompt:
    return Prompt(
        own_id(record, number),
        text_of(record, "prompt"),
        record.get("scene"),
        metadata={"spatialgeneval": dict(record)},
    )


FORMATS.register("spatialgeneval")(PromptFormat(_matches, _read))
