"""The compare stage: two runs of the same prompts, what they did differently, then the numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from t2i_spatial.errors import IncompleteRunError, InputError, T2ISpatialError, nearest
from t2i_spatial.metrics.answers import judge_said
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.metrics.numbers import (
    Intervals,
    Numbers,
    Rate,
    into_unit,
    per_prompt,
    rate_rows,
    tag_weights,
)
from t2i_spatial.notebook import html_table, percent
from t2i_spatial.run import Run
from t2i_spatial.stages.differences import Difference, incomparable, run_differences
from t2i_spatial.statistics.intervals import Floats, cluster_codes
from t2i_spatial.statistics.paired import Difference as PairedDifference
from t2i_spatial.statistics.paired import paired_difference
from t2i_spatial.statistics.power import prompts_needed, sd_of_pilot
from t2i_spatial.statistics.sequential import StopResult, prompt_order, stop_at_decision
from t2i_spatial.tables import KEY, NOT_APPLICABLE, SCORED

TWO_POINTS = 0.02
RESAMPLES = Intervals(resamples=10_000)


class IncomparableRunsError(T2ISpatialError):
    """The runs were not measured in the same way: their difference is no result."""


@dataclass(frozen=True)
class Pairs:
    """How the images of two runs were paired.

    Attributes:
        prompts, images: pairs that the protocol applies to.
        only_a, only_b: images that the other run does not have.
        unscored_a, unscored_b: images among the pairs without a score.
    """

    prompts: int
    images: int
    only_a: int
    only_b: int
    unscored_a: int
    unscored_b: int


Groups = dict[str, dict[str, dict[str, PairedDifference]]]


@dataclass(frozen=True)
class ProtocolComparison:
    """Two runs under one protocol.

    Attributes:
        pairs: how the images were paired.
        numbers: published name -> paired difference.
        prompts_for_two_points: prompts (of as many images as here) that would show a difference
            of two points of `main` in four of five comparisons; `None` when undefined.
        decision: with `--decide`, when a sequential look would have stopped.
        main: the number that these two are about.
        groups: the asked breakdowns: group -> member -> name -> paired difference.
        judge: whose answers both were judged by.
    """

    pairs: Pairs
    numbers: dict[str, PairedDifference]
    prompts_for_two_points: int | None
    decision: StopResult | None = None
    main: str | None = None
    groups: Groups = field(default_factory=dict)
    judge: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Everything `compare` says."""

    a: str
    b: str
    differences: list[Difference]
    protocols: dict[str, ProtocolComparison] = field(default_factory=dict)

    @property
    def comparable(self) -> bool:
        """Whether the numbers measure the same thing."""
        return not incomparable(self.differences)

    def require_comparable(self) -> None:
        """Raise unless the runs were measured in the same way.

        Raises:
            IncomparableRunsError: naming what differs.
        """
        if not self.comparable:
            what = "; ".join(str(d) for d in incomparable(self.differences))
            raise IncomparableRunsError(
                f"the runs were not measured alike, so their difference is no result ({what}); "
                "detect or ask, and score, both in the same way on the same prompts"
            )

    def require_complete(self) -> None:
        """Raise unless every image of both runs was scored and has a partner.

        Raises:
            IncompleteRunError: saying how many are not.
        """
        for name, part in self.protocols.items():
            pairs = part.pairs
            unscored, alone = pairs.unscored_a + pairs.unscored_b, pairs.only_a + pairs.only_b
            if unscored or alone:
                raise IncompleteRunError(
                    f"{name}: {unscored:,} images without a score count as failures and {alone:,} "
                    "without a partner are left out; make them, or use --allow-missing"
                )

    def _repr_html_(self) -> str:
        """The paired differences in points, for a notebook."""
        rows = [
            (name, number, *percent(vars(d)), "–" if d.p is None else f"{d.p:.2g}")
            for name, part in self.protocols.items()
            for number, d in part.numbers.items()
        ]
        said = f"{self.b} − {self.a}"
        if not self.comparable:
            said += ": not measured alike (" + "; ".join(map(str, self.differences)) + ")"
        return html_table(said, ("protocol", "number", "points", "95 %", "p"), rows)

    def to_json(self) -> dict[str, Any]:
        """The same as plain data."""
        data = dataclasses.asdict(self)
        return {"comparable": self.comparable, **data}


