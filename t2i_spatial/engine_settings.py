"""How a stage's batches are run: no part of any plan, since results do not depend on it."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from t2i_spatial.settings import Option, Settings


def _part(value: str | None) -> str | None:
    if value is None:
        return None
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", value)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError("expected I/N with I from 1 to N, such as 3/16")
    return f"{int(found[1])}/{int(found[2])}"


class EngineSettings(Settings):
    """Where the batches of a stage run, and on how many workers."""

    engine: Annotated[str, Option(metavar="NAME")] = Field(
        default="local",
        description="local: this machine, one process per device; ray: the nodes of a Ray cluster; "
        "or one that an installed package brings.",
    )
    address: str | None = Field(
        default=None,
        description="With ray: host:port of the cluster's head, auto for the one that this machine "
        "belongs to, local to start one here for this command.  [default: auto]",
    )
    workers: Annotated[int | None, Option(metavar="N")] = Field(
        default=None,
        ge=1,
        le=100_000,
        description="At most so many workers; on this machine per device, each in a process of its "
        "own.  [default: one per device; with ray as many as there is room for]",
    )
    gpus_per_worker: float | None = Field(
        default=None,
        ge=0,
        le=64,
        description="With ray: GPUs of one worker, such as 0.5 to put two on each; 0 for none.  "
        "[default: 1 where the cluster has any]",
    )
    cpus_per_worker: float | None = Field(
        default=None,
        gt=0,
        le=4096,
        description="With ray: CPUs of one worker.  [default: 1 beside a GPU, else all of a node]",
    )
    shard: Annotated[str | None, AfterValidator(_part), Option(metavar="I/N")] = Field(
        default=None,
        description="Do only part I of N of the batches (from 1), as one job of many on one run "
        "directory; the last one completes the stage, or `t2i-spatial merge`.",
    )
