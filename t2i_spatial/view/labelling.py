"""Who labels which image next: random order, shared among people, a tenth labelled by two.

An answer is on disk before it is acknowledged (`append_label` syncs); this module only remembers
what the label files of a run say, and reads them again when somebody else has written.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.labels.people import Asked, questions_for
from t2i_spatial.labels.records import (
    ANSWERS,
    NO,
    WITHDRAWN,
    YES,
    Label,
    append_label,
    label_files,
    read_labels,
)
from t2i_spatial.run import Run
from t2i_spatial.scene import Prompt
from t2i_spatial.stages.auditing.labelled import PICKED
from t2i_spatial.tables import SCORED, table_to_prompts
from t2i_spatial.view.index import scan

DOUBLE_SHARE = 0.1
"""Share of the images that a second annotator labels too."""

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Item:
    """An image to label.

    Attributes:
        prompt_id, sample, image: as in the run.
        picker, pi, batch, seed: how it was picked, null where nobody picked.
        twice: whether a second annotator is to label it too.
    """

    prompt_id: str
    sample: int
    image: str
    picker: str | None = None
    pi: float | None = None
    batch: int | None = None
    seed: int | None = None
    twice: bool = False

    @property
    def key(self) -> Key:
        """Prompt and sample."""
        return self.prompt_id, self.sample


def items_to_label(run: Run) -> list[Item]:
    """The images that were picked; every image that has a file where none were."""
    if not run.has(PICKED):
        return all_items(run)
    picks = scan(run, PICKED).collect()
    return [
        Item(**{name: row[name] for name in Item.__slots__}) for row in picks.iter_rows(named=True)
    ]


def all_items(run: Run) -> list[Item]:
    """Every image of a run that has a file, for runs of which none were picked."""
    images = scan(run, "images.parquet", ["prompt_id", "sample", "image", "status"])
    rows = images.filter(pl.col("status") == SCORED, pl.col("image").is_not_null()).collect()
    return [
        Item(row[0], row[1], row[2], twice=_chance("twice", row[0], row[1]) < DOUBLE_SHARE)
        for row in rows.iter_rows()
    ]


def _chance(*parts: object) -> float:
    """The same number in [0, 1) for the same parts: every server shows the same order."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


@dataclass
class _Said:
    """What one annotator has said so far: answers by image and question, and in which order."""

    answers: dict[Key, dict[str, str]] = field(default_factory=dict)
    steps: list[tuple[Key, str]] = field(default_factory=list)

    def take(self, key: Key, question_id: str, label: str) -> None:
        step = (key, question_id)
        if step in self.steps:
            self.steps.remove(step)
        if label == WITHDRAWN:
            self.answers.get(key, {}).pop(question_id, None)
            return
        self.answers.setdefault(key, {})[question_id] = label
        self.steps.append(step)


