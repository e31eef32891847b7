"""The curate stage: verdicts or boxes in, `selection.parquet` and a training set out."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from t2i_spatial.curation.box_captions import load_tokenizer
from t2i_spatial.curation.caption_length import Limit, usual_tokens
from t2i_spatial.curation.exporter import (
    EXPORTERS,
    discard,
    export,
    publish,
    require_replaceable,
)
from t2i_spatial.curation.filters.external_scores import Agreement, Column
from t2i_spatial.curation.recaption import recaption, shares
from t2i_spatial.curation.rows import export_rows, warn_long
from t2i_spatial.curation.selection import Selection, select, selection_digest
from t2i_spatial.errors import InputError, T2ISpatialError
from t2i_spatial.files import copy_file, scan_table
from t2i_spatial.locations import is_url
from t2i_spatial.locks import alone
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.progress import note
from t2i_spatial.run import Run, detect_stage, writes_run
from t2i_spatial.stages import contents
from t2i_spatial.stages.captioning import Boxes, Captioned, caption_images, cost_of_captions
from t2i_spatial.stages.curation_sources import (
    coco_candidates,
    file_candidates,
    run_candidates,
    run_pairs,
)
from t2i_spatial.stages.stage_settings import CurateSettings
from t2i_spatial.tables import KEY

STAGE = "curate"
SCRATCH = ".curate-"
FEW = 20
"""Fewer images than this are exported with a warning."""


def check_names(settings: CurateSettings) -> None:
    """Resolve what the settings name, and refuse those without effect, before anything is made.

    Raises:
        InputError: an unknown protocol, filter or exporter, or a setting that nothing reads.
    """
    filters = settings.make_filters(pairs=settings.pairs)
    if settings.export is not None:
        EXPORTERS[settings.export]
    if not settings.pairs:
        PROTOCOLS[settings.protocol]
    used = {type(made) for made in filters}
    for field, kind in (("second", Agreement), ("columns", Column)):
        if getattr(settings, field) is not None and not any(issubclass(u, kind) for u in used):
            raise InputError(
                f"{field!r} has no effect without the filter {kind.name!r}: add --filter "
                f"{kind.name} (in a config file: curate.filters)"
            )
    _check_captions(settings)
    unread: tuple[str, ...] = ()
    if settings.pairs:
        unread = ("protocol", "second", "columns", "min_margin", "duplicate_distance")
    elif settings.pipeline is not None:
        unread = ("min_margin", "duplicate_distance")
    for field in unread:
        if settings.names(field):
            kind_of = "pairs of boxes" if settings.pairs else "a pipeline of one's own"
            raise InputError(f"{field!r} has no effect with {kind_of}")


def _check_captions(settings: CurateSettings) -> None:
    if settings.caption != "judge":
        if settings.names("captioner"):
            raise InputError("settings of a judge have no effect without --caption judge")
        return
    settings.captioner.resolve_writer()
    if settings.pairs or settings.crop:
        raise InputError(
            "a judge writes captions of whole images; pairs of boxes and --crop cut off what it "
            "speaks of"
        )


class TooFewImagesError(T2ISpatialError):
    """Curation left no image, or fewer than were asked for; the message says what took them."""


@dataclass(frozen=True)
class Curated:
    """What the stage made.

    Attributes:
        selection: every candidate in or out, and the counts per filter.
        folder: the training set, `None` when none was asked for.
        images: how many images it holds, mirrored copies included.
        long_captions: how many of them have a caption that the text encoder cuts.
        captions: what a judge wrote, `None` when none was asked.
    """

    selection: Selection
    folder: Path | None
    images: int
    long_captions: int
    captions: Captioned | None = None

    def as_dict(self) -> dict[str, Any]:
        """The counts for a machine."""
        stages = self.selection.stages
        return {
            "candidates": self.selection.candidates,
            "kept": self.selection.kept,
            "stages": [{"filter": s.name, "removed": s.refused, "left": s.kept} for s in stages],
            "exported": self.images,
            "long_captions": self.long_captions,
            "folder": None if self.folder is None else str(self.folder),
            **({} if self.captions is None else {"captions": self.captions.counts()}),
        }

    def as_text(self) -> str:
        """The counts for a person."""
        lines = [self.selection.counts()]
        if self.captions is not None:
            lines.append(self.captions.as_text())
        if self.folder is not None:
            lines.append(f"{self.images:,} images in {self.folder}")
        return "\n".join(lines)


@writes_run
def curate_run(
    run: Run,
    settings: CurateSettings | None = None,
    *,
    announce: bool = True,
    overwrite: bool = False,
) -> Curated:
    """Write `selection.parquet` and the training set of a scored run.

    The stage is made anew on every call: it is quick, and the same run and settings give the
    same bytes. The training set lies in `curated/`, or `curated-<format>/` for other formats than
    `imagefolder`. `announce` prints the line of counts on stderr. With captions of a judge nothing
    is exported until it was asked of every image.

    Args:
        overwrite: ask again what another judge of this name, or an older template, has captioned.

    Raises:
        InputError: the run has no images or no verdicts of the protocol, or a filter is wrong.
        TooFewImagesError: fewer than `min_images` were kept; `selection.parquet` says why, and
            nothing is exported.
    """
    settings = settings or CurateSettings()
    if run.has("images.parquet"):
        run.require_finished("generate", "import")
        contents.require_same(run, detect_stage(settings.name), run.path / "images.parquet")

    def begin() -> None:
        run.discard(STAGE)
        run.begin(STAGE, settings.model_dump(mode="json"))

    with (
        _alone_in(run.path),
        _scratch(run.path) as scratch,
    ):
        boxes = run.path / "detections" / f"{settings.name}.parquet"
        curated = _curate(
            _run_candidates(run, settings, scratch),
            run.path,
            settings,
            pairs=settings.pairs,
            begin=begin,
            detections=scan_table(boxes) if boxes.exists() and not settings.pairs else None,
            run=run,
            overwrite=overwrite,
        )
    if announce:
        note(curated.selection.counts())
    counts = curated.as_dict()
    del counts["folder"]
    if curated.captions is None or not curated.captions.left:
        run.finish(STAGE, **counts)
    return curated


def _run_candidates(run: Run, settings: CurateSettings, scratch: Path) -> pl.LazyFrame:
    if settings.pairs:
        return run_pairs(run, settings.name, settings.min_score, settings.min_area)
    return run_candidates(
        run,
        settings.protocol,
        settings.name,
        settings.second,
        settings.columns,
        scratch=scratch,
    )


def cost_of_curating(run: Run, settings: CurateSettings) -> dict[str, int]:
    """What captions of a judge would take (`captioning.cost_of_captions`); nothing is written.

    Raises:
        InputError: as `curate_run`, or no judge is asked by these settings.
    """
    if settings.caption != "judge":
        raise InputError("only captions of a judge cost anything: --caption judge")
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch:
        candidates = _run_candidates(run, settings, Path(scratch))
        filters = settings.make_filters(pairs=False)
        selection = select(candidates, filters, Path(scratch) / "selection.parquet")
        limit = _limit(settings, run)
        rows = _captioned_rows(selection, candidates, settings)
        boxes = Boxes(settings.name, settings.min_score)
        return cost_of_captions(run, rows, boxes, settings.captioner, limit)


def _require_enough(selection: Selection, root: Path, settings: CurateSettings) -> None:
    if selection.kept < settings.min_images:
        if settings.export is not None:  # an older set would belong to another selection
            discard(root / export_folder(settings.export))
        raise TooFewImagesError(
            f"{selection.kept:,} images were kept, {settings.min_images:,} are needed; "
            f"what each filter removed:\n{selection.refusals()}"
        )


def _captioned_rows(
    selection: Selection, candidates: pl.LazyFrame, settings: CurateSettings
) -> pl.DataFrame:
    """The kept images that a judge writes captions of."""
    rows = selection.frame().filter("kept").select(KEY)
    _, chosen = shares(rows, settings.caption_percent, settings.seed)
    known = candidates.select(*KEY, "path", "text").collect()
    return rows.filter(chosen).join(known, on=KEY, how="left", maintain_order="left")


def _limit(settings: CurateSettings, run: Run | None) -> Limit:
    """How long captions may be: as said, or as models of that family read."""
    tokenizer = load_tokenizer(settings.tokenizer) if settings.tokenizer else None
    if settings.caption_tokens is not None:
        return Limit(settings.caption_tokens, tokenizer)
    made_by = None if run is None else run.plan("generate").get("pipeline")
    return Limit(usual_tokens(tokenizer, made_by), tokenizer)


def curate_coco(
    annotations: Path, images: Path, output: Path, settings: CurateSettings | None = None
) -> Curated:
    """Curate the pairs of boxes of a COCO annotation file into the folder `output`.

    Writes `selection.parquet` (one row per pair: `prompt_id` is the image id, `sample` numbers
    its pairs) and the training set as `curate_run` does. By default the filter is SCOP.

    Raises:
        InputError: the annotation file is broken (says where), or a filter is wrong.
        TooFewImagesError: as for `curate_run`.
    """
    settings = settings or CurateSettings()
    candidates = coco_candidates(annotations, images, settings.min_area)
    with _alone_in(output):
        return _curate(candidates, output, settings, pairs=True, unturned=True)


def curate_detections(
    detections: Path,
    output: Path,
    settings: CurateSettings | None = None,
    *,
    images: Path | None = None,
    prompts: str | None = None,
) -> Curated:
    """Curate the pairs of boxes of a detections file, as `curate_coco` does.

    Args:
        images: folder that image paths of the file are relative to (its own folder by default).
        prompts: prompt set that names the images of VISOR's, GenEval's and COCO's files; our own
            format needs none.

    Raises:
        InputError: the file is broken (says where), or a filter is wrong.
        TooFewImagesError: as for `curate_run`.
    """
    settings = settings or CurateSettings()
    candidates = file_candidates(detections, images, prompts, settings.min_score, settings.min_area)
    with _alone_in(output):
        return _curate(candidates, output, settings, pairs=True)


def export_folder(exporter: str) -> str:
    """Name of the folder of a format within a run; formats never share one."""
    return "curated" if exporter == "imagefolder" else f"curated-{exporter}"


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """One curation at a time writes to a folder; what a killed one left behind is removed.

    Raises:
        InputError: another one is writing there, or nothing can be written.
    """
    with alone(folder, ".curate.lock", "curation"):
        for left in (*folder.glob(f"{SCRATCH}*/"), *folder.glob(".curated*-*/")):
            shutil.rmtree(left, ignore_errors=True)
        yield


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder for a while, on the disk of what is made, or of this machine for a store."""
    place = None if is_url(folder) else folder
    with tempfile.TemporaryDirectory(dir=place, prefix=SCRATCH) as scratch:
        yield Path(scratch)


