"""What the report says in numbers: header, score tables, breakdowns, statuses and curation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.files import scan_table
from t2i_spatial.metrics.answers import judge_said
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.metrics.base import Metric as Judge
from t2i_spatial.metrics.tally import not_whole
from t2i_spatial.run import Run
from t2i_spatial.scene import RELATIONS
from t2i_spatial.tables import NOT_APPLICABLE, SCORED

FACTS: tuple[tuple[str, str, str], ...] = (
    ("Images from", "import", "images"),
    ("Model", "generate", "model"),
    ("Revision", "generate", "revision"),
    ("LoRA", "generate", "lora"),
    ("Steps", "generate", "steps"),
    ("Guidance", "generate", "guidance_scale"),
    ("Seed", "generate", "seed"),
    ("Detector", "detect", "detector"),
    ("Threshold", "detect", "threshold"),
    ("Second detector", "agree", "second"),
)
"""Header lines: label, stage and key of its plan in `run.json`."""


@dataclass(frozen=True)
class Metric:
    """One number with its interval; `value` in [0, 1] for rates, `None` when undefined."""

    name: str
    meaning: str
    value: float | None
    low: float | None
    high: float | None
    n_prompts: int | None
    n_images: int | None
    n_expected: int | None
    audited: str | None = None
    """What people's labels make of it, in words."""

    @property
    def is_rate(self) -> bool:
        """Whether the number can be drawn on an axis from 0 to 100 %."""
        return self.value is not None and 0 <= self.value <= 1


@dataclass(frozen=True)
class Breakdown:
    """One metric for every value of a grouping ("by_relation")."""

    group: str
    metric: str
    rows: tuple[Metric, ...]


@dataclass(frozen=True)
class Protocol:
    """What one protocol says about the run."""

    name: str
    metrics: tuple[Metric, ...]
    headlines: tuple[Metric, ...]
    breakdowns: tuple[Breakdown, ...]
    statuses: tuple[tuple[str, int], ...]
    not_whole: tuple[str, ...] = ()
    """What is said of prompts that were not judged whole."""
    judge: str | None = None
    """Whose answers it judges by."""
    measured: str | None = None
    """How far that judge is known to be right."""
    careful: tuple[str, ...] = ()
    """What a careful person would ask before believing the numbers."""

    @property
    def title(self) -> str:
        """The protocol's name as its authors write it."""
        kind = _declared(self.name)
        return (kind and kind.title) or self.name.replace("_", " ").capitalize()

    @property
    def n_expected(self) -> int:
        """Images that had to be scored: all but those that the protocol does not judge."""
        return sum(count for status, count in self.statuses if status != NOT_APPLICABLE)

    @property
    def n_scored(self) -> int:
        """Images that were scored."""
        return dict(self.statuses).get(SCORED, 0)


@dataclass(frozen=True)
class Curation:
    """How the selection came about: per filter the number dropped and one example reason."""

    n_candidates: int
    n_kept: int
    dropped: tuple[tuple[str, int, str], ...]


def read_protocols(run: Run) -> list[Protocol]:
    """Numbers of `summary.json` and status counts of the verdict tables, protocol by protocol.

    A protocol of which only one of the two exists is listed all the same. Unknown protocols and
    metrics are shown by their names.

    Raises:
        InputError: neither verdicts nor a summary, or a summary that is not JSON.
    """
    summary = _read_summary(run)
    tables = verdict_tables(run)
    if not summary and not tables:
        raise InputError(f"{run.path} has no verdicts yet; run `t2i-spatial score` first")
    protocols = []
    for name in dict.fromkeys([*summary, *tables]):
        numbers = summary.get(name, {})
        metrics = tuple(_metrics(name, numbers))
        statuses: tuple[tuple[str, int], ...] = ()
        if name in tables:
            counts = scan_table(tables[name]).group_by("status").len().collect(engine="streaming")
            statuses = tuple(sorted(counts.iter_rows(), key=lambda row: (-row[1], row[0])))
        images, judge = numbers.get("images"), numbers.get("judge")
        by = judge_said(judge) if isinstance(judge, Mapping) else None
        blind = numbers.get("baselines")
        said = tuple(not_whole(images)) if isinstance(images, Mapping) else ()
        if isinstance(blind, Mapping):
            told = ", ".join(f"{what} {100 * value:.1f} %" for what, value in blind.items())
            said += (f"A judge that looks at no picture: {told}",)
        found = _breakdowns(numbers)
        breakdowns = tuple(sorted(found, key=lambda b: (b.group != "relation", b.group)))
        known = numbers.get("measured")
        measured = str(known.get("said", "")) if isinstance(known, Mapping) else None
        careful = tuple(map(str, numbers.get("warnings", ())))
        about = (statuses, said, by, measured, careful)
        protocols.append(Protocol(name, metrics, metrics[:3], breakdowns, *about))
    return protocols


