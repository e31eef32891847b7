"""The scorer as a reward: a function, adapters for trainers, and an HTTP server.

Importing this package loads neither torch nor fastapi.
"""

from __future__ import annotations

import importlib
from typing import Any

_LAZY = {
    "Client": "client",
    "ItemScore": "core",
    "LocalScorer": "core",
    "RewardSpec": "core",
    "Scorer": "core",
    "as_prompts": "requests",
    "score_batch": "core",
}

__all__ = sorted(_LAZY)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"t2i_spatial.rewards.{_LAZY[name]}"), name)
    raise AttributeError(f"module 't2i_spatial.rewards' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
