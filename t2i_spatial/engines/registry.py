"""Engines by name, those of installed packages too."""

from __future__ import annotations

from t2i_spatial.engines.base import Engine
from t2i_spatial.engines.settings import EngineSettings
from t2i_spatial.registry import Registry

ENGINES: Registry[type[Engine]] = Registry("engine", "t2i_spatial.engines", classes=(Engine,))


def make_engine(settings: EngineSettings | None = None) -> Engine:
    """The engine that settings mean.

    Raises:
        InputError: no such engine, or settings that it does not have.
    """
    settings = settings or EngineSettings()
    return ENGINES["shards" if settings.shard is not None else settings.engine](settings)
