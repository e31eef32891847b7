"""VISOR's `results_*.json`: centroids and class names per image, without boxes or scores.

Source: microsoft/VISOR @ b9e368b, the detection notebook.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.files import write_json
from t2i_spatial.tables import DETECTIONS, SCORED


def is_visor(content: Any) -> bool:
    """Whether a JSON file looks like VISOR's results."""
    if not isinstance(content, Mapping) or not content:
        return False
    first = next(iter(content.values()))
    return isinstance(first, Mapping) and "classes" in first and "centroid" in first


def from_visor(content: Mapping[str, Any], prompts: pl.DataFrame, what: str) -> pl.DataFrame:
    """DETECTIONS whose boxes are the centroids (without extent) and whose scores are 1.

    The file keeps no boxes, scores or image sizes; VISOR's own numbers need none of them. Other
    protocols see boxes without extent.

    Raises:
        InputError: an entry whose name is not `<id>_<sample>`, whose lists differ in length, or
            whose text is not that of the prompt (the file belongs to another prompt set).
    """
    texts = dict(prompts.select("prompt_id", "text").iter_rows())
    rows = []
    for key, entry in content.items():
        prompt_id, _, sample = key.rpartition("_")
        if not prompt_id or not sample.isdecimal():
            raise InputError(f"{what}: expected entries named <prompt id>_<sample>, got {key!r}")
        classes, centroids = entry.get("classes") or [], entry.get("centroid") or []
        if len(classes) != len(centroids):
            raise InputError(
                f"{what}, {key}: {len(classes)} classes for {len(centroids)} centroids"
            )
        text = entry.get("text")
        if text and texts.get(prompt_id, text) != text:
            raise InputError(
                f"{what}, {key}: the prompt was {text!r} there, and is {texts[prompt_id]!r} in "
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
    return pl.DataFrame(rows, schema=DETECTIONS)


def write_visor(path: str | Path, detections: pl.DataFrame, prompts: pl.DataFrame) -> int:
    """Write VISOR's results file from DETECTIONS; returns the number of images in it.

    `recall` and `sra` are computed as the peer does. Images without a score are left out, as
    there, and so are boxes with a score of 0.1 or less.

    Raises:
        T2ISpatialError: the file cannot be written.
    """
    from t2i_spatial.metrics.visor import VISOR

    protocol = VISOR()
    verdicts = protocol.judge(prompts, detections)
    texts = dict(prompts.select("prompt_id", "text").iter_rows())
    names = dict(
        prompts.select(
            "prompt_id", pl.col("objects").list.eval(pl.element().struct.field("name"))
        ).iter_rows()
    )
    content = {}
    for row, correct in zip(
        detections.iter_rows(named=True), verdicts["correct"].to_list(), strict=True
    ):
        if row["status"] != SCORED:
            continue
        kept = [d for d in row["detections"] if d["score"] > protocol.threshold]
        classes = [d["label"] for d in kept]
        content[f"{row['prompt_id']}_{row['sample']}"] = {
            "classes": classes,
            "centroid": [
                [(d["box"][0] + d["box"][2]) / 2, (d["box"][1] + d["box"][3]) / 2] for d in kept
            ],
            "recall": sum(name in classes for name in dict.fromkeys(names[row["prompt_id"]])),
            "sra": int(bool(correct)),
            "text": texts[row["prompt_id"]],
        }
    write_json(path, content)
    return len(content)
