"""Protocols, relation geometry and statistics on plain tables and arrays; never torch.

>>> from t2i_spatial.metrics import PROTOCOLS
>>> "visor" in PROTOCOLS
True
"""

from __future__ import annotations

import importlib
from typing import Any

_LAZY = {
    "PROTOCOLS": "protocol",
    "Protocol": "protocol",
    "VISOR": "visor",
}

__all__ = sorted(_LAZY)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"t2i_spatial.metrics.{_LAZY[name]}"), name)
    raise AttributeError(f"module 't2i_spatial.metrics' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
