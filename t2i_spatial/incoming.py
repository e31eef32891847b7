"""Files that others made, read once: pipes, encodings, and what is no text at all."""

from __future__ import annotations

import codecs
import os
import select
import stat
import sys
import time
from pathlib import Path

from t2i_spatial.errors import InputError
from t2i_spatial.locations import is_remote, locate

PIPE_SECONDS = 5.0
"""How long a pipe may stay without a writer."""

_NOT_TEXT = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook; save a workbook as CSV (UTF-8)"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file; save it as CSV (UTF-8)"),
    (b"\x1f\x8b", "compressed by gzip; unpack it first (gunzip)"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd; unpack it first (unzstd)"),
    (b"BZh", "compressed by bzip2; unpack it first (bunzip2)"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"SQLite format 3", "an SQLite database; export it as CSV"),
    (b"ARROW1", "an Arrow file; save it as Parquet or JSON lines"),
    (b"\x80\x04\x95", "a pickle, which is never opened; save it as JSON lines"),
)


def read_bytes(path: str | Path, what: str = "file") -> bytes:
    """The content of a file, a URL, a pipe (`<(command)`) or "-" (standard input), read once.

    Raises:
        InputError: missing, a folder, not readable, or a pipe that nobody writes to.
    """
    if str(path) == "-":
        return sys.stdin.buffer.read()
    path = locate(path)
    try:
        if is_remote(path):
            return path.read_bytes()
        if stat.S_ISFIFO(path.stat().st_mode):
            return _read_pipe(path)
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"no such {what}: {path}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read {path}: {reason}") from None


def read_text(path: str | Path, what: str = "file") -> str:
    """A text file: UTF-8 (a byte order mark is dropped), or UTF-16 with a byte order mark.

    Raises:
        InputError: as `read_bytes`, or not such a text (says in which line, or what it is).
    """
    data = read_bytes(path, what)
    for start, kind in _NOT_TEXT:
        if data.startswith(start):
            raise InputError(f"{path} is {kind}")
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        kind = "UTF-16" if utf16 else "UTF-8"
        raise InputError(
            f"{path}, line {line}: not {kind} text (byte 0x{data[error.start]:02x}); "
            "save the file as UTF-8"
        ) from None


def _read_pipe(path: Path) -> bytes:
    """All that is written to a pipe; opening one without a writer would wait for ever."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    begun, written = time.monotonic(), False
    chunks: list[bytes] = []
    try:
        while True:
            try:
                chunk = os.read(descriptor, 1 << 20)
            except BlockingIOError:  # there is a writer, who has not written yet
                written = True
                select.select([descriptor], [], [], 1.0)
                continue
            if chunk:
                chunks.append(chunk)
            elif chunks or written:
                return b"".join(chunks)
            elif time.monotonic() - begun > PIPE_SECONDS:
                raise InputError(f"{path} is a pipe that nobody writes to")
            else:
                time.sleep(0.02)
    finally:
        os.close(descriptor)
