"""Engines by name, those of installed packages too."""

from __future__ import annotations

from t2i_spatial.engine_settings import EngineSettings
from t2i_spatial.engines.base import Engine
from t2i_spatial.errors import InputError
from t2i_spatial.registry import Registry

ENGINES: Registry[type[Engine]] = Registry("engine", "t2i_spatial.engines", classes=(Engine,))


def make_engine(settings: EngineSettings | None = None) -> Engine:
    """The engine that settings mean.

    Raises:
        InputError: no such engine, or settings that it does not have.
    """
    settings = settings or EngineSettings()
    name = settings.engine
    if settings.shard is not None:
        if name != "local":
            raise InputError(f"the engine {name!r} deals out batches itself: leave --shard out")
        name = "shards"
    elif name == "shards":
        raise InputError("the engine 'shards' needs to know which: --shard 3/16")
    if name in ("local", "shards"):
        for field in ("address", "gpus_per_worker", "cpus_per_worker"):
            if getattr(settings, field) is not None:
                flag = field.replace("_", "-")
                raise InputError(f"--{flag} has no effect here: it is for --engine ray")
    return ENGINES[name](settings)
