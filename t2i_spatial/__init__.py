"""Did the image put things where the prompt said? A scorer and data curator.

Importing this package loads neither torch nor diffusers nor transformers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from t2i_spatial import _moved
from t2i_spatial._version import __version__

if TYPE_CHECKING:
    from t2i_spatial.detections import Detections as Detections
    from t2i_spatial.detectors import load_detector as load_detector
    from t2i_spatial.generation import load_generator as load_generator
    from t2i_spatial.prompts import load_prompts as load_prompts
    from t2i_spatial.prompts import parse_prompt as parse_prompt
    from t2i_spatial.run import Run as Run
    from t2i_spatial.scene import ObjectSpec as ObjectSpec
    from t2i_spatial.scene import Prompt as Prompt
    from t2i_spatial.scene import RelationSpec as RelationSpec
    from t2i_spatial.scene import SceneSpec as SceneSpec
    from t2i_spatial.scoring.api import score as score

_LAZY = {
    "ObjectSpec": "scene",
    "Prompt": "scene",
    "RelationSpec": "scene",
    "SceneSpec": "scene",
    "Detections": "detections",
    "Run": "run",
    "parse_prompt": "prompts",
    "load_prompts": "prompts",
    "load_detector": "detectors",
    "load_generator": "generation",
    "score": "scoring.api",
}

__all__ = ["__version__", *sorted(_LAZY)]

_moved.install()


if not TYPE_CHECKING:  # so that checkers see the types, and a misspelt name is an error

    def __getattr__(name: str) -> Any:
        if name in _LAZY:
            return getattr(importlib.import_module(f"t2i_spatial.{_LAZY[name]}"), name)
        raise AttributeError(f"module 't2i_spatial' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
