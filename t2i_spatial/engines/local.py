"""This machine: one worker in this process, or one process per device."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from typing_extensions import override

from t2i_spatial.devices import resolve_devices
from t2i_spatial.engines.base import Done, Engine, Seat, Task, Work, Workers, portable
from t2i_spatial.engines.crew import Died, Event, Failed, Finished, Ready, dispatch
from t2i_spatial.engines.registry import ENGINES
from t2i_spatial.errors import T2ISpatialError
from t2i_spatial.shards import Shards

T = TypeVar("T")

GOING = 30.0
"""Seconds that a process may take to end before it is killed."""


@ENGINES.register("local")
class Local(Engine):
    """One device: a worker in this process. Several, or `workers`: each in a process of its own."""

    @override
    def devices(self, device: str) -> list[str]:
        return resolve_devices(device)

    @override
    def once(self, look: Callable[[str], T], device: str) -> T:
        return look(device)

    @override
    def at_one_place(self) -> Engine:
        return Local()

    @override
    def run(self, work: Work) -> Iterator[Done]:
        if self.is_here(work.devices):
            yield from _here(work)
        else:
            devices = list(work.devices) * (self.settings.workers or 1)
            yield from dispatch(Processes(work, devices[: len(work.batches)]), work)

    @override
    def is_here(self, devices: Sequence[str]) -> bool:
        return len(devices) == 1 and self.settings.workers is None


def _here(work: Work) -> Iterator[Done]:
    tasks = [Task(number, items) for number, items in work.batches]
    seat = Seat(work.workers(work.devices[0]), work.shards)
    try:
        for task, following in zip(tasks, [*tasks[1:], None], strict=True):
            if work.is_enough:
                return
            done = seat.do(task, following)
            work.count(done)
            yield done
    finally:
        seat.close()


class Processes:
    """One process per device, as a crew."""

    def __init__(self, work: Work, devices: Sequence[str]) -> None:
        self.work = work
        self.devices = devices
        self.context = multiprocessing.get_context("spawn")
        self.processes: dict[int, Any] = {}
        self.connections: dict[int, Connection] = {}
        self.loaded: set[int] = set()
        self.busy: set[int] = set()
        for place in range(len(devices)):
            self._start(place)

    def _start(self, place: int) -> None:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(
            target=_serve,
            args=(self.work.workers, self.devices[place], self.work.shards, theirs),
            daemon=True,
        )
        process.start()
        theirs.close()  # else its end is never heard of
        self.processes[place], self.connections[place] = process, ours
        self.loaded.discard(place)
        self.busy.add(place)

    def wait(self) -> list[Event]:
        """What the processes say, and which of them have ended."""
        places = {connection: place for place, connection in self.connections.items()}
        return [self._heard(places[ready]) for ready in wait(list(places))]  # type: ignore[index]

    def _heard(self, place: int) -> Event:
        try:
            said = self.connections[place].recv()
        except (EOFError, OSError):
            return self._died(place)
        self.busy.discard(place)
        if isinstance(said, Exception):
            return Failed(place, said)
        if said is None:
            self.loaded.add(place)
            return Ready(place)
        return Finished(place, said)

    def _died(self, place: int) -> Died:
        self.connections.pop(place).close()
        process = self.processes.pop(place)
        process.join()
        reason = f"a worker process ended with exit code {process.exitcode}"
        if place not in self.loaded:
            raise T2ISpatialError(
                f"{self.work.stage}: {reason} before it could work; finished batches are kept"
            )
        self._start(place)
        return Died(place, reason)

    def give(self, place: Any, task: Task, following: Task | None) -> None:
        """Send it; that a process has died meanwhile is heard by `wait`."""
        self.busy.add(place)
        with contextlib.suppress(OSError):
            self.connections[place].send((task, following))

    def size(self) -> int:
        """How many devices there are."""
        return len(self.devices)

    def close(self) -> None:
        """End the processes; those that wait for a task go by themselves."""
        for place, process in self.processes.items():
            self.connections[place].close()
            if place in self.busy:
                process.terminate()
        for process in self.processes.values():
            process.join(GOING)
            process.kill()
            process.join()


def _serve(workers: Workers, device: str, shards: Shards, connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        seat = Seat(workers(device), shards, device)
        connection.send(None)
        while True:
            connection.send(seat.do(*connection.recv()))
    except (EOFError, BrokenPipeError):
        return  # the parent is gone
    except Exception as error:  # noqa: BLE001 - handed to the parent, which raises it
        with contextlib.suppress(OSError):
            connection.send(portable(error))
