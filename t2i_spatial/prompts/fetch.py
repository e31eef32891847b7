"""Public prompt files by name: downloaded once, checked, cached. None of them is shipped."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from t2i_spatial.errors import InputError, T2ISpatialError, nearest

_LIMIT = 64 * 2**20


@dataclass(frozen=True, slots=True)
class PublicFile:
    """Where a prompt file is published.

    Attributes:
        url: where it is; `None` when it is not fetched for the user.
        sha256: what its bytes must hash to.
        licence: of the data.
        page: for people.
    """

    page: str
    licence: str
    url: str | None = None
    sha256: str | None = None


_COMPBENCH = "https://github.com/Karine-Huang/T2I-CompBench"
_COMPBENCH_RAW = "https://raw.githubusercontent.com/Karine-Huang/T2I-CompBench"
_COMPBENCH_FILES = {
    "spatial_train": (
        "7710d059c3391fe97fbf9e2ad3813ed0e7d87979",
        "af14cdf2320057d98f94077e6211c2ddfaabfbb9e3842873657baabb17e00de6",
    ),
    "3d_spatial_train": (
        "fc2c9b9f8ec357dcf1bb1b382c0df017afe9cd8c",
        "0bba7e9ad31b0ce7908f6cbf2426a4b7ef6e8b841c1b737d0ad2d5b8e688dd93",
    ),
    "numeracy_train": (
        "fc2c9b9f8ec357dcf1bb1b382c0df017afe9cd8c",
        "f66bb8708cb0be23c0406e14d892b25661b2b71e3e72abddc79c38466ab629c6",
    ),
    "complex_train_spatial": (
        "7710d059c3391fe97fbf9e2ad3813ed0e7d87979",
        "a7ccfa228a825497db4e6e688332a90f3b53da66a76da324390b597be92a0da0",
    ),
}

PUBLIC: dict[str, PublicFile] = {
    "geneval": PublicFile(
        "https://github.com/djghosh13/geneval",
        "MIT",
        "https://raw.githubusercontent.com/djghosh13/geneval/main/prompts/"
        "evaluation_metadata.jsonl",
        "5c48e0813e812e3c373fa5c8ed07a8f0a483be30272b4427b0559c8048e67c13",
    ),
    **{
        f"t2i_compbench_{name}": PublicFile(
            _COMPBENCH,
            "MIT",
            f"{_COMPBENCH_RAW}/{commit}/examples/dataset/{name}.txt",
            sha256,
        )
        for name, (commit, sha256) in _COMPBENCH_FILES.items()
    },
    "geneval2": PublicFile("https://github.com/facebookresearch/GenEval2", "CC BY-NC 4.0"),
    "spatialgeneval": PublicFile("https://github.com/AMAP-ML/SpatialGenEval", "none stated"),
}
"""Public prompt files. Those whose licence forbids or does not allow it are not fetched."""


def cache_directory() -> Path:
    """Where fetched files are kept: `T2I_SPATIAL_CACHE`, or the user's cache directory."""
    if own := os.environ.get("T2I_SPATIAL_CACHE"):
        return Path(own) / "prompts"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "t2i-spatial" / "prompts"


def fetch_prompts(name: str) -> Path:
    """Path of a public prompt file, downloaded on the first call; proxies of the environment apply.

    Raises:
        InputError: no such file, or one that is not fetched because of its licence.
        T2ISpatialError: no network, or the bytes are not the expected ones; says how to get the
            file by hand.
    """
    if name not in PUBLIC:
        raise InputError(f"no public prompt file {name!r}; {nearest(name, PUBLIC)}")
    entry = PUBLIC[name]
    if entry.url is None:
        raise InputError(
            f"{name} is not fetched for you (licence: {entry.licence}); get it from {entry.page} "
            "and give its path: t2i-spatial prompts FILE"
        )
    path = cache_directory() / f"{name}{Path(entry.url).suffix}"
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256:
        return path
    data = _download(name, entry.url)
    found = hashlib.sha256(data).hexdigest()
    if found != entry.sha256:
        raise T2ISpatialError(
            f"{entry.url} is not the file that was expected (sha256 {found[:12]}..., expected "
            f"{str(entry.sha256)[:12]}...); it was not kept. If the publisher changed it, download "
            "it yourself and give its path: t2i-spatial prompts FILE"
        )
    from t2i_spatial.files import atomic_write

    with atomic_write(path) as file:
        file.write(data)
    return path


def _download(name: str, url: str) -> bytes:
    # imported here: urllib.request is slow to load and most sessions never download
    import http.client
    import urllib.error
    import urllib.request

    request = urllib.request.Request(url, headers={"User-Agent": "t2i-spatial"})
    try:
        # a new opener reads the proxies of the environment as they are now
        with urllib.request.build_opener().open(request, timeout=30) as answer:
            data: bytes = answer.read(_LIMIT + 1)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise T2ISpatialError(
            f"cannot download {name}: {reason}. Without a network, fetch {url} on another machine "
            "and give the path of the file: t2i-spatial prompts FILE"
        ) from None
    if len(data) > _LIMIT:
        raise T2ISpatialError(f"{url} is larger than {_LIMIT // 2**20} MiB; not kept")
    return data
