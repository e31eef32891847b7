"""Runs with pictures, and answers of a judge about them."""

from __future__ import annotations

import numpy as np
import polars as pl
from PIL import Image

from t2i_spatial.questions import TEMPLATES
from t2i_spatial.run import Run
from t2i_spatial.scene import ObjectSpec, Prompt, RelationSpec, SceneSpec
from t2i_spatial.stages.ask import questions_of, stage_name
from t2i_spatial.stages.protocols import make_protocols
from t2i_spatial.tables import IMAGE_MISSING, IMAGES, SCORED, prompts_to_table

SCENE = SceneSpec((ObjectSpec("cat"), ObjectSpec("dog")), (RelationSpec(0, "left of", 1),))
PLAN = {"judge": "http://judge", "backend": "http", "model": "Tiny-VL", "probabilities": True}


def make_run(folder, prompts=3, samples=2, missing=()):
    run = Run.create(folder)
    made = [Prompt(f"p{k}", "a cat to the left of a dog", scene=SCENE) for k in range(prompts)]
    run.write_prompts(prompts_to_table(made))
    rows = []
    (run.path / "images").mkdir()
    rng = np.random.default_rng(0)
    for prompt in made:
        for sample in range(samples):
            name = f"images/{prompt.id}_{sample}.png"
            pixels = rng.integers(0, 255, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(run.path / name)
            lost = (prompt.id, sample) in missing
            rows.append(
                {
                    "prompt_id": prompt.id,
                    "sample": sample,
                    "image": name,
                    "width": 8,
                    "height": 8,
                    "status": IMAGE_MISSING if lost else SCORED,
                    "reason": "not there" if lost else None,
                }
            )
    run.write_images(pl.DataFrame(rows, schema=IMAGES))
    return run


def add_answers(run, p, protocols=("spatial_vqa",), name="judge", rollouts=2, **plan):
    """Answers of a judge with probability `p(prompt_id, sample, question)` of the right one."""
    questions = questions_of(make_protocols(protocols), run.prompts())
    rows = []
    for prompt_id, sample in run.images().select("prompt_id", "sample").iter_rows():
        for question in questions.filter(pl.col("prompt_id") == prompt_id).iter_rows(named=True):
            said = p(prompt_id, sample, question)
            row = {
                "prompt_id": prompt_id,
                "sample": sample,
                "question_id": question["question_id"],
                "status": said if isinstance(said, str) else "answered",
            }
            if not isinstance(said, str):
                row["answer"] = question["gold"]
                row["chances"] = [{"answer": question["gold"], "p": said}]
            rows += [{**row, "rollout": rollout} for rollout in range(rollouts)]
    templates = {t: TEMPLATES[t].to_dict() for t in sorted(set(questions["template"]))}
    run.begin(stage_name(name), {**PLAN, "templates": templates, **plan})
    run.write_answers(pl.DataFrame(rows, infer_schema_length=None), name)
    run.finish(stage_name(name))
    return run
