"""Warnings that a careful person would raise before believing a score; no labels are needed.

Each is one line with a number. They change no score.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from t2i_spatial import parts
from t2i_spatial.curation.filters.near_duplicates import perceptual_hash
from t2i_spatial.detectors.score_levels import misfits, reached
from t2i_spatial.errors import T2ISpatialError
from t2i_spatial.images import read_image
from t2i_spatial.metrics.base import Metric
from t2i_spatial.progress import note
from t2i_spatial.run import Run
from t2i_spatial.stages.box_counts import (
    BoxCounts,
    asked_names,
    count_boxes,
    found_boxes,
    least_score,
)
from t2i_spatial.stages.scores import Scores
from t2i_spatial.statistics.intervals import Floats
from t2i_spatial.tables import SCORED

LOOKS = 200
"""Pictures, of different prompts, that are looked at for being the same."""
SAME_BITS = 4
SAME = 0.1


class Watch:
    """What is counted of boxes and prompts while a run is scored, slice by slice."""

    def __init__(self, protocols: Sequence[Metric], prompts: pl.DataFrame) -> None:
        self._prompts = prompts
        self._names = asked_names(prompts)["label"].unique()
        self._protocols = {p.name: p for p in protocols if p.evidence == "boxes"}
        self._boxes = dict.fromkeys(self._protocols, BoxCounts())
        self._levels: dict[str, dict[str, tuple[int, int]]] = {key: {} for key in self._protocols}
        self._once: list[pl.Series] | None = []
        """Ids of the prompts seen so far, until one comes twice."""

    def see(self, detections: pl.DataFrame, prompts: pl.DataFrame) -> None:
        """Count further rows of DETECTIONS, all of images that were not seen before.

        Args:
            prompts: those of these images.
        """
        self._look_for_samples(detections["prompt_id"])
        boxes, asked = found_boxes(detections), asked_names(prompts)
        looked = detections.filter(pl.col("status") == SCORED).select("prompt_id")
        for name, protocol in self._protocols.items():
            self._boxes[name] += count_boxes(
                boxes, looked, asked, self._names, least_score(protocol)
            )
            known = self._levels[name]
            self._levels[name] = {
                key: (n + known.get(key, (0, 0))[0], above + known.get(key, (0, 0))[1])
                for key, (n, above) in reached(protocol, prompts, detections).items()
            }

    def _look_for_samples(self, ids: pl.Series) -> None:
        if self._once is not None:
            self._once.append(ids)
            if ids.is_duplicated().any() or pl.concat(self._once[-2:]).is_duplicated().any():
                self._once = None

    def warnings(self, protocol: Metric) -> list[str]:
        """What to say of the boxes and prompts that a protocol judges."""
        told = list(self._of_prompts())
        if protocol.name in self._boxes:
            told += self._boxes[protocol.name].said(self._names, least_score(protocol))
            told += misfits(protocol, self._levels[protocol.name])
        return told

    def _of_prompts(self) -> Iterator[str]:
        unread = int((self._prompts["unparsed"].list.len().fill_null(0) > 0).sum())
        if unread:
            yield f"{unread:,} of {len(self._prompts):,} prompts were read in part"
        once = pl.concat(self._once) if self._once else pl.Series(dtype=pl.String)
        if len(once) >= 2 and not once.is_duplicated().any():
            yield (
                f"one image for each of {len(once):,} prompts: what is chance and what is "
                "the prompt cannot be told apart; four or more tell"
            )


def warnings_of(protocol: Metric, prompts: pl.DataFrame, detections: pl.DataFrame) -> list[str]:
    """What to say of the boxes and prompts that a protocol judges.

    Args:
        prompts, detections: PROMPTS, and DETECTIONS of all expected images.
    """
    watch = Watch([protocol], prompts)
    watch.see(detections, prompts)
    return watch.warnings(protocol)


def warn(scores: Scores, protocols: Sequence[Metric], watch: Watch, run: Run | None = None) -> None:
    """Print every warning once, and add `warnings` to the parts of the summary that they are about.

    Args:
        watch: which has seen all expected images.
        run: whose pictures are looked at too.
    """
    pictures = same_pictures(run) if run is not None and run.has("images.parquet") else []
    said: list[str] = []
    for protocol in protocols:
        of_judge = scores.summary[protocol.name].get("measured", {}).get("careful", ())
        told = [*watch.warnings(protocol), *of_judge, *pictures]
        if told:
            scores.summary[protocol.name]["warnings"] = told
        said += [line for line in told if line not in said]
    for line in said:
        note(f"careful: {line}")


def same_pictures(run: Run, seed: int = 0) -> list[str]:
    """Whether pictures of different prompts are the same or look the same.

    Equal files are found among all pictures whose contents a stage has noted, look-alikes among at
    most 200.
    """
    told = []
    run.require_finished("generate", "import")
    images = _first_images(run.table_path("images.parquet"))
    seen = run.path / "contents" / "detect.parquet"
    if seen.exists() and len(images) >= 2:
        looked = parts.scan(seen, ["prompt_id", "sha256"]).drop_nulls("sha256")
        total = int(looked.select(pl.len()).collect(engine="streaming").item())
        count = 0
        for (some,) in parts.buckets([looked], "sha256", total):
            shared = some.group_by("sha256").agg(pl.col("prompt_id").n_unique(), pl.len())
            count += int(shared.filter(pl.col("prompt_id") > 1)["len"].sum())
        if count:
            told.append(
                f"{count:,} of {total:,} pictures are, byte for byte, those of other prompts"
            )
    if share := _look_alike(run, images, seed):
        told.append(
            f"{100 * share:.0f} % of pairs of pictures of different prompts look the same: does "
            "the generator read its prompts?"
        )
    return told


def _first_images(path: Path) -> pl.DataFrame:
    """The first image of every prompt that has one, in the order of the prompt ids."""
    columns = ["prompt_id", "sample", "image", "status"]
    some = [parts.scan(path, columns).head(0).collect()]
    for batch in parts.batches(path, columns):
        some.append(_first(batch.filter(pl.col("status") == SCORED)))
    return _first(pl.concat(some))


def _first(images: pl.DataFrame) -> pl.DataFrame:
    ordered = images.sort("prompt_id", "sample")
    return ordered.unique("prompt_id", keep="first", maintain_order=True)


def _look_alike(run: Run, images: pl.DataFrame, seed: int) -> float | None:
    """Share of pairs of different prompts that are a few bits apart; `None` if it is low."""
    if len(images) < 10:
        return None
    chosen = images.sample(min(LOOKS, len(images)), seed=seed, shuffle=True)["image"]
    hashes = np.array([h for name in chosen if (h := _hash(run, name)) is not None], np.uint64)
    bits: Floats = np.unpackbits(hashes.view(np.uint8).reshape(-1, 8), axis=1).astype(np.float64)
    if len(bits) < 10:
        return None
    distances = bits @ (1 - bits).T
    distances = distances + distances.T
    pairs = distances[np.triu_indices(len(bits), 1)]
    share = float((pairs <= SAME_BITS).mean())
    return share if share > SAME else None


def _hash(run: Run, image: str) -> int | None:
    try:
        return perceptual_hash(read_image(run.image_path(image)))
    except (T2ISpatialError, OSError):
        return None  # the table says that it can be read; who looks at it says otherwise
