"""COCO and LVIS: a data set with annotations, or a list of results with its images beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.interchange.class_numbers import classes_of
from t2i_spatial.interchange.file_names import PromptNames
from t2i_spatial.interchange.readers import FORMATS, FOUND, Content, DetectionFormat
from t2i_spatial.progress import note
from t2i_spatial.prompts.readers import id_text
from t2i_spatial.tables import SCORED


def is_results(content: Content) -> bool:
    """Whether a file is a list of COCO results."""
    return "image_id" in content.first and bool({"bbox", "category_id"} & set(content.first))


def is_dataset(content: Content) -> bool:
    """Whether a file has COCO's images."""
    document = content.document
    return isinstance(document, Mapping) and isinstance(document.get("images"), list)


def read_dataset(content: Content) -> pl.DataFrame:
    """The annotations of a data set as detections.

    Where none has a score they are people's boxes and count as certain, with a note.
    """
    found = content.document.get("annotations") or []
    if found and not any("score" in entry for entry in found):
        note(f"{content.name}: its {len(found):,} boxes have no scores and count as certain (1)")
        found = [{**entry, "score": 1.0} for entry in found]
    return _table(content, content.document, found)


def read_results(content: Content) -> pl.DataFrame:
    """A list of results; the images and categories come from `coco_images`.

    Without it, the ids of the images must be file names without ending, as Ultralytics writes
    them, and the classes COCO's own.
    """
    assert content.records is not None
    dataset = content.coco_images
    if dataset is None:
        ids = dict.fromkeys(entry.get("image_id") for entry in content.records)
        if not all(isinstance(id, str) for id in ids):
            raise InputError(
                f"{content.name} is a list of COCO results; give the file with their images and "
                "categories too (--coco-images)"
            )
        dataset = {"images": [{"id": id, "file_name": id} for id in ids]}
    return _table(content, dataset, content.records)


def _table(
    content: Content, dataset: Mapping[str, Any], found: list[dict[str, Any]]
) -> pl.DataFrame:
    categories = {c["id"]: c["name"] for c in dataset.get("categories") or ()}
    if content.classes is not None:
        categories = dict(content.classes)
    elif not categories and found:
        numbers = [entry["category_id"] for entry in found]
        categories = dict(classes_of(numbers, content.name))
    rows = _images(content, dataset)
    for entry in found:
        try:
            row = rows[entry["image_id"]]
            label = categories[entry["category_id"]]
            x, y, width, height = (float(v) for v in entry["bbox"])
        except KeyError as error:
            raise InputError(
                f"{content.name}: no image, category or key {error.args[0]!r} (in {entry}); the "
                f"categories are {_range(categories)}"
            ) from None
        except (TypeError, ValueError):
            raise InputError(
                f"{content.name}: bbox must be [x, y, width, height] (in {entry})"
            ) from None
        if entry.get("score") is None:
            raise InputError(f"{content.name}: a box has no score, others have one (in {entry})")
        row["detections"].append(
            {
                "label": label,
                "score": float(entry["score"]),
                "box": [x, y, x + width, y + height],
            }
        )
    for row in rows.values():
        row["detections"].sort(key=lambda d: -d["score"])
    return pl.DataFrame(list(rows.values()), schema=FOUND)


def _images(content: Content, dataset: Mapping[str, Any]) -> dict[Any, dict[str, Any]]:
    names = PromptNames.of_table(content.prompts)
    rows: dict[Any, dict[str, Any]] = {}
    for image in dataset["images"]:
        # LVIS has no file names
        name = image.get("file_name") or image.get("coco_url")
        if "prompt_id" in image:
            key = id_text(image["prompt_id"], "prompt_id"), int(image.get("sample", 0))
        else:
            key = _key(content, names, str(name if name is not None else image.get("id")))
        if image["id"] in rows:
            raise InputError(f"{content.name}: two images have the id {image['id']}")
        rows[image["id"]] = {
            "prompt_id": key[0],
            "sample": key[1],
            "image": name,
            "width": image.get("width"),
            "height": image.get("height"),
            "status": SCORED,
            "detections": [],
        }
    return rows


def _key(content: Content, names: PromptNames, name: str) -> tuple[str, int]:
    prompt_id, sample = content.key(names, name, content.name)
    return prompt_id, sample or 0


def _range(categories: Mapping[Any, str]) -> str:
    if not categories:
        return "none"
    numbers = sorted(categories, key=str)
    return f"{len(numbers)}, from {numbers[0]} to {numbers[-1]}"


FORMATS.register("coco")(DetectionFormat(is_dataset, read_dataset, "COCO"))
FORMATS.register("coco-results")(DetectionFormat(is_results, read_results, "COCO results"))
