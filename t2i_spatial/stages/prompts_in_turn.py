"""The prompts of images that come slice by slice."""

from __future__ import annotations

import polars as pl


class InTurn:
    """The prompts of slices that follow each other in the order of the prompts, or in any other."""

    def __init__(self, prompts: pl.DataFrame) -> None:
        self._prompts = prompts
        self._place = 0

    def of(self, ids: pl.Series) -> pl.DataFrame:
        """The prompts that are among `ids`, in the order of all."""
        wanted = pl.DataFrame({"prompt_id": ids.unique()})
        # the first may be the last of the slice before
        near = self._prompts[max(0, self._place - 1) : self._place + len(wanted)]
        found = near.join(wanted, on="prompt_id", how="semi", maintain_order="left")
        if len(found) < len(wanted):
            return self._prompts.join(wanted, on="prompt_id", how="semi", maintain_order="left")
        self._place = max(0, self._place - 1) + len(near)
        return found
