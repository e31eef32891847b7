"""The table of all numbers of all protocols in docs/protocols/README.md, from their declarations.

python scripts/numbers_table.py          # rewrite it
python scripts/numbers_table.py --check  # exit with 1 when it is not current
"""

from __future__ import annotations

from pathlib import Path

from generated_table import GeneratedTable

from t2i_spatial.metrics import PROTOCOLS
from t2i_spatial.metrics.base import Metric
from t2i_spatial.metrics.numbers import Rate

PAGE = Path(__file__).parents[1] / "docs" / "protocols" / "README.md"
START, END = "<!-- numbers: scripts/numbers_table.py -->\n", "<!-- end of numbers -->\n"


def table() -> str:
    """Markdown: one row per number."""
    lines = ["| protocol | number | is | over | also by |", "|---|---|---|---|---|"]
    for protocol in PROTOCOLS:
        kind = PROTOCOLS[protocol]
        if kind.__module__.startswith("t2i_spatial."):  # not those of installed packages
            lines += [_row(kind, name, rate) for name, rate in kind.numbers.items()]
    return "\n".join(lines) + "\n"


def _row(kind: type[Metric], name: str, rate: Rate) -> str:
    first = name == next(iter(kind.numbers))
    groups = ", ".join(group for group, names in kind.groups.items() if name in names)
    if rate.at_least is not None:
        over = "prompts"
    elif rate.by_tag:
        over = "tags"
    else:
        over = f"images with `{rate.denominator}`" if rate.denominator else "images"
    if rate.optional:
        over = "images that are asked"
    return (
        f"| {f'`{kind.name}`' if first else ''} | `{name}` | {rate.meaning} | {over} | {groups} |"
    )


TABLE = GeneratedTable(PAGE, START, END, table)

if __name__ == "__main__":
    raise SystemExit(TABLE.main())