def compare_runs(
    a: Path,
    b: Path,
    protocols: Sequence[str] = (),
    intervals: Intervals = RESAMPLES,
    *,
    shared_prompts: bool = False,
    by: Sequence[str] = (),
    decide: bool = False,
    margin: float = TWO_POINTS,
) -> Comparison:
    """Compare run `b` with run `a`; numbers only when they were measured alike.

    Args:
        protocols: names; default: all that both were scored by.
        intervals: `allow_missing` leaves pairs without both scores out, instead of counting an
            image without a score as a failure; seed and resamples are those of bootstrap,
            permutation and random order.
        shared_prompts: compare on the prompts of the same id and text, where the sets differ.
        by: breakdowns that are wanted too ("relation", "object", "tag"), of the protocols that
            have them.
        decide: also look at the pairs in random order until the better run is known.
        margin: for `decide`, differences that are of no interest.

    Raises:
        InputError: a run without scores, no protocol in common or with such a breakdown, an image
            twice, or no pairs.
    """
    runs = Run.open(a), Run.open(b)
    names = _protocols(*runs, protocols)
    for group in by:
        if not any(group in PROTOCOLS[name].groups for name in names):
            raise InputError(f"{', '.join(names)}: no numbers by {group}")
    differences = run_differences(*runs, names, shared_prompts=shared_prompts)
    comparison = Comparison(str(a), str(b), differences)
    if not comparison.comparable:
        return comparison
    shared = _shared_prompts(*runs) if shared_prompts else None
    for name in names:
        tables = [_verdicts(run, name) for run in runs]
        if shared is not None:
            tables = [table.join(shared, on="prompt_id", how="semi") for table in tables]
        pairs = join_verdicts(tables[0], tables[1], name)
        part = compare_pairs(pairs, name, intervals, decide=decide, margin=margin)
        groups = group_differences(pairs, name, runs[0].prompts(), by, intervals)
        facts = runs[0].plan("score")[name].get("judge")
        judge = judge_said(facts) if facts else None
        comparison.protocols[name] = dataclasses.replace(part, groups=groups, judge=judge)
    return comparison


@dataclass(frozen=True)
class JoinedVerdicts:
    """Verdicts of two runs, row i of one beside row i of the other.

    Attributes:
        a, b: VERDICTS of the same prompts and samples, sorted by both.
        only_a, only_b: rows that had no partner.
    """

    a: pl.DataFrame
    b: pl.DataFrame
    only_a: int
    only_b: int


def join_verdicts(a: pl.DataFrame, b: pl.DataFrame, what: str = "verdicts") -> JoinedVerdicts:
    """Pair two VERDICTS tables of one protocol by prompt and sample.

    Raises:
        InputError: an image occurs twice, or nothing can be paired.
    """
    for label, table in (("A", a), ("B", b)):
        keys = table.select(KEY)
        if keys.is_duplicated().any():
            twice = keys.filter(keys.is_duplicated()).row(0)
            raise InputError(f"{what}: run {label} has the same image twice: {twice}")
    left = a.join(b, on=KEY, how="semi").sort(KEY)
    right = b.join(a, on=KEY, how="semi").sort(KEY)
    if len(left) == 0:
        raise InputError(
            f"{what}: none of the {len(a):,} images of A and {len(b):,} of B share prompt id and "
            "sample; are these runs of the same prompt set?"
        )
    return JoinedVerdicts(left, right, len(a) - len(left), len(b) - len(right))


def compare_pairs(
    pairs: JoinedVerdicts,
    protocol: str,
    intervals: Intervals = RESAMPLES,
    *,
    decide: bool = False,
    margin: float = TWO_POINTS,
) -> ProtocolComparison:
    """Paired differences of every number of `protocol`.

    Raises:
        InputError: an unknown protocol.
    """
    kind = PROTOCOLS[protocol]
    a, b, unscored = _counted(pairs, intervals.allow_missing)
    numbers = {name: _paired(a, b, kind.parts, r, intervals) for name, r in kind.numbers.items()}
    counts = Pairs(
        a["prompt_id"].n_unique(), len(a), pairs.only_a, pairs.only_b, unscored[0], unscored[1]
    )
    main = _plain_rate(kind.numbers)
    needed: int | None = None
    decision: StopResult | None = None
    if main is not None:
        rows = [rate_rows(t, kind.parts, kind.numbers[main])[0] for t in (a, b)]
        if counts.prompts >= 2:
            sd = sd_of_pilot(rows[0], rows[1], a["prompt_id"])
            needed = prompts_needed(TWO_POINTS, sd) if sd > 0 else None
        if decide and counts.prompts:
            change = prompt_means(rows[1] - rows[0], a["prompt_id"], intervals.seed)
            decision = stop_at_decision(change, len(change), margin=margin)
    return ProtocolComparison(counts, numbers, needed, decision, main)


def group_differences(
    pairs: JoinedVerdicts,
    protocol: str,
    prompts: pl.DataFrame,
    by: Sequence[str],
    intervals: Intervals = RESAMPLES,
) -> Groups:
    """Paired differences for every member of those breakdowns that `protocol` has."""
    metric = PROTOCOLS[protocol]()
    a, b, _ = _counted(pairs, intervals.allow_missing)
    groups: Groups = {}
    for group in [name for name in by if name in metric.groups]:
        numbers = {name: metric.numbers[name] for name in metric.groups[group]}
        groups[group] = {}
        for (member,), chosen in metric.members(group, prompts).group_by(
            "member", maintain_order=True
        ):
            part_a, part_b = (
                t.join(chosen, on="prompt_id", how="semi", maintain_order="left") for t in (a, b)
            )
            if len(part_a):
                groups[group][str(member)] = {
                    name: _paired(part_a, part_b, metric.parts, rate, intervals)
                    for name, rate in numbers.items()
                }
    return groups


