"""As many of each relation, object and order of mention: fewer of some, or weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, field_validator
from typing_extensions import override

from t2i_spatial.curation.filter import FILTERS, Filter
from t2i_spatial.curation.random_order import random_order
from t2i_spatial.tables import KEY

NO_VALUE = "(none)"
Trait = Literal["relation", "subject", "object", "pair", "order", "tag"]

_PAIR = pl.concat_list("subject", "object").list.sort().list.join(" + ")
TRAITS: Mapping[str, pl.Expr] = {
    "relation": pl.col("relation"),
    "subject": pl.col("subject"),
    "object": pl.col("object"),
    "tag": pl.col("tag"),
    "pair": _PAIR,
    # "cat left of dog" and "dog right of cat" show one layout, told from either side
    "order": pl.format("{}: {} first", _PAIR, "subject"),
}
"""What can be balanced: columns of the candidates, the pair of objects whatever its order, and
the pair with the object that is named first."""


@FILTERS.register("balance")
class Balance(Filter):
    """Equal shares of every value of `over`, by leaving out or by weights.

    `mode="sample"` keeps, of every combination of values, at most `ratio` times as many images as
    the rarest one has (and at most `at_most`), the first by a seeded hash of their keys: another
    image more or less changes how many are chosen, never their order. `mode="weight"` keeps all,
    and weighs them so that within each trait every value has the same total weight (raking);
    weights are cut at `largest` and then brought to a mean of 1. Rows without a value of some trait
    form a group of their own, which does not decide how large the others may be.
    """

    adjective: ClassVar[str] = "balanced"

    over: tuple[Trait, ...] = Field(default=("relation",), min_length=1)
    mode: Literal["sample", "weight"] = "sample"
    ratio: float = Field(default=1.0, ge=1)
    at_most: int | None = Field(default=None, ge=1)
    largest: float = Field(default=10.0, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**63)

    @field_validator("over", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    def prepare(self, survivors: pl.LazyFrame) -> pl.LazyFrame:
        """`balance_place` and `balance_limit`, or `balance_weight`."""
        traits = [TRAITS[name].fill_null(NO_VALUE).alias(name) for name in self.over]
        rows = survivors.select(*KEY, *traits).collect()
        if self.mode == "weight":
            codes = [rows[name].rank("dense").to_numpy().astype(np.int64) - 1 for name in self.over]
            weights = pl.Series("balance_weight", rake(codes, self.largest), dtype=pl.Float64)
            return rows.select(*KEY).with_columns(weights).lazy()
        placed = rows.with_columns(random_order(rows, self.seed).alias("_order")).with_columns(
            pl.col("_order").rank("ordinal").over(self.over).alias("balance_place"),
            pl.len().over(self.over).alias("_size"),
        )
        complete = pl.all_horizontal(pl.col(name) != NO_VALUE for name in self.over)
        rarest = pl.coalesce(pl.col("_size").filter(complete).min(), pl.col("_size").min())
        limit = (rarest * self.ratio).floor()
        if self.at_most is not None:
            limit = pl.min_horizontal(limit, pl.lit(float(self.at_most)))
        said = pl.format(" / ".join("{}" for _ in self.over), *[pl.col(name) for name in self.over])
        return placed.select(
            *KEY,
            "balance_place",
            limit.cast(pl.Int64).alias("balance_limit"),
            said.alias("balance_group"),
        ).lazy()

    @override
    def keep(self) -> pl.Expr:
        if self.mode == "weight":
            return pl.col("balance_weight").is_not_null()
        return pl.col("balance_place") <= pl.col("balance_limit")

    @override
    def reason(self) -> pl.Expr:
        if self.mode == "weight":
            return pl.lit("no weight could be given")
        return pl.format("there are {} others of: {}", "balance_limit", "balance_group")

    @override
    def weight(self) -> pl.Expr | None:
        return pl.col("balance_weight") if self.mode == "weight" else None


def rake(
    codes: Sequence[NDArray[np.int64]], largest: float, *, rounds: int = 50
) -> NDArray[np.float64]:
    """Weights of mean 1 with which all values of each trait have the same total weight.

    Args:
        codes: per trait (n,) value numbers from 0.
        largest: weights are cut here, before they are brought to a mean of 1.
        rounds: at most so many passes over the traits (iterative proportional fitting).

    No rows give no weights. Where the traits cannot be balanced at once, the last one is.
    """
    n = len(codes[0]) if codes else 0
    weights = np.ones(n)
    if n == 0:
        return weights
    for _ in range(rounds):
        before = weights.copy()
        for code in codes:
            totals = np.bincount(code, weights)
            weights = weights * (n / len(totals) / totals)[code]
        if np.allclose(weights, before, rtol=1e-9, atol=0):
            break
    weights = np.minimum(weights, largest)
    return np.asarray(weights / weights.mean())
