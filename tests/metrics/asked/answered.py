"""Tables for protocols that bring their questions: prompts, images, and replies to them."""

from __future__ import annotations

import polars as pl

from t2i_spatial.prompts.readers import find_format
from t2i_spatial.questions import ANSWERS
from t2i_spatial.tables import SCORED, prompts_to_table


def read(records):
    """PROMPTS of records in a peer's own format."""
    return prompts_to_table([find_format(r).read(r, k) for k, r in enumerate(records)])


def images_of(prompts, lost=()):
    """One picture per prompt."""
    rows = [
        {"prompt_id": p, "sample": 0, "status": "image_missing" if p in lost else SCORED}
        for p in prompts["prompt_id"]
    ]
    schema = {"prompt_id": pl.String, "sample": pl.Int32, "status": pl.String, "reason": pl.String}
    return pl.DataFrame(rows, schema=schema)


def replied(metric, prompts, reply):
    """ANSWERS: `reply(prompt_id, question row)` gives replies, one per rollout.

    A reply is a raw text (letters), an answer, a probability of the right answer, or a status.
    """
    rows = []
    for question in metric.questions(prompts).iter_rows(named=True):
        for rollout, said in enumerate(reply(question["prompt_id"], question)):
            rows.append(
                {
                    "prompt_id": question["prompt_id"],
                    "sample": 0,
                    "question_id": question["question_id"],
                    "rollout": rollout,
                    **_columns(said, question),
                }
            )
    return pl.DataFrame(rows, schema=ANSWERS)


def _columns(said, question):
    if said in ("refused", "off_format", "error"):
        return {"status": said, "reason": said}
    if isinstance(said, dict):
        return {"status": "answered", **said}
    if isinstance(said, float):
        gold = question["gold"]
        other = {"yes": "no", "no": "yes"}.get(gold, "?")
        chances = [{"answer": gold, "p": said}, {"answer": other, "p": 1 - said}]
        answer = gold if said > 0.5 else other
        return {"status": "answered", "answer": answer, "chances": chances, "mass": 1.0}
    return {"status": "answered", "answer": said, "raw": said}


def scored(metric, records, reply, lost=(), **intervals):
    """Verdicts and summary of records in a peer's format."""
    prompts = read(records)
    answers = replied(metric, prompts, reply)
    verdicts = metric.judge_answers(prompts, images_of(prompts, lost), answers)
    return verdicts, metric.summarize(verdicts, prompts, **intervals)


def components(row):
    return {c["name"]: c["value"] for c in row["components"]}