def _counted(
    pairs: JoinedVerdicts, allow_missing: bool
) -> tuple[pl.DataFrame, pl.DataFrame, list[int]]:
    """The rows that count, and how many of them have no score in A and in B."""
    applies = (pairs.a["status"] != NOT_APPLICABLE) & (pairs.b["status"] != NOT_APPLICABLE)
    a, b = pairs.a.filter(applies), pairs.b.filter(applies)
    unscored = [int((t["status"] != SCORED).sum()) for t in (a, b)]
    if allow_missing:
        both = (a["status"] == SCORED) & (b["status"] == SCORED)
        a, b = a.filter(both), b.filter(both)
    return a, b, unscored


def prompt_means(values: Floats, prompts: pl.Series, seed: int) -> Floats:
    """Mean of each prompt's rows, the prompts in the seeded random order of judging."""
    codes, _ = cluster_codes(prompts)
    means = np.bincount(codes, weights=values) / np.bincount(codes)
    ids = prompts.unique().sort().to_list()
    place = {prompt: k for k, prompt in enumerate(ids)}
    return np.asarray(means[[place[prompt] for prompt in prompt_order(ids, seed)]])


def _plain_rate(numbers: Numbers) -> str | None:
    """The first number that is a mean over images: others have no per-prompt difference."""
    return next((name for name, rate in numbers.items() if rate.is_mean and rate.bounded), None)


def _paired(
    a: pl.DataFrame,
    b: pl.DataFrame,
    parts: Sequence[str],
    rate: Rate,
    intervals: Intervals,
) -> PairedDifference:
    clusters = a["prompt_id"]
    options = {"seed": intervals.seed, "resamples": intervals.resamples}
    columns = [*rate_rows(a, parts, rate), *rate_rows(b, parts, rate)]
    if not rate.bounded:
        return _unbounded(columns, clusters, **options)
    if rate.at_least is not None:
        shares = [per_prompt(columns[k], columns[k + 1], clusters, rate.at_least) for k in (0, 2)]
        columns = [c for s in shares for c in (np.nan_to_num(s), (~np.isnan(s)).astype(np.float64))]
        clusters = clusters.unique().sort()
    elif rate.by_tag:
        # tags of a prompt are the same in both runs, so the weights are those of the pairs
        weights = [tag_weights(columns[k], a["tag"]) for k in (1, 3)]
        columns = [c * weights[k // 2] for k, c in enumerate(columns)]
    na, da, nb, db = columns
    return paired_difference(na, da, nb, db, clusters, **options)


def _unbounded(columns: list[Floats], clusters: pl.Series, **options: int) -> PairedDifference:
    """The difference of two means of any range: moved into [0, 1] for the bootstrap, and back."""
    na, da, nb, db = columns
    low, span = into_unit(np.concatenate([na, nb]))
    scaled = [np.clip((n - low * d) / span, 0, d) for n, d in ((na, da), (nb, db))]
    found = paired_difference(scaled[0], da, scaled[1], db, clusters, **options)
    means = {k: low + span * x for k in ("a", "b") if (x := getattr(found, k)) is not None}
    wide = {k: span * x for k in ("value", "low", "high") if (x := getattr(found, k)) is not None}
    return dataclasses.replace(found, **means, **wide)


def _shared_prompts(a: Run, b: Run) -> pl.DataFrame:
    """The ids of the prompts that both runs have in the same words.

    Raises:
        InputError: there are none.
    """
    keys = ["prompt_id", "text"]
    shared = a.prompts().join(b.prompts(), on=keys, how="semi", nulls_equal=True)
    if shared.is_empty():
        raise InputError(f"{a.path} and {b.path} share no prompt of the same id and text")
    return shared.select("prompt_id")


def _protocols(a: Run, b: Run, asked: Sequence[str]) -> list[str]:
    scored = [set(run.plan("score")) for run in (a, b)]
    for run, names in zip((a, b), scored, strict=True):
        if not names:
            raise InputError(f"{run.path} has no scores yet; run `t2i-spatial score` first")
        for name in asked:
            if name not in names:
                raise InputError(
                    f"{run.path} was not scored by {name!r}; {nearest(name, names)} "
                    f"(t2i-spatial score {run.path} --protocol {name})"
                )
    if asked:
        return list(dict.fromkeys(asked))
    common = sorted(scored[0] & scored[1])
    if not common:
        raise InputError(
            f"no protocol in common: A has {sorted(scored[0])}, B has {sorted(scored[1])}"
        )
    return common


def _verdicts(run: Run, protocol: str) -> pl.DataFrame:
    verdicts = run.verdicts(protocol)
    unknown = verdicts.join(run.prompts(), on="prompt_id", how="anti")
    if len(unknown):
        raise InputError(
            f"{run.path}: {len(unknown):,} {protocol} verdicts belong to no prompt of the run "
            f"(first: {unknown['prompt_id'][0]!r}); score it again"
        )
    return verdicts
