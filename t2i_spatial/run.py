"""The run directory: a manifest that says how it was made, and tables written whole or not at all.

Layout: `run.json`, `prompts.parquet`, `images/`, `images.parquet`, `detections/`, `contents/`,
`verdicts/`, `summary.json`, `curated/`, `lora/`, `report.html`. A stage that works through batches
keeps one Parquet shard per finished batch in `.shards/<stage>/<plan>/`; a rerun does only the
batches without one.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import polars as pl

from t2i_spatial import jobs, parts
from t2i_spatial.errors import InputError, PlanMismatchError
from t2i_spatial.files import (
    LITTER,
    create_json,
    json_bytes,
    read_json,
    read_table,
    remove_tree,
)
from t2i_spatial.files import atomic_write as atomic_write  # where it was before
from t2i_spatial.files import write_json as write_json
from t2i_spatial.files import write_table as write_table
from t2i_spatial.locations import is_remote, locate, locate_listed
from t2i_spatial.locks import Lease, alone
from t2i_spatial.locks import claim_folder as claim_folder  # where it was before
from t2i_spatial.notebook import html_table
from t2i_spatial.questions import ANSWERS
from t2i_spatial.shards import FOLDER, Shards
from t2i_spatial.tables import DETECTIONS, IMAGES, PROMPTS, VERDICTS, conform

FORMAT = 1
LOCK = ".run.lock"

P = ParamSpec("P")
T = TypeVar("T")


def detect_stage(name: str = "main") -> str:
    """Key in `run.json` of the stage that writes `detections/<name>.parquet`."""
    return "detect" if name == "main" else f"detect-{name}"


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
        self.path = locate(path)
        self.manifest: dict[str, Any] = {}
        self._lease: Lease | None = None
        self._job: contextlib.ExitStack | None = None

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def _repr_html_(self) -> str:
        """What was done in this run, for a notebook."""
        rows = [
            (stage, entry.get("finished", "not finished"), _brief(entry.get("plan", {})))
            for stage, entry in self.manifest.get("stages", {}).items()
        ]
        return html_table(f"run {self.path}", ("stage", "finished", "how"), rows)

    @classmethod
    def create(cls, path: str | Path) -> Run:
        """Open the run at `path`, making it if there is none.

        Raises:
            InputError: `path` is a file, or a non-empty folder that is not a run directory; or "-",
                which stands for standard output, and a folder is none.
        """
        if str(path) == "-":
            raise InputError("a run is a folder and cannot go to standard output; give --output")
        run = cls(path)
        if is_remote(run.path):
            run.path.require_writable()
        if run._manifest_path.exists():
            return cls.open(path)
        if run.path.exists() and (not run.path.is_dir() or not _is_empty(run.path)):
            if run._manifest_path.exists():  # another command was quicker
                return cls.open(path)
            raise InputError(
                f"{path} exists and is not a run directory (no run.json); choose an empty --output"
            )
        try:
            run.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make {path}: {error.strerror}") from None
        run.manifest = {"format": FORMAT, "created": _now(), "stages": {}}
        if not create_json(run._manifest_path, run.manifest):
            return cls.open(path)  # another command was quicker
        return run

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open an existing run.

        Raises:
            InputError: no `run.json`, or one this version cannot read.
        """
        run = cls(path)
        run._load()
        return run

    def _load(self) -> None:
        if not self._manifest_path.exists():
            raise InputError(f"{self.path} is not a run directory (no run.json)")
        manifest = read_json(self._manifest_path)
        form = manifest.get("format") if isinstance(manifest, dict) else None
        if form != FORMAT:
            raise InputError(
                f"{self._manifest_path} has format {form!r}; this version reads {FORMAT}"
            )
        self.manifest = manifest

    @contextlib.contextmanager
    def writing(self, job: jobs.Job | None = None) -> Iterator[None]:
        """Be the only one who writes to this run; what another one has recorded is read first.

        A writer may call others: the lock is one per process and thread.

        Args:
            job: (i, n) of one of n jobs that make a stage together. They wait for each other, but
                while they are `sharing`.

        Raises:
            InputError: another command is writing to the run, or nothing can be written.
        """
        if job is None or self._job is not None:
            with self._alone(job):
                yield
            return
        with jobs.being(self.path, job):
            self._job = contextlib.ExitStack()
            try:
                with self._job as held:
                    held.enter_context(self._alone(job))
                    yield
            finally:
                self._job = None

    @contextlib.contextmanager
    def sharing(self) -> Iterator[None]:
        """Let the other jobs write meanwhile; nothing where this command is alone."""
        if self._job is None:
            yield
            return
        self._job.close()
        yield
        self._job.enter_context(self._alone((0, 0)))

    @contextlib.contextmanager
    def _alone(self, job: jobs.Job | None) -> Iterator[None]:
        before = self._lease
        wait = 0.0 if job is None else jobs.WAIT
        with alone(self.path, LOCK, "t2i-spatial command", wait) as lease:
            if job is None and self._job is None and (others := jobs.at_work(self.path)):
                raise InputError(
                    f"jobs with --shard {', '.join(others)} are writing to {self.path} right now"
                )
            if lease is not None:
                lease.watch(self._manifest_path.name)
            if self._manifest_path.exists():
                self._load()
            self._lease = lease
            try:
                yield
            finally:
                self._lease = before

    @property
    def _manifest_path(self) -> Path:
        return self.path / "run.json"

    def _save(self) -> None:
        if self._lease is None:
            write_json(self._manifest_path, self.manifest)
        else:
            self._lease.write(self._manifest_path.name, json_bytes(self.manifest))

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

        A finished stage keeps the record of how it was made; see `reopen`.

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
                other = "--name" if stage.startswith("ask-") else "--output"
                raise PlanMismatchError(
                    f"{self.path} was made with another plan for {stage!r}:\n{lines}\n"
                    f"use another {other}, or --overwrite to make this stage anew"
                )
            self.discard(stage)
            known = None
        if known is None:
            # shards first: what is left of an older plan must not outlive the word of it
            remove_tree(self.path / FOLDER / stage)
            known = {"plan": plan, "begun": _now(), "record": dict(record or {})}
        elif "finished" not in known:
            _note_record(known, record)
        self.manifest["stages"][stage] = known
        self._save()

    def reopen(self, stage: str, record: Mapping[str, Any] | None = None) -> None:
        """Take back that a stage is finished, before parts of it are made again.

        Until it is finished again its tables cannot be read with `detections`, `verdicts` ...
        """
        known = self.manifest["stages"][stage]
        for key in ("finished", "results"):
            known.pop(key, None)
        _note_record(known, record)
        self._save()

    def extend(
        self, stage: str, plan: Mapping[str, Any], record: Mapping[str, Any], **facts: Any
    ) -> None:
        """Give a finished stage a larger plan, of which what is there is the beginning."""
        known = self.manifest["stages"][stage]
        known.update(plan=json.loads(json.dumps(plan)), **facts)
        self.reopen(stage, record)

    def note(self, stage: str, **facts: Any) -> None:
        """Add to the record of a stage that is being made."""
        self.manifest["stages"][stage]["record"].update(facts)
        self._save()

    def share_out(self, stage: str, count: int, batches: int) -> None:
        """Keep that a stage of so many batches is made by so many jobs.

        Raises:
            InputError: it is being made by another number of jobs.
        """
        known = self.manifest["stages"][stage].setdefault("jobs", {"jobs": count})
        if (before := known["jobs"]) != count:
            raise InputError(
                f"{self.path}: {stage!r} is being made by {before} jobs, so --shard is 1/{before} "
                f"to {before}/{before}; without it, all that is left is done by one"
            )
        known["batches"] = batches
        self._save()

    def shared_out(self, stage: str) -> dict[str, int]:
        """How many `jobs` make a stage of so many `batches`; empty if it was not shared out."""
        return dict(self.manifest["stages"].get(stage, {}).get("jobs", {}))

    def finish(self, stage: str, **results: Any) -> None:
        """Mark a stage as complete, with counts worth keeping, and drop its shards."""
        self.manifest["stages"][stage].update(finished=_now(), results=results)
        self.manifest["stages"][stage].pop("jobs", None)
        self._save()
        remove_tree(self.path / FOLDER / stage)

    def is_finished(self, stage: str) -> bool:
        """Whether `stage` has been completed in this directory."""
        return "finished" in self.manifest["stages"].get(stage, {})

    def plan(self, stage: str) -> dict[str, Any]:
        """The plan of a stage, empty when the stage has not begun."""
        return dict(self.manifest["stages"].get(stage, {}).get("plan", {}))

    def results(self, stage: str) -> dict[str, Any]:
        """What `finish` kept of a stage, empty until it is finished."""
        return dict(self.manifest["stages"].get(stage, {}).get("results", {}))

    def remember(self, stage: str, files: Iterable[str]) -> None:
        """Keep which contents of `files` (those that are there) a stage is made from."""
        self.manifest["stages"][stage]["sources"] = {
            name: [*parts.stamp(path), parts.fingerprint(path)]
            for name in files
            if (path := self.path / name).exists()
        }

    def require_same_sources(self, stage: str) -> None:
        """Refuse what a stage made of files that have been replaced since.

        Size and time of change are a quick look, the hash decides.

        Raises:
            PlanMismatchError: naming the file.
        """
        for name, facts in self.manifest["stages"].get(stage, {}).get("sources", {}).items():
            path = self.path / name
            if not path.exists():
                continue
            if facts[:2] == parts.stamp(path):
                continue
            if facts[2] != parts.fingerprint(path):
                raise PlanMismatchError(
                    f"{path} is not the file that {stage!r} was made from; make it again"
                )

    def discard(self, stage: str) -> None:
        """Forget a stage and its shards (its tables are replaced when it is made anew)."""
        remove_tree(self.path / FOLDER / stage)
        self.manifest["stages"].pop(stage, None)
        self._save()

    def require_finished(self, *stages: str) -> None:
        """Refuse to read what a stage has begun and not finished; one that is unknown is let pass.

        Raises:
            InputError: naming the stage.
        """
        for stage in stages:
            if stage in self.manifest["stages"] and not self.is_finished(stage):
                self._load()  # somebody else may have gone on since
            if stage in self.manifest["stages"] and not self.is_finished(stage):
                raise InputError(
                    f"{self.path}: {stage!r} was begun and is not finished (interrupted, or still "
                    "running); the same command goes on"
                )

    # -- shards -------------------------------------------------------------------------------

    def shards(self, stage: str) -> Shards:
        """The finished batches of a stage.

        One folder per plan: batches of two plans cannot be taken for one stage.
        """
        plan = json.dumps(self.plan(stage), sort_keys=True)
        digest = hashlib.sha256(plan.encode()).hexdigest()[:16]
        return Shards(self.path / FOLDER / stage / digest)

    # -- tables -------------------------------------------------------------------------------

    def _to_write(self, name: str) -> Path:
        """The place of a table, while the run is ours to write to."""
        if self._lease is not None:
            self._lease.require()
        return self.path / name

    def write_prompts(self, table: pl.DataFrame) -> None:
        """Write the prompt set of the run."""
        write_table(self._to_write("prompts.parquet"), conform(table, PROMPTS, "prompts"))

    def prompts(self) -> pl.DataFrame:
        """The PROMPTS table."""
        return self._read("prompts.parquet", PROMPTS)

    def write_images(self, table: pl.DataFrame) -> None:
        """Write the table of expected images."""
        parts.write(self._to_write("images.parquet"), conform(table, IMAGES, "images"))

    def images(self) -> pl.DataFrame:
        """The IMAGES table; see `image_path` for the files."""
        self.require_finished("generate", "import")
        return self.stored_images()

    def stored_images(self) -> pl.DataFrame:
        """The same for the stage that makes them, which may be in the middle of it."""
        return self._read("images.parquet", IMAGES)

    def image_path(self, image: str) -> Path:
        """Where the picture of an `image` entry of a table lies."""
        return locate_listed(image, self.path)

    def write_detections(self, table: pl.DataFrame, name: str = "main") -> None:
        """Write the detections of one detector (`main`, or a name for a second opinion)."""
        parts.write(
            self._to_write(f"detections/{name}.parquet"), conform(table, DETECTIONS, "detections")
        )

    def detections(self, name: str = "main") -> pl.DataFrame:
        """The DETECTIONS table of one detector."""
        self.require_finished(detect_stage(name))
        return self.stored_detections(name)

    def stored_detections(self, name: str = "main") -> pl.DataFrame:
        """The same for the stage that makes them, which may be in the middle of it."""
        return self._read(f"detections/{name}.parquet", DETECTIONS)

    def write_verdicts(self, table: pl.DataFrame, protocol: str) -> None:
        """Write the verdicts of one protocol."""
        parts.write(
            self._to_write(f"verdicts/{protocol}.parquet"), conform(table, VERDICTS, "verdicts")
        )

    def verdicts(
        self, protocol: str | None = None, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """The VERDICTS table of one protocol, or of all that were scored.

        Args:
            columns: only these of one protocol, in the order of the schema; reasons and evidence
                are most of the table.
        """
        self.require_verdicts()
        if protocol is not None:
            return self._read(f"verdicts/{protocol}.parquet", VERDICTS, columns)
        paths = sorted((self.path / "verdicts").glob("*.parquet"))
        if not paths:
            raise InputError(f"{self.path} has no verdicts yet; run `t2i-spatial score` first")
        return pl.concat([read_table(p) for p in paths])

    def require_verdicts(self) -> None:
        """Refuse to read verdicts that are not finished, or of other detections than there are.

        Raises:
            InputError: scoring was interrupted.
            PlanMismatchError: the detections have been replaced since.
        """
        self.require_finished("score", "agree")
        self.require_same_sources("score")

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write the numbers of all protocols."""
        write_json(self._to_write("summary.json"), dict(summary))

    def summary(self) -> dict[str, Any]:
        """The numbers of all protocols that were scored; empty before that.

        Raises:
            InputError: the file is broken, or scoring was interrupted.
        """
        self.require_verdicts()
        if not self.has("summary.json"):
            return {}
        content = read_json(self.path / "summary.json")
        if not isinstance(content, dict):
            raise InputError(f"{self.path / 'summary.json'} is not a JSON object")
        return content

    def write_answers(self, table: pl.DataFrame, name: str) -> None:
        """Write the answers of one judge."""
        write_table(self._to_write(f"answers/{name}.parquet"), conform(table, ANSWERS, "answers"))

    def answers(self, name: str) -> pl.DataFrame:
        """The ANSWERS table of one judge."""
        return self._read(f"answers/{name}.parquet", ANSWERS)

    def has(self, name: str) -> bool:
        """Whether a file of the run exists, e.g. `detections/main.parquet`."""
        return (self.path / name).exists()

    def _read(
        self, name: str, schema: pl.Schema, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        path = self.table_path(name)
        if columns is None:
            return conform(read_table(path), schema, name)
        there = parts.scan(path).collect_schema().names()
        wanted = pl.Schema({key: kind for key, kind in schema.items() if key in columns})
        return conform(read_table(path, [key for key in wanted if key in there]), wanted, name)

    def table_path(self, name: str) -> Path:
        """Where a table lies, for `parts`: a file or a folder.

        Raises:
            InputError: there is none yet.
        """
        path = self.path / name
        if not path.exists():
            raise InputError(f"{self.path} has no {name} yet; run the stage that makes it first")
        return path


def writes_run(stage: Callable[Concatenate[Run, P], T]) -> Callable[Concatenate[Run, P], T]:
    """A function whose first argument is a run, holding the lock of the run; see `writing`.

    With an `engine` that is one job of many, the others may write while its batches are done.
    """

    @functools.wraps(stage)
    def alone(run: Run, /, *args: P.args, **kwargs: P.kwargs) -> T:
        job = getattr(kwargs.get("engine"), "job", None)
        if job is not None and kwargs.get("overwrite"):
            raise InputError(
                "--shard and --overwrite do not go together: each job would throw away what the "
                "others have made; make a new run, or detections and answers of another --name"
            )
        with run.writing(job):
            try:
                return stage(run, *args, **kwargs)
            except jobs.DoneElsewhere:  # finds the finished stage now
                return stage(run, *args, **kwargs)

    return alone


def _is_empty(folder: Path) -> bool:
    """Whether nothing is in a folder but what a run killed in its first write leaves behind."""
    return all(entry.name == LOCK or entry.name.endswith(LITTER) for entry in folder.iterdir())


def _note_record(known: dict[str, Any], record: Mapping[str, Any] | None) -> None:
    """Set the record of a stage that is made now; an earlier one that says otherwise is kept."""
    record = json.loads(json.dumps(dict(record or {})))
    before = known.get("record") or record
    earlier = known.get("earlier", [])
    if before != record and before not in earlier:
        known["earlier"] = [*earlier, before]
    known["record"] = record


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _brief(plan: Mapping[str, Any]) -> str:
    """The plain values of a plan that say something, in one line."""
    told = [f"{key} {value}" for key, value in plan.items() if type(value) in (str, int, float)]
    return ", ".join(told)[:200]
