"""What scoring gives: verdicts, the summary, and how much of what was asked could be scored."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from t2i_spatial.errors import IncompleteRunError
from t2i_spatial.metrics.base import Summary
from t2i_spatial.tables import IN_PART, SCORED

STAGE = "score"
STOPPING = "stopping"
"""The stage of a run that was judged only until a number was known."""


@dataclass(frozen=True)
class Scores:
    """What the stage found.

    Attributes:
        verdicts: protocol -> VERDICTS.
        summary: protocol -> published numbers, as in `summary.json`.
        n_expected: images that the prompt set asks for (prompts without any object left out).
        n_scored: images among them that a detector has looked at.
    """

    verdicts: dict[str, pl.DataFrame]
    summary: dict[str, Summary]
    n_expected: int
    n_scored: int

    def require_complete(self) -> None:
        """Raise unless every image was scored by every protocol that applies to it.

        Raises:
            IncompleteRunError: naming how many are missing.
        """
        lacking = {"": (self.n_expected, self.n_scored)} | {
            f" by {name}": (
                part["images"]["expected"],
                part["images"].get(SCORED, 0) + part["images"].get(IN_PART, 0),
            )
            for name, part in self.summary.items()
        }
        for by, (expected, scored) in lacking.items():
            if scored < expected:
                raise IncompleteRunError(
                    f"{expected - scored:,} of {expected:,} images have no score{by} and count as "
                    "failures; make them, or use --allow-missing to leave them out"
                )
