"""SpatialGenEval: ten multiple-choice questions per prompt, by its own rule and by ours.

Source: AMAP-ML/SpatialGenEval @ 8b294b5, scripts/spatialgeneval_stage1_eval.py and
spatialgeneval_stage2_acc.py. The request has their structure in our words: their repository has no
licence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.asked.brought import (
    BroughtQuestions,
    Replies,
    Reply,
    listed,
    once_per_prompt,
    share_bounds,
)
from t2i_spatial.metrics.base import PROTOCOLS, share
from t2i_spatial.metrics.numbers import Numbers, Rate
from t2i_spatial.prompts.readers.spatialgeneval import DOMAINS as DOMAINS
from t2i_spatial.prompts.readers.spatialgeneval import read_options as read_options
from t2i_spatial.questions import Question, Template, template
from t2i_spatial.scene import Prompt

BASIC = DOMAINS[:2]
SHARES = ("overall", "basic", "spatial")
PARTS = (*SHARES, "overall_at_most", *DOMAINS)

TEN_AT_ONCE = template(
    Template(
        "spatialgeneval/1",
        system="You are a professional critic of images.",
        image_first=False,
        max_tokens=4096,
        temperature=1.0,
    )
)
ONE_BY_ONE = template(
    Template(
        "spatialgeneval_strict/1",
        max_tokens=4,
        suffix="\nJudge by the picture alone. Answer with the letter of one option.",
    )
)
_ASKED = """Task: look closely at the picture and answer the {n} multiple-choice questions below. \
Judge by the picture alone: no knowledge of the world, nothing from outside the picture.

Questions:
{questions}

Rules:
1. Write {n} lines for the {n} questions. Each begins with the letter of the right option (not \
with a number), followed by a detailed reason in the same line.
2. Keep the order of the questions.
3. Give one answer to each question.
4. Give each answer a line of its own.
5. The n-th line answers the n-th question.
6. Choose 'E: None' when the picture cannot answer the question.

