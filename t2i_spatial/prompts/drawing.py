"""A small drawing of a layout, as SVG or PNG."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from t2i_spatial.errors import InputError

SIZE = 320
_FILLS = ("#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#76b7b2", "#edc948", "#9c755f", "#e15759")
_NAMED = re.compile(
    "red|orange|yellow|green|blue|purple|pink|brown|black|white|gray|beige|turquoise|cyan|magenta|"
    "maroon|violet|indigo|teal|navy|gold|silver|tan|crimson|lavender|lime|olive|ivory|khaki"
)


def layout_svg(layout: Sequence[Mapping[str, Any]], colors: Sequence[str | None] = ()) -> str:
    """Boxes with their names as one SVG text; larger boxes lie behind smaller ones.

    Args:
        layout: entries with "name", "box" (fractions of the picture) and "object".
        colors: the colour of each object of the scene, where the prompt says one.
    """
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}" width="{SIZE}" '
        f'height="{SIZE}" font-family="sans-serif" font-size="12">',
        f'<rect width="{SIZE}" height="{SIZE}" fill="#f7f7f5" stroke="#999"/>',
    ]
    for entry in _back_to_front(layout):
        x1, y1, x2, y2 = (round(value * SIZE, 1) for value in entry["box"])
        fill = _fill(entry, colors)
        parts.append(
            f'<rect x="{x1}" y="{y1}" width="{round(x2 - x1, 1)}" height="{round(y2 - y1, 1)}" '
            f'rx="4" fill="{fill}" fill-opacity="0.55" stroke="#333"/>'
            f'<text x="{x1 + 4}" y="{y1 + 14}">{escape(str(entry["name"]))}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def draw_layout(
    path: str | Path, layout: Sequence[Mapping[str, Any]], colors: Sequence[str | None] = ()
) -> None:
    """Write a drawing of a layout; the suffix decides between SVG and PNG.

    Raises:
        InputError: another suffix.
        T2ISpatialError: the file cannot be written.
    """
    from t2i_spatial.files import atomic_write

    path = Path(path)
    if path.suffix.lower() == ".svg":
        with atomic_write(path, "w") as file:
            file.write(layout_svg(layout, colors))
    elif path.suffix.lower() == ".png":
        image = _png(layout, colors)
        with atomic_write(path) as file:
            image.save(file, "PNG")
    else:
        raise InputError(f"a drawing is .svg or .png, got {path.name!r}")


def _png(layout: Sequence[Mapping[str, Any]], colors: Sequence[str | None]) -> Any:
    from PIL import Image, ImageColor, ImageDraw

    image = Image.new("RGB", (SIZE, SIZE), "#f7f7f5")
    for entry in _back_to_front(layout):
        x1, y1, x2, y2 = (round(value * SIZE) for value in entry["box"])
        tint = Image.new("RGB", image.size, ImageColor.getrgb(_fill(entry, colors)))
        mask = Image.new("L", image.size, 0)
        ImageDraw.Draw(mask).rectangle((x1, y1, x2, y2), fill=140)
        image.paste(tint, mask=mask)
        pen = ImageDraw.Draw(image)
        pen.rectangle((x1, y1, x2, y2), outline="#333")
        pen.text((x1 + 4, y1 + 3), str(entry["name"]), fill="black")
    return image


def _back_to_front(layout: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    def area(entry: Mapping[str, Any]) -> float:
        x1, y1, x2, y2 = entry["box"]
        return float((x2 - x1) * (y2 - y1))

    return sorted(layout, key=area, reverse=True)


def _fill(entry: Mapping[str, Any], colors: Sequence[str | None]) -> str:
    index = int(entry["object"])
    color = colors[index] if index < len(colors) else None
    return color if color and _NAMED.fullmatch(color) else _FILLS[index % len(_FILLS)]
