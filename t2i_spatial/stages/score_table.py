"""The summary of scores as a table for a person."""

from __future__ import annotations

from typing import Any

from t2i_spatial.metrics.answers import judge_said
from t2i_spatial.metrics.base import Summary
from t2i_spatial.metrics.tally import not_whole
from t2i_spatial.tables import NOT_APPLICABLE, SCORED, STATUSES


def format_table(summary: dict[str, Summary]) -> str:
    """The summary for a person: per cent with 95 % intervals, and how much of it was scored."""
    lines: list[str] = []
    for name, numbers in summary.items():
        images = numbers["images"]
        if lines:
            lines.append("")
        lines.append(f"{name}: {images.get(SCORED, 0):,} of {images['expected']:,} images scored")
        if "judge" in numbers:
            lines[-1] += f"; judge: {judge_said(numbers['judge'])}"
        others = {s: n for s, n in images.items() if s not in (SCORED, NOT_APPLICABLE)}
        others = {s: n for s, n in others.items() if s in STATUSES}
        if others:
            said = ", ".join(f"{count:,} {status}" for status, count in others.items())
            lines[-1] += f" ({said})"
        lines += [f"  {said}" for said in not_whole(images)]
        if "measured" in numbers:
            lines.append(f"  judge measured: {numbers['measured']['said']}")
        if images.get(NOT_APPLICABLE):
            lines.append(f"  the protocol does not apply to {images[NOT_APPLICABLE]:,} others")
        if "baselines" in numbers:
            blind = ", ".join(f"{k} {100 * v:.1f}" for k, v in numbers["baselines"].items())
            lines.append(f"  without looking at a picture: {blind}")
        lines += _rows(numbers)
        for group, members in numbers.items():
            if group in ("by_relation", "by_tag") and len(members) > 1:
                lines += _breakdown(group.removeprefix("by_"), members)
    return "\n".join(lines)


def _rows(numbers: Summary) -> list[str]:
    found = {key: entry for key, entry in numbers.items() if "value" in entry}
    width = max((len(key) for key in found), default=0)
    return [f"  {key:<{width}}  {_cell(entry)}" for key, entry in found.items()]


def _breakdown(title: str, members: dict[str, Any]) -> list[str]:
    metrics = [key for key, entry in next(iter(members.values())).items() if "value" in entry][:3]
    width = max(len(title), *(len(m) for m in members))
    lines = [f"  {title:<{width}}  " + "".join(f"{m:<22}" for m in metrics).rstrip()]
    for member, entries in members.items():
        cells = "".join(f"{_cell(entries[m]):<22}" for m in metrics)
        lines.append(f"  {member:<{width}}  {cells}".rstrip())
    return lines


def _cell(entry: dict[str, Any]) -> str:
    if entry["value"] is None:
        return "    –"
    value, low, high = (100 * entry[key] for key in ("value", "low", "high"))
    cell = f"{value:5.1f}  [{low:.1f}, {high:.1f}]"
    return cell + _audited(entry.get("audited"))


def _audited(found: dict[str, Any] | None) -> str:
    """What people's labels make of a number, where there are any."""
    if not found:
        return ""
    value, low, high = (100 * found[key] for key in ("value", "low", "high"))
    outside = ", which the automatic number is outside of" if found["drift"] else ""
    return f"  audited {value:.1f} [{low:.1f}, {high:.1f}] by {found['n']:,} labels{outside}"
