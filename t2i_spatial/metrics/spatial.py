"""`spatial`: does the picture show the scene, as people would say? Ours, for any prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl

from t2i_spatial.metrics.assignment import (
    DOUBT,
    OPPOSITES,
    SAME_BOX,
    SAME_BOX_PROBABILITY,
    SCORE_WEIGHT,
    Assignment,
    Candidates,
    assign,
    matches,
)
from t2i_spatial.metrics.geometry import Boxes, Floats, columns, iou
from t2i_spatial.metrics.protocol import (
    PROTOCOLS,
    Summary,
    TallyProtocol,
    counted_prompts,
    ratio_entries,
    tally_counts,
)
from t2i_spatial.metrics.relations import Pairs, find_rule
from t2i_spatial.metrics.spatial_rules import UNSURE
from t2i_spatial.metrics.tabular import (
    CORNERS,
    box_column,
    component_column,
    evidence_lists,
    flat_boxes,
    join_prompts,
)
from t2i_spatial.tables import EVIDENCE, NOT_APPLICABLE, PROMPTS, SCORED, VERDICTS, table_to_prompts

KINDS = ("objects", "relations", "counts", "colors", "frame")


@PROTOCOLS.register("spatial")
@dataclass(kw_only=True)
class Spatial(TallyProtocol):
    """The scene of a prompt, judged part by part on the best joint assignment of boxes.

    Parts: every object is there; counts of two and more, or a "one" in words, are exact (further
    instances of "a cat" are allowed); colours and places in the frame where known; every relation
    by its probability (`spatial_rules`). `value` is the weakest part's probability, `correct` is
    value > 0.5, `margin` is value - 0.5; between 0.35 and 0.65 the reason says "unsure".
    """

    name: ClassVar[str] = "spatial"
    parts: ClassVar[tuple[str, ...]] = (*KINDS, "mean")

    min_score: float = 0.1
    """Boxes need a score above this."""

    duplicate_overlap: float = 0.7
    """A box that overlaps a better one of its label by a higher IoU is the same instance."""

    def judge(self, prompts: pl.DataFrame, detections: pl.DataFrame) -> pl.DataFrame:
        """See `Protocol.judge`. Components: the weakest part of each kind (null when the prompt
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
        simple = _is_pair_scene(usable)
        fast = _judge_pairs(usable.filter(simple), boxes)
        slow = _judge_scenes(usable.filter(~simple), boxes)
        return self._table(
            images.drop("objects", "relations", "detections"), pl.concat([fast, slow])
        )

    def _table(self, images: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
        images = images.join(judged, on="row", how="left", maintain_order="left")
        given, applicable = pl.col("status"), pl.col("applicable")
        scored = applicable & (given == SCORED)
        value = pl.col("value")
        unread = pl.when(pl.col("unparsed").list.len() > 0).then(
            pl.format("; not read: {}", pl.col("unparsed").list.join(", "))
        )
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
            .then(pl.concat_str(band, pl.col("said"), unread.fill_null("")))
            .when(applicable | (given == NOT_APPLICABLE))
            .then(pl.coalesce("reason", "status"))
            .otherwise(pl.lit("no object could be read from the prompt")),
            "evidence": pl.col("evidence"),
            "components": pl.when(scored).then("components"),
        }
        images = images.with_columns(
            component_column(images, {kind: pl.col(kind) for kind in self.parts})
        )
        return images.select(e.cast(VERDICTS[name]).alias(name) for name, e in select.items())

    def sums(self) -> dict[str, pl.Expr]:
        """Correct images, probabilities, and unsure images."""
        value = pl.col("value")
        return {
            "right": pl.col("correct"),
            "probability": value,
            "unsure": value.is_between(*UNSURE),
        }

    def summarize_tally(
        self,
        tally: pl.DataFrame,
        prompts: pl.DataFrame,
        *,
        allow_missing: bool = False,
        seed: int = 0,
        resamples: int = 2000,
    ) -> Summary:
        """See `Protocol.summarize`: `accuracy` (correct images), `probability` (mean value) and
        `unsure` (images in the band), also `by_relation` (prompts that ask for it).
        """
        options: dict[str, Any] = {"seed": seed, "resamples": resamples}
        rows = counted_prompts(tally, allow_missing)
        summary: Summary = ratio_entries(rows, RATIOS, **options)
        relations = (
            prompts.select("prompt_id", "relations")
            .explode("relations")
            .select("prompt_id", pl.col("relations").struct.field("relation"))
            .drop_nulls()
            .unique()
        )
        asked = rows.join(relations, on="prompt_id", maintain_order="left")
        summary["by_relation"] = {
            relation: ratio_entries(asked.filter(pl.col("relation") == relation), RATIOS, **options)
            for relation in sorted(asked["relation"].unique())
        }
        return summary | {"images": tally_counts(tally)}


RATIOS = {
    "accuracy": ("right", "images"),
    "probability": ("probability", "images"),
    "unsure": ("unsure", "images"),
}

# -- scenes of any shape, one image at a time ---------------------------------------------------

_COLUMNS: dict[str, Any] = {
    "row": pl.UInt32,
    "value": pl.Float64,
    **dict.fromkeys(Spatial.parts, pl.Float64),
    "said": pl.String,
    "evidence": pl.List(EVIDENCE),
}
JUDGED = pl.Schema(_COLUMNS)


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
    weakest = min(result.parts, key=lambda part: part.value)
    kinds: dict[str, float] = {}
    for part in result.parts:
        kinds[part.kind] = min(part.value, kinds.get(part.kind, 1.0))
    return {
        "value": weakest.value,
        **{kind: kinds.get(kind) for kind in KINDS},
        "mean": float(np.mean([part.value for part in result.parts])),
        "said": weakest.said if weakest.value <= 0.5 else _all_said(result),
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


def _all_said(result: Assignment) -> str:
    """What holds; that an object is there goes without saying once something else is said."""
    told = [part.said for part in result.parts if part.kind != "objects"]
    return "; ".join(told or [part.said for part in result.parts])


# -- the common shape, all images at once -------------------------------------------------------


def _is_pair_scene(images: pl.DataFrame) -> pl.Series:
    """Two single objects of different names, no more asked of them, and one relation."""
    each = pl.element().struct
    lowered = pl.col("text").str.to_lowercase()
    relation = pl.col("relations").list.get(0, null_on_oob=True).struct
    return images.select(
        (
            (pl.col("objects").list.len() == 2)
            & (pl.col("relations").list.len() == 1)
            & (relation.field("subject") != relation.field("object"))
            & (pl.col("objects").list.eval(each.field("name")).list.n_unique() == 2)
            & pl.col("objects").list.eval(each.field("count").fill_null(1) == 1).list.all()
            & pl.col("objects").list.eval(each.field("color").is_null()).list.all()
            & pl.col("objects").list.eval(each.field("frame_position").is_null()).list.all()
            & ~lowered.str.contains(r"\b(one|single|1)\b")
        ).fill_null(False)
    ).to_series()


def _judge_pairs(images: pl.DataFrame, boxes: pl.DataFrame) -> pl.DataFrame:
    if len(images) == 0:
        return pl.DataFrame(schema=JUDGED)
    relation = pl.col("relations").list.get(0).struct
    objects = pl.col("objects").list
    asked = images.select(
        "row",
        relation.field("relation"),
        objects.get(relation.field("subject")).struct.field("name").alias("subject"),
        objects.get(relation.field("object")).struct.field("name").alias("object"),
        relation.field("subject").alias("subject_index"),
        relation.field("object").alias("object_index"),
    )
    named = boxes.join(asked, on="row")
    named = named.join(_meanings(named), on=["label", "subject", "object"], how="left")
    sides = {}
    for role in ("subject", "object"):
        sides[role] = (
            named.filter(f"is_{role}")
            .sort("row", "score", descending=[False, True], maintain_order=True)
            .filter(pl.int_range(pl.len()).over("row") < 8)
            .sort("row", "place")
            .select(
                "row",
                *[pl.col(c).alias(f"{role}_{c}") for c in ("place", "score", "depth", *CORNERS)],
            )
        )
    pairs = sides["subject"].join(sides["object"], on="row", maintain_order="left_right")
    pairs = pairs.join(asked.select("row", "relation"), on="row", how="left", maintain_order="left")
    best = _best_pairs(pairs)
    found = asked.join(best, on="row", how="left", maintain_order="left")
    for role in ("subject", "object"):
        first = sides[role].sort(
            "row", f"{role}_score", descending=[False, True], maintain_order=True
        )
        alone = first.unique("row", keep="first", maintain_order=True).rename(
            {c: f"alone_{c}" for c in first.columns if c != "row"}
        )
        found = found.join(alone, on="row", how="left", maintain_order="left")
    return _pair_verdicts(found)


def _meanings(named: pl.DataFrame) -> pl.DataFrame:
    """For every label beside every pair of asked names: whether it means one of them."""
    seen = named.select("label", "subject", "object").unique()
    rows = []
    for label, *asked in seen.iter_rows():
        meant = [matches(label, name, set(asked)) for name in asked]
        rows.append((label, *asked, *meant))
    names = [*seen.columns, "is_subject", "is_object"]
    types = [*seen.dtypes, pl.Boolean(), pl.Boolean()]
    return pl.DataFrame(rows, schema=list(zip(names, types, strict=True)), orient="row")


def _best_pairs(pairs: pl.DataFrame) -> pl.DataFrame:
    """The best pair of every image: `row`, its boxes, `probability`, `opposite`, `shared`."""
    n = len(pairs)
    probability, opposite = np.zeros(n), np.zeros(n)
    a, b = (_columns(pairs, role) for role in ("subject", "object"))
    depths = [pairs[f"{r}_depth"].fill_null(np.nan).to_numpy() for r in ("subject", "object")]
    relation = pairs["relation"].to_numpy()
    for name in pairs["relation"].unique():
        at = np.flatnonzero(relation == name)
        part = Pairs(
            Boxes(*(c[at] for c in a)),
            Boxes(*(c[at] for c in b)),
            depth=(depths[0][at], depths[1][at]),
        )
        probability[at] = find_rule("spatial", name)(part)
        if name in OPPOSITES:
            opposite[at] = find_rule("spatial", OPPOSITES[name])(part)
    shared = iou(a, b) > SAME_BOX
    same = (pairs["subject_place"] == pairs["object_place"]).to_numpy()
    weight = (pairs["subject_score"] * pairs["object_score"]).to_numpy() ** SCORE_WEIGHT
    fit = weight * np.maximum(probability, DOUBT) * np.where(shared, SAME_BOX_PROBABILITY, 1.0)
    return (
        pairs.with_columns(
            pl.Series("probability", probability),
            pl.Series("opposite", opposite),
            pl.Series("shared", shared),
            pl.Series("fit", np.where(same, -1.0, fit)),
        )
        .filter(pl.col("fit") >= 0)
        .sort("row", "fit", descending=[False, True], maintain_order=True)
        .unique("row", keep="first", maintain_order=True)
        .drop("relation")
    )


def _columns(pairs: pl.DataFrame, role: str) -> Boxes:
    return columns(pairs.select(f"{role}_{c}" for c in CORNERS).to_numpy())


def _pair_verdicts(found: pl.DataFrame) -> pl.DataFrame:
    both = pl.col("probability").is_not_null()
    has = {role: pl.col(f"alone_{role}_score").is_not_null() for role in ("subject", "object")}
    shared = pl.col("shared").fill_null(False)
    probability = pl.max_horizontal(pl.col("probability"), pl.lit(1e-9))
    objects = pl.when(~both).then(0.0).when(shared).then(SAME_BOX_PROBABILITY).otherwise(1.0)
    value = pl.when(both).then(pl.min_horizontal(probability, objects)).otherwise(0.0)
    # two presences, the relation when it can be asked, and "one box" when that is so
    present = pl.sum_horizontal(has["subject"].cast(pl.Float64), has["object"].cast(pl.Float64))
    mean = (
        pl.when(shared)
        .then((2 + probability + SAME_BOX_PROBABILITY) / 4)
        .when(both)
        .then((2 + probability) / 3)
        .otherwise(present / 2)
    )
    swapped = pl.col("subject_index") > pl.col("object_index")
    first_missing = (
        pl.when(~has["subject"] & (has["object"] | ~swapped)).then("subject").otherwise("object")
    )
    judged = found.select(
        "row",
        value.alias("value"),
        objects.alias("objects"),
        pl.when(both).then(probability).alias("relations"),
        *[pl.lit(None, pl.Float64).alias(kind) for kind in ("counts", "colors", "frame")],
        mean.alias("mean"),
        pl.when(~both)
        .then(pl.format("no {} found", first_missing))
        .when(shared & (probability > SAME_BOX_PROBABILITY))
        .then(
            pl.when(swapped)
            .then(pl.format("{} and {} share one box", "object", "subject"))
            .otherwise(pl.format("{} and {} share one box", "subject", "object"))
        )
        .otherwise(_relation_said())
        .alias("said"),
    ).join(_pair_evidence(found), on="row", how="left", maintain_order="left")
    return judged.with_columns(pl.col("evidence").fill_null([])).select(
        pl.col(name).cast(dtype) for name, dtype in JUDGED.items()
    )


def _pair_evidence(found: pl.DataFrame) -> pl.DataFrame:
    """The chosen pair, or the best box of the one object that is there, in the scene's order."""
    both = pl.col("probability").is_not_null()
    wanted = ("score", *CORNERS)
    items = []
    for role in ("subject", "object"):
        chosen = found.select(
            "row",
            pl.col(f"{role}_index").alias("index"),
            pl.col(role).alias("label"),
            *[
                pl.when(both).then(f"{role}_{c}").otherwise(f"alone_{role}_{c}").alias(c)
                for c in wanted
            ],
        ).filter(pl.col("score").is_not_null())
        items.append(
            chosen.select(
                "row", "index", pl.format("object {}", "index").alias("role"), "label", "score"
            ).with_columns(box_column(chosen))
        )
    return evidence_lists(pl.concat(items).sort("index", maintain_order=True))


def _relation_said() -> pl.Expr:
    """`relation_words`, for whole columns."""
    two = pl.max_horizontal("probability", pl.lit(1e-9)).round(2)
    whole = (two * 100).round(0).cast(pl.Int64)
    number = pl.format("{}.{}", whole // 100, (whole % 100).cast(pl.String).str.zfill(2))
    opposite = pl.col("relation").replace_strict(OPPOSITES, default=None)
    return (
        pl.when(pl.col("probability") > 0.5)
        .then(pl.format("{} is {} {}: {}", "subject", "relation", "object", number))
        .when(pl.col("opposite") > 0.5)
        .then(
            pl.format(
                "{} is {} {} (needs {}): {}", "subject", opposite, "object", "relation", number
            )
        )
        .otherwise(pl.format("{} is not {} {}: {}", "subject", "relation", "object", number))
    )


def _without_duplicates(boxes: pl.DataFrame, limit: float) -> pl.DataFrame:
    """Drops boxes that overlap a better (or equal, earlier) one of their label; adds `place`."""
    boxes = boxes.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("place"))
    several = boxes.filter(pl.len().over("row", "label") > 1).select(
        "row", "label", "place", "score", *CORNERS
    )
    if len(several) == 0:
        return boxes
    pairs = several.join(several, on=["row", "label"], suffix="_better").filter(
        (pl.col("score_better") > pl.col("score"))
        | ((pl.col("score_better") == pl.col("score")) & (pl.col("place_better") < pl.col("place")))
    )
    overlap: Floats = iou(
        columns(pairs.select(CORNERS).to_numpy()),
        columns(pairs.select(f"{c}_better" for c in CORNERS).to_numpy()),
    )
    again = pairs.filter(pl.Series(overlap > limit))["place"].unique()
    return boxes.filter(~pl.col("place").is_in(again.implode()))
