"""Who does which batch, and what becomes of a batch whose worker dies: the same for every engine
whose workers live in processes of their own.

A place takes a batch and hears of the one that follows, so that it can read ahead; slow places
take fewer. A batch whose node died runs elsewhere. One that killed two workers is halved, and so
are the pieces, until it is known which item is to blame: that one gets its status and reason, all
others are done.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol, TypeAlias

from t2i_spatial.engines.base import KILLED, Done, Task, Work
from t2i_spatial.errors import T2ISpatialError
from t2i_spatial.progress import note

KILLS = 2
"""So many workers must die over a batch before it is cut, and over an item before it is blamed."""
NODES_LOST = 4
"""So many nodes may die under one batch; a further one ends the stage."""
DEATHS_IN_A_ROW = 12
"""So many deaths per place without one finished batch between them end the stage: cutting 64 items
down to the first of them takes 9."""
BLAMED_FIRST = 2
"""So many items are blamed while no batch was ever finished: then it is the workers, not the items.
"""

Place = Hashable


@dataclass(frozen=True)
class Ready:
    """A worker has loaded its model and wants a batch."""

    place: Place


@dataclass(frozen=True)
class Finished:
    """A worker has finished what it was given."""

    place: Place
    done: Done


@dataclass(frozen=True)
class Failed:
    """A worker raised an error over its batch, which ends the stage."""

    place: Place
    error: Exception


@dataclass(frozen=True)
class Died:
    """A worker is no more; `of_node`: its machine died, for which no batch is to blame."""

    place: Place
    reason: str
    of_node: bool = False


Event: TypeAlias = Ready | Finished | Failed | Died


class Crew(Protocol):
    """Workers in processes of their own. A place whose worker died may become `Ready` again."""

    def wait(self) -> Sequence[Event]:
        """What has happened since; waits for something to happen.

        Raises:
            T2ISpatialError: there is no worker, and there will be none.
        """
        ...

    def give(self, place: Place, task: Task, following: Task | None) -> None:
        """Let the idle worker at a place do a task; `following` is what it will probably get."""
        ...

    def size(self) -> int:
        """How many places there are."""
        ...

    def close(self) -> None:
        """End all workers, whatever they are at."""
        ...


def dispatch(crew: Crew, work: Work) -> Iterator[Done]:
    """Have a crew do all batches of `work`."""
    try:
        yield from _Dispatch(crew, work).run()
    finally:
        crew.close()


class _Dispatch:
    def __init__(self, crew: Crew, work: Work) -> None:
        self.crew = crew
        self.work = work
        self.queue = deque(Task(number, items) for number, items in work.batches)
        self.idle: dict[Place, None] = {}
        self.held: dict[Place, Task] = {}
        self.reserved: dict[Place, Task] = {}
        self.kills: Counter[tuple[int, int, int]] = Counter()
        self.nodes_lost: Counter[int] = Counter()
        self.in_a_row = self.finished = self.blamed = 0
        # of a stage that was killed while a batch was in pieces
        work.shards.drop_pieces({number for number, _ in work.batches})

    def run(self) -> Iterator[Done]:
        while self.queue or self.held or self.reserved:
            if self.work.is_enough:
                self.queue.clear()
                self.reserved.clear()
                if not self.held:
                    return
            self._hand_out()
            for event in self.crew.wait():
                match event:
                    case Ready(place):
                        self.idle[place] = None
                    case Finished(place, done):
                        self.in_a_row = 0
                        self.finished += 1
                        self.idle[place] = None
                        yield from self._finished(self.held.pop(place), done)
                    case Failed(_, error):
                        raise error
                    case Died(place, reason, of_node):
                        yield from self._died(place, reason, of_node)

    def _hand_out(self) -> None:
        for place in list(self.idle):
            task = self.reserved.pop(place, None) or self._next()
            if task is None:
                return
            del self.idle[place]
            if self.queue and len(self.queue) > len(self.idle):
                self.reserved[place] = self.queue.popleft()
            self.held[place] = task
            self.crew.give(place, task, self.reserved.get(place))

    def _next(self) -> Task | None:
        """The next of the queue; when that is empty, what a busy worker would have got next."""
        if self.queue:
            return self.queue.popleft()
        return self.reserved.pop(next(iter(self.reserved))) if self.reserved else None

    def _finished(self, task: Task, done: Done) -> Iterator[Done]:
        self.work.count(done)
        yield done
        if not task.whole:
            self._gather(task.number)

    def _died(self, place: Place, reason: str, of_node: bool) -> Iterator[Done]:
        self.idle.pop(place, None)
        if (waiting := self.reserved.pop(place, None)) is not None:
            self.queue.appendleft(waiting)
        task = self.held.pop(place, None)
        if task is None:
            return
        stage, first = self.work.stage, task.number + 1
        if of_node:
            self.nodes_lost[task.number] += 1
            if self.nodes_lost[task.number] > NODES_LOST:
                self._give_up(
                    f"batch {first} was lost with its node {NODES_LOST + 1} times", reason
                )
            note(f"{stage}: {reason}; batch {first} runs elsewhere")
            self.queue.appendleft(task)
            return
        self.in_a_row += 1
        if self.in_a_row >= DEATHS_IN_A_ROW * max(1, self.crew.size()):
            self._give_up(f"{self.in_a_row} workers died one after another", reason)
        self.kills[task.place] += 1
        between = not task.whole and len(task.items) > 1
        if self.kills[task.place] < (1 if between else KILLS):
            note(f"{stage}: {reason}; batch {first} runs again")
            self.queue.appendleft(task)
        elif len(task.items) > 1:
            note(f"{stage}: {reason}; batch {first} is done in halves")
            half = len(task.items) // 2
            number, items, start, _ = task
            self.queue.appendleft(Task(number, items[half:], start + half, whole=False))
            self.queue.appendleft(Task(number, items[:half], start, whole=False))
        else:
            yield from self._blame(task, reason)

    def _blame(self, task: Task, reason: str) -> Iterator[Done]:
        if not self.finished and self.blamed == BLAMED_FIRST:
            self._give_up("workers die over every batch", reason)
        self.blamed += 1
        note(f"{self.work.stage}: one item of batch {task.number + 1} {KILLED} ({reason})")
        rows = self.work.workers.lost(task.items, KILLED)
        self.work.shards.pieces(task.number).write(task.start, rows)
        yield Done(task.number, 1)
        self._gather(task.number)

    def _give_up(self, why: str, last: str) -> NoReturn:
        raise T2ISpatialError(
            f"{self.work.stage}: {why} (last: {last}); finished batches are kept, the same command "
            "goes on from there"
        )

    def _gather(self, number: int) -> None:
        """Make the shard of a batch of its pieces once none of them is outstanding."""
        out = (*self.queue, *self.held.values(), *self.reserved.values())
        if all(task.number != number for task in out):
            self.work.shards.gather(number)
