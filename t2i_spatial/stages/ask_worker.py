"""Pictures with what is to be asked of them in, rows of ANSWERS out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from t2i_spatial.canvas import draw
from t2i_spatial.images import ImageUnreadableError, read_image
from t2i_spatial.judges import Judge, JudgeSpec, load_judge
from t2i_spatial.judges.base import Asked, Picture, Reply, answer_row
from t2i_spatial.locations import locate
from t2i_spatial.questions import ANSWERS, OFF_FORMAT, Question, option_order, table_to_question
from t2i_spatial.tables import IMAGE_MISSING, IMAGE_UNREADABLE

READERS = 8
TOKENS = "tokens"
MOST_BYTES = 64 * 2**20
"""A larger file is not sent: no endpoint takes it, and a batch of them would fill the memory."""


@dataclass(frozen=True)
class Pending:
    """One picture and what is still to be asked of it: (question id, rollout) pairs."""

    prompt_id: str
    sample: int
    path: str
    wanted: tuple[tuple[str, int], ...]
    canvas: str | None = None
    """Shown instead of the picture."""


class LoadJudge:
    """Loads a judge on a device; the last one of a process is kept until it is closed.

    Args:
        ready: a judge that needs no loading, which is on the CPU.
    """

    def __init__(self, spec: JudgeSpec, ready: Judge | None = None) -> None:
        self._spec = spec
        self._loaded = None if ready is None else ("cpu", ready)

    def __getstate__(self) -> dict[str, Any]:
        return {"_spec": self._spec, "_loaded": None}

    def __call__(self, device: str) -> Judge:
        """The judge on a device.

        Raises:
            JudgeError, ModelLoadError: it cannot be asked.
        """
        if self._loaded is None or self._loaded[0] != device:
            self.close()
            self._loaded = (device, load_judge(self._spec, device=device))
        return self._loaded[1]

    def facts(self, device: str) -> JudgeFacts:
        """What a plan must know of the loaded judge."""
        judge = self(device)
        return JudgeFacts(judge.plan(), judge.samples, judge.gives_probabilities)

    def found_out(self) -> dict[str, Any]:
        """What a judge of this process has found out while it was asked."""
        return {} if self._loaded is None else self._loaded[1].found_out()

    def close(self) -> None:
        """Let go of a judge of this process."""
        if self._loaded is not None:
            judge, self._loaded = self._loaded[1], None
            judge.close()


class JudgeFacts(NamedTuple):
    """See `Judge`."""

    plan: dict[str, Any]
    samples: bool
    gives_probabilities: bool


@dataclass(frozen=True)
class AskWorkers:
    """Makes the worker of one device; `ahead` as in `AskWorker`."""

    load: Callable[[str], Judge]
    questions: pl.DataFrame
    seed: int
    ahead: bool = True

    def __call__(self, device: str) -> AskWorker:
        """Load the judge on `device`."""
        return AskWorker(self.load(device), self.questions, self.seed, ahead=self.ahead)

    def lost(self, items: Sequence[Pending], reason: str) -> pl.DataFrame:
        """Rows of pictures over which workers died: errors, which are tried again when asked."""
        known = questions_by_key(self.questions)
        rows = [
            answer_row((item.prompt_id, item.sample), one, Reply.failed(reason))
            for item in items
            for one in asked_of(item, known, self.seed)
        ]
        return pl.DataFrame(rows, schema=ANSWERS)


class AskWorker:
    """Asks one judge; files that are gone or broken get rows with that status, not an error.

    Args:
        ahead: whether the next batch is asked while this one is awaited; with a budget of tokens
            it is not, since what this one costs is not known.

    Attributes:
        asked: questions put so far.
        tokens: what they cost; replies from the cache cost nothing.
    """

    def __init__(
        self, judge: Judge, questions: pl.DataFrame, seed: int, *, ahead: bool = True
    ) -> None:
        self.judge = judge
        self.seed = seed
        self.ahead = ahead
        self.asked = self.tokens = 0
        self._questions = questions_by_key(questions)
        self._pool = ThreadPoolExecutor(READERS)
        self._reading: dict[int, list[Future[Picture | Reply]]] = {}
        self._started: dict[int, tuple[list[list[Asked]], list[Picture | Reply], Any]] = {}

    def prefetch(self, batch: Sequence[Pending]) -> None:
        """Read the pictures of a batch; what was read before is put under way."""
        self._read(batch)
        if self.ahead:
            self._start(batch)

    def __call__(self, batch: Sequence[Pending]) -> pl.DataFrame:
        """The answers of one batch."""
        self._start(batch)
        asked, pictures, started = self._started.pop(id(batch))
        collected = iter(self.judge.collect(started))
        rows = []
        for item, of_item, picture in zip(batch, asked, pictures, strict=True):
            lost = isinstance(picture, Reply)
            replies = [picture] * len(of_item) if isinstance(picture, Reply) else next(collected)
            for one, reply in zip(of_item, replies, strict=True):
                self.tokens += 0 if reply.cached else reply.tokens or 0
                rows.append(answer_row((item.prompt_id, item.sample), one, reply))
            self.asked += 0 if lost else len(of_item)
        return pl.DataFrame(rows, schema=ANSWERS)

    def pictures(self, batch: Sequence[Pending]) -> Iterator[tuple[Picture, list[Asked]]]:
        """The pictures of a batch that can be read, with what is asked of each."""
        for item in batch:
            picture = self._picture(item)
            if isinstance(picture, Picture):
                yield picture, asked_of(item, self._questions, self.seed)

    def facts(self) -> dict[str, int]:
        """What the progress tells besides pictures."""
        return {"questions": self.asked, TOKENS: self.tokens}

    def close(self) -> None:
        """End the threads that read."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _read(self, batch: Sequence[Pending]) -> None:
        if id(batch) not in self._reading and id(batch) not in self._started:
            self._reading[id(batch)] = [self._pool.submit(self._picture, item) for item in batch]

    def _start(self, batch: Sequence[Pending]) -> None:
        if id(batch) in self._started:
            return
        self._read(batch)
        asked = [asked_of(item, self._questions, self.seed) for item in batch]
        pictures = [future.result() for future in self._reading.pop(id(batch))]
        there = [
            (picture, of_item)
            for picture, of_item in zip(pictures, asked, strict=True)
            if isinstance(picture, Picture)
        ]
        self._started[id(batch)] = (asked, pictures, self.judge.submit(there))

    def _picture(self, item: Pending) -> Picture | Reply:
        key = (item.prompt_id, item.sample)
        if item.canvas is not None:
            if not self.judge.needs_pixels:
                return Reply.failed("this judge looks at no drawings", status=OFF_FORMAT)
            return Picture("", draw(item.canvas), key)
        if not self.judge.needs_pixels:
            return Picture(item.path, b"", key)
        path = locate(item.path)
        try:
            if (size := path.stat().st_size) > MOST_BYTES:
                told = f"{path.name}: {size:,} bytes are more than the limit of {MOST_BYTES:,}"
                return Reply.failed(told, status=IMAGE_UNREADABLE)
            data = path.read_bytes()
            read_image(path)  # what no decoder reads, no judge should be asked about
        except FileNotFoundError:
            return Reply.failed(f"{path.name}: no such file", status=IMAGE_MISSING)
        except (OSError, ImageUnreadableError) as error:
            return Reply.failed(str(error), status=IMAGE_UNREADABLE)
        return Picture(item.path, data, key)


def questions_by_key(questions: pl.DataFrame) -> dict[tuple[str, str], Question]:
    """A QUESTIONS table by (prompt id, question id)."""
    return {
        (row["prompt_id"], row["question_id"]): table_to_question(row)
        for row in questions.iter_rows(named=True)
    }


def asked_of(
    item: Pending, questions: Mapping[tuple[str, str], Question], seed: int
) -> list[Asked]:
    """What is to be asked of one picture, each with the order in which options are shown."""
    image = f"{item.prompt_id}_{item.sample}"
    asked = []
    for question_id, rollout in item.wanted:
        question = questions[item.prompt_id, question_id]
        order = option_order(question, rollout, seed, image)
        asked.append(Asked(question, rollout, order, seed))
    return asked
