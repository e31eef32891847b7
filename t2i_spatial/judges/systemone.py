"""`/v1/systemone`: a probability for every allowed answer, from one forward pass of the server.

`transformers serve` has it where its chat completions give no log-probabilities. The server words
the options in its own way, so its probabilities are those of another interface, which the plan of
a judge names. Source: transformers 5.23, cli/serving/systemone.py and decision/. Pure functions.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from t2i_spatial.judges.base import Asked, Picture, Reply, understood
from t2i_spatial.judges.replies import from_raw
from t2i_spatial.questions import LETTERS, NUMBERS, Question

PATH = "/systemone"
NAME = "systemone"
"""Of the interface, in plans."""
ANSWERS_TO = ("yes/no", "choice", "count")
MARK = "<the picture>"
"""Stands in the text where the picture belongs."""
MOST_OPTIONS = 26


def can_ask(question: Question) -> bool:
    """Whether the interface has this kind of question; options must be told apart by their text."""
    if question.kind == "choice":
        return len(set(question.options)) == len(question.options)
    return question.kind in ANSWERS_TO


def body_of(picture: Picture, asked: Asked, model: str, *, image: bool = True) -> dict[str, Any]:
    """The body of one request.

    Args:
        image: `False` puts the hash of the picture in its place (for cache keys).
    """
    kind, media = asked.question.kind, picture.media_type
    question: dict[str, Any] = {"type": "choice", "instructions": asked.question.text}
    if kind == "yes/no":
        question["type"] = "noul"
    else:
        question["criteria"] = dict.fromkeys(_options(asked))
    data = base64.b64encode(picture.data).decode("ascii") if image else picture.sha256
    return {
        "model": model,
        "state": MARK,
        "questions": {"asked": question},
        "assets": {MARK: {"type": "image", "format": media.partition("/")[2], "data_base64": data}},
    }


def _options(asked: Asked) -> list[str]:
    """The options in the order shown; of a count, the numbers."""
    if asked.question.kind == "count":
        return [str(number) for number in range(len(NUMBERS))]
    options = asked.question.options
    return [options[k] for k in (asked.order or range(len(options)))]


def reply_of(page: Mapping[str, Any], asked: Asked, started: float | None = None) -> Reply:
    """The reply in the body of a response.

    The interface tells of the allowed answers only: they have all of the probability.

    Raises:
        ValueError: the body is no such answer.
    """
    question = asked.question
    try:
        answer = page["answers"]["asked"]
        if question.kind == "yes/no":
            yes = float(answer["noul"])
            raw = {"yes": yes, "no": 1 - yes}
        else:
            names = LETTERS if question.kind == "choice" else list(map(str, range(len(NUMBERS))))
            given = answer["probabilities"]
            raw = {name: float(given[o]) for name, o in zip(names, _options(asked), strict=False)}
    except (KeyError, TypeError, AttributeError):
        raise ValueError("the reply is no answer of /v1/systemone") from None
    if not all(0 <= p <= 1 for p in raw.values()):
        raise ValueError(f"the reply holds no probabilities: {raw}")
    usage = page.get("usage")
    tokens = usage.get("input_tokens") if isinstance(usage, Mapping) else None
    tokens = tokens if isinstance(tokens, int) else None
    return understood(asked, None, from_raw(raw, question), tokens=tokens, started=started)
