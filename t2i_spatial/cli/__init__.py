"""The `t2i-spatial` command: one file per sub-command, no logic."""

from t2i_spatial.cli.main import main

__all__ = ["main"]
