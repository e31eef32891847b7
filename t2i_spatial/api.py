"""Scoring images in memory: `t2i_spatial.score`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.images import read_image, to_rgb
from t2i_spatial.scene import Prompt, SceneSpec, check_unique_ids
from t2i_spatial.tables import DETECTIONS, NOT_APPLICABLE, SCORED, prompts_to_table

if TYPE_CHECKING:
    from PIL import Image

    from t2i_spatial.detectors import Detector

ImageInput = Any
"""A Pillow image, a path, or a uint8 array of shape (H, W, 3)."""


def score(
    images: Sequence[ImageInput],
    prompts: Sequence[str | SceneSpec | Prompt],
    *,
    detector: str | Detector = "bundled",
    protocols: Sequence[str] = ("visor",),
    device: str = "auto",
    threshold: float | None = None,
) -> pl.DataFrame:
    """Judge images in memory; nothing is written.

    Args:
        images: one per prompt. Images of one `Prompt` (the same id) or of one text are its
            samples 0, 1, ... in the order given.
        prompts: texts, which are parsed, scenes, or prompts with a scene.
        detector: name, hub id or path, or a loaded detector.
        protocols: names as for `--protocol`.
        device, threshold: for a detector that is loaded here.

    Returns:
        A VERDICTS table (`t2i_spatial.tables`): for each protocol one row per image, in order. No
        images give an empty table.

    Raises:
        InputError: lengths differ, an unknown protocol, or one id with two texts.
        ImageUnreadableError: a path that is no readable image.
        ModelLoadError: the detector cannot be loaded.
    """
    from t2i_spatial.detectors import load_detector
    from t2i_spatial.metrics.protocol import PROTOCOLS

    if len(images) != len(prompts):
        raise InputError(f"{len(images)} images for {len(prompts)} prompts; give one per image")
    judges = [PROTOCOLS[name]() for name in dict.fromkeys(protocols)]
    asked = _prompts(prompts)
    loaded = (
        load_detector(detector, device=device, threshold=threshold)
        if isinstance(detector, str)
        else detector
    )
    names = [p.scene.names if p.scene else () for p in asked]
    found = loaded([_image(image) for image in images], names)
    seen: dict[str, int] = {}
    rows: list[dict[str, Any]] = []
    for prompt, detections in zip(asked, found, strict=True):
        sample = seen.get(prompt.id, 0)
        seen[prompt.id] = sample + 1
        readable = prompt.scene is not None and bool(prompt.scene.objects)
        rows.append(
            {
                "prompt_id": prompt.id,
                "sample": sample,
                "width": detections.width,
                "height": detections.height,
                "status": SCORED if readable else NOT_APPLICABLE,
                "reason": None if readable else "no object could be read from the prompt",
                "detections": detections.to_records() if readable else None,
            }
        )
    table = pl.DataFrame(rows, schema=DETECTIONS)
    distinct = list({p.id: p for p in asked}.values())
    prompt_table = prompts_to_table(distinct)
    return pl.concat([judge.judge(prompt_table, table) for judge in judges])


def _prompts(prompts: Sequence[str | SceneSpec | Prompt]) -> list[Prompt]:
    from t2i_spatial.prompts import parse_prompt, read_scenes

    known: dict[Any, Prompt] = {}
    result = []
    for entry in prompts:
        key: Any = entry.id if isinstance(entry, Prompt) else entry
        if key not in known:
            if isinstance(entry, Prompt):
                known[key] = read_scenes([entry])[0]
            elif isinstance(entry, SceneSpec):
                known[key] = Prompt(f"#{len(known)}", "(scene)", scene=entry)
            else:
                known[key] = Prompt(f"#{len(known)}", entry, scene=parse_prompt(entry))
        elif isinstance(entry, Prompt) and entry.text != known[key].text:
            raise InputError(f"prompt id {entry.id!r} has two texts")
        result.append(known[key])
    check_unique_ids(list(known.values()))
    return result


def _image(image: ImageInput) -> Image.Image:
    from PIL import Image

    if isinstance(image, str | Path):
        return read_image(image)
    if isinstance(image, Image.Image):
        return to_rgb(image)
    return Image.fromarray(image).convert("RGB")
