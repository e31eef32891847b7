"""An audit for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from t2i_spatial.stages.auditing.audit import AUDITED_GROUPS, AuditReport

TARGETS = {"model": "the model", "images": "these images"}


def format_audit(report: AuditReport) -> str:
    """Per protocol: automatic beside audited numbers, agreement, where errors come from."""
    facts = report.facts
    lines = [
        f"{facts['labelled']:,} of {facts['images']:,} images have labels, {facts['labels']:,} "
        f"answers; intervals are about {TARGETS[facts['target']]}",
        *_people(facts["annotators"], facts["rater_error"]),
    ]
    for name, part in report.protocols.items():
        lines += ["", name, *_table(part["numbers"])]
        lines += _agreement(part)
        if part["errors"]:
            said = ", ".join(f"{kind} {100 * s:.1f} %" for kind, s in part["errors"].items())
            lines.append(f"  verdicts that people do not share, of all images: {said}")
        for group in AUDITED_GROUPS:
            members = part.get(f"by_{group}")
            if members:
                lines += [f"  by {group}"]
                lines += _table({m: e for m, n in members.items() for e in n.values()}, "    ")
    return "\n".join(lines)


def _table(numbers: Mapping[str, Any], indent: str = "  ") -> list[str]:
    width = max(map(len, numbers), default=0)
    head = f"{indent}{'':<{width}}  {'automatic':>9}  {'audited':>7}  {'95 % interval':<15}"
    lines = [f"{head}{'labels':>7}{'worth':>7}"]
    for name, entry in numbers.items():
        row = f"{indent}{name:<{width}}  {_percent(entry['automatic']):>9}"
        if entry["value"] is None:
            lines.append(f"{row}  not audited: {entry['reason']}")
            continue
        bounds = f"[{100 * entry['low']:.1f}, {100 * entry['high']:.1f}]"
        row += (
            f"  {_percent(entry['value']):>7}  {bounds:<15}{entry['n']:>7,}{entry['worth']:>7,.0f}"
        )
        if entry["drift"]:
            row += "  automatic number is outside"
        top = entry.get("if_unsure_right")
        if top is not None and top - entry["value"] > 0.0005:
            row += f"  (up to {100 * top:.1f} if all 'cannot tell' are right)"
        lines.append(row)
    return lines


def _agreement(part: Mapping[str, Any]) -> list[str]:
    if part["agreement"] is None:
        return []
    said = [
        f"{word} {_percent(part[key])} %"
        for word, key in (
            ("agreement with people", "agreement"),
            ("recall", "recall"),
            ("specificity", "specificity"),
        )
    ]
    if part["unsure"]:
        said.append(f"cannot tell {_percent(part['unsure'])} %")
    return ["  " + ", ".join(said)]


def _people(people: Mapping[str, Any], error: float | None) -> list[str]:
    lines = ["labels by " + ", ".join(f"{who}: {n:,}" for who, n in people["labels"].items())]
    if people["pairs"] and people["raw"]:
        found = [
            f"{name} {people[key][0]:.2f} [{people[key][1]:.2f}, {people[key][2]:.2f}]"
            for name, key in (("agreement", "raw"), ("kappa", "kappa"), ("AC1", "ac1"))
            if people[key]
        ]
        lines.append(f"{people['pairs']:,} answers by two people: {', '.join(found)}")
    else:
        lines.append("no question was answered by two people: how sure people are is not known")
    if error:
        lines.append(
            f"  if each errs in {100 * error:.1f} % of answers, a true rate t is seen as "
            f"t * {1 - 2 * error:.2f} + {error:.2f}"
        )
    return lines


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"
