"""Judge prompts in random order and stop when the number is known well enough, or decided."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from t2i_spatial.errors import IncompleteRunError, InputError, nearest
from t2i_spatial.metrics.base import Metric
from t2i_spatial.metrics.numbers import Rate, per_prompt, rate_rows
from t2i_spatial.progress import note
from t2i_spatial.stages.early_stopping.sources import Look
from t2i_spatial.statistics.intervals import Floats, cluster_codes
from t2i_spatial.statistics.sequential import (
    Bounds,
    ConfidenceSequence,
    DecisionRule,
    DifferenceSequence,
    PrecisionRule,
    prompt_order,
)
from t2i_spatial.tables import DETECTIONS, IMAGE_MISSING, NOT_APPLICABLE, SCORED, conform

FIRST_ROUND = 48
"""Prompts judged before the first look at the interval."""


@dataclass(frozen=True)
class Stopped:
    """The end of an early-stopping run.

    Attributes:
        protocol, number: what was measured.
        verdict: `precise`, `b_better`, `a_better`, `similar`, or `exhausted` when the whole set
            was judged first.
        bounds: estimate and interval for the whole set, valid whenever one stops.
        prompts, images: how many were judged (images of both runs, for a decision).
        population, images_of_all: how many a full run has.
        unscored: images among them without a score.
    """

    protocol: str
    number: str
    verdict: str
    bounds: Bounds
    prompts: int
    images: int
    population: int
    images_of_all: int
    unscored: int

    def require_complete(self) -> None:
        """Raise unless every judged image has a score.

        Raises:
            IncompleteRunError: saying how many have none.
        """
        if self.unscored:
            raise IncompleteRunError(
                f"{self.unscored:,} of {self.images:,} images have no score and count as "
                "failures; make them, or use --allow-missing to leave them out"
            )

    def to_json(self) -> dict[str, Any]:
        """The same as plain data."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        low, high = 100 * self.bounds.low, 100 * self.bounds.high
        value = "–" if self.bounds.value is None else f"{100 * self.bounds.value:.1f}"
        share = 100 * (1 - self.images / self.images_of_all)
        what = "" if self.verdict in ("precise", "exhausted") else "B - A "
        return (
            f"{self.protocol} {self.number}: {what}{value}  [{low:.1f}, {high:.1f}]  "
            f"{self.verdict.replace('_', ' ')} "
            f"after {self.prompts:,} of {self.population:,} prompts "
            f"({self.images:,} of {self.images_of_all:,} images, {share:.0f} % saved)"
        )


@dataclass(frozen=True)
class Target:
    """What is measured: a number, and the prompts of the whole set that it is about."""

    name: str
    rate: Rate
    prompts: pl.DataFrame


def find_target(
    protocol: Metric, prompts: pl.DataFrame, number: str | None = None, *, plain: bool = False
) -> Target:
    """The number to measure among the prompts that `protocol` judges.

    Args:
        number: a number of the protocol, by default its main one; a member of one of its groups
            ("position", "left of"), which means the first number of the group among its prompts;
            or both ("VISOR_cond:left of").
        plain: only means over images (what a decision between two runs can be about).

    Raises:
        InputError: no such number or member, or the protocol applies to no prompt.
    """
    prompts = applicable(prompts, protocol)
    rates = {
        name: rate
        for name, rate in protocol.numbers.items()
        if rate.bounded and (rate.is_mean or not plain)
    }
    if number is None or number in rates:
        name = number or next(iter(rates))
        return Target(name, rates[name], prompts)
    known = list(rates)
    asked, _, wanted = number.rpartition(":")
    for group, names in protocol.groups.items():
        members = protocol.members(group, prompts)
        known += members["member"].unique().sort().to_list()
        fitting = [rates[name] for name in names if name in rates and asked in ("", name)]
        chosen = members.filter(pl.col("member") == wanted)
        if fitting and len(chosen):
            return Target(number, fitting[0], prompts.join(chosen, on="prompt_id", how="semi"))
    kind = " that is a mean over images" if plain else ""
    raise InputError(f"{protocol.name} has no number {number!r}{kind}; {nearest(number, known)}")


def judge_to_precision(
    prompts: pl.DataFrame,
    look: Look,
    protocol: Metric,
    precision: float,
    *,
    number: str | None = None,
    level: float = 0.95,
    allow_missing: bool = False,
    seed: int = 0,
) -> Stopped:
    """Judge prompts in random order until a number of the whole set is known to ± `precision`.

    Args:
        prompts: PROMPTS, the whole set.
        look: judges some prompts.
        precision: half-width of the interval, as a fraction (0.02 is two points).
        number: see `find_target`.
        allow_missing: leave images without a score out; default: they count as failures.
        seed: of the order.

    Raises:
        InputError: no prompts, a precision outside (0, 1), a number that is unknown or needs more
            images per prompt.
    """
    target = find_target(protocol, prompts, number)
    name, rate = target.name, target.rate
    least = rate.at_least or 1
    if least > look.samples:
        raise InputError(f"{name} needs {least} images per prompt; there are {look.samples}")
    rule = PrecisionRule(precision)
    order = prompt_order(target.prompts["prompt_id"], seed)
    sequence = ConfidenceSequence(len(order), targets=rule.targets, level=level)
    weights = _tag_weights(target.prompts) if rate.by_tag else None
    images = unscored = start = 0
    while True:
        end = _round_end(start, len(order), sequence.bounds(), precision)
        verdicts = look(order[start:end])
        images += _images(verdicts)
        unscored += _unscored(verdicts)
        above, below = prompt_sums(
            verdicts, protocol.parts, rate, order[start:end], look.samples,
            allow_missing=allow_missing,
        )  # fmt: skip
        if weights is not None:
            scale = np.array([weights[prompt] for prompt in order[start:end]])
            above, below = above * scale, below * scale
        sequence.update(above, below)
        start = end
        bounds = sequence.bounds()
        note(f"{start:,} of {len(order):,} prompts: {_said(bounds)}")
        verdict = rule.verdict(bounds) if bounds.value is not None else None
        if verdict is not None or start == len(order):
            return Stopped(
                protocol.name,
                name,
                verdict or "exhausted",
                bounds,
                start,
                images,
                len(order),
                len(order) * look.samples,
                unscored,
            )


