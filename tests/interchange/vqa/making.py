"""Small files of the forms that published sets have, and marks of who answers them."""

from __future__ import annotations

import base64
import io
import json

import polars as pl
from PIL import Image

from t2i_spatial.files import write_table


def png(colour="red"):
    """The bytes of a small picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


def base64_png(colour="red"):
    """The same as tables hold it."""
    return base64.b64encode(png(colour)).decode()


def put(path, content):
    """A file with its folders: bytes, text, JSON, or JSON lines and tables of a list of records."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.write_text(content)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in content))
    elif path.suffix == ".tsv":
        pl.DataFrame(content).write_csv(path, separator="\t")
    elif path.suffix == ".parquet":
        write_table(path, pl.DataFrame(content))
    else:
        path.write_text(json.dumps(content))
    return path


def marks(source, items, right, every=None):
    """The marks of who answers `right(item)` (and `every(item)` in all orders)."""
    rows = [
        {
            "id": item.id,
            "image": item.image,
            "whole": item.whole,
            "skill": item.question.skill,
            "right": int(right(item)),
            "every": int((every or right)(item)),
            **{name: item.facts.get(name) for name in source.facts},
        }
        for item in items
    ]
    texts = dict.fromkeys(("skill", *source.facts), pl.String)
    return pl.DataFrame(rows, schema_overrides=texts)


def values(numbers):
    """The estimates of numbers."""
    return {name: found.value for name, found in numbers.items()}
