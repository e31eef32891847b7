"""The score stage: a run, a folder of images or a file of detections in, verdicts and numbers out.

No GPU, no torch, but for images that must be looked at first.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from t2i_spatial.detectors.score_levels import fitted
from t2i_spatial.errors import InputError
from t2i_spatial.files import read_json
from t2i_spatial.metrics.answers import AnswerMetric
from t2i_spatial.metrics.base import Metric, Summary
from t2i_spatial.metrics.numbers import DEFAULTS, Intervals
from t2i_spatial.progress import note
from t2i_spatial.run import Run, writes_run
from t2i_spatial.stages import contents
from t2i_spatial.stages.auditing.audit import audit_again
from t2i_spatial.stages.auditing.labelled import has_labels
from t2i_spatial.stages.protocols import make_protocols as make_protocols
from t2i_spatial.stages.score_answers import Answers, answers_path, find_answers
from t2i_spatial.stages.score_table import format_table as format_table
from t2i_spatial.stages.scores import STAGE, STOPPING
from t2i_spatial.stages.scores import Scores as Scores
from t2i_spatial.stages.scores import complete as complete
from t2i_spatial.stages.scores import expected as expected
from t2i_spatial.stages.scores import score_tables as score_tables
from t2i_spatial.stages.trust import warn

if TYPE_CHECKING:
    pass

SOURCES = ("prompts.parquet", "detections/main.parquet")
"""Files of a run that scores are made from."""


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
    shown = expected(run, prompts, samples) if given is not None else None
    if shown is not None and not any(_needs_boxes(protocol) for protocol in protocols):
        detections = shown
    else:
        detections = _detections(run, prompts, samples)
    calibrated = calibrated or {}
    protocols = [
        protocol if protocol.name in calibrated else fitted(protocol, backend)
        for backend in [run.plan("detect").get("backend")]
        for protocol in protocols
    ]
    scores = score_tables(prompts, detections, protocols, intervals, images=shown, answers=given)
    warn(scores, protocols, prompts, detections, run)
    for name, facts in calibrated.items():
        scores.summary[name]["calibrated"] = facts
        note(f"{name}: settings {facts['name']!r}, fitted to labels of people")
    begin_scores(run, protocols, intervals, answers=given)
    for protocol in protocols:
        plan = run.plan(STAGE)[protocol.name]
        _give_stopped_bounds(run, plan, protocol.name, scores.summary)
    for name, table in scores.verdicts.items():
        run.write_verdicts(table, name)
    finish_scores(run, scores)
    if has_labels(run):
        audit_again(run)
        audited = run.summary()
        scores = dataclasses.replace(scores, summary={n: audited[n] for n in scores.summary})
    return scores


def _needs_boxes(protocol: Metric) -> bool:
    return protocol.evidence != "answers"


def _detections(run: Run, prompts: pl.DataFrame, samples: int | None) -> pl.DataFrame:
    """The stored detections, complete, of the images and prompts that the run has now."""
    images = run.images() if run.has("images.parquet") else None
    if images is not None:
        contents.require_same_names(run, "detect", images, prompts)
        contents.require_same(run, "detect", images)
    return complete(run.detections(), prompts, samples=samples, images=images)


def begin_scores(
    run: Run,
    protocols: Sequence[Metric],
    intervals: Intervals,
    source: str | None = None,
    *,
    answers: Answers | None = None,
) -> None:
    """Record what is scored now; what was scored from other files, or not to its end, is dropped.

    From here to `finish_scores` no verdicts and numbers of the run can be read.

    Args:
        source: hash of detections that are not in the run.
    """
    asked = fingerprint(run.path / "prompts.parquet")
    boxes = {"detections": source or detections_hash(run), "prompts": asked}

    def made(judge: Mapping[str, Any] | None, looks_at_boxes: bool) -> dict[str, Any]:
        """The hashes of what scores are made from: boxes, a judge's answers, or both."""
        found = boxes if looks_at_boxes else {"prompts": asked}
        if judge is None:
            return found
        return {**found, "answers": fingerprint(run.path / answers_path(judge["answers"]))}

    names = [protocol.name for protocol in protocols]
    stage = run.manifest["stages"].get(STAGE, {})
    halfway = () if run.is_finished(STAGE) else stage.get("record", {}).get("writing", ())
    plan: dict[str, Any] = {}
    for name, entry in run.plan(STAGE).items():
        if name in names:
            continue
        if name in halfway:
            note(f"dropped the {name} scores: they were interrupted")
        elif any(
            entry.get(key) != value
            for key, value in made(
                entry.get("judge"), "judge" not in entry or "detections" in entry
            ).items()
        ):
            what = "answers" if "judge" in entry else "detections"
            note(f"dropped the {name} scores: they were made from other {what} or prompts")
        else:
            plan[name] = entry
    kept = list(plan)
    for protocol in protocols:
        judge = None
        if isinstance(protocol, AnswerMetric) and answers is not None:
            judge = answers.facts(protocol, run.prompts())
        plan[protocol.name] = {
            "settings": protocol.settings,
            **dataclasses.asdict(intervals),
            **({} if judge is None else {"judge": judge}),
            **made(judge, _needs_boxes(protocol)),
        }
    run.discard("agree")  # the marks of a second opinion are those of the scores before
    # what a kill leaves between the two lines is a stage that has begun and whose parts go
    run.begin(STAGE, plan, record={"writing": names}, overwrite=True)
    if run.is_finished(STAGE):
        run.reopen(STAGE, {"writing": names})
    for path in (run.path / "verdicts").glob("*.parquet"):
        if path.stem not in kept:
            path.unlink()


