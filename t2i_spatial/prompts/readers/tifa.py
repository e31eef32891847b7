"""TIFA's question file: one record per question, which `repeats` joins to one prompt per caption.

Source: Yushi-Hu/tifa @ 8e37050, tifa_v1.0/tifa_v1.0_question_answers.json.
"""

from __future__ import annotations

from t2i_spatial.prompts.readers import FORMATS, PromptFormat, Record, own_id, text_of
from t2i_spatial.scene import Prompt

KEYS = ("question", "choices", "answer", "element_type", "element")


def _matches(record: Record) -> bool:
    return all(key in record for key in ("id", "caption", "question", "choices", "answer"))


def _read(record: Record, number: int) -> Prompt:
    row = {key: record[key] for key in KEYS if key in record}
    return Prompt(own_id(record, number), text_of(record, "caption"), metadata={"tifa": row})


FORMATS.register("tifa")(PromptFormat(_matches, _read))
