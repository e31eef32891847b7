"""Answers of a judge to the questions of every protocol: `answers/<name>.parquet`.

Each picture is asked each question once per rollout, whichever protocols want to know. What has
been answered stays: a further protocol, or more rollouts, ask only what is not there yet.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from t2i_spatial.devices import resolve_devices
from t2i_spatial.engines import run_batches
from t2i_spatial.files import write_table
from t2i_spatial.judges import Judge, JudgeSpec, load_judge, resolve_judge
from t2i_spatial.judges.base import Asked, Picture, Reply
from t2i_spatial.metrics.answers import AnswerMetric
from t2i_spatial.progress import note
from t2i_spatial.provenance import environment
from t2i_spatial.questions import (
    ANSWER_STATUSES,
    ANSWERS,
    TEMPLATES,
    Question,
    option_order,
    table_to_question,
)
from t2i_spatial.run import Run, writes_run
from t2i_spatial.stages import plan_of_asking
from t2i_spatial.stages.plan_of_asking import ASKED
from t2i_spatial.stages.plan_of_asking import questions_of as questions_of
from t2i_spatial.tables import KEY, SCORED

BATCH = 32
"""Pictures of one batch: what an interruption can cost."""


class AskSettings(BaseModel):
    """Which judge is asked, and how often."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    judge: str = Field(
        default="bundled",
        description="bundled, boxes, the URL of a chat-completions endpoint, or transformers:ID",
    )
    judge_model: str | None = Field(default=None, description="name of the model at a URL")
    revision: str | None = Field(default=None, description="of a hub id")
    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="of answers/NAME.parquet; made from the judge by default",
    )
    rollouts: int | None = Field(
        default=None, ge=1, le=1000, description="of every question; each protocol's own by default"
    )
    votes: int = Field(
        default=5,
        ge=1,
        le=101,
        description="sampled replies per question when a judge gives no probabilities",
    )
    seed: int = Field(default=0, description="of the order of options and of sampled replies")
    device: str = Field(default="auto", description="of a local judge")
    dtype: str = Field(default="float32", description="of a local judge")
    max_requests: int | None = Field(default=None, ge=1, description="stop before asking more")
    max_tokens: int | None = Field(default=None, ge=1, description="stop before using more")
    cache: Path | None = Field(default=None, description="folder of raw replies to share")
    options: dict[str, Any] = Field(default_factory=dict, description="of the judge")

    def resolve(self) -> JudgeSpec:
        """The judge these settings mean; nothing is loaded."""
        options = dict(self.options)
        if self.cache is not None:
            options["cache"] = str(self.cache)
        return resolve_judge(
            self.judge,
            model=self.judge_model,
            revision=self.revision,
            dtype=self.dtype,
            options=options,
        )

    @property
    def answers_name(self) -> str:
        """What the answers are called: the name, or one made of the judge."""
        if self.name is not None:
            return self.name
        words = self.judge_model or self.judge.rstrip("/")
        last = words.replace(":", "/").rsplit("/", 1)[-1]
        return "".join(c if c.isalnum() or c in "-_" else "-" for c in last) or "judge"


@dataclass(frozen=True)
class Asking:
    """What a call of the stage has to do, and did.

    Attributes:
        name: of the answers.
        expected: image, question and rollout triples of the whole run.
        pending: how many of them were not answered yet.
        asked: how many were asked now.
        statuses: outcome -> how many of `expected`.
        images: pictures with pending questions.
    """

    name: str
    expected: int
    pending: int
    asked: int
    images: int
    statuses: Mapping[str, int]

    @property
    def left(self) -> int:
        """Still to be asked."""
        return self.pending - self.asked

    def to_json(self) -> dict[str, Any]:
        """The same as plain data."""
        return dataclasses.asdict(self) | {"left": self.left}


def stage_name(name: str) -> str:
    """Key in `run.json` of the stage that writes `answers/<name>.parquet`."""
    return f"ask-{name}"


