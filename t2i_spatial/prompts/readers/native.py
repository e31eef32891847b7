"""Our own records: `{"id", "text", "tag"?, "scene"?, "metadata"?}`."""

from __future__ import annotations

from t2i_spatial.prompts.readers import FORMATS, PromptFormat, Record, id_text
from t2i_spatial.scene import Prompt

_KEYS = {"id", "text", "tag", "scene", "metadata"}


def _matches(record: Record) -> bool:
    return "text" in record and (
        isinstance(record.get("scene"), dict)
        or ("id" in record and set(record) <= _KEYS and not isinstance(record.get("metadata"), str))
    )


def _read(record: Record, number: int) -> Prompt:
    return Prompt.from_dict({**record, "id": id_text(record["id"])} if "id" in record else record)


FORMATS.register("t2i-spatial")(PromptFormat(_matches, _read))
