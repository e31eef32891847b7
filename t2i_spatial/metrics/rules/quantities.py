"""Quantities of two boxes that rules cut: no dependence on place or scale."""

from __future__ import annotations

import numpy as np

from t2i_spatial.metrics.geometry import Boxes, Floats, interval_gap


def mean_height(a: Boxes, b: Boxes) -> Floats:
    """Mean height of two boxes, never 0."""
    return positive((a.height + b.height) / 2, a, b)


def mean_size(a: Boxes, b: Boxes) -> Floats:
    """Mean of the square roots of the areas, never 0."""
    return positive((np.sqrt(a.area) + np.sqrt(b.area)) / 2, a, b)


def positive(length: Floats, a: Boxes, b: Boxes) -> Floats:
    """`length`, kept away from 0 for boxes without extent, in proportion to the pair's extent."""
    extent = np.maximum(
        np.maximum(a.x2, b.x2) - np.minimum(a.x1, b.x1),
        np.maximum(a.y2, b.y2) - np.minimum(a.y1, b.y1),
    )
    return np.maximum(length, np.where(extent > 0, 1e-6 * extent, 1.0))


def gap(a: Boxes, b: Boxes) -> Floats:
    """Distance between the nearest points of two boxes."""
    return np.hypot(interval_gap(a.x1, a.x2, b.x1, b.x2), interval_gap(a.y1, a.y2, b.y1, b.y2))


def contrast(a: Floats, b: Floats) -> Floats:
    """(a - b) / (a + b), 0 when both are 0."""
    total = a + b
    contrast: Floats = np.zeros_like(total)
    np.divide(a - b, total, out=contrast, where=total > 0)
    return contrast


def signed_share(
    low_a: Floats, high_a: Floats, low_b: Floats, high_b: Floats, of: Floats
) -> Floats:
    """Overlap of two intervals over the length `of`, negative for a gap, clipped to [-3, 1].

    For a length of 0 the overlap is 1 where they touch and -3 where they do not.
    """
    overlap = np.minimum(high_a, high_b) - np.maximum(low_a, low_b)
    share: Floats = np.divide(overlap, of, out=np.where(overlap >= 0, 1.0, -3.0), where=of > 0)
    return np.clip(share, -3.0, 1.0)


def overlap_x(a: Boxes, b: Boxes) -> Floats:
    """Share of the narrower width that both have, negative for a gap."""
    return signed_share(a.x1, a.x2, b.x1, b.x2, np.minimum(a.width, b.width))


def overlap_y(a: Boxes, b: Boxes) -> Floats:
    """Share of the lower height that both have, negative for a gap."""
    return signed_share(a.y1, a.y2, b.y1, b.y2, np.minimum(a.height, b.height))


def share_x(a: Boxes, b: Boxes) -> Floats:
    """Share of a's width that lies over b, negative for a gap."""
    return signed_share(a.x1, a.x2, b.x1, b.x2, a.width)


def share_inside(a: Boxes, b: Boxes) -> Floats:
    """Share of a's area inside b; a box without area is inside as far as its sides are."""
    x = np.maximum(share_x(a, b), 0.0)
    y = np.maximum(signed_share(a.y1, a.y2, b.y1, b.y2, a.height), 0.0)
    return x * y


def log_ratio(a: Floats, b: Floats) -> Floats:
    """ln(a / b), within ±20; 0 when both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(a) - np.log(b)
    known: Floats = np.nan_to_num(ratio, nan=0.0, posinf=20.0, neginf=-20.0)
    return np.clip(known, -20.0, 20.0)
