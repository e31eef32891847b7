"""VQAScore: the probability that a judge says "Yes" when asked whether the picture shows the text.

Source: linzhiqiu/t2v_metrics @ 6ecb74f, v3.1 (qwen2vl_model.py, gpt4v_model.py) and
V_3.0_README.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from t2i_spatial.errors import InputError, nearest
from t2i_spatial.metrics.asked.brought import Brought
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.metrics.numbers import Numbers, Rate
from t2i_spatial.metrics.tabular import component_column
from t2i_spatial.questions import ANSWERED, Question, Template, template
from t2i_spatial.scene import Prompt
from t2i_spatial.tables import KEY, table_to_prompts

WORDINGS = {
    "3.0": 'Does this figure show "{}"? Please answer yes or no.',
    "3.1": 'Does this figure show "{}"? Please answer Yes or No.',
}
"""Version -> question. A capital letter moves the score, so the version is part of the template."""
for _version in WORDINGS:
    template(Template(f"vqascore/{_version}", max_tokens=1))


@PROTOCOLS.register("vqascore")
@dataclass(kw_only=True)
class VQAScore(Brought):
    """P("Yes") among all tokens, of any prompt, whether the parser could read it or not.

    Attributes:
        version: of the question, "3.1" or "3.0".
    """

    title: ClassVar[str] = "VQAScore"
    record: ClassVar[str] = ""
    parts: ClassVar[tuple[str, ...]] = ("p_yes", "p_yes_among_allowed")
    numbers: ClassVar[Numbers] = {
        "vqascore": Rate("value", meaning="mean probability of Yes among all tokens"),
        "vqascore_at_most": Rate("value", meaning="open images counted as 1", if_right=True),
        "among_allowed": Rate(
            "p_yes_among_allowed", meaning="mean probability of Yes against No", optional=True
        ),
    }

    version: str = "3.1"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.version not in WORDINGS:
            raise InputError(
                f"vqascore.version {self.version!r}; {nearest(self.version, WORDINGS)}"
            )

    def asked(self, prompt: Prompt) -> Iterator[Question]:
        """One question."""
        text = WORDINGS[self.version].format(prompt.text)
        yield Question(text, gold="yes", template=f"vqascore/{self.version}")

    def weigh(
        self, prompts: pl.DataFrame, images: pl.DataFrame, answers: pl.DataFrame
    ) -> pl.DataFrame:
        """See `AnswerMetric.weigh`; there is one question, so all images are weighed at once.

        Where an interface listed "No" only, "Yes" is what it leaves, as the peer takes it.
        """
        usable, listed = pl.col("status") == ANSWERED, pl.col("chances").is_not_null()
        voted = (pl.col("answer") == "yes").fill_null(False).cast(pl.Float64)
        mass = pl.col("mass").fill_null(0.0)
        yes, no = (_listed_chance(answer) for answer in ("yes", "no"))
        among_all = pl.when(yes * mass > 0).then(yes * mass).otherwise(1.0 - no * mass)
        replies = answers.sort("rollout", maintain_order=True).select(
            *KEY,
            pl.when(listed).then(among_all).when(usable).then(voted).alias("p"),
            pl.when(usable).then(pl.when(listed).then(yes).otherwise(voted)).alias("among"),
            pl.when(pl.col("reason") != "").then("reason").otherwise("status").alias("told"),
        )
        found = replies.group_by(*KEY, maintain_order=True).agg(
            _mean("p").alias("value"), _mean("among").alias("among"), pl.col("told").first()
        )
        found = images.select(*KEY).join(found, on=KEY, maintain_order="left")
        reasons = [
            told if value is None else f"P(Yes) {value:.3f}"
            for value, told in found.select("value", "told").iter_rows()
        ]
        parts = {"p_yes": pl.col("value"), "p_yes_among_allowed": pl.col("among")}
        open_ = pl.when(pl.col("value").is_null()).then(pl.lit(["the text"]))
        return found.select(
            *KEY,
            "value",
            (pl.col("value") > 0.5).alias("correct"),
            (pl.col("value") - 0.5).alias("margin"),
            pl.Series("reason", reasons, dtype=pl.String),
            component_column(found, parts).alias("components"),
            open_.otherwise(pl.lit([], pl.List(pl.String))).alias("unjudged"),
        )

    def holding(self, prompts: pl.DataFrame) -> Iterator[Prompt]:
        """Every prompt."""
        yield from table_to_prompts(prompts)


def _listed_chance(answer: str) -> pl.Expr:
    """`chance_of` of an answer among those that are listed, as a column."""
    entry = pl.element().struct
    same = pl.element().filter(entry.field("answer") == answer).struct.field("p")
    return pl.col("chances").list.eval(same).list.first().fill_null(0.0)


def _mean(column: str) -> pl.Expr:
    """Of what is not null, added up in order."""
    known = pl.col(column).drop_nulls()
    return known.cum_sum().last() / known.len()
