"""Warnings that a careful person would raise before believing a score; no labels are needed.

Each is one line with a number. They change no score.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from t2i_spatial.curation.filters.near_duplicates import perceptual_hash
from t2i_spatial.detectors.score_levels import misfits
from t2i_spatial.errors import T2ISpatialError
from t2i_spatial.files import read_table
from t2i_spatial.images import read_image
from t2i_spatial.metrics.base import Metric
from t2i_spatial.progress import note
from t2i_spatial.run import Run
from t2i_spatial.stages.scores import Scores
from t2i_spatial.statistics.intervals import Floats
from t2i_spatial.tables import SCORED

FEW = 50
"""Images, boxes or pairs below which nothing is said."""
AS_OFTEN = 0.5
"""Not asked names found at least so often, relative to asked ones, are no evidence."""
BOXES = 15.0
"""Boxes per asked name and image above which they are no things."""
NAMED = 0.25
"""Share of the asked names that must occur among the labels of all images."""
LOOKS = 200
"""Pictures, of different prompts, that are looked at for being the same."""
SAME_BITS = 4
SAME = 0.1


def warnings_of(protocol: Metric, prompts: pl.DataFrame, detections: pl.DataFrame) -> list[str]:
    """What to say of the boxes and prompts that a protocol judges.

    Args:
        prompts, detections: PROMPTS, and DETECTIONS of all expected images.
    """
    told = list(_of_prompts(prompts, detections))
    if protocol.evidence == "boxes":
        told += _of_boxes(protocol, prompts, detections)
        told += misfits(protocol, prompts, detections)
    return told


def warn(
    scores: Scores,
    protocols: Sequence[Metric],
    prompts: pl.DataFrame,
    detections: pl.DataFrame,
    run: Run | None = None,
) -> None:
    """Print every warning once, and add `warnings` to the parts of the summary that they are about.

    Args:
        run: whose pictures are looked at too.
    """
    pictures = same_pictures(run) if run is not None and run.has("images.parquet") else []
    said: list[str] = []
    for protocol in protocols:
        told = [*warnings_of(protocol, prompts, detections), *pictures]
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
    images = run.images().filter(pl.col("status") == SCORED)
    if run.has("contents/detect.parquet") and len(images) >= 2:
        seen = read_table(run.path / "contents" / "detect.parquet").drop_nulls("sha256")
        shared = seen.group_by("sha256").agg(pl.col("prompt_id").n_unique(), pl.len())
        count = int(shared.filter(pl.col("prompt_id") > 1)["len"].sum())
        if count:
            told.append(
                f"{count:,} of {len(seen):,} pictures are, byte for byte, those of other prompts"
            )
    if share := _look_alike(run, images, seed):
        told.append(
            f"{100 * share:.0f} % of pairs of pictures of different prompts look the same: does "
            "the generator read its prompts?"
        )
    return told


def _of_prompts(prompts: pl.DataFrame, detections: pl.DataFrame) -> Iterator[str]:
    unread = int((prompts["unparsed"].list.len().fill_null(0) > 0).sum())
    if unread:
        yield f"{unread:,} of {len(prompts):,} prompts were read in part"
    per_prompt = detections.group_by("prompt_id").len()["len"]
    if len(per_prompt) >= 2 and per_prompt.max() == 1:
        yield (
            f"one image for each of {len(per_prompt):,} prompts: what is chance and what is the "
            "prompt cannot be told apart; four or more tell"
        )


def _of_boxes(protocol: Metric, prompts: pl.DataFrame, detections: pl.DataFrame) -> Iterator[str]:
    settings = protocol.settings
    least = next((settings[k] for k in ("threshold", "min_score") if k in settings), 0.0)
    looked = detections.filter(pl.col("status") == SCORED)
    boxes = (
        looked.with_row_index("row")
        .select("row", "prompt_id", pl.col("detections"))
        .explode("detections")
        .drop_nulls("detections")
        .select(
            "row",
            "prompt_id",
            pl.col("detections").struct.field("label"),
            pl.col("detections").struct.field("score"),
        )
    )
    asked = (
        prompts.select("prompt_id", pl.col("objects").alias("label"))
        .explode("label")
        .select("prompt_id", pl.col("label").struct.field("name").alias("label"))
        .drop_nulls()
        .unique()
    )
    if len(looked) < FEW or asked.is_empty():
        return
    above = boxes.filter(pl.col("score") > least)
    yield from _not_told_apart(looked, above, asked)
    wanted = len(looked.select("prompt_id").join(asked, on="prompt_id"))
    if wanted and len(above) / wanted > BOXES:
        yield (
            f"{len(above) / len(looked):,.0f} boxes an image with a score above {least:g}, "
            f"{len(above) / wanted:,.0f} for every asked name: hardly all of them things"
        )
    if len(boxes) >= FEW and float(boxes["score"].to_numpy().std()) < 1e-6:
        yield (
            f"all {len(boxes):,} boxes have the score {boxes['score'][0]:.3g}: no threshold tells "
            "sure ones from others"
        )
    names = asked["label"].unique()
    known = int(names.is_in(boxes["label"].unique().implode()).sum())
    if len(names) >= 4 and known < NAMED * len(names):
        yield (
            f"{known:,} of {len(names):,} asked names occur among the labels of the boxes; do the "
            "labels have other names than the prompts?"
        )


def _not_told_apart(
    looked: pl.DataFrame, above: pl.DataFrame, asked: pl.DataFrame
) -> Iterator[str]:
    """Are names that were not asked found about as often as asked ones?

    Only where boxes hold names that their prompt does not ask for.
    """
    names = asked["label"].unique()
    found = above.filter(pl.col("label").is_in(names.implode())).unique(["row", "label"])
    hits = len(found.join(asked, on=["prompt_id", "label"], how="semi"))
    others = len(found) - hits
    pairs = len(looked.select("prompt_id").join(asked, on="prompt_id"))
    other_pairs = len(looked) * len(names) - pairs
    if min(pairs, other_pairs) < FEW or not hits:
        return
    rate, other = hits / pairs, others / other_pairs
    if other > AS_OFTEN * rate:
        yield (
            f"names that were not asked are found in {100 * other:.0f} % of images, asked ones in "
            f"{100 * rate:.0f} %: the detector hardly tells them apart"
        )


def _look_alike(run: Run, images: pl.DataFrame, seed: int) -> float | None:
    """Share of pairs of different prompts that are a few bits apart; `None` if it is low."""
    one = images.sort("prompt_id", "sample").unique("prompt_id", keep="first", maintain_order=True)
    if len(one) < 10:
        return None
    chosen = one.sample(min(LOOKS, len(one)), seed=seed, shuffle=True)["image"]
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
