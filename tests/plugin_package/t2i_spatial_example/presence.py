"""The share of the asked objects that a detector found, whatever stands where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from t2i_spatial.metrics.base import Metric, share
from t2i_spatial.metrics.numbers import Numbers, Rate
from t2i_spatial.metrics.tabular import join_prompts, verdict_table


@dataclass(kw_only=True)
class Presence(Metric):
    """Found names / asked names per image; correct when all were found."""

    parts: ClassVar[tuple[str, ...]] = ("found",)
    numbers: ClassVar[Numbers] = {"presence": Rate("value", meaning="asked objects found")}

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
            margin=pl.when(part == 1).then(1 / asked.list.len()).otherwise(part - 1),
            reason=pl.format("{} of the asked objects found", part),
            components={"found": part},
        )
