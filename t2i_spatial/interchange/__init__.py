"""Detections of any origin: readers, and writers in the formats of the peers."""

from __future__ import annotations

import importlib
from typing import Any

_LAZY = {
    "DetectionFiles": "reading",
    "export_folder": "geneval_export",
    "read_detections": "reading",
    "to_coco": "coco_export",
    "write_geneval": "geneval_export",
    "write_visor": "visor_export",
}

__all__ = sorted(_LAZY)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"t2i_spatial.interchange.{_LAZY[name]}"), name)
    raise AttributeError(f"module 't2i_spatial.interchange' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