def decide_until(
    prompts: pl.DataFrame,
    look_a: Look,
    look_b: Look,
    protocol: Metric,
    *,
    margin: float = 0.02,
    number: str | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Stopped:
    """Judge both runs' images of random prompts until it is clear which run is better.

    An image without a score counts as a failure of its run.

    Args:
        margin: stop with `similar` when the difference is surely no larger.
        number: a mean over images; see `find_target`.

    Raises:
        InputError: no prompts, other numbers of images per prompt, an unknown number.
    """
    if look_a.samples != look_b.samples:
        raise InputError(
            f"A has {look_a.samples} images per prompt and B has {look_b.samples}; "
            "pairs need as many of both"
        )
    target = find_target(protocol, prompts, number, plain=True)
    rule = DecisionRule(margin)
    order = prompt_order(target.prompts["prompt_id"], seed)
    sequence = DifferenceSequence(len(order), targets=rule.targets, level=level)
    images = unscored = start = 0
    while True:
        end = _round_end(start, len(order), sequence.bounds(), margin, most=1.3)
        chosen = order[start:end]
        means = []
        for look in (look_a, look_b):
            verdicts = look(chosen)
            images += _images(verdicts)
            unscored += _unscored(verdicts)
            above, _ = prompt_sums(verdicts, protocol.parts, target.rate, chosen, look.samples)
            means.append(above)
        sequence.update(means[1] - means[0])
        start = end
        bounds = sequence.bounds()
        note(f"{start:,} of {len(order):,} prompts: B - A {_said(bounds)}")
        verdict = rule.verdict(bounds)
        if verdict is not None or start == len(order):
            total = 2 * len(order) * look_a.samples
            return Stopped(
                protocol.name,
                target.name,
                verdict or "exhausted",
                bounds,
                start,
                images,
                len(order),
                total,
                unscored,
            )


def applicable(prompts: pl.DataFrame, protocol: Metric) -> pl.DataFrame:
    """The prompts that `protocol` judges: the population of its numbers.

    Raises:
        InputError: there is none.
    """
    nothing = prompts.select(
        "prompt_id", pl.lit(0, pl.Int32).alias("sample"), pl.lit(IMAGE_MISSING).alias("status")
    )
    verdicts = protocol.judge(prompts, conform(nothing, DETECTIONS, "detections"))
    judged = prompts.filter(verdicts["status"] != NOT_APPLICABLE)
    if len(judged) == 0:
        raise InputError(f"{protocol.name} applies to none of the {len(prompts):,} prompts")
    return judged


def prompt_sums(
    verdicts: pl.DataFrame,
    parts: Sequence[str],
    rate: Rate,
    order: Sequence[str],
    samples: int,
    *,
    allow_missing: bool = False,
) -> tuple[Floats, Floats]:
    """Numerator and denominator of each prompt of `order`, as fractions of `samples` images.

    Raises:
        InputError: a prompt without any verdict.
    """
    above, below = rate_rows(verdicts, parts, rate, allow_missing=allow_missing)
    codes, count = cluster_codes(verdicts["prompt_id"])
    ids = verdicts["prompt_id"].unique().sort().to_list()
    place = {prompt: k for k, prompt in enumerate(ids)}
    if missing := [prompt for prompt in order if prompt not in place]:
        raise InputError(f"no images are expected of prompt {missing[0]!r}")
    if rate.at_least is not None:
        share = per_prompt(above, below, verdicts["prompt_id"], rate.at_least)
        sums = [np.nan_to_num(share), (~np.isnan(share)).astype(np.float64)]
    else:
        sums = [np.bincount(codes, weights=x, minlength=count) / samples for x in (above, below)]
    index = [place[prompt] for prompt in order]
    return sums[0][index], sums[1][index]


def _tag_weights(prompts: pl.DataFrame) -> dict[str, float]:
    """Weights that make every tag of the set count the same."""
    tags = prompts["tag"].fill_null("other")
    sizes = dict(tags.value_counts().iter_rows())
    least = min(sizes.values())
    pairs = zip(prompts["prompt_id"], tags, strict=True)
    return {prompt: least / sizes[tag] for prompt, tag in pairs}


def _round_end(
    start: int, population: int, bounds: Bounds, target: float, most: float = 2.0
) -> int:
    """Judge as many more as the interval seems to need, not more than `most` times as many."""
    if start == 0:
        return min(FIRST_ROUND, population)
    guess = start * (bounds.half_width / target) ** 2
    return min(population, int(np.clip(guess, 1.05 * start + 1, most * start + 1)))


def _images(verdicts: pl.DataFrame) -> int:
    return int((verdicts["status"] != NOT_APPLICABLE).sum())


def _unscored(verdicts: pl.DataFrame) -> int:
    return _images(verdicts) - int((verdicts["status"] == SCORED).sum())


def _said(bounds: Bounds) -> str:
    value = "–" if bounds.value is None else f"{100 * bounds.value:.1f}"
    return f"{value} [{100 * bounds.low:.1f}, {100 * bounds.high:.1f}]"
