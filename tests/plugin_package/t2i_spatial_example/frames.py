"""Boxes as centre and size: one JSON document whose `frames` go by the names of the images."""

from __future__ import annotations

import polars as pl

from t2i_spatial.interchange.file_names import PromptNames
from t2i_spatial.interchange.readers import FOUND, Content, DetectionFormat
from t2i_spatial.tables import SCORED


def matches(content: Content) -> bool:
    """Whether the file is such a document."""
    return isinstance(content.document, dict) and "frames" in content.document


def read(content: Content) -> pl.DataFrame:
    """A row per image; labels, sample numbers and boxes are looked at for all formats together."""
    names = PromptNames.of_table(content.prompts)
    rows = []
    for name, found in content.document["frames"].items():
        prompt_id, sample = content.key(names, name, content.name)
        boxes = [
            {"label": label, "score": score, "box": [x - w / 2, y - h / 2, x + w / 2, y + h / 2]}
            for label, score, x, y, w, h in found
        ]
        row = {"prompt_id": prompt_id, "sample": sample or 0, "status": SCORED}
        rows.append({**row, "detections": boxes})
    return pl.DataFrame(rows, schema=FOUND)


FRAMES = DetectionFormat(matches, read, "frames of centres and sizes")
