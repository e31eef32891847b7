"""`Detections` to and from supervision, COCO results and torchvision-style dicts.

Class indices are positions in `classes`; a name outside it is an error, never a silent drop. Boxes
are checked on the way in (finite, ordered, inside the image), as everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2i_spatial.detections import Detections
from t2i_spatial.detectors.base import no_detections
from t2i_spatial.errors import InputError, nearest, require


def to_supervision(found: Detections, classes: Sequence[str] | None = None) -> Any:
    """A `supervision.Detections`; names go to `data["class_name"]` where that field exists.

    Args:
        classes: what `class_id` counts; `None` takes the distinct labels, sorted.
    """
    supervision = require("supervision", "groundingdino")
    known = list(classes) if classes is not None else sorted(set(found.labels))
    values: dict[str, Any] = {
        "xyxy": found.boxes.astype(np.float32),
        "confidence": found.scores.astype(np.float32),
        "class_id": np.array([_index(name, known) for name in found.labels], dtype=int),
    }
    if "data" in {field.name for field in fields(supervision.Detections)}:
        values["data"] = {"class_name": np.array(found.labels, dtype=str)}
    return supervision.Detections(**values)


def from_supervision(
    detections: Any, width: int, height: int, classes: Sequence[str] | None = None
) -> Detections:
    """Detections of one image; names from `data["class_name"]`, else from `classes`.

    Raises:
        InputError: no names, no confidence, or boxes that do not fit the image.
    """
    if not len(detections.xyxy):
        return no_detections(width, height)
    names = getattr(detections, "data", {}).get("class_name")
    if names is None:
        if classes is None or detections.class_id is None:
            raise InputError("these detections have no class names; give classes=[...]")
        names = [_name(int(index), classes) for index in detections.class_id]
    if detections.confidence is None:
        raise InputError("these detections have no confidence")
    return Detections(
        tuple(str(name) for name in names), detections.confidence, detections.xyxy, width, height
    )


def to_coco_results(
    found: Detections, image_id: int, categories: Mapping[str, int]
) -> list[dict[str, Any]]:
    """COCO result records of one image: `bbox` is [x, y, width, height].

    >>> one = Detections(("cat",), [0.9], [[1, 2, 4, 6]], 10, 10)
    >>> to_coco_results(one, 7, {"cat": 17})
    [{'image_id': 7, 'category_id': 17, 'bbox': [1.0, 2.0, 3.0, 4.0], 'score': 0.9}]
    """
    records = []
    for label, score, (x1, y1, x2, y2) in zip(
        found.labels, found.scores.tolist(), found.boxes.tolist(), strict=True
    ):
        if label not in categories:
            raise InputError(f"no COCO category {label!r}; {nearest(label, categories)}")
        box = [x1, y1, x2 - x1, y2 - y1]
        records.append(
            {"image_id": image_id, "category_id": categories[label], "bbox": box, "score": score}
        )
    return records


def from_coco_results(
    records: Sequence[Mapping[str, Any]], categories: Mapping[int, str], width: int, height: int
) -> Detections:
    """Detections of one image from its COCO result records.

    Raises:
        InputError: records of several images, or an unknown category.
    """
    if not records:
        return no_detections(width, height)
    if len({record.get("image_id") for record in records}) > 1:
        raise InputError("these COCO records belong to several images; give those of one")
    unknown = [r["category_id"] for r in records if r["category_id"] not in categories]
    if unknown:
        raise InputError(f"unknown COCO category id {unknown[0]!r}")
    corners = np.array([record["bbox"] for record in records], dtype=np.float64)
    corners[:, 2:] += corners[:, :2]
    return Detections(
        tuple(categories[record["category_id"]] for record in records),
        np.array([record["score"] for record in records]),
        corners,
        width,
        height,
    )


def to_torchvision(found: Detections, classes: Sequence[str]) -> dict[str, Any]:
    """`{"boxes": (n, 4) float32, "scores": (n,) float32, "labels": (n,) int64}` tensors.

    This is what torchmetrics' `MeanAveragePrecision` takes as a prediction.
    """
    torch = require("torch", "detect")
    return {
        "boxes": torch.tensor(found.boxes, dtype=torch.float32).reshape(-1, 4),
        "scores": torch.tensor(found.scores, dtype=torch.float32),
        "labels": torch.tensor([_index(name, classes) for name in found.labels], dtype=torch.int64),
    }


def from_torchvision(
    prediction: Mapping[str, Any], classes: Sequence[str], width: int, height: int
) -> Detections:
    """Detections of one image from `boxes` (xyxy pixels), `scores` and integer `labels`."""
    missing = {"boxes", "scores", "labels"} - set(prediction)
    if missing:
        raise InputError(f"the prediction lacks {sorted(missing)}")
    boxes, scores, labels = (_array(prediction[key]) for key in ("boxes", "scores", "labels"))
    names = tuple(_name(int(index), classes) for index in labels)
    return Detections(names, scores, boxes.reshape(-1, 4), width, height)


def _array(values: Any) -> NDArray[np.float64]:
    """Any tensor, on any device, or array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)


def _index(name: str, classes: Sequence[str]) -> int:
    if name not in classes:
        raise InputError(f"{name!r} is not among the classes; {nearest(name, classes)}")
    return list(classes).index(name)


def _name(index: int, classes: Sequence[str]) -> str:
    if not 0 <= index < len(classes):
        raise InputError(f"class index {index} is outside the {len(classes)} classes")
    return classes[index]
