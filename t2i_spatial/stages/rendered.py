"""Rendered scenes as a curated set: known boxes, SCOP's filters, captions that are true of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from t2i_spatial.files import atomic_write
from t2i_spatial.progress import progress_bar
from t2i_spatial.stages.curate import Curated, curate_detections
from t2i_spatial.stages.stage_settings import CurateSettings

SETTINGS = CurateSettings(
    filters=("scop",), min_score=0.0, min_area=0.0, caption="short", crop=False
)
"""SCOP with its published thresholds; scenes are small, so no box is too small to count."""


def rendered_set(
    folder: Path,
    pairs: Sequence[tuple[str, str]],
    count: int,
    *,
    side: int = 64,
    seed: int = 0,
    settings: CurateSettings = SETTINGS,
) -> Curated:
    """Render `count` scenes of two nouns each, let SCOP choose, and export the set to `folder`.

    This is the setting of SPRIGHT and CoMPaSS: images that exist, with captions made from their
    boxes. A set that is there already is left alone by the caller.

    Args:
        pairs: nouns of the bundled renderer; each scene takes one pair, in turn. Four in five
            scenes are composed along one axis, the others at random.
        side: pixels.

    Raises:
        TooFewImagesError: SCOP kept nothing.
    """
    from t2i_spatial.bundled.scenes import RELATIONS, render, sample_scene

    rng = np.random.default_rng(seed)
    source = folder / "rendered"
    source.mkdir(parents=True, exist_ok=True)
    lines = []
    with progress_bar(count, "render") as bar:
        for number in range(count):
            nouns = pairs[number % len(pairs)]
            relation = rng.choice([*RELATIONS, ""])
            scene = sample_scene(rng, nouns=nouns, relation=str(relation) or None)
            pixels, boxes = render(scene, side)
            name = f"{number:06d}.png"
            Image.fromarray(pixels).save(source / name)
            found = [
                {"label": o.noun, "score": 1.0, "box": [float(v) for v in box]}
                for o, box in zip(scene.objects, boxes, strict=True)
            ]
            lines.append(
                {"prompt_id": f"scene-{number:06d}", "sample": 0, "image": name,
                 "width": side, "height": side, "detections": found}
            )  # fmt: skip
            bar.update(1)
    with atomic_write(source / "detections.jsonl", "w") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    return curate_detections(source / "detections.jsonl", folder, settings)
