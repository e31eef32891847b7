"""The reward that image models are trained on with GenEval prompts, as it is and mended.

Source: yifan123/reward-server @ 92ac29f, `gen_eval.py` (used by flow_grpo and its successors).
"""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import polars as pl

from t2i_spatial.metrics.base import PROTOCOLS, Published
from t2i_spatial.metrics.geneval import (
    OVERALL,
    PROMPTS_CORRECT,
    ClauseMetric,
    clause_evidence,
    colors_missing,
    doubts,
    with_matches,
)
from t2i_spatial.metrics.in_part import Scope
from t2i_spatial.metrics.numbers import Numbers, Rate
from t2i_spatial.metrics.tabular import verdict_table
from t2i_spatial.scene import Prompt


@dataclass(kw_only=True)
class _Reward(ClauseMetric):
    # exclusions are not looked at, and numbers are meant exactly
    scope: ClassVar[Scope] = replace(ClauseMetric.scope, limits=False, absences=False)
    parts: ClassVar[tuple[str, ...]] = ("strict", "nonstrict", "soft")
    numbers: ClassVar[Numbers] = {
        "strict": Rate("correct", meaning="images with every count, colour and position exact"),
        "nonstrict": Rate("nonstrict", meaning="images that GenEval accepts"),
        # it has no lower end, except where it is mended
        "soft": Rate("value", meaning="mean reward", bounded=False, own_scale=True),
        "overall": OVERALL,
        "prompts_correct": PROMPTS_CORRECT,
    }
    groups: ClassVar[Mapping[str, Sequence[str]]] = {"tag": ("strict",)}

    def unjudged(self, prompt: Prompt) -> tuple[str, ...]:
        """See `Metric.unjudged`: an exclusion, too, that exact counts do not imply."""
        record = prompt.metadata.get("geneval", prompt.metadata)
        asked = {c["class"]: c["count"] for c in record.get("include") or ()}
        excluded = [
            f"no {clause['class']}" if clause["count"] == 1 else f"fewer {clause['class']}"
            for clause in record.get("exclude") or ()
            if not asked.get(clause["class"], math.inf) < clause["count"]
        ]
        return (*super().unjudged(prompt), *excluded)

    @abc.abstractmethod
    def _score(self, clauses: pl.DataFrame) -> pl.DataFrame:
        """`row, soft`: the mean of the terms of every image."""

    def judge(self, prompts: pl.DataFrame, detections: pl.DataFrame) -> pl.DataFrame:
        """See `Metric.judge`. Components: the strict reward, GenEval's own verdict, the soft
        reward.
        """
        judged = self._judged(prompts, detections)
        loose = with_matches(judged.clauses)
        strict = with_matches(judged.clauses.with_columns(pl.col("exact").alias("enough")))
        per_image = (
            strict.group_by("row")
            .agg(
                pl.col("matched").all().alias("strict"),
                pl.col("unknown").sum(),
                doubts().alias("doubts"),
                pl.col("problem").drop_nulls(),
                pl.col("fact").drop_nulls(),
            )
            .join(loose.group_by("row").agg(pl.col("matched").all().alias("nonstrict")), on="row")
            .join(self._score(strict), on="row")
        )
        excluded = judged.excluded.group_by("row").agg(
            (pl.col("found") < pl.col("count")).all().alias("none_excluded")
        )
        images = judged.images.join(per_image, on="row", how="left", maintain_order="left").join(
            excluded, on="row", how="left", maintain_order="left"
        )
        strict_right = pl.col("strict")
        nonstrict = pl.col("nonstrict") & pl.col("none_excluded").fill_null(True)
        soft = pl.col("soft")
        return verdict_table(
            images,
            self.name,
            applicable=pl.col("why_not").is_null(),
            why_not=pl.col("why_not"),
            failed=colors_missing(),
            unjudged=pl.col("doubts").fill_null([]),
            value=soft,
            correct=strict_right,
            margin=pl.when(strict_right).then(1.0).otherwise(soft - 1),
            reason=pl.when(strict_right)
            .then(pl.col("fact").list.join("; "))
            .otherwise(pl.col("problem").list.join("; ")),
            evidence=clause_evidence(judged),
            components=dict(zip(self.parts, (strict_right, nonstrict, soft), strict=True)),
        )


