"""Relative depth of every box of a run, added to its detections table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from t2i_spatial.detectors.depth_estimation import DepthEstimator, DepthSpec, resolve_depth
from t2i_spatial.engines import Engine
from t2i_spatial.run import Run
from t2i_spatial.stages.box_values import BoxModel, add_box_values


def depth_stage(name: str = "main") -> str:
    """Key in `run.json` of the depth stage over `detections/<name>.parquet`."""
    return "depth" if name == "main" else f"depth-{name}"


def depth_run(
    run: Run,
    model: str,
    *,
    revision: str | None = None,
    name: str = "main",
    device: str = "auto",
    dtype: str = "float32",
    batch_size: int | Literal["auto"] = "auto",
    overwrite: bool = False,
    engine: Engine | None = None,
) -> None:
    """Set `depth` of every box in `detections/<name>.parquet`: [0, 1], larger = nearer.

    Args:
        model: hub id or folder, e.g. "depth-anything/Depth-Anything-V2-Small-hf" or
            "Intel/dpt-hybrid-midas" (T2I-CompBench's).

    Raises:
        ModelLoadError: not a depth model, or it cannot be loaded.
        PlanMismatchError: made with another model or for other boxes.
    """
    spec = resolve_depth(model, revision=revision, dtype=dtype)
    add_box_values(
        run,
        depth_stage(name),
        "depth",
        _Make(spec),
        spec.plan(),
        name=name,
        device=device,
        batch_size=batch_size,
        overwrite=overwrite,
        engine=engine,
    )


@dataclass(frozen=True)
class _Make:
    spec: DepthSpec

    def __call__(self, device: str) -> BoxModel:
        return DepthEstimator(self.spec, device)
