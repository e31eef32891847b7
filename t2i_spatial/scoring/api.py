"""Scoring images in memory: `t2i_spatial.score`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.scene import Prompt, SceneSpec
from t2i_spatial.settings import DEFAULT_PROTOCOLS
from t2i_spatial.tables import prompts_to_table

if TYPE_CHECKING:
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
    from t2i_spatial.scoring.core import detect, found_table
    from t2i_spatial.scoring.requests import as_pictures, distinct_prompts, listed

    given, wanted = listed(images, "images"), listed(prompts, "prompts")
    if len(given) != len(wanted):
        raise InputError(f"{len(given)} images for {len(wanted)} prompts; give one per image")
    wanted_protocols = dict.fromkeys(listed(protocols, "protocols"))
    judges = [PROTOCOLS[name](only_read=only_read) for name in wanted_protocols]
    if not judges:
        raise InputError(f"no protocol is given; known: {', '.join(PROTOCOLS)}")
    asked = distinct_prompts(wanted)
    pictures = as_pictures(given)
    loaded = (
        load_detector(detector, device=device, threshold=threshold)
        if isinstance(detector, str)
        else detector
    )
    table = found_table(asked, detect(pictures, asked, loaded))
    distinct = prompts_to_table({p.id: p for p in asked}.values())
    judges = [
        fitted(judge, getattr(getattr(loaded, "spec", None), "backend", None)) for judge in judges
    ]
    return pl.concat([judge.judge(distinct, table) for judge in judges])
