"""The boxes of one image as columns, and of many as a table.

Adapters convert at the border; `Detections` only checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from t2i_spatial.errors import InputError
from t2i_spatial.tables import DETECTIONS, SCORED


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector found in one image.

    Attributes:
        labels: n asked phrases, in the asker's own words.
        scores: (n,) float64 in [0, 1].
        boxes: (n, 4) float64, `xyxy`, absolute pixels of the image after EXIF rotation, y down.
        width, height: image size in pixels.
        colors: n colour words or `None`, or `None` when no colour stage has run.
        depths: (n,) float64 in [0, 1], larger = nearer, NaN = unknown; `None` without depth.

    Boxes are in descending order of score as adapters deliver them; the order is kept.

    Raises:
        InputError: lengths differ, a box is not finite, inverted or outside the image (more than
            one pixel; less is clipped), a score or depth is outside [0, 1], a label or colour
            is no text, or the size is not in whole pixels.
    """

    labels: tuple[str, ...]
    scores: NDArray[np.float64]
    boxes: NDArray[np.float64]
    width: int
    height: int
    colors: tuple[str | None, ...] | None = None
    depths: NDArray[np.float64] | None = None

    if TYPE_CHECKING:  # what is converted may be any sequence or array

        def __init__(
            self,
            labels: Sequence[str],
            scores: ArrayLike,
            boxes: ArrayLike,
            width: int,
            height: int,
            colors: Sequence[str | None] | None = None,
            depths: ArrayLike | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        for side in (self.width, self.height):
            if isinstance(side, bool) or not isinstance(side, int | np.integer) or side < 1:
                raise InputError(
                    f"width and height must be whole numbers of pixels, got {self.width!r} and "
                    f"{self.height!r}"
                )
        labels = _words(self.labels, "labels")
        scores = _unit(self.scores, "scores")
        if np.isnan(scores).any():
            raise InputError("scores must be in [0, 1], got nan")
        boxes = check_boxes(self.boxes, self.width, self.height)
        if not len(labels) == len(scores) == len(boxes):
            raise InputError(
                f"{len(labels)} labels, {len(scores)} scores and {len(boxes)} boxes do not match"
            )
        for name in ("colors", "depths"):
            value = getattr(self, name)
            if value is not None and len(value) != len(labels):
                raise InputError(f"{len(value)} {name} for {len(labels)} boxes")
        object.__setattr__(self, "width", int(self.width))
        object.__setattr__(self, "height", int(self.height))
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "boxes", boxes)
        if self.colors is not None:
            object.__setattr__(self, "colors", _words(self.colors, "colors", or_none=True))
        if self.depths is not None:
            object.__setattr__(self, "depths", _unit(self.depths, "depths"))

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, keep: NDArray[Any]) -> Detections:
        """The boxes at `keep` (boolean mask or indices), in that order."""
        index = np.arange(len(self))[keep]
        return Detections(
            tuple(self.labels[i] for i in index),
            self.scores[index],
            self.boxes[index],
            self.width,
            self.height,
            None if self.colors is None else tuple(self.colors[i] for i in index),
            None if self.depths is None else self.depths[index],
        )

    def to_records(self) -> list[dict[str, Any]]:
        """One mapping per box: the `detections` column of the DETECTIONS table."""
        return [
            {
                "label": label,
                "score": float(self.scores[i]),
                "box": [float(v) for v in self.boxes[i]],
                "color": None if self.colors is None else self.colors[i],
                "depth": None
                if self.depths is None or np.isnan(self.depths[i])
                else float(self.depths[i]),
            }
            for i, label in enumerate(self.labels)
        ]

    @classmethod
    def from_records(
        cls, records: Sequence[Mapping[str, Any]], width: int, height: int
    ) -> Detections:
        """The inverse of `to_records`; `color` and `depth` may be absent.

        Raises:
            InputError: a record has no label, score or box, or a value as in the class.
        """
        for record in records:
            for name in ("label", "score", "box"):
                if name not in record:
                    raise InputError(f"a detection has no {name}, only {sorted(record)}")
        colors = [r.get("color") for r in records]
        depths = [r.get("depth") for r in records]
        return cls(
            tuple(r["label"] for r in records),
            np.array([r["score"] for r in records], dtype=np.float64),
            np.array([r["box"] for r in records], dtype=np.float64).reshape(-1, 4),
            width,
            height,
            tuple(colors) if any(c is not None for c in colors) else None,
            np.array([np.nan if d is None else d for d in depths], dtype=np.float64)
            if any(d is not None for d in depths)
            else None,
        )


