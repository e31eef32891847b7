"""The numbers of verdicts that are stored, computed again."""

from __future__ import annotations

import polars as pl

from t2i_spatial import parts
from t2i_spatial.metrics.base import Metric, Summary
from t2i_spatial.metrics.numbers import Intervals
from t2i_spatial.metrics.tally import add_tallies
from t2i_spatial.run import Run
from t2i_spatial.stages.running_sums import keep_sum
from t2i_spatial.tables import VERDICTS, conform

TALLIED = ("prompt_id", "tag", "status", "value", "correct", "components", "unjudged")
"""What a tally looks at."""


def summary_of(run: Run, metric: Metric, prompts: pl.DataFrame, intervals: Intervals) -> Summary:
    """`Metric.summarize` of the verdicts of a run, which are read piece by piece.

    Raises:
        InputError: the run has no finished verdicts of this protocol.
    """
    if type(metric).summarize is not Metric.summarize:
        return metric.summarize(run.verdicts(metric.name), prompts, intervals)
    run.require_verdicts()
    path = run.table_path(f"verdicts/{metric.name}.parquet")
    there = parts.scan(path).collect_schema()
    tallies = [metric.tally(pl.DataFrame(schema=VERDICTS))]
    for piece in parts.batches(path, [name for name in TALLIED if name in there]):
        verdicts = conform(piece, VERDICTS, path.name)
        keep_sum(tallies, metric.tally(verdicts), lambda a, b: add_tallies([a, b]))
    return metric.summarize_tally(add_tallies(tallies), prompts, intervals)
