"""Completes the stages that jobs with `--shard` make together, from what they have done."""

from __future__ import annotations

from t2i_spatial.errors import IncompleteRunError, InputError
from t2i_spatial.run import Run, writes_run
from t2i_spatial.stages import box_values, clip_score, detect, generate


@writes_run
def merge_run(run: Run) -> list[str]:
    """Complete every stage whose batches are all done; needs no model and no device.

    Returns:
        The names of the stages.

    Raises:
        InputError: jobs are at work, no stage is made by jobs, or one that needs its own command.
        IncompleteRunError: naming the jobs that must run (again).
    """
    stages = [stage for stage in run.manifest["stages"] if run.shared_out(stage)]
    if not stages:
        raise InputError(
            f"{run.path}: no stage is being made by jobs with --shard (or each is complete already)"
        )
    for stage in stages:
        _require_all(run, stage)
        _complete(run, stage)
    return stages


def _require_all(run: Run, stage: str) -> None:
    known = run.shared_out(stage)
    jobs, batches = known["jobs"], known["batches"]
    shards = run.shards(stage)
    shards.drop_broken()
    missing = sorted(set(range(batches)) - shards.finished())
    if not missing:
        return
    counts = {k: sum(number % jobs == k for number in missing) for k in range(jobs)}
    told = [f"{k + 1}/{jobs} ({count:,} batches)" for k, count in counts.items() if count]
    raise IncompleteRunError(
        f"{run.path}: {len(missing):,} of {batches:,} batches of {stage!r} are missing; run again: "
        f"--shard {', '.join(told)}"
    )


def _complete(run: Run, stage: str) -> None:
    kind, _, name = stage.partition("-")
    name = name or "main"
    match kind:
        case "generate":
            generate.complete(run)
        case "detect":
            detect.complete(run, name)
        case "depth":
            box_values.complete(run, stage, "depth", name)
        case "color":
            box_values.complete(run, stage, "color", name)
        case "clip_score":
            clip_score.complete(run)
        case _:
            raise InputError(
                f"{run.path}: all batches of {stage!r} are done; the same command without --shard "
                "completes it"
            )
