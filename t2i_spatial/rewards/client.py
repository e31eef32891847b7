"""A client for the server that gives up: bounded retries, and never for what is wrong itself."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from t2i_spatial.errors import InputError, T2ISpatialError, require
from t2i_spatial.scene import Prompt, SceneSpec
from t2i_spatial.scoring.core import ItemScore
from t2i_spatial.scoring.requests import as_images

RETRIED = (503, 504)
MAX_WAIT = 30.0
MAX_BYTES = 32_000_000
"""Of pictures in a request; half of what a server takes by default."""
ENCODING: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": 1},
    "WEBP": {"lossless": True, "quality": 20, "method": 0, "exact": True},
    "JPEG": {"quality": 95, "subsampling": 0},
}


class ServerError(T2ISpatialError):
    """The server could not be reached or did not score, after all retries."""


class Client:
    """A scorer (`scorer(images, prompts)`) that asks a server.

    Args:
        url: e.g. "http://127.0.0.1:18085".
        token: the server's token, if it has one.
        reward: name -> weight; `None` leaves it to the server.
        protocols: further protocols whose verdicts are wanted.
        batch: images per request; larger inputs are cut, and also at 32 MB of pictures.
        timeout: seconds per request.
        retries: how often a request is sent again when the server is busy or not there.
        image_format: "PNG" (exact), "WEBP" (exact too, smaller and slower), or "JPEG" (quality 95
            with full colour resolution: the cheapest, and no longer the same pixels).
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        reward: Mapping[str, float] | None = None,
        protocols: Sequence[str] = (),
        batch: int = 64,
        timeout: float = 130.0,
        retries: int = 5,
        image_format: str = "PNG",
    ) -> None:
        httpx: Any = require("httpx", "serve")
        if image_format not in ENCODING:
            raise InputError(
                f"image_format must be one of {', '.join(ENCODING)}, got {image_format!r}"
            )
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._httpx = httpx
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout, trust_env=False)
        self.reward = dict(reward) if reward else None
        self.protocols = list(protocols)
        self.batch, self.retries, self.image_format = batch, retries, image_format

    def __call__(self, images: Any, prompts: Sequence[Any]) -> list[ItemScore]:
        """One `ItemScore` per image, in order; bad items carry their status and reason.

        Args:
            images: as for `score_batch`.
            prompts: as for `score_batch`.

        Raises:
            InputError: the request as a whole is wrong; it is not sent again.
            ServerError: no answer after all retries.
        """
        pictures = as_images(images)
        if len(pictures) != len(prompts):
            raise InputError(f"{len(pictures)} images for {len(prompts)} prompts")
        scores: list[ItemScore] = []
        files: list[bytes] = []
        for picture in pictures:
            encoded = self._encode(picture)
            if files and (
                len(files) == self.batch or sum(map(len, files)) + len(encoded) > MAX_BYTES
            ):
                scores += self._score(files, prompts[len(scores) : len(scores) + len(files)])
                files = []
            files.append(encoded)
        return scores + (self._score(files, prompts[len(scores) :]) if files else [])

    def health(self) -> dict[str, Any]:
        """The server's `/health`.

        Raises:
            ServerError: it cannot be reached.
        """
        try:
            state: dict[str, Any] = self._http.get("/health").json()
        except (self._httpx.HTTPError, ValueError) as error:
            raise ServerError(f"{self._http.base_url} does not answer: {error}") from None
        return state

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _score(self, images: Sequence[bytes], prompts: Sequence[Any]) -> list[ItemScore]:
        files = [("images", (f"{i}", image)) for i, image in enumerate(images)]
        form = {"items": json.dumps([_asked(prompt) for prompt in prompts])}
        if self.reward is not None:
            form["reward"] = json.dumps(self.reward)
        if self.protocols:
            form["protocols"] = json.dumps(self.protocols)
        page = self._post(form, files)
        return [_item(entry) for entry in page["items"]]

    def _encode(self, image: Image.Image) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, self.image_format, **ENCODING[self.image_format])
        return buffer.getvalue()

    def _post(self, form: dict[str, str], files: list[Any]) -> dict[str, Any]:
        problem = ""
        for attempt in range(self.retries + 1):
            wait = min(MAX_WAIT, 0.25 * 2**attempt)
            try:
                response = self._http.post("/score", data=form, files=files)
            except self._httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                page = _json(response)
                if "items" in page:
                    return page
                problem = f"{response.status_code}: {page.get('error', response.text[:200])}"
                if response.status_code >= 500 and response.status_code not in RETRIED:
                    raise ServerError(f"the server failed, {problem}")
                if response.status_code not in RETRIED:
                    raise InputError(f"the server refuses the request, {problem}")
                after = response.headers.get("retry-after", "")
                wait = min(MAX_WAIT, max(wait, float(after))) if after.isdigit() else wait
            if attempt < self.retries:
                time.sleep(wait)
        raise ServerError(
            f"{self._http.base_url} did not score after {self.retries + 1} tries; last: {problem}"
        )


def _json(response: Any) -> dict[str, Any]:
    try:
        page = response.json()
    except ValueError:
        return {}
    return page if isinstance(page, dict) else {}


def _asked(prompt: Any) -> dict[str, Any]:
    if isinstance(prompt, str):
        return {"prompt": prompt}
    if isinstance(prompt, SceneSpec):
        return {"scene": prompt.to_dict()}
    if isinstance(prompt, Prompt):
        if "geneval" in prompt.metadata:
            return {"geneval": dict(prompt.metadata["geneval"])}
        if prompt.scene is None:
            return {"prompt": prompt.text}
        return _beside(prompt.scene.to_dict(), prompt.text, prompt.tag)
    if isinstance(prompt, Mapping):
        if "include" in prompt:
            return {"geneval": dict(prompt)}
        if prompt.get("scene") is not None:
            text = prompt.get("text", prompt.get("prompt"))
            return _beside(dict(prompt["scene"]), text, prompt.get("tag"))
        return {"prompt": prompt.get("text", prompt.get("prompt"))}
    raise InputError(f"a text, scene or prompt record is needed, got {type(prompt).__name__}")


def _beside(scene: dict[str, Any], text: str | None, tag: str | None) -> dict[str, Any]:
    """A scene with its text and tag, which some protocols look at."""
    more = {"prompt": text, "tag": tag}
    return {"scene": scene, **{name: value for name, value in more.items() if value is not None}}


def _item(entry: Mapping[str, Any]) -> ItemScore:
    return ItemScore(
        entry["status"], entry["reason"], entry["reward"], entry["parts"], entry["verdicts"]
    )
