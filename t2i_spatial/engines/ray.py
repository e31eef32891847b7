"""A Ray cluster: actors that hold a loaded model each, on as many nodes as there are.

The images and shards of a run must lie where every node sees them under one name (a mounted share
or a URL). What travels is small: which images a batch has, and `Done`; pictures never pass through
Ray's object store, and the command that drives the cluster holds none.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from typing_extensions import override

from t2i_spatial.engines.base import Done, Engine, Seat, Task, Work, Workers, portable
from t2i_spatial.engines.crew import Died, Event, Failed, Finished, Ready, dispatch
from t2i_spatial.engines.local import Local
from t2i_spatial.engines.registry import ENGINES
from t2i_spatial.errors import InputError, T2ISpatialError, require
from t2i_spatial.progress import note
from t2i_spatial.provenance import environment
from t2i_spatial.shards import Shards

T = TypeVar("T")

LOOK = 2.0
"""Seconds after which a wait looks at the nodes again: new ones take part, dead ones are left."""
TELL = 30.0
"""Seconds of waiting for a place after which it is said."""
PATIENCE = 600.0
"""Seconds that a stage goes on without any worker, while nodes may come back."""
STARTS = 3
"""So many workers may die while they load; then their node takes no part."""
CONNECT = 20.0
"""Seconds in which an address must answer."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # a cluster that a command starts tells nobody of itself
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # else Ray prints what it has to say on stdout
}


@ENGINES.register("ray")
class Ray(Engine):
    """The nodes of a cluster that `--address` names; see docs/engines.md."""

    @override
    def devices(self, device: str) -> list[str]:
        if device not in ("auto", "cpu", "cuda"):
            raise InputError(
                f"device {device!r}: on a Ray cluster it is auto, cpu or cuda; which one of a node "
                "a worker gets is Ray's business, see --gpus-per-worker"
            )
        gpus = self._ray().cluster_resources().get("GPU", 0)
        wanted = self.settings.gpus_per_worker
        if device == "cpu" or wanted == 0 or (device == "auto" and wanted is None and not gpus):
            return ["cpu"]
        if not gpus:
            raise InputError("no node of the Ray cluster has a GPU; use --device cpu")
        return ["cuda"]

    @override
    def once(self, look: Callable[[str], T], device: str) -> T:
        ray = self._ray()
        need = self._need(device)
        ask = ray.remote(num_cpus=need.cpus or 1, num_gpus=need.gpus, max_retries=2)(_once)
        waiting = [ask.remote(look, device, environment())]
        said = "ray: waiting for room on the cluster, to load the model once"
        while not ray.wait(waiting, timeout=TELL)[0]:
            note(said)
        try:
            found = ray.get(waiting[0])
        except ray.exceptions.RayError as error:
            raise T2ISpatialError(_explain(error, "a worker")) from None
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[no-any-return]

    @override
    def at_one_place(self) -> Engine:
        return Local()

    @override
    def run(self, work: Work) -> Iterator[Done]:
        most = min(self.settings.workers or len(work.batches), len(work.batches))
        yield from dispatch(Actors(self._ray(), work, self._need(work.devices[0]), most), work)

    def _need(self, device: str) -> Need:
        gpus = 0.0 if device == "cpu" else self.settings.gpus_per_worker or 1.0
        cpus = self.settings.cpus_per_worker
        return Need(cpus if cpus is not None or not gpus else 1.0, gpus)

    def _ray(self) -> Any:
        os.environ.update({k: v for k, v in QUIET.items() if k not in os.environ})
        ray = require("ray", "ray")
        if not ray.is_initialized():
            _connect(ray, self.settings.address or "auto")
        return ray


def _connect(ray: Any, address: str) -> None:
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == "local":
        options["include_dashboard"] = False
    elif address != "auto":
        _require_answer(address)
    try:
        ray.init(address=address, namespace="t2i-spatial", **options)
    except Exception as error:  # noqa: BLE001 - Ray raises plain ones, too; told in one line
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if address == "auto" and isinstance(error, ConnectionError):
            first = "this machine belongs to no Ray cluster"
        raise InputError(
            f"no Ray cluster to work on ({first}); start one with `ray start --head`, name the "
            "host:port of its head with --address, or use --address local"
        ) from None


def _require_answer(address: str) -> None:
    """Ray itself waits minutes for a head that is not there."""
    found = re.fullmatch(r"\[?([^\[\]/]+?)\]?:(\d{1,5})", address)
    if found is None or not 0 < int(found[2]) < 65536:
        raise InputError(
            f"--address {address!r} is not host:port of the head of a Ray cluster, auto or local"
        )
    try:
        socket.create_connection((found[1], int(found[2])), timeout=CONNECT).close()
    except OSError as error:
        raise InputError(
            f"no Ray cluster answers at {address} ({error.strerror or error}); `ray start --head` "
            "prints the address of its head"
        ) from None


