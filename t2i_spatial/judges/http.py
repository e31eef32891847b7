"""A vision-language model behind an OpenAI-compatible chat-completions endpoint.

    t2i-spatial ask run --judge http://127.0.0.1:8000/v1 --judge-model Qwen/Qwen3-VL-8B-Instruct

vLLM, SGLang, Ollama, llama.cpp, `transformers serve` and OpenAI speak it. Whether the endpoint
gives token probabilities and looks at pictures at all is found out by asking, not assumed.
"""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import os
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from PIL import Image
from pydantic import BeforeValidator, Field

from t2i_spatial.errors import InputError, nearest, require
from t2i_spatial.judges import JUDGES, systemone
from t2i_spatial.judges.base import Asked, Judge, JudgeSpec, Picture, Reply, checked_options
from t2i_spatial.judges.cache import ReplyCache, cache_key
from t2i_spatial.judges.openai_api import (
    Sampling,
    body_of,
    reply_key,
    reply_of,
    top_tokens,
    wants_probabilities,
)
from t2i_spatial.judges.sending import Failed, JudgeError, Limit, Patience, post, said
from t2i_spatial.questions import ANSWERED, LETTER, OFF_FORMAT, Question
from t2i_spatial.settings import Settings


def _fields(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


class HTTPOptions(Settings):
    """Settings of a judge at a URL."""

    key_env: str = Field(
        default="OPENAI_API_KEY", description="Environment variable that holds the key."
    )
    logprobs: Literal["auto", "on", "off"] = Field(
        default="auto", description="Whether token probabilities are used; auto finds out."
    )
    probe: bool = Field(
        default=True, description="Ask of a red and a blue picture before anything else."
    )
    concurrency: int = Field(default=8, ge=1, le=1024, description="Requests under way at first.")
    max_concurrency: int = Field(
        default=64, ge=1, le=1024, description="Requests under way at most."
    )
    timeout: float = Field(default=120.0, gt=0, description="Seconds for one try.")
    patience: float = Field(default=600.0, gt=0, description="Seconds for all tries of a request.")
    temperature: float | None = Field(
        default=None, ge=0, le=2, description="Instead of the template's."
    )
    max_tokens: int | None = Field(
        default=None, ge=1, description="Of a reply, instead of the template's."
    )
    systemone: bool = Field(
        default=False,
        description="Ask what has listed answers at /systemone, which tells their probabilities.",
    )
    detail: Literal["low", "high", "auto"] | None = Field(
        default=None, description="OpenAI's detail of images."
    )
    cache: str | None = Field(default=None, description="Folder of raw replies.")
    extra: Annotated[dict[str, Any], BeforeValidator(_fields)] = Field(
        default_factory=dict, description="Further fields of every request, as JSON."
    )


PATH = "/chat/completions"
SYSTEMONE = systemone.PATH
COLOUR = Question(
    "What is the colour of this image?", "choice", ("red", "blue"), template=LETTER.name
)
"""What is asked of two pictures, to see whether a judge looks at them."""
WHO = "a judge at a URL"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
FIRST = 5.0
"""Seconds to wait for somebody to answer at all, before anything was asked."""
OF_THE_WAY = (
    "key_env", "probe", "concurrency", "max_concurrency", "timeout", "patience", "cache",
    "logprobs", "systemone",
)  # fmt: skip
"""Options that say how to ask and not what: they decide no answer. Another interface is named in
the plan only where it is used, so that plans of those who do not use it stay what they were."""


@JUDGES.register("http")
class HTTPJudge(Judge):
    """Asks a server; requests of a batch, and of the next one, are under way together.

    Raises:
        JudgeError: no answer, no such model, no permission, or an endpoint that ignores images.
    """

    writes: ClassVar[bool] = True

    def __init__(self, spec: JudgeSpec, device: str = "cpu") -> None:
        super().__init__(spec, device)
        httpx: Any = require("httpx", "judge")
        options = checked_options(HTTPOptions, spec.options, WHO)
        self._options = options
        self._patience = Patience(options.timeout, options.patience)
        self._cache = ReplyCache(options.cache)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        key = os.environ.get(options.key_env, "").strip()
        self._hint = "" if key else f" (no key: ${options.key_env} is not set)"
        headers = {"Authorization": f"Bearer {_printable(key, options.key_env)}"} if key else {}
        most = options.max_concurrency
        # proxies of the environment lead out of this machine, never back into it
        trusted = urlsplit(spec.source).hostname not in LOOPBACK

        async def connect() -> tuple[Any, Limit]:
            limits = httpx.Limits(max_connections=most, max_keepalive_connections=most)
            http = httpx.AsyncClient(
                base_url=spec.source.rstrip("/"), headers=headers, limits=limits, trust_env=trusted
            )
            return http, Limit(options.concurrency, most)

        self._http, self.limit = self._wait(connect())
        try:
            model = spec.model or self._only_model()
            self.sampling = sampling_of(options, model)
            self.served_model: str | None = None
            self.gives_probabilities = self.sampling.logprobs or options.systemone
            if options.probe and options.systemone:
                self._probe_systemone()
            elif options.probe:
                self._probe()
        except BaseException:
            self.close()
            raise

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options with defaults; see `HTTPOptions`."""
        return checked_options(HTTPOptions, options, WHO).model_dump()

    def ask(self, picture: Picture, asked: Sequence[Asked]) -> list[Reply]:
        """One request per question."""
        return self.collect(self.submit([(picture, asked)]))[0]

    def say(self, asked: Sequence[Asked]) -> list[Reply]:
        """One request per question, without a picture."""
        return self.collect(self.submit([(None, asked)]))[0]

    def submit(
        self, batch: Sequence[tuple[Picture | None, Sequence[Asked]]]
    ) -> list[list[Future[Reply]]]:
        """Put every question of a batch under way."""
        return [
            [asyncio.run_coroutine_threadsafe(self._one(picture, a), self._loop) for a in asked]
            for picture, asked in batch
        ]

    def collect(self, started: list[list[Future[Reply]]]) -> list[list[Reply]]:
        """Wait for a batch; when the server is gone, what is still under way is given up."""
        try:
            return [[future.result() for future in of_picture] for of_picture in started]
        except BaseException:
            for of_picture in started:
                for future in of_picture:
                    future.cancel()
            raise

    def plan(self) -> dict[str, Any]:
        """Without what only says how to ask."""
        plan = plan_of(super().plan(), self.sampling)
        return plan | ({"interface": systemone.NAME} if self._options.systemone else {})

    def found_out(self) -> dict[str, Any]:
        """Which model answered, and whether with probabilities."""
        return {
            "probabilities": self.gives_probabilities,
            "served_model": self.served_model,
            "cache_hits": self._cache.hits,
        }

    def close(self) -> None:
        """Close the connections and end the thread that holds them."""
        if self._loop.is_running():
            self._wait(self._http.aclose())
            self._loop.call_soon_threadsafe(self._loop.stop)

    async def _one(self, picture: Picture | None, asked: Asked) -> Reply:
        started = time.monotonic()
        key, path, body, read = self._request(picture, asked)
        known = self._cache.get(key)
        page = known
        if page is None:
            page = await post(self._http, path, body(), self.limit, self._patience, hint=self._hint)
            if isinstance(page, Failed):
                return Reply.failed(page.reason)
        try:
            reply = read(page, started)
        except ValueError as error:
            return Reply.failed(str(error))
        if known is not None:
            return dataclasses.replace(reply, cached=True)
        if reply.status in (ANSWERED, OFF_FORMAT):
            self._cache.put(key, page)
        return reply

    def _request(
        self, picture: Picture | None, asked: Asked
    ) -> tuple[str, str, Callable[[], dict[str, Any]], Callable[[Any, float], Reply]]:
        """Key in the cache, path, how the body is made, and how a response is read."""
        model = self.sampling.model
        if self._options.systemone and picture is not None and systemone.can_ask(asked.question):
            parts = systemone.body_of(picture, asked, model, image=False)
            return (
                cache_key({"url": self.spec.source + SYSTEMONE, "body": parts}),
                SYSTEMONE,
                lambda: systemone.body_of(picture, asked, model),
                lambda page, started: systemone.reply_of(page, asked, started),
            )
        wanted = wants_probabilities(asked, self.sampling)
        return (
            reply_key(self.spec.source, picture, asked, self.sampling),
            PATH,
            lambda: body_of(picture, asked, self.sampling),
            lambda page, started: reply_of(page, asked, logprobs=wanted, started=started),
        )

    async def _models(self) -> list[str]:
        response = await self._http.get("/models", timeout=self._patience.timeout)
        if response.status_code in (401, 403):
            raise JudgeError(f"{self.spec.source} refuses: {said(response)}{self._hint}")
        return [str(entry["id"]) for entry in response.json()["data"]]

    def _others(self) -> str:
        """The models that a server lists, where the one that was named is not among them."""
        try:
            known = self._wait(asyncio.wait_for(self._models(), FIRST))
        except Exception:  # noqa: BLE001 - it is only a hint
            return ""
        if self.sampling.model in known or not known:
            return ""
        return f" (it has no model {self.sampling.model!r}; {nearest(self.sampling.model, known)})"

    def _only_model(self) -> str:
        try:
            known = self._wait(self._models())
        except JudgeError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the list cannot be had
            raise JudgeError(
                f"{self.spec.source} does not list its models ({type(error).__name__}); "
                "is it the address of a chat-completions endpoint (often ending in /v1)? "
                "If so, name the model with --judge-model"
            ) from None
        if len(known) != 1:
            raise InputError(
                f"{self.spec.source} has {len(known)} models; name one with --judge-model: "
                f"{', '.join(sorted(known)[:8])}"
            )
        return str(known[0])

    def _probe(self) -> None:
        """Ask of a red and a blue picture, and look what comes back."""
        question = COLOUR
        try:
            pages = [self._wait(self._raw(_plain(colour), question)) for colour in ("red", "blue")]
        except JudgeError as error:
            others = self._others() if " 404: " in str(error) else ""
            raise JudgeError(f"{error}{others}") from None
        for page in pages:
            if isinstance(page, Failed):
                raise JudgeError(
                    f"{self.spec.source} refuses a test question: {page.reason}{self._others()}"
                )
        choices = [(page.get("choices") or [{}])[0] for page in pages]
        self.served_model = str(pages[0].get("model") or "") or None
        listed = [top_tokens(choice) for choice in choices]
        self.gives_probabilities = self.sampling.logprobs and len(listed[0]) > 1
        if self._options.logprobs == "on" and not self.gives_probabilities:
            raise JudgeError(f"{self.spec.source} gives no token probabilities (logprobs=on)")
        self.sampling = dataclasses.replace(self.sampling, logprobs=self.gives_probabilities)
        seen = listed if self.gives_probabilities else [_content(choice) for choice in choices]
        self._refuse_blind(*seen)

    def _probe_systemone(self) -> None:
        """The same at the other interface."""
        found = []
        for colour in ("red", "blue"):
            _, path, body, read = self._request(_plain(colour), Asked(COLOUR))
            first = dataclasses.replace(self._patience, silent=FIRST)
            page = self._wait(post(self._http, path, body(), self.limit, first, hint=self._hint))
            if isinstance(page, Failed):
                raise JudgeError(f"{self.spec.source}{SYSTEMONE} refuses: {page.reason}")
            try:
                found.append(read(page, time.monotonic()).probabilities)
            except ValueError as error:
                raise JudgeError(f"{self.spec.source}{SYSTEMONE}: {error}") from None
        self._refuse_blind(*found)

    def _refuse_blind(self, red: Any, blue: Any) -> None:
        if red == blue:
            raise JudgeError(
                f"{self.spec.source} answers the same of a red and of a blue picture: "
                f"{self.sampling.model!r} does not look at images (probe=false asks all the same)"
            )

    async def _raw(self, picture: Picture, question: Question) -> dict[str, Any] | Failed:
        body = body_of(picture, Asked(question), self.sampling)
        first = dataclasses.replace(self._patience, silent=FIRST)
        return await post(self._http, PATH, body, self.limit, first, hint=self._hint)

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def sampling_of(options: HTTPOptions, model: str) -> Sampling:
    """What is sent with every question."""
    return Sampling(
        model,
        options.logprobs != "off",
        options.temperature,
        options.max_tokens,
        options.detail,
        tuple(sorted(options.extra.items())),
    )


def plan_of(plan: Mapping[str, Any], sampling: Sampling) -> dict[str, Any]:
    """A judge's plan without what only says how to ask, and with the model that answers."""
    options = {k: v for k, v in plan["options"].items() if k not in OF_THE_WAY}
    return {**plan, "model": sampling.model, "options": options}


def _printable(key: str, name: str) -> str:
    if key.isascii() and key.isprintable():
        return key
    raise InputError(f"${name} holds characters that no key has")


def _content(choice: Mapping[str, Any]) -> str:
    return str((choice.get("message") or {}).get("content"))


def _plain(colour: str) -> Picture:
    buffer = io.BytesIO()
    Image.new("RGB", (224, 224), colour).save(buffer, "PNG")
    return Picture(f"{colour}.png", buffer.getvalue())
