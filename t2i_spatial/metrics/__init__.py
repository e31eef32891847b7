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
    "GenEval": "geneval",
    "GenEvalReward": "geneval_reward",
    "GenEvalRewardFixed": "geneval_reward",
    "Layout": "layout",
    "Spatial": "spatial",
    "T2ICompBench2D": "t2i_compbench_2d",
    "T2ICompBench2DFixed": "t2i_compbench_2d",
    "T2ICompBench3D": "t2i_compbench_3d",
    "T2ICompBench3DFixed": "t2i_compbench_3d",
    "T2ICompBenchNumeracy": "t2i_compbench_numeracy",
    "T2ICompBenchNumeracyFixed": "t2i_compbench_numeracy",
    "VISOR": "visor",
    "relation_rule": "relations",
    "relation_scores": "relations",
}

__all__ = sorted(_LAZY)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"t2i_spatial.metrics.{_LAZY[name]}"), name)
    raise AttributeError(f"module 't2i_spatial.metrics' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
