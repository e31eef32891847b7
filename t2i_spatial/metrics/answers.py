"""Protocols that look at answers instead of boxes: prompts to questions, answers to verdicts.

Both are pure functions of tables. Answers that a judge did not give in a usable form, or refused,
are unsure: they widen the bounds of an image's value and are never counted as wrong or right alone.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.base import Metric


@dataclass(kw_only=True)
class AnswerMetric(Metric):
    """A protocol whose evidence are answers.

    Attributes:
        rollouts: how often each question is asked.
    """

    evidence: ClassVar[str] = "answers"
    rollouts: ClassVar[int] = 1

    @abc.abstractmethod
    def questions(self, prompts: pl.DataFrame) -> pl.DataFrame:
        """QUESTIONS of a PROMPTS table; a prompt without any is not judged."""

    @abc.abstractmethod
    def judge_answers(
        self, prompts: pl.DataFrame, images: pl.DataFrame, answers: pl.DataFrame
    ) -> pl.DataFrame:
        """One VERDICTS row per row of `images`, in its order.

        Args:
            prompts: PROMPTS.
            images: `prompt_id, sample, status, reason` of every expected image.
            answers: ANSWERS to `questions(prompts)`; further rows are left alone.
        """

    def judge(self, prompts: pl.DataFrame, detections: pl.DataFrame) -> pl.DataFrame:
        """Boxes are no evidence here.

        Raises:
            InputError: always; a judge is to be asked (`t2i-spatial ask`).
        """
        raise InputError(
            f"{self.name} is judged from answers, not from boxes; run `t2i-spatial ask` first"
        )
