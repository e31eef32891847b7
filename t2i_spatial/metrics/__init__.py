"""Protocols, relation geometry and statistics on plain tables and arrays; never torch.

>>> from t2i_spatial.metrics import PROTOCOLS
>>> "visor" in PROTOCOLS
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from t2i_spatial.metrics.base import PROTOCOLS as PROTOCOLS
    from t2i_spatial.metrics.base import Metric as Metric
    from t2i_spatial.metrics.geneval import GenEval as GenEval
    from t2i_spatial.metrics.geneval_reward import GenEvalReward as GenEvalReward
    from t2i_spatial.metrics.geneval_reward import GenEvalRewardFixed as GenEvalRewardFixed
    from t2i_spatial.metrics.layout import Layout as Layout
    from t2i_spatial.metrics.relations import relation_rule as relation_rule
    from t2i_spatial.metrics.relations import relation_scores as relation_scores
    from t2i_spatial.metrics.spatial import Spatial as Spatial
    from t2i_spatial.metrics.t2i_compbench_2d import T2ICompBench2D as T2ICompBench2D
    from t2i_spatial.metrics.t2i_compbench_2d import T2ICompBench2DFixed as T2ICompBench2DFixed
    from t2i_spatial.metrics.t2i_compbench_3d import T2ICompBench3D as T2ICompBench3D
    from t2i_spatial.metrics.t2i_compbench_3d import T2ICompBench3DFixed as T2ICompBench3DFixed
    from t2i_spatial.metrics.t2i_compbench_numeracy import (
        T2ICompBenchNumeracy as T2ICompBenchNumeracy,
    )
    from t2i_spatial.metrics.t2i_compbench_numeracy import (
        T2ICompBenchNumeracyFixed as T2ICompBenchNumeracyFixed,
    )
    from t2i_spatial.metrics.visor import VISOR as VISOR

_LAZY = {
    "PROTOCOLS": "base",
    "Metric": "base",
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


if not TYPE_CHECKING:  # so that checkers see the types, and a misspelt name is an error

    def __getattr__(name: str) -> Any:
        if name in _LAZY:
            return getattr(importlib.import_module(f"t2i_spatial.metrics.{_LAZY[name]}"), name)
        raise AttributeError(f"module 't2i_spatial.metrics' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
