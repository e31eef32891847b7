"""What a run keeps of its scores: how they are made, which ones still hold, and the numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from t2i_spatial import parts
from t2i_spatial.errors import InputError
from t2i_spatial.files import read_json
from t2i_spatial.metrics.answers import AnswerMetric
from t2i_spatial.metrics.base import Metric, Summary
from t2i_spatial.metrics.numbers import Intervals
from t2i_spatial.progress import note
from t2i_spatial.run import Run
from t2i_spatial.stages.score_answers import Answers, answers_path
from t2i_spatial.stages.scores import STAGE, STOPPING, Scores

SOURCES = ("prompts.parquet", "detections/main.parquet")
"""Files of a run that scores are made from."""


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
    asked = parts.fingerprint(run.path / "prompts.parquet")
    boxes = {"detections": source or detections_hash(run), "prompts": asked}

    def made(judge: Mapping[str, Any] | None, looks_at_boxes: bool) -> dict[str, Any]:
        """The hashes of what scores are made from: boxes, a judge's answers, or both."""
        found = boxes if looks_at_boxes else {"prompts": asked}
        if judge is None:
            return found
        return {**found, "answers": parts.fingerprint(run.path / answers_path(judge["answers"]))}

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
            judge = answers.facts(protocol, protocol.questions(run.prompts()))
        plan[protocol.name] = {
            "settings": protocol.settings,
            **dataclasses.asdict(intervals),
            **({} if judge is None else {"judge": judge}),
            **made(judge, needs_boxes(protocol)),
        }
    run.discard("agree")  # the marks of a second opinion are those of the scores before
    # what a kill leaves between the two lines is a stage that has begun and whose parts go
    run.begin(STAGE, plan, record={"writing": names}, overwrite=True)
    if run.is_finished(STAGE):
        run.reopen(STAGE, {"writing": names})
    for path in (run.path / "verdicts").glob("*.parquet"):
        if path.stem not in kept:
            parts.remove(path)


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


def detections_hash(run: Run) -> str | None:
    """SHA-256 of the table of detections that a run is scored by."""
    return parts.fingerprint(run.path / "detections" / "main.parquet")


def needs_boxes(protocol: Metric) -> bool:
    """Whether a protocol judges boxes, alone or beside answers."""
    return protocol.evidence != "answers"


def give_stopped_bounds(
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
