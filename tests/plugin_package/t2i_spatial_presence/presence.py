"""The share of the asked objects that a detector found, whatever stands where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import polars as pl

from t2i_spatial.metrics.base import Metric, Summary, counted, entry, image_counts, share
from t2i_spatial.metrics.numbers import Rate
from t2i_spatial.metrics.tabular import join_prompts, verdict_table
from t2i_spatial.statistics.intervals import ratio_interval


@dataclass(kw_only=True)
class Presence(Metric):
    """Found names / asked names per image; correct when all were found."""

    parts: ClassVar[tuple[str, ...]] = ("found",)
    rates: ClassVar[Mapping[str, Rate]] = {"presence": Rate("value")}

    threshold: float = share(0.1)

    def judge(self, prompts: pl.DataFrame, detections: pl.DataFrame) -> pl.DataFrame:
        names = pl.col("objects").list.eval(pl.element().struct.field("name")).list.unique()
        images = join_prompts(detections, prompts.select("prompt_id", "tag", names.alias("asked")))
        found = (
            pl.col("detections")
            .list.filter(pl.element().struct.field("score") > self.threshold)
            .list.eval(pl.element().struct.field("label"))
        )
        asked = pl.col("asked")
        part = asked.list.set_intersection(found).list.len() / asked.list.len()
        return verdict_table(
            images,
            self.name,
            applicable=asked.list.len() > 0,
            why_not="the prompt names no object",
            value=part,
            correct=part == 1,
            margin=part - 1,
            reason=pl.format("{} of the asked objects found", part),
            components={"found": part},
        )

    def summarize(
        self,
        verdicts: pl.DataFrame,
        prompts: pl.DataFrame,
        *,
        allow_missing: bool = False,
        seed: int = 0,
        resamples: int = 2000,
    ) -> Summary:
        rows = counted(verdicts, allow_missing)
        interval = ratio_interval(
            rows["value"].fill_null(0.0).to_numpy(),
            np.ones(len(rows)),
            rows["prompt_id"],
            seed=seed,
            resamples=resamples,
        )
        counts = image_counts(verdicts)
        return {"presence": entry(interval, rows["prompt_id"].n_unique(), counts), "images": counts}
