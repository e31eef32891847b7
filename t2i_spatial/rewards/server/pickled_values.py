"""The few calls of a pickle that stand for data: bytes of protocol 2, and numpy's scalars.

A pickle spells such a value as a call: `_codecs.encode("...", "latin1")` for bytes, and
`numpy...scalar(dtype("f8"), bytes)` for `np.float64`. Here the names are only compared with those
below; nothing is imported or called, and the value is made from the bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import numpy as np

from t2i_spatial.errors import InputError


class Callee(Enum):
    """What may be called."""

    ENCODE = auto()
    BYTES = auto()
    DTYPE = auto()
    SCALAR = auto()


_NAMES = {
    ("_codecs", "encode"): Callee.ENCODE,
    ("__builtin__", "bytes"): Callee.BYTES,
    ("builtins", "bytes"): Callee.BYTES,
    ("numpy", "dtype"): Callee.DTYPE,
    ("numpy.core.multiarray", "scalar"): Callee.SCALAR,
    ("numpy._core.multiarray", "scalar"): Callee.SCALAR,
}
_DTYPE = re.compile(r"b1|[iu][1248]|f[248]|U[0-9]{1,7}")


@dataclass
class Dtype:
    """A numpy type: its code, such as "f8", and its byte order."""

    code: str
    order: str = "|"


def callee(module: Any, name: Any) -> Callee:
    """What a name of a pickle stands for.

    Raises:
        InputError: anything that does not stand for plain data.
    """
    known = (
        _NAMES.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
    )
    if known is None:
        raise InputError(
            f"a pickle with the name {str(module)[:40]}.{str(name)[:40]} (GLOBAL); only plain data "
            "is read, never code"
        )
    return known


class Calls:
    """Makes the values; what they hold together is never more than the pickle itself."""

    def __init__(self, most_bytes: int) -> None:
        self.left = most_bytes

    def value(self, called: Any, arguments: Any) -> Any:
        """What a call stands for.

        Raises:
            InputError: another call than those of this module.
        """
        match called, arguments:
            case Callee.ENCODE, (str(text), "latin1" | "latin-1"):
                return text.encode("latin-1")[: self._take(len(text))]
            case Callee.BYTES, ():
                return b""
            case Callee.DTYPE, (str(code), False, True) if _DTYPE.fullmatch(code):
                return Dtype(code)
            case Callee.SCALAR, (Dtype() as kind, bytes(content)):
                self._take(len(content))
                return _scalar(kind, content)
        raise InputError("a pickle with a call (REDUCE); only plain data is read, never code")

    def _take(self, count: int) -> int:
        self.left -= count
        if self.left < 0:
            raise InputError("a pickle that makes more of its bytes than there are")
        return count


def set_order(built: Any, state: Any) -> None:
    """Give a numpy type the byte order of its state, the only one that may have one.

    Raises:
        InputError: anything else is to be restored.
    """
    match built, state:
        case Dtype(), (3, "<" | ">" | "|" | "=" as order, None, None, None, int(), int(), int()):
            built.order = order
            return
    raise InputError("a pickle that restores an object (BUILD); only plain data is read")


def _scalar(kind: Dtype, content: bytes) -> Any:
    # "=" and "|" are numpy's for types of one byte, and for none given
    dtype = np.dtype(f"{kind.order if kind.order in '<>' else '='}{kind.code}")
    if dtype.itemsize != len(content):
        raise InputError(f"a numpy scalar of {dtype.itemsize} bytes with {len(content)}")
    return np.frombuffer(content, dtype)[0].item() if content else ""
