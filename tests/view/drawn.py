"""A scored run of drawn pictures with two samples per prompt, two protocols and a judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image, ImageDraw

from t2i_spatial.files import write_table
from t2i_spatial.questions import ANSWERS, Question, questions_to_table
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

SIZE = 64
ANIMALS = ("cat", "dog", "horse", "bird")


def drawn_run(
    folder: Path,
    *,
    prompts: int = 4,
    right: tuple[int, ...] = (0, 3, 4),
    text: str = "a {} left of a ball",
    name: str = "{}",
    prompt_id: str = "p{}",
    file: str = "images/{}.png",
) -> Run:
    """`prompts` x 2 images; those numbered in `right` are right, the last one is missing."""
    run = Run.create(folder)
    asked, rows = [], {"images": [], "detections": [], "visor": [], "spatial": [], "selection": []}
    for number in range(2 * prompts):
        place, sample = divmod(number, 2)
        subject = name.format(ANIMALS[place % len(ANIMALS)])
        key = {"prompt_id": prompt_id.format(place), "sample": sample}
        if not sample:
            scene = SceneSpec(
                (ObjectSpec(subject), ObjectSpec("ball")),
                (RelationSpec(0, "left of" if place % 2 else "above", 1),),
            )
            asked.append(Prompt(key["prompt_id"], text.format(subject), "tag", scene))
        gone, good = number == 2 * prompts - 1, number in right
        image = {**key, "image": file.format(number), "width": SIZE, "height": SIZE}
        image["status"] = IMAGE_MISSING if gone else SCORED
        found = _found(subject, good)
        if not gone:
            _draw(run.path / image["image"], [item["box"] for item in found])
        rows["images"].append({**image, "seed": 2**62 + number, "reason": None})
        rows["detections"].append({**image, "detections": None if gone else found})
        verdict = _verdict(key, image["status"], good, number, found)
        rows["visor"].append({**verdict, "protocol": "visor"})
        # the second protocol differs on image 1
        other = verdict if number != 1 else _verdict(key, SCORED, not good, number, found)
        rows["spatial"].append({**other, "protocol": "spatial"})
        kept = good and not gone
        rows["selection"].append(
            {**key, "kept": kept, "filter": None if kept else "correct", "reason": "no" + subject}
        )
    run.write_prompts(prompts_to_table(asked))
    run.write_images(pl.DataFrame(rows["images"], schema=IMAGES))
    run.write_detections(pl.DataFrame(rows["detections"], schema=DETECTIONS))
    for protocol in ("visor", "spatial"):
        run.write_verdicts(pl.DataFrame(rows[protocol], schema=VERDICTS), protocol)
    pl.DataFrame(rows["selection"], schema=SELECTION).write_parquet(run.path / "selection.parquet")
    return run


def add_answers(run: Run, text: str = "Is there a cat in the image?") -> None:
    """A judge that says yes to one question about the first image."""
    prompt_id = run.prompts()["prompt_id"][0]
    question = Question(text, gold="yes")
    table = questions_to_table([(prompt_id, question)])
    write_table(run.path / "questions" / "judge.parquet", table)
    row = {"prompt_id": prompt_id, "sample": 0, "question_id": question.id, "rollout": 0,
           "status": "answered", "answer": "yes", "p": 0.75, "raw": "Yes"}  # fmt: skip
    run.write_answers(pl.DataFrame([row], schema=ANSWERS), "judge")


def _found(subject: str, good: bool) -> list[dict[str, Any]]:
    boxes = [[4.0, 20.0, 24.0, 44.0], [36.0, 20.0, 60.0, 44.0]]
    labels = (subject, "ball") if good else ("ball", subject)
    return [{"label": n, "score": 0.9, "box": b} for n, b in zip(labels, boxes, strict=True)]


def _verdict(
    key: dict[str, Any], status: str, good: bool, number: int, found: list[dict[str, Any]]
) -> dict[str, Any]:
    scored = status == SCORED
    return {
        **key,
        "tag": "tag",
        "value": float(good) if scored else None,
        "correct": good if scored else None,
        "status": status,
        "margin": (1 if good else -1) * (number + 1) / 100 if scored else None,
        "reason": f"off by {number} px",
        "evidence": [{"role": "evidence", **item} for item in found] if scored else [],
        "components": [{"name": "objects_found", "value": 1.0}],
        "unjudged": [],
    }


def _draw(path: Path, boxes: list[list[float]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (SIZE, SIZE), "#e8e4da")
    draw = ImageDraw.Draw(image)
    for box, color in zip(boxes, ("#3366cc", "#cc7722"), strict=True):
        draw.ellipse(box, fill=color)
    image.save(path)