@dataclass(frozen=True)
class Need:
    """What one worker takes of a node; `cpus=None` is all that it has."""

    cpus: float | None
    gpus: float

    def places(self, resources: Mapping[str, float]) -> int:
        """How many workers fit on a node."""
        cpus = resources.get("CPU", 0.0)
        if not self.gpus:
            return int(cpus >= 1) if self.cpus is None else int(cpus / self.cpus + 1e-6)
        gpus = resources.get("GPU", 0.0)
        fit = gpus // self.gpus if self.gpus >= 1 else gpus * int(1 / self.gpus + 1e-6)
        return int(min(fit, cpus / (self.cpus or 1.0) + 1e-6))


@dataclass
class Place:
    """Room for one worker on a node."""

    node: str
    name: str
    cpus: float
    actor: Any = None
    answer: Any = None
    ready: bool = False
    deaths: int = 0


class Actors:
    """One actor per place of every node, as a crew."""

    def __init__(self, ray: Any, work: Work, need: Need, most: int) -> None:
        self.ray, self.work, self.need, self.most = ray, work, need, most
        self.workers = ray.put(work.workers)
        self.kind = ray.remote(max_restarts=0, max_task_retries=0)(_Actor)
        self.places: dict[tuple[str, int], Place] = {}
        self.refused: dict[str, str] = {}
        self.lost: list[Event] = []
        self._looked = -LOOK
        self._alive: dict[str, str] = {}
        self._since = self._told = time.monotonic()

    def size(self) -> int:
        """How many places there are now."""
        return len(self.places)

    def wait(self) -> list[Event]:
        """What the actors say, and which of them or of their nodes are no more."""
        while True:
            self._look_at_nodes()
            waiting = {p.answer: key for key, p in self.places.items() if p.answer is not None}
            if waiting:
                ready, _ = self.ray.wait(list(waiting), num_returns=1, timeout=LOOK)
            else:
                ready = []
                time.sleep(LOOK / 4)
            events = [event for ref in ready if (event := self._heard(waiting[ref])) is not None]
            if events:
                return events
            self._complain()

    def give(self, place: Any, task: Task, following: Task | None) -> None:
        """Send it; that the actor has died meanwhile is heard by `wait`."""
        self.places[place].answer = self.places[place].actor.do.remote(task, following)

    def close(self) -> None:
        """Kill all actors."""
        for place in self.places.values():
            self._kill(place)

    def _look_at_nodes(self) -> None:
        if time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        nodes = [node for node in self.ray.nodes() if node["Alive"]]
        hosts = [node["NodeManagerHostname"] for node in nodes]
        self._alive = {
            node["NodeID"]: host if hosts.count(host) == 1 else f"{host}/{node['NodeID'][:6]}"
            for node, host in zip(nodes, hosts, strict=True)
        }
        rooms = [(node, k) for node in nodes for k in range(self.need.places(node["Resources"]))]
        for node, k in sorted(rooms, key=lambda room: room[1]):  # first one on every node
            key = (node["NodeID"], k)
            if key in self.places or key[0] in self.refused or len(self.places) >= self.most:
                continue
            cpus = self.need.cpus or node["Resources"].get("CPU", 1.0)
            self.places[key] = Place(key[0], self._alive[key[0]], cpus)
            self._start(self.places[key])

    def _start(self, place: Place) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(place.node, soft=False)
        options = {"num_cpus": place.cpus, "num_gpus": self.need.gpus, "scheduling_strategy": here}
        place.ready = False
        place.actor = self.kind.options(**options).remote()
        place.answer = place.actor.start.remote(
            self.workers, self.work.devices[0], self.work.shards, place.name, environment()
        )

    def _heard(self, key: tuple[str, int]) -> Event | None:
        place = self.places[key]
        ref, place.answer = place.answer, None
        try:
            said = self.ray.get(ref)
        except self.ray.exceptions.RayError as error:
            return self._died(key, error)
        if isinstance(said, Done):
            return Finished(key, said)
        if said is None:
            place.ready, place.deaths = True, 0
            self._since = time.monotonic()
            return Ready(key)
        if place.ready:
            return Failed(key, said)
        self._refuse(place.node, str(said))
        return None

    def _died(self, key: tuple[str, int], error: Any) -> Event | None:
        place = self.places[key]
        self._kill(place)
        self._looked = -LOOK
        of_node = not self._is_alive(place.node) or _is_of_node(self.ray, error)
        reason = f"node {place.name} is gone" if of_node else _explain(error, place.name)
        if not of_node:
            place.deaths += 1
        if of_node:
            del self.places[key]  # its node may come back, or another one
        elif not place.ready and (place.deaths >= STARTS or "No module named" in reason):
            self._refuse(place.node, reason)
        else:
            self._start(place)
        return Died(key, reason, of_node)

    def _is_alive(self, node: str) -> bool:
        return any(found["NodeID"] == node and found["Alive"] for found in self.ray.nodes())

    def _refuse(self, node: str, reason: str) -> None:
        """Do without a node; without the last one, end."""
        self.refused[node] = reason
        name = self._alive.get(node, node)
        for key in [key for key, place in self.places.items() if place.node == node]:
            if not self.places[key].ready:
                self._kill(self.places.pop(key))
        if not self.places and not self._others():
            raise T2ISpatialError(f"node {name}: {reason}")
        note(f"{self.work.stage}: node {name} takes no part: {reason}")

    def _others(self) -> bool:
        alive = [node for node in self.ray.nodes() if node["Alive"]]
        useful = [node for node in alive if self.need.places(node["Resources"])]
        return any(node["NodeID"] not in self.refused for node in useful)

    def _complain(self) -> None:
        """Say that there is no worker, and give up some day."""
        now = time.monotonic()
        if any(place.ready for place in self.places.values()):
            self._since = self._told = now
            return
        if now - self._since > PATIENCE and not self.places:
            wanted = f"{self.need.cpus or 1:g} CPU, {self.need.gpus:g} GPU"
            raise T2ISpatialError(
                f"{self.work.stage}: no node of the Ray cluster has room for a worker ({wanted}); "
                "finished batches are kept, the same command goes on"
            )
        if now - self._told > TELL:
            self._told = now
            note(f"{self.work.stage}: waiting for workers on {len(self._alive)} nodes")

    def _kill(self, place: Place) -> None:
        place.answer = None
        with contextlib.suppress(Exception):
            self.ray.kill(place.actor, no_restart=True)