def verdict_tables(run: Run) -> dict[str, Path]:
    """Verdict files by protocol, in the order of `summary.json`, then by name."""
    paths = {path.stem: path for path in sorted((run.path / "verdicts").glob("*.parquet"))}
    summary = _read_summary(run)
    return {name: paths[name] for name in dict.fromkeys([*summary, *paths]) if name in paths}


def _read_summary(run: Run) -> dict[str, Any]:
    return {name: part for name, part in run.summary().items() if isinstance(part, dict)}


def _declared(protocol: str) -> type[Judge] | None:
    """The protocol's class, `None` when it is not installed here."""
    if protocol not in PROTOCOLS:
        return None
    return PROTOCOLS[protocol]


def _metrics(protocol: str, numbers: Mapping[str, Any]) -> Iterator[Metric]:
    kind = _declared(protocol)
    declared = kind.numbers if kind else {}
    for name, entry in numbers.items():
        if isinstance(entry, Mapping) and "value" in entry:
            rate = declared.get(name)
            yield _metric(name, rate.meaning if rate else "", entry)


def _breakdowns(numbers: Mapping[str, Any]) -> Iterator[Breakdown]:
    """`{"by_relation": {"left of": {"OA": {...}}}}` as one breakdown per metric."""
    for group, members in numbers.items():
        if not (isinstance(members, Mapping) and group.startswith("by_")):
            continue
        by_metric: dict[str, list[Metric]] = {}
        for member, entries in members.items():
            if not isinstance(entries, Mapping):
                continue
            if "value" in entries:
                by_metric.setdefault("value", []).append(_metric(member, "", entries))
            else:
                for metric, entry in entries.items():
                    if isinstance(entry, Mapping) and "value" in entry:
                        by_metric.setdefault(metric, []).append(_metric(member, "", entry))
        for metric in list(by_metric)[:3]:
            rows = tuple(sorted((row for row in by_metric[metric] if row.is_rate), key=_place))
            if rows:
                yield Breakdown(group.removeprefix("by_").replace("_", " "), metric, rows)


def _place(row: Metric) -> int:
    """Relations in the order of the vocabulary; everything else as it came."""
    return RELATIONS.index(row.name) if row.name in RELATIONS else len(RELATIONS)


def _metric(name: str, meaning: str, entry: Mapping[str, Any]) -> Metric:
    prompts, images, wanted = (
        _integer(entry.get(key)) for key in ("n_prompts", "n_images", "n_expected")
    )
    value, low, high = (_number(entry.get(key)) for key in ("value", "low", "high"))
    audited = _audited(entry.get("audited"))
    return Metric(str(name), meaning, value, low, high, prompts, images, wanted, audited)


def _audited(found: Any) -> str | None:
    if not isinstance(found, Mapping):
        return None
    value, low, high, n = (_number(found.get(key)) for key in ("value", "low", "high", "n"))
    if value is None or low is None or high is None or n is None:
        return None
    said = f"by {n:,.0f} labels {100 * value:.1f} ({100 * low:.1f} – {100 * high:.1f})"
    return said + (": the automatic number is outside" if found.get("drift") else "")


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _integer(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def read_facts(run: Run) -> list[tuple[str, str]]:
    """What made the run, for the header: `(label, value)` from the plans in `run.json`."""
    facts = []
    if run.has("prompts.parquet"):
        n_prompts = scan_table(run.path / "prompts.parquet").select(pl.len()).collect().item()
        facts.append(("Prompts", f"{n_prompts:,}"))
    for label, stage, key in FACTS:
        value = run.plan(stage).get(key)
        if isinstance(value, Mapping):
            value = value.get("name")
        if isinstance(value, str | int | float) and value != "":
            facts.append((label, str(value)))
    return facts


def read_curation(run: Run) -> Curation | None:
    """Counts of the selection table, or `None` when nothing has been curated."""
    if not run.has("selection.parquet"):
        return None
    selection = scan_table(run.path / "selection.parquet")
    counts = selection.select(pl.len(), pl.col("kept").sum())
    kept = counts.collect(engine="streaming").row(0)
    dropped = (
        selection.filter(~pl.col("kept"))
        .group_by(pl.col("filter").fill_null("unnamed"))
        .agg(pl.len().alias("n"), pl.col("reason").min().alias("example"))
        .sort(["n", "filter"], descending=[True, False])
        .collect(engine="streaming")
    )
    rows = tuple((name, n, example or "") for name, n, example in dropped.iter_rows())
    return Curation(int(kept[0]), int(kept[1] or 0), rows)
