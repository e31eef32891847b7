"""Nothing of the evaluation in the training set."""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl

from t2i_spatial.curation.filter import FILTERS, Filter
from t2i_spatial.relation_algebra import INVERSE

_TOLD = {"right of": "left of", "below": "above", "behind": "in front of"}


@FILTERS.register("leakage")
class Leakage(Filter):
    """The prompt is not in a set of evaluation prompts.

    `level` says what counts as the same: "text" (upper case, punctuation and spaces aside),
    "scene" (the same relation between the same objects, from whichever side it is told, or the
    same text), or "pair" (the same two objects in any relation).
    """

    name: ClassVar[str] = "leakage"
    adjective: ClassVar[str] = "unseen"

    prompts: str
    level: Literal["text", "scene", "pair"] = "scene"

    def keep(self) -> pl.Expr:
        """See `Filter.keep`."""
        table = self._evaluation()
        seen = pl.lit(False)
        if self.level != "pair":
            seen = seen | plain(pl.col("text")).is_in(_values(table, plain(pl.col("text"))))
        if self.level != "text":
            key = _scene() if self.level == "scene" else _pair()
            seen = seen | key.is_in(_values(table, key)).fill_null(False)
        return ~seen

    def reason(self) -> pl.Expr:
        """See `Filter.reason`."""
        return pl.lit(f"the evaluation set has the same {self.level}")

    def _evaluation(self) -> pl.DataFrame:
        from t2i_spatial.curation.candidates import asked
        from t2i_spatial.prompts import load_prompts, read_scenes
        from t2i_spatial.tables import prompts_to_table

        table = prompts_to_table(read_scenes(load_prompts(self.prompts)))
        return asked(table.lazy()).collect()


def plain(text: pl.Expr) -> pl.Expr:
    """Text in lower case, letters and digits only, single spaces."""
    return text.str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars()


def _values(table: pl.DataFrame, expression: pl.Expr) -> pl.Series:
    return table.select(expression.alias("value"))["value"].drop_nulls().unique().implode()


def _scene() -> pl.Expr:
    relation = pl.col("relation")
    turned = relation.is_in(list(_TOLD))
    symmetric = relation.is_in([r for r, other in INVERSE.items() if r == other])
    backwards = turned | (symmetric & (pl.col("subject") > pl.col("object")))
    first = pl.when(backwards).then("object").otherwise("subject")
    second = pl.when(backwards).then("subject").otherwise("object")
    return pl.format("{} | {} | {}", first, relation.replace(_TOLD), second)


def _pair() -> pl.Expr:
    return pl.concat_list("subject", "object").list.sort().list.join(" | ", ignore_nulls=False)
