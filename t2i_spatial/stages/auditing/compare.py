"""The difference of two runs, corrected by people's labels of either."""

from __future__ import annotations

from typing import Any

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.run import Run
from t2i_spatial.stages.auditing.audit import entry_of, number_anchor, protocol_rows
from t2i_spatial.stages.auditing.labelled import FEWEST, read_labelled
from t2i_spatial.statistics.audit import difference


def audited_differences(
    a: Run, b: Run, protocols: list[str], *, assume_uniform: bool = False
) -> dict[str, dict[str, Any]]:
    """Protocol -> number -> audited value of B minus that of A, prompts paired.

    The labelled images need not be the same; the same prompts and samples give shorter intervals.

    Raises:
        InputError: a run without labels, or what `read_labelled` refuses.
    """
    labelled = [read_labelled(run, assume_uniform=assume_uniform) for run in (a, b)]
    for run, known in zip((a, b), labelled, strict=True):
        if len(known.truths) < FEWEST:
            raise InputError(
                f"{run.path}: {len(known.truths)} labelled images, {FEWEST} are needed"
            )
    result: dict[str, dict[str, Any]] = {}
    for name in protocols:
        rows = [
            protocol_rows(run, name, known) for run, known in zip((a, b), labelled, strict=True)
        ]
        result[name] = {}
        for number, rate in PROTOCOLS[name].numbers.items():
            try:
                first, second = (number_anchor(r, rate) for r in rows)
                found = difference(first, rows[0].clusters, second, rows[1].clusters)
                entry = {"a": first.value, "b": second.value, **entry_of(found)}
            except InputError as error:
                entry = {"value": None, "reason": str(error)}
            result[name][number] = entry
    return result


def format_differences(found: dict[str, dict[str, Any]]) -> str:
    """The audited differences for a person, in per cent and points."""
    lines = []
    for name, numbers in found.items():
        width = max(map(len, numbers))
        lines += ["", f"{name}, audited by people's labels"]
        lines.append(
            f"  {'':<{width}}  {'A':>6} {'B':>6}  {'B - A':>6}  {'95 % interval':<16}labels"
        )
        for number, entry in numbers.items():
            if entry["value"] is None:
                lines.append(f"  {number:<{width}}  not audited: {entry['reason']}")
                continue
            bounds = f"[{100 * entry['low']:+.1f}, {100 * entry['high']:+.1f}]"
            lines.append(
                f"  {number:<{width}}  {100 * entry['a']:6.1f} {100 * entry['b']:6.1f}  "
                f"{100 * entry['value']:>+6.1f}  {bounds:<16}{entry['n']:>6,}"
                + ("  automatic difference is outside" if entry["drift"] else "")
            )
    return "\n".join(lines)
