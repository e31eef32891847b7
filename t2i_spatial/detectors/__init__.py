"""Images to boxes: one file per detector behind one protocol."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t2i_spatial.detectors.base import Detector, DetectorSpec
from t2i_spatial.detectors.loading import is_local, read_config, weights_hash
from t2i_spatial.devices import check_device, resolve_devices
from t2i_spatial.errors import InputError, ModelLoadError, nearest
from t2i_spatial.registry import Registry

DETECTORS: Registry[type[Detector]] = Registry(
    "detector", "t2i_spatial.detectors", classes=(Detector,)
)

__all__ = ["DETECTORS", "Detector", "DetectorSpec", "load_detector", "resolve_detector"]


def resolve_detector(
    spec: str,
    *,
    threshold: float | None = None,
    revision: str | None = None,
    query_template: str | None = None,
    query_mode: str = "together",
    nms: float | None = None,
    dtype: str = "float32",
    compile: bool = False,
    options: Mapping[str, Any] | None = None,
) -> DetectorSpec:
    """Find the backend and the settings of a detector; reads `config.json` but no weights.

    Args:
        spec: "bundled", a hub id, a local folder, or "backend:source".
        threshold: `None` takes the backend's own.
        query_template: `None` takes the backend's own.

    Raises:
        ModelLoadError: not found, not reachable, or not a detector.
        InputError: a setting out of range, or an option the backend does not know.
    """
    source, fixed_nms = spec, nms
    if spec.startswith("precomputed:"):
        raise InputError(
            f"{spec!r} belongs to the images of a run; give it to `t2i-spatial detect RUN`"
        )
    if spec == "bundled":
        from t2i_spatial import bundled

        source = str(bundled.detector_path())
        settings = bundled.settings()["detector"]
        threshold = settings["threshold"] if threshold is None else threshold
        fixed_nms = settings.get("nms") if nms is None else nms
        query_template = query_template or settings["query_template"].replace("{}", "{name}")
    prefix, colon, rest = source.partition(":")
    if colon and not Path(source).exists() and prefix in DETECTORS:
        backend, source, commit = prefix, rest, revision
    else:
        if "/" not in spec and not Path(source).exists():
            known = nearest(spec, ["bundled", *(f"{name}:..." for name in DETECTORS)])
            raise ModelLoadError(
                f"no detector {spec!r}; {known}; or a hub id (owner/name) or local folder"
            )
        config, commit = read_config(source, revision)
        backend = _backend_of(spec, str(config.get("model_type")))
    detector = DETECTORS[backend]
    return DetectorSpec(
        spec=spec,
        backend=backend,
        source=source,
        threshold=detector.default_threshold if threshold is None else threshold,
        query_template=query_template or detector.default_template,
        query_mode=query_mode,
        revision=commit,
        nms=fixed_nms,
        dtype=dtype,
        compile=compile,
        weights=weights_hash(source) if is_local(source) else None,
        options=detector.check_options(options or {}),
    )


def load_detector(
    spec: str | DetectorSpec,
    *,
    device: str = "auto",
    threshold: float | None = None,
    **settings: Any,
) -> Detector:
    """Load a detector on one device; see `resolve_detector` for the settings.

    >>> load_detector("owl:/nowhere")
    Traceback (most recent call last):
    ...
    t2i_spatial.errors.ModelLoadError: /nowhere cannot be loaded: ...

    Raises:
        ModelLoadError: weights missing, unexpected, not safetensors, or unreachable.
        InputError: a setting out of range, or a device that cannot be used.
    """
    if isinstance(spec, str):
        spec = resolve_detector(spec, threshold=threshold, **settings)
    device = resolve_devices(device)[0]
    check_device(device)
    return DETECTORS[spec.backend](spec, device)


def _backend_of(spec: str, model_type: str) -> str:
    known: dict[str, str] = {}
    for name in DETECTORS:
        for kind in DETECTORS[name].model_types:
            known[kind] = name
    if model_type not in known:
        raise ModelLoadError(
            f"{spec!r} is a {model_type!r} model, not a detector this package loads; "
            f"{nearest(model_type, known)}"
        )
    return known[model_type]
