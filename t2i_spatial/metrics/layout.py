"""`layout`: do the detected boxes agree with the boxes that were planned?

For models that plan before they paint (GoT-R1) or are given boxes (layout-to-image). The plan
stands in the prompt's metadata:

    {"layout": {"size": [1000, 1000], "boxes": [{"name": "cat", "box": [50, 300, 400, 900]}]}}

`size` is the frame of the planned boxes; without it they are fractions of the image.

Source of the idea: GoT-R1 (gogoduan/GoT-R1 @ 95534b3), whose reasoning-to-image reward is the IoU
of planned and grounded boxes; its code is not published, so the details here are ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl

from t2i_spatial.detections import check_boxes
from t2i_spatial.errors import InputError
from t2i_spatial.metrics.assignment import matches
from t2i_spatial.metrics.base import PROTOCOLS, Metric, share
from t2i_spatial.metrics.geometry import Floats, columns, iou
from t2i_spatial.metrics.numbers import Numbers, Rate
from t2i_spatial.metrics.relations import relation_scores
from t2i_spatial.metrics.tabular import CORNERS, flat_boxes, join_prompts, verdict_table
from t2i_spatial.prompts.got_chain import parse_chain as parse_chain
from t2i_spatial.scene import Prompt
from t2i_spatial.tables import EVIDENCE, SCORED

DIRECTIONS = ("left of", "right of", "above", "below")


@dataclass(frozen=True)
class Plan:
    """Planned boxes of one prompt, as fractions of the image: n names and (n, 4) `xyxy`."""

    names: tuple[str, ...]
    boxes: Floats


def read_plan(metadata: dict[str, Any]) -> Plan | None:
    """The plan in a prompt's metadata, `None` when there is none.

    Raises:
        InputError: no boxes, a box without a name or four ordered numbers, or outside the frame.
    """
    layout = metadata.get("layout")
    if layout is None:
        return None
    try:
        names = tuple(str(entry["name"]) for entry in layout["boxes"])
        boxes = check_boxes([entry["box"] for entry in layout["boxes"]])
        width, height = (float(side) for side in layout.get("size") or (1.0, 1.0))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"broken layout ({error})") from None
    fractions = boxes / np.array([width, height, width, height])
    if not names or (fractions < -1e-6).any() or (fractions > 1 + 1e-6).any():
        raise InputError("a layout needs boxes inside its frame")
    return Plan(names, fractions)


def unread_plan_keys(layout: Mapping[str, Any]) -> tuple[str, ...]:
    """What the boxes of a plan say beside name and place, in words.

    >>> unread_plan_keys({"boxes": [{"name": "cat", "box": [0, 0, 1, 1], "color": "red"}]})
    ('color red of the cat',)
    """
    return tuple(
        f"{key} {value} of the {entry.get('name')}"
        for entry in layout.get("boxes") or ()
        if isinstance(entry, Mapping)
        for key, value in entry.items()
        if key not in ("name", "box", "id", "score") and value not in (None, "", [], {})
    )


@PROTOCOLS.register("layout")
@dataclass(kw_only=True)
class Layout(Metric):
    """Mean IoU of planned and detected boxes, matched one to one within their names.

    `value` is the mean IoU over the planned boxes (0 for one without a partner), `correct` says
    that every IoU reaches `iou_threshold`, `margin` is the smallest IoU minus that threshold.
    Components: the IoU, one minus the mean distance of centres over the image diagonal, the share
    of planned left/right/above/below relations between boxes that the partners keep (null for a
    single box), and the share of planned boxes with a partner.
    """

    parts: ClassVar[tuple[str, ...]] = ("iou", "centres", "relations", "found")
    numbers: ClassVar[Numbers] = {
        "iou": Rate("value", meaning="mean IoU of planned and detected boxes", own_scale=True),
        "centres": Rate("centres", meaning="1 - mean distance of the centres / image diagonal"),
        "relations": Rate("relations", meaning="planned relations that are kept", optional=True),
        "found": Rate("found", meaning="planned boxes that have a partner"),
        "correct": Rate("correct", meaning="images whose boxes all reach the IoU threshold"),
    }

    def unjudged(self, prompt: Prompt) -> tuple[str, ...]:
        """See `Metric.unjudged`: the plan is what is judged, whatever the text says beside it."""
        layout = prompt.metadata.get("layout")
        return unread_plan_keys(layout) if isinstance(layout, Mapping) else ()

    def adjectives(self, prompt: Prompt) -> tuple[str, ...]:
        """See `Metric.adjectives`: a plan has none."""
        return ()

    iou_threshold: float = share(0.5)
    """IoU from which a planned box counts as met."""

    min_score: float = share(0.1)
    """Boxes need a score above this."""

    def judge(self, prompts: pl.DataFrame, detections: pl.DataFrame) -> pl.DataFrame:
        """See `Metric.judge`. Prompts without a plan are `not_applicable`."""
        plans = dict(_plans(prompts))
        asked = prompts.select("prompt_id", "tag").with_columns(
            pl.col("prompt_id").is_in(list(plans)).alias("planned")
        )
        images = join_prompts(detections, asked)
        sized = pl.col("width").is_not_null() & pl.col("height").is_not_null()
        usable = images.filter(pl.col("planned") & (pl.col("status") == SCORED) & sized)
        boxes = flat_boxes(usable).filter(pl.col("score") > self.min_score)
        groups = boxes.partition_by("row", as_dict=True)
        rows = [
            {"row": row}
            | self._judge(plans[prompt_id], groups.get((row,), boxes.clear()), width, height)
            for row, prompt_id, width, height in usable.select(
                "row", "prompt_id", "width", "height"
            ).iter_rows()
        ]
        schema: dict[str, Any] = {
            "row": pl.UInt32,
            **dict.fromkeys((*self.parts, "lowest"), pl.Float64),
            "said": pl.String,
            "evidence": pl.List(EVIDENCE),
        }
        judged = pl.DataFrame(rows, schema=schema)
        images = images.join(judged, on="row", how="left", maintain_order="left")
        return verdict_table(
            images,
            self.name,
            applicable=pl.col("planned"),
            why_not="the prompt has no planned boxes (metadata.layout)",
            failed=pl.when(~sized).then(pl.lit("the size of the image is not known")),
            value=pl.col("iou"),
            correct=pl.col("lowest") >= self.iou_threshold,
            margin=pl.col("lowest") - self.iou_threshold,
            reason=pl.col("said"),
            evidence=judged.select("row", "evidence"),
            components={name: pl.col(name) for name in self.parts},
        )

    def _judge(self, plan: Plan, found: pl.DataFrame, width: int, height: int) -> dict[str, Any]:
        boxes = found.select(CORNERS).to_numpy()
        boxes = boxes / np.array([width, height, width, height], dtype=np.float64)
        partner = match_plan(plan, found["label"].to_list(), boxes)
        met = [k for k, i in enumerate(partner) if i is not None]
        ids = [i for i in partner if i is not None]
        overlaps = np.zeros(len(plan.names))
        centres = np.zeros(len(plan.names))
        if met:
            a, b = columns(plan.boxes[met]), columns(boxes[ids])
            overlaps[met] = iou(a, b)
            size = np.array([width, height]) / np.hypot(width, height)
            away = np.hypot(
                (a.centre_x - b.centre_x) * size[0], (a.centre_y - b.centre_y) * size[1]
            )
            centres[met] = 1 - away
        kept = _relations_kept(plan.boxes, boxes, partner)
        lowest = int(np.argmin(overlaps))
        said = f"{plan.names[lowest]}: IoU {overlaps[lowest]:.2f}"
        if partner[lowest] is None:
            said = f"no {plan.names[lowest]} found"
        scores = found["score"].to_list()
        return {
            "iou": float(overlaps.mean()),
            "centres": float(centres.mean()),
            "relations": kept,
            "found": len(met) / len(plan.names),
            "lowest": float(overlaps[lowest]),
            "said": said,
            "evidence": [
                {
                    "role": f"planned {k}",
                    "label": plan.names[k],
                    "score": scores[i],
                    "box": [found[c][i] for c in CORNERS],
                }
                for k, i in zip(met, ids, strict=True)
            ],
        }


def match_plan(plan: Plan, labels: Sequence[str], boxes: Floats) -> list[int | None]:
    """For every planned box the detection that is it: one to one, highest total IoU.

    Where boxes do not overlap at all, the nearer centre wins. Only detections whose label means
    the planned name are considered.
    """
    partner: list[int | None] = [None] * len(plan.names)
    if len(labels) == 0:
        return partner
    from scipy.optimize import linear_sum_assignment

    names = set(plan.names)
    n, m = len(plan.names), len(labels)
    first, second = np.repeat(np.arange(n), m), np.tile(np.arange(m), n)
    a, b = columns(plan.boxes[first]), columns(boxes[second])
    away = np.hypot(a.centre_x - b.centre_x, a.centre_y - b.centre_y)
    gain = (iou(a, b) + 1e-3 * (2 - away)).reshape(n, m)
    allowed = np.array([[matches(label, name, names) for label in labels] for name in plan.names])
    chosen = linear_sum_assignment(np.where(allowed, gain, 0.0), maximize=True)
    for k, i in zip(*chosen, strict=True):
        if allowed[k, i]:
            partner[int(k)] = int(i)
    return partner


def _relations_kept(plan: Floats, found: Floats, partner: list[int | None]) -> float | None:
    """Share of the planned directional relations that hold between the partners."""
    n = len(plan)
    pairs = [(a, b) for a in range(n) for b in range(n) if a < b]
    if not pairs:
        return None
    kept = total = 0
    for relation in DIRECTIONS:
        a, b = (np.array(side) for side in zip(*pairs, strict=True))
        planned = relation_scores("spatial", relation, plan[a], plan[b]) > 0.5
        for k in np.flatnonzero(planned):
            total += 1
            first, second = partner[a[k]], partner[b[k]]
            if first is not None and second is not None:
                score = relation_scores("spatial", relation, found[first], found[second])
                kept += bool(score[0] > 0.5)
    return kept / total if total else None


def _plans(prompts: pl.DataFrame) -> Iterator[tuple[str, Plan]]:
    having = prompts.filter(pl.col("metadata").str.contains('"layout"', literal=True))
    for prompt_id, metadata in having.select("prompt_id", "metadata").iter_rows():
        try:
            plan = read_plan(json.loads(metadata))
        except InputError as error:
            raise InputError(f"prompt {prompt_id!r}: {error}") from None
        if plan is not None:
            yield prompt_id, plan