Form of the answer (an example with ten lines):
E: None - None of the lists names what can be seen.
B: A large brown horse, a small grey dog - The horse is brown and larger, the dog is grey.
C: The horse on the left, the dog on the right - So they stand in the picture.
A: The horse faces the dog - Its head is turned to the dog.
B: Opposite each other - One stands at the left and one at the right edge.
E: None - Their heights cannot be compared.
B: Close together - There is little space between them.
E: None - Nothing hides anything else.
E: None - The horse makes none of these movements.
E: None - No effect of a movement is to be seen.
"""


@PROTOCOLS.register("spatialgeneval")
@dataclass(kw_only=True)
class SpatialGenEval(BroughtQuestions):
    """As published: all questions in one request, a question is right when enough replies say so.

    A reply counts when it has as many lines as there are questions, whatever stands in them; the
    answer is the first character of a line. An image without enough such replies is dropped.

    Attributes:
        valid: replies that count.
        votes: how many of them must give the right letter.
    """

    title: ClassVar[str] = "SpatialGenEval"
    record: ClassVar[str] = "spatialgeneval"
    parts: ClassVar[tuple[str, ...]] = PARTS
    rollouts: ClassVar[int] = 25
    enough: ClassVar[int | None] = 5
    numbers: ClassVar[Numbers] = {
        name: Rate(name, meaning=meaning, optional=True)
        for name, meaning in (
            ("overall", "questions answered right, images that were dropped left out"),
            ("basic", "of them about objects and attributes"),
            ("spatial", "of them all others"),
        )
    } | {
        "overall_at_least": Rate(
            "value", meaning="dropped images counted as wrong", own_scale=True
        ),
        "overall_at_most": Rate("value", meaning="dropped images counted as right", if_right=True),
        **{name: Rate(name, meaning=f"the question of {name}", optional=True) for name in DOMAINS},
    }
    groups: ClassVar[Mapping[str, Sequence[str]]] = {"tag": SHARES}

    valid: int = 5
    votes: int = 4

    def asked(self, prompt: Prompt) -> Iterator[Question]:
        """All questions of a prompt as one."""
        texts, golds, _ = _record(prompt)
        questions = "\n".join(text.strip() for text in texts)
        yield Question(
            _ASKED.format(n=len(texts), questions=questions),
            "letters",
            gold="".join(golds),
            template=TEN_AT_ONCE.name,
            lines=len(texts),
        )

    def verdict(self, prompt: Prompt, replies: Replies) -> Mapping[str, Any]:
        """See `BroughtQuestions.verdict`."""
        _, golds, domains = _record(prompt)
        rows = [row for found in replies.values() for row in found]
        valid = list(valid_replies(rows, len(golds)))[: self.valid]
        if len(valid) < self.valid:
            told = f"{len(valid)} valid replies of {len(rows)}, {self.valid} are needed"
            return _open(told)
        right = [
            Counter(letters[k] for letters in valid)[gold] >= self.votes
            for k, gold in enumerate(golds)
        ]
        return _of_questions(domains, [(float(r), float(r)) for r in right])

    def baselines(self, prompts: pl.DataFrame) -> dict[str, float]:
        """What letters alone score; see `letter_baselines`."""
        records = [_record(prompt) for prompt in self.holding(prompts)]
        return letter_baselines([golds for _, golds, _ in records])

    def remarks(self, prompts: pl.DataFrame) -> list[str]:
        """See `AnswerMetric.remarks`: right letters that are none of the options."""
        odd, total = [], 0
        for prompt in self.holding(prompts):
            for text, gold, domain in zip(*_record(prompt), strict=True):
                total += 1
                if gold not in _letters(text):
                    odd.append(f"{gold} of {domain}, prompt {prompt.id!r}")
        if not odd:
            return []
        fate = "are not asked" if isinstance(self, SpatialGenEvalStrict) else "cannot be met"
        return [
            f"{len(odd):,} of {total:,} right letters of {self.name} are none of the options of "
            f"their question and {fate} (first: {odd[0]})"
        ]


@PROTOCOLS.register("spatialgeneval_strict")
@dataclass(kw_only=True)
class SpatialGenEvalStrict(SpatialGenEval):
    """The same questions without the peer's quirks: one at a time, the options in turned orders.

    Every option comes to stand under every letter equally often, so a liking for a letter gains
    nothing. All images count; what has no usable answer is wrong in `overall` and right in
    `overall_at_most`. Questions whose right letter is none of their options are not asked.

    Attributes:
        needed: share of the replies (of their probability, where there is one) that must be right.
    """

    title: ClassVar[str] = "SpatialGenEval, strict"
    counts_questions: ClassVar[bool] = True
    rollouts: ClassVar[int] = 5
    enough: ClassVar[int | None] = None
    numbers: ClassVar[Numbers] = {
        "overall": Rate("overall", meaning="questions answered right, open ones counted as wrong"),
        "overall_at_most": Rate("overall_at_most", meaning="open ones counted as right"),
        **{
            name: Rate(name, meaning=f"the {what}", optional=True)
            for name, what in (
                ("basic", "questions about objects and attributes"),
                ("spatial", "other eight questions"),
                *((domain, f"question of {domain}") for domain in DOMAINS),
            )
        },
    }

    needed: float = share(0.8)

    def asked(self, prompt: Prompt) -> Iterator[Question]:
        """Every question that has a right answer, alone."""
        yield from (question for _, question in _single(prompt))

    def verdict(self, prompt: Prompt, replies: Replies) -> Mapping[str, Any]:
        """See `BroughtQuestions.verdict`."""
        domains, right = [], []
        for domain, question in _single(prompt):
            low, high = share_bounds(replies.get(question.id, ()), question.gold or "")
            domains.append(domain)
            # votes of 4 in 5 are 0.8 in floating point too
            right.append((float(low >= self.needed - 1e-9), float(high >= self.needed - 1e-9)))
        return _of_questions(domains, right)

    def baselines(self, prompts: pl.DataFrame) -> dict[str, float]:
        """What guessing scores: letters mean nothing here."""
        chances = [
            1 / len(q.options) for prompt in self.holding(prompts) for _, q in _single(prompt)
        ]
        return {"guessing once": sum(chances) / len(chances)} if chances else {}


def valid_replies(rows: Iterable[Reply], lines: int) -> Iterator[list[str]]:
    """The first characters of the lines of every reply that has so many, as the peer takes them.

    >>> list(valid_replies([{"raw": "A: cat\\n\\n2. B"}, {"raw": "A"}], 2))
    [['A', '2']]
    """
    for row in rows:
        found = [line.strip() for line in (row["raw"] or "").strip().split("\n") if line.strip()]
        if len(found) == lines:
            yield [line[0] for line in found]


def letter_baselines(golds: Sequence[Sequence[str]]) -> dict[str, float]:
    """What a judge scores that looks at no picture, from the right letters of every prompt.

    >>> letter_baselines(["AB", "CB"])
    {'always B': 0.5, 'best letter per question': 0.75}
    """
    if not golds:
        return {}
    letters = Counter(letter for of_prompt in golds for letter in of_prompt)
    total = letters.total()
    best = min(letters, key=lambda letter: (-letters[letter], letter))
    places = [Counter(g[k] for g in golds if len(g) > k) for k in range(max(map(len, golds)))]
    return {
        f"always {best}": letters[best] / total,
        "best letter per question": sum(max(place.values()) for place in places) / total,
    }


@once_per_prompt
def _record(prompt: Prompt) -> tuple[list[str], list[str], list[str]]:
    """Questions, right letters and sub-domains of a prompt."""
    record = prompt.metadata["spatialgeneval"]
    texts, golds = listed(record, "questions"), listed(record, "answers")
    if len(texts) != len(golds) or not texts:
        raise InputError(f"{len(texts)} questions with {len(golds)} answers")
    if "question_type" in record:
        domains = [domain.lower() for domain in listed(record, "question_type")]
    else:  # as in the peer's result files
        domains = list(DOMAINS[: len(texts)])
    if len(domains) != len(texts):
        raise InputError(f"{len(texts)} questions of {len(domains)} types")
    for gold in golds:
        if not re.fullmatch("[A-J]", gold):
            raise InputError(f"a right answer must be one letter, got {gold!r}")
    for domain in domains:
        if domain not in DOMAINS:
            raise InputError(f"unknown type of question {domain!r}; known: {', '.join(DOMAINS)}")
    return texts, golds, domains


def _letters(text: str) -> Container[str]:
    """The letters of a question's options; none where it has no options that can be read."""
    try:
        return read_options(text)[1]
    except InputError:
        return ()


