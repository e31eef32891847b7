"""A scored run of drawn pictures: what the report reads, without any model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image, ImageDraw

from t2i_spatial.files import write_json
from t2i_spatial.run import Run
from t2i_spatial.scene import ObjectSpec, Prompt, RelationSpec, SceneSpec
from t2i_spatial.tables import (
    DETECTIONS,
    IMAGE_MISSING,
    IMAGES,
    SCORED,
    SELECTION,
    VERDICTS,
    prompts_to_table,
)

SIZE = 96


def rate(value: float | None, low: float | None, high: float | None, n: int = 4) -> dict[str, Any]:
    return {
        "value": value,
        "low": low,
        "high": high,
        "n_prompts": n,
        "n_images": n,
        "n_expected": n,
    }


def drawn_run(
    folder: Path,
    n_prompts: int = 4,
    *,
    subject: str = "cup",
    text: str | None = None,
    prompt_id: str = "p{}",
    missing: int = 1,
) -> Run:
    """`n_prompts` prompts × 1 image: even ones right, odd ones wrong, the last `missing` absent."""
    run = Run.create(folder)
    run.begin("generate", {"model": "drawn", "seed": 7, "steps": 1})
    run.finish("generate")
    scene = SceneSpec((ObjectSpec(subject), ObjectSpec("ball")), (RelationSpec(0, "left of", 1),))
    prompts, images, detections, verdicts, selection = [], [], [], [], []
    for number in range(n_prompts):
        key = {"prompt_id": prompt_id.format(number), "sample": 0}
        prompts.append(
            Prompt(key["prompt_id"], text or f"a {subject} to the left of a ball", "left of", scene)
        )
        file = f"images/{number}.png"
        right, gone = number % 2 == 0, number >= n_prompts - missing
        status = IMAGE_MISSING if gone else SCORED
        images.append({**key, "image": file, "seed": number, "status": status, "reason": None})
        boxes = [[8.0, 30.0, 40.0, 70.0], [56.0, 30.0, 88.0, 70.0]]
        labels = (subject, "ball") if right else ("ball", subject)
        found = [
            {"label": label, "score": 0.9, "box": box}
            for label, box in zip(labels, boxes, strict=True)
        ]
        if not gone:
            _draw(folder / file, boxes)
        detections.append({**key, "image": file, "status": status, "detections": found})
        verdicts.append(
            {
                **key,
                "protocol": "visor",
                "tag": "left of",
                "value": None if gone else float(right),
                "correct": None if gone else right,
                "status": status,
                "margin": None if gone else (1 if right else -1) * (number + 1) / 100,
                "reason": "no such file" if gone else f"{subject} is {number} px off",
                "evidence": [
                    {"role": "subject" if f["label"] == subject else "object", **f} for f in found
                ],
            }
        )
        selection.append(
            {
                **key,
                "kept": right and not gone,
                "filter": None if right and not gone else "verdict",
                "reason": None if right and not gone else "visor says wrong",
            }
        )
    run.write_prompts(prompts_to_table(prompts))
    run.write_images(pl.DataFrame(images, schema_overrides={"sample": pl.Int32}))
    assert run.images().schema == IMAGES
    run.write_detections(pl.DataFrame(detections, schema=DETECTIONS))
    run.write_verdicts(pl.DataFrame(verdicts, schema=VERDICTS), "visor")
    pl.DataFrame(selection, schema=SELECTION).write_parquet(folder / "selection.parquet")
    write_json(
        folder / "summary.json",
        {
            "visor": {
                "OA": rate(0.75, 0.5, 1.0),
                "VISOR_cond": rate(None, None, None),
                "by_object": {"cup": {"OA": rate(0.5, 0.4, 0.6)}},
                "by_relation": {"left of": {"OA": rate(0.75, 0.5, 1.0)}},
                "images": {"expected": n_prompts, "scored": n_prompts - missing},
            },
            "homemade": {"cosiness": rate(12.5, 11.0, 14.0), "odd": 3, "by_day": {"monday": 4}},
        },
    )
    return Run.open(folder)


def _draw(path: Path, boxes: list[list[float]]) -> None:
    path.parent.mkdir(exist_ok=True)
    image = Image.new("RGB", (SIZE, SIZE), "#88aacc")
    for box, color in zip(boxes, ("#993333", "#337733"), strict=True):
        ImageDraw.Draw(image).rectangle(box, fill=color)
    image.save(path)
