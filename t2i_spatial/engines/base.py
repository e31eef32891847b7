"""What an engine is: something that lets workers do the planned batches of a stage.

A stage plans its batches, says how a worker is made and hands both to `run_batches`. An engine
decides where workers live and which batch goes to which; every worker writes the shards of its own
batches, so that nothing but `Done` travels back. What a batch contains and what comes of it is the
stage's business, and no stage can tell one engine from another.
"""

from __future__ import annotations

import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

import polars as pl

from t2i_spatial.engine_settings import EngineSettings
from t2i_spatial.errors import T2ISpatialError
from t2i_spatial.jobs import Job
from t2i_spatial.shards import Shards

T = TypeVar("T")

KILLED = "killed the worker"
"""Reason of an item over which worker processes died."""


class Worker(Protocol):
    """Holds a loaded model on one device and turns one batch into the rows of its table.

    It may have `prefetch(batch)`, called with the batch that follows, `facts()`: what it has
    counted so far, told beside the progress; and `close()`.
    """

    def __call__(self, batch: Any) -> pl.DataFrame:
        """The rows of one batch."""
        ...


class Workers(Protocol):
    """Makes the workers of a stage. Picklable: it travels to where they live."""

    def __call__(self, device: str) -> Worker:
        """Load the model on a device."""
        ...

    def lost(self, items: Sequence[Any], reason: str) -> pl.DataFrame:
        """The rows of items of a batch that no worker survived; loads nothing."""
        ...


class Done(NamedTuple):
    """All that is heard of a finished batch.

    Attributes:
        number: of the batch.
        items: how many it had (of a batch that was cut: of this piece).
        seconds: that the worker took.
        node: the machine, as people know it.
        facts: what the worker counted meanwhile.
        other: somebody else had finished it already, with other content, which stays.
    """

    number: int
    items: int
    seconds: float = 0.0
    node: str = ""
    facts: Mapping[str, int] = {}
    other: bool = False


class Task(NamedTuple):
    """A batch, or a piece of one that killed its workers."""

    number: int
    items: Sequence[Any]
    start: int = 0
    whole: bool = True

    @property
    def place(self) -> tuple[int, int, int]:
        """Which items of the plan these are."""
        return (self.number, self.start, len(self.items))


@dataclass(frozen=True)
class Work:
    """The batches of a stage that are to be done.

    Attributes:
        stage: the word for messages.
        shards: where the rows of batch k go.
        batches: number and items of those without a shard.
        workers: how a worker is made.
        devices: as `Engine.devices` named them.
        enough: told the facts of all workers together, whether to hand out no more.
    """

    stage: str
    shards: Shards
    batches: Sequence[tuple[int, Sequence[Any]]]
    workers: Workers
    devices: Sequence[str] = ("cpu",)
    enough: Callable[[Mapping[str, int]], bool] | None = None
    total: dict[str, int] = field(default_factory=dict)

    def count(self, done: Done) -> None:
        """Add what a worker has counted."""
        for name, value in done.facts.items():
            self.total[name] = self.total.get(name, 0) + value

    @property
    def is_enough(self) -> bool:
        """Whether no further batch is wanted."""
        return self.enough is not None and self.enough(self.total)


class Engine(ABC):
    """Where the batches of stages run. Subclasses register in `ENGINES`.

    Attributes:
        job: (i, n) of an engine that does only a share of the batches, beside others.
    """

    name: ClassVar[str]
    job: Job | None = None

    def __init__(self, settings: EngineSettings | None = None) -> None:
        self.settings = settings or EngineSettings()

    @abstractmethod
    def devices(self, device: str) -> list[str]:
        """What a `device` setting means here, one entry per kind of place for a worker.

        Raises:
            InputError: there is no such device.
        """

    @abstractmethod
    def once(self, look: Callable[[str], T], device: str) -> T:
        """What `look(device)` gives where workers live, for what a plan must know of a model."""

    def is_here(self, devices: Sequence[str]) -> bool:
        """Whether the worker lives in this process, and what `once` has loaded serves it."""
        return False

    @abstractmethod
    def at_one_place(self) -> Engine:
        """The engine for work that waits for others (an endpoint): more places gain nothing."""

    @abstractmethod
    def run(self, work: Work) -> Iterator[Done]:
        """Do the batches, telling of each as it is finished, in any order.

        Raises:
            T2ISpatialError: what a worker raised, or that workers cannot be had. What is finished
                stays.
        """


class Seat:
    """A worker at work where its engine put it, and the batch that it has begun to read ahead."""

    def __init__(self, worker: Worker, shards: Shards, node: str = "") -> None:
        self.worker = worker
        self.shards = shards
        self.node = node
        self._ahead: Task | None = None

    def do(self, task: Task, following: Task | None = None) -> Done:
        """Do one batch (or piece) and write its rows, unless somebody else has done it."""
        ahead = self._ahead
        if ahead is not None and ahead.place == task.place:
            task = ahead  # the very object that is being read
        begun = time.monotonic()
        place = self.shards if task.whole else self.shards.pieces(task.number)
        key = task.number if task.whole else task.start
        if place.path(key).exists():
            return Done(task.number, len(task.items), 0.0, self.node)
        self._read(task, following)
        before = self._counted()
        same = place.write(key, self.worker(task.items))
        facts = {name: value - before.get(name, 0) for name, value in self._counted().items()}
        seconds = time.monotonic() - begun
        return Done(task.number, len(task.items), seconds, self.node, facts, not same)

    def close(self) -> None:
        """Let a worker that can (`close()`) end its threads."""
        if hasattr(self.worker, "close"):
            self.worker.close()

    def _read(self, task: Task, following: Task | None) -> None:
        self._ahead = following
        if hasattr(self.worker, "prefetch"):
            for one in (task, following):
                if one is not None:
                    self.worker.prefetch(one.items)

    def _counted(self) -> Mapping[str, int]:
        return self.worker.facts() if hasattr(self.worker, "facts") else {}


def portable(error: Exception) -> T2ISpatialError:
    """Errors of ours travel between processes as they are, others as their traceback."""
    if isinstance(error, T2ISpatialError):
        return error
    return T2ISpatialError("".join(traceback.format_exception(error)).strip())
