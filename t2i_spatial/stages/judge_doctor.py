"""A judge examined on drawings, and what was found kept with the run that it judges."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from t2i_spatial.devices import resolve_devices
from t2i_spatial.errors import InputError
from t2i_spatial.files import read_json, write_json
from t2i_spatial.judges import load_judge
from t2i_spatial.judges.examination import Examination, examine
from t2i_spatial.progress import note
from t2i_spatial.run import Run
from t2i_spatial.stages.ask_settings import JudgeSettings


def examine_judge(settings: JudgeSettings, *, pairs: int = 8) -> tuple[Examination, dict[str, Any]]:
    """Ask a judge about drawings; what was found, and the plan of the judge it was found of.

    Raises:
        JudgeError, ModelLoadError: the judge cannot be asked.
    """
    judge = load_judge(settings.resolve(), device=resolve_devices(settings.device)[0])
    try:
        with tempfile.TemporaryDirectory(prefix="t2i-spatial-doctor-") as folder:
            found = examine(
                judge, Path(folder), pairs=pairs, seed=settings.seed, votes=settings.votes
            )
        return found, judge.plan()
    finally:
        judge.close()


def keep(run: Run, name: str, found: Examination, plan: dict[str, Any]) -> None:
    """Store an examination beside the answers of a judge.

    Raises:
        InputError: the answers of that name are another judge's.
    """
    known = run.plan(f"ask-{name}")
    for key in ("judge", "model", "revision", "weights", "dtype"):
        if known and known.get(key) != plan.get(key):
            raise InputError(
                f"the answers {name!r} of {run.path} are those of another judge: {key} is "
                f"{known.get(key)!r} there, {plan.get(key)!r} here"
            )
    write_json(_place(run, name), {"judge": plan, **found.to_dict()})


def tell(run: Run, name: str) -> None:
    """One line about how far the judge of these answers is to be trusted."""
    path = _place(run, name)
    if not path.exists():
        return
    page = json.loads(json.dumps(read_json(path)))
    shares = [
        f"{kind} {100 * found['value']:.0f} ({100 * found['low']:.0f} to {100 * found['high']:.0f})"
        for kind, found in page.get("accuracy", {}).items()
        if found.get("value") is not None
    ]
    note(f"{name} on drawings of known truth, % right: {', '.join(shares)}")


def _place(run: Run, name: str) -> Path:
    return run.path / "judges" / f"{name}.json"
