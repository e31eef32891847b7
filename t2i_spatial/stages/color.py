"""Colour of every box of a run, added to its detections table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from t2i_spatial.detectors.clip_model import ClipSpec
from t2i_spatial.detectors.color_clip import TEMPLATES, ClipColor
from t2i_spatial.detectors.color_pixels import PixelColor
from t2i_spatial.engines import Engine
from t2i_spatial.errors import InputError, nearest
from t2i_spatial.run import Run
from t2i_spatial.stages.box_values import BoxModel, add_box_values

METHODS = ("clip", "pixels")


def color_stage(name: str = "main") -> str:
    """Key in `run.json` of the colour stage over `detections/<name>.parquet`."""
    return "color" if name == "main" else f"color-{name}"


def color_method(method: str) -> tuple[str, str]:
    """The kind of method and its model, which may be empty.

    >>> color_method("clip:ViT-B-32/openai")
    ('clip', 'ViT-B-32/openai')

    Raises:
        InputError: an unknown method.
    """
    kind, _, model = method.partition(":")
    if kind not in METHODS or (kind == "pixels" and model):
        raise InputError(f"unknown colour method {method!r}; {nearest(kind, METHODS)}")
    return kind, model


def color_run(
    run: Run,
    method: str = "clip",
    *,
    name: str = "main",
    device: str = "auto",
    dtype: str = "float32",
    batch_size: int | Literal["auto"] = "auto",
    overwrite: bool = False,
    engine: Engine | None = None,
) -> None:
    """Set `color` of every box in `detections/<name>.parquet`.

    Args:
        method: "clip" (GenEval's way with ViT-L-14/openai), "clip:MODEL" (see `ClipSpec.parse`),
            or "pixels" (no model; its words include gray).

    Raises:
        InputError: an unknown method.
        ModelLoadError: the CLIP model cannot be loaded.
        PlanMismatchError: made in another way or for other boxes.
    """
    kind, model = color_method(method)
    plan: dict[str, Any] = {"method": kind}
    spec = None
    if kind == "clip":
        spec = ClipSpec.parse(model) if model else ClipSpec()
        plan |= {**spec.plan(), "templates": list(TEMPLATES), "dtype": dtype}
    add_box_values(
        run,
        color_stage(name),
        "color",
        _Make(spec, dtype),
        plan,
        name=name,
        device=device if spec else "cpu",
        batch_size=batch_size,
        overwrite=overwrite,
        engine=engine,
    )


@dataclass(frozen=True)
class _Make:
    spec: ClipSpec | None
    dtype: str

    def __call__(self, device: str) -> BoxModel:
        return PixelColor() if self.spec is None else ClipColor(self.spec, device, self.dtype)
