"""How many images fit on a device at once, measured instead of guessed."""

from __future__ import annotations

from collections.abc import Callable

CPU_BATCH = 4
LARGEST = 64


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
