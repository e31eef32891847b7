"""The numbers of a run, corrected by what people say of some of its images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from t2i_spatial.errors import InputError, nearest
from t2i_spatial.files import write_json
from t2i_spatial.labels.people import asks
from t2i_spatial.labels.records import NO, UNSURE, YES, labels_hash
from t2i_spatial.locations import locate
from t2i_spatial.metrics.base import PROTOCOLS, Metric
from t2i_spatial.metrics.numbers import Rate, rate_rows, tag_weights
from t2i_spatial.metrics.tally import members_of
from t2i_spatial.progress import note
from t2i_spatial.run import Run, writes_run
from t2i_spatial.stages.auditing.errors_found import error_sources
from t2i_spatial.stages.auditing.labelled import FEWEST, Labelled, read_labelled
from t2i_spatial.stages.auditing.settings import AuditSettings
from t2i_spatial.statistics.audit import Anchor, Audited, agreement, anchor, interval, ratio
from t2i_spatial.statistics.intervals import Floats
from t2i_spatial.tables import KEY, NOT_APPLICABLE

STAGE_FILE = "audit.json"
RARE = 5
"""Labels of the rarer answer below which there is no audited number."""
UNFINISHED = 0.05
"""Share of labelled images with questions left open above which the rest is no random part."""
DEFAULTS = AuditSettings()
AUDITED_GROUPS = ("relation", "tag")


@dataclass(frozen=True)
class AuditReport:
    """Everything `audit` says.

    Attributes:
        facts: target, labels, annotators, hash of the label files.
        protocols: name -> numbers, agreement with people, errors and breakdowns.
    """

    facts: dict[str, Any]
    protocols: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def first(self) -> dict[str, Any] | None:
        """The first audited number, `None` where none could be."""
        entries = [e for p in self.protocols.values() for e in p["numbers"].values()]
        return next((e for e in entries if e["value"] is not None), None)

    def to_json(self) -> dict[str, Any]:
        """The same as plain data."""
        return dataclasses.asdict(self)


def audit_run(
    run: Run,
    settings: AuditSettings = DEFAULTS,
    *,
    save: bool = True,
) -> AuditReport:
    """Audit every number that people's answers can correct.

    Args:
        save: write `audit.json`, and the audited numbers beside the automatic ones in
            `summary.json`.

    Raises:
        InputError: no scores, or what `read_labelled` refuses, or fewer than 50 labelled images.
    """
    if not run.plan("score"):
        raise InputError(f"{run.path} has no scores yet; run `t2i-spatial score` first")
    labelled = read_labelled(run, settings.labels, assume_uniform=settings.assume_uniform)
    if len(labelled.truths) < FEWEST:
        raise InputError(
            f"{len(labelled.truths):,} images are labelled, and an audit needs {FEWEST}: intervals "
            "of so few labels do not hold what they promise"
        )
    witnesses = read_witnesses(run, labelled, settings.witnesses)
    report = AuditReport(_facts(labelled, settings), {})
    for name in run.plan("score"):
        if name in PROTOCOLS:
            report.protocols[name] = _audit_protocol(run, name, labelled, witnesses, settings)
    if save:
        _save(run, report)
    return report


@dataclass(frozen=True)
class Rows:
    """Images of one protocol with what it and people say, in one order.

    Attributes:
        table: the verdicts, joined with `Truth` and `pi`.
        metric: the protocol.
        witnesses: (n, k) further scores.
    """

    table: pl.DataFrame
    metric: type[Metric]
    witnesses: Floats

    @property
    def clusters(self) -> pl.Series:
        """The prompt of every row."""
        return self.table["prompt_id"]

    @property
    def pi(self) -> Floats:
        """Probability of having been chosen; NaN without labels."""
        return self.table["pi"].cast(pl.Float64).to_numpy()

    def labels(self, of: str, unsure: float = 0.0) -> Floats:
        """1 for yes, 0 for no, NaN without a label."""
        words = {YES: 1.0, NO: 0.0, UNSURE: unsure}
        return self.table[of].replace_strict(words, default=None).cast(pl.Float64).to_numpy()

    def keep(self, at: pl.Series) -> Rows:
        """Some of the rows."""
        return Rows(self.table.filter(at), self.metric, self.witnesses[at.to_numpy()])


def protocol_rows(
    run: Run, name: str, labelled: Labelled, witnesses: pl.DataFrame | None = None
) -> Rows:
    """The images of a run that exist, under one protocol."""
    verdicts = run.verdicts(name)
    truths = labelled.truths
    table = labelled.images.select(*KEY).join(verdicts, on=KEY, how="inner", maintain_order="left")
    table = table.join(truths, on=KEY, how="left", maintain_order="left")
    more = np.zeros((len(table), 0))
    if witnesses is not None and len(witnesses.columns) > len(KEY):
        found = table.select(*KEY).join(witnesses, on=KEY, how="left", maintain_order="left")
        own = [c for c in found.columns if c not in (*KEY, name)]
        if own:
            more = found.select(own).cast(pl.Float64).to_numpy()
    return Rows(table, PROTOCOLS[name], more)


def number_anchor(rows: Rows, rate: Rate, unsure: float = 0.0) -> Anchor:
    """One number of a protocol, anchored at the labels.

    Raises:
        InputError: saying why it has no audited value.
    """
    asked = asks(rate)
    if isinstance(asked, str):
        raise InputError(asked)
    above, below = rate_rows(rows.table, rows.metric.parts, rate)
    pi = rows.pi
    applies = (rows.table["status"] != NOT_APPLICABLE).to_numpy()
    if asked[1] is not None:
        size = applies.astype(np.float64)
        y_above = rows.labels(asked[0], unsure)
        y_below = np.maximum(rows.labels(asked[1], unsure), y_above)
        y_above = np.where(np.isnan(y_below), np.nan, y_above)
        _require_labels(y_above, size, rows.table[asked[0]])
        parts = [
            anchor(y, _columns(rows, f, rate), pi, rows.clusters, size=size)
            for y, f in ((y_above, above), (y_below, below))
        ]
        return ratio(*parts)
    size = below * tag_weights(below, rows.table["tag"]) if rate.by_tag else below
    y = rows.labels(asked[0], unsure)
    _require_labels(y, size, rows.table[asked[0]], rows.table["pi"])
    score = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return anchor(y, _columns(rows, score, rate), pi, rows.clusters, size=size)


def _columns(rows: Rows, score: Floats, rate: Rate) -> Floats:
    """The number's own score; the probability behind a verdict; the other witnesses."""
    columns = [score]
    if rate.numerator == "correct" and rate.denominator is None:
        soft = rows.table["value"].fill_null(0.0).clip(0, 1).to_numpy()
        if not np.array_equal(soft, score):
            columns.append(soft)
    return np.column_stack([*columns, rows.witnesses])


