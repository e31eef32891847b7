"""Files, read with an error that says what is wrong and written whole or not at all.

On this machine a file is written under another name, flushed and renamed. On an object store
(see `locations`) an upload is whole or not at all anyway: it is made when everything is known.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from t2i_spatial.errors import InputError, T2ISpatialError
from t2i_spatial.incoming import read_bytes
from t2i_spatial.locations import is_remote, locate

if TYPE_CHECKING:
    import polars as pl

    from t2i_spatial.store_path import StorePath

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be deleted anyway
    fcntl = None  # type: ignore[assignment]

LITTER = ".t2i-spatial.tmp"
"""Ending of files that are being written; one that nobody holds was left by a killed process."""

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)

_swept: set[str] = set()


@contextlib.contextmanager
def atomic_write(path: str | Path, mode: str = "wb", *, replace: bool = True) -> Iterator[IO[Any]]:
    """Write a file that appears complete or not at all (temporary name, fsync, rename).

    A link is followed, so that its target changes and the link stays. What is not a regular file
    (a pipe, a device) is written through when everything is known, and "-" is stdout.

    Args:
        replace: whether a file that is there already gives way; of several writers that must not
            replace, one succeeds.

    Raises:
        T2ISpatialError: the disk or store is full or not writable; the old file, if any, is
            untouched.
        FileExistsError: there is a file, and it must not be replaced.
    """
    path = locate(path)
    if is_remote(path):
        with _uploading(path, mode, replace) as file:
            yield file
        return
    if str(path) == "-" or _is_special(Path(path)):
        buffer: IO[Any] = io.BytesIO() if "b" in mode else io.StringIO()
        yield buffer
        _write_through(path, buffer.getvalue())  # type: ignore[attr-defined]
        return
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep_once(target.parent)
        descriptor, temporary = _open_temporary(target)
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        with os.fdopen(descriptor, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            if fcntl is not None:  # while it is held: nobody takes it for litter
                _put_in_place(temporary, target, replace)
        if fcntl is None:
            _put_in_place(temporary, target, replace)
    except FileExistsError:
        raise
    except OSError as error:
        raise _cannot_write(path, error) from error
    except UnicodeEncodeError as error:
        raise T2ISpatialError(f"cannot write {path}: text that is not Unicode ({error})") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


@contextlib.contextmanager
def _uploading(path: StorePath, mode: str, replace: bool) -> Iterator[IO[Any]]:
    """A file of this machine that is uploaded when it is complete."""
    path.require_writable()
    encoding = None if "b" in mode else "utf-8"
    try:
        with tempfile.NamedTemporaryFile(mode, suffix=LITTER, encoding=encoding) as file:
            yield file.file  # the plain file: polars writes to it itself
            file.flush()
            if replace:
                path.upload(file.name)
            elif not path.create(Path(file.name).read_bytes()):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    except FileExistsError:
        raise
    except OSError as error:  # of this machine; the store's are said in one line already
        raise _cannot_write(path, error) from error
    except UnicodeEncodeError as error:
        raise T2ISpatialError(f"cannot write {path}: text that is not Unicode ({error})") from error


def write_json(path: str | Path, data: Any) -> None:
    """Atomic, indented JSON."""
    with atomic_write(path, "w") as file:
        file.write(_json_text(data))


def create_json(path: str | Path, data: Any) -> bool:
    """`write_json` where there is no such file yet: whether there was none."""
    try:
        with atomic_write(path, "w", replace=False) as file:
            file.write(_json_text(data))
    except FileExistsError:
        return False
    return True


def json_bytes(data: Any) -> bytes:
    """What `write_json` writes."""
    return _json_text(data).encode()


def _json_text(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def write_table(path: str | Path, table: pl.DataFrame, *, replace: bool = True) -> None:
    """Atomic Parquet; see `atomic_write`."""
    with atomic_write(path, replace=replace) as file:
        table.write_parquet(file, compression="zstd")


def read_json(path: str | Path) -> Any:
    """The content of a JSON file.

    Raises:
        InputError: no such file, or not JSON.
    """
    try:
        return json.loads(_utf8(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read as JSON: {error}") from None


def read_json_lines(path: str | Path) -> list[dict[str, Any]]:
    """The records of a JSON-lines file; blank lines are skipped.

    Raises:
        InputError: no such file, not UTF-8, or a line that is not a JSON object (says which).
    """
    return [record for _, record in numbered_json_lines(path)]


def numbered_json_lines(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """As `read_json_lines`, with the number of each line."""
    return json_lines_of(_utf8(path), path)


def json_lines_of(text: str, path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records of JSON lines that have been read, with the number of each line.

    Raises:
        InputError: a line that is not a JSON object (says which).
    """
    # not splitlines(): JSON text may hold U+2028 and the like unescaped
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: not JSON ({error})") from None
        if not isinstance(record, dict):
            raise InputError(f"{path}, line {number}: expected a JSON object")
        yield number, record


