"""GoT-R1's rewards for models that plan before they paint: plan, picture, and both together.

The paper's formula; its reward code was never published, so wording and parsing are ours:
R = R_PI · (R_sem + R_spa) / 2 · R_RI, without the preference model R_HPS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

from t2i_spatial.canvas import describe
from t2i_spatial.errors import InputError
from t2i_spatial.metrics.asked.brought import BroughtQuestions, Replies, Reply, share_bounds
from t2i_spatial.metrics.base import PROTOCOLS, share
from t2i_spatial.metrics.layout import Layout, read_plan
from t2i_spatial.metrics.numbers import Numbers, Rate
from t2i_spatial.questions import ANSWERED, Question, Template, template
from t2i_spatial.scene import Prompt
from t2i_spatial.tables import KEY, SCORED

MOST = 10
"""Highest rating of a chain."""
SIDES = {
    "completeness": "does it cover everything that the prompt asks for",
    "faithfulness": "does it contradict nothing that the prompt says",
    "consistency": "do its objects and places fit together",
    "clarity": "is it clearly written",
}
REWARDS = ("r_sem", "r_spa", "r_ri", "r_pi")
PARTS = ("reward", *REWARDS)
RATED = template(Template("gotr1/1", max_tokens=4, suffix=" Answer with a number from 0 to 10."))
SEEN = template(Template("gotr1_boxes/1", max_tokens=4, suffix=" Answer Yes or No."))
NOTHING = describe({"boxes": [], "size": (1, 1)})


@PROTOCOLS.register("gotr1")
@dataclass(kw_only=True)
class GoTR1(BroughtQuestions):
    """Rewards of a plan (`metadata.layout`, and `metadata.chain` for R_sem) and its picture.

    `r_sem`: ratings of the chain's text, from four sides, 0 to 1. `r_spa`: P(yes) that the plan's
    boxes, drawn with their names on a white canvas, are where the prompt says. `r_ri`: mean IoU of
    planned and detected boxes. `r_pi`: P(yes) that the picture shows the prompt. `value` is the
    product; without a chain `r_spa` stands alone for the plan.

    Attributes:
        min_score: of boxes, as for `layout`.
    """

    title: ClassVar[str] = "GoT-R1 rewards"
    evidence: ClassVar[str] = "both"
    record: ClassVar[str] = "layout"
    parts: ClassVar[tuple[str, ...]] = PARTS
    numbers: ClassVar[Numbers] = {
        "reward": Rate("value", meaning="r_pi · (r_sem + r_spa) / 2 · r_ri"),
        "reward_at_most": Rate("value", meaning="open images counted as 1", if_right=True),
        "r_sem": Rate("r_sem", meaning="rating of the chain's text", optional=True),
        "r_spa": Rate("r_spa", meaning="the plan's boxes are where the prompt says", optional=True),
        "r_ri": Rate("r_ri", meaning="mean IoU of planned and detected boxes", optional=True),
        "r_pi": Rate("r_pi", meaning="the picture shows the prompt", optional=True),
    }

    min_score: float = share(0.1)

    def asked(self, prompt: Prompt) -> Iterator[Question]:
        """Of the chain, of the drawn plan, and of the picture."""
        plan = read_plan(dict(prompt.metadata))
        if plan is None:
            raise InputError("metadata.layout holds no plan")
        yield from _of_chain(prompt).values()
        yield _of_plan(prompt)
        yield _of_picture(prompt)

    def weigh_both(
        self,
        prompts: pl.DataFrame,
        images: pl.DataFrame,
        answers: pl.DataFrame,
        detections: pl.DataFrame,
    ) -> pl.DataFrame:
        """See `AnswerMetric.weigh_both`."""
        met = Layout(min_score=self.min_score).judge(prompts, detections)
        met = met.filter(pl.col("status") == SCORED).select(*KEY, pl.col("value").alias("r_ri"))
        weighed = self.weigh(prompts, images, answers).join(
            met, on=KEY, how="left", maintain_order="left"
        )
        rows = [_with_boxes(row) for row in weighed.iter_rows(named=True)]
        return pl.DataFrame(rows, schema=weighed.drop("r_ri").schema)

    def verdict(self, prompt: Prompt, replies: Replies) -> Mapping[str, Any]:
        """What the judge says; `weigh_both` adds the boxes."""
        chain = [_rating(replies.get(q.id, ())) for q in _of_chain(prompt).values()]
        known = [rating for rating in chain if rating is not None]
        found = {
            "r_sem": sum(known) / len(known) if known and len(known) == len(chain) else None,
            "r_spa": _yes(replies.get(_of_plan(prompt).id, ())),
            "r_pi": _yes(replies.get(_of_picture(prompt).id, ())),
        }
        open_ = [name for name, value in found.items() if value is None]
        if not chain:
            open_.remove("r_sem")
        return {
            "value": None,
            "correct": None,
            "margin": None,
            "reason": "",
            "components": found,
            "unjudged": open_,
        }


def _with_boxes(row: dict[str, Any]) -> dict[str, Any]:
    """A row of `weigh` with `r_ri`, and the product where every part is known."""
    r_ri = row.pop("r_ri")
    parts = {c["name"]: c["value"] for c in row["components"]} | {"r_ri": r_ri}
    open_ = [*row["unjudged"], *(["r_ri"] if r_ri is None else [])]
    if not open_:
        sem = parts["r_spa"] if parts["r_sem"] is None else parts["r_sem"]
        parts["reward"] = parts["r_pi"] * (sem + parts["r_spa"]) / 2 * r_ri
        row["value"] = parts["reward"]
    told = [f"{name} {value:.2f}" for name in REWARDS if (value := parts[name]) is not None]
    return {
        **row,
        "reason": ", ".join(told) or "no part of the reward is known",
        "components": [{"name": name, "value": parts[name]} for name in PARTS],
        "unjudged": open_,
    }


def _of_chain(prompt: Prompt) -> dict[str, Question]:
    """One rating per side; the canvas is empty, since only the text is asked about."""
    chain = prompt.metadata.get("chain")
    if not isinstance(chain, str) or not chain.strip():
        return {}
    return {
        side: Question(
            f'For the prompt "{prompt.text}" somebody planned a picture in these words:\n'
            f"{chain.strip()}\nRate the {side} of the plan: {what}? 10 is best. The picture "
            "beside this is empty and says nothing.",
            "count",
            skill="chain",
            template=RATED.name,
            canvas=NOTHING,
        )
        for side, what in SIDES.items()
    }


def _of_plan(prompt: Prompt) -> Question:
    return Question(
        "The drawing shows boxes with the names of the things that are to be painted in them. Are "
        f'all the things of the prompt "{prompt.text}" there, and are they where it says?',
        gold="yes",
        skill="plan",
        template=SEEN.name,
        canvas=describe(prompt.metadata["layout"]),
    )


def _of_picture(prompt: Prompt) -> Question:
    text = f'Does this picture show "{prompt.text}"?'
    return Question(text, gold="yes", skill="picture", template=SEEN.name)


def _yes(rows: Any) -> float | None:
    """P(yes), mean over usable replies."""
    usable = [row for row in rows if row["status"] == ANSWERED]
    return share_bounds(usable, "yes")[0] if usable else None


def _rating(rows: Any) -> float | None:
    """Expected rating over usable replies, in [0, 1]."""
    found = [_expected(row) for row in rows if row["status"] == ANSWERED]
    return sum(found) / len(found) if found else None


def _expected(row: Reply) -> float:
    if row["chances"] is None:
        return min(int(row["answer"]), MOST) / MOST
    listed = [c for c in row["chances"] if int(c["answer"]) <= MOST]
    whole = sum(c["p"] for c in listed)
    return sum(int(c["answer"]) * c["p"] for c in listed) / whole / MOST if whole else 0.0
