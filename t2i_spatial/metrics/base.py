"""What every protocol is: a pure judge of images, a summary of verdicts, and a stateful metric."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import polars as pl

from t2i_spatial.detections import Detections
from t2i_spatial.errors import InputError
from t2i_spatial.metrics.inputs import given_tables, refuse_other_texts
from t2i_spatial.metrics.numbers import Rate
from t2i_spatial.registry import Registry
from t2i_spatial.scene import Prompt
from t2i_spatial.statistics.intervals import Interval, ratio_intervals
from t2i_spatial.tables import (
    NOT_APPLICABLE,
    PROMPTS,
    SCORED,
    STATUSES,
    VERDICTS,
)

Summary = dict[str, Any]
"""Published name -> `{"value", "low", "high", "n_prompts", "n_images", "n_expected"}`, beside
breakdowns `by_...` (group -> name -> the same) and `images` (counts by status)."""


def share(default: float) -> float:
    """A setting of a protocol that is a score or a share: only numbers in [0, 1] are accepted."""
    made: float = field(default=default, metadata={"share": True})
    return made


@dataclass(kw_only=True)
class Metric(abc.ABC):
    """One way to decide whether images show what their prompts say.

    `judge` and `summarize` are pure functions of tables. `update`, `compute` and `reset` keep
    verdicts between calls and end in the same two functions. The fields of a subclass are the
    settings of its protocol; the defaults are the published ones.
    """

    name: ClassVar[str]
    """Name in the registry, in `--protocol` and in `VERDICTS.protocol`; registering sets it."""

    parts: ClassVar[tuple[str, ...]]
    """Names of `VERDICTS.components`, in their order."""

    rates: ClassVar[Mapping[str, Rate]] = {"score": Rate("value"), "correct": Rate("correct")}
    """Numbers of the summary, by their names there, as sums over images, the main one first:
    `compare` and `--precision` work on these. Numerators lie in [0, 1]."""

    _seen_verdicts: list[pl.DataFrame] = field(default_factory=list, init=False, repr=False)
    _seen_prompts: list[pl.DataFrame] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        for setting in dataclasses.fields(self):
            value = getattr(self, setting.name)
            if "share" in setting.metadata and not _is_share(value):
                raise InputError(
                    f"{self.name}.{setting.name} must be a number in [0, 1], got {value!r}"
                )

    @abc.abstractmethod
    def judge(self, prompts: pl.DataFrame, detections: pl.DataFrame) -> pl.DataFrame:
        """One VERDICTS row per row of `detections`, in its order.

        Args:
            prompts: PROMPTS.
            detections: DETECTIONS, one row per expected image; a row whose status is not
                `scored` gives a verdict of that status without value.

        Empty detections give an empty table.

        Raises:
            InputError: a detection row names no prompt of the set.
        """

    @abc.abstractmethod
    def summarize(
        self,
        verdicts: pl.DataFrame,
        prompts: pl.DataFrame,
        *,
        allow_missing: bool = False,
        seed: int = 0,
        resamples: int = 2000,
    ) -> Summary:
        """The published numbers of a VERDICTS table, with 95 % intervals clustered by prompt.

        Args:
            verdicts: rows of this protocol for every expected image.
            prompts: PROMPTS the verdicts belong to.
            allow_missing: `False` counts an image without a score as a failure wherever the
                protocol counts images; `True` leaves it out, as the peer does.
            seed, resamples: of the bootstrap.
        """

    @property
    def settings(self) -> dict[str, Any]:
        """What a run records about the protocol."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}

    def update(
        self,
        prompts: pl.DataFrame | Iterable[Prompt],
        detections: pl.DataFrame | Iterable[Detections | None],
    ) -> None:
        """Judge more images and keep the verdicts.

        Only the images that are given count: a prompt without any is not missing here (give
        `None` for it), as it is for the command line.

        Args:
            prompts: a PROMPTS table, or one `Prompt` per image; one without a scene is parsed.
            detections: a DETECTIONS table, or one `Detections` per image (`None`: the image is
                missing), in the order of `prompts`; samples of a prompt are then numbered as
                they come, after those that there are.

        Raises:
            InputError: lengths differ, one is a table and the other is not, a value that is none
                of these or cannot be, an image or a prompt comes twice, one prompt id has two
                texts or scenes, or an image belongs to no prompt.
        """
        samples = {} if isinstance(prompts, pl.DataFrame) else self._next_samples()
        table, images = given_tables(prompts, detections, samples)
        seen = self._prompts()
        refuse_other_texts(seen, table)
        new = self.judge(table, images)
        keys = pl.concat([v.select("prompt_id", "sample") for v in [*self._seen_verdicts, new]])
        if keys.is_duplicated().any():
            twice = keys.filter(keys.is_duplicated()).row(0)
            raise InputError(f"image {twice} was given twice")
        self._seen_verdicts.append(new)
        self._seen_prompts.append(table.join(seen, on="prompt_id", how="anti"))

    def compute(
        self, *, allow_missing: bool = False, seed: int = 0, resamples: int = 2000
    ) -> Summary:
        """`summarize` over everything since the last `reset` (nothing yet: values are `None`)."""
        verdicts = (
            pl.concat(self._seen_verdicts) if self._seen_verdicts else pl.DataFrame(schema=VERDICTS)
        )
        return self.summarize(
            verdicts, self._prompts(), allow_missing=allow_missing, seed=seed, resamples=resamples
        )

    def reset(self) -> None:
        """Forget all verdicts."""
        self._seen_verdicts.clear()
        self._seen_prompts.clear()

    def _prompts(self) -> pl.DataFrame:
        return pl.concat([pl.DataFrame(schema=PROMPTS), *self._seen_prompts])

    def _next_samples(self) -> dict[str, int]:
        seen: dict[str, int] = {}
        for verdicts in self._seen_verdicts:
            last = verdicts.group_by("prompt_id").agg(pl.col("sample").max())
            for prompt_id, sample in last.iter_rows():
                seen[prompt_id] = max(seen.get(prompt_id, 0), sample + 1)
        return seen


