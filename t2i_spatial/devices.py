"""Devices of this machine: which there are, what fits on them, and what "out of memory" is."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable

from t2i_spatial.errors import InputError, require

CPU_BATCH = 4
LARGEST = 64


def resolve_devices(device: str) -> list[str]:
    """Devices to use: "auto" means every CUDA device, else MPS, else the CPU.

    >>> resolve_devices("cpu"), resolve_devices("cuda:0,cuda:1")
    (['cpu'], ['cuda:0', 'cuda:1'])
    """
    if device != "auto":
        return [part.strip() for part in device.split(",") if part.strip()]
    torch = require("torch", "detect")
    if torch.cuda.is_available():
        return [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return ["mps"] if torch.backends.mps.is_available() else ["cpu"]


def check_device(device: str) -> None:
    """Raise `InputError` for a device that torch cannot use here."""
    torch = require("torch", "detect")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise InputError(
            f"device {device!r} cannot be used: {str(error).splitlines()[0]}"
        ) from None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the machine ran out of memory."""
    torch = require("torch", "detect")
    return (
        isinstance(error, (torch.OutOfMemoryError, MemoryError))
        or "not enough memory" in str(error)
        or "out of memory" in str(error)
    )


def give_back_memory(device: str) -> None:
    """Return memory that nothing uses any more to the device, and to the system.

    The allocator of glibc keeps the holes that models leave between each other: a text encoder of
    1.2 GB in 8 bits was measured to leave 1 GB behind.
    """
    gc.collect()
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
    trim_heap()


def trim_heap() -> None:
    """Return the holes of the heap to the system, where the C library is glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def automatic_batch_size(device: str, work: Callable[[int], object]) -> int:
    """A power of two whose batch needs at most 60 % of the free device memory.

    Args:
        work: does the model's work for that many copies of one image.

    On the CPU larger batches gain nothing, so it is a constant there and `work` is not called.
    """
    if not device.startswith("cuda"):
        return CPU_BATCH
    import torch

    def peak(count: int) -> int:
        torch.cuda.reset_peak_memory_stats(device)
        work(count)
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device))

    work(1)
    per_image = max(1, (peak(5) - peak(1)) // 4)
    torch.cuda.empty_cache()
    free = torch.cuda.mem_get_info(device)[0]
    fits = int(0.6 * free / per_image)
    return 1 << (max(1, min(LARGEST, fits)).bit_length() - 1)
