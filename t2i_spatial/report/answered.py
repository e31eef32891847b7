"""What judges said of the images of the gallery, and where boxes say otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from t2i_spatial.files import read_table, scan_table
from t2i_spatial.metrics.answers import shares_right
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.questions import ANSWERED, LETTERS, QUESTIONS
from t2i_spatial.run import Run
from t2i_spatial.tables import KEY, conform

MOST = 40
"""Questions about one image that are listed; those that were answered wrong come first."""
KIND_ORDER = {"wrong": 0, "unsure": 1, "told": 2, "right": 3}


DISPUTES = pl.Schema(
    {
        "prompt_id": pl.String,
        "sample": pl.Int32,
        "disputed": pl.Float64,
        "boxes": pl.String,
        "judge": pl.String,
    }
)


@dataclass(frozen=True)
class Said:
    """One question about one image and what came back.

    Attributes:
        kind: "right", "wrong", "unsure" (no usable answer) or "told" (no answer counts as right).
        text: of the question.
        answer: what was said, by most usable replies; the status where none is usable.
        wanted: the right answer where it was not given.
        how: probability of the right answer, or votes.
    """

    kind: str
    text: str
    answer: str
    wanted: str
    how: str


@dataclass(frozen=True)
class Answered:
    """What one judge said of one image."""

    judge: str
    n: int
    n_right: int
    n_counted: int
    said: tuple[Said, ...]

    @property
    def n_hidden(self) -> int:
        """Questions that are not listed."""
        return self.n - len(self.said)


def answered(run: Run, chosen: pl.DataFrame) -> dict[tuple[str, int], tuple[Answered, ...]]:
    """What every judge of a run said of some images, by `(prompt_id, sample)`.

    Args:
        chosen: `prompt_id, sample`.
    """
    found: dict[tuple[str, int], list[Answered]] = {}
    for path in sorted((run.path / "answers").glob("*.parquet")):
        questions = run.path / "questions" / path.name
        if not questions.exists():
            continue
        table = scan_table(path).join(chosen.lazy(), on=list(KEY), how="semi").collect()
        asked = conform(read_table(questions), QUESTIONS, path.name)
        for key, judged in _of_judge(path.stem, table, asked):
            found.setdefault(key, []).append(judged)
    return {key: tuple(parts) for key, parts in found.items()}


def _of_judge(
    judge: str, table: pl.DataFrame, questions: pl.DataFrame
) -> Iterator[tuple[tuple[str, int], Answered]]:
    asked = table.join(
        questions, on=["prompt_id", "question_id"], how="inner", maintain_order="right"
    )
    right = {
        (prompt_id, sample, question_id): share
        for prompt_id, sample, question_id, share in shares_right(asked)
        .select(*KEY, "question_id", "right")
        .iter_rows()
    }
    for key, of_image in asked.group_by(*KEY, maintain_order=True):
        listed = []
        for _, rows in of_image.group_by("question_id", maintain_order=True):
            replies = rows.to_dicts()
            share = right.get((*key, replies[0]["question_id"]))  # type: ignore[arg-type]
            listed.append(_said(replies, share))
        counted = sum(one.kind != "told" for one in listed)
        good = sum(one.kind == "right" for one in listed)
        listed.sort(key=lambda one: KIND_ORDER[one.kind])
        shown = tuple(listed[:MOST])
        yield (str(key[0]), int(key[1])), Answered(judge, len(listed), good, counted, shown)  # type: ignore[call-overload]


def _said(replies: Sequence[Mapping[str, Any]], right: float | None) -> Said:
    first = replies[0]
    usable = [r["answer"] for r in replies if r["status"] == ANSWERED and r["answer"] is not None]
    options, gold = tuple(first["options"] or ()), first["gold"]
    if not usable:
        why = next((r["reason"] for r in replies if r["reason"]), "")
        status = str(first["status"]).replace("_", " ")
        return Said("unsure", first["text"], status, _word(gold, options), why)
    answer = Counter(usable).most_common(1)[0][0]
    votes = f"{usable.count(answer)} of {len(replies)} votes" if len(replies) > 1 else ""
    if gold is None:
        return Said("told", first["text"], _word(answer, options), "", votes)
    kind = "unsure" if right is None else "right" if right > 0.5 else "wrong"
    with_p = any(r["chances"] for r in replies)
    how = f"{100 * right:.0f} % for it" if with_p and right is not None else votes
    wanted = "" if answer == gold else _word(gold, options)
    if wanted and with_p and right is not None:
        how = f"{100 * right:.0f} % for that"
    return Said(kind, first["text"], _word(answer, options), wanted, how)


def _word(answer: str | None, options: Sequence[str]) -> str:
    """An answer in words: the option that a letter stands for."""
    if answer and options and len(answer) == 1 and answer in LETTERS[: len(options)]:
        return options[LETTERS.index(answer)]
    return answer or ""


def disputes(tables: Mapping[str, Path]) -> pl.DataFrame:
    """Images of which boxes and a judge say the opposite, the surest disagreements first.

    The first protocol of each kind of evidence that says yes or no is compared.

    Returns:
        `prompt_id, sample, disputed, boxes, judge`: how far the two values are apart, and what
        each protocol says.
    """
    sides = {}
    kinds = {name: PROTOCOLS[name].evidence for name in tables if name in PROTOCOLS}
    if not {"boxes", "answers"} <= set(kinds.values()):
        return pl.DataFrame(schema=DISPUTES)
    for name, path in tables.items():
        kind = kinds.get(name)
        if kind in ("boxes", "answers") and kind not in sides:
            rows = scan_table(path).select(*KEY, "value", "correct").drop_nulls("correct").collect()
            if len(rows):
                sides[kind] = (name, rows)
    if len(sides) < 2:
        return pl.DataFrame(schema=DISPUTES)
    (boxes, left), (judge, right) = sides["boxes"], sides["answers"]
    both = left.join(right, on=list(KEY), suffix="_judge", maintain_order="left")
    apart = both.filter(pl.col("correct") != pl.col("correct_judge"))
    return apart.select(
        *KEY,
        (pl.col("value") - pl.col("value_judge")).abs().fill_null(0.0).alias("disputed"),
        _verdict(boxes, "correct").alias("boxes"),
        _verdict(judge, "correct_judge").alias("judge"),
    ).sort("disputed", descending=True, maintain_order=True)


def _verdict(protocol: str, column: str) -> pl.Expr:
    title = PROTOCOLS[protocol].title or protocol.replace("_", " ").capitalize()
    said = pl.when(pl.col(column)).then(pl.lit("right")).otherwise(pl.lit("wrong"))
    return pl.format("{}: {}", pl.lit(title), said)