class NoBoxes(NamedTuple):
    """Why an image has no boxes: a status of `tables.STATUSES`, and a reason in words."""

    status: str
    reason: str


def detections_table(
    images: Iterable[tuple[str, Detections | NoBoxes]],
    samples: MutableMapping[str, int] | None = None,
) -> pl.DataFrame:
    """A DETECTIONS table of images in memory, each given with the id of its prompt.

    Images of one prompt are its samples 0, 1, ... in the order given.

    Args:
        samples: prompt id -> number of its next sample, where earlier images were counted; is
            brought up to date.
    """
    samples = {} if samples is None else samples
    rows = []
    for prompt_id, found in images:
        sample = samples.get(prompt_id, 0)
        samples[prompt_id] = sample + 1
        row: dict[str, Any] = {"prompt_id": prompt_id, "sample": sample}
        if isinstance(found, NoBoxes):
            row |= found._asdict()
        else:
            row |= {"width": found.width, "height": found.height, "status": SCORED}
            row["detections"] = found.to_records()
        rows.append(row)
    return pl.DataFrame(rows, schema=DETECTIONS)


def check_boxes(
    boxes: ArrayLike, width: int | None = None, height: int | None = None
) -> NDArray[np.float64]:
    """Validated copy of `xyxy` pixel boxes, shape (n, 4), float64.

    With an image size, an overshoot of at most one pixel is clipped and a larger one refused.

    Raises:
        InputError: wrong shape, non-finite values, x2 < x1 or y2 < y1, or outside the image.
    """
    try:
        array = np.array(boxes, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"boxes must be numbers of shape (n, 4): {error}") from None
    if array.size == 0:
        return array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(f"boxes must have shape (n, 4), got {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"box {_first(array, ~np.isfinite(array).all(axis=1))} is not finite")
    inverted = (array[:, 2] < array[:, 0]) | (array[:, 3] < array[:, 1])
    if inverted.any():
        raise InputError(
            f"box {_first(array, inverted)} is inverted (expected x1 <= x2 and y1 <= y2)"
        )
    if width is not None and height is not None:
        limits = np.array([width, height, width, height], dtype=np.float64)
        outside = ((array < -1) | (array > limits + 1)).any(axis=1)
        if outside.any():
            raise InputError(
                f"box {_first(array, outside)} lies outside the {width}x{height} image"
            )
        array = np.clip(array, 0, limits)
    return array


def _words(values: Any, what: str, *, or_none: bool = False) -> tuple[Any, ...]:
    kind = str | None if or_none else str
    wanted = "texts or None" if or_none else "texts"
    if isinstance(values, str):
        raise InputError(f"{what} must be a sequence of {wanted}, got the text {values!r}")
    words = tuple(values)
    for word in words:
        if not isinstance(word, kind):
            raise InputError(f"{what} must be {wanted}, got {word!r}")
    return words


def _unit(values: Any, what: str) -> NDArray[np.float64]:
    """(n,) numbers in [0, 1] or NaN."""
    try:
        array = np.asarray(values, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} must be numbers: {error}") from None
    if (array < 0).any() or (array > 1).any():
        raise InputError(f"{what} must be in [0, 1], got {array.min()} to {array.max()}")
    return array


def _first(array: NDArray[np.float64], mask: Any) -> list[float]:
    return [float(v) for v in array[int(np.argmax(mask))]]
