"""Scoring tables that are larger than the memory: in slices, keeping sums per prompt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import polars as pl

from t2i_spatial import parts
from t2i_spatial.checks import check_box_counts, check_detections
from t2i_spatial.errors import InputError
from t2i_spatial.interchange.label_spelling import renamed
from t2i_spatial.interchange.large import check_samples, names_of_labels
from t2i_spatial.metrics.base import Metric
from t2i_spatial.metrics.numbers import DEFAULTS, Intervals
from t2i_spatial.metrics.tally import add_tallies
from t2i_spatial.progress import note, progress_bar
from t2i_spatial.run import Run
from t2i_spatial.stages.prompts_in_turn import InTurn
from t2i_spatial.stages.running_sums import keep_sum
from t2i_spatial.stages.score_record import begin_scores, finish_scores
from t2i_spatial.stages.scores import Scores, complete
from t2i_spatial.stages.trust import Watch, warn
from t2i_spatial.tables import (
    DETECTIONS,
    IMAGE_MISSING,
    IMAGES,
    KEY,
    NOT_APPLICABLE,
    SCORED,
    VERDICTS,
    conform,
    expected_images,
)

LARGE = 1_000_000
"""Images from which `score` works in slices."""


def is_large(path: Path) -> bool:
    """Whether a table is Parquet with at least `LARGE` rows."""
    if path.suffix.lower() != ".parquet":
        return False
    try:
        return parts.count(path) >= LARGE
    except InputError as error:
        raise InputError(f"{path}: not a readable Parquet file: {error}") from None


def score_parquet(
    path: Path,
    prompts: pl.DataFrame,
    protocols: Sequence[Metric],
    intervals: Intervals = DEFAULTS,
    *,
    output: Run | None = None,
    samples: int | None = None,
    size: int | None = None,
) -> Scores:
    """The numbers of `score_tables` for a file of detections in our own Parquet form.

    Memory is that of one slice and of the prompts. Verdicts go to `verdicts/*.parquet` of `output`
    in the order of the file, missing images last, and are not returned.

    Raises:
        InputError: an image twice or of no prompt of the set, a broken value, or a protocol whose
            verdicts do not add up (one with a `summarize` of its own).
    """
    require_sums(protocols)
    numbers = _check_keys(path, prompts, samples)
    names = names_of_labels(path, prompts)
    slices = _slices(path, prompts, numbers, size, names)
    with Sums(prompts, protocols, output) as sums:
        sums.see(slices, parts.count(path))
        scores = sums.scores(intervals)
        warn(scores, protocols, sums.watch)
        if output is not None:
            with output.writing():
                source = output.plan("detect").get("content") or parts.fingerprint(path)
                begin_scores(output, protocols, intervals, source=source)
                sums.publish()
                finish_scores(output, scores)
    return scores


def in_slices(run: Run, protocols: Sequence[Metric]) -> bool:
    """Whether a run is so large that it is scored slice by slice, and can be.

    Its tables must have one order, as the stages write them, and the verdicts must add up.
    """
    boxes, images = run.path / "detections" / "main.parquet", run.path / "images.parquet"
    return (
        boxes.exists()
        and images.exists()
        and is_large(boxes)
        and not any(_own_summary(p) or p.evidence != "boxes" for p in protocols)
        and parts.same_order([images, boxes])
    )


def run_slices(run: Run, prompts: pl.DataFrame, samples: int | None) -> Iterator[pl.DataFrame]:
    """The stored detections of a run whose tables have one order, complete.

    Raises:
        InputError: an image twice, or of no prompt of the set.
    """
    images = run.table_path("images.parquet")
    boxes = run.table_path("detections/main.parquet")
    _refuse_repeated(images)
    chosen = None
    if samples is not None:
        first = parts.scan(images).select(pl.col("sample").min()).collect(engine="streaming").item()
        first = min(int(first or 0), 1)
        chosen = pl.col("sample").is_in(range(first, first + samples))
        beyond = int(parts.scan(images).select((~chosen).sum()).collect(engine="streaming").item())
        if beyond:
            note(f"{beyond:,} images beyond {samples} per prompt are not used")
    turn = InTurn(prompts)
    for shown, found in zip(parts.batches(images), parts.batches(boxes), strict=True):
        expected, seen = conform(shown, IMAGES, "images"), conform(found, DETECTIONS, "detections")
        if chosen is not None:
            expected, seen = expected.filter(chosen), seen.filter(chosen)
        yield complete(seen, turn.of(seen["prompt_id"]), images=expected)


def _refuse_repeated(table: Path) -> None:
    """Raise `InputError` where an image comes twice."""
    if (twice := parts.repeated(table, KEY)) is not None:
        raise InputError(f"{table.name}: the same image twice: {twice}")


def require_sums(protocols: Sequence[Metric]) -> None:
    """Raise `InputError` for a protocol whose verdicts do not add up."""
    for protocol in protocols:
        if _own_summary(protocol):
            raise InputError(f"{protocol.name} cannot be summed over slices of a file")


def _own_summary(protocol: Metric) -> bool:
    return type(protocol).summarize is not Metric.summarize


class Sums:
    """Verdicts of slices on their way into a run, and what is summed of them.

    Until `publish` nothing of it can be seen in the run; leaving the context drops the rest.
    """

    def __init__(
        self, prompts: pl.DataFrame, protocols: Sequence[Metric], output: Run | None
    ) -> None:
        self.watch = Watch(protocols, prompts)
        self._prompts = prompts
        self._protocols = protocols
        self._tallies = {p.name: [p.tally(pl.DataFrame(schema=VERDICTS))] for p in protocols}
        self._writers: dict[str, parts.Writer] = {}
        self._scored = self._expected = 0
        if output is not None:
            folder = output.path / "verdicts"
            self._writers = {p.name: parts.Writer(folder / f"{p.name}.parquet") for p in protocols}

    def __enter__(self) -> Sums:
        return self

    def __exit__(self, *error: object) -> None:
        for writer in self._writers.values():
            writer.drop()

    def see(self, slices: Iterable[pl.DataFrame], total: int) -> None:
        """Judge DETECTIONS, slice by slice."""
        turn = InTurn(self._prompts)

        def add(a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
            return add_tallies([a, b])

        with progress_bar(total, "score") as bar:
            for part in slices:
                asked = turn.of(part["prompt_id"])
                for protocol in self._protocols:
                    verdicts = protocol.judge(asked, part)
                    keep_sum(self._tallies[protocol.name], protocol.tally(verdicts), add)
                    if protocol.name in self._writers:
                        self._writers[protocol.name].add(verdicts)
                self.watch.see(part, asked)
                status = part["status"]
                self._scored += int((status == SCORED).sum())
                self._expected += int((status != NOT_APPLICABLE).sum())
                bar.update(len(part))

    def scores(self, intervals: Intervals) -> Scores:
        """The numbers of everything that was seen."""
        summary = {
            protocol.name: protocol.summarize_tally(
                add_tallies(self._tallies[protocol.name]), self._prompts, intervals
            )
            for protocol in self._protocols
        }
        return Scores({}, summary, self._expected, self._scored)

    def publish(self) -> None:
        """Let the verdicts appear in the run."""
        for writer in self._writers.values():
            writer.publish()


def _check_keys(path: Path, prompts: pl.DataFrame, samples: int | None) -> range:
    """Which sample numbers are expected, after the keys of the whole file were looked at."""
    scan = parts.scan(path)
    missing = [name for name in (*KEY, "detections") if name not in scan.collect_schema()]
    if missing:
        raise InputError(f"{path.name}: no column {missing[0]!r}")
    check_samples(path)
    scan = scan.select(pl.col("prompt_id").cast(pl.String), pl.col("sample").cast(pl.Int32))
    known = prompts.select("prompt_id").lazy()
    unknown = scan.join(known, on="prompt_id", how="anti").select(
        pl.len(), pl.col("prompt_id").first().alias("example")
    )
    count, example = unknown.collect(engine="streaming").row(0)
    if count:
        raise InputError(
            f"{count:,} images belong to no prompt of the set (first: prompt id {example!r}); "
            "is this the right prompt file?"
        )
    _refuse_repeated(path)
    low, high = (
        scan.select(pl.col("sample").min().alias("low"), pl.col("sample").max().alias("high"))
        .collect(engine="streaming")
        .row(0)
    )
    first = min(low or 0, 1)
    return range(first, first + samples) if samples else range(first, (high or 0) + 1)


def _slices(
    path: Path, prompts: pl.DataFrame, numbers: range, size: int | None, names: dict[str, str]
) -> Iterator[pl.DataFrame]:
    """The images of the file, then those that it lacks."""
    seen: list[pl.DataFrame] = []
    for table in parts.batches(path, size=size):
        check_box_counts(table)
        table = renamed(check_detections(table, path.name), names)
        table = table.filter(pl.col("sample").is_in(list(numbers)))
        seen.append(table.group_by("prompt_id").len())
        if len(seen) > 8:
            seen = [pl.concat(seen).group_by("prompt_id").agg(pl.col("len").sum())]
        if len(table):
            yield table
    none = pl.DataFrame(schema={"prompt_id": pl.String}).group_by("prompt_id").len()
    full = (
        pl.concat([none, *seen])
        .group_by("prompt_id")
        .agg(pl.col("len").sum())
        .filter(pl.col("len") >= len(numbers))
    )
    lacking = prompts.join(full, on="prompt_id", how="anti", maintain_order="left")
    if len(lacking):
        yield from _missing(path, lacking, numbers, size)


def _missing(
    path: Path, lacking: pl.DataFrame, numbers: range, size: int | None
) -> Iterator[pl.DataFrame]:
    step = max(1, (size or parts.BATCH) // len(numbers))
    for start in range(0, len(lacking), step):
        prompts = lacking[start : start + step]
        have = (
            parts.scan(path)
            .select(pl.col("prompt_id").cast(pl.String), pl.col("sample").cast(pl.Int32))
            .join(prompts.select("prompt_id").lazy(), on="prompt_id", how="semi")
            .collect(engine="streaming")
        )
        yield (
            expected_images(prompts, numbers)
            .join(have, on=KEY, how="anti", maintain_order="left")
            .select(
                *KEY,
                *[pl.lit(None, dtype).alias(n) for n, dtype in DETECTIONS.items() if n not in KEY],
            )
            .with_columns(
                pl.lit(IMAGE_MISSING).alias("status"),
                pl.lit("the detections do not contain this image").alias("reason"),
            )
            .select(list(DETECTIONS))
        )
