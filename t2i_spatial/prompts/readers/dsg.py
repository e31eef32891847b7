"""DSG's question file: one row per question, which `repeats` joins to one prompt per item.

Source: j-min/DSG @ 7330119, dsg/data/dsg-1k-anns.csv.
"""

from __future__ import annotations

from t2i_spatial.prompts.readers import FORMATS, PromptFormat, Record, own_id, text_of
from t2i_spatial.scene import Prompt

KEYS = ("proposition_id", "dependency", "category_broad", "tuple", "question_natural_language")


def _matches(record: Record) -> bool:
    return all(key in record for key in ("item_id", "text", *KEYS))


def _read(record: Record, number: int) -> Prompt:
    id = own_id(record, number, "item_id")
    row = {key: record[key] for key in KEYS}
    # items are named after the data set they come from, which the peer reports by
    return Prompt(id, text_of(record, "text"), id.rpartition("_")[0] or None, metadata={"dsg": row})


FORMATS.register("dsg")(PromptFormat(_matches, _read))