class Desk:
    """Hands out questions about the images of one run and takes the answers."""

    def __init__(self, run: Run, items: Sequence[Item]) -> None:
        self.run = run
        self.items = dict(enumerate(items))
        self._number = {item.key: number for number, item in self.items.items()}
        self._prompts: dict[str, Prompt] = {}
        self._orders: dict[str, list[int]] = {}
        self._said: dict[str, _Said] = {}
        self._stamps: dict[Path, tuple[int, int]] = {}
        self._hashes: dict[int, str] = {}
        self._lock = RLock()

    def next(self, annotator: str) -> dict[str, Any]:
        """The question that an annotator is to answer now, and how far they are.

        Raises:
            InputError: an id that cannot be the name of a file.
        """
        _check(annotator)
        with self._lock:
            self._read()
            mine = self._said.setdefault(annotator, _Said())
            order = self._order(annotator)
            done, task = 0, None
            share = [n for n in order if self._is_for(annotator, self.items[n])]
            for number in share:
                asked = self._open(self.items[number], mine)
                if asked is None:
                    done += 1
                elif task is None or (self._begun(mine, number) and not task[2]):
                    # an image that was begun is finished first
                    task = (number, asked, self._begun(mine, number))
            return {
                "task": None if task is None else self._task(task[0], task[1]),
                "done": done,
                "all": len(share),
                "can_undo": bool(mine.steps),
                "file": f"labels/{annotator}.jsonl",
            }

    def answer(self, annotator: str, number: int, question_id: str, said: str) -> dict[str, Any]:
        """Put an answer on disk, then hand out the next question.

        Raises:
            InputError: an answer that is none, or to what was not asked.
            T2ISpatialError: it cannot be written.
        """
        _check(annotator)
        if said not in ANSWERS or said == WITHDRAWN:
            raise InputError(f"an answer is yes, no or unsure, got {said[:40]!r}")
        with self._lock:
            self._read()
            self._write(annotator, self._item(number), question_id, said)
            return self.next(annotator)

    def undo(self, annotator: str) -> dict[str, Any]:
        """Take the last answer back; the file says so in a line of its own.

        Raises:
            T2ISpatialError: it cannot be written.
        """
        _check(annotator)
        with self._lock:
            self._read()
            mine = self._said.setdefault(annotator, _Said())
            if mine.steps:
                key, question_id = mine.steps[-1]
                item = self.items[self._number[key]]
                self._write(annotator, item, question_id, WITHDRAWN)
            return self.next(annotator)

    def image_path(self, number: int) -> Path:
        """The file of an item.

        Raises:
            InputError: there is no such item.
        """
        return self.run.image_path(self._item(number).image)

    def _item(self, number: int) -> Item:
        if number not in self.items:
            raise InputError(f"there is no image {number} to label")
        return self.items[number]

    def _write(self, annotator: str, item: Item, question_id: str, said: str) -> None:
        asked = next((a for a in self._asked(item) if a.question.id == question_id), None)
        if asked is None:
            raise InputError(
                f"the images of {item.prompt_id!r} have no question {question_id[:40]!r}"
            )
        label = Label(
            image=item.image,
            image_sha256=self._hash(self._number[item.key]),
            prompt_id=item.prompt_id,
            sample=item.sample,
            question_id=question_id,
            question=asked.question.text,
            label=said,
            annotator=annotator,
            picker=item.picker,
            pi=item.pi,
            batch=item.batch,
            seed=item.seed,
        )
        path = self.run.path / "labels" / f"{annotator}.jsonl"
        append_label(path, label)
        self._said.setdefault(annotator, _Said()).take(item.key, question_id, said)
        self._stamps[path] = _stamp(path)

    def _read(self) -> None:
        """Read the label files again if somebody else wrote."""
        now = {path: _stamp(path) for path in label_files(self.run.path)}
        if now == self._stamps:
            return
        self._said.clear()
        for row in read_labels(now).iter_rows(named=True):
            key = (row["prompt_id"], row["sample"])
            if key in self._number:
                said = self._said.setdefault(row["annotator"], _Said())
                said.take(key, row["question_id"], row["label"])
        self._stamps = now

    def _order(self, annotator: str) -> list[int]:
        if annotator not in self._orders:
            numbers = sorted(self.items, key=lambda n: _chance(annotator, *self.items[n].key))
            self._orders[annotator] = numbers
        return self._orders[annotator]

    def _is_for(self, annotator: str, item: Item) -> bool:
        """Whether an image needs this annotator: it is theirs, or lacks people."""
        if self._said[annotator].answers.get(item.key):
            return True
        others = sum(
            bool(said.answers.get(item.key))
            for name, said in self._said.items()
            if name != annotator
        )
        return others < (2 if item.twice else 1)

    def _begun(self, mine: _Said, number: int) -> bool:
        return bool(mine.answers.get(self.items[number].key))

    def _open(self, item: Item, mine: _Said) -> Asked | None:
        """The first question about an image that is not answered; one about what is not there is
        not asked."""
        answers = mine.answers.get(item.key, {})
        absent: set[int] = set()
        for asked in self._asked(item):
            said = answers.get(asked.question.id)
            if asked.part == "exists" and said == NO and asked.question.gold == YES:
                absent.update(asked.objects)
            if said is None and (asked.part == "exists" or not absent & set(asked.objects)):
                return asked
        return None

    def _asked(self, item: Item) -> tuple[Asked, ...]:
        return questions_for(self._prompt(item.prompt_id))

    def _prompt(self, prompt_id: str) -> Prompt:
        if not self._prompts:
            wanted = {item.prompt_id for item in self.items.values()}
            for prompt in table_to_prompts(self.run.prompts()):
                if prompt.id in wanted:
                    self._prompts[prompt.id] = prompt
        if prompt_id not in self._prompts:
            raise InputError(f"{self.run.path}: {prompt_id!r} is no prompt of the run")
        return self._prompts[prompt_id]

    def _task(self, number: int, asked: Asked) -> dict[str, Any]:
        item = self.items[number]
        return {
            "item": number,
            "prompt": self._prompt(item.prompt_id).text,
            "question": asked.question.text,
            "question_id": asked.question.id,
        }

    def _hash(self, number: int) -> str:
        if number not in self._hashes:
            path = self.image_path(number)
            try:
                with path.open("rb") as file:
                    self._hashes[number] = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise InputError(f"{path.name}: {error.strerror or error}") from None
        return self._hashes[number]


def _check(annotator: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,39}", annotator):
        raise InputError("an annotator's id has 1 to 40 letters, digits, '.', '_' or '-'")


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


def people_say(run: Run) -> Mapping[Key, str]:
    """Of every labelled image what people say of it as a whole: "yes", "no" or "unsure".

    People who contradict each other make it "unsure".
    """
    from t2i_spatial.labels.people import truth_of
    from t2i_spatial.labels.records import last_words

    labels = last_words(read_labels(label_files(run.path)))
    prompts = {p.id: p for p in table_to_prompts(run.prompts())} if len(labels) else {}
    found: dict[Key, set[str]] = {}
    answers: dict[tuple[str, int, str], dict[str, str]] = {}
    for row in labels.iter_rows(named=True):
        key = (row["prompt_id"], row["sample"], row["annotator"])
        answers.setdefault(key, {})[row["question_id"]] = row["label"]
    for (prompt_id, sample, _), given in answers.items():
        if prompt_id in prompts:
            truth = truth_of(prompts[prompt_id], given).image
            if truth is not None:
                found.setdefault((prompt_id, sample), set()).add(truth)
    return {key: said.pop() if len(said) == 1 else "unsure" for key, said in found.items()}
