"""GenEval: counts, colours and positions of COCO objects, the mean of six tags.

Source: djghosh13/geneval @ af4902f (`evaluate_images.py`, `summary_scores.py`); Ghosh et al.,
"GenEval: An Object-Focused Framework for Evaluating Text-to-Image Alignment".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from t2i_spatial.metrics.base import PROTOCOLS, Metric, Published, at_least_one, share
from t2i_spatial.metrics.clauses import POSITIONS, Judged, judge_clauses
from t2i_spatial.metrics.in_part import Scope
from t2i_spatial.metrics.numbers import Numbers, Rate
from t2i_spatial.metrics.tabular import box_column, evidence_lists, verdict_table
from t2i_spatial.prompts.readers.geneval_metadata import unread_keys
from t2i_spatial.scene import Prompt

TAGS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")

OVERALL = Rate("correct", meaning="mean of the tags", by_tag=True)
IMAGES_CORRECT = Rate("correct", meaning="images with every clause right")
PROMPTS_CORRECT = Rate("correct", meaning="prompts with at least 1 right image", at_least=1)


@dataclass(kw_only=True)
class ClauseMetric(Metric):
    """GenEval's detection settings, shared with the rewards that use its clauses."""

    scope: ClassVar[Scope] = Scope(
        relations=frozenset(POSITIONS),
        colors=None,
        counts=True,
        limits=True,
        absences=True,
    )

    things: ClassVar[bool] = False
    """Whether parts of a thing and boxes around several are left out."""

    threshold: float = share(0.3)
    """Boxes need a score above this."""

    counting_threshold: float = share(0.9)
    """The same for prompts tagged "counting"."""

    max_objects: int = at_least_one(16)
    """Only so many boxes of a class are looked at, the most confident first."""

    max_overlap: float = share(1.0)
    """Suppress boxes that overlap a better one of their class this much (1.0: never)."""

    position_threshold: float = share(0.1)
    """Share of the summed sides that the offset of two boxes loses."""

    def boxes_used(self, prompts: pl.DataFrame, detections: pl.DataFrame) -> pl.DataFrame:
        """The boxes that decide, best first: `row` in `detections`, `label, score, x1 …, color`."""
        return self._judged(prompts, detections).boxes

    def unjudged(self, prompt: Prompt) -> tuple[str, ...]:
        """See `Metric.unjudged`: of a GenEval record, what it says that GenEval's do not."""
        record = prompt.metadata.get("geneval", prompt.metadata)
        if isinstance(record, Mapping) and "include" in record:
            return unread_keys(record)
        return super().unjudged(prompt)

    def _judged(self, prompts: pl.DataFrame, detections: pl.DataFrame) -> Judged:
        names = {f.name for f in dataclasses.fields(ClauseMetric)} - {"only_read"}
        own = {name: value for name, value in self.settings.items() if name in names}
        return judge_clauses(prompts, detections, **own, things=self.things)


@PROTOCOLS.register("geneval")
@dataclass(kw_only=True)
class GenEval(Published, ClauseMetric):
    """Every clause of the prompt holds for the most confident boxes of its class.

    `margin` is that of the weakest clause: (found - count) / count for too few boxes, the share of
    wrong colours below 0, (limit - found) / count for an exclusion (0, not above it, when it is
    reached), and for positions the reduced offset along the relation minus 0.5.

    Denominators: GenEval takes the images that are in its results file. That is
    `summarize(allow_missing=True)`; otherwise every expected image counts.
    """

    parts: ClassVar[tuple[str, ...]] = ("counts", "colors", "positions", "exclusions")
    title: ClassVar[str] = "GenEval"
    numbers: ClassVar[Numbers] = {
        "overall": OVERALL,
        "images_correct": IMAGES_CORRECT,
        "prompts_correct": PROMPTS_CORRECT,
    }
    groups: ClassVar[Mapping[str, Sequence[str]]] = {"tag": ("images_correct",)}

    def judge(self, prompts: pl.DataFrame, detections: pl.DataFrame) -> pl.DataFrame:
        """See `Metric.judge`. Components are 1 or 0, null for what the prompt does not ask.

        An image whose deciding boxes have no colour, though the prompt asks for one, is
        `detector_failed`: no colour stage has run.
        """
        judged = self._judged(prompts, detections)
        clauses = with_matches(judged.clauses)
        per_image = clauses.group_by("row").agg(
            pl.col("matched").all(),
            pl.col("enough").all().cast(pl.Float64).alias("counts"),
            _all_where(pl.col("colored"), pl.col("wanted").is_not_null()).alias("colors"),
            _all_where(pl.col("placed"), pl.col("relation").is_not_null()).alias("positions"),
            pl.min_horizontal("count_margin", "color_margin", "position_margin")
            .min()
            .alias("clause_margin"),
            (pl.col("unknown") * pl.col("enough")).sum().alias("unknown"),
            doubts().alias("doubts"),
            pl.col("problem").drop_nulls(),
            pl.col("fact").drop_nulls(),
        )
        per_excluded = judged.excluded.group_by("row").agg(
            (pl.col("found") < pl.col("count")).all().cast(pl.Float64).alias("exclusions"),
            ((pl.col("count") - pl.col("found")) / (pl.col("count") - 1).clip(1))
            .min()
            .alias("excluded_margin"),
            pl.format("{} {} found, too many", "found", "label")
            .filter(pl.col("found") >= pl.col("count"))
            .alias("surplus"),
        )
        images = judged.images.join(per_image, on="row", how="left", maintain_order="left").join(
            per_excluded, on="row", how="left", maintain_order="left"
        )
        correct = pl.col("matched") & (pl.col("exclusions").fill_null(1.0) == 1.0)
        wrong = pl.concat_list(
            pl.col("problem").fill_null([]), pl.col("surplus").fill_null([])
        ).list.join("; ")
        return verdict_table(
            images,
            self.name,
            applicable=pl.col("why_not").is_null(),
            why_not=pl.col("why_not"),
            failed=colors_missing(),
            unjudged=pl.col("doubts").fill_null([]),
            value=correct,
            correct=correct,
            margin=pl.min_horizontal("clause_margin", "excluded_margin"),
            reason=pl.when(correct).then(pl.col("fact").list.join("; ")).otherwise(wrong),
            evidence=clause_evidence(judged),
            components={name: pl.col(name) for name in self.parts},
        )


