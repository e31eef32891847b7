"""Two judges on the same questions of one run: where they differ, and about which images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError, nearest
from t2i_spatial.files import read_table
from t2i_spatial.metrics.answers import shares_right
from t2i_spatial.questions import QUESTIONS
from t2i_spatial.run import Run
from t2i_spatial.statistics.audit import agreement
from t2i_spatial.tables import KEY, conform

MOST_SHOWN = 20
SHARED = (*KEY, "question_id")


@dataclass(frozen=True)
class JudgeComparison:
    """How two judges differ on what both answered.

    Attributes:
        names: of their answers.
        skills: skill -> questions, share right by either, the shift (second minus first), and
            kappa of right and wrong with its interval, where it is defined.
        unusable: answers of either that cannot be used where the other's can.
        disputed: `prompt_id, sample, questions, disputed`, most disputed first.
    """

    names: tuple[str, str]
    skills: dict[str, dict[str, Any]]
    unusable: tuple[int, int]
    disputed: pl.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "judges": list(self.names),
            "skills": self.skills,
            "unusable": list(self.unusable),
            "disputed": self.disputed.to_dicts(),
        }


def compare_judges(run: Run, first: str, second: str) -> JudgeComparison:
    """Compare the answers of two judges to the questions that have a right answer.

    Raises:
        InputError: no answers of such a name, or no question that both were asked.
    """
    left, right = (_right(run, name) for name in (first, second))
    both = left.join(right, on=SHARED, suffix="_second", maintain_order="left")
    if both.is_empty():
        raise InputError(f"{first} and {second} were asked no question in common")
    usable = both.drop_nulls(["right", "right_second"]).with_columns(
        (pl.col("right") > 0.5).alias("yes"), (pl.col("right_second") > 0.5).alias("yes_second")
    )
    skills = {
        str(skill): _shift(table)
        for (skill,), table in usable.sort("skill", nulls_last=True).group_by(
            "skill", maintain_order=True
        )
    }
    disputed = (
        usable.group_by(*KEY, maintain_order=True)
        .agg(
            pl.len().alias("questions"),
            (pl.col("yes") != pl.col("yes_second")).sum().alias("disputed"),
        )
        .filter(pl.col("disputed") > 0)
        .sort("disputed", descending=True, maintain_order=True)
    )
    lost = (
        both.filter(pl.col(a).is_null() & pl.col(b).is_not_null()).height
        for a, b in (("right", "right_second"), ("right_second", "right"))
    )
    a, b = lost
    return JudgeComparison((first, second), {"all": _shift(usable), **skills}, (a, b), disputed)


def _right(run: Run, name: str) -> pl.DataFrame:
    known = sorted(path.stem for path in (run.path / "answers").glob("*.parquet"))
    if name not in known:
        raise InputError(f"{run.path} has no answers {name!r}; {nearest(name, known)}")
    path = run.path / "questions" / f"{name}.parquet"
    if not path.exists():
        raise InputError(f"{run.path} has no questions/{name}.parquet; `ask` writes it")
    questions = conform(read_table(path), QUESTIONS, path.name)
    asked = run.answers(name).join(questions, on=["prompt_id", "question_id"])
    skills = questions.select("prompt_id", "question_id", "skill")
    return shares_right(asked).join(skills, on=["prompt_id", "question_id"], maintain_order="left")


def _shift(table: pl.DataFrame) -> dict[str, Any]:
    a, b = (
        float(table[name].to_numpy().mean()) if len(table) else 0.0
        for name in ("right", "right_second")
    )
    words = [["right" if y else "wrong" for y in table[name]] for name in ("yes", "yes_second")]
    kappa = agreement(words[0], words[1], table["prompt_id"].to_list())["kappa"]
    return {"questions": len(table), "first": a, "second": b, "shift": b - a, "kappa": kappa}


def as_text(found: JudgeComparison) -> str:
    """For a person."""
    first, second = found.names
    lines = [f"share of right answers, % (second is {second}, first is {first})"]
    for skill, numbers in found.skills.items():
        kappa = numbers["kappa"]
        agreed = "undefined" if kappa is None else "{:.2f} ({:.2f} to {:.2f})".format(*kappa)
        lines.append(
            f"  {skill:<14} {100 * numbers['first']:5.1f} {100 * numbers['second']:5.1f} "
            f"{100 * numbers['shift']:+6.1f}  kappa {agreed}, {numbers['questions']:,} questions"
        )
    lines += [
        f"{count:,} answers of {name} cannot be used where the other's can"
        for name, count in zip(found.names, found.unusable, strict=True)
        if count
    ]
    lines.append(f"{len(found.disputed):,} images are disputed")
    for prompt_id, sample, questions, disputed in found.disputed.head(MOST_SHOWN).iter_rows():
        lines.append(f"  {prompt_id} sample {sample}: {disputed} of {questions} questions")
    return "\n".join(lines)
