"""Calls to a store: what passes is tried again for a while, the rest is said in one line."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from t2i_spatial.errors import T2ISpatialError
from t2i_spatial.progress import note

T = TypeVar("T")

PATIENCE = 120.0
"""Seconds for which a store that does not answer is asked again."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
SILENT = 3.0
"""Seconds of waiting that nobody is told of."""

_PASSING_STATUS = (408, 409, 425, 429, 500, 502, 503, 504)
_PASSING_ERRNO = (errno.EBUSY, errno.EAGAIN, errno.ETIMEDOUT, getattr(errno, "EREMOTEIO", -1))
_PASSING_NAMES = (
    "Timeout", "ConnectionError", "ConnectError", "Disconnected", "IncompleteRead", "PayloadError",
    "HTTPClientError", "EndpointConnectionError", "ResponseParserError", "ClientOSError",
)  # fmt: skip
_FULL = ("quotaexceeded", "insufficientstorage", "storagefull", "quota")
_NO_CREDENTIALS = ("NoCredentials", "PartialCredentials", "DefaultCredentials", "TokenRetrieval")

CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (and AWS_ENDPOINT_URL "
    "for a store of your own)",
    "gs": "`gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or a connection string",
    "hf": "set HF_TOKEN",
}


class StoreError(T2ISpatialError):
    """A store does not answer, or refuses; the message says which store and what to do."""


def patiently(place: str, call: Callable[[], T]) -> T:
    """The result of a call to a store, tried again while what it says may pass.

    Args:
        place: URL that the call is about, for messages.

    Raises:
        FileNotFoundError, FileExistsError: as the call did.
        StoreError: it is refused, or has not come through for `PATIENCE` seconds.
    """
    begun: float | None = None
    pause = FIRST_PAUSE
    while True:
        try:
            return call()
        except (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError):
            raise
        except T2ISpatialError:
            raise
        except Exception as error:
            if not passes(error):
                raise refusal(place, error) from error
            now = time.monotonic()
            begun = now if begun is None else begun
            if now - begun >= PATIENCE:
                raise StoreError(
                    f"{place}: the store has not answered for {now - begun:.0f} s "
                    f"({_said(error)}); what is finished is kept, the same command goes on"
                ) from error
            if now - begun >= SILENT:
                left = PATIENCE - (now - begun)
                note(f"waiting for {place} ({_said(error)}); giving up in {left:.0f} s")
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(2 * pause, LONGEST_PAUSE)


def passes(error: BaseException) -> bool:
    """Whether an error of a store is one that may be gone at the next try."""
    if is_full(error) or any("Offline" in type(one).__name__ for one in _chain(error)):
        return False
    for one in _chain(error):
        if (status := _status(one)) is not None:
            return status in _PASSING_STATUS
        if isinstance(one, TimeoutError | ConnectionError):
            return True
        if any(name in type(one).__name__ for name in _PASSING_NAMES):
            return True
    return isinstance(error, OSError) and error.errno in _PASSING_ERRNO


def is_full(error: BaseException) -> bool:
    """Whether a store has no room left, or a quota is used up."""
    for one in _chain(error):
        if _status(one) == 507 or (isinstance(one, OSError) and one.errno == errno.ENOSPC):
            return True
        if any(word in _code(one).lower() for word in _FULL):
            return True
    return False


def status_of(error: BaseException) -> int | None:
    """The HTTP status of an error, or of what it comes from."""
    return next((status for one in _chain(error) if (status := _status(one)) is not None), None)


def refused_condition(error: BaseException) -> bool:
    """Whether a conditional write was refused: somebody else has written meanwhile."""
    return any(
        _status(one) == 412 or _code(one) in ("PreconditionFailed", "ConditionNotMet")
        for one in _chain(error)
    )


def refusal(place: str, error: BaseException) -> StoreError:
    """One line for what will not pass: no room, no credentials, no permission, another reason."""
    kind = place.partition("://")[0]
    if is_full(error):
        return StoreError(
            f"{place}: the store is full ({_said(error)}); what is finished is kept, the same "
            "command goes on when there is space"
        )
    names = [type(one).__name__ for one in _chain(error)]
    if any(name.startswith(_NO_CREDENTIALS) for name in names):
        hint = CREDENTIALS.get(kind, "see the documentation of fsspec for this kind of store")
        return StoreError(f"{place}: no credentials for this store; {hint}")
    if isinstance(error, PermissionError) or {_status(e) for e in _chain(error)} & {401, 403}:
        return StoreError(
            f"{place}: the store refuses this ({_said(error)}); the credentials in use need read "
            "permission there, and write permission for what a command writes"
        )
    return StoreError(f"{place}: {_said(error)}")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it comes from."""
    one: BaseException | None = error
    for _ in range(8):
        if one is None:
            return
        yield one
        one = one.__cause__ or one.__context__


def _response(error: BaseException) -> dict[str, object]:
    response = getattr(error, "response", None)
    return response if isinstance(response, dict) else {}


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error of any of the store libraries carries."""
    metadata = _response(error).get("ResponseMetadata")
    found = metadata.get("HTTPStatusCode") if isinstance(metadata, dict) else None
    for name in ("status_code", "status", "code"):
        found = getattr(error, name, None) if found is None else found
    try:
        number = int(found)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if 100 <= number < 600 else None


def _code(error: BaseException) -> str:
    """What a store calls its error, such as `SlowDown`."""
    found = _response(error).get("Error")
    return str(found.get("Code", "")) if isinstance(found, dict) else ""


def _said(error: BaseException) -> str:
    codes = [code for one in _chain(error) if (code := _code(one))]
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"{codes[0]}: {text}" if codes and codes[0] not in text else text or type(error).__name__
