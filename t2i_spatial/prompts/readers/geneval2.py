"""GenEval 2's `geneval2_data.jsonl`; the parser reads the scene from the text.

Source: facebookresearch/GenEval2 @ a6e82d2 (data CC BY-NC 4.0, not shipped).
"""

from __future__ import annotations

from t2i_spatial.prompts.readers import FORMATS, PromptFormat, Record, own_id, text_of
from t2i_spatial.scene import Prompt


def _matches(record: Record) -> bool:
    return "vqa_list" in record and "prompt" in record


def _read(record: Record, number: int) -> Prompt:
    atoms = record.get("atom_count")
    return Prompt(
        own_id(record, number, "id", "prompt_id"),
        text_of(record, "prompt"),
        None if atoms is None else f"{atoms} atoms",
        metadata={"geneval2": dict(record)},
    )


FORMATS.register("geneval2")(PromptFormat(_matches, _read))