@writes_run
def ask_run(
    run: Run,
    protocols: Sequence[AnswerMetric],
    settings: AskSettings | None = None,
    *,
    dry_run: bool = False,
    overwrite: bool = False,
) -> Asking:
    """Ask what the protocols want to know of every image; writes answers and questions.

    Answers that came as errors are asked again, all others are kept.

    Args:
        dry_run: only count, and load nothing.

    Raises:
        PlanMismatchError: the answers of this name are another judge's, or of other images.
        JudgeError, ModelLoadError: the judge cannot be asked. What is answered is kept.
    """
    settings = settings or AskSettings()
    name, stage = settings.answers_name, stage_name(settings.answers_name)
    spec = settings.resolve()
    questions = questions_of(protocols, run.prompts())
    images = run.images()
    if dry_run:
        done = _folded(run, stage, name)
        questions = plan_of_asking.times(questions, settings.rollouts)
        pending = plan_of_asking.pending(images, questions, done)
        note(
            "{requests:,} requests about {images:,} images, about {tokens:,} tokens".format(
                **plan_of_asking.cost(pending, questions)
            )
        )
        return _counted(name, images, questions, done, pending, 0)
    judge = load_judge(spec, device=resolve_devices(settings.device)[0])
    try:
        votes = None if judge.gives_probabilities else settings.votes
        if votes is not None and settings.rollouts is None:
            note(f"{settings.judge} gives no probabilities: {votes} sampled votes per question")
        questions = plan_of_asking.times(questions, settings.rollouts, votes)
        plan = {
            **judge.plan(),
            "seed": settings.seed,
            "images": _fingerprint(images),
            "templates": {t: TEMPLATES[t].to_dict() for t in sorted(set(questions["template"]))},
        }
        # templates of protocols that asked before stay a part of what the answers are
        plan["templates"] |= {
            t: known
            for t, known in run.plan(stage).get("templates", {}).items()
            if t not in plan["templates"]
        }
        done = _folded(run, stage, name)
        same = _same(run.plan(stage), plan)
        if overwrite and not same:
            (run.path / "answers" / f"{name}.parquet").unlink(missing_ok=True)
            done = done.clear()
        # more templates are no other plan: what was answered stays what it was
        run.begin(stage, plan, record=environment(), overwrite=overwrite or same)
        if run.is_finished(stage):
            run.reopen(stage)
        worker = AskWorker(judge, questions, settings.seed, settings.max_tokens)
        pending, tried, answered = _asked_in_rounds(run, settings, worker, questions, images, done)
    finally:
        judge.close()
    asked = len(tried.join(answered, on=ASKED, how="semi"))
    run.write_answers(plan_of_asking.complete(images, questions, answered), name)
    write_table(run.path / "questions" / f"{name}.parquet", questions)
    result = _counted(name, images, questions, answered, pending, asked)
    if result.left == 0:
        run.finish(stage, **result.to_json(), **judge.found_out())
    return result


