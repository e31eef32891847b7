"""What is asked of an image, and what came back: the second kind of evidence beside boxes.

A protocol turns prompts into questions (a QUESTIONS table) and answers (an ANSWERS table) into
verdicts; judges (`t2i_spatial.judges`) only answer. The identity of a question is what is asked,
not who asks: two protocols with the same text share its id, and it is asked once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import polars as pl

from t2i_spatial.errors import InputError

Kind = Literal["yes/no", "choice", "count", "letters", "text"]
KINDS: tuple[Kind, ...] = ("yes/no", "choice", "count", "letters", "text")
"""`letters`: several choices in one reply, one line each; `text`: whatever is said."""

ANSWERED = "answered"
OFF_FORMAT = "off_format"
REFUSED = "refused"
ERROR = "error"
ANSWER_STATUSES: tuple[str, ...] = (ANSWERED, OFF_FORMAT, REFUSED, ERROR)
"""What became of a question. All but `answered` are unsure: bounds, never zeros."""

LETTERS = "ABCDEFGHIJ"
NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen", "twenty",
)  # fmt: skip
"""Words of the numbers that a count may be answered by."""


def _schema(columns: dict[str, Any]) -> pl.Schema:
    return pl.Schema(columns)


QUESTIONS = _schema(
    {
        "prompt_id": pl.String,
        "question_id": pl.String,
        "text": pl.String,
        "kind": pl.String,
        "options": pl.List(pl.String),
        "gold": pl.String,
        "parents": pl.List(pl.String),
        "skill": pl.String,
        "template": pl.String,
        "lines": pl.Int32,
        "canvas": pl.String,
    }
)
"""One row per question of a prompt. `gold` is the answer that counts as right ("yes", a letter, a
number, or letters joined); `parents` are question ids of the same prompt that must be answered
right first; `lines` is how many letters a reply of kind `letters` has; `canvas` is a drawing that
is shown instead of the picture (see `canvas.draw`)."""

CHANCE = pl.Struct({"answer": pl.String, "p": pl.Float64})
ANSWERS = _schema(
    {
        "prompt_id": pl.String,
        "sample": pl.Int32,
        "question_id": pl.String,
        "rollout": pl.Int32,
        "status": pl.String,
        "answer": pl.String,
        "p": pl.Float64,
        "p_raw": pl.Float64,
        "mass": pl.Float64,
        "p_low": pl.Float64,
        "p_high": pl.Float64,
        "chances": pl.List(CHANCE),
        "order": pl.List(pl.Int32),
        "raw": pl.String,
        "tokens": pl.Int32,
        "seconds": pl.Float64,
        "reason": pl.String,
    }
)
"""One row per image, question and rollout. `answer` is normalised: "yes", "no", a letter of the
options as the question lists them, a number, letters joined, or text. `p` is the probability of
"yes" (of `answer` for other kinds) among the allowed answers, `p_raw` the same among all tokens,
`mass` what all allowed answers have together; null where the judge gives no probabilities. `p_low`
and `p_high` bound `p` where an interface listed only one of the two words.
`chances` holds the probability of every allowed answer, `order` the order in which the options were
shown (null: as listed). `tokens` counts prompt and reply. Statuses are those of answers, or of the
image."""


@dataclass(frozen=True, slots=True)
class Template:
    """How a question is put to a judge; another version is another measurement.

    Attributes:
        name: with its version, "vqascore/3.1".
        system: system message, if any.
        image_first: whether the image stands before the text.
        max_tokens: of the reply.
        temperature: 0 takes the most probable reply.
        suffix: what is added to the text of a question.
    """

    name: str
    system: str | None = None
    image_first: bool = True
    max_tokens: int = 16
    temperature: float = 0.0
    suffix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For `run.json`."""
        return {name: getattr(self, name) for name in self.__slots__}


TEMPLATES: dict[str, Template] = {}


def template(made: Template) -> Template:
    """Make a template known by its name.

    Raises:
        InputError: another one has the name.
    """
    if TEMPLATES.setdefault(made.name, made) != made:
        raise InputError(f"the template {made.name!r} is there already, with another content")
    return made


