"""Boxes of a picture of 100 x 100 pixels, for claims about it."""

from __future__ import annotations

from t2i_spatial.curation.claim_checks import Seen
from t2i_spatial.tables import SCORED

NAMES = ("cat", "dog", "bird", "tree", "chair")


def found(label, x1, y1, x2, y2, score=0.9, color=None):
    box = [float(v) for v in (x1, y1, x2, y2)]
    return {"label": label, "score": score, "box": box, "color": color, "depth": None}


CAT, DOG = found("cat", 5, 40, 30, 70), found("dog", 60, 40, 90, 70)
BIRDS = (found("bird", 10, 5, 20, 15), found("bird", 70, 5, 80, 15))


def seen(*boxes, status=SCORED, asked=NAMES):
    row = {
        "prompt_id": "p",
        "sample": 0,
        "image": "p.png",
        "width": 100,
        "height": 100,
        "status": status,
        "reason": None,
        "detections": list(boxes) if status == SCORED else None,
    }
    return Seen(row, asked, 0.3)
