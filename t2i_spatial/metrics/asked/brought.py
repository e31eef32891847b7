"""Prompts that bring their questions along: the base of the peers' protocols on answers."""

from __future__ import annotations

import abc
import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.answers import QUESTION, WEIGHED, AnswerMetric
from t2i_spatial.metrics.tabular import component_column
from t2i_spatial.questions import ANSWERED, Question, questions_to_table
from t2i_spatial.scene import Prompt
from t2i_spatial.tables import KEY, table_to_prompts

T = TypeVar("T")
Reply = Mapping[str, Any]
"""One row of ANSWERS: `rollout, status, answer, mass, chances, raw, reason`."""
Replies = Mapping[str, Sequence[Reply]]
"""Question id -> the replies to it, in the order of rollouts."""
READ = ("question_id", "rollout", "status", "answer", "mass", "chances", "raw", "reason")


@dataclass(kw_only=True)
class Brought(AnswerMetric):
    """A protocol whose prompts bring their questions: these are the measure, not the scene.

    Attributes:
        record: key of the prompt's metadata that holds them.
    """

    record: ClassVar[str]
    looks_at_scenes: ClassVar[bool] = False

    @abc.abstractmethod
    def asked(self, prompt: Prompt) -> Iterator[Question]:
        """The questions of a prompt that has such a record."""

    def questions(self, prompts: pl.DataFrame) -> pl.DataFrame:
        """See `AnswerMetric.questions`.

        Raises:
            InputError: a record without what it must have, naming the prompt.
        """
        rows: list[tuple[str, Question]] = []
        for prompt in self.holding(prompts):
            try:
                rows += [(prompt.id, question) for question in self.asked(prompt)]
            except InputError as error:
                raise InputError(f"prompt {prompt.id!r}: {error}") from None
        return questions_to_table(rows).unique(QUESTION, maintain_order=True)

    def unjudged(self, prompt: Prompt) -> tuple[str, ...]:
        """Nothing: what the questions ask is what is measured."""
        return ()

    def holding(self, prompts: pl.DataFrame) -> Iterator[Prompt]:
        """The prompts of PROMPTS that bring questions of this protocol."""
        holding = pl.col("metadata").str.contains(f'"{self.record}"', literal=True)
        for prompt in table_to_prompts(prompts.filter(holding.fill_null(False))):
            if isinstance(prompt.metadata.get(self.record), Mapping | list):
                yield prompt


@dataclass(kw_only=True)
class BroughtQuestions(Brought):
    """One whose verdict on an image is told from the replies about it, image by image."""

    @abc.abstractmethod
    def verdict(self, prompt: Prompt, replies: Replies) -> Mapping[str, Any]:
        """Verdict on one image: `value, correct, margin, reason, components, unjudged`.

        `components` are given by name; what is left out is null.
        """

    def weigh(
        self, prompts: pl.DataFrame, images: pl.DataFrame, answers: pl.DataFrame
    ) -> pl.DataFrame:
        """See `AnswerMetric.weigh`."""
        known = {prompt.id: prompt for prompt in self.holding(prompts)}
        given: dict[tuple[str, int], dict[str, list[Reply]]] = {}
        read = answers.join(images.select(*KEY), on=KEY, how="semi").select(*KEY, *READ)
        for row in read.sort("rollout", maintain_order=True).iter_rows(named=True):
            of_image = given.setdefault((row["prompt_id"], row["sample"]), {})
            of_image.setdefault(row["question_id"], []).append(row)
        keys = [key for key in images.select(*KEY).iter_rows() if key in given]
        return self._table(keys, [self.verdict(known[key[0]], given[key]) for key in keys])

    def _table(
        self, keys: Sequence[tuple[str, int]], found: Sequence[Mapping[str, Any]]
    ) -> pl.DataFrame:
        """Verdicts column by column; row by row, nested ones take longer than what is in them."""
        numbers = pl.DataFrame(
            [
                pl.Series(
                    name, [v["components"].get(name) for v in found], pl.Float64, strict=False
                )
                for name in self.parts
            ]
        )
        columns = {
            "prompt_id": [prompt_id for prompt_id, _ in keys],
            "sample": [sample for _, sample in keys],
            "components": component_column(numbers, {name: pl.col(name) for name in self.parts}),
        }
        for name in ("value", "correct", "margin", "reason", "unjudged"):
            columns[name] = [verdict[name] for verdict in found]
        return pl.DataFrame(columns, schema_overrides=WEIGHED, strict=False).select(list(WEIGHED))


def once_per_prompt(read: Callable[[Prompt], T]) -> Callable[[Prompt], T]:
    """Decorator: what is read of a prompt is kept while the same prompt is asked for again.

    The images of a prompt come together, so one is kept, and memory does not grow with a set.
    """
    held: list[tuple[Prompt, T]] = []

    @functools.wraps(read)
    def known(prompt: Prompt) -> T:
        last = held[0] if held else None
        if last is None or last[0] is not prompt:
            last = (prompt, read(prompt))
            held[:] = [last]  # whole, whatever another thread reads meanwhile
        return last[1]

    return known


def share_bounds(replies: Sequence[Reply], gold: str) -> tuple[float, float]:
    """Between which the share of right answers lies: unusable replies wrong, or right.

    A reply with probabilities counts with that of the right answer.

    >>> share_bounds([{"status": "answered", "answer": "yes", "chances": None},
    ...     {"status": "refused", "answer": None, "chances": None}], "yes")
    (0.5, 1.0)
    """
    if not replies:
        return 0.0, 1.0
    usable = [reply for reply in replies if reply["status"] == ANSWERED]
    right = sum(chance_of(reply, gold) for reply in usable)
    unsure = len(replies) - len(usable)
    return right / len(replies), (right + unsure) / len(replies)


def chance_of(reply: Reply, answer: str) -> float:
    """Probability of an answer among the allowed ones; 1 or 0 where the judge gives none."""
    if reply["chances"] is None:
        return float(reply["answer"] == answer)
    return next((c["p"] for c in reply["chances"] if c["answer"] == answer), 0.0)


def given_answer(replies: Sequence[Reply]) -> str | None:
    """What most usable replies say, the first to say it where several are as frequent."""
    said = Counter(reply["answer"] for reply in replies if reply["status"] == ANSWERED)
    return said.most_common(1)[0][0] if said else None


def listed(record: Mapping[str, Any], key: str, kind: type = str) -> list[Any]:
    """A list of a record.

    Raises:
        InputError: it is missing, or holds something else than `kind`.
    """
    value = record.get(key)
    if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
        raise InputError(f"{key} must be a list of {kind.__name__}, got {value!r:.80}")
    return value
