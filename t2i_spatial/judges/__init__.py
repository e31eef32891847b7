"""Images and questions to answers: one file per judge behind one class.

Importing this package loads neither torch nor httpx.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

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
    at_url = spec.startswith(("http://", "https://"))
    if model is not None and not at_url:
        raise InputError(f"--judge-model belongs to a judge at a URL, not to {spec!r}")
    if at_url:
        backend, source = "http", _checked_url(spec)
    elif spec == "bundled":
        backend, source = "transformers", _bundled()
    elif backend not in JUDGES or backend == "http":
        known = ["bundled", "boxes", "https://...", "transformers:..."]
        raise InputError(f"no judge {spec!r}; {nearest(spec, known)}")
    elif backend == "transformers" and not source:
        raise InputError("name the model of the judge: transformers:ID, a hub id or a folder")
    checked = JUDGES[backend].check_options(dict(options or {}))
    return JudgeSpec(spec, backend, source, model, revision, None, dtype, checked)


def _checked_url(url: str) -> str:
    """An address without secrets: it stands in `run.json`."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InputError(f"{url!r} is no URL: {error}") from None
    if not host or any(c.isspace() for c in url):
        raise InputError(f"{url!r} is no URL of a chat-completions endpoint (http://host:port/v1)")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(
            f"the URL of a judge at {host!r} must hold no password, key or ?query: it is written "
            "down. A key is taken from the environment (OPENAI_API_KEY, or --option key_env=NAME)"
        )
    return url


def _bundled() -> str:
    from t2i_spatial import bundled

    folder = bundled.judge_path()
    if not (folder / "config.json").is_file():
        raise InputError(
            "this version brings no bundled judge; name one with --judge: boxes, the URL of a "
            "chat-completions endpoint, or transformers:ID"
        )
    return str(folder)


def load_judge(judge: str | JudgeSpec, *, device: str = "cpu", **settings: Any) -> Judge:
    """A judge that can be asked.

    Raises:
        InputError: see `resolve_judge`.
        ModelLoadError, JudgeError: it cannot be loaded or reached.
    """
    spec = judge if isinstance(judge, JudgeSpec) else resolve_judge(judge, **settings)
    return JUDGES[spec.backend](spec, device)