def _asked_in_rounds(
    run: Run,
    settings: AskSettings,
    worker: AskWorker,
    questions: pl.DataFrame,
    images: pl.DataFrame,
    done: pl.DataFrame,
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """What was wanted, what was tried, and all that is answered.

    One round, but for questions that are asked again until enough answers are usable.
    """
    name, stage = settings.answers_name, stage_name(settings.answers_name)
    wanted = tried = done.select(*ASKED).clear()
    while True:
        fresh = plan_of_asking.pending(images, questions, done, tried)
        wanted = pl.concat([wanted, fresh]).unique(maintain_order=True)
        if settings.max_requests:
            fresh = fresh.head(settings.max_requests - len(tried))
        if fresh.is_empty():
            return wanted, tried, done
        tried = pl.concat([tried, fresh])
        spent = False
        try:
            run_batches(run, stage, _batches(run, images, fresh), lambda _: worker, unit="question")
        except BudgetSpent:
            spent = True
        finally:
            done = _folded(run, stage, name)
        if spent:
            allowed = settings.max_tokens
            note(f"stopped: {worker.tokens:,} tokens are used, {allowed:,} were allowed")
            return wanted, tried, done


def _same(known: Mapping[str, Any], plan: Mapping[str, Any]) -> bool:
    """Whether two plans differ by templates only."""
    other = json.loads(json.dumps(plan))
    return {**known, "templates": None} == {**other, "templates": None}


class BudgetSpent(Exception):
    """The tokens that were allowed are used."""


class AskWorker:
    """Batches of pictures with their pending questions in, rows of ANSWERS out."""

    def __init__(
        self, judge: Judge, questions: pl.DataFrame, seed: int, max_tokens: int | None
    ) -> None:
        self.judge = judge
        self.seed = seed
        self.max_tokens = max_tokens
        self.tokens = 0
        self._questions: dict[tuple[str, str], Question] = {
            (row["prompt_id"], row["question_id"]): table_to_question(row)
            for row in questions.iter_rows(named=True)
        }
        self._started: dict[int, tuple[list[list[Asked]], Any]] = {}

    def prefetch(self, batch: Sequence[Pending]) -> None:
        """Put a batch under way while the one before it is awaited, unless tokens are counted."""
        if self.max_tokens is None:
            self._start(batch)

    def _start(self, batch: Sequence[Pending]) -> None:
        if id(batch) not in self._started:
            asked = [self._asked(item) for item in batch]
            pictures = [self._picture(item) for item in batch]
            started = self.judge.submit(list(zip(pictures, asked, strict=True)))
            self._started[id(batch)] = (asked, started)

    def __call__(self, batch: Sequence[Pending]) -> pl.DataFrame:
        """The answers of one batch.

        Raises:
            BudgetSpent: more tokens were used than allowed; nothing of this batch is asked.
        """
        if self.max_tokens is not None and self.tokens >= self.max_tokens:
            raise BudgetSpent
        self._start(batch)
        asked, started = self._started.pop(id(batch))
        rows = []
        for item, of_item, replies in zip(batch, asked, self.judge.collect(started), strict=True):
            for one, reply in zip(of_item, replies, strict=True):
                self.tokens += reply.tokens or 0
                rows.append(_row(item, one, reply))
        return pl.DataFrame(rows, schema=ANSWERS)

    def _asked(self, item: Pending) -> list[Asked]:
        image = f"{item.prompt_id}_{item.sample}"
        asked = []
        for question_id, rollout in item.wanted:
            question = self._questions[item.prompt_id, question_id]
            order = option_order(question, rollout, self.seed, image)
            asked.append(Asked(question, rollout, order, self.seed))
        return asked

    def _picture(self, item: Pending) -> Picture:
        data = Path(item.path).read_bytes() if self.judge.needs_pixels else b""
        return Picture(item.path, data, (item.prompt_id, item.sample))


@dataclass(frozen=True)
class Pending:
    """One picture and what is still to be asked of it: (question id, rollout) pairs."""

    prompt_id: str
    sample: int
    path: str
    wanted: tuple[tuple[str, int], ...]


def _batches(run: Run, images: pl.DataFrame, pending: pl.DataFrame) -> list[list[Pending]]:
    wanted: dict[tuple[str, int], list[tuple[str, int]]] = {}
    for prompt_id, sample, question_id, rollout in pending.select(*ASKED).iter_rows():
        wanted.setdefault((prompt_id, sample), []).append((question_id, rollout))
    paths = dict(zip(images.select(*KEY).iter_rows(), images["image"], strict=True))
    items = [
        Pending(prompt_id, sample, str(run.image_path(paths[prompt_id, sample])), tuple(pairs))
        for (prompt_id, sample), pairs in wanted.items()
    ]
    return [items[k : k + BATCH] for k in range(0, len(items), BATCH)]


def _row(item: Pending, asked: Asked, reply: Reply) -> dict[str, Any]:
    found = reply.probabilities
    low, high = reply.bracket or (None, None)
    return {
        "prompt_id": item.prompt_id,
        "sample": item.sample,
        "question_id": asked.question.id,
        "rollout": asked.rollout,
        "status": reply.status,
        "answer": reply.answer,
        "p": None if found is None else found.p,
        "p_raw": None if found is None else found.p_raw,
        "mass": None if found is None else found.mass,
        "p_low": low,
        "p_high": high,
        "chances": None
        if found is None
        else [{"answer": answer, "p": p} for answer, p in found.options.items()],
        "order": None if asked.order is None else list(asked.order),
        "raw": reply.raw,
        "tokens": reply.tokens,
        "seconds": reply.seconds,
        "reason": reply.reason,
    }


def _folded(run: Run, stage: str, name: str) -> pl.DataFrame:
    """What is answered so far, the batches of an interrupted call included."""
    shards = run.read_shards(stage, ANSWERS)
    parts = [shards]
    if run.has(f"answers/{name}.parquet"):
        parts.append(run.answers(name).filter(pl.col("status").is_in(ANSWER_STATUSES)))
    done = pl.concat(parts).unique(list(ASKED), keep="first", maintain_order=True)
    if len(shards):
        run.write_answers(done, name)
        run.drop_shards(stage)
    return done


def _counted(
    name: str,
    images: pl.DataFrame,
    questions: pl.DataFrame,
    answered: pl.DataFrame,
    pending: pl.DataFrame,
    asked: int,
) -> Asking:
    mine = answered.join(plan_of_asking.expected(images, questions), on=ASKED, how="semi")
    lost = plan_of_asking.expected(images.filter(pl.col("status") != SCORED), questions, "enough")
    parts = [mine, plan_of_asking.pending(images, questions, answered), lost]
    expected = pl.concat([part.select(*ASKED) for part in parts]).unique()
    statuses = dict(mine["status"].value_counts().sort("status").iter_rows())
    return Asking(
        name, len(expected), len(pending), asked, pending.select(*KEY).n_unique(), statuses
    )


def _fingerprint(images: pl.DataFrame) -> str:
    digest = hashlib.sha256()
    for row in images.select(*KEY, "image", "width", "height", "status").iter_rows():
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()[:16]
