"""The scorer as a reward: a function, adapters for trainers, and an HTTP server.

Importing this package loads neither torch nor fastapi.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from t2i_spatial.rewards.client import Client as Client
    from t2i_spatial.scoring.core import ItemScore as ItemScore
    from t2i_spatial.scoring.core import LocalScorer as LocalScorer
    from t2i_spatial.scoring.core import RewardSpec as RewardSpec
    from t2i_spatial.scoring.core import Scorer as Scorer
    from t2i_spatial.scoring.core import score_batch as score_batch
    from t2i_spatial.scoring.requests import as_prompts as as_prompts

_LAZY = {
    "Client": "rewards.client",
    "ItemScore": "scoring.core",
    "LocalScorer": "scoring.core",
    "RewardSpec": "scoring.core",
    "Scorer": "scoring.core",
    "as_prompts": "scoring.requests",
    "score_batch": "scoring.core",
}

__all__ = sorted(_LAZY)


if not TYPE_CHECKING:  # so that checkers see the types, and a misspelt name is an error

    def __getattr__(name: str) -> Any:
        if name in _LAZY:
            return getattr(importlib.import_module(f"t2i_spatial.{_LAZY[name]}"), name)
        raise AttributeError(f"module 't2i_spatial.rewards' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
