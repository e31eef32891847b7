"""The worker process: encoded pictures and prompts in, scores out.

Pictures are decoded here and not in the server, so that a picture that crashes a decoder takes
one worker with it and never the server.
"""

from __future__ import annotations

import io
import os
import queue
import signal
import threading
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError

from t2i_spatial.detections import Detections
from t2i_spatial.errors import T2ISpatialError
from t2i_spatial.images import to_rgb
from t2i_spatial.rewards.core import ItemScore, RewardSpec, detect, judge_batch, load_color
from t2i_spatial.rewards.server.settings import FORMATS, ServerSettings
from t2i_spatial.scene import Prompt
from t2i_spatial.tables import IMAGE_UNREADABLE

AHEAD = 2
"""Batches a worker may hold: one in the model, one being decoded."""


@dataclass(frozen=True)
class Job:
    """One image to score."""

    image: bytes
    prompt: Prompt
    weights: Mapping[str, float]
    protocols: tuple[str, ...] = ()


def worker_main(connection: Connection, settings: ServerSettings, device: str) -> None:
    """Serve batches from `connection` until it closes. Runs in a process of its own.

    Sends `("ready", None)` or `("failed", reason)` once, then `(number, scores)` per batch.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from t2i_spatial.detectors import load_detector

    try:
        detector = load_detector(settings.detector, device=device)
        color = None if settings.color is None else load_color(settings.color, detector.device)
    except T2ISpatialError as error:
        connection.send(("failed", str(error)))
        return
    connection.send(("ready", None))
    inbox: queue.Queue[tuple[int, list[Job], list[Future[Any]]] | None] = queue.Queue(AHEAD)
    threading.Thread(
        target=_receive, args=(connection, inbox, settings.max_pixels), daemon=True
    ).start()
    while (entry := inbox.get()) is not None:
        number, jobs, decoding = entry
        pictures = [future.result() for future in decoding]
        scores = _score(jobs, pictures, detector, color, settings.max_batch)
        try:
            connection.send((number, scores))
        except OSError:
            return


def _receive(connection: Connection, inbox: queue.Queue[Any], max_pixels: int) -> None:
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    while True:
        try:
            number, jobs = connection.recv()
        except (EOFError, OSError):
            inbox.put(None)
            return
        inbox.put((number, jobs, [pool.submit(decode, job.image, max_pixels) for job in jobs]))


def decode(data: bytes, max_pixels: int) -> Image.Image | str:
    """A PNG, JPEG or WebP as 8-bit RGB, or what is wrong with it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
                if width * height > max_pixels:
                    return f"{width}x{height} pixels are more than the limit of {max_pixels:,}"
                image.load()
                return to_rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        return f"not a picture in one of the formats {', '.join(FORMATS)}"
    except Image.DecompressionBombError:
        return f"more pixels than the limit of {max_pixels:,}"
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        return f"cannot be decoded ({error})"


def _score(
    jobs: Sequence[Job], pictures: Sequence[Image.Image | str], detector: Any, color: Any, size: int
) -> list[ItemScore]:
    readable = [i for i, picture in enumerate(pictures) if not isinstance(picture, str)]
    found = _detect(
        [pictures[i] for i in readable], [jobs[i].prompt for i in readable], detector, color, size
    )
    scores: dict[int, ItemScore] = {
        i: ItemScore(IMAGE_UNREADABLE, picture, None)
        for i, picture in enumerate(pictures)
        if isinstance(picture, str)
    }
    groups: dict[Any, list[int]] = {}
    for place, i in enumerate(readable):
        key = (tuple(jobs[i].weights.items()), jobs[i].protocols)
        groups.setdefault(key, []).append(place)
    for (weights, protocols), places in groups.items():
        # ids of different requests may be the same
        prompts = [replace(jobs[readable[p]].prompt, id=str(p)) for p in places]
        judged = judge_batch(
            [found[p] for p in places], prompts, RewardSpec(dict(weights)), protocols
        )
        scores.update(zip((readable[p] for p in places), judged, strict=True))
    return [scores[i] for i in range(len(jobs))]


def _detect(
    pictures: Sequence[Any], prompts: Sequence[Prompt], detector: Any, color: Any, size: int
) -> list[Detections | str]:
    """Boxes; when a batch fails its images are tried alone, so that one cannot fail the others."""
    try:
        return detect(pictures, prompts, detector, color, size)
    except (RuntimeError, ValueError, MemoryError) as error:
        if len(pictures) == 1:
            return [str(error).strip().splitlines()[0] if str(error).strip() else repr(error)]
        return [
            found
            for picture, prompt in zip(pictures, prompts, strict=True)
            for found in _detect([picture], [prompt], detector, color, size)
        ]
