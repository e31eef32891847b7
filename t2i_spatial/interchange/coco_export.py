"""Writing COCO files: an annotation file and its results list."""

from __future__ import annotations

from typing import Any

import polars as pl

from t2i_spatial.tables import SCORED


def to_coco(detections: pl.DataFrame) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A COCO data set (images and categories) and its results list from DETECTIONS.

    Missing and unreadable images are left out of `images`; their keys are in `info.missing`.
    """
    images, results, missing = [], [], []
    categories: dict[str, int] = {}
    for number, row in enumerate(detections.iter_rows(named=True), 1):
        if row["status"] != SCORED:
            missing.append({k: row[k] for k in ("prompt_id", "sample", "status")})
            continue
        images.append(
            {
                "id": number,
                "file_name": row["image"] or f"{row['prompt_id']}_{row['sample']}.png",
                "width": row["width"],
                "height": row["height"],
                "prompt_id": row["prompt_id"],
                "sample": row["sample"],
            }
        )
        for found in row["detections"]:
            x1, y1, x2, y2 = found["box"]
            results.append(
                {
                    "image_id": number,
                    "category_id": categories.setdefault(found["label"], len(categories) + 1),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": found["score"],
                }
            )
    dataset = {
        "info": {"missing": missing},
        "images": images,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }
    return dataset, results
