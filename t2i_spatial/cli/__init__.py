"""The `t2i-spatial` command: one file per sub-command, no logic."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """`main`, looked up when needed: `python -m t2i_spatial.cli.main` must not find it imported."""
    if name != "main":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    found = importlib.import_module("t2i_spatial.cli.main").main
    globals()["main"] = found  # the import has put the module of that name here
    return found
