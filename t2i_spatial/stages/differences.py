"""What two runs did differently, from their manifests: what is compared, and how it was measured.

Only a difference of the first kind may be called a result. A different prompt set, detector,
threshold or protocol setting means that the numbers are not of the same thing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from t2i_spatial.files import read_table
from t2i_spatial.provenance import prompt_set_hash
from t2i_spatial.run import Run

Kind = Literal["compared", "pairing", "measurement", "unknown"]

_SEEDS = {"seed", "samples"}
_CONTENT = {"prompts", "input", "content", "source", "batch_size", "images"}


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same in two runs.

    Attributes:
        stage, key: where it stands in `run.json`.
        a, b: the values, `None` when absent.
        kind: `compared` (the model, its adapter, how it sampled: what the comparison is about),
            `pairing` (seeds and numbers of images: pairs share less), `measurement` (prompts,
            detector, thresholds, protocol: makes the runs incomparable), or `unknown` (the runs
            do not say how their boxes were made).
    """

    stage: str
    key: str
    a: Any
    b: Any
    kind: Kind

    def __str__(self) -> str:
        return f"{self.stage}.{self.key}: {_short(self.a)} | {_short(self.b)}"


def run_differences(
    a: Run, b: Run, protocols: Iterable[str], *, shared_prompts: bool = False
) -> list[Difference]:
    """All differences of two runs that matter to their numbers under `protocols`.

    Args:
        shared_prompts: only prompts of both are compared, so that others do no harm.

    Raises:
        InputError: a run without prompts.
    """
    protocols = list(protocols)
    scored = [run.plan("score") for run in (a, b)]
    boxes = any("detections" in plan.get(name, {}) for plan in scored for name in protocols)
    found = _prompt_sets(a, b, "pairing" if shared_prompts else "measurement")
    stages = sorted({*a.manifest["stages"], *b.manifest["stages"]} - {"score"})
    for stage in stages:
        if stage == "detect":
            # how boxes were made is nothing to protocols that look at answers alone
            found += _detection(a, b) if boxes or not protocols else []
        elif stage in ("generate", "import"):
            found += [
                Difference(stage, key, x, y, "pairing" if key in _SEEDS else "compared")
                for key, x, y in _unequal(a.plan(stage), b.plan(stage))
                if key not in _CONTENT - {"images"}
            ]
    for name in protocols:
        x, y = (plan.get(name, {}) for plan in scored)
        found += [
            Difference("score", f"{name}.{key}", left, right, "measurement")
            for key, left, right in _unequal(
                {**x.get("settings", {}), "allow_missing": x.get("allow_missing")},
                {**y.get("settings", {}), "allow_missing": y.get("allow_missing")},
            )
        ]
        found += _judges(name, x.get("judge", {}), y.get("judge", {}))
    return found


def incomparable(differences: Iterable[Difference]) -> list[Difference]:
    """Those that forbid to call any difference of the numbers a result."""
    return [difference for difference in differences if difference.kind == "measurement"]


def _prompt_sets(a: Run, b: Run, kind: Kind) -> list[Difference]:
    columns = ["prompt_id", "text"]
    tables = [read_table(r.table_path("prompts.parquet"), columns).sort(columns) for r in (a, b)]
    if tables[0].equals(tables[1]):
        return []
    rows = [table.rows() for table in tables]
    shared = len(set(rows[0]) & set(rows[1]))
    said = [
        f"{len(r):,} prompts, {len(r) - shared:,} not in the other ({prompt_set_hash(r)[:8]})"
        for r in rows
    ]
    return [Difference("prompts", "set", said[0], said[1], kind)]


def _detection(a: Run, b: Run) -> list[Difference]:
    plans = a.plan("detect"), b.plan("detect")
    found = [
        Difference("detect", key, x, y, "measurement")
        for key, x, y in _unequal(*plans)
        if key not in _CONTENT
    ]
    if not found and all(plan.get("detector") == "imported" for plan in plans):
        x, y = (plan.get("source") for plan in plans)
        found.append(Difference("detect", "source", x, y, "unknown"))
    return found


def _judges(protocol: str, a: dict[str, Any], b: dict[str, Any]) -> list[Difference]:
    """Whose answers, to which templates, how often: another one is another measurement."""
    same_model = a.get("model") is not None and a.get("model") == b.get("model")
    # the name of the answers says nothing of them, nor does the port where one model is served
    aside = {"answers", "judge"} if same_model else {"answers"}
    return [
        Difference("ask", f"{protocol}.{key}", x, y, "pairing" if key in _SEEDS else "measurement")
        for key, x, y in _unequal(a, b)
        if key not in aside
    ]


def _unequal(a: dict[str, Any], b: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(key, a.get(key), b.get(key)) for key in sorted({*a, *b}) if a.get(key) != b.get(key)]


def _short(value: Any) -> str:
    text = "–" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
