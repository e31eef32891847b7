"""A comparison for a person."""

from __future__ import annotations

from t2i_spatial.stages.compare import Comparison, ProtocolComparison
from t2i_spatial.stages.differences import Kind
from t2i_spatial.statistics.paired import Difference
from t2i_spatial.statistics.sequential import StopResult

_HEADINGS: dict[Kind, str] = {
    "compared": "made differently (this is what is compared):",
    "pairing": "paired loosely (other seeds or numbers of images):",
    "unknown": "not known to be measured alike (boxes were imported):",
    "measurement": "measured differently (so the numbers cannot be compared):",
}
_DECISIONS = {
    "b_better": "B is better",
    "a_better": "A is better",
    "similar": "the runs are similar",
    "exhausted": "not decided by the prompts at hand",
}


def format_comparison(comparison: Comparison) -> str:
    """Differences of the runs first, then a table for each protocol, in per cent and points."""
    lines = [f"A  {comparison.a}", f"B  {comparison.b}"]
    for kind, heading in _HEADINGS.items():
        found = [d for d in comparison.differences if d.kind == kind]
        if found:
            lines += ["", heading, *(f"  {d}" for d in found)]
    if not comparison.differences:
        lines += ["", "the runs say that they were made and measured alike"]
    for name, part in comparison.protocols.items():
        lines += ["", *_protocol(name, part)]
    return "\n".join(lines)


def _protocol(name: str, part: ProtocolComparison) -> list[str]:
    pairs = part.pairs
    lines = [f"{name}: {pairs.images:,} pairs of images of {pairs.prompts:,} prompts"]
    if part.judge:
        lines[0] += f"; judge: {part.judge}"
    if pairs.only_a or pairs.only_b:
        lines.append(f"  without a partner: {pairs.only_a:,} images of A, {pairs.only_b:,} of B")
    if pairs.unscored_a or pairs.unscored_b:
        lines.append(f"  without a score: {pairs.unscored_a:,} of A, {pairs.unscored_b:,} of B")
    groups = {
        f"{member} {name}": difference
        for members in part.groups.values()
        for member, numbers in members.items()
        for name, difference in numbers.items()
    }
    width = max(len(n) for n in [*part.numbers, *groups])
    header = (
        f"{'A':>6} {'B':>6}  {'B - A':>6}  {'95 % interval':<17}{'p':<8}{'gained':>7}{'lost':>7}"
    )
    lines.append(f"  {'':<{width}}  {header}")
    lines += [f"  {n:<{width}}  {_row(d)}" for n, d in (part.numbers | groups).items()]
    if part.prompts_for_two_points is not None:
        lines.append(
            f"  a difference of 2 points of {part.main} needs about "
            f"{part.prompts_for_two_points:,} such prompts (power 80 %)"
        )
    if part.decision is not None:
        lines.append(_decision(part.decision, part.main or ""))
    return lines


def _row(number: Difference) -> str:
    a, b = (_percent(x) for x in (number.a, number.b))
    if number.value is None or number.low is None or number.high is None or number.p is None:
        return f"{a} {b}  {'–':>6}"
    interval = f"[{100 * number.low:+.1f}, {100 * number.high:+.1f}]"
    p = "<0.001" if number.p < 0.001 else f"{number.p:.3f}"
    return (
        f"{a} {b}  {100 * number.value:>+6.1f}  {interval:<17}{p:<8}"
        f"{number.gains:>7,}{number.losses:>7,}"
    )


def _percent(value: float | None) -> str:
    return f"{'–':>6}" if value is None else f"{100 * value:6.1f}"


def _decision(result: StopResult, number: str) -> str:
    bounds = result.bounds
    return (
        f"  in random order: {_DECISIONS[result.verdict]} ({number}) after {bounds.n:,} of "
        f"{result.population:,} prompts, difference within "
        f"[{100 * bounds.low:+.1f}, {100 * bounds.high:+.1f}] points at any time"
    )
