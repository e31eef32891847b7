"""What every protocol is: a pure judge of images, a summary of verdicts, and a stateful metric."""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, ClassVar

import polars as pl

from t2i_spatial.detections import Detections
from t2i_spatial.errors import InputError
from t2i_spatial.metrics.adjectives import of_looks
from t2i_spatial.metrics.in_part import (
    WHOLE,
    Scope,
    leave_out,
    outside,
    settle,
    tell_adjectives,
    told_adjectives,
)
from t2i_spatial.metrics.inputs import input_tables, refuse_other_texts
from t2i_spatial.metrics.numbers import DEFAULTS, Intervals, Numbers, Rate
from t2i_spatial.metrics.tally import (
    applicable_prompts,
    entries,
    grouped_entries,
    image_counts,
    members_of,
    tally_verdicts,
)
from t2i_spatial.registry import Registry
from t2i_spatial.scene import Prompt, SceneSpec
from t2i_spatial.tables import PROMPTS, VERDICTS

Summary = dict[str, Any]
"""Published name -> `{"value", "low", "high", "n_prompts", "n_images", "n_expected"}`, beside
breakdowns `by_...` (group -> name -> the same) and `images` (counts by status)."""


def share(default: float) -> float:
    """A setting of a protocol that is a score or a share: only numbers in [0, 1] are accepted."""
    made: float = field(default=default, metadata={"share": True})
    return made


