"""Scoring a Parquet file that is larger than the memory: in slices, keeping sums per prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import polars as pl

from t2i_spatial.checks import check_box_counts, check_detections
from t2i_spatial.errors import InputError
from t2i_spatial.interchange.label_spelling import renamed
from t2i_spatial.interchange.large import check_samples, names_of_labels
from t2i_spatial.metrics.base import Metric
from t2i_spatial.metrics.numbers import DEFAULTS, Intervals
from t2i_spatial.metrics.tally import add_tallies
from t2i_spatial.progress import progress_bar
from t2i_spatial.run import Run
from t2i_spatial.stages.score import begin_scores, fingerprint, finish_scores
from t2i_spatial.stages.scores import STAGE, Scores
from t2i_spatial.tables import (
    DETECTIONS,
    IMAGE_MISSING,
    KEY,
    NOT_APPLICABLE,
    SCORED,
    VERDICTS,
    expected_images,
)

LARGE = 1_000_000
"""Images from which `score --detections FILE.parquet` works in slices."""

SLICE = 262_144
"""Images judged at a time: a row group as polars writes them."""


def is_large(path: Path) -> bool:
    """Whether a file is Parquet with at least `LARGE` rows."""
    if path.suffix.lower() != ".parquet":
        return False
    try:
        return int(pl.scan_parquet(path).select(pl.len()).collect().item()) >= LARGE
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet file: {error}") from None


def score_parquet(
    path: Path,
    prompts: pl.DataFrame,
    protocols: Sequence[Metric],
    intervals: Intervals = DEFAULTS,
    *,
    output: Run | None = None,
    samples: int | None = None,
    size: int = SLICE,
) -> Scores:
    """The numbers of `score_tables` for a file of detections in our own Parquet form.

    Memory is that of one slice, of the prompts, and eight bytes per image to find images that
    come twice. Verdicts go to `verdicts/*.parquet` of `output` in the order of the file, missing
    images last, and are not returned.

    Raises:
        InputError: an image twice or of no prompt of the set, a broken value, or a protocol whose
            verdicts do not add up (one with a `summarize` of its own).
    """
    for protocol in protocols:
        if type(protocol).summarize is not Metric.summarize:
            raise InputError(f"{protocol.name} cannot be summed over slices of a file")
    numbers = _check_keys(path, prompts, samples)
    names = names_of_labels(path, prompts)
    slices = _slices(path, prompts, numbers, size, names)
    if output is None:
        return _summed(path, prompts, protocols, intervals, slices, lambda *_: None)
    with output.writing():
        source = output.plan("detect").get("content") or fingerprint(path)
        begin_scores(output, protocols, intervals, source=source)
        for protocol in protocols:  # slices of a scoring that was killed
            output.discard(_part(protocol))

        def keep(protocol: Metric, number: int, verdicts: pl.DataFrame) -> None:
            output.shards(_part(protocol)).write(number, verdicts)

        scores = _summed(path, prompts, protocols, intervals, slices, keep)
        for protocol in protocols:
            target = output.path / "verdicts" / f"{protocol.name}.parquet"
            output.shards(_part(protocol)).join(target)
        finish_scores(output, scores)
    return scores


def _part(protocol: Metric) -> str:
    return f"{STAGE}.{protocol.name}"


def _summed(
    path: Path,
    prompts: pl.DataFrame,
    protocols: Sequence[Metric],
    intervals: Intervals,
    slices: Iterator[pl.DataFrame],
    keep: Callable[[Metric, int, pl.DataFrame], None],
) -> Scores:
    tallies: dict[str, list[pl.DataFrame]] = {p.name: [] for p in protocols}
    scored = expected = 0
    rows = int(pl.scan_parquet(path).select(pl.len()).collect().item())
    with progress_bar(rows, "score") as bar:
        for k, part in enumerate(slices):
            asked = prompts.join(part, on="prompt_id", how="semi", maintain_order="left")
            for protocol in protocols:
                verdicts = protocol.judge(asked, part)
                parts = tallies[protocol.name]
                parts.append(protocol.tally(verdicts))
                if len(parts) > 8:
                    tallies[protocol.name] = [add_tallies(parts)]
                keep(protocol, k, verdicts)
            status = part["status"]
            scored += int((status == SCORED).sum())
            expected += int((status != NOT_APPLICABLE).sum())
            bar.update(len(part))
    summary = {
        protocol.name: protocol.summarize_tally(
            add_tallies([protocol.tally(pl.DataFrame(schema=VERDICTS)), *tallies[protocol.name]]),
            prompts,
            intervals,
        )
        for protocol in protocols
    }
    return Scores({}, summary, expected, scored)


def _check_keys(path: Path, prompts: pl.DataFrame, samples: int | None) -> range:
    """Which sample numbers are expected, after the keys of the whole file were looked at."""
    scan = pl.scan_parquet(path)
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
    hashes = scan.select(pl.struct(KEY).hash()).collect(engine="streaming").to_series()
    if hashes.n_unique() < len(hashes):
        twice = scan.group_by(KEY).len().filter(pl.col("len") > 1).select(KEY).first()
        raise InputError(
            f"{path.name}: the same image twice: {twice.collect(engine='streaming').row(0)}"
        )
    low, high = (
        scan.select(pl.col("sample").min().alias("low"), pl.col("sample").max().alias("high"))
        .collect(engine="streaming")
        .row(0)
    )
    first = min(low or 0, 1)
    return range(first, first + samples) if samples else range(first, (high or 0) + 1)


def _slices(
    path: Path, prompts: pl.DataFrame, numbers: range, size: int, names: dict[str, str]
) -> Iterator[pl.DataFrame]:
    """The images of the file, then those that it lacks."""
    seen: list[pl.DataFrame] = []
    offset = 0
    while True:
        table = pl.scan_parquet(path).slice(offset, size).collect()
        if len(table) == 0:
            break
        offset += len(table)
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
    path: Path, lacking: pl.DataFrame, numbers: range, size: int
) -> Iterator[pl.DataFrame]:
    step = max(1, size // len(numbers))
    for start in range(0, len(lacking), step):
        prompts = lacking[start : start + step]
        have = (
            pl.scan_parquet(path)
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
