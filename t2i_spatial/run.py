"""The run directory: a manifest that says how it was made, and tables written whole or not at all.

Layout: `run.json`, `prompts.parquet`, `images/`, `images.parquet`, `detections/`, `verdicts/`,
`summary.json`, `curated/`, `lora/`, `report.html`. A stage that works through batches keeps one
Parquet shard per finished batch in `.shards/<stage>/`; a rerun does only the batches without one.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import polars as pl
from filelock import FileLock, Timeout

from t2i_spatial.errors import InputError, PlanMismatchError, T2ISpatialError
from t2i_spatial.tables import DETECTIONS, IMAGES, PROMPTS, VERDICTS, conform

FORMAT = 1


@contextlib.contextmanager
def atomic_write(path: str | Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Write a file that appears complete or not at all (temporary name, fsync, rename).

    Raises:
        T2ISpatialError: the disk is full or not writable; the old file, if any, is untouched.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"
        )
    except OSError as error:
        raise T2ISpatialError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        with os.fdopen(descriptor, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise T2ISpatialError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def write_json(path: str | Path, data: Any) -> None:
    """Atomic, sorted, indented JSON."""
    with atomic_write(path, "w") as file:
        json.dump(data, file, indent=2, ensure_ascii=False)
        file.write("\n")


def write_table(path: str | Path, table: pl.DataFrame) -> None:
    """Atomic Parquet."""
    with atomic_write(path) as file:
        table.write_parquet(file, compression="zstd")


def claim_folder(folder: Path, lock: FileLock, what: str) -> None:
    """Make a folder and take the lock of whoever writes to it.

    Raises:
        InputError: another `what` holds the lock, or nothing can be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another {what} is writing to {folder} right now") from None
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from None


