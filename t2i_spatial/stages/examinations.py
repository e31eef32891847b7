"""What is known of a judge: kept for the user and with each run, found again, told in one line.

An examination belongs to one judge: its weights, or its address, model and revision, and its
precision. Another judge's is never shown.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError, T2ISpatialError
from t2i_spatial.files import read_json, write_json
from t2i_spatial.progress import note
from t2i_spatial.run import Run

KIND_OF = {
    "object": "exists",
    "left of": "left",
    "right of": "left",
    "above": "above",
    "below": "above",
    "larger than": "larger",
    "smaller than": "larger",
    "in front of": "in front",
    "behind": "in front",
    "color": "colour",
    "colour": "colour",
    "count": "count",
}
"""Skill of a question -> the kind of drawing that measures it."""
CHANCE = {"count": 1 / 6}
"""What guessing gets of a kind; of all others one half."""
NOTHING = {"said": "never measured (`t2i-spatial doctor --judge ... --run RUN`)", "careful": []}
NO_MODEL = {"said": "no model: boxes of the run, by the rules of `spatial`", "careful": []}
MOST_SKILLS = 6
"""Skills that no drawing measures, named in the line."""


def store() -> Path:
    """Where examinations are kept for the user: `T2I_SPATIAL_DATA`, or the user's data folder."""
    if own := os.environ.get("T2I_SPATIAL_DATA"):
        return Path(own) / "judges"
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "t2i-spatial" / "judges"


def who(plan: Mapping[str, Any]) -> dict[str, Any]:
    """What makes two judges the same, of a judge's or an ask stage's plan."""
    names = ("weights",) if plan.get("weights") else ("judge", "model", "revision")
    return {name: plan.get(name) for name in ("backend", *names, "dtype")}


def remember(page: Mapping[str, Any]) -> None:
    """Keep an examination as the last one of its judge; a folder that cannot be written is told."""
    path = _stored(page["judge"])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, page)
    except (OSError, T2ISpatialError) as error:
        note(f"what was found is not kept for other runs: {error}")


def keep(run: Run, name: str, page: Mapping[str, Any]) -> None:
    """Store an examination beside the answers of a judge.

    Raises:
        InputError: the answers of that name are another judge's.
    """
    known = run.plan(f"ask-{name}")
    if known and (other := _difference(known, page["judge"])):
        key, there, here = other
        raise InputError(
            f"the answers {name!r} of {run.path} are those of another judge: {key} is "
            f"{there!r} there, {here!r} here"
        )
    write_json(_place(run, name), page)


def adopt(run: Run, name: str, plan: Mapping[str, Any], given: Path | None = None) -> None:
    """Put what is known of a judge beside the answers that it is about to give.

    Args:
        plan: of the judge.
        given: a file of `doctor --judge --json`; by default the last examination of this judge,
            unless the run has one of it.

    Raises:
        InputError: a file that is no examination, or another judge's.
    """
    if given is not None:
        page = _read(given)
        if other := _difference(plan, page["judge"]):
            key, wanted, there = other
            raise InputError(
                f"{given} is the examination of another judge: {key} is {there!r} there, "
                f"{wanted!r} here"
            )
        write_json(_place(run, name), page)
        return
    if of_run(run, name, plan) is not None:
        return
    stored = _stored(plan)
    if not stored.is_file():
        return
    try:
        page = _read(stored)
    except T2ISpatialError as error:
        note(f"the last examination of this judge cannot be used: {error}")
        return
    if _difference(plan, page["judge"]) is None:
        write_json(_place(run, name), page)
        note(f"this judge was examined on {page.get('examined', 'an unknown day')}: {stored}")


def of_run(run: Run, name: str, plan: Mapping[str, Any]) -> dict[str, Any] | None:
    """The examination beside the answers of a run, if it is that of the judge who gave them.

    Raises:
        InputError: the file is no examination.
    """
    path = _place(run, name)
    if not path.exists():
        return None
    page = _read(path)
    return page if not plan or _difference(plan, page["judge"]) is None else None


def measured(page: Mapping[str, Any] | None, questions: pl.DataFrame) -> dict[str, Any]:
    """What an examination says of the numbers that are made of some questions.

    Args:
        page: the examination, if there is one.
        questions: QUESTIONS.

    Returns:
        `said`, one line for beside the numbers, and `careful`, a warning for each skill that the
        judge cannot be told from guessing at.
    """
    if page is None:
        return dict(NOTHING)
    asked = questions.select(
        pl.when(pl.col("kind") == "count")
        .then(pl.lit("count"))
        .otherwise(pl.col("skill").str.to_lowercase())
        .alias("skill")
    )["skill"]
    counts = {str(skill): count for skill, count in asked.drop_nulls().value_counts().iter_rows()}
    kinds: dict[str, int] = {}
    for skill, count in counts.items():
        if skill in KIND_OF:
            kinds[KIND_OF[skill]] = kinds.get(KIND_OF[skill], 0) + count
    found = page["accuracy"]
    told = [kind for kind in found if not kinds or kind in kinds]
    said = "on drawings " + ", ".join(f"{kind} {_share(found[kind])}" for kind in told)
    said += "".join(f"; on {entry['title']} {_headline(entry)}" for entry in _sets(page))
    never = [skill for skill in sorted(counts, key=counts.__getitem__) if skill not in KIND_OF]
    never += [kind for kind in kinds if kind not in found]
    if never:
        more = f" and {len(never) - MOST_SKILLS} more" if len(never) > MOST_SKILLS else ""
        said += f"; never: {', '.join(reversed(never[-MOST_SKILLS:]))}{more}"
    known = set(page.get("templates", ()))
    if other := sorted(set(questions["template"]) - known) if known else []:
        said += f"; in other words than here ({', '.join(other)})"
    careful = [
        f"the judge cannot be told from guessing at {kind} ({_share(found[kind])} on drawings), "
        f"which {kinds[kind]:,} of {len(questions):,} questions are about"
        for kind in told
        if kind in kinds and _guesses(kind, found[kind])
    ]
    return {"said": said, "careful": careful}


def _guesses(kind: str, found: Mapping[str, Any]) -> bool:
    return found.get("low") is not None and found["low"] <= CHANCE.get(kind, 0.5)


def _sets(page: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for entry in page.get("sets", {}).values():
        if entry.get("numbers"):
            yield entry


def _headline(entry: Mapping[str, Any]) -> str:
    return _share(next(iter(entry["numbers"].values())))


def _share(found: Mapping[str, Any]) -> str:
    if found.get("value") is None:
        return "undefined"
    value, low, high = (100 * found[key] for key in ("value", "low", "high"))
    return f"{value:.1f} % [{low:.1f}, {high:.1f}]"


def _difference(
    one: Mapping[str, Any], other: Mapping[str, Any]
) -> tuple[str, object, object] | None:
    """The first thing that two judges differ in, and what it is of each."""
    first, second = who(one), who(other)
    for key in dict.fromkeys((*first, *second)):
        if first.get(key) != second.get(key):
            return key, one.get(key), other.get(key)
    return None


def _read(path: Path) -> dict[str, Any]:
    page = read_json(path)
    needed: Sequence[str] = ("judge", "accuracy")
    if not isinstance(page, dict) or not all(isinstance(page.get(k), dict) for k in needed):
        raise InputError(f"{path} is no examination of a judge, as `doctor --judge --json` prints")
    return page


def _stored(plan: Mapping[str, Any]) -> Path:
    text = json.dumps(who(plan), sort_keys=True)
    return store() / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def _place(run: Run, name: str) -> Path:
    return run.path / "judges" / f"{name}.json"
