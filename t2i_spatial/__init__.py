"""Did the image put things where the prompt said? A scorer and data curator.

Importing this package loads neither torch nor diffusers nor transformers.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

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
    "score": "api",
}

__all__ = ["__version__", *sorted(_LAZY)]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"t2i_spatial.{_LAZY[name]}"), name)
    raise AttributeError(f"module 't2i_spatial' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
