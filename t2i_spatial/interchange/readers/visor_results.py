"""VISOR's `results_*.json`: centroids and class names per image, without boxes or scores.

Source: microsoft/VISOR @ b9e368b, the detection notebook.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.interchange.readers import FORMATS, FOUND, Content, DetectionFormat
from t2i_spatial.tables import SCORED


def is_visor(content: Content) -> bool:
    """Whether a file looks like VISOR's results."""
    if not isinstance(content.document, Mapping) or not content.document:
        return False
    first = next(iter(content.document.values()))
    return isinstance(first, Mapping) and "classes" in first and "centroid" in first


def read_visor(content: Content) -> pl.DataFrame:
    """DETECTIONS whose boxes are the centroids (without extent) and whose scores are 1.

    The file keeps no boxes, scores or image sizes; VISOR's own numbers need none of them. Other
    protocols see boxes without extent.

    Raises:
        InputError: an entry whose name is not `<id>_<sample>`, whose lists differ in length, or
            whose text is not that of the prompt (the file belongs to another prompt set).
    """
    texts = dict(content.prompts.select("prompt_id", "text").iter_rows())
    rows = []
    for key, entry in content.document.items():
        where = f"{content.name}, {key}"
        prompt_id, _, sample = key.removesuffix(".png").rpartition("_")
        if not prompt_id or not sample.isdecimal():
            raise InputError(
                f"{content.name}: expected entries named <prompt id>_<sample>, got {key!r}"
            )
        classes, centroids = entry.get("classes") or [], entry.get("centroid") or []
        if len(classes) != len(centroids):
            raise InputError(f"{where}: {len(classes)} classes for {len(centroids)} centroids")
        text = entry.get("text")
        if text and texts.get(prompt_id, text) != text:
            raise InputError(
                f"{where}: the prompt was {text!r} there, and is {texts[prompt_id]!r} in "
                "the prompt set"
            )
        rows.append(
            {
                "prompt_id": prompt_id,
                "sample": int(sample),
                "status": SCORED,
                "detections": [
                    {"label": name, "score": 1.0, "box": [float(x), float(y)] * 2}
                    for name, (x, y) in zip(classes, centroids, strict=True)
                ],
            }
        )
    return pl.DataFrame(rows, schema=FOUND)


FORMATS.register("visor")(DetectionFormat(is_visor, read_visor, "VISOR's results_*.json"))
