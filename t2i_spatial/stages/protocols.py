"""Protocols as a user names them, with settings of their own."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Any

from t2i_spatial.errors import InputError, nearest
from t2i_spatial.metrics.base import PROTOCOLS, Metric


def make_protocols(
    names: Iterable[str], settings: Iterable[str] = (), *, only_read: bool = False
) -> list[Metric]:
    """Protocols by name, each once, with their published settings unless told otherwise.

    Args:
        settings: "protocol.key=value", e.g. "geneval.counting_threshold=0.5".
        only_read: leave out prompts that a protocol judges in part.

    Raises:
        InputError: an unknown name or setting, or a value of another kind.
    """
    protocols = {name: PROTOCOLS[name](only_read=only_read) for name in names}
    for text in settings:
        match = re.fullmatch(r"(\w+)\.(\w+)=(.+)", text)
        if match is None:
            raise InputError(f"expected PROTOCOL.KEY=VALUE, got {text!r}")
        name, key, value = match.groups()
        if name not in protocols:
            raise InputError(f"--set {text}: {nearest(name, protocols)}")
        known = protocols[name].settings
        if key not in known:
            raise InputError(f"{name} has no setting {key!r}; {nearest(key, known)}")
        try:
            form = _truth if isinstance(known[key], bool) else type(known[key])
            setting: Any = form(value)
        except ValueError:
            kind = type(known[key]).__name__
            raise InputError(f"{name}.{key} must be a {kind}, got {value!r}") from None
        protocols[name] = dataclasses.replace(protocols[name], **{key: setting})
    return list(protocols.values())


def _truth(value: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if value.lower() not in words:
        raise ValueError(value)
    return words[value.lower()]
