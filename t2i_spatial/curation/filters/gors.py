"""GORS: keep images with a high reward, and weigh each by it in training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import polars as pl
from pydantic import Field
from typing_extensions import override

from t2i_spatial.curation.filter import FILTERS, Filter

Category = Literal["color", "shape", "texture", "spatial", "non_spatial", "complex"]

THRESHOLDS: Mapping[str, tuple[float, float]] = {
    "color": (0.92, 0.70),
    "shape": (0.85, 0.60),
    "texture": (0.90, 0.65),
    "spatial": (0.80, 0.80),
    "non_spatial": (0.75, 0.75),
    "complex": (0.40, 0.40),
}
"""Category -> reward to exceed, for prompts made by a template and for written ones."""


@FILTERS.register("gors")
class Gors(Filter):
    """Reward (the verdict's value) above the threshold of the prompt's category.

    Source: Karine-Huang/T2I-CompBench @ 1b70949, GORS fine-tuning. The threshold is exceeded
    strictly, and the reward itself is the training weight (not normalised). The source pairs
    rewards and images by file order and tells template prompts by line number; here both go by
    the prompt's id, and `natural` says which kind the prompts are.
    """

    adjective: ClassVar[str] = "rewarded"

    category: Category = "spatial"
    natural: bool = False
    threshold: float | None = Field(default=None, description="instead of the category's")
    weigh: bool = True

    @property
    def limit(self) -> float:
        """The reward to exceed."""
        chosen = THRESHOLDS[self.category][1 if self.natural else 0]
        return chosen if self.threshold is None else self.threshold

    @override
    def keep(self) -> pl.Expr:
        return pl.col("value") > self.limit

    @override
    def reason(self) -> pl.Expr:
        said = pl.format(f"reward {{}} <= {self.limit:g}", pl.col("value").round(3))
        return said.fill_null("there is no reward")

    @override
    def weight(self) -> pl.Expr | None:
        return pl.col("value") if self.weigh else None