def _is_share(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) <= 1


PROTOCOLS: Registry[type[Metric]] = Registry("protocol", "t2i_spatial.metrics")
"""All protocols by name: `PROTOCOLS["visor"]()` makes one with its published settings."""


@dataclass(kw_only=True)
class TallyMetric(Metric):
    """A protocol whose numbers are ratios of sums over the images of prompts.

    Verdicts are reduced to one row of sums per prompt first. Tallies of parts of a run add up, so
    a run of any size needs the memory of its prompts only.
    """

    @abc.abstractmethod
    def sums(self) -> dict[str, pl.Expr]:
        """Name -> expression over VERDICTS whose sum over images is kept; null counts as 0."""

    @abc.abstractmethod
    def summarize_tally(
        self,
        tally: pl.DataFrame,
        prompts: pl.DataFrame,
        *,
        allow_missing: bool = False,
        seed: int = 0,
        resamples: int = 2000,
    ) -> Summary:
        """`summarize` for verdicts that have been tallied."""

    def tally(self, verdicts: pl.DataFrame) -> pl.DataFrame:
        """One row per prompt: `prompt_id, tag`, the number of images of every status, the sums."""
        counts = [(pl.col("status") == s).sum().cast(pl.Int64).alias(s) for s in STATUSES]
        sums = [
            value.cast(pl.Float64).fill_null(0.0).sum().alias(name)
            for name, value in self.sums().items()
        ]
        return verdicts.group_by("prompt_id", maintain_order=True).agg(
            pl.col("tag").first(), *counts, *sums
        )

    def summarize(
        self,
        verdicts: pl.DataFrame,
        prompts: pl.DataFrame,
        *,
        allow_missing: bool = False,
        seed: int = 0,
        resamples: int = 2000,
    ) -> Summary:
        """See `Metric.summarize`."""
        return self.summarize_tally(
            self.tally(verdicts),
            prompts,
            allow_missing=allow_missing,
            seed=seed,
            resamples=resamples,
        )


