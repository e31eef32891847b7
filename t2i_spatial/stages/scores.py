"""What scoring gives: verdicts, the summary, and how much of what was asked could be scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from t2i_spatial.checks import check_box_counts
from t2i_spatial.errors import IncompleteRunError, InputError
from t2i_spatial.metrics.answers import AnswerMetric, judge_said
from t2i_spatial.metrics.base import Metric, Summary
from t2i_spatial.metrics.numbers import DEFAULTS, Intervals
from t2i_spatial.notebook import html_table, percent
from t2i_spatial.progress import note
from t2i_spatial.run import Run
from t2i_spatial.stages.score_answers import Answers
from t2i_spatial.tables import (
    DETECTIONS,
    DETECTOR_FAILED,
    IMAGE_MISSING,
    IN_PART,
    KEY,
    NOT_APPLICABLE,
    SCORED,
    conform,
    expected_images,
)

STAGE = "score"
STOPPING = "stopping"
"""The stage of a run that was judged only until a number was known."""
MOST_IMAGES = 100_000_000
"""More expected images than this are a mistake in a number, refused before memory is taken."""


@dataclass(frozen=True)
class Scores:
    """What the stage found.

    Attributes:
        verdicts: protocol -> VERDICTS.
        summary: protocol -> published numbers, as in `summary.json`.
        n_expected: images that the prompt set asks for (prompts without any object left out).
        n_scored: images among them that were looked at.
    """

    verdicts: dict[str, pl.DataFrame]
    summary: dict[str, Summary]
    n_expected: int
    n_scored: int

    def _repr_html_(self) -> str:
        """The numbers of every protocol in per cent, for a notebook."""
        rows = [
            (
                f"{name} by {judge_said(numbers['judge'])}" if "judge" in numbers else name,
                number,
                *percent(entry),
            )
            for name, numbers in self.summary.items()
            for number, entry in numbers.items()
            if "value" in entry
        ]
        scored = f"{self.n_scored:,} of {self.n_expected:,} images scored"
        return html_table(scored, ("protocol", "number", "%", "95 %"), rows)

    def require_complete(self) -> None:
        """Raise unless every image was scored by every protocol that applies to it.

        Raises:
            IncompleteRunError: naming how many are missing.
        """
        lacking = {"": (self.n_expected, self.n_scored)} | {
            f" by {name}": (
                part["images"]["expected"],
                part["images"].get(SCORED, 0) + part["images"].get(IN_PART, 0),
            )
            for name, part in self.summary.items()
        }
        for by, (expected, scored) in lacking.items():
            if scored < expected:
                raise IncompleteRunError(
                    f"{expected - scored:,} of {expected:,} images have no score{by} and count as "
                    "failures; make them, or use --allow-missing to leave them out"
                )


def complete(
    detections: pl.DataFrame,
    prompts: pl.DataFrame,
    *,
    samples: int | None = None,
    images: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """DETECTIONS with one row for every expected image, in the order of the prompts.

    Args:
        detections: DETECTIONS; images may be absent.
        prompts: PROMPTS, the denominator.
        samples: images expected per prompt; further ones are left out with a note. Default: as
            many as the largest sample number says.
        images: IMAGES of a run, which then say what is expected; an image that they call
            unreadable or missing keeps that status and reason.

    Raises:
        InputError: an image twice, or of no prompt of the set, or not in `images`.
    """
    check_box_counts(detections)
    if detections.select(KEY).is_duplicated().any():
        twice = detections.filter(detections.select(KEY).is_duplicated()).select(KEY).row(0)
        raise InputError(f"the detections hold the same image twice: {twice}")
    unknown = detections.join(prompts, on="prompt_id", how="anti")
    if len(unknown):
        raise InputError(
            f"{len(unknown):,} of {len(detections):,} images belong to no prompt of the set "
            f"(first: prompt id {unknown['prompt_id'][0]!r}); is this the right prompt file?"
        )
    if images is not None:
        expected = images.select(*KEY, "status", "reason")
        if samples is not None:
            wanted = _sample_numbers(images, prompts, samples)
            expected = expected.filter(pl.col("sample").is_in(list(wanted)))
    else:
        expected = expected_images(
            prompts, _sample_numbers(detections, prompts, samples)
        ).with_columns(
            pl.lit(IMAGE_MISSING).alias("status"),
            pl.lit("the detections do not contain this image").alias("reason"),
        )
    beyond = len(detections.join(expected, on=KEY, how="anti"))
    if beyond and samples is None:
        raise InputError(
            f"the detections hold {beyond:,} images that the run does not have; detect again"
        )
    if beyond:
        note(f"{beyond:,} images beyond {samples} per prompt are not used")
    unseen = pl.col("seen").is_null()
    made = pl.col("status_expected") == SCORED
    return (
        expected.rename({"status": "status_expected", "reason": "reason_expected"})
        .join(
            detections.with_columns(pl.lit(True).alias("seen")),
            on=KEY,
            how="left",
            maintain_order="left",
        )
        .with_columns(
            pl.when(unseen & made)
            .then(pl.lit(DETECTOR_FAILED))
            .when(unseen)
            .then(pl.col("status_expected"))
            .otherwise(pl.col("status"))
            .alias("status"),
            pl.when(unseen & made)
            .then(pl.lit("no detector has looked at this image"))
            .when(unseen)
            .then(pl.col("reason_expected"))
            .otherwise(pl.col("reason"))
            .alias("reason"),
        )
        .select(list(DETECTIONS))
    )


def score_tables(
    prompts: pl.DataFrame,
    detections: pl.DataFrame,
    protocols: Sequence[Metric],
    intervals: Intervals = DEFAULTS,
    *,
    images: pl.DataFrame | None = None,
    answers: Answers | None = None,
) -> Scores:
    """Judge a complete DETECTIONS table (see `complete`) by every protocol.

    Args:
        images: `prompt_id, sample, status, reason` of the expected images, for protocols that
            judge by answers; a detector that failed is none of their business.
        answers: for the same.

    Raises:
        InputError: an image belongs to no prompt, or a protocol needs answers and there are none.
    """
    verdicts = {}
    summary = {}
    for protocol in protocols:
        if isinstance(protocol, AnswerMetric) and answers is not None:
            shown = detections if images is None else images
            boxes = detections if protocol.evidence == "both" else None
            verdicts[protocol.name] = protocol.judge_answers(prompts, shown, answers.table, boxes)
        else:
            verdicts[protocol.name] = protocol.judge(prompts, detections)
        summary[protocol.name] = protocol.summarize(verdicts[protocol.name], prompts, intervals)
        if isinstance(protocol, AnswerMetric) and answers is not None:
            asked = protocol.questions(prompts)
            summary[protocol.name]["judge"] = answers.facts(protocol, asked)
            measured = answers.measured(asked)
            measured["careful"] = [*measured["careful"], *protocol.remarks(prompts)]
            summary[protocol.name]["measured"] = measured
            if blind := protocol.baselines(prompts):
                summary[protocol.name]["baselines"] = blind
        if summary[protocol.name]["images"]["expected"] == 0 and len(detections):
            reason = verdicts[protocol.name]["reason"][0]
            note(f"{protocol.name} applies to none of these prompts ({reason})")
    n_scored = int((detections["status"] == SCORED).sum())
    n_unasked = int((detections["status"] == NOT_APPLICABLE).sum())
    return Scores(verdicts, summary, len(detections) - n_unasked, n_scored)


def expected(run: Run, prompts: pl.DataFrame, samples: int | None) -> pl.DataFrame:
    """The images that a run is to have, as DETECTIONS without boxes: for protocols that need none.

    Raises:
        InputError: the run has no images.
    """
    images = run.images()
    found = conform(images.drop("seed"), DETECTIONS, "images")
    return complete(found, prompts, samples=samples, images=images)


def _sample_numbers(
    detections: pl.DataFrame, prompts: pl.DataFrame, samples: int | None
) -> Sequence[int]:
    numbers = _numbers(detections, samples)
    if len(numbers) * len(prompts) > MOST_IMAGES:
        raise InputError(
            f"{len(prompts):,} prompts with samples {numbers[0]} to {numbers[-1]} are "
            f"{len(numbers) * len(prompts):,} images, {len(detections):,} are there; are the "
            "sample numbers those within their prompt?"
        )
    return numbers


def _numbers(detections: pl.DataFrame, samples: int | None) -> Sequence[int]:
    if len(detections) == 0:
        return range(samples or 1)
    first = min(int(detections["sample"].min() or 0), 1)  # type: ignore[arg-type]
    if samples is not None:
        return range(first, first + samples)
    return range(first, int(detections["sample"].max() or 0) + 1)  # type: ignore[arg-type]