def at_least_one(default: int) -> int:
    """A setting of a protocol that is a number of things: only whole numbers above 0 are."""
    made: int = field(default=default, metadata={"number": True})
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

    title: ClassVar[str] = ""
    """The protocol's name as its authors write it; empty: made of `name`."""

    evidence: ClassVar[str] = "boxes"
    """What it looks at: "boxes", "answers" (see `answers.AnswerMetric`), or "both"."""

    numbers: ClassVar[Numbers] = {
        "score": Rate("value", meaning="mean score", own_scale=True),
        "correct": Rate("correct", meaning="right images"),
    }
    """Every number of the summary by its published name, the main one first. Summary, streamed
    tallies, `compare`, `--precision`, report and documentation follow from this."""

    groups: ClassVar[Mapping[str, Sequence[str]]] = {}
    """Breakdowns `by_...` of the summary: "relation", "object" or "tag" -> names of `numbers`."""

    scope: ClassVar[Scope] = WHOLE
    """What of a scene this protocol judges; an image of which more is asked is never right."""

    only_read: bool = False
    """Leave prompts that are not judged whole out (`not_applicable`) instead of counting that they
    are not right."""

    _seen_verdicts: list[pl.DataFrame] = field(default_factory=list, init=False, repr=False)
    _seen_prompts: list[pl.DataFrame] = field(default_factory=list, init=False, repr=False)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # whoever writes a protocol: no way of judging passes a prompt that was not judged whole
        if "judge" in vars(cls):
            cls.judge = _settled(cls.judge)  # type: ignore[method-assign]

    def __post_init__(self) -> None:
        for setting in dataclasses.fields(self):
            value = getattr(self, setting.name)
            if "share" in setting.metadata and not _is_share(value):
                raise InputError(
                    f"{self.name}.{setting.name} must be a number in [0, 1], got {value!r}"
                )
            if "number" in setting.metadata and not (type(value) is int and value >= 1):
                raise InputError(
                    f"{self.name}.{setting.name} must be a whole number above 0, got {value!r}"
                )

    @abc.abstractmethod
    def judge(self, prompts: pl.DataFrame, detections: pl.DataFrame) -> pl.DataFrame:
        """One VERDICTS row per row of `detections`, in its order.

        Args:
            prompts: PROMPTS.
            detections: DETECTIONS, one row per expected image; a row whose status is not
                `scored` gives a verdict of that status without value.

        Empty detections give an empty table.

        What an implementation returns is settled (see `in_part.settle`): parts of the prompt that
        `unjudged` names are listed, and an image that would be right becomes `judged_in_part`.

        Raises:
            InputError: a detection row names no prompt of the set.
        """

    def unjudged(self, prompt: Prompt) -> tuple[str, ...]:
        """What a prompt asks that this protocol does not judge, in words: see `in_part.outside`."""
        return outside(prompt.scene or SceneSpec(), self.scope)

    def adjectives(self, prompt: Prompt) -> tuple[str, ...]:
        """Adjectives of a prompt that are told as not judged, and held against no image."""
        return of_looks(prompt.scene or SceneSpec()) if self.scope.attributes else ()

    def members(self, group: str, prompts: pl.DataFrame) -> pl.DataFrame:
        """`prompt_id, member` of one of `groups`: which relations, say, a prompt is counted to."""
        return members_of(group, prompts)

    def tally(self, verdicts: pl.DataFrame) -> pl.DataFrame:
        """Verdicts summed over the images of each prompt; see `tally.add_tallies`."""
        return tally_verdicts(verdicts, self.parts, self.numbers)

    def summarize(
        self,
        verdicts: pl.DataFrame,
        prompts: pl.DataFrame,
        intervals: Intervals = DEFAULTS,
        **options: Any,
    ) -> Summary:
        """The published numbers of a VERDICTS table, with 95 % intervals clustered by prompt.

        Args:
            verdicts: rows of this protocol for every expected image.
            prompts: PROMPTS the verdicts belong to.
            intervals: how to count missing images, and the bootstrap's seed and resamples.
            options: single fields of `intervals` (`allow_missing=True`).
        """
        return self.summarize_tally(
            self.tally(verdicts), prompts, dataclasses.replace(intervals, **options)
        )

    def summarize_tally(
        self, tally: pl.DataFrame, prompts: pl.DataFrame, intervals: Intervals = DEFAULTS
    ) -> Summary:
        """`summarize` for verdicts that have been tallied."""
        rows = applicable_prompts(tally)
        summary: Summary = entries(rows, self.numbers, intervals)
        for group, names in self.groups.items():
            summary[f"by_{group}"] = grouped_entries(
                rows,
                self.members(group, prompts),
                {name: self.numbers[name] for name in names},
                intervals,
            )
        told = told_adjectives(rows.select("prompt_id").join(prompts, "prompt_id"), self.adjectives)
        return summary | {"images": image_counts(tally, len(told))}

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
        table, images = input_tables(prompts, detections, samples)
        seen = self._prompts()
        refuse_other_texts(seen, table)
        new = self.judge(table, images)
        keys = pl.concat([v.select("prompt_id", "sample") for v in [*self._seen_verdicts, new]])
        if keys.is_duplicated().any():
            twice = keys.filter(keys.is_duplicated()).row(0)
            raise InputError(f"image {twice} was given twice")
        self._seen_verdicts.append(new)
        self._seen_prompts.append(table.join(seen, on="prompt_id", how="anti"))

    def compute(self, intervals: Intervals = DEFAULTS, **options: Any) -> Summary:
        """`summarize` over everything since the last `reset` (nothing yet: values are `None`)."""
        verdicts = pl.concat([pl.DataFrame(schema=VERDICTS), *self._seen_verdicts])
        return self.summarize(verdicts, self._prompts(), intervals, **options)

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


def _settled(judge: Any) -> Any:
    """`judge`, with every verdict settled."""

    @functools.wraps(judge)
    def wrapper(self: Metric, prompts: pl.DataFrame, detections: pl.DataFrame) -> pl.DataFrame:
        return settled(self, judge(self, prompts, detections), prompts)

    return wrapper


def settled(metric: Metric, verdicts: pl.DataFrame, prompts: pl.DataFrame) -> pl.DataFrame:
    """Verdicts in which nothing that the protocol did not judge counts as satisfied."""
    if isinstance(metric, Published) and metric.as_published:
        return verdicts
    verdicts = settle(verdicts, prompts, metric.scope, metric.unjudged)
    verdicts = tell_adjectives(verdicts, prompts, metric.adjectives)
    return leave_out(verdicts) if metric.only_read else verdicts


@dataclass(kw_only=True)
class Published(Metric):
    """A protocol that is a peer's, number for number."""

    as_published: bool = False
    """Take the peer's verdict on prompts that ask for more than the protocol judges, as the peer
    does. Without it such images are never right, which changes nothing on prompts of its kind."""


PROTOCOLS: Registry[type[Metric]] = Registry("protocol", "t2i_spatial.metrics", classes=(Metric,))
"""All protocols by name: `PROTOCOLS["visor"]()` makes one with its published settings."""
