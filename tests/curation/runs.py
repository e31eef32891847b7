"""A scored run on disk, with images, for the tests of curation."""

from __future__ import annotations

import polars as pl
from PIL import Image, ImageDraw

from t2i_spatial.run import Run
from t2i_spatial.tables import IMAGES, SCORED, VERDICTS, prompts_to_table
from tests.builders import relation_prompt

LEFT, RIGHT = (10.0, 40.0, 40.0, 80.0), (60.0, 40.0, 90.0, 80.0)


def drawing(seed: int, size: tuple[int, int] = (96, 96)) -> Image.Image:
    """A picture of its own for every seed: bars and discs at places the seed decides."""
    image = Image.new("RGB", size, ((seed * 37) % 256, (seed * 91) % 256, 120))
    draw = ImageDraw.Draw(image)
    for k in range(6):
        x = (seed * 53 + k * 31 * (seed + 3)) % (size[0] - 20)
        y = (seed * 29 + k * 47 * (seed + 1)) % (size[1] - 20)
        colour = tuple((seed * 17 + k * c) % 256 for c in (61, 83, 109))
        shape = draw.rectangle if (seed + k) % 2 else draw.ellipse
        shape((x, y, x + 10 + 3 * k, y + 14), fill=colour)
    return image


def verdict(prompt_id, sample, correct=True, margin=0.5, scores=(0.9, 0.8), **more):
    boxes = ((LEFT, "cat"), (RIGHT, "dog"))
    return {
        "prompt_id": prompt_id,
        "sample": sample,
        "protocol": "visor",
        "tag": "left of",
        "value": float(correct),
        "correct": correct,
        "status": SCORED,
        "margin": margin if correct else -margin,
        "reason": "cat is left of dog" if correct else "cat is not left of dog",
        "evidence": [
            {"role": role, "label": label, "score": score, "box": list(box)}
            for role, (box, label), score in zip(("subject", "object"), boxes, scores, strict=False)
        ],
        **more,
    }


def pair(a, b, width=640, height=480):
    """A candidate of the boxes `xywh` of a cat and a dog."""
    row = {"width": width, "height": height, "a_label": "cat", "b_label": "dog"}
    for role, box in (("a", a), ("b", b)):
        row |= {f"{role}_{part}": float(v) for part, v in zip("xywh", box, strict=True)}
    return pl.DataFrame([row])


def make_run(path, verdicts, images=None, statuses=None):
    """A run of the given verdicts; `images` maps (prompt id, sample) to a picture.

    Every image without one gets a drawing of its own; `statuses` are those of images that are
    missing or unreadable, which then have no file.
    """
    run = Run.create(path)
    ids = list(dict.fromkeys(v["prompt_id"] for v in verdicts))
    run.write_prompts(prompts_to_table([relation_prompt("cat", "left of", "dog", i) for i in ids]))
    (run.path / "images").mkdir(exist_ok=True)
    rows = []
    for number, entry in enumerate(verdicts):
        key = (entry["prompt_id"], entry["sample"])
        status = (statuses or {}).get(key, SCORED)
        row = {"prompt_id": key[0], "sample": key[1], "status": status}
        if status == SCORED:
            name = f"images/{key[0]}_{key[1]}.png"
            picture = (images or {}).get(key) or drawing(number)
            picture.save(run.path / name)
            row |= {"image": name, "width": picture.width, "height": picture.height}
        else:
            row["reason"] = f"{status} for a reason"
        rows.append(row)
    run.write_images(pl.DataFrame(rows, schema=IMAGES))
    run.write_verdicts(pl.DataFrame(verdicts, schema=VERDICTS), "visor")
    return run