def _utf8(path: str | Path) -> str:
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} cannot be read as text: {error}") from None


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The content of a Parquet file, or of a folder of parts of a table (see `parts`).

    Raises:
        InputError: no such file, or not (or no longer) Parquet.
    """
    import polars as pl

    path = locate(path)
    if path.is_dir() and (files := sorted(path.glob("*.parquet"))):
        return pl.concat([read_table(file, columns) for file in files])
    try:
        # through a file of ours: polars maps memory, and one that is cut off meanwhile kills us
        with path.open("rb") as file:
            return pl.read_parquet(file, columns=None if columns is None else list(columns))
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (OSError, pl.exceptions.PolarsError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read as Parquet: {said}") from None
    except BaseException as error:  # a panic of the table library is not an Exception
        if type(error).__name__ != "PanicException":
            raise
        raise InputError(f"{path} cannot be read as Parquet: it is damaged") from None


def scan_table(path: str | Path, parallel: Literal["auto", "prefiltered"] = "auto") -> pl.LazyFrame:
    """A Parquet file or a folder of parts, read when and as far as it is needed.

    On stores that polars reads itself, only the needed columns and row groups travel; of others
    the file is fetched whole. Names are taken literally, wildcards are none; `parallel` is polars'.
    """
    import polars as pl

    path = locate(path)
    if path.is_dir() and (files := sorted(path.glob("*.parquet"))):  # parts of a table
        if not is_remote(path):
            return pl.scan_parquet(files, glob=False, parallel=parallel)
        return pl.concat([scan_table(file, parallel) for file in files])
    if not is_remote(path):
        return pl.scan_parquet(path, glob=False, parallel=parallel)
    source = path.for_polars()
    if source is None:
        return read_table(str(path)).lazy()
    return pl.scan_parquet(
        source.url, glob=False, parallel=parallel, storage_options=source.options
    )


def scan_tables(paths: list[Path]) -> pl.LazyFrame:
    """Several Parquet files, of one schema, one after the other."""
    import polars as pl

    if any(map(is_remote, paths)):
        return pl.concat([scan_table(path) for path in paths])
    return pl.scan_parquet(paths, glob=False)


def sink_table(frame: pl.LazyFrame, path: str | Path) -> None:
    """Atomic Parquet of rows that are never all in memory.

    Raises:
        T2ISpatialError: the file cannot be written.
    """
    with atomic_write(path) as file:
        frame.sink_parquet(file, compression="zstd")


def copy_file(source: Path, target: Path) -> None:
    """Copy a file of this machine; the copy appears complete or not at all."""
    with source.open("rb") as old, atomic_write(target) as new:
        shutil.copyfileobj(old, new)


def upload_folder(folder: Path, target: Path, *, without: str) -> set[str]:
    """Copy the files of a folder of this machine to a store, all but one name; their names."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    names = [name for name in names if name != without]

    def upload(name: str) -> None:
        place = target / name
        if is_remote(place):
            place.upload(str(folder / name))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(upload, names))
    return set(names)


def download_folder(source: Path, folder: Path) -> None:
    """Copy all files below a place on a store into a folder of this machine."""

    def download(path: Path) -> None:
        here = folder / str(path).removeprefix(f"{source}/")
        here.parent.mkdir(parents=True, exist_ok=True)
        if is_remote(path):
            path.download(str(here))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(download, source.rglob("*")))


def remove_tree(folder: Path) -> None:
    """Remove a folder and all that is in it, as far as possible; one that is not there is gone."""
    if is_remote(folder):
        folder.remove_tree()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def explain(error: BaseException) -> str | None:
    """One line for what files and disks do to code that reads or writes them through a library.

    A full or broken disk, a store that polars cannot read, and a table that is damaged behind its
    first page: polars scans lazily, so that any stage may be the first to see it. `None` for
    everything else, which is a bug.
    """
    if isinstance(error, OSError) and error.errno in _DISK:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}; what is finished is kept, the same command goes on"
    if isinstance(error, OSError) and str(error).startswith("object-store error"):
        first = str(error).splitlines()[0]  # polars reads stores itself, and tries again itself
        return f"{first}; what is finished is kept, the same command goes on"
    polars = sys.modules.get("polars")
    said = (str(error).splitlines() or [""])[0]
    damaged = type(error).__name__ == "PanicException" or (
        polars is not None
        and isinstance(
            error, (polars.exceptions.ComputeError, polars.exceptions.InvalidOperationError)
        )
    )
    return f"a table cannot be read, its file is damaged ({said})" if damaged else None


def sweep(folder: Path) -> int:
    """Remove what killed processes left half written in a folder; returns how many files."""
    removed = 0
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.name.endswith(LITTER)]
    except OSError:
        return 0
    for name in names:
        with contextlib.suppress(OSError), (folder / name).open("rb") as file:
            if _hold(file.fileno()):
                (folder / name).unlink()
                removed += 1
    return removed


def _sweep_once(folder: Path) -> None:
    """Sweep at the first write into a folder: once is enough, as we leave nothing behind."""
    if str(folder) not in _swept:
        _swept.add(str(folder))
        sweep(folder)


def _open_temporary(target: Path) -> tuple[int, str]:
    """A new file beside `target`, held so that nobody takes it for litter."""
    while True:
        # a name may be as long as the file system allows already
        prefix = f".{target.name[:100]}."
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=prefix, suffix=LITTER)
        try:
            swept = not _hold(descriptor) or not os.path.exists(name)  # noqa: PTH110
        except BlockingIOError:
            swept = True
        except OSError:  # no locks on this file system: then nobody sweeps it either
            swept = False
        if not swept:
            return descriptor, name
        os.close(descriptor)


def _put_in_place(temporary: str, target: Path, replace: bool) -> None:
    if replace:
        os.replace(temporary, target)
        return
    try:
        os.link(temporary, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if target.exists():  # no links on this file system: nearly as good
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        os.replace(temporary, target)


def _hold(descriptor: int) -> bool:
    """Whether an open file is ours alone now; an `OSError` where it is somebody else's."""
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True


def _is_special(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _write_through(path: str | Path, content: bytes | str) -> None:
    data = content.encode() if isinstance(content, str) else content
    try:
        if str(path) == "-":
            sys.stdout.flush()
            sys.stdout.buffer.write(data)
            sys.stdout.flush()
        else:
            with Path(path).open("wb") as file:
                file.write(data)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: object, error: OSError) -> T2ISpatialError:
    return T2ISpatialError(f"cannot write {path}: {error.strerror or error}")
