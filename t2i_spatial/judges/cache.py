"""Raw replies by content: asking again what was asked before costs nothing.

The key is a hash of everything that decides a reply (image bytes, text, model, settings, rollout).
What is stored is the reply as it came, so a better parser needs no new calls. Errors and refusals
are never stored. Files are written whole or not at all, so several runs may share a folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t2i_spatial.run import atomic_write


def cache_key(parts: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON of what decides a reply.

    >>> cache_key({"b": 1, "a": [2]}) == cache_key({"a": [2], "b": 1})
    True
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class ReplyCache:
    """A folder of raw replies; `folder=None` keeps nothing.

    Attributes:
        hits: how many replies were found.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self.folder = None if folder is None else Path(folder).expanduser()
        self.hits = 0

    def get(self, key: str) -> Any | None:
        """The stored reply, or `None`; a damaged file counts as not there."""
        if self.folder is None:
            return None
        try:
            stored = json.loads(self._path(key).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(stored, dict) or stored.get("key") != key:
            return None
        self.hits += 1
        return stored.get("reply")

    def put(self, key: str, reply: Any) -> None:
        """Store a reply.

        Raises:
            T2ISpatialError: the folder cannot be written.
        """
        if self.folder is None:
            return
        with atomic_write(self._path(key), "w") as file:
            json.dump({"key": key, "reply": reply}, file, ensure_ascii=False)

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / f"{key}.json"
