"""GoT-R1's reasoning text: objects and their boxes in thousandths of the image.

Source of the format: gogoduan/GoT-R1 @ 95534b3.
"""

from __future__ import annotations

import re
from typing import Any

CHAIN = re.compile(
    r"<\|obj_start\|>\s*(.+?)\s*<\|obj_end\|>\s*<\|box_start\|>\s*"
    r"\((\d+)\s*,\s*(\d+)\)\s*,\s*\((\d+)\s*,\s*(\d+)\)\s*<\|box_end\|>"
)


def parse_chain(text: str) -> dict[str, Any]:
    """GoT-R1's reasoning text as `metadata["layout"]`: boxes in thousandths of the image.

    >>> parse_chain("<|obj_start|>cat<|obj_end|> <|box_start|>(10,20),(300,400)<|box_end|>")
    {'size': [1000, 1000], 'boxes': [{'name': 'cat', 'box': [10, 20, 300, 400]}]}
    """
    boxes = [
        {"name": match[1], "box": [int(match[k]) for k in range(2, 6)]}
        for match in CHAIN.finditer(text)
    ]
    return {"size": [1000, 1000], "boxes": boxes}
