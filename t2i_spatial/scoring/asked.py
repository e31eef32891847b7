"""Answers as evidence of rewards: a judge is asked about pictures in memory, all at once.

A judge that fails is no zero: the pictures that it said nothing usable about have no reward, and
the reason says why.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from t2i_spatial.errors import InputError, T2ISpatialError
from t2i_spatial.judges.base import Asked, Judge, Picture, answer_row
from t2i_spatial.judges.openai_api import LISTED
from t2i_spatial.metrics.answers import AnswerMetric
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.questions import ANSWERS, Question, option_order, table_to_question
from t2i_spatial.scene import Prompt
from t2i_spatial.tables import (
    DETECTOR_FAILED,
    IMAGES,
    NOT_APPLICABLE,
    SCORED,
    conform,
    prompts_to_table,
)

if TYPE_CHECKING:
    from PIL import Image

VOTES = 5
"""Sampled replies per question of a judge that gives no probabilities."""
Verdicts = Mapping[str, Sequence[Mapping[str, Any]]]


def by_answers(names: Sequence[str]) -> dict[str, AnswerMetric]:
    """Those of the named protocols that judge by answers."""
    made = {name: PROTOCOLS[name]() for name in names}
    return {name: metric for name, metric in made.items() if isinstance(metric, AnswerMetric)}


def require_judge(names: Sequence[str], judge: Any) -> None:
    """Refuse protocols that judge by answers where nobody can be asked.

    Raises:
        InputError: naming the first.
    """
    if judge is None and (asking := by_answers(names)):
        raise InputError(f"{next(iter(asking))} judges by answers, and no judge is given")


def ask_about(
    images: Sequence[Image.Image],
    prompts: Sequence[Prompt],
    names: Sequence[str],
    judge: Judge | None,
    *,
    votes: int = VOTES,
    seed: int = 0,
) -> dict[str, list[dict[str, Any]]]:
    """Verdicts of the named protocols that judge by answers: protocol -> one row per image.

    Every question about every image is under way together, what several protocols ask once.
    Prompt ids must differ.

    Raises:
        InputError: a protocol judges by answers, and there is no judge.
    """
    protocols = by_answers(names)
    if not protocols or not prompts:
        return {}
    if judge is None:
        require_judge(names, judge)
        raise AssertionError("unreachable: a protocol that asks needs a judge")
    table = prompts_to_table(prompts)
    wanted = _wanted(protocols, table, judge, votes)
    try:
        answers = _answers(images, prompts, wanted, judge, seed)
    except T2ISpatialError as error:
        return {
            name: [_failed(protocol, prompt, str(error)) for prompt in prompts]
            for name, protocol in protocols.items()
        }
    rows = [{"prompt_id": p.id, "sample": 0, "image": "", "status": SCORED} for p in prompts]
    expected = conform(pl.DataFrame(rows), IMAGES, "images")
    return {
        name: protocol.judge_answers(table, expected, answers).to_dicts()
        if len(protocol.questions(table))
        else [_failed(protocol, p, "there is nothing to ask", NOT_APPLICABLE) for p in prompts]
        for name, protocol in protocols.items()
    }


def _wanted(
    protocols: Mapping[str, AnswerMetric], table: pl.DataFrame, judge: Judge, votes: int
) -> dict[str, dict[str, tuple[Question, int]]]:
    """Prompt id -> question id -> the question, and how often it is asked."""
    wanted: dict[str, dict[str, tuple[Question, int]]] = {}
    for protocol in protocols.values():
        for row in protocol.questions(table).iter_rows(named=True):
            question = table_to_question(row)
            voted = judge.samples and not judge.gives_probabilities and question.kind in LISTED
            times = max(protocol.rollouts, votes if voted else 1)
            of_prompt = wanted.setdefault(row["prompt_id"], {})
            known = of_prompt.get(question.id)
            of_prompt[question.id] = (question, max(times, known[1] if known else 0))
    return wanted


def _answers(
    images: Sequence[Image.Image],
    prompts: Sequence[Prompt],
    wanted: Mapping[str, Mapping[str, tuple[Question, int]]],
    judge: Judge,
    seed: int,
) -> pl.DataFrame:
    batch = []
    for image, prompt in zip(images, prompts, strict=True):
        asked = [
            Asked(question, rollout, option_order(question, rollout, seed, prompt.id), seed)
            for question, times in wanted.get(prompt.id, {}).values()
            for rollout in range(times)
        ]
        if asked:
            batch.append((_picture(image, prompt.id), asked))
    replies = judge.collect(judge.submit(batch))
    rows = [
        answer_row(picture.key, one, reply)
        for (picture, asked), of_picture in zip(batch, replies, strict=True)
        for one, reply in zip(asked, of_picture, strict=True)
    ]
    return pl.DataFrame(rows, schema=ANSWERS)


def _picture(image: Image.Image, prompt_id: str) -> Picture:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return Picture("", buffer.getvalue(), (prompt_id, 0))


def _failed(
    protocol: AnswerMetric, prompt: Prompt, reason: str, status: str = DETECTOR_FAILED
) -> dict[str, Any]:
    return {
        "prompt_id": prompt.id,
        "sample": 0,
        "protocol": protocol.name,
        "tag": prompt.tag,
        "value": None,
        "correct": None,
        "status": status,
        "margin": None,
        "reason": f"the judge cannot be asked: {reason}" if status == DETECTOR_FAILED else reason,
        "evidence": None,
        "components": None,
        "unjudged": None,
    }