def add_tallies(tallies: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The tally of several parts of a run together."""
    together = pl.concat(tallies)
    sums = [name for name in together.columns if name not in ("prompt_id", "tag")]
    return together.group_by("prompt_id", maintain_order=True).agg(
        pl.col("tag").first(), pl.col(sums).sum()
    )


def counted_prompts(tally: pl.DataFrame, allow_missing: bool) -> pl.DataFrame:
    """The prompts of a tally that the protocol applies to, with `expected` and `images`.

    `images` is what goes into denominators: the scored images with `allow_missing` (as the peers
    count), otherwise all expected ones, those without a score being failures.
    """
    expected = pl.sum_horizontal(s for s in STATUSES if s != NOT_APPLICABLE)
    return (
        tally.with_columns(expected.alias("expected"))
        .filter(pl.col("expected") > 0)
        .with_columns(pl.col(SCORED if allow_missing else "expected").alias("images"))
        # so that intervals do not depend on the order in which images came
        .sort("prompt_id")
    )


def tally_counts(tally: pl.DataFrame) -> dict[str, int]:
    """`expected` (all that the protocol applies to) and the number of images of every status."""
    by_status = {s: int(tally[s].sum()) for s in STATUSES}
    expected = sum(n for s, n in by_status.items() if s != NOT_APPLICABLE)
    return {"expected": expected} | {s: n for s, n in by_status.items() if n}


def ratio_entries(
    rows: pl.DataFrame,
    ratios: Mapping[str, tuple[str, str]],
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> dict[str, dict[str, Any]]:
    """Entries of a summary from prompts (see `counted_prompts`): name -> (above, below) columns."""
    counts = tally_counts(rows)
    rows = rows.filter(pl.col("images") > 0)
    above, below = (
        rows.select(pl.col(pair[k]).cast(pl.Float64).alias(name) for name, pair in ratios.items())
        for k in (0, 1)
    )
    intervals = ratio_intervals(
        above.to_numpy(),
        below.to_numpy(),
        np.arange(len(rows)),
        seed=seed,
        resamples=resamples,
    )
    return {n: entry(i, len(rows), counts) for n, i in zip(ratios, intervals, strict=True)}


def counted(verdicts: pl.DataFrame, allow_missing: bool) -> pl.DataFrame:
    """The rows that make up the denominators.

    Images that the protocol does not apply to never count. Images without a score count (as
    failures) unless `allow_missing`.
    """
    applicable = pl.col("status") != NOT_APPLICABLE
    return verdicts.filter(
        applicable & (pl.col("status") == SCORED) if allow_missing else applicable
    )


def image_counts(verdicts: pl.DataFrame) -> dict[str, int]:
    """`expected` (all that the protocol applies to) and the number of rows of every status."""
    by_status = dict(verdicts.group_by("status").len().iter_rows())
    expected = len(verdicts) - by_status.get(NOT_APPLICABLE, 0)
    return {"expected": expected} | {s: by_status[s] for s in STATUSES if s in by_status}


def entry(interval: Interval, n_prompts: int, counts: Mapping[str, int]) -> dict[str, Any]:
    """One number of a summary."""
    return {
        "value": interval.value,
        "low": interval.low,
        "high": interval.high,
        "n_prompts": n_prompts,
        "n_images": counts.get(SCORED, 0),
        "n_expected": counts["expected"],
    }


def part(names: tuple[str, ...], name: str) -> pl.Expr:
    """The value of one named component of a VERDICTS table."""
    index = names.index(name)
    return pl.col("components").list.get(index, null_on_oob=True).struct.field("value")
