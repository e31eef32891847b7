"""The processes of `accelerate launch` or `torchrun`: each takes its share of every batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor

from t2i_spatial.errors import InputError, T2ISpatialError

T = TypeVar("T")


def is_first() -> bool:
    """Whether this is the first of the processes that were launched together, or alone."""
    return os.environ.get("RANK", "0") == "0"


class Processes:
    """This process among those that train together; alone when nothing launched several.

    A batch is drawn as if there were one process, and every process computes the gradient of an
    equal share of it. So the number of processes changes the weights by rounding only.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.rank, self.count = 0, 1
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from accelerate import PartialState

            state = PartialState(cpu=device == "cpu")
            self.rank, self.count = state.process_index, state.num_processes
            self.device = str(state.device)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def check_batch(self, size: int) -> None:
        """Refuse a batch that cannot be shared equally.

        Raises:
            InputError: naming both numbers.
        """
        if size % self.count:
            raise InputError(
                f"a batch of {size} cannot be shared by {self.count} processes; "
                f"use a --batch-size that is a multiple of {self.count}"
            )

    @property
    def rows(self) -> slice:
        """This process's rows of a batch."""
        return slice(self.rank, None, self.count)

    def average(self, values: Iterable[Tensor]) -> None:
        """Replace every tensor by its mean over the processes."""
        if self.count > 1:
            for value in values:
                torch.distributed.all_reduce(value)
                value /= self.count

    def from_first(self, make: Callable[[], T]) -> T:
        """Call `make` in the first process only, and give its result to all.

        Raises:
            T2ISpatialError: what `make` raised, in every process.
        """
        if self.count == 1:
            return make()
        answer: list[Any] = [None, None]
        if self.is_first:
            try:
                answer[0] = make()
            except T2ISpatialError as error:  # raised below, here and in the others
                answer[1] = error
        torch.distributed.broadcast_object_list(answer)
        if answer[1] is not None:
            raise answer[1]
        result: T = answer[0]
        return result

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            torch.distributed.barrier()
