"""Answers as evidence of the score stage: which ones, and whose they are.

Whose answers they are belongs to every number made of them: `facts` stands in `run.json` (so that
`compare` refuses another judge), in `summary.json` and beside every table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError, nearest
from t2i_spatial.judges.openai_api import LISTED
from t2i_spatial.metrics.answers import AnswerMetric
from t2i_spatial.metrics.base import Metric
from t2i_spatial.progress import note
from t2i_spatial.questions import ANSWERED
from t2i_spatial.run import Run
from t2i_spatial.stages.ask import stage_name
from t2i_spatial.stages.examinations import NO_MODEL, measured, of_run
from t2i_spatial.tables import KEY

DECIDING = (
    "judge", "backend", "model", "revision", "weights", "dtype", "options", "probabilities", "seed",
)  # fmt: skip
"""Parts of an ask stage's plan that decide the answers."""


@dataclass(frozen=True)
class Answers:
    """The answers of one judge about the images of a run.

    Attributes:
        name: of `answers/<name>.parquet`.
        table: ANSWERS.
        plan: of the stage that asked; empty for answers of another origin.
        examination: what is known of the judge, if it has been measured.
    """

    name: str
    table: pl.DataFrame
    plan: Mapping[str, Any]
    examination: Mapping[str, Any] | None = None

    @property
    def path(self) -> str:
        """The file within the run."""
        return answers_path(self.name)

    def measured(self, questions: pl.DataFrame) -> dict[str, Any]:
        """How far the judge is known to be right about some QUESTIONS (see `examinations`)."""
        if self.plan.get("backend") == "boxes":
            return dict(NO_MODEL)
        return measured(self.examination, questions)

    def facts(self, protocol: AnswerMetric, questions: pl.DataFrame) -> dict[str, Any]:
        """Who answered the QUESTIONS of a protocol, how often and to which templates."""
        asked = self.table.join(questions, on=["prompt_id", "question_id"], how="semi")
        rollouts: Any = asked.group_by(*KEY, "question_id").len()["len"].max() or 0
        if protocol.enough is not None:  # how many replies were unusable is no other way of asking
            rollouts = min(rollouts, protocol.enough)
        named = sorted(set(questions["template"]))
        known = self.plan.get("templates", {})
        plan = {key: self.plan[key] for key in DECIDING if key in self.plan}
        if not questions["kind"].is_in(LISTED).any():
            plan["probabilities"] = False  # of a judge that has them for other kinds of question
        return {
            "answers": self.name,
            **plan,
            "rollouts": rollouts,
            "templates": {name: known.get(name) for name in named},
        }


def answers_path(name: str) -> str:
    """Where answers of a name lie in a run."""
    return f"answers/{name}.parquet"


def find_answers(run: Run, protocols: Sequence[Metric], name: str | None = None) -> Answers | None:
    """The answers that a run is scored by; `None` when no protocol looks at any.

    Args:
        name: of `answers/<name>.parquet`; by default the only ones that there are.

    Raises:
        InputError: a protocol needs answers and there are none of this name, or several to choose
            from; or answers are named that no protocol looks at.
    """
    needing = [p for p in protocols if isinstance(p, AnswerMetric)]
    if not needing:
        if name is not None:
            told = ", ".join(p.name for p in protocols)
            raise InputError(f"--answers {name} has no effect: {told} judge boxes, not answers")
        return None
    known = sorted(path.stem for path in (run.path / "answers").glob("*.parquet"))
    asking = f"t2i-spatial ask {run.path} " + " ".join(f"-p {p.name}" for p in needing)
    if not known:
        told = ", ".join(p.name for p in needing)
        raise InputError(f"{run.path} has no answers, from which {told} is judged; run `{asking}`")
    if name is None and len(known) > 1:
        raise InputError(
            f"{run.path} has answers of several judges ({', '.join(known)}); choose with --answers"
        )
    name = name or known[0]
    if name not in known:
        raise InputError(f"{run.path} has no answers {name!r}; {nearest(name, known)}")
    stage = stage_name(name)
    table = run.answers(name)
    if run.plan(stage) and not run.is_finished(stage):
        note(f"not all is asked yet: `{asking}` goes on; images without answers have no score")
    failed = int((table["status"] != ANSWERED).sum())
    if failed:
        note(f"{failed:,} of {len(table):,} answers of {name} are unusable: bounds, never zeros")
    plan = run.plan(stage)
    return Answers(name, table, plan, of_run(run, name, plan))
