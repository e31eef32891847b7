"""Any record with a caption column: the user's own CSV, JSON lines, Parquet or data set."""

from __future__ import annotations

from t2i_spatial.errors import InputError
from t2i_spatial.prompts.readers import FORMATS, PromptFormat, Record, numbered, text_of
from t2i_spatial.scene import Prompt

CAPTION_COLUMNS = ("text", "prompt", "caption", "Prompt", "Caption", "TEXT", "sentence")
"""Names of the column that holds the prompt, in order of preference."""
_ID_COLUMNS = ("id", "prompt_id", "key")


def caption_format(column: str) -> PromptFormat:
    """The format whose prompt text stands in `column`; other plain values become metadata."""

    def read(record: Record, number: int) -> Prompt:
        if column not in record:
            raise InputError(f"no column {column!r}; the record has {', '.join(map(str, record))}")
        id_column = next((name for name in _ID_COLUMNS if record.get(name) is not None), None)
        id = numbered(number) if id_column is None else str(record[id_column])
        tag = record.get("tag")
        rest = {
            key: value
            for key, value in record.items()
            if key not in (column, id_column, "tag") and isinstance(value, str | int | float)
        }
        return Prompt(id, text_of(record, column), str(tag) if tag else None, metadata=rest)

    return PromptFormat(lambda record: column in record, read, fallback=True)


def _column(record: Record) -> str | None:
    return next((name for name in CAPTION_COLUMNS if isinstance(record.get(name), str)), None)


def _read(record: Record, number: int) -> Prompt:
    column = _column(record)
    if column is None:
        raise InputError(
            f"no caption column ({', '.join(CAPTION_COLUMNS)}) in {', '.join(map(str, record))}; "
            "name it with column=... or --column"
        )
    return caption_format(column).read(record, number)


FORMATS.register("caption")(
    PromptFormat(lambda record: _column(record) is not None, _read, fallback=True)
)
