"""Where the batches of a stage run: this process, or one process per device."""

from t2i_spatial.engines.local import Worker, run_batches

__all__ = ["Worker", "run_batches"]
