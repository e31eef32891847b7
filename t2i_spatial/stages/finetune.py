"""A curated set in, LoRA weights out; in a run directory both have their places."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from t2i_spatial.curation.exporter import read_origin
from t2i_spatial.curation.selection import selection_digest
from t2i_spatial.errors import InputError
from t2i_spatial.files import download_folder, read_table
from t2i_spatial.locations import is_url, locate
from t2i_spatial.progress import note
from t2i_spatial.run import Run
from t2i_spatial.training.hyperparameters import FinetuneSettings

DATA = "curated"
OUTPUT = "lora"


def finetune_run(
    run: Run, settings: FinetuneSettings, *, resume: bool = False, overwrite: bool = False
) -> dict[str, Any]:
    """Train a LoRA on the curated set of `run` into its `lora/`; see `training.finetune`.

    Raises:
        InputError: nothing curated yet, or too little: then the message says what each filter
            removed. A curated set that belongs to another selection.
    """
    from t2i_spatial.training import finetune

    _require_current_set(run)
    try:
        return finetune(
            run.path / DATA, run.path / OUTPUT, settings, resume=resume, overwrite=overwrite
        )
    except InputError as error:
        raise _with_reasons(error, run) from None


def _require_current_set(run: Run) -> None:
    if not run.has(DATA):
        if removed := _removed(run):
            raise InputError(f"nothing was kept to train on in {run.path}; {removed}")
        raise InputError(f"{run.path} has no {DATA}/ yet; run `t2i-spatial curate` first")
    origin = read_origin(run.path / DATA)
    chosen = run.path / "selection.parquet"
    if origin and chosen.exists() and origin != selection_digest(chosen):
        raise InputError(
            f"{run.path / DATA} belongs to an earlier selection than selection.parquet; run "
            "`t2i-spatial curate` again"
        )


def _with_reasons(error: InputError, run: Run) -> InputError:
    """An error about too small a set, with what each filter of the run removed."""
    removed = _removed(run)
    if "the least to train on" in str(error) and removed:
        return InputError(f"{error}; {removed}")
    return error


def finetune_folder(
    data: str | Path,
    output: Path | None,
    settings: FinetuneSettings,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> tuple[Path, dict[str, Any]]:
    """Train on a run directory or a training set; returns where the weights are, and the result.

    Args:
        data: a run directory, or whatever `training.finetune` reads.

    Raises:
        InputError: a training set without `output`; else as `finetune_run`.
    """
    from t2i_spatial.training import finetune

    if str(data).startswith("hf:"):
        if output is None:
            raise InputError(f"say with --output where the LoRA of {data} goes")
        return output, finetune(data, output, settings, resume=resume, overwrite=overwrite)
    if is_url(data):
        return _from_store(locate(str(data)), output, settings, resume, overwrite)
    data = Path(data)
    if (data / "run.json").exists() and output in (None, data / OUTPUT):
        run = Run.open(data)
        return run.path / OUTPUT, finetune_run(run, settings, resume=resume, overwrite=overwrite)
    if output is None:
        raise InputError(f"{data} is not a run directory: say with --output where the LoRA goes")
    if (data / "run.json").exists():
        data = data / DATA
    return output, finetune(data, output, settings, resume=resume, overwrite=overwrite)


def _from_store(
    data: Path, output: Path | None, settings: FinetuneSettings, resume: bool, overwrite: bool
) -> tuple[Path, dict[str, Any]]:
    """Train on a copy of a set that lies on a store, for as long as that takes."""
    from t2i_spatial.training import finetune

    if output is None or is_url(output):
        raise InputError(
            f"a LoRA is trained into a folder of this machine: say with --output where that of "
            f"{data} goes"
        )
    run = Run.open(data) if (data / "run.json").exists() else None
    if run is not None:
        _require_current_set(run)
        data = data / DATA
    with tempfile.TemporaryDirectory(prefix="t2i-spatial-set-") as scratch:
        note(f"fetching {data}")
        download_folder(data, Path(scratch))
        try:
            made = finetune(Path(scratch), output, settings, resume=resume, overwrite=overwrite)
        except InputError as error:
            raise (error if run is None else _with_reasons(error, run)) from None
    return output, made


def _removed(run: Run) -> str:
    """What each filter removed, in words; empty when the run has no selection."""
    if not run.has("selection.parquet"):
        return ""
    selection = read_table(run.path / "selection.parquet", ["kept", "filter"])
    counts = selection.filter(~pl.col("kept")).group_by("filter").len().sort("len", descending=True)
    parts = [f"{row['filter']} {row['len']:,}" for row in counts.iter_rows(named=True)]
    return f"of {selection.height:,} candidates the filters removed: {', '.join(parts)}"
