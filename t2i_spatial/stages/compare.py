"""The compare stage: two runs of the same prompts, what they did differently, then the numbers."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from t2i_spatial import parts
from t2i_spatial.errors import IncompleteRunError, InputError, T2ISpatialError, nearest
from t2i_spatial.metrics.answers import judge_said
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.metrics.numbers import (
    Intervals,
    Numbers,
    Rate,
    per_prompt,
    tag_weights,
)
from t2i_spatial.notebook import html_table, percent
from t2i_spatial.run import Run
from t2i_spatial.stages.differences import Difference, incomparable, run_differences
from t2i_spatial.stages.summed_pairs import Pairs, Scale, SummedPairs, rows_of, sum_pairs
from t2i_spatial.stages.verdict_pairs import JoinedVerdicts, read_pairs
from t2i_spatial.stages.verdict_pairs import join_verdicts as join_verdicts
from t2i_spatial.statistics.intervals import Floats, cluster_codes
from t2i_spatial.statistics.paired import Difference as PairedDifference
from t2i_spatial.statistics.paired import PairedSums, difference_of_sums, paired_difference
from t2i_spatial.statistics.power import prompts_needed, sd_of_pilot
from t2i_spatial.statistics.sequential import StopResult, prompt_order, stop_at_decision

TWO_POINTS = 0.02
RESAMPLES = Intervals(resamples=10_000)


class IncomparableRunsError(T2ISpatialError):
    """The runs were not measured in the same way: their difference is no result."""


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
        sides = _verdicts(runs[0], name), _verdicts(runs[1], name)
        read = functools.partial(read_pairs, *sides, name, shared)
        found = sum_pairs(read, PROTOCOLS[name](), intervals.allow_missing)
        part = compare_sums(found, intervals, decide=decide, margin=margin)
        groups = group_differences(found, runs[0].prompts(), by, intervals) if by else {}
        facts = runs[0].plan("score")[name].get("judge")
        judge = judge_said(facts) if facts else None
        comparison.protocols[name] = dataclasses.replace(part, groups=groups, judge=judge)
    return comparison


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
    found = sum_pairs(lambda: [pairs], PROTOCOLS[protocol](), intervals.allow_missing)
    return compare_sums(found, intervals, decide=decide, margin=margin)


def compare_sums(
    found: SummedPairs,
    intervals: Intervals = RESAMPLES,
    *,
    decide: bool = False,
    margin: float = TWO_POINTS,
) -> ProtocolComparison:
    """The same of pairs that have been summed."""
    numbers = {name: _paired(found, rate, intervals) for name, rate in found.metric.numbers.items()}
    main = _plain_rate(found.metric.numbers)
    needed: int | None = None
    decision: StopResult | None = None
    if main is not None and found.pairs.prompts:
        sums = found.of(found.metric.numbers[main])
        means = [sums.sums[:, k] / sums.counts[:, 0] for k in (0, 2)]
        if found.pairs.prompts >= 2:
            sd = sd_of_pilot(means[0], means[1], sums.ids)
            needed = prompts_needed(TWO_POINTS, sd) if sd > 0 else None
        if decide:
            change = prompt_means(means[1] - means[0], sums.ids, intervals.seed)
            decision = stop_at_decision(change, len(change), margin=margin)
    return ProtocolComparison(found.pairs, numbers, needed, decision, main)


def group_differences(
    found: SummedPairs, prompts: pl.DataFrame, by: Sequence[str], intervals: Intervals = RESAMPLES
) -> Groups:
    """Paired differences for every member of those breakdowns that the protocol has."""
    metric = found.metric
    groups: Groups = {}
    for group in [name for name in by if name in metric.groups]:
        numbers = {name: metric.numbers[name] for name in metric.groups[group]}
        groups[group] = {}
        for (member,), chosen in metric.members(group, prompts).group_by(
            "member", maintain_order=True
        ):
            part = found.only(chosen["prompt_id"])
            if part.pairs.prompts:
                groups[group][str(member)] = {
                    name: _paired(part, rate, intervals) for name, rate in numbers.items()
                }
    return groups


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


def _paired(found: SummedPairs, rate: Rate, intervals: Intervals) -> PairedDifference:
    sums = found.of(rate)
    options = {"seed": intervals.seed, "resamples": intervals.resamples}
    if not rate.bounded:
        return _unbounded(sums, found.scales[rows_of(rate)], **options)
    na, da, nb, db = sums.sums.T
    if rate.at_least is not None:
        shares = [per_prompt(n, d, sums.ids, rate.at_least) for n, d in ((na, da), (nb, db))]
        columns = [(np.nan_to_num(s), (~np.isnan(s)).astype(np.float64)) for s in shares]
        return paired_difference(*columns[0], *columns[1], sums.ids, **options)
    if rate.by_tag:
        # tags of a prompt are the same in both runs, so the weights are those of the pairs
        sums = sums.weighted(*(tag_weights(d, found.tags) for d in (da, db)))
    return difference_of_sums(sums, **options)


def _unbounded(sums: PairedSums, scale: Scale, **options: int) -> PairedDifference:
    """The difference of two means of any range: moved into [0, 1] for the bootstrap, and back."""
    low, span = scale
    found = difference_of_sums(sums, **options)
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


def _verdicts(run: Run, protocol: str) -> Path:
    """The table of a protocol, after a look at whose images it has."""
    run.require_verdicts()
    path = run.table_path(f"verdicts/{protocol}.parquet")
    known = parts.scan(run.table_path("prompts.parquet"), ["prompt_id"])
    others = parts.scan(path, ["prompt_id"]).join(known, on="prompt_id", how="anti")
    number, first = (
        others.select(pl.len(), pl.col("prompt_id").first().alias("first"))
        .collect(engine="streaming")
        .row(0)
    )
    if number:
        raise InputError(
            f"{run.path}: {number:,} {protocol} verdicts belong to no prompt of the run "
            f"(first: {first!r}); score it again"
        )
    return path
