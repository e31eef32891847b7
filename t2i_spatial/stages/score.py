"""The score stage: a run, a folder of images or a file of detections in, verdicts and numbers out.

No GPU, no torch, but for images that must be looked at first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from t2i_spatial import parts
from t2i_spatial.detectors.score_levels import fitted
from t2i_spatial.metrics.base import Metric
from t2i_spatial.metrics.numbers import DEFAULTS, Intervals
from t2i_spatial.progress import note
from t2i_spatial.run import Run, writes_run
from t2i_spatial.stages import contents
from t2i_spatial.stages.auditing.audit import audit_again
from t2i_spatial.stages.auditing.labelled import has_labels
from t2i_spatial.stages.protocols import make_protocols as make_protocols
from t2i_spatial.stages.score_answers import Answers, find_answers
from t2i_spatial.stages.score_record import (
    begin_scores,
    finish_scores,
    give_stopped_bounds,
    needs_boxes,
)
from t2i_spatial.stages.score_record import detections_hash as detections_hash
from t2i_spatial.stages.score_stream import Sums, in_slices, run_slices
from t2i_spatial.stages.score_table import format_table as format_table
from t2i_spatial.stages.scores import STAGE
from t2i_spatial.stages.scores import Scores as Scores
from t2i_spatial.stages.scores import complete as complete
from t2i_spatial.stages.scores import expected as expected
from t2i_spatial.stages.scores import score_tables as score_tables
from t2i_spatial.stages.trust import Watch, warn


@writes_run
def score_run(
    run: Run,
    protocols: Sequence[Metric],
    intervals: Intervals = DEFAULTS,
    *,
    samples: int | None = None,
    answers: str | None = None,
    calibrated: Mapping[str, Any] | None = None,
) -> Scores:
    """Score what is stored in a run; writes `verdicts/*.parquet` and `summary.json`.

    The boxes of a large run are judged slice by slice, and the verdicts are not returned then.
    Numbers of other protocols in `summary.json` are kept if they were made from the same
    prompts and detections or answers, and dropped with a note otherwise. Nothing is raised for
    missing images; see `Scores.require_complete`.

    Args:
        answers: of `answers/<answers>.parquet`, for protocols that judge by answers; by default
            the only ones there are.
        calibrated: what the summary says of settings that were fitted to labels of people, by
            protocol.

    Raises:
        InputError: the run has no prompts, or not what a protocol judges by, or `complete` refuses
            the detections.
        PlanMismatchError: the pictures, or the names that prompts ask for, are not those that
            were detected.
    """
    prompts = run.prompts()
    given = find_answers(run, protocols, answers)
    calibrated = calibrated or {}
    backend = run.plan("detect").get("backend")
    protocols = [p if p.name in calibrated else fitted(p, backend) for p in protocols]
    with contextlib.ExitStack() as stack:
        sums = None
        if given is None and in_slices(run, protocols):
            _check_pictures(run, prompts)
            run.require_finished("detect")
            sums = stack.enter_context(Sums(prompts, protocols, run))
            slices = run_slices(run, prompts, samples)
            sums.see(slices, parts.count(run.path / "images.parquet"))
            scores, watch = sums.scores(intervals), sums.watch
        else:
            scores, watch = _score_whole(run, prompts, protocols, intervals, samples, given)
        warn(scores, protocols, watch, run)
        for name, facts in calibrated.items():
            scores.summary[name]["calibrated"] = facts
            note(f"{name}: settings {facts['name']!r}, fitted to labels of people")
        begin_scores(run, protocols, intervals, answers=given)
        for protocol in protocols:
            plan = run.plan(STAGE)[protocol.name]
            give_stopped_bounds(run, plan, protocol.name, scores.summary)
        if sums is not None:
            sums.publish()
    for name, table in scores.verdicts.items():
        run.write_verdicts(table, name)
    finish_scores(run, scores)
    if has_labels(run):
        audit_again(run)
        audited = run.summary()
        scores = dataclasses.replace(scores, summary={n: audited[n] for n in scores.summary})
    return scores


def _score_whole(
    run: Run,
    prompts: pl.DataFrame,
    protocols: Sequence[Metric],
    intervals: Intervals,
    samples: int | None,
    given: Answers | None,
) -> tuple[Scores, Watch]:
    """The scores of a run that fits into memory, and what was seen of its boxes."""
    shown = expected(run, prompts, samples) if given is not None else None
    if shown is not None and not any(needs_boxes(protocol) for protocol in protocols):
        detections = shown
    else:
        detections = _detections(run, prompts, samples)
    scores = score_tables(prompts, detections, protocols, intervals, images=shown, answers=given)
    watch = Watch(protocols, prompts)
    watch.see(detections, prompts)
    return scores, watch


def _detections(run: Run, prompts: pl.DataFrame, samples: int | None) -> pl.DataFrame:
    """The stored detections, complete, of the images and prompts that the run has now."""
    images = None
    if run.has("images.parquet"):
        images = run.images()
        _check_pictures(run, prompts)
    return complete(run.detections(), prompts, samples=samples, images=images)


def _check_pictures(run: Run, prompts: pl.DataFrame) -> None:
    """Refuse boxes of other names or pictures than the run has now."""
    run.require_finished("generate", "import")
    contents.require_same_names(run, "detect", prompts)
    contents.require_same(run, "detect", run.path / "images.parquet")


@writes_run
def import_detections(
    run: Run,
    prompts: pl.DataFrame,
    detections: pl.DataFrame,
    source: str,
    *,
    samples: int | None = None,
    overwrite: bool = False,
) -> None:
    """Put prompts and detections of another origin into a run directory.

    Raises:
        PlanMismatchError: the directory holds detections of another file.
        InputError: `complete` refuses the detections.
    """
    table = complete(detections, prompts, samples=samples)
    digest = hashlib.blake2b(digest_size=16)
    for row in prompts.iter_rows():
        digest.update(repr(row).encode())
    digest.update(table.hash_rows().to_numpy().tobytes())
    run.begin(
        "detect",
        {"detector": "imported", "source": source, "content": digest.hexdigest()},
        overwrite=overwrite,
    )
    run.write_prompts(prompts)
    run.write_detections(table)
    run.finish("detect", n_images=len(table))
