"""The models that ship with the package: a tiny text-to-image pipeline, detector and judge.

All are stock formats: `generator_path()` loads with
`diffusers.StableDiffusionPipeline.from_pretrained`, `detector_path()` with
`transformers.OwlViTForObjectDetection.from_pretrained`, `judge_path()` with
`transformers.AutoModelForImageTextToText.from_pretrained`. They know the 24 nouns in `NOUNS` as
emoji-like sprites, nothing of photographs; `MODEL_CARD.md` beside this file says how well and how
they were made. Importing this package loads neither torch nor diffusers.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from t2i_spatial.bundled.scenes import NOUNS, RELATIONS, Scene, SceneObject, render, sample_scene

__all__ = [
    "NOUNS",
    "RELATIONS",
    "Scene",
    "SceneObject",
    "detector_path",
    "generator_path",
    "judge_path",
    "model_card_path",
    "render",
    "sample_scene",
    "settings",
]

_FOLDER = Path(__file__).parent


def generator_path() -> Path:
    """Return the folder of the bundled `StableDiffusionPipeline`."""
    return _FOLDER / "generator"


def detector_path() -> Path:
    """Return the folder of the bundled `OwlViTForObjectDetection` and its processor."""
    return _FOLDER / "detector"


def judge_path() -> Path:
    """Return the folder of the bundled `LlavaForConditionalGeneration` and its processor."""
    return _FOLDER / "judge"


def model_card_path() -> Path:
    """Return the model card: data, licence, recipe and measured quality."""
    return _FOLDER / "MODEL_CARD.md"


@lru_cache(maxsize=1)
def _read_settings() -> str:
    return (_FOLDER / "settings.json").read_text(encoding="utf-8")


def settings() -> dict[str, Any]:
    """Return the shipped defaults: sampling of the generator and threshold of the detector.

    >>> sorted(settings())
    ['detector', 'generator']
    """
    values: dict[str, Any] = json.loads(_read_settings())
    return values