def _curate(candidates: pl.LazyFrame, root: Path, settings: CurateSettings, **how: Any) -> Curated:
    """Select and export in `root`; for a store, in a folder of this machine, then published."""
    if not is_url(root):
        return _curate_here(candidates, root, settings, **how)
    name = None if settings.export is None else export_folder(settings.export)
    if name is not None:
        require_replaceable(root / name)
    with _scratch(root) as here:
        try:
            made = _curate_here(candidates, here, settings, **how)
        except TooFewImagesError:
            if name is not None:  # an older set would belong to another selection
                discard(root / name)
            copy_file(here / "selection.parquet", root / "selection.parquet")
            raise
        copy_file(here / "selection.parquet", root / "selection.parquet")
        if name is not None and made.folder is None:  # not made yet, and an older one is another's
            discard(root / name)
        elif name is not None:
            publish(here / name, root / name)
    selection = dataclasses.replace(made.selection, path=root / "selection.parquet")
    folder = None if name is None or made.folder is None else root / name
    return dataclasses.replace(made, selection=selection, folder=folder)


def _curate_here(
    candidates: pl.LazyFrame,
    root: Path,
    settings: CurateSettings,
    *,
    pairs: bool,
    unturned: bool = False,
    begin: Callable[[], None] = lambda: None,
    detections: pl.LazyFrame | None = None,
    run: Run | None = None,
    overwrite: bool = False,
) -> Curated:
    filters = settings.make_filters(pairs=pairs, unturned=unturned)
    if settings.export is not None:
        EXPORTERS[settings.export]
    limit = _limit(settings, run)
    begin()
    selection = select(candidates, filters, root / "selection.parquet")
    kind = settings.caption or ("scop" if pairs else "prompt")
    captions = None
    if kind == "judge" and run is not None:
        _require_enough(selection, root, settings)  # before anything is paid for
        captions = caption_images(
            run,
            _captioned_rows(selection, candidates, settings),
            Boxes(settings.name, settings.min_score),
            settings.captioner,
            limit,
            overwrite=overwrite,
        )
        captions.require_some()
        candidates = captions.join(candidates)
    if captions is not None and captions.left:
        if settings.export is not None:  # an older set would belong to another selection
            discard(root / export_folder(settings.export))
        return Curated(selection, None, 0, 0, captions)
    if kind != "prompt" or settings.drop_long:
        selection = recaption(
            selection,
            candidates,
            kind,
            percent=settings.caption_percent,
            seed=settings.seed,
            limit=limit,
            drop_long=settings.drop_long,
            detections=detections,
            min_score=settings.min_score,
        )
    _require_enough(selection, root, settings)
    if selection.kept < FEW:
        note(f"few images for fine-tuning: {selection.kept}")
    crop = pairs if settings.crop is None else settings.crop
    rows = export_rows(candidates, selection, crop=crop, mirror=settings.mirror)
    long = warn_long(rows, limit)
    if settings.export is None:
        return Curated(selection, None, 0, long, captions)
    folder = export(
        rows,
        root / export_folder(settings.export),
        settings.export,
        resolution=settings.resolution,
        origin=selection_digest(selection.path),
        about="" if captions is None else captions.as_markdown(),
    )
    return Curated(selection, folder, len(rows), long, captions)
