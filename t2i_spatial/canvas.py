"""Planned boxes drawn with their names on a white canvas.

Small vision-language models are bad at coordinates that are written as text (GoT-R1).
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageDraw, ImageFont

LONGER = 512
"""Pixels of the longer side."""
COLORS = ("#c00000", "#0050c0", "#007a2e", "#a05000", "#7a00a0", "#007a8a", "#8a6d00", "#505050")


def describe(layout: Mapping[str, Any]) -> str:
    """A layout (`size`, `boxes` of `name` and `box`) as the text that `draw` takes."""
    boxes = [[entry["name"], *map(float, entry["box"])] for entry in layout.get("boxes", ())]
    width, height = layout.get("size") or (1.0, 1.0)
    return json.dumps({"size": [float(width), float(height)], "boxes": boxes})


def draw(canvas: str) -> bytes:
    """The drawing as a PNG; the same bytes for the same text."""
    found = json.loads(canvas)
    width, height = found["size"]
    scale = LONGER / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=16)
    for number, (name, *corners) in enumerate(found["boxes"]):
        color = COLORS[number % len(COLORS)]
        x1, y1, x2, y2 = (corner * scale for corner in corners)
        pen.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=color, width=3)
        left = min(x1 + 5, size[0] - pen.textlength(name, font=font))
        pen.text((max(0, left), min(y1 + 3, size[1] - 20)), name, fill=color, font=font)
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()
