"""Protocols that look at answers instead of boxes: prompts to questions, answers to verdicts.

Both are pure functions of tables. An answer that a judge refused or gave in no usable form leaves
its part of the prompt undecided: like a part that was not read it never counts as satisfied (see
`in_part`), and the numbers named `..._at_most` say what it could have added at most.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.base import Metric, settled
from t2i_spatial.questions import ANSWERED
from t2i_spatial.scene import Prompt
from t2i_spatial.tables import DETECTOR_FAILED, IN_PART, KEY, NOT_APPLICABLE, SCORED, VERDICTS

QUESTION = ("prompt_id", "question_id")
WEIGHED = pl.Schema(
    [
        *((name, VERDICTS[name]) for name in (*KEY, "value", "correct", "margin", "reason")),
        *((name, VERDICTS[name]) for name in ("components", "unjudged")),
    ]
)
"""What `AnswerMetric.weigh` returns."""


@dataclass(kw_only=True)
class AnswerMetric(Metric):
    """A protocol whose evidence are answers.

    Attributes:
        rollouts: how often each question is asked.
        enough: usable answers after which it is asked no more; `None` asks `rollouts` times,
            whatever comes back.
    """

    evidence: ClassVar[str] = "answers"
    counts_questions: ClassVar[bool] = False
    """Components are shares of questions in which unusable answers count as wrong: they stand for
    images that were judged in part, too, and a component of its own says what is possible."""

    looks_at_scenes: ClassVar[bool] = True
    """Whether what was not read of a scene is left open; else what is asked is all there is."""

    rollouts: ClassVar[int] = 1
    enough: ClassVar[int | None] = None

    def adjectives(self, prompt: Prompt) -> tuple[str, ...]:
        """See `Metric.adjectives`: what is asked is judged."""
        return ()

    @abc.abstractmethod
    def questions(self, prompts: pl.DataFrame) -> pl.DataFrame:
        """QUESTIONS of a PROMPTS table; a prompt without any is `not_applicable`."""

    @abc.abstractmethod
    def weigh(
        self, prompts: pl.DataFrame, images: pl.DataFrame, answers: pl.DataFrame
    ) -> pl.DataFrame:
        """Verdicts of images that were asked about.

        Args:
            prompts: PROMPTS.
            images: `prompt_id, sample, tag` of the images to judge.
            answers: QUESTIONS of this protocol joined with their ANSWERS, the question's columns
                first, `status` being that of the answer.

        Returns:
            `prompt_id, sample, value, correct, margin, reason, components, unjudged`, one row per
            image; `unjudged` lists in words what its answers leave open.
        """

    def weigh_both(
        self,
        prompts: pl.DataFrame,
        images: pl.DataFrame,
        answers: pl.DataFrame,
        detections: pl.DataFrame,
    ) -> pl.DataFrame:
        """`weigh` of a protocol that looks at boxes too (`evidence` "both")."""
        raise InputError(f"{self.name} looks at answers alone")

    def judge_answers(
        self,
        prompts: pl.DataFrame,
        images: pl.DataFrame,
        answers: pl.DataFrame,
        detections: pl.DataFrame | None = None,
    ) -> pl.DataFrame:
        """One VERDICTS row per row of `images`, in its order.

        Args:
            prompts: PROMPTS.
            images: `prompt_id, sample, status, reason` of every expected image.
            answers: ANSWERS to `questions(prompts)`; rows to other questions are left alone.
            detections: DETECTIONS of the same images, for a protocol that looks at both.

        Raises:
            InputError: answers to some question, or the detections of a protocol that looks at
                both, are lacking altogether.
        """
        if self.evidence == "both" and detections is None:
            raise InputError(f"{self.name} looks at boxes and answers; detect as well as ask")
        questions = self.questions(prompts)
        asked = answers.join(questions, on=QUESTION, how="inner")
        self._refuse_unasked(questions, asked)
        images = images.select(*KEY, "status", "reason").join(
            prompts.select("prompt_id", "tag"), on="prompt_id", maintain_order="left"
        )
        applicable = questions.select("prompt_id").unique().with_columns(applies=pl.lit(True))
        images = images.join(applicable, on="prompt_id", how="left", maintain_order="left")
        applies = pl.col("applies").fill_null(False)
        judged = images.filter(applies & (pl.col("status") == SCORED)).select(*KEY, "tag")
        if self.evidence == "both" and detections is not None:
            judged = self.weigh_both(prompts, judged, asked, detections)
        else:
            judged = self.weigh(prompts, judged, asked)
        verdicts = images.join(judged, on=KEY, how="left", maintain_order="left", suffix="_judged")
        known = pl.col("reason_judged").is_not_null()
        scored = pl.col("status") == SCORED
        verdicts = verdicts.select(
            *KEY,
            pl.lit(self.name).alias("protocol"),
            "tag",
            "value",
            "correct",
            pl.when(~applies)
            .then(pl.lit(NOT_APPLICABLE))
            .when(scored & ~known)
            .then(pl.lit(DETECTOR_FAILED))
            .otherwise("status")
            .alias("status"),
            "margin",
            pl.when(~applies)
            .then(pl.lit("there is nothing to ask about this prompt"))
            .when(scored & ~known)
            .then(pl.lit("the judge has not been asked about this image"))
            .when(scored)
            .then("reason_judged")
            .otherwise(pl.coalesce("reason", "status"))
            .alias("reason"),
            pl.lit(None, VERDICTS["evidence"]).alias("evidence"),
            "components",
            "unjudged",
        )
        whole = verdicts.select(list(VERDICTS))
        result = settled(self, whole, prompts if self.looks_at_scenes else prompts.clear())
        if not self.counts_questions:
            return result
        kept = pl.when(result["status"] == IN_PART).then(whole["components"])
        return result.with_columns(kept.otherwise(result["components"]).alias("components"))

    def baselines(self, prompts: pl.DataFrame) -> dict[str, float]:
        """What a judge scores that looks at no picture, by name; shown beside the numbers."""
        return {}

    def remarks(self, prompts: pl.DataFrame) -> list[str]:
        """What is odd about the questions of these prompts, one line each."""
        return []

    def judge(self, prompts: pl.DataFrame, detections: pl.DataFrame) -> pl.DataFrame:
        """Boxes are no evidence here.

        Raises:
            InputError: always; a judge is to be asked.
        """
        raise InputError(
            f"{self.name} is judged from answers, not from boxes; run `t2i-spatial ask` first"
        )

    def _refuse_unasked(self, questions: pl.DataFrame, asked: pl.DataFrame) -> None:
        lacking = questions.join(asked, on=QUESTION, how="anti")
        if len(lacking):
            raise InputError(
                f"{len(lacking):,} of {len(questions):,} questions of {self.name} were not asked "
                f"(first: {lacking['text'][0]!r}); run `t2i-spatial ask RUN -p {self.name}`"
            )


def shares_right(asked: pl.DataFrame) -> pl.DataFrame:
    """How surely each question about each image was answered right.

    Args:
        asked: QUESTIONS joined with ANSWERS, as `AnswerMetric.weigh` gets them; questions without
            a right answer are left out.

    Returns:
        `prompt_id, sample, question_id, right, unsure`, one row per image and question. `right` is
        the mean over usable rollouts of the probability of the right answer, or of 1 and 0 where
        the judge gives no probabilities; null when no rollout is usable. `unsure` is the share of
        rollouts that are not.
    """
    usable = pl.col("status") == ANSWERED
    same = (pl.col("answer") == pl.col("gold")).cast(pl.Float64)
    given = asked.filter(pl.col("gold").is_not_null())
    if given["chances"].null_count() == len(given):
        surely = same
    else:
        given = given.with_row_index("row")
        listed = (
            given.select("row", "gold", "chances")
            .explode("chances")
            .filter(pl.col("chances").struct.field("answer") == pl.col("gold"))
            .select("row", pl.col("chances").struct.field("p").alias("chance"))
        )
        given = given.join(listed, on="row", how="left", maintain_order="left")
        # an answer that has no token of its own at this judge has no probability either
        chance = pl.col("chance").fill_null(0.0)
        surely = pl.when(pl.col("chances").is_null()).then(same).otherwise(chance)
    return given.group_by(*KEY, "question_id", maintain_order=True).agg(
        surely.filter(usable).mean().alias("right"), (~usable).mean().alias("unsure")
    )


def judge_said(facts: Mapping[str, Any]) -> str:
    """The judge in a few words: "Qwen3-VL-8B (yes_no/1; 5 votes)"."""
    name = facts.get("model") or facts.get("judge") or facts.get("answers")
    votes = facts.get("rollouts") or 0
    if facts.get("probabilities"):
        how = "probabilities" if votes < 2 else f"probabilities, {votes} times"
    else:
        how = f"{votes} votes" if votes != 1 else "1 vote"
    return f"{name} ({', '.join([*facts.get('templates', ()), how])})"
