"""Is this installation fit to judge images? Versions, devices, caches, and known drawings."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2i_spatial.detectors import load_detector
from t2i_spatial.detectors.canary import CanaryResult, run_canary
from t2i_spatial.errors import T2ISpatialError, require
from t2i_spatial.provenance import environment
from t2i_spatial.stages.stage_settings import DetectorSettings

EXTRAS = {
    "torch": "detect",
    "transformers": "detect",
    "diffusers": "generate",
    "peft": "generate",
    "open_clip": "color",
    "groundingdino": "groundingdino",
    "fastapi": "serve",
    "ray": "ray",
}
"""Optional modules and the extra that brings each."""


@dataclass(frozen=True)
class Examination:
    """What the doctor found; `canaries` maps a detector to its result, or to why it has none."""

    environment: dict[str, Any]
    missing: dict[str, str]
    devices: list[str]
    memory: dict[str, float]
    caches: dict[str, Any]
    canaries: dict[str, CanaryResult | str]

    @property
    def healthy(self) -> bool:
        """Whether every examined detector read every drawing correctly."""
        return all(isinstance(c, CanaryResult) and c.passed for c in self.canaries.values())

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "healthy": self.healthy,
            **self.environment,
            "missing": self.missing,
            "devices": self.devices,
            "memory": self.memory,
            "caches": self.caches,
            "canaries": {
                name: {"passed": False, "error": result}
                if isinstance(result, str)
                else result.to_dict()
                for name, result in self.canaries.items()
            },
        }


def examine(
    detectors: Sequence[DetectorSettings | str] = ("bundled",), *, device: str = "auto"
) -> Examination:
    """Look at the installation and let each detector find known drawings.

    Args:
        detectors: names, or names with settings.
        device: of those given by name only.
    """
    from importlib.util import find_spec

    missing = {module: extra for module, extra in EXTRAS.items() if find_spec(module) is None}
    canaries: dict[str, CanaryResult | str] = {}
    for wanted in detectors:
        if isinstance(wanted, str):
            wanted = DetectorSettings(detector=wanted, device=device)
        try:
            found = load_detector(wanted.resolve(), device=wanted.device)
            canaries[wanted.detector] = run_canary(found)
        except T2ISpatialError as error:
            canaries[wanted.detector] = str(error)
    return Examination(environment(), missing, _devices(), _memory(), _caches(), canaries)


def format_examination(found: Examination) -> str:
    """The same for a person, one fact per line."""
    packages = ", ".join(f"{k} {v}" for k, v in found.environment["packages"].items())
    lines = [
        f"python     {found.environment['python']} on {found.environment['platform']}",
        f"packages   {packages}",
        f"devices    {', '.join(found.devices) or 'torch is not installed'}",
        f"memory     {found.memory['available_gb']:.1f} of {found.memory['total_gb']:.1f} GB free, "
        f"{found.memory['disk_free_gb']:.0f} GB of disk",
        f"cache      {found.caches['hub']} ({found.caches['hub_state']}), "
        f"offline switch {'on' if found.caches['offline'] else 'off'}",
    ]
    for module, extra in found.missing.items():
        lines.append(f"missing    {module}: pip install 't2i-spatial[{extra}]'")
    for name, result in found.canaries.items():
        if isinstance(result, str):
            lines.append(f"detector   {name}: FAILED, {result}")
            continue
        state = "ok" if result.passed else "FAILED"
        lines.append(f"detector   {name}: {state} on {len(result.cases)} drawings of known boxes")
        for case in result.cases:
            facts = [f"IoU {case.iou:.2f}", f"order {'right' if case.order else 'WRONG'}"]
            if case.colors is not None:
                facts.append(f"red and blue {'right' if case.colors else 'WRONG'}")
            mark = "" if case.passed else "  <- FAILED"
            lines.append(f"           {case.drawing:<13} {', '.join(facts)}{mark}")
    return "\n".join(lines)


def _devices() -> list[str]:
    try:
        torch = require("torch", "detect")
    except T2ISpatialError:
        return []
    found = [f"cpu ({os.cpu_count()} cores, {torch.get_num_threads()} threads)"]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        size = properties.total_memory / 1e9
        found.append(f"cuda:{index} ({properties.name}, {size:.0f} GB)")
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


def _memory() -> dict[str, float]:
    page, total = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    return {
        "total_gb": page * total / 1e9,
        "available_gb": page * os.sysconf("SC_AVPHYS_PAGES") / 1e9,
        "disk_free_gb": shutil.disk_usage(Path.cwd()).free / 1e9,
    }


def _caches() -> dict[str, Any]:
    home = os.environ.get("HF_HOME") or str(Path.home() / ".cache" / "huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")
    models = len(list(hub.glob("models--*"))) if hub.is_dir() else 0
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")
    return {"hub": str(hub), "hub_state": f"{models} models", "offline": offline}