def finish_scores(run: Run, scores: Scores) -> None:
    """Write the numbers beside those that are kept, and let the scores be read."""
    path = run.path / "summary.json"
    try:
        before = read_json(path) if path.exists() else {}
    except InputError as error:
        # it is made of tables that are there: a broken one must not keep a run from being scored
        note(f"{error}; it is written anew")
        before = None
    if not isinstance(before, dict):
        before = {}
    known = run.plan(STAGE)
    kept = {name: part for name, part in before.items() if name in known}
    run.write_summary(kept | scores.summary)
    judges = [entry["judge"]["answers"] for entry in known.values() if "judge" in entry]
    run.remember(STAGE, [*SOURCES, *map(answers_path, judges)])
    run.finish(STAGE, n_expected=scores.n_expected, n_scored=scores.n_scored)


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


def detections_hash(run: Run) -> str | None:
    """SHA-256 of the table of detections that a run is scored by."""
    return fingerprint(run.path / "detections" / "main.parquet")


def _give_stopped_bounds(
    run: Run, plan: dict[str, Any], protocol: str, summary: dict[str, Summary]
) -> None:
    """Where judging was stopped for the precision of a number, give it the interval that holds
    whenever one stops, in place of the ordinary one.
    """
    stop, results = run.plan(STOPPING), run.results(STOPPING)
    same = ("settings", "allow_missing")
    if (
        "precision" in stop
        and results.get("protocol") == protocol
        and results.get("detections") == plan.get("detections")
        and all(stop.get(key) == plan[key] for key in same)
    ):
        bounds = {key: results["bounds"][key] for key in ("value", "low", "high")}
        _entry(summary[protocol], results["number"]).update(bounds, anytime_valid=True)


def _entry(summary: Summary, number: str) -> dict[str, Any]:
    """The entry of a number as `--number` names it: "OA", "left of" or "OA:left of"."""
    if number in summary:
        found: dict[str, Any] = summary[number]
        return found
    name, _, member = number.rpartition(":")
    groups = [part for group, part in summary.items() if group.startswith("by_")]
    entries = next(part[member] for part in groups if member in part)
    chosen: dict[str, Any] = entries[name or next(iter(entries))]
    return chosen


def fingerprint(path: Path) -> str | None:
    """Hash of a file, `None` when there is none."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
