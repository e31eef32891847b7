"""What a run records about the machine and the libraries that made it."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = (
    "t2i-spatial",
    "numpy",
    "polars",
    "pillow",
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "peft",
    "open-clip-torch",
    "groundingdino-py",
)


def environment() -> dict[str, Any]:
    """Package versions and platform; imports nothing heavy."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "packages": packages,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "cpus": os.cpu_count(),
    }


def prompt_set_hash(prompts: list[tuple[str, str]]) -> str:
    """sha256 over the lines `id<TAB>text` joined by newlines.

    >>> prompt_set_hash([("0", "a cat")])[:8]
    'c4fcfe7c'
    """
    lines = "\n".join(f"{prompt_id}\t{text}" for prompt_id, text in prompts)
    return hashlib.sha256(lines.encode()).hexdigest()