@once_per_prompt
def _single(prompt: Prompt) -> list[tuple[str, Question]]:
    """Sub-domain and question, of those whose right letter is one of their options."""
    found = []
    for text, gold, domain in zip(*_record(prompt), strict=True):
        stem, options = read_options(text)
        if gold in options:
            letter = "ABCDEFGHIJ"[list(options).index(gold)]
            shown = tuple(options.values())
            template_name = ONE_BY_ONE.name
            question = Question(stem, "choice", shown, letter, skill=domain, template=template_name)
            found.append((domain, question))
    return found


def _open(told: str) -> dict[str, Any]:
    return {
        "value": None,
        "correct": None,
        "margin": None,
        "reason": told,
        "components": {},
        "unjudged": ["the questions"],
    }


def _of_questions(domains: Sequence[str], right: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """The verdict from how surely each question was answered right: (at least, at most)."""
    low = [r for r, _ in right]
    high = [r for _, r in right]
    basic = [r for domain, r in zip(domains, low, strict=True) if domain in BASIC]
    spatial = [r for domain, r in zip(domains, low, strict=True) if domain not in BASIC]
    components = {
        "overall": _mean(low),
        "basic": _mean(basic),
        "spatial": _mean(spatial),
        "overall_at_most": _mean(high),
    }
    for domain in set(domains):
        components[domain] = _mean([r for d, r in zip(domains, low, strict=True) if d == domain])
    wrong = [domain for domain, r in zip(domains, high, strict=True) if r < 1]
    open_ = [d for d, (least, most) in zip(domains, right, strict=True) if least < most]
    value = components["overall"]
    return {
        "value": value,
        "correct": False if wrong else (None if open_ else True),
        "margin": None if value is None else 0.5 / len(low) - (1 - value),
        "reason": f"{sum(low):g} of {len(low)} right"
        + (f"; wrong: {', '.join(wrong)}" if wrong else ""),
        "components": components,
        "unjudged": [f"the question of {domain}" for domain in open_],
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
