"""Where the batches of a stage run: here, on a Ray cluster, or as the jobs of a batch scheduler."""

from t2i_spatial.engine_settings import EngineSettings
from t2i_spatial.engines.base import Done, Engine, Work, Worker, Workers
from t2i_spatial.engines.batches import run_batches
from t2i_spatial.engines.local import Local
from t2i_spatial.engines.registry import ENGINES, make_engine

__all__ = [
    "ENGINES",
    "Done",
    "Engine",
    "EngineSettings",
    "Local",
    "Work",
    "Worker",
    "Workers",
    "make_engine",
    "run_batches",
]
