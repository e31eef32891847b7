"""VQAScore: the probability that a judge says "Yes" when asked whether the picture shows the text.

Source: linzhiqiu/t2v_metrics @ 6ecb74f, v3.1 (qwen2vl_model.py, gpt4v_model.py) and
V_3.0_README.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

from t2i_spatial.errors import InputError, nearest
from t2i_spatial.metrics.asked.brought import BroughtQuestions, Replies, Reply, chance_of
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.metrics.numbers import Numbers, Rate
from t2i_spatial.questions import ANSWERED, Question, Template, template
from t2i_spatial.scene import Prompt
from t2i_spatial.tables import table_to_prompts

WORDINGS = {
    "3.0": 'Does this figure show "{}"? Please answer yes or no.',
    "3.1": 'Does this figure show "{}"? Please answer Yes or No.',
}
"""Version -> question. A capital letter moves the score, so the version is part of the template."""
for _version in WORDINGS:
    template(Template(f"vqascore/{_version}", max_tokens=1))


@PROTOCOLS.register("vqascore")
@dataclass(kw_only=True)
class VQAScore(BroughtQuestions):
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

    def verdict(self, prompt: Prompt, replies: Replies) -> Mapping[str, Any]:
        """See `BroughtQuestions.verdict`."""
        rows = [row for found in replies.values() for row in found]
        found = [p for row in rows if (p := p_yes(row)) is not None]
        value = sum(found) / len(found) if found else None
        among = [chance_of(row, "yes") for row in rows if row["status"] == ANSWERED]
        reasons = [str(row["reason"] or row["status"]) for row in rows]
        return {
            "value": value,
            "correct": None if value is None else value > 0.5,
            "margin": None if value is None else value - 0.5,
            "reason": (reasons or ["not asked"])[0] if value is None else f"P(Yes) {value:.3f}",
            "components": {
                "p_yes": value,
                "p_yes_among_allowed": sum(among) / len(among) if among else None,
            },
            "unjudged": ["the text"] if value is None else [],
        }

    def holding(self, prompts: pl.DataFrame) -> Iterator[Prompt]:
        """Every prompt."""
        yield from table_to_prompts(prompts)


def p_yes(row: Reply) -> float | None:
    """P("Yes") of one reply; `None` when it says nothing of it.

    Where an interface listed "No" only, it is what "No" leaves, as the peer takes it.

    >>> p_yes({"status": "answered", "answer": "no", "mass": 0.75,
    ...     "chances": [{"answer": "yes", "p": 0.0}, {"answer": "no", "p": 1.0}]})
    0.25
    """
    if row["chances"] is None:
        return float(row["answer"] == "yes") if row["status"] == ANSWERED else None
    mass = row["mass"] or 0.0
    yes = chance_of(row, "yes") * mass
    return yes if yes > 0 else 1.0 - chance_of(row, "no") * mass