YES_NO = template(Template("yes_no/1", max_tokens=4, suffix=" Answer Yes or No."))
LETTER = template(Template("letter/1", max_tokens=4, suffix=" Answer with one letter."))
NUMBER = template(Template("number/1", max_tokens=4, suffix=" Answer with a number."))
SAY = template(Template("say/1", max_tokens=256))
"""Our own templates, one per kind of answer."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question about the images of a prompt.

    Attributes:
        text: without options and suffix.
        kind: what a good reply looks like.
        options: of a choice, without letters, in the order of the source.
        gold: the answer that counts as right, if there is one.
        parents: ids of questions that must be answered right first.
        skill: group for reporting.
        template: name of its `Template`.
        lines: letters that a reply of kind `letters` has.
        canvas: shown instead of the picture, as `canvas.draw` takes it.

    Raises:
        InputError: an empty text, an unknown kind, options where none belong, or a gold answer
            that is none of the possible ones.
    """

    text: str
    kind: Kind = "yes/no"
    options: tuple[str, ...] = ()
    gold: str | None = None
    parents: tuple[str, ...] = ()
    skill: str | None = None
    template: str = YES_NO.name
    lines: int | None = None
    canvas: str | None = None

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise InputError("a question needs a text")
        if self.kind not in KINDS:
            raise InputError(f"unknown kind of question {self.kind!r}; known: {', '.join(KINDS)}")
        if (self.kind == "choice") != bool(self.options):
            raise InputError(f"a {self.kind} question with {len(self.options)} options: {self}")
        if len(self.options) > len(LETTERS):
            raise InputError(f"at most {len(LETTERS)} options can be shown: {self.text!r}")
        if self.gold is not None and not self._can_be(self.gold):
            raise InputError(f"the right answer {self.gold!r} is not possible: {self.text!r}")

    def _can_be(self, answer: str) -> bool:
        if self.kind == "yes/no":
            return answer in ("yes", "no")
        if self.kind == "choice":
            return answer in LETTERS[: len(self.options)] and len(answer) == 1
        if self.kind == "count":
            return answer.isdigit()
        return self.kind == "text" or len(answer) == (self.lines or len(answer))

    @property
    def id(self) -> str:
        """Of what is asked and how: text, kind, options and template."""
        return _id(self)

    def shown(self, order: Sequence[int] | None = None) -> str:
        """The text as a judge sees it; options in `order` (indices), lettered from A.

        >>> Question("Where is it?", "choice", ("left", "right"), template="letter/1").shown((1, 0))
        'Where is it?\\nA. right\\nB. left Answer with one letter.'
        """
        places = range(len(self.options)) if order is None else order
        lines = [f"{LETTERS[k]}. {self.options[place]}" for k, place in enumerate(places)]
        return "\n".join([self.text, *lines]) + TEMPLATES[self.template].suffix


@lru_cache(maxsize=262_144)
def _id(question: Question) -> str:
    q = question
    asked = [q.template, q.kind, q.text, *q.options, q.lines]
    asked += [q.canvas] if q.canvas is not None else []
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:12]


def questions_to_table(asked: Iterable[tuple[str, Question]]) -> pl.DataFrame:
    """(prompt id, question) pairs as a QUESTIONS table, in their order."""
    rows = [
        {
            "prompt_id": prompt_id,
            "question_id": q.id,
            "text": q.text,
            "kind": q.kind,
            "options": list(q.options),
            "gold": q.gold,
            "parents": list(q.parents),
            "skill": q.skill,
            "template": q.template,
            "lines": q.lines,
            "canvas": q.canvas,
        }
        for prompt_id, q in asked
    ]
    return pl.DataFrame(rows, schema=QUESTIONS)


def table_to_question(row: Mapping[str, Any]) -> Question:
    """One row of a QUESTIONS table."""
    return Question(
        row["text"],
        row["kind"],
        tuple(row["options"] or ()),
        row["gold"],
        tuple(row["parents"] or ()),
        row["skill"],
        row["template"],
        row["lines"],
        row.get("canvas"),
    )


def option_order(question: Question, rollout: int, seed: int, image: str) -> tuple[int, ...] | None:
    """In which order the options are shown; `None` for questions without options.

    With more rollouts than one every option comes to stand under every letter as evenly as can be:
    rollout r turns a random order (of the seed, the image and the question) by r places.
    """
    if not question.options:
        return None
    count = len(question.options)
    key = hashlib.sha256(f"{seed}/{image}/{question.id}".encode()).digest()
    first = np.random.default_rng(int.from_bytes(key[:8], "big")).permutation(count)
    return tuple(int(first[(k + rollout) % count]) for k in range(count))
