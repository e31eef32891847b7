"""A run whose detector misses objects, and people who see the truth."""

from __future__ import annotations

import numpy as np

from t2i_spatial.labels import Label, append_label, questions_for
from t2i_spatial.metrics import PROTOCOLS
from t2i_spatial.run import Run
from t2i_spatial.scene import Prompt
from t2i_spatial.stages.auditing.labelled import existing_images, read_picks
from t2i_spatial.stages.score import import_detections, score_run
from t2i_spatial.tables import prompts_to_table
from tests.builders import box, detection_rows, detections, relation_prompt

Key = tuple[str, int]


def make_run(
    path, n_prompts=80, samples=4, missed=0.25, seed=0, protocols=("visor", "spatial")
) -> tuple[Run, dict[Key, bool]]:
    """A scored run of stored boxes, and which images are right in truth."""
    rng = np.random.default_rng(seed)
    eyes = np.random.default_rng([seed, 1])
    ease = rng.beta(3, 2, size=n_prompts)
    prompts = [
        relation_prompt("cat", ("left of", "right of")[k % 2], "dog", str(k))
        for k in range(n_prompts)
    ]
    images, truth = {}, {}
    for k, prompt in enumerate(prompts):
        for sample in range(samples):
            right = bool(rng.random() < ease[k])
            truth[prompt.id, sample] = right
            cat_left = right == (k % 2 == 0)
            left, right_box = (20, 100, 200, 300), (300, 100, 480, 300)
            found = [
                box("cat", *(left if cat_left else right_box)),
                box("dog", *(right_box if cat_left else left)),
            ]
            if eyes.random() < missed:
                found.pop(int(eyes.integers(2)))
            images[prompt.id, sample] = detections(*found)
    run = Run.create(path)
    import_detections(run, prompts_to_table(prompts), detection_rows(images), "boxes.json")
    score_run(run, [PROTOCOLS[name]() for name in protocols])
    return run, truth


def prompts_of(run: Run) -> dict[str, Prompt]:
    from t2i_spatial.tables import table_to_prompts

    return {p.id: p for p in table_to_prompts(run.prompts())}


def label_picks(run: Run, truth: dict[Key, bool], annotator="a", keys=None, **change) -> None:
    """Answer all questions about the picked images: objects are there, the relation as in truth."""
    prompts = prompts_of(run)
    made = []
    for row in read_picks(run).iter_rows(named=True):
        key = row["prompt_id"], row["sample"]
        if keys is not None and key not in keys:
            continue
        for asked in questions_for(prompts[key[0]]):
            right = truth[key] if asked.part == "relation" else True
            made.append(
                Label(
                    **{
                        "image": row["image"],
                        "image_sha256": row["image_sha256"],
                        "prompt_id": key[0],
                        "sample": key[1],
                        "question_id": asked.question.id,
                        "label": "yes" if right else "no",
                        "annotator": annotator,
                        "picker": row["picker"],
                        "pi": row["pi"],
                        "batch": row["batch"],
                        "seed": row["seed"],
                        **change,
                    }
                )
            )
    append_label(run.path / "labels" / f"{annotator}.jsonl", *made)


def true_rate(run: Run, truth: dict[Key, bool]) -> float:
    return float(np.mean([truth[key[0], key[1]] for key in existing_images(run).iter_rows()]))
