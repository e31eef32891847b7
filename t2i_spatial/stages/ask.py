"""Answers of a judge to the questions of every protocol: `answers/<name>.parquet`.

Each picture is asked each question once per rollout, whichever protocols want to know. What has
been answered stays: a further protocol, or more rollouts, ask only what is not there yet.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from t2i_spatial.engines import Engine, Local, run_batches
from t2i_spatial.errors import IncompleteRunError
from t2i_spatial.files import atomic_write, read_table, write_table
from t2i_spatial.jobs import JobDone
from t2i_spatial.judges import JUDGES, Judge, JudgeSpec
from t2i_spatial.judges.batch_files import MOST_BYTES, MOST_REQUESTS, BatchFileJudge, read_replies
from t2i_spatial.metrics.answers import AnswerMetric
from t2i_spatial.progress import note
from t2i_spatial.provenance import environment
from t2i_spatial.questions import ANSWER_STATUSES, ANSWERED, ANSWERS, QUESTIONS, TEMPLATES
from t2i_spatial.run import Run, writes_run
from t2i_spatial.stages import contents, examinations, plan_of_asking
from t2i_spatial.stages.ask_settings import AskSettings as AskSettings
from t2i_spatial.stages.ask_worker import (
    TOKENS,
    AskWorker,
    AskWorkers,
    JudgeFacts,
    LoadJudge,
    Pending,
)
from t2i_spatial.stages.plan_of_asking import ASKED
from t2i_spatial.stages.plan_of_asking import questions_of as questions_of
from t2i_spatial.tables import KEY, SCORED, conform

BATCH = 128
"""Questions of one batch (at least one picture): what an interruption can cost."""


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
        reason: why most of the questions without an answer have none.
    """

    name: str
    expected: int
    pending: int
    asked: int
    images: int
    statuses: Mapping[str, int]
    reason: str | None = None

    @property
    def left(self) -> int:
        """Still to be asked."""
        return self.pending - self.asked

    def to_json(self) -> dict[str, Any]:
        """The same as plain data."""
        return dataclasses.asdict(self) | {"left": self.left}

    def require_some(self) -> None:
        """Refuse a call that asked something and got no answer at all.

        Raises:
            IncompleteRunError: no question is answered.
        """
        if self.asked and not self.statuses.get(ANSWERED):
            why = f" (most: {self.reason})" if self.reason else ""
            raise IncompleteRunError(
                f"none of the {self.asked:,} questions was answered{why}; "
                f"the column reason of answers/{self.name}.parquet says why"
            )

    def as_text(self) -> str:
        """The same for a person."""
        statuses = dict(self.statuses)
        usable = statuses.pop(ANSWERED, 0)
        lines = [f"{self.name}: {usable:,} of {self.expected:,} questions answered"]
        lines += [f"  {count:,} {status}" for status, count in sorted(statuses.items())]
        if statuses and self.reason:
            lines.append(f"  most of them: {self.reason}")
        if self.left:
            lines.append(f"  {self.left:,} still to be asked")
        return "\n".join(lines)


def stage_name(name: str) -> str:
    """Key in `run.json` of the stage that writes `answers/<name>.parquet`."""
    return f"ask-{name}"


