"""Runs and results as tables where a notebook shows them."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def html_table(title: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A small table; everything in it is text, whatever it contains.

    >>> html_table("a < b", ["n"], [[1]])
    '<table><caption>a &lt; b</caption><tr><th>n</th></tr><tr><td>1</td></tr></table>'
    """
    lines = [_row("th", header), *(_row("td", row) for row in rows)]
    return f"<table><caption>{html.escape(title)}</caption>{''.join(lines)}</table>"


def percent(entry: Mapping[str, Any]) -> tuple[str, str]:
    """A number of a summary and its interval, in per cent.

    >>> percent({"value": 0.5, "low": 0.25, "high": 0.75}), percent({"value": None})
    (('50.0', '25.0 – 75.0'), ('–', ''))
    """
    if entry["value"] is None:
        return "–", ""
    low, high = entry.get("low"), entry.get("high")
    interval = "" if low is None or high is None else f"{100 * low:.1f} – {100 * high:.1f}"
    return f"{100 * entry['value']:.1f}", interval


def _row(tag: str, cells: Iterable[Any]) -> str:
    inner = "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells)
    return f"<tr>{inner}</tr>"
