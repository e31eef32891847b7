"""What the ask stage has to ask: pure functions of tables."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.judges.openai_api import LISTED
from t2i_spatial.metrics.answers import AnswerMetric
from t2i_spatial.questions import ANSWERED, ANSWERS, ERROR
from t2i_spatial.tables import IMAGE_MISSING, IMAGE_UNREADABLE, KEY, SCORED, conform

TIMES = ("rollouts", "enough")
"""How often a question is asked at most, and usable answers after which it is not asked again."""
QUESTIONED = ("prompt_id", "sample", "question_id")
ASKED = (*QUESTIONED, "rollout")
AGAIN = (ERROR, IMAGE_MISSING, IMAGE_UNREADABLE)
"""What is tried once more by the next call."""
IMAGE_TOKENS = 1_000
"""What `--dry-run` takes an image to cost; models differ from 64 to several thousand."""


def questions_of(protocols: Iterable[AnswerMetric], prompts: pl.DataFrame) -> pl.DataFrame:
    """QUESTIONS of all protocols with the `rollouts` each needs and how many usable ones are
    `enough`, what is the same once.

    Raises:
        InputError: no protocol asks anything of these prompts.
    """
    tables = [
        p.questions(prompts).with_columns(
            pl.lit(p.rollouts, pl.Int32).alias("rollouts"),
            pl.lit(p.enough or p.rollouts, pl.Int32).alias("enough"),
        )
        for p in protocols
    ]
    if not tables or not any(len(table) for table in tables):
        names = ", ".join(p.name for p in protocols) or "none given"
        raise InputError(f"there is nothing to ask about these prompts by the protocols: {names}")
    return (
        pl.concat(tables)
        .group_by("prompt_id", "question_id", maintain_order=True)
        .agg(pl.exclude(*TIMES).first(), pl.col(*TIMES).max())
    )


def times(questions: pl.DataFrame, rollouts: int | None, votes: int | None = None) -> pl.DataFrame:
    """The questions with `rollouts` of the user, or `votes` where answers are listed."""
    if rollouts is not None:
        return questions.with_columns(pl.lit(rollouts, pl.Int32).alias(name) for name in TIMES)
    if votes is None:
        return questions
    sampled = pl.when(pl.col("kind").is_in(LISTED)).then(pl.lit(votes, pl.Int32))
    return questions.with_columns(pl.max_horizontal(name, sampled).alias(name) for name in TIMES)


def expected(
    images: pl.DataFrame, questions: pl.DataFrame, times: str = "rollouts"
) -> pl.DataFrame:
    """`prompt_id, sample, question_id, rollout, enough` of all that may be asked.

    Args:
        times: `rollouts`, or `enough` for what is asked if every reply is usable.
    """
    asked = questions.select(
        "prompt_id",
        "question_id",
        pl.int_ranges(0, pl.col(times), dtype=pl.Int32).alias("rollout"),
        "enough",
    ).explode("rollout")
    return images.select(*KEY).join(asked, on="prompt_id", how="inner", maintain_order="left_right")


def pending(
    images: pl.DataFrame,
    questions: pl.DataFrame,
    done: pl.DataFrame,
    tried: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """What is still to be asked of pictures that are there: as many as usable answers lack.

    Args:
        tried: what was asked in this call, and is not asked in it again.
    """
    there = images.filter(pl.col("status") == SCORED)
    answered = done.filter(~pl.col("status").is_in(AGAIN)).select(*ASKED)
    left = expected(there, questions).join(answered, on=ASKED, how="anti", maintain_order="left")
    if tried is not None:
        left = left.join(tried, on=ASKED, how="anti", maintain_order="left")
    usable = done.filter(pl.col("status") == ANSWERED).group_by(*QUESTIONED).len("usable")
    # where every rollout is wanted, unusable ones are wanted no less
    lacking = pl.col("enough") - pl.col("usable").fill_null(0).cast(pl.Int64)
    every = questions.select(
        "prompt_id", "question_id", (pl.col("enough") >= pl.col("rollouts")).alias("every")
    )
    return (
        left.join(usable, on=QUESTIONED, how="left", maintain_order="left")
        .join(every, on=["prompt_id", "question_id"], how="left", maintain_order="left")
        .filter(pl.col("every") | (pl.int_range(pl.len()).over(QUESTIONED) < lacking))
        .select(*ASKED)
    )


def complete(images: pl.DataFrame, questions: pl.DataFrame, done: pl.DataFrame) -> pl.DataFrame:
    """A row for everything that was asked or can never be: lost pictures have their own status."""
    lost = images.filter(pl.col("status") != SCORED).select(*KEY, "status", "reason")
    gone = expected(lost, questions, "enough").select(*ASKED)
    gone = gone.join(lost, on=KEY, maintain_order="left")
    gone = gone.join(done, on=ASKED, how="anti", maintain_order="left")
    order = images.select(*KEY).with_row_index("place")
    return (
        pl.concat([done, conform(gone, ANSWERS, "answers")])
        .join(order, on=KEY, maintain_order="left")  # inner: images no longer expected go
        .sort("place", maintain_order=True)
        .drop("place")
    )


def cost(pending: pl.DataFrame, questions: pl.DataFrame) -> dict[str, int]:
    """What asking would take: requests, pictures sent, tokens (pictures at `IMAGE_TOKENS`)."""
    texts = questions.select(
        "prompt_id",
        "question_id",
        (pl.col("text").str.len_chars() + pl.col("options").list.join(" ").str.len_chars())
        .floordiv(4)
        .alias("tokens"),
    )
    tokens = pending.join(texts, on=["prompt_id", "question_id"])["tokens"].sum()
    return {
        "requests": len(pending),
        "images": pending.select(*KEY).n_unique(),
        "tokens": int(tokens) + len(pending) * IMAGE_TOKENS,
    }
