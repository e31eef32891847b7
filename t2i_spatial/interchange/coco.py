"""COCO files: an annotation file with scores, or a results list with its images beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.tables import DETECTIONS, SCORED

_NAME = re.compile(r"(.+)_(\d+)")


def is_coco_results(content: Any) -> bool:
    """Whether a JSON file is a COCO results list."""
    return isinstance(content, list) and (
        not content or (isinstance(content[0], Mapping) and "image_id" in content[0])
    )


def is_coco(content: Any) -> bool:
    """Whether a JSON file has COCO's images."""
    return isinstance(content, Mapping) and isinstance(content.get("images"), list)


def from_coco(
    dataset: Mapping[str, Any],
    prompts: pl.DataFrame,
    what: str,
    results: list[dict[str, Any]] | None = None,
) -> pl.DataFrame:
    """DETECTIONS from COCO's images, categories and results.

    Args:
        dataset: with `images` (`id, file_name, width, height`, and `prompt_id` and `sample` or a
            file name `<prompt id>_<sample>.png`) and `categories`.
        prompts: PROMPTS.
        what: name of the file, for messages.
        results: `{image_id, category_id, bbox [x, y, width, height], score}`; without it the
            `annotations` of the data set, whose score is 1 where they have none.

    An image of the data set without results has no boxes. A category name that the prompts spell
    otherwise stays as it is.

    Raises:
        InputError: an image that names no prompt, an unknown image or category id, or a bad box.
    """
    known = set(prompts["prompt_id"])
    categories = {c["id"]: c["name"] for c in dataset.get("categories") or ()}
    rows: dict[Any, dict[str, Any]] = {}
    for image in dataset["images"]:
        prompt_id, sample = _key(image, known, what)
        if image["id"] in rows:
            raise InputError(f"{what}: two images have the id {image['id']}")
        rows[image["id"]] = {
            "prompt_id": prompt_id,
            "sample": sample,
            "image": image.get("file_name"),
            "width": image.get("width"),
            "height": image.get("height"),
            "status": SCORED,
            "detections": [],
        }
    for entry in dataset.get("annotations") or () if results is None else results:
        try:
            row = rows[entry["image_id"]]
            label = categories[entry["category_id"]]
            x, y, width, height = (float(v) for v in entry["bbox"])
        except KeyError as error:
            raise InputError(
                f"{what}: no image, category or key {error.args[0]!r} (in {entry})"
            ) from None
        except (TypeError, ValueError):
            raise InputError(f"{what}: bbox must be [x, y, width, height] (in {entry})") from None
        row["detections"].append(
            {
                "label": label,
                "score": float(entry.get("score", 1.0)),
                "box": [x, y, x + width, y + height],
            }
        )
    for row in rows.values():
        row["detections"].sort(key=lambda d: -d["score"])
    return pl.DataFrame(list(rows.values()), schema=DETECTIONS)


def _key(image: Mapping[str, Any], known: set[str], what: str) -> tuple[str, int]:
    if "prompt_id" in image:
        return str(image["prompt_id"]), int(image.get("sample", 0))
    stem = PurePosixPath(str(image.get("file_name", ""))).stem
    match = _NAME.fullmatch(stem)
    if match is not None and match[1] in known:
        if stem in known:
            raise InputError(
                f"{what}: {stem!r} may be the prompt {stem!r} or sample {match[2]} of "
                f"{match[1]!r}; give the images the keys prompt_id and sample"
            )
        return match[1], int(match[2])
    if stem in known:
        return stem, 0
    raise InputError(
        f"{what}: image {image.get('file_name', image.get('id'))!r} belongs to no prompt; expected "
        "file names <prompt id>_<sample>.png, or the keys prompt_id and sample"
    )


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
