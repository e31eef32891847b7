"""A path on an object store with the methods of `pathlib.Path` that this package uses.

Made by `locations.locate`. Names, joins and comparisons are those of universal_pathlib; reading
and writing are patient (`patience`), ask the store and no cache, and list no more than one level.
A folder on a store is nothing but a common beginning of names: making one does nothing.
"""

from __future__ import annotations

import contextlib
import fnmatch
import io
import os
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

import fsspec
from upath.extensions import ProxyUPath

from t2i_spatial.errors import InputError, MissingDependencyError
from t2i_spatial.patience import StoreError, patiently, refused_condition, status_of

READ_ONLY = ("hf", "http", "https")
"""Stores that are read here and not written: a commit per file is no way to publish a run."""

NOT_IMPLEMENTED = 501
ONE_REQUEST = 8_000_000
"""Bytes up to which a file is fetched at once; of larger ones the size is asked, then its parts."""

_PACKAGES = {"gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs"}


_POLARS = ("s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "hf")
"""Stores with a reader of polars' own."""


class PolarsSource(NamedTuple):
    """What polars is to read, and how it gets there."""

    url: str
    options: dict[str, str]


def store_path(url: str, scheme: str) -> StorePath:
    """The path of a URL.

    Raises:
        InputError: nobody knows such a store.
        MissingDependencyError: its package is not installed.
    """
    try:
        fsspec.get_filesystem_class(scheme)
    except ValueError:
        known = "s3, gs, az, hf, memory and what else fsspec knows"
        raise InputError(f"{url}: no kind of store is called {scheme!r}; known: {known}") from None
    except ImportError as error:
        package = _PACKAGES.get(scheme)
        hint = f"pip install {package}" if package else str(error)
        raise MissingDependencyError(f"{url}: {scheme}:// needs one more package: {hint}") from None
    return StorePath(url, use_listings_cache=False)


class StorePath(ProxyUPath):
    """One name on a store; see the module."""

    __slots__ = ("_listed",)
    _listed: dict[str, Any]

    def _do(self, name: str, *arguments: Any, **options: Any) -> Any:
        """A call of the file system about this path."""
        call = getattr(self.fs, name)
        return patiently(str(self), lambda: call(self.path, *arguments, **options))

    def _info(self) -> dict[str, Any] | None:
        """What the store (or the listing that this path comes from) says of the name."""
        listed: dict[str, Any] | None = getattr(self, "_listed", None)
        if listed is not None:
            return listed
        try:
            return dict(self._do("info"))
        except FileNotFoundError:
            return None

    # -- asking -------------------------------------------------------------------------------

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there is a file of this name, or one whose name begins with it and a slash."""
        return self._info() is not None

    def is_file(self) -> bool:
        """Whether there is a file of this name."""
        return (self._info() or {}).get("type") == "file"

    def is_dir(self) -> bool:
        """Whether there are files whose name begins with this one and a slash."""
        return (self._info() or {}).get("type") == "directory"

    def stat(self, *, follow_symlinks: bool = True) -> Any:
        """Size and time of change (`st_size`, `st_mtime_ns`)."""
        return patiently(str(self), self.__wrapped__.stat)

    def version(self) -> str:
        """What another content of this file would change: its ETag, or what the store has of it.

        Empty when there is no such file.
        """
        info = self._info() or {}
        for key in ("ETag", "etag", "generation", "md5Hash", "content_md5"):
            if info.get(key):
                return str(info[key])
        return f"{info['size']}-{info.get('created')}" if info else ""

    def iterdir(self) -> Iterator[StorePath]:
        """What lies one level below."""
        yield from self._entries("ls")

    def glob(self, pattern: str, **_: Any) -> Iterator[StorePath]:
        """What fits a pattern whose last part alone may hold wildcards; one level is listed."""
        parent, _slash, name = pattern.rstrip("/").rpartition("/")
        folder = self / parent if parent else self
        try:
            yield from (path for path in folder.iterdir() if fnmatch.fnmatchcase(path.name, name))
        except FileNotFoundError:
            return

    def rglob(self, pattern: str, **_: Any) -> Iterator[StorePath]:
        """All files below whose name fits."""
        yield from (p for p in self._entries("find") if fnmatch.fnmatchcase(p.name, pattern))

    def _entries(self, method: str) -> Iterator[StorePath]:
        found = self._do(method, detail=True)
        for entry in found.values() if isinstance(found, dict) else found:
            name = entry["name"].rstrip("/")
            if name.strip("/") == self.path.strip("/"):
                continue  # the empty file that some tools put for a folder
            root = str(self).partition("://")[0]
            path = StorePath(f"{root}://{name.lstrip('/')}", **self.storage_options)
            path._listed = entry
            yield path

    # -- reading ------------------------------------------------------------------------------

    def read_bytes(self, most: int | None = None) -> bytes:
        """The content, or its beginning."""
        if most is None:
            begin = self.read_bytes(ONE_REQUEST)
            return begin if len(begin) < ONE_REQUEST else bytes(self._do("cat_file"))
        try:
            return bytes(self._do("cat_file", start=0, end=most))
        except StoreError as error:
            if status_of(error) == 416:  # stores answer so to a request for a part of nothing
                return b""
            raise

    def read_text(self, encoding: str | None = None, *_: Any, **__: Any) -> str:
        """The content as text."""
        return self.read_bytes().decode(encoding or "utf-8")

    def open(  # type: ignore[override]
        self, mode: str = "r", *_: Any, encoding: str | None = None, **__: Any
    ) -> IO[Any]:
        """The content, read once and whole; to write, see `files.atomic_write`."""
        if mode not in ("r", "rb", "rt"):
            raise InputError(f"{self} cannot be opened to be changed: stores write files whole")
        content = io.BytesIO(self.read_bytes())
        return content if "b" in mode else io.TextIOWrapper(content, encoding or "utf-8")

    def for_polars(self) -> PolarsSource | None:
        """The same file for polars' own reader, `None` where it has none.

        It takes credentials from where the store's own tools do; what fsspec was told beside that
        (its configuration files) is handed over for S3.
        """
        if self.protocol not in _POLARS:
            return None
        if self.protocol not in ("s3", "s3a"):
            return PolarsSource(str(self), {})
        client = getattr(self.fs, "client_kwargs", {})
        environment = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        found = {
            "endpoint_url": getattr(self.fs, "endpoint_url", None)
            or client.get("endpoint_url")
            or environment,
            "aws_access_key_id": getattr(self.fs, "key", None),
            "aws_secret_access_key": getattr(self.fs, "secret", None),
            "aws_session_token": getattr(self.fs, "token", None),
            "aws_region": client.get("region_name"),
        }
        options = {key: str(value) for key, value in found.items() if value}
        if options.get("endpoint_url", "").startswith("http://"):
            options["aws_allow_http"] = "true"
        return PolarsSource(str(self), options)

    def download(self, target: str) -> None:
        """Copy the file to this machine."""
        self._do("get_file", target)

    # -- writing ------------------------------------------------------------------------------

    def require_writable(self) -> None:
        """Refuse kinds of stores that are only read here."""
        if self.protocol in READ_ONLY:
            raise InputError(
                f"{self}: {self.protocol}:// is read, not written; write to a folder or a bucket, "
                "and upload the result"
            )

    def _write(self, call: Callable[[], Any]) -> Any:
        """A call that changes the store; there, nothing but a bucket can be what is not found."""
        self.require_writable()
        try:
            return patiently(str(self), call)
        except FileNotFoundError as error:
            bucket = self.path.strip("/").partition("/")[0]
            raise StoreError(
                f"{self}: there is no bucket {bucket!r}; make it, or correct the name"
            ) from error

    def write_bytes(self, data: bytes) -> int:
        """Replace the content; readers see the old one or the new one."""
        self._write(lambda: self.fs.pipe_file(self.path, data))
        return len(data)

    def write_text(self, data: str, encoding: str | None = None, *_: Any, **__: Any) -> int:
        """Replace the content by text."""
        return self.write_bytes(data.encode(encoding or "utf-8"))

    def upload(self, source: str) -> None:
        """Replace the content by that of a file of this machine."""
        self._write(lambda: self.fs.put_file(source, self.path))

    def create(self, data: bytes) -> str:
        """Write a file that is not there yet; its version, empty when there was one."""
        try:
            answer = self._write(lambda: self.fs.pipe_file(self.path, data, mode="create"))
        except FileExistsError:
            return self._if_ours(data)
        except StoreError as error:
            return self._unconditionally(error, data, "")
        return self._version_written(answer)

    def replace_version(self, data: bytes, version: str) -> str:
        """Replace a content that is known; the new version, empty when it was no longer there.

        S3 compares and writes in one step (`If-Match`). Elsewhere the version is looked at just
        before, which leaves a moment in which two may write.
        """
        if self.protocol not in ("s3", "s3a"):
            if self.version() != version:
                return ""
            self.write_bytes(data)
            return self.version()
        try:
            answer = self._write(lambda: self.fs.pipe_file(self.path, data, IfMatch=version))
        except StoreError as error:
            return self._unconditionally(error, data, version)
        return self._version_written(answer)

    def _unconditionally(self, error: StoreError, data: bytes, version: str) -> str:
        """What a refused conditional write comes to, also on a store that knows no conditions."""
        gone = bool(version) and isinstance(error.__cause__, FileNotFoundError)
        if gone or refused_condition(error):
            return self._if_ours(data)
        if status_of(error) != NOT_IMPLEMENTED:
            raise error
        if self.version() != version:
            return ""
        self.write_bytes(data)
        return self.version()

    def _version_written(self, answer: Any) -> str:
        """The version that a store gave to what was just written."""
        told = answer.get("ETag") if isinstance(answer, dict) else None
        return str(told) if told else self.version()

    def _if_ours(self, data: bytes) -> str:
        """The version, if a refused write was our own before: its answer may have been lost."""
        version = self.version()
        try:
            return version if self.read_bytes() == data else ""
        except FileNotFoundError:
            return ""

    def append_lines(self, lines: bytes) -> None:
        """Write lines behind the last one; of several who do, each one's arrive."""
        while True:
            version = self.version()
            before = self.read_bytes() if version else b""
            if before and not before.endswith(b"\n"):
                before += b"\n"
            content = before + lines
            if self.replace_version(content, version) if version else self.create(content):
                return

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file."""
        self.require_writable()
        try:
            self._do("rm_file")
        except FileNotFoundError:
            if not missing_ok:
                raise

    def remove_tree(self) -> None:
        """Remove everything below."""
        self.require_writable()
        with contextlib.suppress(FileNotFoundError):
            self._do("rm", recursive=True)

    def mkdir(self, *_: Any, **__: Any) -> None:
        """Nothing: stores have no folders."""

    def rmdir(self, *_: Any, **__: Any) -> None:
        """Nothing: stores have no folders."""

    # -- names --------------------------------------------------------------------------------

    def resolve(self, strict: bool = False) -> StorePath:
        """The path itself: it is absolute."""
        return self

    absolute = expanduser = resolve

    def is_absolute(self) -> bool:
        """Yes."""
        return True

    def __repr__(self) -> str:
        return f"StorePath({str(self)!r})"
