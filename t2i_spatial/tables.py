"""The tables of a run: one polars schema each, and the conversions from and to records.

Scores and boxes are Float64: protocol thresholds such as 0.1 are not representable in Float32,
and a detection scored exactly 0.1 must stay on the side of the threshold where the peer puts it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.scene import ObjectSpec, Prompt, RelationSpec, SceneSpec

SCORED = "scored"
IMAGE_MISSING = "image_missing"
IMAGE_UNREADABLE = "image_unreadable"
DETECTOR_FAILED = "detector_failed"
AMBIGUOUS = "ambiguous"
IN_PART = "judged_in_part"
NOT_APPLICABLE = "not_applicable"
STATUSES: tuple[str, ...] = (
    SCORED,
    IMAGE_MISSING,
    IMAGE_UNREADABLE,
    DETECTOR_FAILED,
    AMBIGUOUS,
    IN_PART,
    NOT_APPLICABLE,
)
"""What can have happened to one expected image. Only `scored` rows have a value. `judged_in_part`:
what was judged is right, but the prompt asks for more (see `VERDICTS.unjudged`)."""


def _schema(columns: dict[str, Any]) -> pl.Schema:
    return pl.Schema(columns)


_OBJECT = pl.Struct(
    {
        "name": pl.String,
        "count": pl.Int32,
        "color": pl.String,
        "attributes": pl.List(pl.String),
        "frame_position": pl.String,
        "count_rule": pl.String,
        "text": pl.String,
    }
)
_RELATION = pl.Struct(
    {
        "subject": pl.Int32,
        "relation": pl.String,
        "object": pl.Int32,
        "phrase": pl.String,
        "negated": pl.Boolean,
        "second": pl.Int32,
    }
)

PROMPTS = _schema(
    {
        "prompt_id": pl.String,
        "text": pl.String,
        "tag": pl.String,
        "has_scene": pl.Boolean,
        "objects": pl.List(_OBJECT),
        "relations": pl.List(_RELATION),
        "unparsed": pl.List(pl.String),
        "metadata": pl.String,
    }
)
"""One row per prompt, in the order of the prompt set. `metadata` is JSON text or null."""

IMAGES = _schema(
    {
        "prompt_id": pl.String,
        "sample": pl.Int32,
        "image": pl.String,
        "width": pl.Int32,
        "height": pl.Int32,
        "seed": pl.Int64,
        "status": pl.String,
        "reason": pl.String,
    }
)
"""One row per expected image. `image` is relative to the run directory, or absolute."""

DETECTION = pl.Struct(
    {
        "label": pl.String,
        "score": pl.Float64,
        "box": pl.List(pl.Float64),
        "color": pl.String,
        "depth": pl.Float64,
    }
)
DETECTIONS = _schema(
    {
        "prompt_id": pl.String,
        "sample": pl.Int32,
        "image": pl.String,
        "width": pl.Int32,
        "height": pl.Int32,
        "status": pl.String,
        "reason": pl.String,
        "detections": pl.List(DETECTION),
    }
)
"""One row per image. Boxes are `[x1, y1, x2, y2]`, absolute pixels, y down; `depth` in [0, 1],
larger = nearer. `detections` is an empty list when nothing was found, null unless `scored`."""

EVIDENCE = pl.Struct(
    {"role": pl.String, "label": pl.String, "score": pl.Float64, "box": pl.List(pl.Float64)}
)
COMPONENT = pl.Struct({"name": pl.String, "value": pl.Float64})
VERDICTS = _schema(
    {
        "prompt_id": pl.String,
        "sample": pl.Int32,
        "protocol": pl.String,
        "tag": pl.String,
        "value": pl.Float64,
        "correct": pl.Boolean,
        "status": pl.String,
        "margin": pl.Float64,
        "reason": pl.String,
        "evidence": pl.List(EVIDENCE),
        "components": pl.List(COMPONENT),
        "unjudged": pl.List(pl.String),
    }
)
"""One row per image and protocol. `value` (in [0, 1]; `geneval_reward`, as its peer, may be
negative) and `correct` are null unless `scored`;
`margin` is the signed distance from the other answer (protocol's own unit, > 0 when correct);
`components` are the named parts the protocol aggregates (VISOR: `objects_found`, ...);
`unjudged` lists what the prompt asks beside that: parts that were not read, or that the protocol
has no rule for. With any, no image is right."""

SELECTION = _schema(
    {
        "prompt_id": pl.String,
        "sample": pl.Int32,
        "image": pl.String,
        "kept": pl.Boolean,
        "filter": pl.String,
        "reason": pl.String,
        "caption": pl.String,
        "weight": pl.Float64,
    }
)
"""One row per candidate image: kept, or dropped with the first filter that refused it."""

KEY = ("prompt_id", "sample")


def conform(frame: pl.DataFrame, schema: pl.Schema, what: str) -> pl.DataFrame:
    """Bring `frame` to exactly `schema`: missing columns become null, extra ones are refused.

    Raises:
        InputError: unknown columns, or a column that cannot be cast without loss.
    """
    extra = [name for name in frame.columns if name not in schema]
    if extra:
        raise InputError(f"{what}: unknown columns {extra}; expected {list(schema)}")
    columns = [
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in schema.items()
    ]
    try:
        return frame.select(columns)
    except (pl.exceptions.PolarsError, TypeError) as error:
        raise InputError(f"{what}: {str(error).splitlines()[0]}") from None


def prompts_to_table(prompts: Iterable[Prompt]) -> pl.DataFrame:
    """Prompts as a `PROMPTS` table (empty input gives an empty table)."""
    rows = []
    for prompt in prompts:
        scene = prompt.scene or SceneSpec()
        rows.append(
            {
                "prompt_id": prompt.id,
                "text": prompt.text,
                "tag": prompt.tag,
                "has_scene": prompt.scene is not None,
                "objects": [
                    {
                        "name": o.name,
                        "count": _fitting(o, prompt.id),
                        "color": o.color,
                        "attributes": list(o.attributes),
                        "frame_position": o.frame_position,
                        "count_rule": o.count_rule,
                        "text": o.text,
                    }
                    for o in scene.objects
                ],
                "relations": [
                    {
                        "subject": r.subject,
                        "relation": r.relation,
                        "object": r.object,
                        "phrase": r.phrase,
                        "negated": r.negated,
                        "second": r.second,
                    }
                    for r in scene.relations
                ],
                "unparsed": list(scene.unparsed),
                "metadata": json.dumps(dict(prompt.metadata), sort_keys=True)
                if prompt.metadata
                else None,
            }
        )
    return pl.DataFrame(rows, schema=PROMPTS)


def _fitting(spec: ObjectSpec, prompt_id: str) -> int | None:
    """The count, if the column can hold it: polars makes null of one that it cannot."""
    if spec.count is not None and spec.count >= 2**31:
        raise InputError(f"prompt {prompt_id!r} asks for {spec.count} of {spec.name!r}")
    return spec.count


def table_to_prompts(table: pl.DataFrame) -> list[Prompt]:
    """The inverse of `prompts_to_table`."""
    prompts = []
    for row in table.iter_rows(named=True):
        scene = None
        if row["has_scene"]:
            scene = SceneSpec(
                tuple(
                    ObjectSpec(
                        o["name"],
                        o["count"],
                        o["color"],
                        tuple(o["attributes"] or ()),
                        o["frame_position"],
                        # null or absent in tables of versions that did not have the field
                        o.get("count_rule") or "exactly",
                        o.get("text"),
                    )
                    for o in row["objects"]
                ),
                tuple(
                    RelationSpec(
                        r["subject"],
                        r["relation"],
                        r["object"],
                        r["phrase"],
                        r.get("negated") or False,
                        r.get("second"),
                    )
                    for r in row["relations"]
                ),
                tuple(row["unparsed"] or ()),
            )
        metadata = json.loads(row["metadata"]) if row["metadata"] else {}
        prompts.append(Prompt(row["prompt_id"], row["text"], row["tag"], scene, metadata))
    return prompts


def expected_images(prompts: pl.DataFrame, samples: int | Sequence[int]) -> pl.DataFrame:
    """Every (prompt_id, sample) a run must have: the denominator of every score."""
    indices = range(samples) if isinstance(samples, int) else samples
    return prompts.select("prompt_id").join(
        pl.DataFrame({"sample": list(indices)}, schema={"sample": pl.Int32}), how="cross"
    )


def empty(schema: pl.Schema, rows: Iterable[dict[str, Any]] = ()) -> pl.DataFrame:
    """A table of `schema` from records (none by default)."""
    return pl.DataFrame(list(rows), schema=schema)
