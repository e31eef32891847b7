"""The app in a process of its own, and a Chromium of the system that looks at it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find_chromium() -> str | None:
    """A Chromium on the path, or the one that T2I_SPATIAL_CHROMIUM names."""
    return os.environ.get("T2I_SPATIAL_CHROMIUM") or next(
        filter(None, map(shutil.which, NAMES)), None
    )


needs_browser = pytest.mark.skipif(
    find_chromium() is None or find_spec("playwright") is None,
    reason="no Chromium on this machine (apt-get install chromium), or no playwright",
)


@contextlib.contextmanager
def serving(*runs: Path) -> Iterator[str]:
    """The address of a server that shows these runs."""
    command = [sys.executable, "-m", "t2i_spatial", "view", *map(str, runs), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        found = re.search(r"http://\S+", said)
        assert found, said + process.stderr.read()
        yield found.group()
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser; in a container root has no sandbox."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


def violations(page: Any) -> list[str]:
    """What axe-core calls serious or critical on the page as it is."""
    spec = find_spec("axe_playwright_python")
    assert spec is not None and spec.origin is not None
    page.evaluate((Path(spec.origin).parent / "axe.min.js").read_text("utf-8"))
    found: Sequence[dict[str, Any]] = page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{one['id']}: {node['html'][:120]} ({node['failureSummary'][:200]})"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
