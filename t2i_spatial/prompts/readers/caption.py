"""Any record with a caption column: the user's own CSV, JSON lines, Parquet or data set."""

from __future__ import annotations

from collections.abc import Mapping

from t2i_spatial.errors import InputError
from t2i_spatial.prompts.readers import FORMATS, PromptFormat, Record, numbered, own_id, text_of
from t2i_spatial.scene import Prompt, SceneSpec

CAPTION_COLUMNS = ("text", "prompt", "caption", "sentence", "prompts", "text_prompt", "prompt_text")
"""Names of the column that holds the prompt, in order of preference; capitals do not matter."""
_ID_COLUMNS = ("id", "prompt_id", "key", "item_id")


def caption_format(column: str) -> PromptFormat:
    """The format whose prompt text stands in `column`; other plain values become metadata."""

    def read(record: Record, number: int) -> Prompt:
        if column not in record:
            raise InputError(f"no column {column!r}; the record has {', '.join(map(str, record))}")
        names = _by_lower(record)
        id_column = next(
            (names[key] for key in _ID_COLUMNS if record.get(names.get(key, "")) is not None), None
        )
        id = numbered(number) if id_column is None else own_id(record, number, id_column)
        tag = record.get(names.get("tag", "tag"))
        rest = {
            key: value
            for key, value in record.items()
            if key not in (column, id_column, names.get("tag"))
            and isinstance(value, str | int | float)
        }
        scene = record.get(names.get("scene", "scene"))
        return Prompt(
            id,
            text_of(record, column),
            str(tag) if tag else None,
            # a scene that is given means more than what is read from the text
            SceneSpec.from_dict(scene) if isinstance(scene, Mapping) else None,
            rest,
        )

    return PromptFormat(lambda record: column in record, read, fallback=True)


def _by_lower(record: Record) -> dict[str, str]:
    """Lower-case name -> name as it stands in the record; the first of several."""
    names: dict[str, str] = {}
    for key in record:
        if isinstance(key, str):
            names.setdefault(key.strip().lower(), key)
    return names


def caption_column(record: Record) -> str | None:
    """The column of a record that holds its prompt, if any has such a name."""
    names = _by_lower(record)
    return next(
        (
            names[name]
            for name in CAPTION_COLUMNS
            if name in names and isinstance(record[names[name]], str)
        ),
        None,
    )


def _read(record: Record, number: int) -> Prompt:
    column = caption_column(record)
    if column is None:
        raise InputError(
            f"no caption column ({', '.join(CAPTION_COLUMNS)}) in {', '.join(map(str, record))}; "
            "name it with column=... or --column"
        )
    return caption_format(column).read(record, number)


FORMATS.register("caption")(
    PromptFormat(lambda record: caption_column(record) is not None, _read, fallback=True)
)
