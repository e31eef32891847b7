"""Label files of other tools: what each says about an image, before it is matched to a run."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2i_spatial.errors import InputError
from t2i_spatial.incoming import read_text
from t2i_spatial.labels.records import NO, UNSURE, YES

WORDS = {
    **dict.fromkeys(("yes", "y", "true", "1", "pass", "right", "correct"), YES),
    **dict.fromkeys(("no", "n", "false", "0", "fail", "wrong", "incorrect"), NO),
    **dict.fromkeys(("unsure", "u", "undecidable", "cannot tell", "unknown", "maybe"), UNSURE),
}
"""Words of other tools for our answers."""

NAMES = ("image", "prompt_id", "sample", "question_id", "question", "annotator", "time", "pi")


@dataclass(frozen=True)
class Said:
    """One answer in a file of another tool.

    Attributes:
        where: file and line, for messages.
        label: yes, no or unsure.
        fields: those of `NAMES` that the file has. Without a question, it is about the whole image.
    """

    where: str
    label: str
    fields: dict[str, str]


def read_labels_of_others(path: Path) -> list[Said]:
    """The answers in a CSV of ours or of SpatialBench-UC, or in Label Studio's JSON export.

    CSV: a column `label` and either `prompt_id` and `sample`, or `image`; more of `NAMES` where
    they are known. Rows without a label are not labelled and left out.

    Raises:
        InputError: naming file and line: not such a file, or a word that is no answer.
    """
    text = read_text(path, "label file")
    if text.lstrip().startswith(("[", "{")):
        return list(_label_studio(text, path))
    return list(_csv(text, path))


def write_csv(rows: list[dict[str, Any]]) -> str:
    """Rows as CSV that `read_labels_of_others` reads."""
    buffer = io.StringIO()
    names = list(rows[0]) if rows else ["image", "prompt_id", "sample", "label"]
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: _inert(v) for k, v in row.items()} for row in rows)
    return buffer.getvalue()


def _csv(text: str, path: Path) -> Iterator[Said]:
    reader = csv.DictReader(io.StringIO(text))
    head = set(reader.fieldnames or ())
    strata = {"human_verdict", "stratum_size", "stratum_labelled"} <= head
    if not strata and ("label" not in head or not {"image", "prompt_id"} & head):
        raise InputError(
            f"{path}: expected the columns label and image (or prompt_id and sample), got "
            f"{', '.join(sorted(head)) or 'none'}"
        )
    for number, row in enumerate(reader, 2):
        where = f"{path}, line {number}"
        said = (row["human_verdict" if strata else "label"] or "").strip()
        if not said:
            continue
        if strata:
            yield Said(where, _word(said, where), _stratum(row, where))
        else:
            yield Said(where, _word(said, where), {k: v for k in NAMES if (v := row.get(k) or "")})


def _stratum(row: dict[str, Any], where: str) -> dict[str, str]:
    """SpatialBench-UC: so many of each stratum were labelled, drawn by chance."""
    try:
        pi = int(row["stratum_labelled"]) / int(row["stratum_size"])
    except (ValueError, TypeError, ZeroDivisionError):
        raise InputError(f"{where}: stratum_labelled and stratum_size must be numbers") from None
    return {"image": row["sample_id"], "pi": repr(pi)}


def _label_studio(text: str, path: Path) -> Iterator[Said]:
    try:
        tasks = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    tasks = tasks if isinstance(tasks, list) else [tasks]
    for number, task in enumerate(tasks, 1):
        where = f"{path}, task {number}"
        if not (isinstance(task, dict) and isinstance(task.get("data"), dict)):
            raise InputError(f"{where}: not a task of Label Studio (no data)")
        fields = {k: str(v) for k in NAMES if (v := task["data"].get(k)) is not None}
        for made in task.get("annotations") or ():
            if made.get("was_cancelled"):
                continue
            who = made.get("completed_by")
            who = who.get("id") if isinstance(who, dict) else who
            own = {} if who is None else {"annotator": str(who)}
            for result in made.get("result") or ():
                for choice in (result.get("value") or {}).get("choices") or ():
                    yield Said(where, _word(str(choice), where), {**fields, **own})


def _word(said: str, where: str) -> str:
    found = WORDS.get(said.strip().lower())
    if found is None:
        raise InputError(f"{where}: {said!r} is no answer; known: yes, no, unsure")
    return found


def _inert(value: Any) -> Any:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value