@writes_run
def ask_run(
    run: Run,
    protocols: Sequence[AnswerMetric] | None = None,
    settings: AskSettings | None = None,
    *,
    dry_run: bool = False,
    export_requests: Path | None = None,
    import_replies: Path | None = None,
    overwrite: bool = False,
    engine: Engine | None = None,
) -> Asking:
    """Ask what the protocols want to know of every image; writes answers and questions.

    Answers that came as errors, and pictures that could not be read, are tried again; all others
    are kept, whatever becomes of this call.

    Args:
        protocols: by default those that the settings name.
        dry_run: only count, and load nothing.
        export_requests: write what is to be asked to this file, and ask nobody.
        import_replies: take the replies from this file; questions without one stay open.

    Raises:
        PlanMismatchError: the answers of this name are another judge's, or about other pictures.
        JudgeError, ModelLoadError: the judge cannot be asked. What is answered is kept.
    """
    settings = settings or AskSettings()
    name, stage = settings.answers_name, stage_name(settings.answers_name)
    spec = settings.resolve()
    prompts = run.prompts()
    askers = settings.askers() if protocols is None else protocols
    questions = questions_of(askers, prompts)
    for remark in dict.fromkeys(line for asker in askers for line in asker.remarks(prompts)):
        note(f"careful: {remark}")
    images = run.images()
    if dry_run:
        done = _folded(run, stage, name, keep=True)
        questions = plan_of_asking.times(questions, settings.rollouts)
        pending = plan_of_asking.pending(images, questions, done)
        note(
            "{requests:,} requests about {images:,} images, about {tokens:,} tokens".format(
                **plan_of_asking.cost(pending, questions)
            )
        )
        return _counted(name, images, questions, done, pending, 0)
    if export_requests is not None:
        judge = BatchFileJudge(spec)
        questions = _times(questions, settings, LoadJudge(spec, judge).facts("cpu"))
        done = _folded(run, stage, name, keep=True)
        pending = plan_of_asking.pending(images, questions, done)
        chosen = pending.head(settings.max_requests) if settings.max_requests else pending
        worker = AskWorker(judge, questions, settings.seed)
        _export(judge, worker, _batches(run, images, chosen, questions), export_requests)
        return _counted(name, images, questions, done, pending, 0)
    replies = None
    if import_replies is not None:
        replies = BatchFileJudge(spec, read_replies(import_replies))
    elif spec.backend == "boxes":
        spec = dataclasses.replace(spec, options={**spec.options, "run": str(run.path)})
    engine, devices = _engine_for(spec, engine or Local(), settings.device, replies)
    load = LoadJudge(spec, replies)
    try:
        facts = engine.once(load.facts, devices[0])
        if not engine.is_here(devices):
            load.close()
        questions = _times(questions, settings, facts)
        plan = _plan(run, stage, facts.plan, settings.seed, questions)
        _begin(run, stage, name, plan, images, overwrite=overwrite)
        examinations.adopt(run, name, plan, settings.examination)
        workers = AskWorkers(load, questions, settings.seed, ahead=settings.max_tokens is None)
        do = functools.partial(run_batches, run, stage, engine=engine, devices=devices)
        # what jobs ask together is counted off from what was answered before the first of them
        together = engine.job is not None and bool(run.shared_out(stage))
        try:
            pending, tried, answered = _asked_in_rounds(
                run, settings, workers, do, images, together=together
            )
        finally:
            _write_questions(run, name, questions)
        if replies is not None and not replies.used:
            note(
                f"{import_replies} answers none of these questions: it was made of other images, "
                "another judge or other settings"
            )
        found_out = load.found_out() or {"probabilities": facts.gives_probabilities}
    finally:
        load.close()
    asked = len(tried.join(answered, on=ASKED, how="semi"))
    run.write_answers(plan_of_asking.complete(images, questions, answered), name)
    result = _counted(name, images, questions, answered, pending, asked)
    if result.left == 0:
        run.finish(stage, **result.to_json(), **found_out)
    return result


def _engine_for(
    spec: JudgeSpec, engine: Engine, device: str, replies: Judge | None
) -> tuple[Engine, list[str]]:
    """Where a judge is asked: one that computes elsewhere, or not at all, from one place."""
    if replies is not None or not JUDGES[spec.backend].on_device:
        return engine.at_one_place(), ["cpu"]
    return engine, engine.devices(device)


def _times(questions: pl.DataFrame, settings: AskSettings, judge: JudgeFacts) -> pl.DataFrame:
    """The questions with how often each is put."""
    votes = settings.votes if judge.samples and not judge.gives_probabilities else None
    if votes is not None and settings.rollouts is None:
        note(f"{settings.judge} gives no probabilities: {votes} sampled votes per question")
    return plan_of_asking.times(questions, settings.rollouts, votes)


