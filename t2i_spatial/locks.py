"""One writer at a time: a lock of the operating system, or a lease on an object store.

A lease is a small file that says who holds it, made only where there is none and renewed while
its holder lives. One that was not renewed in time is taken over; whoever lost it that way is told
at the next thing that it would record, and stops.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from t2i_spatial.errors import InputError, T2ISpatialError
from t2i_spatial.locations import is_remote
from t2i_spatial.patience import StoreError
from t2i_spatial.progress import note

if TYPE_CHECKING:
    from t2i_spatial.store_path import StorePath

LEASE_SECONDS = 60.0
"""A lease that was not renewed for so long is nobody's. Clocks must agree much better than that."""
RENEWALS = 4
"""How often a lease is renewed in that time."""

POLL = 0.25
"""Seconds between two looks at a lock that somebody else holds."""
STORE_POLL = 2.0
"""The same of a lease; every look is a request to the store."""

TRIES = 20

_held: dict[tuple[str, int], Lease] = {}


def claim_folder(folder: Path, lock: FileLock, what: str, wait: float = 0.0) -> None:
    """Make a folder and take the lock of whoever writes to it, waiting at most so many seconds.

    Raises:
        InputError: another `what` holds the lock, or nothing can be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=wait, poll_interval=POLL)
    except Timeout:
        raise InputError(f"another {what} is writing to {folder} right now") from None
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from None


@contextlib.contextmanager
def alone(folder: Path, name: str, what: str, wait: float = 0.0) -> Iterator[Lease | None]:
    """Be the only one who writes to a folder, by the lock or lease `name` in it.

    A writer may call others: the lock is one per process and thread. Gives the lease, or nothing
    where the operating system guards the folder.

    Args:
        wait: seconds in which another `what` may come to its end.

    Raises:
        InputError: another `what` is writing there, or nothing can be written.
    """
    if not is_remote(folder):
        lock = FileLock(folder.resolve() / name, is_singleton=True)
        claim_folder(folder, lock, what, wait)
        try:
            yield None
        finally:
            lock.release()
        return
    key = (str(folder / name), threading.get_ident())
    if key in _held:  # this thread's already
        yield _held[key]
        return
    lease = Lease(folder / name, what)
    lease.acquire(wait)
    _held[key] = lease
    try:
        yield lease
    finally:
        del _held[key]
        lease.release()


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock or lease of this name."""
    if is_remote(path):
        holder, _ = Lease(path, "")._read()
        return holder is not None and not _is_over(holder)
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


class Lease:
    """The right to write to a folder on a store, kept alive by a thread.

    Args:
        path: the file of the lease.
        what: who writes, for messages.
    """

    def __init__(self, path: StorePath, what: str) -> None:
        self.path, self.what = path, what
        self._owner = {
            "owner": uuid.uuid4().hex,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "machine": _machine(),
            "taken": _now(),
            "seconds": LEASE_SECONDS,
        }
        self._version = self._known = ""
        self._lost = ""
        self._done = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="lease", daemon=True)

    def acquire(self, wait: float = 0.0) -> None:
        """Take the lease, waiting at most so many seconds for its holder.

        Raises:
            InputError: somebody holds it.
            StoreError: the store refuses.
        """
        end = time.monotonic() + wait
        tries = 0
        while not (taken := self.path.create(self._record())):
            holder, version = self._read()
            if holder is None:  # let go meanwhile
                tries += 1
                if tries == TRIES:
                    raise InputError(f"{self.path} can be neither made nor read; remove it")
                time.sleep(STORE_POLL / TRIES)
                continue
            if not _is_over(holder):
                if time.monotonic() < end:
                    time.sleep(STORE_POLL)
                    continue
                raise InputError(
                    f"another {self.what} is writing to {self.path.parent} right now "
                    f"({_named(holder)}); if it was killed, the run is free "
                    f"{holder['seconds']:.0f} s after its last renewal"
                )
            if taken := self.path.replace_version(self._record(), version):
                note(f"{self.path.parent}: taken over from {_named(holder)}, which has ended")
                break
        self._version = taken
        self._renewer.start()

    def require(self) -> None:
        """Go on only while the lease is held.

        Raises:
            T2ISpatialError: it was taken over.
        """
        if self._lost:
            raise T2ISpatialError(
                f"{self.path.parent}: {self._lost}; what is finished is kept, the same command "
                "goes on"
            )

    def watch(self, name: str) -> None:
        """Know the content of a file beside the lease that `write` will replace."""
        self._known = self.path.with_name(name).version()

    def write(self, name: str, content: bytes) -> None:
        """Replace the watched file, unless somebody else has: a lease may be lost unnoticed.

        Raises:
            T2ISpatialError: the lease, or the file, is another command's now.
        """
        self.require()
        manifest = self.path.with_name(name)
        if not self._known:
            written = manifest.create(content)
        else:
            written = manifest.replace_version(content, self._known)
        if not written:
            self._lost = self._lost or f"another command has written {name}"
            self.require()
        self._known = written

    def release(self) -> None:
        """Let others write."""
        self._done.set()
        self._renewer.join()
        with contextlib.suppress(OSError, StoreError, InputError):  # then it ends by itself
            if not self._lost and self._read()[0] == json.loads(self._written):
                self.path.unlink(missing_ok=True)

    def _record(self) -> bytes:
        self._written = json.dumps({**self._owner, "renewed": _now()}).encode()
        return self._written

    def _read(self) -> tuple[dict[str, Any] | None, str]:
        """Who holds the lease, and the version of the file that says so."""
        version = self.path.version()
        try:
            holder = json.loads(self.path.read_bytes())
            float(holder["renewed"]), float(holder["seconds"])
        except FileNotFoundError:
            return None, version
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"{self.path} is not a lease of this program; remove it if nothing writes there"
            ) from None
        return holder, version

    def _renew(self) -> None:
        alive = time.monotonic()
        while not self._done.wait(LEASE_SECONDS / RENEWALS):
            try:
                renewed = self.path.replace_version(self._record(), self._version)
                if not renewed:
                    holder, _ = self._read()
                    by = "another command" if holder is None else _named(holder)
                    self._lost = f"the lease was taken over by {by}"
                    return
                self._version = renewed
                alive = time.monotonic()
            except (StoreError, InputError, OSError) as error:
                if time.monotonic() - alive > LEASE_SECONDS:
                    self._lost = f"the lease could not be renewed ({error})"
                    return


def _is_over(holder: dict[str, Any]) -> bool:
    """Whether a lease was not renewed in time, or its process on this machine is gone."""
    if _now() - float(holder["renewed"]) > float(holder["seconds"]):
        return True
    if holder.get("machine") is None or holder["machine"] != _machine():
        return False
    try:
        os.kill(int(holder["process"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return False


def _machine() -> str | None:
    """What tells one machine, container and boot from another, where that can be known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None


def _named(holder: dict[str, Any]) -> str:
    renewed = datetime.datetime.fromtimestamp(float(holder["renewed"]), datetime.UTC)
    return (
        f"process {holder.get('process')} on {holder.get('host')}, last renewed "
        f"{renewed.isoformat(timespec='seconds')}"
    )


def _now() -> float:
    return time.time()