@PROTOCOLS.register("geneval_reward")
@dataclass(kw_only=True)
class GenEvalReward(Published, _Reward):
    """The reward server's strict and soft scores exactly as they are.

    `value` is the soft score and may lie below 0: 16 cats where one is asked give -4.33 for
    "a cat left of a dog". `correct` is the strict reward: every count met exactly, every colour
    and position right; exclusions are not looked at.
    """

    title: ClassVar[str] = "GenEval reward"

    def _score(self, clauses: pl.DataFrame) -> pl.DataFrame:
        asks_more = pl.col("wanted").is_not_null() | pl.col("relation").is_not_null()
        count = 1 - (pl.col("count") - pl.col("found")).abs() / pl.col("count")
        color = 1 - (pl.col("count") - pl.col("right")).abs() / pl.col("count")
        exact, colored = pl.col("exact"), pl.col("wanted").is_not_null()
        has_position = exact & pl.col("colored") & pl.col("relation").is_not_null()
        reachable = has_position & pl.col("target_matched")
        nothing = pl.lit([], dtype=pl.List(pl.Float64))

        def terms(condition: pl.Expr, value: pl.Expr) -> pl.Expr:
            return (
                pl.when(condition).then(pl.concat_list(value.cast(pl.Float64))).otherwise(nothing)
            )

        return (
            _first_of_clause(clauses)
            .select(
                "row",
                pl.concat_list(
                    terms(pl.col("first"), count),
                    terms(pl.col("first") & ~exact & asks_more, pl.lit(0.0)),
                    terms(pl.col("first") & exact & colored, color),
                    terms(has_position & ~pl.col("target_matched"), pl.lit(0.0)),
                    # a failed relation is counted as 0 and then as 1 too
                    terms(reachable & ~pl.col("in_relation"), pl.lit(0.0)),
                    terms(reachable, pl.lit(1.0)),
                ).alias("terms"),
            )
            .explode("terms")
            .group_by("row")
            .agg(pl.col("terms").drop_nulls().mean().alias("soft"))
        )


@PROTOCOLS.register("geneval_reward_fixed")
@dataclass(kw_only=True)
class GenEvalRewardFixed(_Reward):
    """The same idea, mended: in [0, 1], and wrong side < ambiguous < right side.

    Mean of one term per clause and question: the count (1 - |asked - found| / asked, not below
    0), the colour (share of the asked number that has it), and the position (reduced offset along
    the relation plus 0.5, cut to [0, 1], averaged over the pairs: 1 on the right side, about 0.5
    where neither side can be told, 0 on the wrong side or without boxes). A surplus object does
    not switch the other terms off. Parts of a thing and boxes around several are no objects.
    """

    things: ClassVar[bool] = True

    numbers: ClassVar[Numbers] = {
        **_Reward.numbers,
        "soft": Rate("value", meaning="mean reward", own_scale=True),
    }

    def _score(self, clauses: pl.DataFrame) -> pl.DataFrame:
        count = (1 - (pl.col("count") - pl.col("found")).abs() / pl.col("count")).clip(0, 1)
        first = pl.col("first")
        return (
            _first_of_clause(clauses)
            .select(
                "row",
                pl.concat_list(
                    pl.when(first).then(count),
                    pl.when(first & pl.col("wanted").is_not_null()).then(
                        pl.col("right") / pl.col("count")
                    ),
                    pl.when(pl.col("relation").is_not_null()).then(
                        pl.col("mean_term").fill_null(0.0)
                    ),
                ).alias("terms"),
            )
            .explode("terms")
            .group_by("row")
            .agg(pl.col("terms").drop_nulls().mean().alias("soft"))
        )


def _first_of_clause(clauses: pl.DataFrame) -> pl.DataFrame:
    """Marks one row per clause: with two relations a clause has two, but one count."""
    return clauses.with_columns(
        (pl.int_range(pl.len()).over("row", "clause") == 0).alias("first"),
        pl.col("target_matched").fill_null(False),
    )
