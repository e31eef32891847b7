"""Images and questions to answers: one file per judge behind one class.

Importing this package loads neither torch nor httpx.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from t2i_spatial.errors import InputError, nearest
from t2i_spatial.judges.base import Asked, Judge, JudgeSpec, Picture, Reply
from t2i_spatial.registry import Registry

JUDGES: Registry[type[Judge]] = Registry("judge", "t2i_spatial.judges", classes=(Judge,))

__all__ = [
    "JUDGES",
    "Asked",
    "Judge",
    "JudgeSpec",
    "Picture",
    "Reply",
    "load_judge",
    "resolve_judge",
]


def resolve_judge(
    spec: str,
    *,
    model: str | None = None,
    revision: str | None = None,
    dtype: str = "float32",
    options: Mapping[str, Any] | None = None,
) -> JudgeSpec:
    """Find the backend and the settings of a judge; nothing is loaded or asked.

    Args:
        spec: "bundled", "boxes", the URL of a chat-completions endpoint, "transformers:ID" (a hub
            id or folder), or "backend:source" of a registered judge.
        model: name of the model at a URL.
        revision: of a hub id.
        dtype: of a local model.
        options: of the backend.

    Raises:
        InputError: no such judge, or an option that it does not know.
    """
    backend, _, source = spec.partition(":")
    if spec.startswith(("http://", "https://")):
        backend, source = "http", spec
    elif spec == "bundled":
        from t2i_spatial import bundled

        backend, source = "transformers", str(bundled.judge_path())
    elif backend not in JUDGES:
        known = ["bundled", "boxes", "https://...", "transformers:..."]
        raise InputError(f"no judge {spec!r}; {nearest(spec, known)}")
    if model is not None and backend != "http":
        raise InputError(f"--judge-model belongs to a judge at a URL, not to {spec!r}")
    checked = JUDGES[backend].check_options(dict(options or {}))
    return JudgeSpec(spec, backend, source, model, revision, None, dtype, checked)


def load_judge(judge: str | JudgeSpec, *, device: str = "cpu", **settings: Any) -> Judge:
    """A judge that can be asked.

    Raises:
        InputError: see `resolve_judge`.
        ModelLoadError, JudgeError: it cannot be loaded or reached.
    """
    spec = judge if isinstance(judge, JudgeSpec) else resolve_judge(judge, **settings)
    return JUDGES[spec.backend](spec, device)
