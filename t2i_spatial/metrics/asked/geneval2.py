"""GenEval 2: Soft-TIFA, the probability of the right answer to each atom of a prompt.

Source: facebookresearch/GenEval2 @ a6e82d2, evaluation.py and soft_tifa_analysis.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.asked.brought import (
    BroughtQuestions,
    Replies,
    Reply,
    chance_of,
    listed,
    once_per_prompt,
)
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.metrics.numbers import Numbers, Rate
from t2i_spatial.questions import ANSWERED, NUMBERS, Question, Template, template
from t2i_spatial.scene import Prompt

SKILLS = ("object", "count", "attribute", "position", "verb")
PARTS = (
    "am", "gm", "tifa", "am_at_most", "gm_at_most",
    *SKILLS, *(f"{skill} atoms" for skill in SKILLS),
)  # fmt: skip
ONE_WORD = template(Template("geneval2/1", max_tokens=1, suffix=" Answer in one word."))


@PROTOCOLS.register("geneval2")
@dataclass(kw_only=True)
class GenEval2(BroughtQuestions):
    """Soft-TIFA: arithmetic (AM) and geometric (GM) mean of an image's atoms, and hard TIFA.

    An atom scores the probability, among all tokens, of the first token of every spelling of its
    answer. A judge without probabilities gives the share of its votes.

    Attributes:
        among_allowed: take the probability among the allowed answers instead, which can be
            compared between models.
    """

    title: ClassVar[str] = "GenEval 2"
    record: ClassVar[str] = "geneval2"
    parts: ClassVar[tuple[str, ...]] = PARTS
    counts_questions: ClassVar[bool] = True
    numbers: ClassVar[Numbers] = {
        "soft_tifa_am": Rate("am", meaning="mean over images of the mean of their atoms"),
        "soft_tifa_gm": Rate("gm", meaning="mean over images of the geometric mean of their atoms"),
        "tifa": Rate("tifa", meaning="mean over images of the atoms answered right"),
        "soft_tifa_am_at_most": Rate("am_at_most", meaning="open atoms counted as right"),
        "soft_tifa_gm_at_most": Rate("gm_at_most", meaning="open atoms counted as right"),
        **{
            skill: Rate(skill, f"{skill} atoms", meaning=f"mean of all atoms of {skill}")
            for skill in SKILLS
        },
    }
    groups: ClassVar[Mapping[str, Sequence[str]]] = {"tag": ("soft_tifa_am", "soft_tifa_gm")}

    among_allowed: bool = False

    def asked(self, prompt: Prompt) -> Iterator[Question]:
        """One question per atom."""
        yield from (question for _, question in _atoms(prompt))

    def verdict(self, prompt: Prompt, replies: Replies) -> Mapping[str, Any]:
        """See `BroughtQuestions.verdict`."""
        atoms = _atoms(prompt)
        soft, hard = [], []
        for _, question in atoms:
            rows = replies.get(question.id, ())
            soft.append(self._probability(rows, question.gold or ""))
            hard.append(_is_right(rows, question.gold or ""))
        low = [p or 0.0 for p in soft]
        high = [1.0 if p is None else p for p in soft]
        components: dict[str, float] = {
            "am": sum(low) / len(low),
            "gm": geometric_mean(low),
            "tifa": sum(bool(right) for right in hard) / len(hard),
            "am_at_most": sum(high) / len(high),
            "gm_at_most": geometric_mean(high),
        }
        for skill, p in zip((skill for skill, _ in atoms), low, strict=True):
            components[skill] = components.get(skill, 0.0) + p
            components[f"{skill} atoms"] = components.get(f"{skill} atoms", 0.0) + 1
        weakest = min(range(len(atoms)), key=lambda k: low[k])
        wrong = any(right is False for right in hard)
        return {
            "value": components["gm"],
            "correct": False if wrong else (None if None in hard else True),
            "margin": low[weakest] - 0.5,
            "reason": f"{atoms[weakest][1].text} {low[weakest]:.2f}",
            "components": components,
            "unjudged": [q.text for (_, q), p in zip(atoms, soft, strict=True) if p is None],
        }

    def _probability(self, rows: Sequence[Reply], gold: str) -> float | None:
        """Of the right answer, mean over replies; `None` when no reply says anything of it.

        A reply with little probability on the allowed answers is off format for others; here its
        probabilities count, as they do for the peer.
        """
        found = []
        for row in rows:
            if row["chances"] is not None:
                whole = 1.0 if self.among_allowed else (row["mass"] or 0.0)
                found.append(chance_of(row, gold) * whole)
            elif row["status"] == ANSWERED:
                found.append(float(row["answer"] == gold))
        return sum(found) / len(found) if found else None


def geometric_mean(values: Sequence[float]) -> float:
    """0 when any value is.

    >>> geometric_mean([0.25, 1.0])
    0.5
    """
    if min(values) <= 0:
        return 0.0
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def _is_right(rows: Sequence[Reply], gold: str) -> bool | None:
    """Whether most replies say the right word; one that is off format says another."""
    known = [row for row in rows if row["status"] == ANSWERED or row["chances"] is not None]
    if not known:
        return None
    right: int = sum(row["status"] == ANSWERED and row["answer"] == gold for row in known)
    return 2 * right > len(known)


@once_per_prompt
def _atoms(prompt: Prompt) -> list[tuple[str, Question]]:
    """Skill and question of every atom."""
    record = prompt.metadata["geneval2"]
    pairs = listed(record, "vqa_list", list)
    skills = listed(record, "skills")
    if len(pairs) != len(skills) or not pairs:
        raise InputError(f"vqa_list has {len(pairs)} entries, skills has {len(skills)}")
    atoms = []
    for pair, skill in zip(pairs, skills, strict=True):
        if len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise InputError(f"an entry of vqa_list must be [question, answer], got {pair!r}")
        if skill not in SKILLS:
            raise InputError(f"unknown skill {skill!r}; known: {', '.join(SKILLS)}")
        atoms.append((skill, _question(pair[0], pair[1], skill)))
    return atoms


def _question(text: str, answer: str, skill: str) -> Question:
    word = answer.strip().lower()
    if text.startswith("How many"):
        number = word if word.isdigit() else str(NUMBERS.index(word)) if word in NUMBERS else None
        if number is None:
            raise InputError(f"{text!r} needs a number up to twenty, got {answer!r}")
        return Question(text, "count", gold=number, skill=skill, template=ONE_WORD.name)
    if word != "yes":
        raise InputError(f"the answer to {text!r} must be Yes, got {answer!r}")
    return Question(text, gold="yes", skill=skill, template=ONE_WORD.name)
