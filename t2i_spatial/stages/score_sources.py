"""Scoring what is no run yet: a file of detections, or a folder of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from t2i_spatial import parts
from t2i_spatial.errors import InputError
from t2i_spatial.metrics.answers import AnswerMetric
from t2i_spatial.metrics.base import Metric
from t2i_spatial.metrics.numbers import DEFAULTS, Intervals
from t2i_spatial.questions import ANSWERS
from t2i_spatial.run import Run
from t2i_spatial.scene import Prompt
from t2i_spatial.stages.score import import_detections, score_run
from t2i_spatial.stages.score_answers import Answers
from t2i_spatial.stages.score_stream import is_large, score_parquet
from t2i_spatial.stages.scores import Scores, complete, score_tables
from t2i_spatial.stages.trust import Watch, warn
from t2i_spatial.tables import (
    DETECTIONS,
    IMAGE_MISSING,
    KEY,
    SCORED,
    conform,
    prompts_to_table,
)

if TYPE_CHECKING:
    from t2i_spatial.interchange.reading import DetectionFiles
    from t2i_spatial.stages.stage_settings import DetectSettings


def score_detections(
    detections: Path | DetectionFiles,
    prompts: Sequence[Prompt],
    protocols: Sequence[Metric],
    intervals: Intervals = DEFAULTS,
    *,
    output: Path | None = None,
    samples: int | None = None,
    overwrite: bool = False,
) -> Scores:
    """Score a file of detections; without `output` nothing is written.

    Args:
        detections: the file, or several and how they are to be read.
        output: run directory to make.

    Raises:
        T2ISpatialError: see `DetectionFiles`, `complete` and `import_detections`.
    """
    from t2i_spatial.interchange.reading import DetectionFiles

    _refuse_asking(protocols)
    if not isinstance(detections, DetectionFiles):
        detections = DetectionFiles((detections,))
    table = prompts_to_table(prompts)
    if len(detections.paths) == 1 and is_large(path := detections.paths[0]):
        place = None if output is None else _empty_run(output, table, path, overwrite)
        return score_parquet(path, table, protocols, intervals, output=place, samples=samples)
    found = detections.read(table)
    if output is None:
        rows = complete(found, table, samples=samples)
        scores = score_tables(table, rows, protocols, intervals)
        watch = Watch(protocols, table)
        watch.see(rows, table)
        warn(scores, protocols, watch)
        return scores
    run = Run.create(output)
    import_detections(run, table, found, detections.name, samples=samples, overwrite=overwrite)
    return score_run(run, protocols, intervals)


def score_answer_file(
    path: Path,
    prompts: Sequence[Prompt],
    protocols: Sequence[Metric],
    intervals: Intervals = DEFAULTS,
    *,
    samples: int | None = None,
) -> Scores:
    """Score a peer's result file (see `interchange.answer_files`); nothing is written.

    Raises:
        InputError: more than one protocol, one that judges boxes, or a file that is not its own.
    """
    from t2i_spatial.interchange.answer_files import read_answer_file

    if len(protocols) != 1 or not isinstance(protocols[0], AnswerMetric):
        raise InputError("a result file is of one protocol that judges by answers: name it with -p")
    table = prompts_to_table(prompts)
    answers = read_answer_file(path, table, protocols[0])
    seen = answers.select(*KEY).unique().with_columns(status=pl.lit(SCORED))
    images = complete(conform(seen, DETECTIONS, "results"), table, samples=samples)
    told = {IMAGE_MISSING: "the result file does not hold this image"}
    images = images.with_columns(
        pl.col("status").replace_strict(told, default=None).alias("reason")
    )
    # a picture that is not there has answers of its status, as the ask stage writes them
    questions = protocols[0].questions(table).select("prompt_id", "question_id")
    lost = images.filter(pl.col("status") != SCORED).select(*KEY, "status", "reason")
    lost = lost.join(questions, on="prompt_id").with_columns(rollout=pl.lit(0, pl.Int32))
    answers = pl.concat([answers, conform(lost, ANSWERS, "results")])
    with_p = bool(answers["chances"].is_not_null().any())
    plan = {"judge": f"not recorded, {path.name}", "probabilities": with_p}
    judge = Answers(path.name, answers, plan)
    return score_tables(table, images, protocols, intervals, answers=judge)


def score_images(
    images: Path,
    output: Path,
    protocols: Sequence[Metric],
    intervals: Intervals = DEFAULTS,
    *,
    prompts: Sequence[Prompt] | None = None,
    samples: int | None = None,
    detect: DetectSettings | None = None,
    overwrite: bool = False,
) -> Scores:
    """Detect and score a folder of images in the run directory `output`.

    Args:
        prompts: `None` takes the captions of the folder.

    Raises:
        T2ISpatialError: what `import_images`, `detect_run` and `score_run` raise.
    """
    from t2i_spatial.stages.detect import detect_run
    from t2i_spatial.stages.import_images import import_images

    _refuse_asking(protocols)  # before minutes of detection
    run = Run.create(output)
    import_images(run, images, prompts, samples, overwrite=overwrite)
    detect_run(run, detect, overwrite=overwrite)
    return score_run(run, protocols, intervals)


def _refuse_asking(protocols: Sequence[Metric]) -> None:
    """Refuse protocols that need a judge's answers, which only a run can hold."""
    for protocol in protocols:
        if isinstance(protocol, AnswerMetric):
            raise InputError(
                f"{protocol.name} judges by answers: make a run, then `t2i-spatial ask RUN -p "
                f"{protocol.name}` and `t2i-spatial score RUN -p {protocol.name}`"
            )


def _empty_run(output: Path, prompts: pl.DataFrame, source: Path, overwrite: bool) -> Run:
    """A run directory for the verdicts of a file that is too large to be copied into it."""
    run = Run.create(output)
    with run.writing():
        run.begin(
            "detect",
            {
                "detector": "imported",
                "source": str(source.resolve()),
                "content": parts.fingerprint(source),
            },
            overwrite=overwrite,
        )
        run.write_prompts(prompts)
        run.finish("detect", copied=False)
    return run