def with_matches(clauses: pl.DataFrame) -> pl.DataFrame:
    """Adds to the rows of `Judged.clauses` whether each clause is matched, and what to say of it.

    A clause is matched when there are enough boxes, all the most confident ones have the colour,
    and, for a position, the target is matched and every pair is in relation.
    """
    colored = pl.col("right") >= pl.min_horizontal("count", "found")
    positioned = pl.col("relation").is_not_null()
    base = clauses.with_columns(
        colored.alias("colored"),
        (pl.col("enough") & colored).alias("matched"),
        (~positioned | ((pl.col("pairs") > 0) & (pl.col("holding") == pl.col("pairs")))).alias(
            "in_relation"
        ),
    ).with_columns(pl.col("matched").alias("own"))
    target = pl.col("target_matched")
    # a target may have a position of its own, and so on: as deep as there are clauses
    for _ in range(int(base["clause"].max() or 0) + 1):  # type: ignore[arg-type]
        matched = base.group_by("row", "clause").agg(pl.col("matched").all())
        base = (
            base.drop("target_matched", strict=False)
            .join(
                matched.rename({"clause": "target", "matched": "target_matched"}),
                on=["row", "target"],
                how="left",
                maintain_order="left",
            )
            .with_columns(
                (pl.col("own") & (~positioned | (target & pl.col("in_relation"))))
                .fill_null(False)
                .alias("matched")
            )
        )
    noun = pl.col("label")
    problem = (
        pl.when(~pl.col("enough"))
        .then(pl.format("{} of {} {} found", "found", "count", noun))
        .when(~pl.col("colored"))
        .then(pl.format("{} of {} {} is {}", "right", "count", noun, "wanted"))
        .when(positioned & ~target)
        .then(pl.format("no {} for {} to be {}", "target_label", noun, "relation"))
        .when(positioned & (pl.col("direction") < -0.5))
        .then(pl.format("{} is not {} {} but on its other side", noun, "relation", "target_label"))
        .when(positioned & ~pl.col("in_relation"))
        .then(pl.format("{} is not {} {}", noun, "relation", "target_label"))
    )
    fact = (
        pl.when(positioned)
        .then(pl.format("{} is {} {}", noun, "relation", "target_label"))
        .when(pl.col("wanted").is_not_null())
        .then(pl.format("{} {} {}", "right", "wanted", noun))
        .otherwise(pl.format("{} {} found", "found", noun))
    )
    return base.with_columns(
        (pl.col("own") & target & pl.col("in_relation")).fill_null(False).alias("placed"),
        problem.alias("problem"),
        fact.alias("fact"),
        pl.when(~pl.col("enough"))
        .then((pl.col("found") - pl.col("count")) / pl.col("count"))
        .otherwise(1.0)
        .alias("count_margin"),
        pl.when(pl.col("colored"))
        .then(1.0)
        .otherwise((pl.col("right") - pl.col("count")) / pl.col("count"))
        .alias("color_margin"),
        pl.when(positioned)
        .then(pl.col("direction").fill_null(-0.5) - 0.5)
        .alias("position_margin"),
    )


def doubts() -> pl.Expr:
    """Colours of an image that the expert cannot tell, in words: over `Judged.clauses`."""
    said = pl.format("{} {}", "wanted", "label")
    return said.filter(pl.col("doubtful") > 0).unique(maintain_order=True)


def colors_missing() -> pl.Expr:
    """Why an image cannot be judged: boxes of unknown colour where the prompt asks for one."""
    return pl.when(pl.col("unknown") > 0).then(
        pl.lit(
            "the prompt asks for a colour, and the boxes have none (detect and serve: --color, "
            "LocalScorer: color=)"
        )
    )


def _all_where(expr: pl.Expr, asked: pl.Expr) -> pl.Expr:
    """1 or 0 over the clauses that ask for it, null when none does."""
    return pl.when(asked.any()).then((expr | ~asked).all()).cast(pl.Float64)


def clause_evidence(judged: Judged) -> pl.DataFrame:
    """The boxes that decided: of every clause the most confident ones, as many as it asks for."""
    wanted = judged.clauses.unique(["row", "clause"]).select("row", "clause", "label", "count")
    chosen = (
        wanted.join(judged.boxes, on=["row", "label"])
        .filter(pl.col("rank") < pl.col("count"))
        .sort("row", "clause", "rank")
    )
    return evidence_lists(
        chosen.select(
            "row", pl.format("clause {}", "clause").alias("role"), "label", "score"
        ).with_columns(box_column(chosen))
    )
