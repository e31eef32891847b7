"""The runs that are looked at, opened once and read again when their tables change."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

import polars as pl

from t2i_spatial.errors import InputError, T2ISpatialError
from t2i_spatial.files import read_json
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.run import Run
from t2i_spatial.stages.auditing.labelled import PICKED
from t2i_spatial.view.index import (
    NO_PROTOCOL,
    Column,
    Index,
    Prompts,
    Rows,
    read_index,
    read_prompts,
)
from t2i_spatial.view.index import scan as scan_table
from t2i_spatial.view.query import Answer, Query, answer
from t2i_spatial.view.sides import flips, partners, witnesses

T = TypeVar("T")
MOST_KEPT = 24
"""Indexes, joins and answers that are kept at a time."""
AT_ONCE = 65_536
"""Rows of images.parquet whose file names are read together."""


class Library:
    """Runs by number, with everything that is derived from their tables."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = tuple(runs)
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = RLock()

    def run(self, number: int) -> Run:
        """One of the runs.

        Raises:
            InputError: there is none of that number.
        """
        if not 0 <= number < len(self.runs):
            raise InputError(f"there is no run {number}; there are {len(self.runs)}")
        return self.runs[number]

    def protocols(self, number: int) -> list[str]:
        """Protocols with verdicts: those of the summary first, in its order."""
        run = self.run(number)
        there = [path.stem for path in sorted((run.path / "verdicts").glob("*.parquet"))]
        try:
            summary = read_json(run.path / "summary.json") if run.has("summary.json") else {}
        except T2ISpatialError:
            summary = {}
        first = [name for name in summary if name in there] if isinstance(summary, dict) else []
        return list(dict.fromkeys([*first, *there]))

    def prompts(self, number: int) -> Prompts:
        """The prompts of a run."""
        run = self.run(number)
        stamp = _stamp(run.path / "prompts.parquet")
        return self._keep(("prompts", number, stamp), lambda: read_prompts(run))

    def index(self, number: int, protocol: str | None = None) -> Index:
        """The images of a run under a protocol; by default its first, or none if it has none.

        Raises:
            InputError: the run was not judged by that protocol.
        """
        run = self.run(number)
        known = self.protocols(number)
        if protocol is None:
            protocol = known[0] if known else NO_PROTOCOL
        if protocol not in known and protocol != NO_PROTOCOL:
            raise InputError(f"{run.path} was not judged by {protocol!r}; it has {known}")
        names = ("prompts.parquet", "images.parquet", "selection.parquet")
        verdicts = run.path / "verdicts" / f"{protocol}.parquet"
        stamps = tuple(_stamp(p) for p in (*(run.path / n for n in names), verdicts))
        prompts = self.prompts(number)
        return self._keep(
            ("index", number, protocol, stamps), lambda: read_index(run, prompts, protocol)
        )

    def partners(self, number: int, other: int, protocol: str | None) -> tuple[Index, Index, Rows]:
        """Two runs under the same protocol, and for each image of the first its row in the other.

        Raises:
            InputError: one of them was not judged by that protocol.
        """
        here = self.index(number, protocol)
        there = self.index(other, here.protocol)
        key = ("partners", id(here), id(there))
        return self._keep(key, lambda: (here, there, partners(here, there)))

    def answer(
        self,
        number: int,
        protocol: str | None,
        query: Query,
        *,
        other: int | None = None,
        with_witnesses: bool = False,
    ) -> tuple[Index, Answer]:
        """The images that a query means.

        Raises:
            InputError: see `t2i_spatial.view.query.answer`.
        """
        index = self.index(number, protocol)
        more: dict[str, Column] = {}
        if other is not None:
            here, there, rows = self.partners(number, other, protocol)
            key = ("flips", id(here), id(there))
            more["flip"] = self._keep(key, lambda: (here, there, flips(here, there, rows)))[2]
        asked = with_witnesses or "witnesses" in query.chosen or query.sort == "disagreement"
        if asked:
            names = [p for p in self.protocols(number) if p != index.protocol]
            others = [self.index(number, name) for name in names]
            key_w = ("witnesses", id(index), *map(id, others))
            found = self._keep(key_w, lambda: (index, others, witnesses(index, others)))
            more["witnesses"] = found[2]
        key_a = ("answer", id(index), other, asked, query.key)
        return self._keep(key_a, lambda: (index, answer(index, query, more)))

    def image_path(self, number: int, row: int) -> Path | None:
        """The file of a row of images.parquet; `None` where there is none.

        Raises:
            InputError: there is no such row.
        """
        run = self.run(number)
        stamp, near = _stamp(run.path / "images.parquet"), row // AT_ONCE
        images: pl.Series = self._keep(
            ("images", number, stamp, near),
            lambda: (
                scan_table(run, "images.parquet", ["image"])
                .slice(near * AT_ONCE, AT_ONCE)
                .collect()["image"]
            ),
        )
        place = row - near * AT_ONCE
        if row < 0 or place >= len(images):
            raise InputError(f"there is no image {row} in {run.path}")
        return None if images[place] is None else run.image_path(images[place])

    def stamps(self, number: int) -> tuple[Any, ...]:
        """Another one whenever prompts, images or picks of a run have changed."""
        path = self.run(number).path
        names = ("prompts.parquet", "images.parquet", PICKED)
        return tuple(_stamp(path / name) for name in names)

    def about(self, number: int) -> dict[str, Any]:
        """What the head of the page says of a run."""
        run = self.run(number)
        measured = _measured(run)
        judges = [path.stem for path in sorted((run.path / "answers").glob("*.parquet"))]
        return {
            "number": number,
            "name": run.path.resolve().name,
            "created": str(run.manifest.get("created", ""))[:10],
            "protocols": [
                {"name": n, "title": _title(n), "measured": measured.get(n)}
                for n in self.protocols(number)
            ],
            "prompts": len(self.prompts(number)),
            "images": len(self.index(number)),
            "judges": judges,
            "masks": run.has("masks/main.parquet"),
            "model": _said(run, "generate", "model"),
            "detector": _said(run, "detect", "detector"),
            "warnings": _warnings(run),
        }

    def _keep(self, key: Hashable, make: Callable[[], T]) -> T:
        """What was made before for that key; the least used is forgotten.

        Keys hold the identity of what a value was made from, so values keep that alive.
        """
        with self._lock:
            if key not in self._kept:
                made = make()
                self._kept[key] = made
                while len(self._kept) > MOST_KEPT + 8 * len(self.runs):
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            found: T = self._kept[key]
            return found


def _stamp(path: Path) -> tuple[int, int] | None:
    """Time of change and size: another stamp is another table."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def _title(protocol: str) -> str:
    title = PROTOCOLS[protocol].title if protocol in PROTOCOLS else ""
    return title or protocol.replace("_", " ")


def _said(run: Run, stage: str, key: str) -> str | None:
    value = run.plan(stage).get(key)
    return None if value is None else str(value)


def _measured(run: Run) -> dict[str, dict[str, Any]]:
    """What is known of the judges by whom protocols judge: `said` and `careful` of each."""
    try:
        summary = run.summary()
    except T2ISpatialError:
        return {}  # told by `_warnings`
    return {name: part["measured"] for name, part in summary.items() if part.get("measured")}


def _warnings(run: Run) -> list[str]:
    """Why the numbers may not be those of the pictures: half-made stages, replaced files."""
    said = []
    try:
        run.require_finished("generate", "import", "detect", "score", "agree")
        run.require_same_sources("score")
    except T2ISpatialError as error:
        said.append(str(error))
    return said
