"""Pick images to label, and plan how many labels an interval takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.files import write_table
from t2i_spatial.labels.picking import PICKS, draw, probabilities, scaled, together
from t2i_spatial.metrics.tally import members_of
from t2i_spatial.progress import note
from t2i_spatial.run import Run, writes_run
from t2i_spatial.stages import contents
from t2i_spatial.stages.auditing.labelled import (
    FEWEST,
    PICKED,
    existing_images,
    has_labels,
    read_labelled,
    read_picks,
)
from t2i_spatial.stages.auditing.settings import PickSettings, PlanSettings
from t2i_spatial.statistics.audit import labels_needed
from t2i_spatial.statistics.intervals import Floats
from t2i_spatial.tables import IN_PART, KEY, SCORED

CHANCES = "labels/chances.parquet"
"""Probability of every image of having been picked so far: what a further batch adds to."""

ASSUMED_ACCURACY = 0.85
PICKING, PLANNING = PickSettings(), PlanSettings()


@writes_run
def pick_run(run: Run, settings: PickSettings = PICKING) -> pl.DataFrame:
    """Pick a further batch of images to label; writes and returns the PICKS of all batches.

    Images that are picked already are not picked again; their recorded probability becomes that of
    all batches together.

    Raises:
        InputError: too few images, or nothing to tell uncertain ones by.
    """
    images = existing_images(run).sort(KEY)
    before = _chances_so_far(run, images)
    earlier = read_picks(run)
    chance = None
    if settings.picker != "uniform":
        chance = automatic_chances(run, images, settings.protocols)
    parts = _relations(run, images) if settings.per_relation else None
    left = images.join(earlier, on=KEY, how="anti").height
    if not settings.number <= left:
        raise InputError(f"{settings.number:,} images are to be picked, {left:,} are left")
    wish, strata = probabilities(settings.picker, settings.number, chance, len(images), parts)
    known = earlier.select(*KEY, pl.lit(True).alias("known"))
    marked = images.select(KEY).join(known, on=KEY, how="left", maintain_order="left")
    is_fresh = marked["known"].is_null().to_numpy()
    now = scaled(wish, settings.number, is_fresh)
    rng = np.random.default_rng([settings.seed, len(earlier)])
    places = np.flatnonzero(is_fresh)
    seed = int(rng.integers(2**32))
    chosen = places[draw(now[places], strata[places], images["prompt_id"].gather(places), seed)]
    # an image that was picked before had, by the same rule, a chance now as well
    joint = together(before, now)
    all_chances = images.select(*KEY).with_columns(pl.Series("pi", joint))
    batch = earlier["batch"][-1] + 1 if len(earlier) else 1
    order = rng.permutation(chosen)
    rows = images[order].join(all_chances, on=KEY, how="left", maintain_order="left")
    seen = contents.look(run, rows, contents.load(run, "detect") or {})
    hashes = [seen[key].sha256 for key in rows.select(*KEY).iter_rows()]
    made = rows.select(
        pl.Series("place", range(len(earlier), len(earlier) + len(rows)), dtype=pl.Int32),
        *KEY,
        "image",
        pl.Series("image_sha256", hashes, dtype=pl.String),
        pl.lit(settings.picker).alias("picker"),
        "pi",
        pl.lit(batch, dtype=pl.Int32).alias("batch"),
        pl.lit(settings.seed, dtype=pl.Int64).alias("seed"),
        pl.Series("twice", rng.permutation(len(rows)) < round(settings.twice * len(rows))),
    )
    old = earlier.drop("pi").join(all_chances, on=KEY, how="left", maintain_order="left")
    picks = pl.concat([old.select(list(PICKS)), made.select(list(PICKS))])
    write_table(run.path / CHANCES, all_chances)
    write_table(run.path / PICKED, picks)
    return picks


def automatic_chances(
    run: Run, images: pl.DataFrame, protocols: tuple[str, ...] | list[str] = ()
) -> Floats:
    """Probability that each image is right: mean of the values of several protocols.

    An image without a value is as uncertain as can be.

    Raises:
        InputError: the run has not been scored by (one of) them.
    """
    names = list(protocols) or list(run.plan("score"))
    if not names:
        raise InputError(f"{run.path} has no scores yet; run `t2i-spatial score` first")
    columns = []
    for name in names:
        value = pl.when(pl.col("status").is_in([SCORED, IN_PART])).then(pl.col("value"))
        table = run.verdicts(name, [*KEY, "status", "value"]).select(
            *KEY, value.clip(0, 1).alias("p")
        )
        found = images.join(table, on=KEY, how="left", maintain_order="left")["p"]
        columns.append(found.fill_null(0.5).to_numpy())
    return np.asarray(np.mean(columns, axis=0))


def plan_labels(
    run: Run | None,
    settings: PlanSettings = PLANNING,
) -> dict[str, Any]:
    """How many labels give an interval of the wanted width, and what that assumes.

    With 50 labels or more in the run they are the pilot; otherwise accuracy and rate are assumed.
    """
    rate, explained, source = settings.rate, None, "assumed"
    images = None
    if run is not None:
        images = len(existing_images(run))
        if settings.accuracy is None and has_labels(run):
            pilot = read_labelled(run, assume_uniform=True)
            known = pilot.truths.filter(pl.col("image").is_not_null())
            if len(known) >= FEWEST:
                from t2i_spatial.stages.auditing.audit import audit_run

                first = audit_run(run, save=False).first
                if first is not None:
                    rate = first["value"] if rate is None else rate
                    explained, source = first["explained"], f"{len(known):,} labels"
        if rate is None:
            rate = _automatic_rate(run)
    rate = 0.5 if rate is None else rate
    accuracy = settings.accuracy or ASSUMED_ACCURACY
    if explained is None:
        # errors both ways: correlation of labels with a scorer of that accuracy, at this rate
        spread, error = rate * (1 - rate), 1 - accuracy
        score = rate * accuracy + (1 - rate) * error
        shared = spread * (1 - 2 * error)
        own = score * (1 - score)
        explained = min(1.0, shared**2 / (spread * own)) if spread * own > 0 else 0.0
    needed = labels_needed(settings.half_width, rate, explained, images)
    alone = labels_needed(settings.half_width, rate, 0.0, images)
    return {
        "half_width": settings.half_width,
        "labels": needed,
        "labels_without_scores": alone,
        "rate": rate,
        "explained": explained,
        "source": source,
        "images": images,
        "minutes": round(needed * 8 / 60),
    }


def format_plan(plan: dict[str, Any]) -> str:
    """The plan for a person."""
    lines = [
        f"{plan['labels']:,} labels for ± {100 * plan['half_width']:.1f} points "
        f"(about {plan['minutes']:,} minutes at 8 seconds each; "
        f"{plan['labels_without_scores']:,} without automatic scores)",
        f"  {plan['source']}: {100 * plan['rate']:.0f} % right, scores explain "
        f"{100 * plan['explained']:.0f} % of the labels' variance",
        "  a scorer that agrees with you on 90 % of images about doubles each label; on 80 % it "
        "adds half; below 70 % it is hardly worth it",
    ]
    if plan["images"] is not None and plan["labels"] >= plan["images"]:
        lines.append(f"  that is every one of the {plan['images']:,} images")
    return "\n".join(lines)


def _automatic_rate(run: Run) -> float | None:
    for numbers in run.summary().values():
        for entry in numbers.values():
            if isinstance(entry, dict) and isinstance(entry.get("value"), float):
                return float(min(max(entry["value"], 0.02), 0.98))
    return None


def _relations(run: Run, images: pl.DataFrame) -> list[str]:
    """The first relation of every image's prompt."""
    members = members_of("relation", run.prompts()).unique("prompt_id", maintain_order=True)
    joined = images.join(members, on="prompt_id", how="left", maintain_order="left")
    if joined["member"].null_count():
        note(
            f"{joined['member'].null_count():,} images ask for no relation: one group of their own"
        )
    return joined["member"].fill_null("none").to_list()


def _chances_so_far(run: Run, images: pl.DataFrame) -> Floats:
    from t2i_spatial.files import read_table

    path = run.path / CHANCES
    if not path.exists():
        return np.zeros(len(images))
    known = images.join(read_table(path), on=KEY, how="left", maintain_order="left")
    return known["pi"].fill_null(0.0).to_numpy()
