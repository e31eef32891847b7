"""TIFA: multiple-choice questions about a caption, answered in free words.

Source: Yushi-Hu/tifa @ 8e37050, tifascore/tifa_score.py and vqa_models.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.asked.brought import (
    BroughtQuestions,
    Replies,
    Reply,
    listed,
    once_per_prompt,
)
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.metrics.numbers import Numbers, Rate
from t2i_spatial.questions import ANSWERED, Question, Template, template
from t2i_spatial.scene import Prompt

TYPES = (
    "object", "animal/human", "location", "activity", "color", "spatial", "counting", "attribute",
    "material", "food", "shape", "other",
)  # fmt: skip
PARTS = ("score", "score_at_most", *TYPES, *(f"{kind} asked" for kind in TYPES))
FREE = template(Template("tifa/1", max_tokens=20))


@PROTOCOLS.register("tifa")
@dataclass(kw_only=True)
class TIFA(BroughtQuestions):
    """The share of questions whose answer is the right choice, mean over captions.

    A reply that is one of the choices to the letter is that choice, as for the peer. Where it is
    not, the peer takes the choice with the most similar sentence embedding; here it is the choice
    that it is but for case and punctuation, or the only one that it contains, and else open.
    """

    title: ClassVar[str] = "TIFA"
    record: ClassVar[str] = "tifa"
    parts: ClassVar[tuple[str, ...]] = PARTS
    counts_questions: ClassVar[bool] = True
    numbers: ClassVar[Numbers] = {
        "tifa": Rate("score", meaning="mean over images of the questions answered right"),
        "tifa_at_most": Rate("score_at_most", meaning="open questions counted as right"),
        **{kind: Rate(kind, f"{kind} asked", meaning=f"all questions of {kind}") for kind in TYPES},
    }

    def asked(self, prompt: Prompt) -> Iterator[Question]:
        """One question per record."""
        yield from (question for _, question in _asked(prompt))

    def verdict(self, prompt: Prompt, replies: Replies) -> Mapping[str, Any]:
        """See `BroughtQuestions.verdict`."""
        low: list[float] = []
        high: list[float] = []
        wrong: list[str] = []
        open_: list[str] = []
        components: dict[str, float] = {}
        for row, question in _asked(prompt):
            said = [chosen(r, row["choices"]) for r in replies.get(question.id, ())]
            known = [choice for choice in said if choice is not None]
            right = 2 * sum(c == row["answer"] for c in known) > len(said)
            unsure = not right and 2 * sum(c in (None, row["answer"]) for c in said) > len(said)
            low.append(float(right))
            high.append(float(right or unsure or not said))
            if not right:
                (open_ if high[-1] else wrong).append(row["question"])
            kind = str(row.get("element_type", "other"))
            kind = kind if kind in TYPES else "other"
            components[kind] = components.get(kind, 0.0) + low[-1]
            components[f"{kind} asked"] = components.get(f"{kind} asked", 0.0) + 1
        score = sum(low) / len(low)
        return {
            "value": score,
            "correct": False if wrong else (None if open_ else True),
            "margin": 0.5 / len(low) - (1 - score),
            "reason": f"{sum(low):g} of {len(low)} right"
            + (f"; wrong: {', '.join(wrong[:5])}" if wrong else ""),
            "components": {
                "score": score,
                "score_at_most": sum(high) / len(high),
                **components,
            },
            "unjudged": open_,
        }


def chosen(reply: Reply, choices: Sequence[str]) -> str | None:
    """The choice that a reply means, or `None`.

    >>> [chosen({"status": "answered", "answer": text}, ("white", "off white", "red"))
    ...     for text in ("white", "Red.", "it is red", "grey", "off white")]
    ['white', 'red', 'red', None, 'off white']
    """
    if reply["status"] != ANSWERED or reply["answer"] is None:
        return None
    if reply["answer"] in choices:
        return str(reply["answer"])
    said = _plain(reply["answer"])
    same = [choice for choice in choices if _plain(choice) == said]
    if not same:
        same = [choice for choice in choices if f" {_plain(choice)} " in f" {said} "]
    return same[0] if len(same) == 1 else None


def _plain(text: str) -> str:
    words = "".join(c if c.isalnum() else " " for c in text.lower())
    return " ".join(words.split())


def _rows(prompt: Prompt) -> list[Mapping[str, Any]]:
    rows = prompt.metadata["tifa"]
    rows = [rows] if isinstance(rows, Mapping) else list(rows)
    for row in rows:
        if row["answer"] not in listed(row, "choices"):
            raise InputError(
                f"the answer {row['answer']!r} to {row['question']!r} is none of its choices"
            )
    return rows


@once_per_prompt
def _asked(prompt: Prompt) -> list[tuple[Mapping[str, Any], Question]]:
    """Every record with its question."""
    return [(row, _question(row)) for row in _rows(prompt)]


def _question(row: Mapping[str, Any]) -> Question:
    choices = ", ".join(row["choices"])
    return Question(
        f"Question: {row['question']} Choices: {choices}. Answer:",
        "text",
        gold=row["answer"],
        skill=row.get("element_type"),
        template=FREE.name,
    )
