"""Label Studio's JSON export: rectangles in per cent of the image.

Source: https://labelstud.io/guide/export (JSON, `rectanglelabels`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.interchange.file_names import PromptNames
from t2i_spatial.interchange.readers import FORMATS, FOUND, Content, DetectionFormat
from t2i_spatial.progress import note
from t2i_spatial.tables import SCORED

_UPLOAD = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the name of an uploaded file."""


def _matches(content: Content) -> bool:
    first = content.first
    return isinstance(first.get("data"), Mapping) and bool(
        {"annotations", "predictions", "completions"} & set(first)
    )


def read_label_studio(content: Content) -> pl.DataFrame:
    """Rectangles of the first annotation of every task, or of its prediction.

    Rectangles of people have no score and count as certain, with a note.

    Raises:
        InputError: a task without an image, or a rectangle that is turned.
    """
    names = PromptNames.of_table(content.prompts)
    rows, certain = [], 0
    for number, task in enumerate(content.records or (), 1):
        where = f"{content.name}, task {number}"
        name = next((v for v in task["data"].values() if isinstance(v, str) and "." in v), None)
        if name is None:
            raise InputError(f"{where}: its data name no image")
        plain = _UPLOAD.sub("", name.replace("\\", "/").rpartition("/")[2].partition("?")[0])
        prompt_id, sample = content.key(names, plain, where)
        found: list[dict[str, Any]] = []
        size: tuple[int, int] | None = None
        for result in _results(task):
            value = result["value"]
            if value.get("rotation"):
                raise InputError(f"{where}: a rectangle is turned by {value['rotation']} degrees")
            size = wide, high = int(result["original_width"]), int(result["original_height"])
            score = result.get("score", value.get("score"))
            certain += score is None
            x, y, width, height = (float(value[k]) / 100 for k in ("x", "y", "width", "height"))
            box = [x * wide, y * high, (x + width) * wide, (y + height) * high]
            found += [
                {"label": label, "score": 1.0 if score is None else float(score), "box": box}
                for label in value["rectanglelabels"]
            ]
        rows.append(
            {
                "prompt_id": prompt_id,
                "sample": sample or 0,
                "image": plain,
                "width": size and size[0],
                "height": size and size[1],
                "status": SCORED,
                "detections": sorted(found, key=lambda d: -float(d["score"])),
            }
        )
    if certain:
        note(f"{content.name}: {certain:,} boxes have no scores and count as certain (1)")
    return pl.DataFrame(rows, schema=FOUND)


def _results(task: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for kind in ("annotations", "completions", "predictions"):
        for made in task.get(kind) or ():
            if isinstance(made, Mapping) and not made.get("was_cancelled"):
                yield from (r for r in made.get("result") or () if "rectanglelabels" in r["value"])
                return


FORMATS.register("label-studio")(
    DetectionFormat(_matches, read_label_studio, "Label Studio's JSON")
)
