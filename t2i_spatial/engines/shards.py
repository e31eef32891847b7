"""A share of the batches here, the others as jobs of a batch scheduler on the same run directory.

Job i of n does the batches i, i + n, i + 2n ... of the plan. The jobs need not know of each other:
each records the same plan, or is refused; whoever finds all batches done completes the stage.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from typing_extensions import override

from t2i_spatial.engine_settings import EngineSettings
from t2i_spatial.engines.base import Done, Engine, Work
from t2i_spatial.engines.local import Local
from t2i_spatial.engines.registry import ENGINES
from t2i_spatial.jobs import Job

T = TypeVar("T")


@ENGINES.register("shards")
class ShareOfBatches(Engine):
    """Its share of the batches, by the local engine."""

    def __init__(self, settings: EngineSettings | None = None) -> None:
        super().__init__(settings)
        number, _, count = (self.settings.shard or "1/1").partition("/")
        self.job: Job = (int(number), int(count))
        self._local = Local(self.settings)

    @override
    def devices(self, device: str) -> list[str]:
        return self._local.devices(device)

    @override
    def once(self, look: Callable[[str], T], device: str) -> T:
        return self._local.once(look, device)

    @override
    def is_here(self, devices: Sequence[str]) -> bool:
        return self._local.is_here(devices)

    @override
    def at_one_place(self) -> Engine:
        return self

    @override
    def run(self, work: Work) -> Iterator[Done]:
        number, count = self.job
        mine = [(k, items) for k, items in work.batches if k % count == number - 1]
        if mine:
            yield from self._local.run(dataclasses.replace(work, batches=mine))
