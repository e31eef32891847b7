"""A second opinion: where two detectors lead to opposite verdicts, the verdict is `ambiguous`."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.base import Metric
from t2i_spatial.metrics.numbers import DEFAULTS, Intervals
from t2i_spatial.run import Run, writes_run
from t2i_spatial.stages.score import Scores, complete, score_run, score_tables
from t2i_spatial.tables import AMBIGUOUS, EVIDENCE, SCORED, VERDICTS

STAGE = "agree"
ROW = ["prompt_id", "sample", "protocol"]


def disagreements(
    first: pl.DataFrame, second: pl.DataFrame, names: tuple[str, str] = ("main", "second")
) -> pl.DataFrame:
    """The first VERDICTS table, with `ambiguous` rows where the second one decides otherwise.

    Such a row has no value; its reason and evidence are those of both, each with its name. A row
    that the second table does not score stays as it is.

    Args:
        names: what to call the two in reasons and evidence.
    """
    other = second.select(
        *ROW, *(pl.col(c).alias(f"{c}_") for c in ("correct", "status", "reason"))
    )
    evidence = second.select(*ROW, pl.col("evidence").alias("evidence_"))
    joined = first.join(other, on=ROW, how="left", maintain_order="left").join(
        evidence, on=ROW, how="left", maintain_order="left"
    )
    apart = (
        (pl.col("status") == SCORED)
        & (pl.col("status_") == SCORED)
        & (pl.col("correct") != pl.col("correct_"))
    ).fill_null(False)
    said = pl.format(f"{names[0]}: {{}}; {names[1]}: {{}}", "reason", "reason_")
    both = pl.concat_list(_named("evidence", names[0]), _named("evidence_", names[1]))
    marked = joined.with_columns(
        status=pl.when(apart).then(pl.lit(AMBIGUOUS)).otherwise("status"),
        value=pl.when(~apart).then("value"),
        correct=pl.when(~apart).then("correct"),
        margin=pl.when(~apart).then("margin"),
        components=pl.when(~apart).then("components"),
        reason=pl.when(apart).then(said).otherwise("reason"),
        evidence=pl.when(apart).then(both).otherwise("evidence"),
    )
    return marked.select(list(VERDICTS))


@writes_run
def agree_run(
    run: Run,
    protocols: Sequence[Metric],
    second: str,
    intervals: Intervals = DEFAULTS,
    *,
    samples: int | None = None,
) -> Scores:
    """Score `detections/main.parquet` and mark where `detections/<second>.parquet` disagrees.

    Verdicts and `summary.json` are written as `score` writes them. An ambiguous image has no
    score: it counts as a failure, or is left out with `intervals.allow_missing`.

    Raises:
        InputError: one of the detections is missing.
    """
    for protocol in protocols:
        if protocol.evidence != "boxes":
            raise InputError(
                f"--second is another detector's opinion, and {protocol.name} does not judge boxes "
                "alone; leave it out"
            )
    prompts = run.prompts()
    images = run.images() if run.has("images.parquet") else None
    opinion = complete(run.detections(second), prompts, samples=samples, images=images)
    scores = score_run(run, protocols, intervals, samples=samples)
    others = score_tables(prompts, opinion, protocols, intervals)
    summary = run.summary()
    verdicts, shares = {}, {}
    for protocol in protocols:
        table = disagreements(
            run.verdicts(protocol.name), others.verdicts[protocol.name], ("main", second)
        )
        verdicts[protocol.name] = table
        summary[protocol.name] = protocol.summarize(table, prompts, intervals)
        decided = table.filter(pl.col("status").is_in([SCORED, AMBIGUOUS]))
        shares[protocol.name] = float((decided["status"] == SCORED).mean() or 0.0)  # type: ignore[arg-type]
    run.begin(STAGE, {"second": second}, overwrite=True)
    for name, table in verdicts.items():
        run.write_verdicts(table, name)
    run.write_summary(summary)
    run.finish(STAGE, agreement=shares)
    kept = {name: summary[name] for name in verdicts}
    ambiguous = max(int((table["status"] == AMBIGUOUS).sum()) for table in verdicts.values())
    return Scores(verdicts, kept, scores.n_expected, scores.n_scored - ambiguous)


def _named(column: str, name: str) -> pl.Expr:
    """Evidence with the detector's name in the role: "subject (main)"."""
    role = pl.format("{} (" + name + ")", pl.element().struct.field("role"))
    field = pl.element().struct
    return pl.col(column).list.eval(
        pl.struct(
            role.alias("role"), field.field("label"), field.field("score"), field.field("box")
        ).cast(EVIDENCE)
    )
