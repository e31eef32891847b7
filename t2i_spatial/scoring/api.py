"""Scoring images in memory: `t2i_spatial.score`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.images import as_image, read_image
from t2i_spatial.scene import Prompt, SceneSpec, check_unique_ids
from t2i_spatial.settings import DEFAULT_PROTOCOLS
from t2i_spatial.tables import (
    DETECTIONS,
    DETECTOR_FAILED,
    NOT_APPLICABLE,
    prompts_to_table,
)

if TYPE_CHECKING:
    from PIL import Image

    from t2i_spatial.detections import Detections
    from t2i_spatial.detectors import Detector

ImageInput = Any
"""A path, a Pillow image, or an array or tensor as `t2i_spatial.images.as_image` takes them."""

PromptInput = str | SceneSpec | Prompt | Mapping[str, Any]
"""A text, which is parsed, a scene, a prompt, or a record (see `scoring.requests.as_prompt`)."""


def score(
    images: Iterable[ImageInput],
    prompts: Iterable[PromptInput],
    *,
    detector: str | Detector = "bundled",
    protocols: Iterable[str] = DEFAULT_PROTOCOLS,
    device: str = "auto",
    threshold: float | None = None,
    only_read: bool = False,
) -> pl.DataFrame:
    """Judge images in memory; nothing is written.

    Args:
        images: one per prompt. Images of one `Prompt` (the same id) or of one text are its
            samples 0, 1, ... in the order given.
        prompts: texts, which are parsed, scenes, prompts, or records of GenEval or our own.
        detector: name, hub id or path, or a loaded detector.
        protocols: names as for `--protocol`.
        device, threshold: for a detector that is loaded here.
        only_read: prompts that a protocol judges in part are `not_applicable` to it.

    Returns:
        A VERDICTS table (`t2i_spatial.tables`): for each protocol one row per image, in order. An
        image of whose prompt the detector cannot be asked is `detector_failed` with the reason.
        No images give an empty table.

    Raises:
        InputError: lengths differ, no or an unknown protocol, one id with two texts or scenes,
            or an image or prompt that is none.
        ImageUnreadableError: a path that is no readable image.
        ModelLoadError: the detector cannot be loaded.
    """
    from t2i_spatial.detectors import load_detector
    from t2i_spatial.detectors.score_levels import fitted
    from t2i_spatial.metrics.base import PROTOCOLS
    from t2i_spatial.scoring.core import detect

    given, wanted = _listed(images, "images"), _listed(prompts, "prompts")
    if len(given) != len(wanted):
        raise InputError(f"{len(given)} images for {len(wanted)} prompts; give one per image")
    wanted_protocols = dict.fromkeys(_listed(protocols, "protocols"))
    judges = [PROTOCOLS[name](only_read=only_read) for name in wanted_protocols]
    if not judges:
        raise InputError(f"no protocol is given; known: {', '.join(PROTOCOLS)}")
    asked = _prompts(wanted)
    pictures = [_image(image, number) for number, image in enumerate(given)]
    loaded = (
        load_detector(detector, device=device, threshold=threshold)
        if isinstance(detector, str)
        else detector
    )
    table = _detections(asked, detect(pictures, asked, loaded))
    distinct = prompts_to_table({p.id: p for p in asked}.values())
    judges = [
        fitted(judge, getattr(getattr(loaded, "spec", None), "backend", None)) for judge in judges
    ]
    return pl.concat([judge.judge(distinct, table) for judge in judges])


def _listed(values: Any, what: str) -> list[Any]:
    if isinstance(values, str | bytes | Mapping | Path) or not isinstance(values, Iterable):
        raise InputError(f"{what} must be a list, got {type(values).__name__}")
    return list(values)


def _detections(asked: list[Prompt], found: list[Detections | str]) -> pl.DataFrame:
    """DETECTIONS; a text in place of boxes is why the detector could not be asked."""
    seen: dict[str, int] = {}
    rows: list[dict[str, Any]] = []
    for prompt, detections in zip(asked, found, strict=True):
        row: dict[str, Any] = {"prompt_id": prompt.id, "sample": seen.get(prompt.id, 0)}
        seen[prompt.id] = row["sample"] + 1
        if isinstance(detections, str):
            row |= {"status": DETECTOR_FAILED, "reason": detections}
        elif prompt.scene is None or not prompt.scene.objects:
            row |= {"status": NOT_APPLICABLE, "reason": "no object could be read from the prompt"}
        else:
            row |= detections.to_row()
        rows.append(row)
    return pl.DataFrame(rows, schema=DETECTIONS)


def _prompts(prompts: list[Any]) -> list[Prompt]:
    known: dict[Any, Prompt] = {}
    result = []
    for number, entry in enumerate(prompts):
        try:
            key, prompt = _prompt(entry, f"#{len(known)}")
        except InputError as error:
            raise InputError(f"prompt {number}: {error}") from None
        first = known.setdefault(key, prompt)
        if isinstance(entry, Prompt) and entry.text != first.text:
            raise InputError(f"prompt id {entry.id!r} has two texts")
        if prompt.scene != first.scene:
            raise InputError(f"prompt id {entry.id!r} has two scenes")
        result.append(first)
    check_unique_ids(list(known.values()))
    return result


def _prompt(entry: Any, new_id: str) -> tuple[Any, Prompt]:
    """What tells the prompt from others, and the prompt with its scene."""
    from t2i_spatial.prompts import parse_prompt, read_scenes
    from t2i_spatial.scoring.requests import as_prompt

    if isinstance(entry, Prompt):
        return (Prompt, entry.id), read_scenes([entry])[0]
    if isinstance(entry, SceneSpec):
        return entry, Prompt(new_id, "(scene)", scene=entry)
    if isinstance(entry, str):
        return entry, Prompt(new_id, entry, scene=parse_prompt(entry))
    prompt = as_prompt(entry, new_id)
    return (prompt.text, prompt.tag, prompt.scene), prompt


def _image(image: ImageInput, number: int) -> Image.Image:
    if isinstance(image, str | Path):
        return read_image(image)
    try:
        return as_image(image)
    except InputError as error:
        raise InputError(f"image {number}: {error}") from None
