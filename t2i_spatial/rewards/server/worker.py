"""The worker process: encoded pictures and prompts in, scores out.

Pictures are decoded here and not in the server, so that a picture that crashes a decoder takes
one worker with it and never the server.
"""

from __future__ import annotations

import io
import math
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

from t2i_spatial.errors import T2ISpatialError
from t2i_spatial.images import to_rgb
from t2i_spatial.rewards.server.server_settings import FORMATS, ServerSettings
from t2i_spatial.scene import Prompt
from t2i_spatial.scoring.asked import ask_about
from t2i_spatial.scoring.core import ItemScore, RewardSpec, detect, judge_batch, load_color
from t2i_spatial.tables import DETECTOR_FAILED, IMAGE_UNREADABLE

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
    # the server ends its workers, when it is done
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    warnings.filterwarnings("ignore", module="PIL")  # what is wrong with a picture is answered
    from t2i_spatial.detectors import load_detector
    from t2i_spatial.judges import load_judge

    try:
        detector = load_detector(settings.detector, device=device)
        color = None if settings.color is None else load_color(settings.color, detector.device)
        judge = None if settings.judge is None else load_judge(settings.judge, device=device)
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
        scores = _score(jobs, pictures, detector, color, settings.max_batch, judge)
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
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            # detectors pad to a square: a long thin picture costs as much as a square one
            if width * height > max_pixels or max(width, height) ** 2 > 4 * max_pixels:
                return (
                    f"{width}x{height} pixels are more than the limit of {max_pixels:,}, "
                    f"or than {math.isqrt(4 * max_pixels):,} in a line"
                )
            image.load()
            return to_rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        return f"not a picture in one of the formats {', '.join(FORMATS)}"
    except Image.DecompressionBombError:
        return f"more pixels than the limit of {max_pixels:,}"
    except Exception as error:  # noqa: BLE001 - decoders raise whatever they like on broken data
        return f"cannot be decoded ({error})"


def _score(
    jobs: Sequence[Job],
    pictures: Sequence[Image.Image | str],
    detector: Any,
    color: Any,
    size: int,
    judge: Any = None,
) -> list[ItemScore]:
    """Scores; when a batch fails its images are tried alone, so that one cannot fail the others.

    Raises:
        RuntimeError: the device itself is lost; a new worker is needed.
    """
    try:
        return _score_together(jobs, pictures, detector, color, size, judge)
    except Exception as error:  # every image gets its reason
        if "CUDA error" in str(error):
            raise
        if len(jobs) == 1:
            said = str(error).strip() or "no reason given"
            reason = f"{type(error).__name__}: {said.splitlines()[0]}"
            return [ItemScore(DETECTOR_FAILED, reason, None)]
    return [
        score
        for job, picture in zip(jobs, pictures, strict=True)
        for score in _score([job], [picture], detector, color, size, judge)
    ]


def _score_together(
    jobs: Sequence[Job],
    pictures: Sequence[Image.Image | str],
    detector: Any,
    color: Any,
    size: int,
    judge: Any = None,
) -> list[ItemScore]:
    scores: dict[int, ItemScore] = {}
    readable: list[int] = []
    images: list[Image.Image] = []
    for i, picture in enumerate(pictures):
        if isinstance(picture, str):
            scores[i] = ItemScore(IMAGE_UNREADABLE, picture, None)
        else:
            readable.append(i)
            images.append(picture)
    # ids of different requests may be the same
    prompts = {i: replace(jobs[i].prompt, id=str(i)) for i in readable}
    found = detect(images, list(prompts.values()), detector, color, size)
    boxes = dict(zip(readable, found, strict=True))
    groups: dict[Any, list[int]] = {}
    for i in readable:
        groups.setdefault((tuple(jobs[i].weights.items()), jobs[i].protocols), []).append(i)
    shown = dict(zip(readable, images, strict=True))
    for (weights, protocols), ids in groups.items():
        spec = RewardSpec(dict(weights))
        answered = ask_about(
            [shown[i] for i in ids],
            [prompts[i] for i in ids],
            [*spec.protocols, *protocols],
            judge,
        )
        judged = judge_batch(
            [boxes[i] for i in ids],
            [prompts[i] for i in ids],
            spec,
            protocols,
            backend=detector.spec.backend,
            answered=answered,
        )
        scores.update(zip(ids, judged, strict=True))
    return [scores[i] for i in range(len(jobs))]
