"""Experiment trackers, by accelerate's adapters: tensorboard, wandb, mlflow, aim …"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from t2i_spatial.errors import InputError, MissingDependencyError, nearest

PROJECT = "t2i-spatial"


class Trackers:
    """What a training tells the world beside `log.jsonl`; nothing when no tracker is named.

    Args:
        names: as accelerate spells them.
        folder: of the training; those that write files write below `folder`/trackers.
        settings: told once, before the first step.

    Raises:
        InputError: a tracker that accelerate does not know.
        MissingDependencyError: its package is not installed.
    """

    def __init__(self, names: Sequence[str], folder: Path, settings: Mapping[str, Any]) -> None:
        self.trackers: list[Any] = []
        if not names:
            return
        from accelerate import PartialState
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        PartialState()  # accelerate's trackers ask it which process they are in
        simple = bool | int | float | str | None
        told = {k: v if isinstance(v, simple) else str(v) for k, v in settings.items()}
        for name in names:
            if name not in LOGGER_TYPE_TO_CLASS:
                raise InputError(f"unknown tracker {name!r}; {nearest(name, LOGGER_TYPE_TO_CLASS)}")
            kind = LOGGER_TYPE_TO_CLASS[name]
            place = (folder / "trackers",) if kind.requires_logging_directory else ()
            try:
                tracker = kind(PROJECT, *place)
                tracker.start()
            except ImportError as error:
                raise MissingDependencyError(
                    f"the tracker {name} needs a package of its own: pip install {name} ({error})"
                ) from None
            tracker.store_init_configuration(told)
            self.trackers.append(tracker)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers of a step."""
        for tracker in self.trackers:
            tracker.log(dict(values), step=step)

    def log_images(self, images: Mapping[str, Image.Image], step: int) -> None:
        """Images of a step by what they are to show; trackers without pictures are left out."""
        pixels = {text: np.asarray(image.convert("RGB"))[None] for text, image in images.items()}
        for tracker in self.trackers:
            if hasattr(tracker, "log_images"):
                layout = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
                tracker.log_images(pixels, step=step, **layout)

    def finish(self) -> None:
        """Send or write what is left."""
        for tracker in self.trackers:
            tracker.finish()
