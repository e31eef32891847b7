"""Draws docs/protocols/disagreement.md and its pictures: example layouts, judged by every protocol.

    python scripts/draw_disagreements.py [docs/protocols]

A test checks that the committed page says what the code says.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from t2i_spatial.errors import InputError
from t2i_spatial.metrics import relation_scores

Box = tuple[float, float, float, float]
SIZE = 480
PROTOCOLS = ("visor", "geneval", "t2i_compbench_2d", "spatial")


class Layout(NamedTuple):
    slug: str
    asked: str
    subject: Box
    object: Box
    said: str


LAYOUTS = (
    Layout("apart", "left of", (40, 180, 160, 300), (320, 180, 440, 300), "side by side, apart"),
    Layout("overlap", "left of", (120, 180, 240, 300), (200, 180, 320, 300), "a third overlaps"),
    Layout("half", "left of", (140, 180, 260, 300), (190, 180, 310, 300), "over half overlaps"),
    Layout("hair", "left of", (180, 40, 300, 160), (184, 300, 304, 420), "4 px left, far above"),
    Layout("diagonal", "left of", (60, 60, 160, 160), (300, 300, 400, 400), "exact diagonal"),
    Layout("steep", "left of", (120, 40, 200, 120), (240, 320, 320, 400), "steep diagonal"),
    Layout("inside", "left of", (80, 200, 160, 280), (60, 100, 420, 380), "in its left part"),
    Layout("equal", "left of", (180, 180, 300, 300), (180, 180, 300, 300), "one box twice"),
    Layout("lateral", "above", (40, 160, 140, 260), (320, 220, 440, 340), "far aside, higher"),
    Layout(
        "overlap-above", "above", (160, 100, 320, 260), (160, 200, 320, 360), "higher, overlaps"
    ),
    Layout("stands", "on top of", (190, 110, 290, 270), (60, 240, 420, 440), "stands on it"),
    Layout("hangs", "on top of", (190, 20, 290, 120), (60, 300, 420, 440), "hangs over it"),
    Layout("ends", "next to", (10, 200, 70, 260), (410, 200, 470, 260), "both ends of a row"),
    Layout("stacked", "next to", (180, 100, 300, 220), (180, 230, 300, 350), "stacked"),
    Layout("beside", "next to", (100, 180, 220, 320), (240, 180, 360, 320), "side by side"),
)


def judge(layout: Layout) -> list[str]:
    cells = []
    for protocol in PROTOCOLS:
        try:
            score = relation_scores(protocol, layout.asked, layout.subject, layout.object)[0]
        except InputError:
            cells.append("–")
            continue
        cells.append(f"**{score:.2f}**" if score > 0.5 else f"{score:.2f}")
    return cells


def svg(layout: Layout) -> str:
    def rectangle(box: Box, name: str, colour: str) -> str:
        x, y, width, height = box[0], box[1], box[2] - box[0], box[3] - box[1]
        return (
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{colour}" '
            f'fill-opacity="0.35" stroke="{colour}" stroke-width="6"/>'
            f'<text x="{x + 10:g}" y="{y + 44:g}" fill="{colour}">{name}</text>'
        )

    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}" width="120" '
        f'height="120" font-family="sans-serif" font-size="44" font-weight="bold">'
        f'<rect width="{SIZE}" height="{SIZE}" fill="#f6f6f4" stroke="#999" stroke-width="4"/>'
        + rectangle(layout.object, "B", "#1f5fa8")
        + rectangle(layout.subject, "A", "#c2410c")
        + "</svg>\n"
    )


def page() -> str:
    lines = [
        "# Where the protocols disagree",
        "",
        "A is the subject, B the object, in a picture of 480 x 480 pixels (the frame in which",
        "T2I-CompBench measures). Numbers are `relation_scores`; bold: the protocol says the",
        "relation holds. A dash: the protocol does not know the relation. Written by",
        "`scripts/draw_disagreements.py`.",
        "",
        f"| | asked: A is … B | {' | '.join(PROTOCOLS)} |",
        f"|---|---|{'---|' * len(PROTOCOLS)}",
    ]
    for layout in LAYOUTS:
        lines.append(
            f"| ![{layout.said}](layouts/{layout.slug}.svg) | **{layout.asked}** ({layout.said}) "
            f"| {' | '.join(judge(layout))} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/protocols")
    (folder / "layouts").mkdir(parents=True, exist_ok=True)
    for layout in LAYOUTS:
        (folder / "layouts" / f"{layout.slug}.svg").write_text(svg(layout))
    (folder / "disagreement.md").write_text(page())


if __name__ == "__main__":
    main()