def _require_labels(y: Floats, size: Floats, said: pl.Series, pi: pl.Series | None = None) -> None:
    seen = ~np.isnan(y) & (size > 0)
    n, right = int(seen.sum()), int((y[seen] > 0.5).sum())
    if pi is not None:
        touched = int((pi.is_not_null().to_numpy() & (size > 0)).sum())
        if touched - n > UNFINISHED * touched:
            raise InputError(
                f"{touched - n} of {touched} labelled images were not asked everything"
            )
    if n < FEWEST:
        raise InputError(f"{n} labels, {FEWEST} are needed")
    if min(right, n - right) < RARE:
        raise InputError(f"{right} yes and {n - right} no, {RARE} of either are needed")


def audited_entry(
    rows: Rows, rate: Rate, settings: AuditSettings, automatic: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A number with its audited value, or the reason why there is none."""
    try:
        low = number_anchor(rows, rate)
        found = interval(low, rows.pi, rows.clusters, target=settings.target)
        high = number_anchor(rows, rate, unsure=1.0)
    except InputError as error:
        value = (automatic or {}).get("value") if automatic is not None else _automatic(rows, rate)
        return {"automatic": value, "value": None, "reason": str(error)}
    entry = entry_of(found)
    entry["if_unsure_right"] = float(np.clip(high.value, 0, 1))
    entry["explained"] = low.explained
    return entry


def _automatic(rows: Rows, rate: Rate) -> float | None:
    above, below = rate_rows(rows.table, rows.metric.parts, rate)
    return float(above.sum() / below.sum()) if below.sum() > 0 else None


def entry_of(found: Audited) -> dict[str, Any]:
    """An audited number as plain data."""
    entry = dataclasses.asdict(found)
    entry["weights"] = list(found.weights)
    if not np.isfinite(entry["automatic"]):
        entry["automatic"] = None
    return entry


def _audit_protocol(
    run: Run, name: str, labelled: Labelled, witnesses: pl.DataFrame, settings: AuditSettings
) -> dict[str, Any]:
    rows = protocol_rows(run, name, labelled, witnesses)
    kind = rows.metric
    summary = run.summary().get(name, {})
    numbers = {
        number: audited_entry(rows, rate, settings, summary.get(number))
        for number, rate in kind.numbers.items()
    }
    part: dict[str, Any] = {"numbers": numbers, **people_and_verdicts(rows)}
    part["errors"] = error_sources(run, name, rows.table)
    main = next((n for n, e in numbers.items() if e["value"] is not None), None)
    if main is None:
        return part
    for group in AUDITED_GROUPS:
        members = members_of(group, run.prompts())
        found = {}
        for (member,), chosen in members.group_by("member", maintain_order=True):
            at = rows.clusters.is_in(chosen["prompt_id"].implode())
            if at.any():
                entry = audited_entry(rows.keep(at), kind.numbers[main], settings)
                found[str(member)] = {main: entry}
        if len(found) > 1:
            part[f"by_{group}"] = found
    return part


def people_and_verdicts(rows: Rows) -> dict[str, Any]:
    """How verdicts and people agree about images, every label weighted by one over its chance.

    `confusion` holds shares of all images: automatic verdict, then people's.
    """
    table = rows.table.filter(pl.col("image").is_not_null() & (pl.col("status") != NOT_APPLICABLE))
    if table.is_empty():
        return {"agreement": None, "recall": None, "specificity": None, "confusion": {}}
    weight = 1 / table["pi"].to_numpy()
    weight = weight / weight.sum()
    judged = table["correct"].fill_null(False).to_numpy()
    said = table["image"].to_numpy()
    cells = {
        f"{word}/{people}": float(weight[(judged == is_right) & (said == people)].sum())
        for word, is_right in (("right", True), ("wrong", False))
        for people in (YES, NO, UNSURE)
    }
    yes = cells["right/yes"] + cells["wrong/yes"]
    no = cells["right/no"] + cells["wrong/no"]
    return {
        "agreement": (cells["right/yes"] + cells["wrong/no"]) / (yes + no) if yes + no else None,
        "recall": cells["right/yes"] / yes if yes else None,
        "specificity": cells["wrong/no"] / no if no else None,
        "unsure": cells["right/unsure"] + cells["wrong/unsure"],
        "confusion": cells,
    }


def read_witnesses(run: Run, labelled: Labelled, names: Sequence[str]) -> pl.DataFrame:
    """`prompt_id, sample` and one column of values per witness.

    Raises:
        InputError: neither a protocol that the run was scored by nor a scored run.
    """
    table = labelled.images.select(*KEY)
    scored = run.plan("score")
    for name in names:
        if name in scored:
            sources = {name: run.verdicts(name)}
        elif (locate(name) / "run.json").is_file():
            other = Run.open(name)
            sources = {f"{name}:{p}": other.verdicts(p) for p in other.plan("score")}
        else:
            raise InputError(f"no witness {name!r}: neither a run nor a protocol; "
                             f"{nearest(name, scored)}")  # fmt: skip
        for column, verdicts in sources.items():
            values = verdicts.select(*KEY, pl.col("value").alias(column))
            table = table.join(values, on=KEY, how="left", maintain_order="left")
    return table


def annotators(labels: pl.DataFrame) -> dict[str, Any]:
    """Who labelled how much, and how far those who answered the same questions agree."""
    counts = labels.group_by("annotator").len().sort("annotator").rows()
    key = [*KEY, "question_id"]
    first: list[str] = []
    second: list[str] = []
    prompts: list[str] = []
    several = labels.filter(pl.struct(key).is_duplicated()).sort([*key, "annotator"])
    for keys, group in several.group_by(key, maintain_order=True):
        for a, b in combinations(group["label"], 2):
            first.append(a)
            second.append(b)
            prompts.append(str(keys[0]))
    found = agreement(first, second, prompts)
    return {"labels": dict(counts), "pairs": len(first), **found}


def _facts(labelled: Labelled, settings: AuditSettings) -> dict[str, Any]:
    people = annotators(labelled.labels)
    raw = people["raw"]
    picks = labelled.labels["picker"].drop_nulls().unique().sort().to_list()
    return {
        "target": settings.target,
        "images": len(labelled.images),
        "labelled": len(labelled.truths),
        "labels": len(labelled.labels),
        "pickers": picks,
        "labels_sha256": labels_hash(labelled.files),
        "witnesses": list(settings.witnesses),
        "annotators": people,
        # an annotator who errs this often moves an audited number towards one half
        "rater_error": None if raw is None else (1 - raw[0]) / 2,
    }


@writes_run
def _save(run: Run, report: AuditReport) -> None:
    write_json(run.path / STAGE_FILE, report.to_json())
    run.write_summary(with_audited(run.summary(), report))


def with_audited(summary: Mapping[str, Any], report: AuditReport) -> dict[str, Any]:
    """A summary with `audited` beside every number that people's answers correct."""
    result = {name: dict(part) for name, part in summary.items()}
    for name, part in report.protocols.items():
        for number, entry in part["numbers"].items():
            if entry["value"] is None or number not in result.get(name, {}):
                continue
            kept = ("value", "low", "high", "n", "drift")
            audited = {key: entry[key] for key in kept} | {"target": report.facts["target"]}
            result[name][number] = {**result[name][number], "audited": audited}
    return result


def audit_again(run: Run) -> None:
    """After scoring: audited numbers beside the new ones, where somebody has labelled images."""
    try:
        audit_run(run)
    except InputError as error:
        note(f"no audited numbers: {error}")
