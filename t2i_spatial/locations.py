"""Where things lie: a path of this machine, or the URL of an object store.

`locate` makes of what the user names a `pathlib.Path`, or for a URL (`s3://`, `gs://`, `az://`,
`hf://`, whatever fsspec knows) a `store_path.StorePath`, which has the same methods. So code takes
a `Path` and asks it (`path / name`, `exists()`, `open("rb")`, `glob(...)`); only what an operating
system does beyond that (rename, locks, memory maps) goes through `files` and `locks`.
"""

from __future__ import annotations

import os
import posixpath
import re
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, cast

from t2i_spatial.errors import InputError, require

if TYPE_CHECKING:
    from t2i_spatial.store_path import StorePath

T = TypeVar("T")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
"""Two letters at least: `C://` is a drive."""

STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "hf", "memory")
"""Stores that the tables of a run, which others may have made, can name pictures of."""

ABSOLUTE = rf"^(/|[A-Za-z]:[\\/]|({'|'.join(STORES)})://)"
"""Pattern of entries of a table that are relative to no folder."""


def is_url(name: object) -> bool:
    """Whether a name begins like a URL.

    >>> is_url("s3://bucket/run"), is_url("runs/a"), is_url("C://runs")
    (True, False, False)
    """
    return _SCHEME.match(str(name)) is not None


def locate(name: str | Path) -> Path:
    """The place that a name means; a `Path` is given back as it is.

    For type checkers a location is a `Path`; what stands for a URL has its reading methods.

    >>> locate("runs/a"), locate("file:///data/run")
    (PosixPath('runs/a'), PosixPath('/data/run'))

    Raises:
        InputError: a URL of a kind of store that nobody knows.
        MissingDependencyError: the extra `storage`, or the package of this store, is missing.
    """
    if not isinstance(name, str):
        return name
    found = _SCHEME.match(name)
    if found is None:
        return Path(name)
    if found[1].lower() in ("file", "local"):
        return Path(urllib.request.url2pathname(urllib.parse.urlsplit(name).path))
    require("upath", "storage")
    from t2i_spatial.store_path import store_path

    return cast(Path, store_path(name, found[1].lower()))


def locate_listed(entry: str, folder: Path) -> Path:
    """The place that an entry of a table means, which may be relative to `folder`.

    >>> locate_listed("images/0.png", Path("run"))
    PosixPath('run/images/0.png')
    """
    if not is_url(entry):
        return locate(entry) if Path(entry).is_absolute() else folder / entry
    if entry.partition("://")[0] in STORES and "::" not in entry:
        return locate(entry)
    return Path(entry)  # no place at all: a table must not make us open connections elsewhere


def is_remote(path: object) -> TypeGuard[StorePath]:
    """Whether a location is on an object store; imports nothing, as `locate` has."""
    module = sys.modules.get("t2i_spatial.store_path")
    return module is not None and isinstance(path, module.StorePath)


def is_place(value: object) -> TypeGuard[str | Path]:
    """Whether a value names one place: a text, a path or a place on a store."""
    return isinstance(value, str | Path) or is_remote(value)


def require_local(name: str | Path, what: str, instead: str) -> Path:
    """A place of this machine, for what cannot be on a store.

    Raises:
        InputError: a URL; says `what` must be local, and what to do `instead`.
    """
    if is_url(name):
        raise InputError(f"{what} must be on this machine, not {name}; {instead}")
    return Path(name)


def for_each(function: Callable[[Any], T], places: Sequence[Any]) -> list[T]:
    """The results of a quick look at every place; at places on a store, many at a time.

    The first place says which they are.
    """
    if not is_url(next((place for place in places if place is not None), "")):
        return [function(place) for place in places]
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(function, places))


def inner_path(folder: Path, name: str) -> Path | None:
    """The place of a name that a file says of its own folder, `None` when it leaves the folder.

    >>> inner_path(Path("set"), "a/../b.png"), inner_path(Path("set"), "../b.png")
    (PosixPath('set/b.png'), None)
    """
    if is_remote(folder):
        inner = posixpath.normpath(name)
        leaves = is_url(name) or inner.startswith("/") or inner.split("/")[0] == ".."
        return None if leaves else cast(Path, folder / inner)
    file = Path(os.path.normpath(folder / name))
    return file if file.is_relative_to(folder) else None
