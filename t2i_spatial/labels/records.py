"""The label file: JSON lines that only grow, one line per answer of one person to one question.

A line is on disk before `append_label` returns. Nothing is ever changed: who answers again, or
takes an answer back (`withdrawn`), adds a line, and the last line of an annotator about an image
and a question counts. Several people write into files of their own or into one file.
"""

from __future__ import annotations

import datetime
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError, T2ISpatialError
from t2i_spatial.incoming import read_bytes
from t2i_spatial.locations import is_remote, locate
from t2i_spatial.progress import note

PROTOCOL_VERSION = "1"
"""Of the way people are asked: another wording or order is another version."""

YES, NO, UNSURE, WITHDRAWN = ANSWERS = ("yes", "no", "unsure", "withdrawn")

try:
    import fcntl
except ImportError:  # Windows: one writer per file there
    fcntl = None  # type: ignore[assignment]


def now() -> str:
    """This moment as labels state it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, kw_only=True)
class Label:
    """What one person said about one question on one image.

    Attributes:
        image: as in `images.parquet` of the run.
        image_sha256: of the file that the person saw.
        prompt_id, sample: which image it is; without `sample`, `image` says it.
        question_id: `Question.id`, as in tables of answers.
        label: one of `ANSWERS`.
        annotator: any word that tells people apart; no name is needed.
        time: ISO 8601.
        picker, pi, batch, seed: how the image was chosen, and with which probability; null for
            images that nobody chose by chance.
        protocol_version: of the way people are asked.
        question: its text, for a reader.
    """

    image: str
    image_sha256: str | None
    prompt_id: str
    question_id: str
    label: str
    annotator: str
    sample: int | None = None
    time: str = field(default_factory=now)
    picker: str | None = None
    pi: float | None = None
    batch: int | None = None
    seed: int | None = None
    protocol_version: str = PROTOCOL_VERSION
    question: str | None = None

    def __post_init__(self) -> None:
        if self.label not in ANSWERS:
            raise InputError(f"a label is one of {', '.join(ANSWERS)}, got {self.label!r}")
        if not self.annotator.strip():
            raise InputError("a label needs an annotator")
        if self.pi is not None and not 0 < self.pi <= 1:
            raise InputError(f"pi must be in (0, 1], got {self.pi!r}")
        digest = self.image_sha256
        if digest is not None and not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise InputError(f"image_sha256 is no SHA-256: {digest!r}")


_TYPES: dict[str, Any] = {"sample": pl.Int32, "pi": pl.Float64, "batch": pl.Int32, "seed": pl.Int64}
LABELS = pl.Schema({f.name: _TYPES.get(f.name, pl.String) for f in fields(Label)})
"""One row per line of a label file."""

_KINDS: dict[str, tuple[type, ...]] = {
    "sample": (int,),
    "batch": (int,),
    "seed": (int,),
    "pi": (int, float),
}
_NEEDED = ("image", "prompt_id", "question_id", "label", "annotator")


def append_label(path: str | Path, *labels: Label) -> None:
    """Add lines to a label file, and return when they are on disk.

    A last line that a killed process left half written is ended first, so that it spoils no other.

    Raises:
        T2ISpatialError: the file cannot be written.
    """
    path = locate(path)
    lines = "".join(json.dumps(asdict(label), ensure_ascii=False) + "\n" for label in labels)
    if is_remote(path):
        path.append_lines(lines.encode())
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        with path.open("a+b") as file:
            if fcntl is not None:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX)
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
                if file.read(1) != b"\n":
                    lines = "\n" + lines
            file.write(lines.encode())
            file.flush()
            os.fsync(file.fileno())
        if is_new and fcntl is not None:  # the name of a new file is on disk only with its folder
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise T2ISpatialError(f"cannot write {path}: {error.strerror or error}") from error


def label_files(run: Path) -> list[Path]:
    """The label files of a run directory: `labels/*.jsonl`, by name."""
    return sorted((run / "labels").glob("*.jsonl"))


def read_labels(paths: Iterable[str | Path]) -> pl.DataFrame:
    """LABELS of one or several files, in their order, withdrawn ones included.

    A line that was cut off by a kill is left out with a note: it is the last one, or the last one
    before somebody went on.

    Raises:
        InputError: naming file and line: no JSON object, a field missing or of another kind.
    """
    rows: list[dict[str, Any]] = []
    for path in map(locate, paths):
        text = _text(path)
        lines = text.split("\n")
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                if number == len(lines) or _is_cut(line):
                    note(f"{where}: half written, left out; everything before it is used")
                    continue
                raise InputError(f"{where}: not JSON ({error})") from None
            rows.append(asdict(_label(record, where)))
    return pl.DataFrame(rows, schema=LABELS)


def last_words(labels: pl.DataFrame) -> pl.DataFrame:
    """Per image, question and annotator the line that counts; withdrawn ones are gone.

    The same answer twice is counted once; of contradictory ones the last counts. Both are noted.
    """
    key = ["prompt_id", "sample", "question_id", "annotator"]
    said = labels.with_row_index("line").sort("line")
    answers = said.filter(pl.col("label") != WITHDRAWN)
    groups = answers.group_by(key).agg(pl.len(), pl.col("label").n_unique().alias("kinds"))
    twice = int(((groups["len"] > 1) & (groups["kinds"] == 1)).sum())
    contradictory = int((groups["kinds"] > 1).sum())
    if twice:
        note(f"{twice:,} labels were given twice by the same annotator, and count once")
    if contradictory:
        note(f"{contradictory:,} labels were changed by their annotator: the last one counts")
    return (
        said.unique(key, keep="last", maintain_order=True)
        .filter(pl.col("label") != WITHDRAWN)
        .drop("line")
    )


def labels_hash(paths: Sequence[Path]) -> str:
    """SHA-256 over the label files, in the order of their names."""
    import hashlib

    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda p: p.name):
        digest.update(read_bytes(path))
    return digest.hexdigest()


def _text(path: Path) -> str:
    data = read_bytes(path, "label file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if b"\n" not in data[error.start :]:  # cut off within a letter
            return data[: error.start].decode("utf-8-sig")
        raise InputError(f"{path}: not UTF-8 text ({error.reason})") from None


def _is_cut(line: str) -> bool:
    """Whether a line is the beginning of a record of ours."""
    return line.startswith('{"image"') and not line.rstrip().endswith("}")


def _label(record: Any, where: str) -> Label:
    if not isinstance(record, dict):
        raise InputError(f"{where}: expected a JSON object")
    if lacking := [name for name in _NEEDED if record.get(name) is None]:
        raise InputError(f"{where}: no {lacking[0]!r}")
    known = {name: record[name] for name in LABELS if record.get(name) is not None}
    for name, value in known.items():
        kinds = _KINDS.get(name, (str,))
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise InputError(f"{where}: {name} is {value!r}, expected {kinds[-1].__name__}")
    try:
        return Label(**{"image_sha256": None, "time": "", **known})
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
