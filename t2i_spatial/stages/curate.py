"""The curate stage: verdicts of a run in, `selection.parquet` and a training set out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from t2i_spatial.curation.candidates import join_candidates
from t2i_spatial.curation.captions import CLIP_TOKENS, count_tokens
from t2i_spatial.curation.exporter import EXPORT, EXPORTERS, export
from t2i_spatial.curation.filter import Filter, make_filter
from t2i_spatial.curation.pipeline import Selection, select
from t2i_spatial.errors import InputError, T2ISpatialError
from t2i_spatial.progress import note
from t2i_spatial.run import Run
from t2i_spatial.tables import KEY

STAGE = "curate"
FEW = 20
"""Fewer images than this are exported with a warning."""


class CurateSettings(BaseModel):
    """Settings of the curate stage, one to one the options of the command."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: str = "visor"
    detections: str = "main"
    min_score: float = Field(
        default=0.3, ge=0, le=1, description="of the detector, for every box used"
    )
    min_margin: float = Field(default=0.05, description="distance from the other answer")
    duplicate_distance: int = Field(
        default=4, ge=-1, le=12, description="bits of pHash; -1 keeps all"
    )
    filters: tuple[str | dict[str, Any], ...] = Field(
        default=(), description="further filters, in order"
    )
    pipeline: tuple[str | dict[str, Any], ...] | None = Field(
        default=None,
        description="all filters, instead of correctness, score, margin and duplicates",
    )
    export: str | None = "imagefolder"
    resolution: int | None = Field(default=None, ge=8)
    min_images: int = Field(default=1, ge=1)

    def make_filters(self) -> list[Filter]:
        """The pipeline these settings mean.

        Raises:
            InputError: an unknown filter or parameter.
        """
        if self.pipeline is not None:
            return [make_filter(f) for f in (*self.pipeline, *self.filters)]
        names: list[Any] = [
            "scored",
            "correct",
            {"filter": "score", "minimum": self.min_score},
            {"filter": "margin", "minimum": self.min_margin},
            *self.filters,
        ]
        if self.duplicate_distance >= 0:
            names.append({"filter": "near_duplicates", "distance": self.duplicate_distance})
        return [make_filter(f) for f in names]


class TooFewImagesError(T2ISpatialError):
    """Curation left no image, or fewer than were asked for; the message says what took them."""


@dataclass(frozen=True)
class Curated:
    """What the stage made: the selection, and the folder of the training set (if exported)."""

    selection: Selection
    folder: Path | None
    images: int


def curate_run(
    run: Run, settings: CurateSettings | None = None, *, overwrite: bool = False
) -> Curated:
    """Write `selection.parquet` and the training set of a scored run.

    The stage is made anew on every call: it is quick, and the same run and settings give the
    same bytes. The training set lies in `curated/`, or `curated-<format>/` for other formats than
    `imagefolder`. `overwrite` is accepted for symmetry with other stages.

    Raises:
        InputError: the run has no images or no verdicts of the protocol, or a filter is wrong.
        TooFewImagesError: fewer than `min_images` were kept; `selection.parquet` says why, and
            nothing is exported.
    """
    settings = settings or CurateSettings()
    filters = settings.make_filters()
    if settings.export is not None:
        EXPORTERS[settings.export]
    candidates = run_candidates(run, settings.protocol, settings.detections)
    run.discard(STAGE)
    run.begin(STAGE, settings.model_dump(mode="json"))
    selection = select(candidates, filters, run.path / "selection.parquet")
    note(selection.counts())
    if selection.kept < settings.min_images:
        raise TooFewImagesError(
            f"{selection.kept:,} images were kept, {settings.min_images:,} are needed; "
            f"what each filter removed:\n{selection.refusals()}"
        )
    if selection.kept < FEW:
        note(f"only {selection.kept} images were kept: few for fine-tuning")
    folder = None
    rows = export_rows(candidates, selection)
    if settings.export is not None:
        warn_long(rows)
        folder = export(
            rows,
            run.path / export_folder(settings.export),
            settings.export,
            resolution=settings.resolution,
        )
    run.finish(
        STAGE,
        candidates=selection.candidates,
        kept=selection.kept,
        exported=len(rows) if folder else 0,
        stages=[{"filter": s.name, "removed": s.refused, "left": s.kept} for s in selection.stages],
    )
    return Curated(selection, folder, len(rows) if folder else 0)


def export_folder(exporter: str) -> str:
    """Name of the folder of a format within a run; formats never share one."""
    return "curated" if exporter == "imagefolder" else f"curated-{exporter}"


def run_candidates(run: Run, protocol: str, detections: str = "main") -> pl.LazyFrame:
    """The candidates of a run (see `curation.candidates`), read when they are needed.

    Raises:
        InputError: a table is missing.
    """
    for name, stage in (
        ("prompts.parquet", "generate"),
        ("images.parquet", "generate"),
        (f"verdicts/{protocol}.parquet", f"score --protocol {protocol}"),
    ):
        if not run.has(name):
            raise InputError(f"{run.path} has no {name} yet; run `t2i-spatial {stage}` first")
    boxes = f"detections/{detections}.parquet"
    if detections != "main" and not run.has(boxes):
        raise InputError(f"{run.path} has no {boxes}; run `t2i-spatial detect --name` first")
    return join_candidates(
        pl.scan_parquet(run.path / "images.parquet"),
        pl.scan_parquet(run.path / "prompts.parquet"),
        pl.scan_parquet(run.path / "verdicts" / f"{protocol}.parquet"),
        pl.scan_parquet(run.path / boxes) if run.has(boxes) else None,
        folder=str(run.path),
    )


def export_rows(candidates: pl.LazyFrame, selection: Selection) -> pl.DataFrame:
    """EXPORT rows of what was kept, in the order of the candidates."""
    kept = (
        pl.scan_parquet(selection.path)
        .filter("kept")
        .select(*KEY, pl.col("caption").alias("text"), "weight")
    )
    more = candidates.select(*KEY, "path", "score", "margin")
    table = kept.join(more, on=KEY, how="left", maintain_order="left").with_columns(
        mirrored=pl.lit(False), crop=pl.lit(None)
    )
    return table.select(pl.col(name).cast(dtype) for name, dtype in EXPORT.items()).collect()


def warn_long(rows: pl.DataFrame) -> None:
    """One note when captions are longer than a CLIP text encoder reads."""
    long = [text for text in rows["text"].unique() if count_tokens(text) > CLIP_TOKENS]
    if long:
        note(
            f"{len(long):,} captions are longer than {CLIP_TOKENS} CLIP tokens and will be cut "
            f"by the text encoder, for example {long[0][:60]!r}..."
        )
