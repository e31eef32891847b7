"""Dense prompts with questions, written by a language model: a file in SpatialGenEval's form.

Every reply is kept by what was asked, so that an interrupted call goes on and ends with the same
file; the file is made anew from the replies each time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2i_spatial.errors import IncompleteRunError, InputError
from t2i_spatial.files import atomic_write, write_json
from t2i_spatial.incoming import read_text
from t2i_spatial.judges import Asked, Judge, Reply
from t2i_spatial.judges.cache import ReplyCache, cache_key
from t2i_spatial.metrics.asked.spatialgeneval import letter_baselines
from t2i_spatial.progress import progress_bar
from t2i_spatial.prompts.dense import (
    ANSWER,
    SCENES,
    WRITE,
    DensePrompt,
    Distinct,
    checking_question,
    read_reply,
    records,
    scene_order,
    writing_question,
)
from t2i_spatial.questions import ANSWERED, ERROR, OFF_FORMAT, TEMPLATES
from t2i_spatial.stages.ask_settings import DenseSettings
from t2i_spatial.stages.second_reader import load_unseeing

AT_ONCE = 32
"""Prompts that are asked for together."""
TOKENS_OF_A_REPLY = 1_200
"""What `--dry-run` takes a prompt with its questions to cost."""
NOT_ANSWERABLE = "not_answerable"
TWICE = "duplicate"


@dataclass(frozen=True)
class DenseSet:
    """What was written.

    Attributes:
        path: of the file.
        written: prompts in it.
        left_out: why prompts are not in it -> how many.
        open: prompts that were not asked for, because of the limit of requests.
        baselines: what a judge scores that looks at no picture.
    """

    path: Path
    written: int
    left_out: Mapping[str, int]
    open: int
    baselines: Mapping[str, float]

    def as_text(self) -> str:
        """For a person."""
        lines = [f"{self.written:,} prompts with ten questions each: {self.path}"]
        lines += [f"  {count:,} left out: {reason}" for reason, count in self.left_out.items()]
        if self.open:
            lines.append(f"  {self.open:,} still to be asked for: the command goes on")
        lines += [f"  {name}: {100 * p:.1f} % right" for name, p in self.baselines.items()]
        return "\n".join(lines)

    def require_some(self) -> None:
        """Refuse a file without prompts.

        Raises:
            IncompleteRunError: no reply could be used.
        """
        if not self.written and self.left_out:
            told = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
            raise IncompleteRunError(f"no prompt could be written: {told}")


@dataclass
class _Try:
    """One prompt in the making."""

    number: int
    scene: str
    tries: int = 0
    made: DensePrompt | None = None
    problem: str | None = None
    reason: str | None = None

    @property
    def again(self) -> bool:
        """Whether it is asked for once more."""
        return self.tries < 2 and self.problem in (OFF_FORMAT, TWICE, NOT_ANSWERABLE)


@dataclass
class _Writer:
    """Asks the judge, within a number of requests; replies are kept.

    Attributes:
        sent: requests so far; what was asked before is none.
    """

    judge: Judge
    kept: ReplyCache | None
    most: int | None
    sent: int = 0

    @property
    def room(self) -> int:
        """Requests that may still be sent, as many as are put together at most."""
        return AT_ONCE if self.most is None else max(0, min(AT_ONCE, self.most - self.sent))

    def say(self, asked: Sequence[Asked]) -> list[Reply | None]:
        """A reply to each, `None` where the limit forbids to ask."""
        found = [self._known(one) for one in asked]
        left = [k for k, reply in enumerate(found) if reply is None]
        while left and self.room:
            part, left = left[: self.room], left[self.room :]
            for k, reply in zip(part, self._ask([asked[k] for k in part]), strict=True):
                found[k] = reply
        return found

    def _ask(self, asked: Sequence[Asked]) -> list[Reply]:
        """A judge that keeps its replies itself does so as they come; others are asked singly."""
        if self.kept is None:
            replies = self.judge.say(asked)
            self.sent += sum(not reply.cached for reply in replies)
            return replies
        replies = []
        for one in asked:
            [reply] = self.judge.say([one])
            self.sent += 1
            if reply.status in (ANSWERED, OFF_FORMAT):
                told = {"status": reply.status, "answer": reply.answer, "raw": reply.raw}
                self.kept.put(self._key(one), told | {"reason": reply.reason})
            replies.append(reply)
        return replies

    def _known(self, asked: Asked) -> Reply | None:
        stored = None if self.kept is None else self.kept.get(self._key(asked))
        return Reply(**stored, cached=True) if isinstance(stored, dict) else None

    def _key(self, asked: Asked) -> str:
        template = TEMPLATES[asked.question.template].to_dict()
        parts = {"judge": self.judge.plan(), "template": template, "asked": asked.text}
        return cache_key(parts | {"rollout": asked.rollout, "seed": asked.seed})


def cost_of_dense_prompts(settings: DenseSettings) -> dict[str, int]:
    """Requests and tokens at least (every reply is right) and at most (all are asked again)."""
    settings.resolve_writer()
    scenes_of(settings)
    each = 2 if settings.check else 1
    least = settings.count * each
    return {
        "requests": least,
        "most_requests": 2 * least,
        "tokens": least * TOKENS_OF_A_REPLY,
        "most_tokens": 2 * least * TOKENS_OF_A_REPLY,
    }


def scenes_of(settings: DenseSettings) -> tuple[str, ...]:
    """The types of scene: those of the file, or ours.

    Raises:
        InputError: the file cannot be read, or names none, or one twice.
    """
    if settings.scenes is None:
        return SCENES
    lines = [" ".join(line.split()) for line in read_text(settings.scenes).splitlines()]
    scenes = [line for line in lines if line and not line.startswith("#")]
    if not scenes:
        raise InputError(f"{settings.scenes} names no scene; write one on each line")
    if twice := [scene for scene, number in Counter(scenes).items() if number > 1]:
        raise InputError(f"{settings.scenes} names the scene {twice[0]!r} twice")
    return tuple(scenes)


def write_dense_prompts(settings: DenseSettings, output: Path) -> DenseSet:
    """Have a judge write prompts with questions, check them, and write the file.

    An invalid reply is asked for once more, told what is wrong; then its prompt is left out and
    counted. `OUTPUT.json` says how the file was made and why each prompt was left out.

    Raises:
        InputError: the judge cannot write, or the file of scenes is none.
        JudgeError, ModelLoadError: the judge cannot be asked. Its replies so far are kept.
    """
    scenes = scenes_of(settings)
    cache = settings.cache or output.with_name(f"{output.name}.replies")
    settings.resolve_writer()
    judge, keeps_itself = _load(settings, cache)
    order = scene_order(scenes, settings.count, settings.seed)
    tries = [_Try(number, scene) for number, scene in enumerate(order)]
    writer = _Writer(judge, None if keeps_itself else ReplyCache(cache), settings.max_requests)
    known = Distinct()
    try:
        with progress_bar(len(tries), "prompts dense", "prompt") as bar:
            for start in range(0, len(tries), AT_ONCE):
                part = tries[start : start + AT_ONCE]
                _attempt(writer, part, known, settings)
                _attempt(writer, [one for one in part if one.again], known, settings)
                bar.update(len(part))
        plan = judge.plan()
    finally:
        judge.close()
    made = [one.made for one in tries if one.made is not None]
    lines = list(records(made, settings.seed))
    with atomic_write(output, "w") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    left_out = Counter(one.problem for one in tries if one.problem is not None)
    result = DenseSet(
        output,
        len(made),
        dict(sorted(left_out.items())),
        sum(one.made is None and one.problem is None for one in tries),
        letter_baselines([line["answers"] for line in lines]),
    )
    record = _record(settings, plan, scenes, tries, result)
    write_json(output.with_name(f"{output.name}.json"), record)
    return result


def _load(settings: DenseSettings, cache: Path) -> tuple[Judge, bool]:
    """The judge, and whether it keeps replies itself."""
    spec = settings.model_copy(update={"cache": None}).resolve_writer()
    keeps = "cache" in spec.options
    if keeps:
        spec = settings.model_copy(update={"cache": cache}).resolve_writer()
    return load_unseeing(spec, settings.device), keeps


def _attempt(
    writer: _Writer, tries: Sequence[_Try], known: Distinct, settings: DenseSettings
) -> None:
    """Ask for prompts, once; those that asked before are told what was wrong."""
    asked = [
        Asked(
            writing_question(one.scene, one.number, settings.seed, one.reason),
            one.number,
            seed=settings.seed,
        )
        for one in tries
    ]
    for one, reply in zip(tries, writer.say(asked), strict=True):
        one.problem = one.reason = one.made = None
        if reply is not None:
            one.tries += 1
            _read(one, reply)
    if settings.check:
        _check(writer, [one for one in tries if one.made is not None], settings.seed)
    for one in tries:
        if one.made is not None and not known.add(one.made):
            _refuse(one, TWICE, "it says what another prompt of this scene says")


def _read(one: _Try, reply: Reply) -> None:
    if reply.status not in (ANSWERED, OFF_FORMAT):
        _refuse(one, reply.status, reply.reason or reply.status)
        return
    try:
        one.made = read_reply(reply.answer or reply.raw or "", one.scene)
    except InputError as error:
        _refuse(one, OFF_FORMAT, str(error))


def _check(writer: _Writer, tries: Sequence[_Try], seed: int) -> None:
    """Leave out prompts whose questions are not answered from them as their writer says."""
    made = [one.made for one in tries if one.made is not None]
    numbers = [one.number for one in tries]
    questions = [checking_question(p, n, seed) for p, n in zip(made, numbers, strict=True)]
    replies = writer.say([Asked(question, seed=seed) for question, _ in questions])
    for one, prompt, (_, gold), reply in zip(tries, made, questions, replies, strict=True):
        if reply is None:
            one.made = None  # to be checked by the next call
        elif reply.status == ERROR:
            _refuse(one, ERROR, reply.reason or "no reply to the check")
        elif reply.answer is None:
            _refuse(one, NOT_ANSWERABLE, "its questions were not answered from the prompt alone")
        else:
            wrong = [
                question.domain
                for question, said, right in zip(prompt.questions, reply.answer, gold, strict=True)
                if said != right
            ]
            if wrong:
                told = ", ".join(wrong)
                _refuse(one, NOT_ANSWERABLE, f"the prompt alone does not say the answer of {told}")


def _refuse(one: _Try, problem: str, reason: str) -> None:
    one.made, one.problem, one.reason = None, problem, reason


def _record(
    settings: DenseSettings,
    judge: Mapping[str, Any],
    scenes: Sequence[str],
    tries: Sequence[_Try],
    result: DenseSet,
) -> dict[str, Any]:
    """How the file was made."""
    return {
        "judge": dict(judge),
        "templates": {t.name: t.to_dict() for t in (WRITE, ANSWER)},
        "seed": settings.seed,
        "count": settings.count,
        "check": settings.check,
        "scenes": list(scenes),
        "written": result.written,
        "open": result.open,
        "left_out": [
            {"number": one.number, "scene": one.scene, "problem": one.problem, "reason": one.reason}
            for one in tries
            if one.problem is not None
        ],
    }
