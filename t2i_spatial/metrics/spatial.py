"""`spatial`: does the picture show the scene, as people would say? Ours, for any prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl

from t2i_spatial.metrics import spatial_pairs
from t2i_spatial.metrics.assignment import UNJUDGED, Assignment, Candidates, Part, assign
from t2i_spatial.metrics.base import PROTOCOLS, Metric, share
from t2i_spatial.metrics.duplicates import not_things
from t2i_spatial.metrics.frame import PLACES
from t2i_spatial.metrics.geometry import Floats, columns, iou
from t2i_spatial.metrics.in_part import Scope
from t2i_spatial.metrics.numbers import Numbers, Rate
from t2i_spatial.metrics.relations import RuledRelations
from t2i_spatial.metrics.rules.spatial import UNSURE
from t2i_spatial.metrics.spatial_pairs import JUDGED, KINDS, PARTS
from t2i_spatial.metrics.tabular import CORNERS, component_column, flat_boxes, join_prompts
from t2i_spatial.tables import NOT_APPLICABLE, PROMPTS, SCORED, VERDICTS, table_to_prompts


@PROTOCOLS.register("spatial")
@dataclass(kw_only=True)
class Spatial(Metric):
    """The scene of a prompt, judged part by part on the best joint assignment of boxes.

    Parts: every object is there; counts of two and more, or a "one" in words, are exact (further
    instances of "a cat" are allowed); colours and places in the frame where known; every relation
    by its probability (`rules.spatial`). `value` is the weakest part's probability, `correct` is
    value > 0.5, `margin` is value - 0.5; between 0.35 and 0.65 the reason says "unsure".
    """

    scope: ClassVar[Scope] = Scope(
        relations=RuledRelations("spatial"),
        colors=None,
        places=PLACES,
        counts=True,
        absences=True,
        negations=True,
        reciprocals=True,
        limits=True,
    )
    parts: ClassVar[tuple[str, ...]] = PARTS
    numbers: ClassVar[Numbers] = {
        "probability": Rate("value", meaning="mean probability that the picture shows the scene"),
        "accuracy": Rate("correct", meaning="images whose probability is above one half"),
        "unsure": Rate("value", meaning="images that could go either way", within=UNSURE),
    }
    groups: ClassVar[Mapping[str, Sequence[str]]] = {"relation": tuple(numbers)}

    min_score: float = share(0.1)
    """Boxes need a score above this."""

    duplicate_overlap: float = share(0.7)
    """A box that overlaps a better one of its label by a higher IoU is the same instance. Parts of
    a thing and boxes around several are none either (`duplicates.are_things`)."""

    def judge(self, prompts: pl.DataFrame, detections: pl.DataFrame) -> pl.DataFrame:
        """See `Metric.judge`. Components: the weakest part of each kind (null when the prompt
        does not ask for it) and the mean over all parts. Prompts without objects are
        `not_applicable`.
        """
        asked = prompts.select("prompt_id", "tag", "text", "objects", "relations", "unparsed")
        images = join_prompts(detections, asked).with_columns(
            (pl.col("objects").list.len() > 0).fill_null(False).alias("applicable")
        )
        applicable = pl.col("applicable")
        usable = images.filter(applicable & (pl.col("status") == SCORED))
        boxes = flat_boxes(usable).filter(pl.col("score") > self.min_score)
        boxes = _without_duplicates(boxes, self.duplicate_overlap)
        simple = spatial_pairs.is_pair_scene(usable)
        fast = spatial_pairs.judge_pairs(usable.filter(simple), boxes)
        slow = _judge_scenes(usable.filter(~simple), boxes)
        return self._table(
            images.drop("objects", "relations", "detections"), pl.concat([fast, slow])
        )

    def _table(self, images: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
        images = images.join(judged, on="row", how="left", maintain_order="left")
        given, applicable = pl.col("status"), pl.col("applicable")
        scored = applicable & (given == SCORED)
        value = pl.col("value")
        band = pl.when(value.is_between(*UNSURE)).then(pl.lit("unsure: ")).otherwise(pl.lit(""))
        select = {
            "prompt_id": pl.col("prompt_id"),
            "sample": pl.col("sample"),
            "protocol": pl.lit(self.name),
            "tag": pl.col("tag"),
            "value": value,
            "correct": value > 0.5,
            "status": pl.when(applicable | (given == NOT_APPLICABLE))
            .then(given)
            .otherwise(pl.lit(NOT_APPLICABLE)),
            "margin": value - 0.5,
            "reason": pl.when(scored)
            .then(pl.concat_str(band, pl.col("said")))
            .when(applicable | (given == NOT_APPLICABLE))
            .then(pl.coalesce("reason", "status"))
            .otherwise(pl.lit("no object could be read from the prompt")),
            "evidence": pl.col("evidence"),
            "components": pl.when(scored).then("components"),
            "unjudged": pl.when(scored).then("unjudged"),
        }
        images = images.with_columns(
            component_column(images, {kind: pl.col(kind) for kind in self.parts})
        )
        return images.select(e.cast(VERDICTS[name]).alias(name) for name, e in select.items())


CROWD = 200
"""Boxes of one label in one image beyond which they are compared one by one, to save memory."""

# -- scenes of any shape, one image at a time ---------------------------------------------------


def _judge_scenes(images: pl.DataFrame, boxes: pl.DataFrame) -> pl.DataFrame:
    if len(images) == 0:
        return pl.DataFrame(schema=JUDGED)
    scenes = {}
    asked = images.unique("prompt_id").with_columns(
        pl.lit(True).alias("has_scene"), pl.lit(None, pl.String).alias("metadata")
    )
    for prompt in table_to_prompts(asked.select(list(PROMPTS))):
        scenes[prompt.id] = (prompt.scene, prompt.text)
    groups = boxes.join(images.select("row"), on="row", how="semi").partition_by(
        "row", as_dict=True
    )
    none = boxes.clear()
    rows = []
    for row, prompt_id, width, height in images.select(
        "row", "prompt_id", "width", "height"
    ).iter_rows():
        found = _candidates(groups.get((row,), none), width, height)
        scene, text = scenes[prompt_id]
        if scene is not None:
            result = assign(scene, text, found)
            rows.append({"row": row, **_record(scene.objects, result, found)})
    return pl.DataFrame(rows, schema=JUDGED)


def _candidates(table: pl.DataFrame, width: int | None, height: int | None) -> Candidates:
    return Candidates(
        table["label"].to_list(),
        table["score"].to_numpy(),
        table.select(CORNERS).to_numpy(),
        table["color"].to_list(),
        table["depth"].fill_null(np.nan).to_numpy(),
        width,
        height,
    )


def _record(objects: Any, result: Assignment, found: Candidates) -> dict[str, Any]:
    judged = [part for part in result.parts if part.kind != UNJUDGED]
    weakest = min(judged, key=lambda part: part.value)
    kinds: dict[str, float] = {}
    for part in judged:
        kinds[part.kind] = min(part.value, kinds.get(part.kind, 1.0))
    return {
        "value": weakest.value,
        **{kind: kinds.get(kind) for kind in KINDS},
        "mean": float(np.mean([part.value for part in judged])),
        "said": weakest.said if weakest.value <= 0.5 else _all_said(judged),
        "unjudged": [part.said for part in result.parts if part.kind == UNJUDGED],
        "evidence": [
            {
                "role": f"object {k}",
                "label": objects[k].name,
                "score": float(found.scores[i]),
                "box": [float(v) for v in found.boxes[i]],
            }
            for k, ids in enumerate(result.chosen)
            for i in ids
        ],
    }


def _all_said(parts: Sequence[Part]) -> str:
    """What holds; that an object is there goes without saying once something else is said."""
    told = [part.said for part in parts if part.kind != "objects"]
    return "; ".join(told or [part.said for part in parts])


def _without_duplicates(boxes: pl.DataFrame, limit: float) -> pl.DataFrame:
    """Drops boxes that overlap a better (or equal, earlier) one of their label, or are a part or a
    group of others; adds `place`.
    """
    boxes = boxes.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("place"))
    several = boxes.with_columns(pl.len().over("row", "label").alias("namesakes")).filter(
        pl.col("namesakes") > 1
    )
    if len(several) == 0:
        return boxes
    pairs = _better_pairs(several.filter(pl.col("namesakes") <= CROWD))
    overlap: Floats = iou(
        columns(pairs.select(CORNERS).to_numpy()),
        columns(pairs.select(f"{c}_better" for c in CORNERS).to_numpy()),
    )
    again = pairs.filter(pl.Series(overlap > limit))["place"].unique().to_list()
    for _, crowd in several.filter(pl.col("namesakes") > CROWD).group_by("row", "label"):
        again += _crowd_duplicates(crowd, limit)
    boxes = boxes.filter(~pl.col("place").is_in(again))
    return boxes.filter(~pl.col("place").is_in(not_things(boxes)))


def _better_pairs(boxes: pl.DataFrame) -> pl.DataFrame:
    boxes = boxes.select("row", "label", "place", "score", *CORNERS)
    return boxes.join(boxes, on=["row", "label"], suffix="_better").filter(
        (pl.col("score_better") > pl.col("score"))
        | ((pl.col("score_better") == pl.col("score")) & (pl.col("place_better") < pl.col("place")))
    )


def _crowd_duplicates(boxes: pl.DataFrame, limit: float) -> list[int]:
    """The same for many boxes of one label in one image, without a table of all pairs."""
    ordered = boxes.sort("score", "place", descending=[True, False])
    corners = ordered.select(CORNERS).to_numpy()
    again = [
        bool((iou(columns(corners[:i]), columns(corners[i : i + 1])) > limit).any())
        for i in range(len(corners))
    ]
    return ordered.filter(pl.Series(again, dtype=pl.Boolean))["place"].to_list()
