"""Pictures with what is to be asked of them in, rows of ANSWERS out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import polars as pl

from t2i_spatial.canvas import draw
from t2i_spatial.images import ImageUnreadableError, read_image
from t2i_spatial.judges import Judge
from t2i_spatial.judges.base import Asked, Picture, Reply, answer_row
from t2i_spatial.locations import locate
from t2i_spatial.questions import ANSWERS, OFF_FORMAT, Question, option_order, table_to_question
from t2i_spatial.tables import IMAGE_MISSING, IMAGE_UNREADABLE

READERS = 8
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


class BudgetSpent(Exception):
    """The tokens that were allowed are used."""


class AskWorker:
    """Asks one judge; files that are gone or broken get rows with that status, not an error.

    Attributes:
        asked: questions put so far.
        tokens: what they cost; replies from the cache cost nothing.
    """

    def __init__(
        self, judge: Judge, questions: pl.DataFrame, seed: int, max_tokens: int | None = None
    ) -> None:
        self.judge = judge
        self.seed = seed
        self.max_tokens = max_tokens
        self.asked = self.tokens = 0
        self._questions: dict[tuple[str, str], Question] = {
            (row["prompt_id"], row["question_id"]): table_to_question(row)
            for row in questions.iter_rows(named=True)
        }
        self._pool = ThreadPoolExecutor(READERS)
        self._reading: dict[int, list[Future[Picture | Reply]]] = {}
        self._started: dict[int, tuple[list[list[Asked]], list[Picture | Reply], Any]] = {}

    def prefetch(self, batch: Sequence[Pending]) -> None:
        """Read the pictures of a batch; what was read before is put under way.

        With a budget of tokens nothing is asked ahead: what the batch before it costs is not known.
        """
        self._read(batch)
        if self.max_tokens is None:
            self._start(batch)

    def __call__(self, batch: Sequence[Pending]) -> pl.DataFrame:
        """The answers of one batch.

        Raises:
            BudgetSpent: more tokens were used than allowed; nothing of this batch is asked.
        """
        if self.max_tokens is not None and self.tokens >= self.max_tokens:
            raise BudgetSpent
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
                yield picture, self._asked(item)

    def facts(self) -> dict[str, str]:
        """What the progress tells besides pictures."""
        tokens = {"tokens": f"{self.tokens:,}"} if self.tokens else {}
        return {"questions": f"{self.asked:,}", **tokens}

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
        asked = [self._asked(item) for item in batch]
        pictures = [future.result() for future in self._reading.pop(id(batch))]
        there = [
            (picture, of_item)
            for picture, of_item in zip(pictures, asked, strict=True)
            if isinstance(picture, Picture)
        ]
        self._started[id(batch)] = (asked, pictures, self.judge.submit(there))

    def _asked(self, item: Pending) -> list[Asked]:
        image = f"{item.prompt_id}_{item.sample}"
        asked = []
        for question_id, rollout in item.wanted:
            question = self._questions[item.prompt_id, question_id]
            order = option_order(question, rollout, self.seed, image)
            asked.append(Asked(question, rollout, order, self.seed))
        return asked

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
