"""From verdicts to a summary: sums over the images of every prompt, then numbers of those sums.

Tallies of parts of a run add up, so a run of any size needs the memory of its prompts only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from t2i_spatial.metrics.numbers import Intervals, Numbers, Rate, into_unit
from t2i_spatial.scene import RELATIONS
from t2i_spatial.statistics.intervals import (
    Floats,
    Interval,
    cluster_share_interval,
    mean_of_ratios_interval,
    ratio_interval,
)
from t2i_spatial.tables import IN_PART, NOT_APPLICABLE, SCORED, STATUSES

NOT_WHOLE = ("prompts_in_part", "prompts_left_out")
"""Prompts that a protocol did not judge whole: those that count, and those that do not."""


def tally_verdicts(verdicts: pl.DataFrame, parts: Sequence[str], numbers: Numbers) -> pl.DataFrame:
    """One row per prompt: `prompt_id, tag`, the images of every status, two sums per number, and
    the images of prompts that were not judged whole (`NOT_WHOLE`).
    """
    sums = [
        term.sum().alias(f"{name} {side}")
        for name, rate in numbers.items()
        for side, term in zip(("above", "below"), rate.terms(parts), strict=True)
    ]
    lacking = pl.col("unjudged").list.len().fill_null(0) > 0
    out = pl.col("status") == NOT_APPLICABLE
    counts = [(pl.col("status") == s).sum().cast(pl.Int64).alias(s) for s in STATUSES]
    counts += [
        (lacking & which).sum().cast(pl.Int64).alias(name)
        for name, which in zip(NOT_WHOLE, (~out, out), strict=True)
    ]
    return verdicts.group_by("prompt_id", maintain_order=True).agg(
        pl.col("tag").first(), *counts, *sums
    )


def add_tallies(tallies: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The tally of several parts of a run together."""
    together = pl.concat(tallies)
    sums = [name for name in together.columns if name not in ("prompt_id", "tag")]
    return together.group_by("prompt_id", maintain_order=True).agg(
        pl.col("tag").first(), pl.col(sums).sum()
    )


def image_counts(tally: pl.DataFrame, with_adjectives: int = 0) -> dict[str, int]:
    """`expected` (all that the protocol applies to) and the number of images of every status.

    When not all prompts were judged whole: how many `prompts` there are, and which (`NOT_WHOLE`),
    and those `with_adjectives` that are not judged.
    """
    by_status = {s: int(tally[s].sum()) for s in STATUSES}
    expected = sum(n for s, n in by_status.items() if s != NOT_APPLICABLE)
    not_whole = {name: n for name in NOT_WHOLE if (n := int((tally[name] > 0).sum()))}
    if with_adjectives:
        not_whole["prompts_with_adjectives"] = with_adjectives
    return (
        {"expected": expected}
        | {s: n for s, n in by_status.items() if n}
        | ({"prompts": len(tally), **not_whole} if not_whole else {})
    )


def applicable_prompts(tally: pl.DataFrame) -> pl.DataFrame:
    """The prompts of a tally that the protocol applies to, with the images `expected` of each."""
    expected = pl.sum_horizontal(s for s in STATUSES if s != NOT_APPLICABLE)
    return (
        tally.with_columns(expected.alias("expected"), pl.col("tag").fill_null("other"))
        .filter(pl.col("expected") > 0)
        # so that intervals do not depend on the order in which images came
        .sort("prompt_id")
    )


def entries(rows: pl.DataFrame, numbers: Numbers, intervals: Intervals) -> dict[str, Any]:
    """Entries of a summary from `applicable_prompts`, one for each of `numbers`."""
    lost = (rows["expected"] - rows[SCORED] - rows[IN_PART]).to_numpy().astype(np.float64)
    result = {}
    for name, rate in numbers.items():
        above, known = (rows[f"{name} {side}"].to_numpy() for side in ("above", "below"))
        missing = lost if rate.denominator is None else np.zeros(len(rows))
        below = known if intervals.allow_missing else known + missing
        used = below > 0
        interval = _interval(rate, above[used], below[used], rows.filter(used), intervals)
        most = (known + missing).max(initial=0)
        if rate.at_least is not None and most < rate.at_least and not intervals.allow_missing:
            interval = Interval(None, None, None, 0, 0)
        result[name] = {
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
            "n_prompts": int(used.sum()),
            "n_images": round(known.sum()),
            "n_expected": round((known + missing).sum()),
        }
    return result


def grouped_entries(
    rows: pl.DataFrame, members: pl.DataFrame, numbers: Numbers, intervals: Intervals
) -> dict[str, dict[str, Any]]:
    """`entries` for the prompts of every member of a group, in the order of `members`."""
    parts = rows.join(members, on="prompt_id", maintain_order="left").partition_by(
        "member", as_dict=True
    )
    names = members["member"].unique(maintain_order=True)
    return {name: entries(parts[(name,)], numbers, intervals) for name in names if (name,) in parts}


def members_of(group: str, prompts: pl.DataFrame) -> pl.DataFrame:
    """`prompt_id, member`: which relations, objects or tag each of PROMPTS has, each once.

    Args:
        group: "relation", "object" or "tag".
    """
    if group == "tag":
        return prompts.select("prompt_id", pl.col("tag").fill_null("other").alias("member"))
    field = {"relation": "relation", "object": "name"}[group]
    members = (
        prompts.select("prompt_id", pl.col(f"{group}s").alias("member"))
        .explode("member")
        .select("prompt_id", pl.col("member").struct.field(field).alias("member"))
        .drop_nulls()
        .unique(maintain_order=True)
    )
    # relations as the vocabulary has them, everything else by name
    place = pl.col("member").replace_strict(list(RELATIONS), range(len(RELATIONS)), default=None)
    return members.sort(place, "member", nulls_last=True, maintain_order=True)


def _interval(
    rate: Rate, above: Floats, below: Floats, rows: pl.DataFrame, intervals: Intervals
) -> Interval:
    options: dict[str, Any] = {"seed": intervals.seed, "resamples": intervals.resamples}
    prompts = np.arange(len(rows))
    if rate.at_least is not None:
        return cluster_share_interval(above, rate.at_least, prompts)
    if rate.by_tag:
        codes = rows["tag"].to_numpy()
        groups = {tag: codes == tag for tag in rows["tag"].unique().sort()}
        return mean_of_ratios_interval(
            {tag: (above[at], below[at], prompts[at]) for tag, at in groups.items()}, **options
        )
    if rate.bounded or len(rows) == 0:
        return ratio_interval(above, below, prompts, **options)
    low, span = into_unit(above / below)
    scaled = ratio_interval(
        below * np.clip((above / below - low) / span, 0, 1), below, prompts, **options
    )
    value, lower, upper = (
        None if x is None else low + span * x for x in (scaled.value, scaled.low, scaled.high)
    )
    return Interval(value, lower, upper, scaled.n_clusters, scaled.n)


def not_whole(images: Mapping[str, Any]) -> list[str]:
    """What is said of prompts that were not judged whole, from the counts of a summary."""
    told = {
        "prompts_in_part": "judged in part: not right (--only-read leaves them out)",
        "prompts_left_out": "not judged whole, and left out",
    }
    lines = [
        f"{images[key]:,} of {images['prompts']:,} prompts {words}"
        for key, words in told.items()
        if images.get(key)
    ]
    if number := images.get("prompts_with_adjectives"):
        lines.append(f"adjectives are not judged in {number:,} of {images['prompts']:,} prompts")
    return lines