class Run:
    """A run directory.

    >>> run = Run.create(getfixture("tmp_path") / "run")
    >>> run.begin("generate", {"seed": 0, "samples": 4})
    >>> run.begin("generate", {"seed": 1, "samples": 4})
    Traceback (most recent call last):
    ...
    t2i_spatial.errors.PlanMismatchError: ... was made with another plan for 'generate':
      seed: 0 there, 1 now
    ...
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest: dict[str, Any] = {}

    @classmethod
    def create(cls, path: str | Path) -> Run:
        """Open the run at `path`, making it if there is none.

        Raises:
            InputError: `path` is a file, or a non-empty folder that is not a run directory.
        """
        run = cls(path)
        if run._manifest_path.exists():
            return cls.open(path)
        if run.path.exists() and (not run.path.is_dir() or any(run.path.iterdir())):
            raise InputError(
                f"{path} exists and is not a run directory (no run.json); choose an empty --output"
            )
        try:
            run.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make {path}: {error.strerror}") from None
        run.manifest = {"format": FORMAT, "created": _now(), "stages": {}}
        run._save()
        return run

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open an existing run.

        Raises:
            InputError: no `run.json`, or one this version cannot read.
        """
        run = cls(path)
        try:
            run.manifest = json.loads(run._manifest_path.read_text("utf-8"))
        except FileNotFoundError:
            raise InputError(f"{path} is not a run directory (no run.json)") from None
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise InputError(f"{run._manifest_path} cannot be read: {error}") from None
        if run.manifest.get("format") != FORMAT:
            raise InputError(
                f"{run._manifest_path} has format {run.manifest.get('format')!r}; "
                f"this version reads {FORMAT}"
            )
        return run

    @property
    def _manifest_path(self) -> Path:
        return self.path / "run.json"

    def _save(self) -> None:
        write_json(self._manifest_path, self.manifest)

    # -- stages -------------------------------------------------------------------------------

    def begin(
        self,
        stage: str,
        plan: Mapping[str, Any],
        *,
        record: Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ) -> None:
        """Record how a stage is about to be made, or check that it is the same as before.

        Args:
            plan: what determines the stage's output; another plan is refused.
            record: what is only worth knowing (versions, device); never compared.
            overwrite: drop what an earlier plan made instead of refusing.

        Raises:
            PlanMismatchError: naming every difference.
        """
        plan = json.loads(json.dumps(plan))
        known = self.manifest["stages"].get(stage)
        if known is not None and known["plan"] != plan:
            if not overwrite:
                lines = "\n".join(
                    f"  {key}: {known['plan'].get(key)!r} there, {plan.get(key)!r} now"
                    for key in sorted({*known["plan"], *plan})
                    if known["plan"].get(key) != plan.get(key)
                )
                raise PlanMismatchError(
                    f"{self.path} was made with another plan for {stage!r}:\n{lines}\n"
                    "use another --output, or --overwrite to make this stage anew"
                )
            self.discard(stage)
            known = None
        if known is None:
            known = {"plan": plan, "begun": _now()}
        known["record"] = dict(record or {})
        self.manifest["stages"][stage] = known
        self._save()

    def finish(self, stage: str, **results: Any) -> None:
        """Mark a stage as complete, with counts worth keeping, and drop its shards."""
        self.manifest["stages"][stage].update(finished=_now(), results=results)
        self._save()
        shutil.rmtree(self._shard_folder(stage), ignore_errors=True)

    def is_finished(self, stage: str) -> bool:
        """Whether `stage` has been completed in this directory."""
        return "finished" in self.manifest["stages"].get(stage, {})

    def plan(self, stage: str) -> dict[str, Any]:
        """The plan of a stage, empty when the stage has not begun."""
        return dict(self.manifest["stages"].get(stage, {}).get("plan", {}))

    def discard(self, stage: str) -> None:
        """Forget a stage and its shards (its tables are replaced when it is made anew)."""
        self.manifest["stages"].pop(stage, None)
        self._save()
        shutil.rmtree(self._shard_folder(stage), ignore_errors=True)

    # -- shards -------------------------------------------------------------------------------

    def _shard_folder(self, stage: str) -> Path:
        return self.path / ".shards" / stage

    def finished_shards(self, stage: str) -> set[int]:
        """Numbers of the batches whose shard is on disk."""
        return {int(p.stem) for p in self._shard_folder(stage).glob("*.parquet")}

    def write_shard(self, stage: str, number: int, table: pl.DataFrame) -> None:
        """Write the rows of one finished batch."""
        write_table(self._shard_folder(stage) / f"{number:08d}.parquet", table)

    def drop_shard(self, stage: str, number: int) -> None:
        """Forget one finished batch, so that it is done again."""
        (self._shard_folder(stage) / f"{number:08d}.parquet").unlink(missing_ok=True)

    def read_shards(self, stage: str, schema: pl.Schema) -> pl.DataFrame:
        """All rows of the finished batches in batch order."""
        paths = sorted(self._shard_folder(stage).glob("*.parquet"))
        if not paths:
            return pl.DataFrame(schema=schema)
        return pl.concat([pl.read_parquet(p) for p in paths]).select(list(schema))

    def join_shards(self, stage: str, name: str) -> None:
        """Make one Parquet file of a stage's shards, without loading them all, and drop them.

        Raises:
            T2ISpatialError: the file cannot be written.
        """
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.tmp")
        try:
            pl.scan_parquet(sorted(self._shard_folder(stage).glob("*.parquet"))).sink_parquet(
                temporary, compression="zstd"
            )
            os.replace(temporary, target)
        except OSError as error:
            raise T2ISpatialError(f"cannot write {target}: {error.strerror or error}") from error
        finally:
            temporary.unlink(missing_ok=True)
        shutil.rmtree(self._shard_folder(stage), ignore_errors=True)

    # -- tables -------------------------------------------------------------------------------

    def write_prompts(self, table: pl.DataFrame) -> None:
        """Write the prompt set of the run."""
        write_table(self.path / "prompts.parquet", conform(table, PROMPTS, "prompts"))

    def prompts(self) -> pl.DataFrame:
        """The PROMPTS table."""
        return self._read("prompts.parquet", PROMPTS)

    def write_images(self, table: pl.DataFrame) -> None:
        """Write the table of expected images."""
        write_table(self.path / "images.parquet", conform(table, IMAGES, "images"))

    def images(self) -> pl.DataFrame:
        """The IMAGES table; see `image_path` for the files."""
        return self._read("images.parquet", IMAGES)

    def image_path(self, image: str) -> Path:
        """Where an `image` entry of a table lies on this machine."""
        return self.path / image

    def write_detections(self, table: pl.DataFrame, name: str = "main") -> None:
        """Write the detections of one detector (`main`, or a name for a second opinion)."""
        write_table(
            self.path / "detections" / f"{name}.parquet", conform(table, DETECTIONS, "detections")
        )

    def detections(self, name: str = "main") -> pl.DataFrame:
        """The DETECTIONS table of one detector."""
        return self._read(f"detections/{name}.parquet", DETECTIONS)

    def write_verdicts(self, table: pl.DataFrame, protocol: str) -> None:
        """Write the verdicts of one protocol."""
        write_table(
            self.path / "verdicts" / f"{protocol}.parquet", conform(table, VERDICTS, "verdicts")
        )

    def verdicts(self, protocol: str | None = None) -> pl.DataFrame:
        """The VERDICTS table of one protocol, or of all that were scored."""
        if protocol is not None:
            return self._read(f"verdicts/{protocol}.parquet", VERDICTS)
        paths = sorted((self.path / "verdicts").glob("*.parquet"))
        if not paths:
            raise InputError(f"{self.path} has no verdicts yet; run `t2i-spatial score` first")
        return pl.concat([pl.read_parquet(p) for p in paths])

    def has(self, name: str) -> bool:
        """Whether a file of the run exists, e.g. `detections/main.parquet`."""
        return (self.path / name).exists()

    def _read(self, name: str, schema: pl.Schema) -> pl.DataFrame:
        path = self.path / name
        if not path.exists():
            raise InputError(f"{self.path} has no {name} yet; run the stage that makes it first")
        try:
            return conform(pl.read_parquet(path), schema, name)
        except pl.exceptions.PolarsError as error:
            raise InputError(f"{path} cannot be read: {error}") from None


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
