"""Early stopping over a file of detections, a run, or images yet to be made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from t2i_spatial.detectors.score_levels import fitted
from t2i_spatial.errors import InputError
from t2i_spatial.metrics.base import Metric
from t2i_spatial.metrics.numbers import Intervals
from t2i_spatial.provenance import prompt_set_hash
from t2i_spatial.run import Run, writes_run
from t2i_spatial.scene import Prompt
from t2i_spatial.stages.compare import IncomparableRunsError
from t2i_spatial.stages.early_stopping.judge import (
    Stopped,
    applicable,
    decide_until,
    find_target,
    judge_to_precision,
)
from t2i_spatial.stages.early_stopping.sources import RoundsLook, StoredLook
from t2i_spatial.stages.score import detections_hash, score_run
from t2i_spatial.stages.scores import STOPPING
from t2i_spatial.tables import prompts_to_table

if TYPE_CHECKING:
    from t2i_spatial.interchange.reading import DetectionFiles
    from t2i_spatial.stages.stage_settings import DetectSettings, GenerateSettings


def score_to_precision(
    protocol: Metric,
    precision: float,
    *,
    run: Path | None = None,
    images: Path | None = None,
    detections: Path | DetectionFiles | None = None,
    coco_images: Path | None = None,
    prompts: str | Sequence[Prompt] | None = None,
    generate: GenerateSettings | None = None,
    detect: DetectSettings | None = None,
    output: Path | None = None,
    number: str | None = None,
    samples: int | None = None,
    allow_missing: bool = False,
    seed: int = 0,
    overwrite: bool = False,
) -> Stopped:
    """Judge random prompts until a number is known to ± `precision`; do no more than that needs.

    What is judged: stored `detections` of `prompts`; a `run` that has detections; a `run` that has
    images, or a folder of `images`, which are then detected as far as needed; or `prompts` whose
    images are made with `generate` and detected as far as needed. The last three write `output`, a
    run of the judged prompts whose manifest says how it was stopped (stage `stopping`).

    Raises:
        InputError: not exactly one source, or no `output` for what must be made.
        PlanMismatchError: `output` was stopped by another rule.
        T2ISpatialError: what the stages raise.
    """
    from t2i_spatial.prompts import load_prompts

    options: dict[str, Any] = {"number": number, "allow_missing": allow_missing, "seed": seed}
    if isinstance(prompts, str):
        prompts = load_prompts(prompts)
    if detections is not None and prompts is not None:
        from t2i_spatial.interchange.reading import DetectionFiles

        if not isinstance(detections, DetectionFiles):
            detections = DetectionFiles((detections,), coco_images)
        table = prompts_to_table(prompts)
        found = detections.read(table)
        stored = StoredLook(table, found, protocol, samples=samples)
        return judge_to_precision(table, stored, protocol, precision, **options)
    source = None if run is None else Run.open(run)
    if source is not None and source.has("detections/main.parquet"):
        protocol = fitted(protocol, source.plan("detect").get("backend"))
        look = StoredLook(
            source.prompts(),
            source.detections(),
            protocol,
            samples=samples,
            images=source.images() if source.has("images.parquet") else None,
        )
        return judge_to_precision(source.prompts(), look, protocol, precision, **options)
    if output is None:
        raise InputError("images that are detected as needed go to a new run: give --output")
    target = Run.create(output)
    if images is not None:
        from t2i_spatial.stages.import_images import import_images

        source = Run.create(target.path / "whole")
        import_images(source, images, prompts, samples, overwrite=overwrite)
    if source is not None:
        table = source.prompts()
    elif prompts is not None and generate is not None:
        table = prompts_to_table(prompts)
    else:
        raise InputError("give stored detections, a run, or prompts and a generator")
    return _in_rounds(
        target,
        protocol,
        precision,
        applicable(table, protocol),
        generate if source is None else None,
        detect,
        source,
        number,
        allow_missing,
        seed,
        overwrite,
    )


def decide_between(
    a: Path,
    b: Path,
    protocol: Metric,
    output: Path,
    *,
    margin: float = 0.02,
    number: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> Stopped:
    """Make and judge the images of random prompts with A and B until the better one is known.

    Args:
        a, b: each a config file (YAML or TOML, sections `prompts`, `generate`, `detect`), whose
            images are made as far as needed, or a run that has images.
        output: receives the runs `a` and `b` of the judged prompts, ready for `compare`.
        margin: differences up to this are of no interest.

    Raises:
        IncomparableRunsError: other prompts or detectors.
        T2ISpatialError: what the stages raise.
    """
    sides = [_side(path) for path in (a, b)]
    prompts = [applicable(side.prompts, protocol) for side in sides]
    texts = [sorted(p.select("prompt_id", "text").iter_rows()) for p in prompts]
    if texts[0] != texts[1]:
        raise IncomparableRunsError(
            f"A has {len(texts[0]):,} prompts and B {len(texts[1]):,}, and they are not the same"
        )
    ways = [side.detect.model_dump(exclude={"device", "batch_size"}) for side in sides]
    if ways[0] != ways[1]:
        raise IncomparableRunsError(f"A is detected by {ways[0]}, B by {ways[1]}")
    runs = [Run.create(output / name) for name in "ab"]
    options: dict[str, Any] = {"margin": margin, "number": number, "seed": seed}
    with runs[0].writing(), runs[1].writing():
        return _decide(runs, sides, prompts, protocol, overwrite=overwrite, **options)


def _decide(
    runs: Sequence[Run],
    sides: Sequence[_Side],
    prompts: Sequence[pl.DataFrame],
    protocol: Metric,
    *,
    margin: float,
    number: str | None,
    seed: int,
    overwrite: bool,
) -> Stopped:
    looks = []
    for run, side, table in zip(runs, sides, prompts, strict=True):
        plan = _plan(protocol, find_target(protocol, table, number, plain=True).name, table, seed)
        run.begin(STOPPING, {**plan, "margin": margin}, overwrite=overwrite)
        looks.append(
            RoundsLook(
                run,
                table,
                protocol,
                side.detect,
                generate=side.generate,
                source=side.source,
                overwrite=overwrite,
            )
        )
    stopped = decide_until(
        prompts[0], looks[0], looks[1], protocol, margin=margin, number=number, seed=seed
    )
    for look in looks:
        score_run(look.collect(), [protocol], Intervals(seed=seed))
        look.output.finish(STOPPING, **stopped.to_json())
    return stopped


@dataclass(frozen=True)
class _Side:
    """One of the two that are compared."""

    prompts: pl.DataFrame
    detect: DetectSettings
    generate: GenerateSettings | None
    source: Run | None


def _side(path: Path) -> _Side:
    from t2i_spatial.stages.config import load_config
    from t2i_spatial.stages.stage_settings import DetectSettings, GenerateSettings

    if path.is_dir():
        run = Run.open(path)
        return _Side(run.prompts(), DetectSettings(), None, run)
    settings = load_config(path)
    return _Side(
        prompts_to_table(settings.prompts.load()),
        settings.detect,
        settings.generate or GenerateSettings(),
        None,
    )


def _plan(protocol: Metric, number: str, table: pl.DataFrame, seed: int) -> dict[str, Any]:
    return {
        "protocol": protocol.name,
        "settings": protocol.settings,
        "number": number,
        "seed": seed,
        "population": len(table),
        "prompts": prompt_set_hash(list(table.select("prompt_id", "text").iter_rows())),
    }


@writes_run
def _in_rounds(
    output: Run,
    protocol: Metric,
    precision: float,
    table: pl.DataFrame,
    generate: GenerateSettings | None,
    detect: DetectSettings | None,
    source: Run | None,
    number: str | None,
    allow_missing: bool,
    seed: int,
    overwrite: bool,
) -> Stopped:
    from t2i_spatial.stages.stage_settings import DetectSettings

    plan = _plan(protocol, find_target(protocol, table, number).name, table, seed)
    output.begin(
        STOPPING,
        {**plan, "precision": precision, "allow_missing": allow_missing},
        overwrite=overwrite,
    )
    look = RoundsLook(
        output,
        table,
        protocol,
        detect or DetectSettings(),
        generate=generate,
        source=source,
        overwrite=overwrite,
    )
    stopped = judge_to_precision(
        table,
        look,
        protocol,
        precision,
        number=number,
        allow_missing=allow_missing,
        seed=seed,
    )
    look.collect()
    # before scoring, which writes the bounds of a finished stop into the summary
    output.finish(STOPPING, **stopped.to_json(), detections=detections_hash(output))
    score_run(output, [protocol], Intervals(allow_missing=allow_missing, seed=seed))
    return stopped
