"""Figures of a detector against known boxes: recall, precision, IoU, relation agreement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from t2i_spatial.bundled.scenes import NOUNS, Scene


@dataclass(frozen=True)
class DetectorFigures:
    """Figures at one score threshold; `relation` is over two-object scenes with two nouns."""

    threshold: float
    recall: float
    precision: float
    mean_iou: float
    relation: float
    images: int

    def short(self) -> str:
        return (
            f"at {self.threshold:.2f}: recall {self.recall:.3f} precision {self.precision:.3f} "
            f"IoU {self.mean_iou:.3f} relation {self.relation:.3f}"
        )


def iou_matrix(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pairwise IoU (n, m) of boxes xyxy."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    inter = np.clip(high - low, 0, None).prod(-1)
    area_first, area_second = (
        np.clip(b[:, 2:] - b[:, :2], 0, None).prod(-1) for b in (first, second)
    )
    return inter / np.maximum(area_first[:, None] + area_second[None] - inter, 1e-9)


def side_of(first: np.ndarray, second: np.ndarray) -> tuple[bool, bool]:
    """Is the first box's centre left of the second's, and is it above?"""
    return bool(first[0] + first[2] < second[0] + second[2]), bool(
        first[1] + first[3] < second[1] + second[3]
    )


def main_axis(first: np.ndarray, second: np.ndarray) -> int:
    """0 if the centres differ more in x, 1 if more in y."""
    difference = np.abs(first[:2] + first[2:] - second[:2] - second[2:])
    return int(difference[1] > difference[0])


def figures_at(
    threshold: float,
    probabilities: np.ndarray,
    found: np.ndarray,
    boxes: list[np.ndarray],
    scenes: list[Scene],
) -> DetectorFigures:
    """Match detections over `threshold` (any token, any noun) greedily at IoU 0.5 by noun."""
    hits = total = claims = agree = pairs = 0
    overlaps: list[float] = []
    for probability, predicted, truth, scene in zip(
        probabilities, found, boxes, scenes, strict=True
    ):
        tokens, labels = np.nonzero(probability > threshold)
        scores = probability[tokens, labels]
        order = np.argsort(-scores)
        tokens, labels = tokens[order], labels[order]
        nouns = np.array([NOUNS.index(item.noun) for item in scene.objects])
        total += len(nouns)
        claims += len(tokens)
        free = np.ones(len(nouns), bool)
        overlap = iou_matrix(predicted[tokens], truth) if len(tokens) else np.zeros((0, len(truth)))
        for index, label in enumerate(labels):
            fit = overlap[index] * free * (nouns == label)
            if len(fit) and fit.max() >= 0.5:
                free[fit.argmax()] = False
                hits += 1
                overlaps.append(float(fit.max()))
        if len(nouns) == 2 and nouns[0] != nouns[1]:
            pairs += 1
            best = [tokens[labels == noun] for noun in nouns]
            if all(len(choice) for choice in best):
                first, second = (predicted[choice[0]] for choice in best)
                axis = main_axis(*truth)
                agree += side_of(first, second)[axis] == side_of(*truth)[axis]
    return DetectorFigures(
        threshold,
        hits / max(total, 1),
        hits / max(claims, 1),
        float(np.mean(overlaps)) if overlaps else 0.0,
        agree / max(pairs, 1),
        len(scenes),
    )


def measure_predictions(
    probabilities: torch.Tensor,
    found: torch.Tensor,
    boxes: list[np.ndarray],
    scenes: list[Scene],
    thresholds: tuple[float, ...] = (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6),
) -> DetectorFigures:
    """Figures at the threshold with the largest smaller one of recall and precision.

    `probabilities` (images, tokens, nouns), `found` (images, tokens, 4) xyxy in pixels.
    """
    scores = probabilities.float().cpu().numpy()[..., : len(NOUNS)]
    corners = found.float().cpu().numpy()
    tried = [figures_at(value, scores, corners, boxes, scenes) for value in thresholds]
    return max(tried, key=lambda figures: min(figures.recall, figures.precision))