def _asked_in_rounds(
    run: Run,
    settings: AskSettings,
    workers: AskWorkers,
    do: Callable[..., None],
    images: pl.DataFrame,
    *,
    together: bool,
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """What was wanted, what was tried, and all that is answered.

    One round, but for questions that are asked again until enough answers are usable.
    """
    name, stage = settings.answers_name, stage_name(settings.answers_name)
    questions = workers.questions
    done = _answered(run, name) if together else _folded(run, stage, name)
    wanted = tried = done.select(*ASKED).clear()
    budget = _Budget(settings.max_tokens)
    while True:
        fresh = plan_of_asking.pending(images, questions, done, tried)
        wanted = pl.concat([wanted, fresh]).unique(maintain_order=True)
        if settings.max_requests:
            fresh = fresh.head(settings.max_requests - len(tried))
        if fresh.is_empty():
            return wanted, tried, done
        tried = pl.concat([tried, fresh])
        try:
            do(_batches(run, images, fresh, questions), workers, enough=budget.is_spent)
        except BaseException:
            if not run.shared_out(stage):  # else others go on
                _folded(run, stage, name)
            raise
        done = _folded(run, stage, name)
        again = plan_of_asking.pending(images, questions, done, tried)
        if run.shared_out(stage) and len(again):
            raise JobDone(
                f"{stage}: all jobs are done; {len(again):,} questions are to be asked once more, "
                "run them again"
            )
        unasked = fresh.join(done, on=list(ASKED), how="anti")
        if budget.next_round() and len(unasked):
            note(f"stopped: {budget.used:,} tokens are used, {budget.allowed:,} were allowed")
            return wanted, tried, done


class _Budget:
    """Tokens that may be used, over all rounds and workers; `allowed=None` is no limit."""

    def __init__(self, allowed: int | None) -> None:
        self.allowed = allowed
        self.used = self._before = 0
        self._spent = False

    def is_spent(self, counted: Mapping[str, int]) -> bool:
        """Whether to stop, from what this round has counted so far."""
        self.used = self._before + counted.get(TOKENS, 0)
        self._spent = self.allowed is not None and self.used >= self.allowed
        return self._spent

    def next_round(self) -> bool:
        """Whether a round was ended by the budget; the next one adds to it."""
        self._before = self.used
        return self._spent


def _export(
    judge: BatchFileJudge, worker: AskWorker, batches: Sequence[Sequence[Pending]], path: Path
) -> None:
    """Write the requests of all batches to one file."""
    size = count = 0
    try:
        with atomic_write(path, "w") as file:
            for batch in batches:
                for picture, asked in worker.pictures(batch):
                    size += judge.write(file, picture, asked)
                    count += len(asked)
    finally:
        worker.close()
    note(f"{count:,} requests, {size / 1e6:,.1f} MB: {path}")
    if count > MOST_REQUESTS or size > MOST_BYTES:
        note(
            f"OpenAI takes {MOST_REQUESTS:,} requests and {MOST_BYTES / 1e6:,.0f} MB in one file; "
            "--max-requests makes smaller ones, or cut it between lines"
        )


def _plan(
    run: Run, stage: str, judge: Mapping[str, Any], seed: int, questions: pl.DataFrame
) -> dict[str, Any]:
    """What decides the answers; templates that were asked before stay a part of it."""
    named = sorted(set(questions["template"]))
    known = run.plan(stage).get("templates", {})
    templates = {name: TEMPLATES[name].to_dict() for name in named}
    return {**judge, "seed": seed, "templates": {**known, **templates}}


def _begin(
    run: Run,
    stage: str,
    name: str,
    plan: Mapping[str, Any],
    images: pl.DataFrame,
    *,
    overwrite: bool,
) -> None:
    """Start or resume the stage. More questions or images are no other plan."""
    same = _same(run.plan(stage), plan)
    seen = (contents.load(run, stage) if same else None) or {}
    now = contents.look(run, images, seen)
    others = contents.replaced(seen, now)
    if overwrite and (not same or others):
        (run.path / "answers" / f"{name}.parquet").unlink(missing_ok=True)
        run.discard(stage)
        seen = {}
    else:
        contents.refuse_replaced(run, stage, others)
    # of a picture that is gone now, what was seen of it holds
    gone = {key for key, picture in now.items() if picture == contents.NOTHING}
    contents.store(run, stage, {**now, **{key: seen[key] for key in gone & seen.keys()}})
    if same and not (overwrite and others):
        run.begin(stage, run.plan(stage), record=environment())
        run.extend(stage, plan, environment())
    else:
        run.begin(stage, plan, record=environment(), overwrite=overwrite)


def _same(known: Mapping[str, Any], plan: Mapping[str, Any]) -> bool:
    """Whether two plans differ by templates only, those that both have being the same."""
    other = json.loads(json.dumps(plan))
    before, now = known.get("templates", {}), other["templates"]
    alike = all(before[name] == now.get(name) for name in before)
    return bool(known) and alike and {**known, "templates": None} == {**other, "templates": None}


def _write_questions(run: Run, name: str, questions: pl.DataFrame) -> None:
    """Keep what was asked, beside what other protocols have asked before."""
    path = run.path / "questions" / f"{name}.parquet"
    parts = [questions.select(list(QUESTIONS))]
    if path.exists():
        parts.append(conform(read_table(path), QUESTIONS, path.name))
    write_table(path, pl.concat(parts).unique(["prompt_id", "question_id"], maintain_order=True))


def _batches(
    run: Run, images: pl.DataFrame, pending: pl.DataFrame, questions: pl.DataFrame
) -> list[list[Pending]]:
    drawn = questions.drop_nulls("canvas")
    canvases = dict(
        zip(drawn.select("prompt_id", "question_id").iter_rows(), drawn["canvas"], strict=True)
    )
    wanted: dict[tuple[str, int, str | None], list[tuple[str, int]]] = {}
    for prompt_id, sample, question_id, rollout in pending.select(*ASKED).iter_rows():
        canvas = canvases.get((prompt_id, question_id))
        wanted.setdefault((prompt_id, sample, canvas), []).append((question_id, rollout))
    paths = dict(zip(images.select(*KEY).iter_rows(), images["image"], strict=True))
    items = [
        Pending(
            prompt_id, sample, str(run.image_path(paths[prompt_id, sample])), tuple(pairs), canvas
        )
        for (prompt_id, sample, canvas), pairs in wanted.items()
    ]
    batches: list[list[Pending]] = []
    room = 0
    for item in items:
        if room <= 0:
            batches.append([])
            room = BATCH
        batches[-1].append(item)
        room -= len(item.wanted)
    return batches


def _folded(run: Run, stage: str, name: str, *, keep: bool = False) -> pl.DataFrame:
    """What is answered so far, the batches of an interrupted call included.

    Args:
        keep: write nothing.
    """
    shards = run.shards(stage).read_all(ANSWERS)
    both = pl.concat([shards, _answered(run, name)])
    done = both.unique(list(ASKED), keep="first", maintain_order=True)
    if len(shards) and not keep:
        run.write_answers(done, name)
        run.shards(stage).drop_all()
    return done


def _answered(run: Run, name: str) -> pl.DataFrame:
    """What earlier calls were told."""
    if not run.has(f"answers/{name}.parquet"):
        return pl.DataFrame(schema=ANSWERS)
    return run.answers(name).filter(pl.col("status").is_in(ANSWER_STATUSES))


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
    reasons = mine.filter(pl.col("status") != ANSWERED)["reason"].drop_nulls()
    why = reasons.value_counts(sort=True)["reason"].to_list()
    return Asking(
        name,
        len(expected),
        len(pending),
        asked,
        pending.select(*KEY).n_unique(),
        statuses,
        why[0] if why else None,
    )
