"""Errors that a user can act on. The CLI prints them as one line, without a traceback."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class T2ISpatialError(Exception):
    """Something is wrong that the user can mend; the message says what, and how."""

    exit_code = 1


class InputError(T2ISpatialError, ValueError):
    """A file, table or argument does not have the expected form."""


class MissingDependencyError(T2ISpatialError, ImportError):
    """An optional package is needed for what was asked."""


class PlanMismatchError(T2ISpatialError):
    """A run directory was made by another plan than the one requested."""


class IncompleteRunError(T2ISpatialError):
    """Some expected images have no score and `--allow-missing` was not given."""


class ModelLoadError(T2ISpatialError):
    """A generator, detector or adapter could not be loaded."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module, or say which extra brings it.

    Raises:
        MissingDependencyError: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingDependencyError(
            f"this needs the package {module.split('.')[0]!r}: pip install 't2i-spatial[{extra}]'"
        ) from None


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name.

    >>> nearest("visr", ["visor", "geneval"])
    "did you mean 'visor'? known: geneval, visor"
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(known)}"