class _Actor:
    """A seat on some node. Errors are values: Ray would wrap them."""

    def start(
        self, workers: Workers, device: str, shards: Shards, name: str, known: dict[str, Any]
    ) -> Exception | None:
        """Load the model."""
        try:
            _require_same_versions(known)
            self.seat = Seat(workers(device), shards, name)
        except Exception as error:  # noqa: BLE001 - handed to the driver, which says it
            return portable(error)
        return None

    def do(self, task: Task, following: Task | None) -> Done | Exception:
        """Do one batch and write its shard."""
        try:
            return self.seat.do(task, following)
        except Exception as error:  # noqa: BLE001 - handed to the driver, which raises it
            return portable(error)


def _once(look: Callable[[str], T], device: str, known: dict[str, Any]) -> T | Exception:
    try:
        _require_same_versions(known)
        return look(device)
    except Exception as error:  # noqa: BLE001 - handed to the driver, which raises it
        return portable(error)


def _require_same_versions(known: Mapping[str, Any]) -> None:
    """Refuse to work beside others whose packages may give other results.

    Raises:
        T2ISpatialError: naming what differs.
    """
    here = environment()
    differ = [
        f"{name} {here['packages'][name]} here, {version} there"
        for name, version in known["packages"].items()
        if name in here["packages"] and _public(here["packages"][name]) != _public(version)
    ]
    if _minor(here["python"]) != _minor(known["python"]):
        differ.append(f"Python {here['python']} here, {known['python']} there")
    if differ:
        raise T2ISpatialError(
            f"other versions than where the command runs: {'; '.join(differ)}; install the same"
        )


def _public(version: str) -> str:
    """Without the build: a head without a GPU has another build of torch."""
    return version.partition("+")[0]


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


@functools.cache
def _node_words() -> re.Pattern[str]:
    return re.compile(
        r"node (has )?died|node is (dead|terminated)|node was (dead|terminated)", re.I
    )


def _is_of_node(ray: Any, error: Any) -> bool:
    """Whether a node or the way to it failed, and not the worker itself."""
    kinds = (ray.exceptions.ActorUnavailableError, ray.exceptions.NodeDiedError)
    preempted = bool(getattr(error, "preempted", False))
    return isinstance(error, kinds) or preempted or bool(_node_words().search(str(error)))


def _explain(error: Any, where: str) -> str:
    """One line of what Ray says in twenty."""
    text = str(error)
    if "No module named" in text:
        missing = re.search(r"No module named '([^']+)'", text)
        name = missing[1] if missing else "?"
        return f"the worker there cannot start: No module named {name!r}"
    if "out of memory" in text.lower() or "OutOfMemory" in type(error).__name__:
        return f"a worker on {where} was ended for lack of memory"
    return f"a worker on {where} died"
