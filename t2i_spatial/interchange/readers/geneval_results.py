"""GenEval's `results.jsonl`.

Source: djghosh13/geneval @ af4902f (`evaluate_images.py`).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.interchange.file_names import PromptNames
from t2i_spatial.interchange.readers import FORMATS, FOUND, Content, DetectionFormat
from t2i_spatial.numbering import natural_key
from t2i_spatial.tables import SCORED

COLORED = "colored_details"
"""Our own extra key of `results.jsonl`: class -> colour of every box of `details`."""


def is_geneval(content: Content) -> bool:
    """Whether a file is GenEval's results."""
    return {"filename", "tag", "prompt"} <= set(content.first)


def read_geneval(content: Content) -> pl.DataFrame:
    """DETECTIONS from GenEval's `results.jsonl`.

    An image belongs to the prompt of the same text; where several have it, its folder's number
    decides. Its sample is the number in the file name; images of one prompt in several folders are
    counted. `details` holds the boxes that GenEval has kept (thresholds applied, at most 16 per
    class); the image size is not stored, so protocols that measure in the image have no verdict.
    Colours are not stored either, except by `write_geneval`.

    Raises:
        InputError: a record without readable `details`, two files for one image, or a prompt that
            is not in the set.
    """
    names = PromptNames.of_table(content.prompts)
    numbered = list(content.prompts["prompt_id"])
    rows: list[dict[str, Any]] = []
    for number, record in enumerate(content.records or (), 1):
        where = f"{content.name}, record {number}"
        path = PurePosixPath(str(record["filename"]).replace("\\", "/"))
        if not (path.stem.isascii() and path.stem.isdecimal()):
            raise InputError(
                f"{where}: expected a file name such as 00000/samples/0000.png, "
                f"got {record['filename']!r}"
            )
        found = names.texts.get(str(record["prompt"])) or ()
        if not found:
            raise InputError(f"{where}: the prompt {record['prompt']!r} is not in the prompt set")
        rows.append(
            {
                "prompt_id": _of_folder(path, found, numbered),
                "sample": path.stem,
                "image": str(record["filename"]),
                "status": SCORED,
                "detections": _details(record, where),
            }
        )
    _number(rows)
    return pl.DataFrame(rows, schema=FOUND)


def _of_folder(path: PurePosixPath, prompt_ids: Any, numbered: list[str]) -> str:
    """Of the prompts with one text, the one whose place is the number of the image's folder."""
    for folder in path.parts[:-1] if len(prompt_ids) > 1 else ():
        place = int(folder) if folder.isascii() and folder.isdecimal() else -1
        if 0 <= place < len(numbered) and numbered[place] in prompt_ids:
            return numbered[place]
    return str(prompt_ids[0])


def _number(rows: list[dict[str, Any]]) -> None:
    """Samples from file names; those of prompts with several folders are counted."""
    folders: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        folders[row["prompt_id"]].add(str(PurePosixPath(row["image"]).parent))
        row["sample"] = int(row["sample"])
    counted: dict[str, int] = defaultdict(int)
    for row in sorted(rows, key=lambda row: natural_key(row["image"])):
        if len(folders[row["prompt_id"]]) > 1:
            row["sample"] = counted[row["prompt_id"]]
            counted[row["prompt_id"]] += 1


def _details(record: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    if "details" not in record:
        raise InputError(
            f"{where}: no details; GenEval writes the boxes there (evaluate again with a version "
            "that does)"
        )
    try:
        details = _unpacked(record["details"])
        colors = _unpacked(record.get(COLORED) or {})
        found = [
            {
                "label": name,
                "score": float(box[4]),
                "box": [float(v) for v in box[:4]],
                "color": colors[name][k] if name in colors else None,
            }
            for name, boxes in details.items()
            for k, box in enumerate(boxes)
        ]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise InputError(f"{where}: details cannot be read ({error!r})") from None
    return sorted(found, key=lambda d: -d["score"])  # type: ignore[arg-type, operator]


def _unpacked(value: Any) -> Any:
    """`details` and `metadata` are JSON inside JSON."""
    return json.loads(value) if isinstance(value, str) else value


FORMATS.register("geneval")(DetectionFormat(is_geneval, read_geneval, "GenEval's results.jsonl"))
