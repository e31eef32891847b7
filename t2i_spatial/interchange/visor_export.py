"""Writing VISOR's `results_*.json`: centroids and class names per image.

Source: microsoft/VISOR @ b9e368b, the detection notebook.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from t2i_spatial.files import write_json
from t2i_spatial.tables import SCORED


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
