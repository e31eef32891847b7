"""The HTTP side: routes over a pool of workers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as RawRequest

from t2i_spatial._version import __version__
from t2i_spatial.errors import InputError
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.rewards.flow_factory import records_of
from t2i_spatial.rewards.server import bodies
from t2i_spatial.rewards.server.flow_grpo_compat import (
    CompatRefused,
    flow_grpo_answer,
    pickled_jobs,
    scores_answer,
)
from t2i_spatial.rewards.server.guard import Guard, Intake, Refused
from t2i_spatial.rewards.server.monitoring import Monitoring
from t2i_spatial.rewards.server.pool import Overloaded, Pool, WorkerLost
from t2i_spatial.rewards.server.request_readers import (
    RequestReaders,
    until_gone,
    while_wanted,
)
from t2i_spatial.rewards.server.server_settings import ServerSettings
from t2i_spatial.rewards.server.worker import Job
from t2i_spatial.scoring.core import ItemScore
from t2i_spatial.scoring.requests import as_prompts, asked_of
from t2i_spatial.tables import IMAGE_UNREADABLE

PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": bodies.Problem, "description": text}
    for code, text in {
        400: "The body cannot be read.",
        401: "No valid token.",
        408: "The body did not arrive in time.",
        413: "The body is too large.",
        415: "Neither JSON nor multipart.",
        503: "Too much work, or a worker died; try again after Retry-After.",
        504: "Not scored in time.",
    }.items()
}
PARTS = {
    "type": "object",
    "required": ["images", "items"],
    "properties": {
        "images": {"type": "array", "items": {"type": "string", "format": "binary"}},
        "items": {"type": "string", "description": "JSON list as in the JSON form, without image."},
        "reward": {"type": "string", "description": "JSON object: name -> weight."},
        "protocols": {"type": "string", "description": "JSON list of names."},
    },
}


def create_app(settings: ServerSettings, pool: Pool, monitoring: Monitoring) -> Any:
    """The ASGI application over a started pool."""
    app = FastAPI(
        title="t2i-spatial",
        version=__version__,
        description="Spatial rewards for generated images.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    intake = Intake(settings)
    readers = RequestReaders()
    _add_pages(app, settings, pool, monitoring)
    _add_scoring(app, settings, pool, intake, readers)
    if settings.compat is not None:
        _add_compat(app, settings, pool, intake, readers)

    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)
    return Guard(app, settings, monitoring)


async def _refused(request: Request, error: Any) -> Response:
    request.scope["note"] = str(error)
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if error.code == 408:
        headers["Connection"] = "close"
    return JSONResponse({"error": str(error)}, error.code, headers)


async def _http_error(request: Request, error: Any) -> Response:
    request.scope["note"] = str(error.detail)
    return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)


async def _unexpected(request: Request, error: Any) -> Response:
    return JSONResponse({"error": "unexpected error; see the log of the server"}, 500)


def _add_pages(app: FastAPI, settings: ServerSettings, pool: Pool, monitoring: Monitoring) -> None:
    async def health() -> JSONResponse:
        """Whether a worker takes work."""
        ready = len(pool.ready)
        state = {
            "status": "ok" if ready else "starting",
            "workers_ready": ready,
            "workers": len(pool.devices),
            "worker_restarts": pool.restarts,
            "queue": pool.queued,
        }
        return JSONResponse(state, 200 if ready else 503)

    async def version() -> dict[str, Any]:
        """What scores here: package, detector and its thresholds, protocols, limits."""
        return {
            "version": __version__,
            "detector": settings.detector.plan(),
            "color": settings.color,
            "reward": dict(settings.reward.weights),
            "protocols": list(PROTOCOLS),
            "flow_grpo_compat": settings.compat,
            "limits": {
                name: getattr(settings, name)
                for name in ("max_images", "max_bytes", "max_pixels", "max_queue", "timeout")
            },
        }

    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(monitoring.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    starting = {"description": "No worker is ready."}
    app.add_api_route("/health", health, methods=["GET"], responses={503: starting})
    app.add_api_route("/version", version, methods=["GET"])
    app.add_api_route("/metrics", metrics, methods=["GET"], response_class=PlainTextResponse)


def _add_scoring(
    app: FastAPI, settings: ServerSettings, pool: Pool, intake: Intake, readers: RequestReaders
) -> None:
    schema = bodies.ScoreRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = schema.pop("$defs")
    content = {"application/json": {"schema": schema}, "multipart/form-data": {"schema": PARTS}}

    async def score(request: Request) -> Response:
        """Score images: JSON with base64 pictures, or multipart."""
        async with _body(request, intake) as body:
            until = time.monotonic() + settings.timeout
            items, _ = await _parse(request, body, settings, readers, until)
            jobs = [job for _, job in items if isinstance(job, Job)]
            scored = iter(await _scores(request, pool, jobs, until))
        answers = [
            bodies.item_out(name, next(scored) if isinstance(job, Job) else job)
            for name, job in items
        ]
        faults = [a for a in answers if a.status in (bodies.BAD_REQUEST, IMAGE_UNREADABLE)]
        bare = [a for a in answers if a.reward is None]
        request.scope["note"] = f"{len(answers)} images" + (
            f", {len(bare)} without a reward: {bare[0].reason}" if bare else ""
        )
        page = bodies.ScoreAnswer(
            rewards=[a.reward for a in answers], errors=len(faults), items=answers
        )
        return Response(
            page.model_dump_json(), 422 if faults else 200, media_type="application/json"
        )

    async def compute(request: Request) -> Response:
        """The same for Flow-Factory's remote reward client; one bad image refuses the request."""
        async with _body(request, intake) as body:
            until = time.monotonic() + settings.timeout
            try:
                jobs = await readers.read(request, until, _compute_jobs, body, settings)
            except InputError as error:
                raise Refused(422, str(error)) from None
            scores = await _scores(request, pool, jobs, until)
        for number, item in enumerate(scores):
            if item.reward is None:
                raise Refused(422, f"image {number}: {item.reason}")
        request.scope["note"] = f"{len(scores)} images"
        return JSONResponse({"rewards": [item.reward for item in scores]})

    app.add_api_route(
        "/score",
        score,
        methods=["POST"],
        response_model=bodies.ScoreAnswer,
        responses={
            **PROBLEMS,
            422: {
                "model": bodies.ScoreAnswer | bodies.Problem,
                "description": "Some items are at fault; the others are scored all the same. "
                "Or nothing in the request could be read as asked.",
            },
        },
        openapi_extra={"requestBody": {"required": True, "content": content}},
    )
    compute_content = {"application/json": {"schema": bodies.ComputeRequest.model_json_schema()}}
    app.add_api_route(
        "/compute",
        compute,
        methods=["POST"],
        response_model=bodies.ComputeAnswer,
        responses={**PROBLEMS, 422: {"model": bodies.Problem, "description": "What is wrong."}},
        openapi_extra={"requestBody": {"required": True, "content": compute_content}},
    )
    original = app.openapi

    def openapi() -> dict[str, Any]:
        page: dict[str, Any] = original()
        page.setdefault("components", {}).setdefault("schemas", {}).update(definitions)
        return page

    app.openapi = openapi  # type: ignore[method-assign]


def _add_compat(
    app: FastAPI, settings: ServerSettings, pool: Pool, intake: Intake, readers: RequestReaders
) -> None:
    protocol = settings.compat
    assert protocol is not None

    async def flow_grpo(request: Request) -> Response:
        try:
            async with _body(request, intake) as body:
                until = time.monotonic() + settings.timeout
                weights, most = settings.reward.weights, settings.max_images
                jobs, only_strict = await readers.read(
                    request, until, pickled_jobs, body, protocol, weights, most
                )
                scores = await _scores(request, pool, jobs, until)
                if only_strict is None:
                    page = scores_answer(scores)
                else:
                    page = flow_grpo_answer(jobs, scores, only_strict, protocol)
        except (InputError, CompatRefused) as error:
            raise Refused(400, str(error)) from None
        except Refused as error:
            # flow_grpo's client retries 500 and nothing else; verl-omni's 408, 429 and 5xx
            code = 500 if error.code in (503, 504) else error.code
            raise Refused(code, str(error), error.retry_after) from None
        return Response(page, media_type="application/octet-stream")

    app.add_api_route("/", flow_grpo, methods=["POST"], include_in_schema=False)


@contextlib.asynccontextmanager
async def _body(request: Request, intake: Intake) -> AsyncIterator[bytes]:
    try:
        body = await intake.read(request)
    except ClientDisconnect:
        raise Refused(400, "the client left before its request was complete") from None
    try:
        yield body
    finally:
        intake.free(body)


async def _parse(
    request: Request, body: bytes, settings: ServerSettings, readers: RequestReaders, until: float
) -> bodies.Parsed:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    rest = (settings.reward, settings.protocols, settings.max_images)
    try:
        if kind == "application/json":
            return await readers.read(request, until, bodies.from_json, body, *rest)
        if kind == "multipart/form-data":
            # in a thread of its own: a parser that is kept busy must not keep the server busy
            images, fields = await readers.read(
                request, until, lambda: asyncio.run(_parts(request, body, settings.max_images))
            )
            return await readers.read(request, until, bodies.from_parts, images, fields, *rest)
    except InputError as error:
        raise Refused(422, str(error)) from None
    except UnicodeError as error:  # of a charset that the client chose
        raise Refused(422, f"the form is not readable text ({error})") from None
    raise Refused(415, f"send application/json or multipart/form-data, not {kind[:80]!r}")


async def _parts(
    request: Request, body: bytes, max_images: int
) -> tuple[list[bytes], dict[str, str]]:
    """Files and text fields of a multipart body that has already been read."""

    async def replay() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    raw = RawRequest(request.scope, replay)
    form = await raw.form(max_files=max_images + 1, max_fields=8, max_part_size=max(1, len(body)))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(form.close)
        images, fields = [], {}
        for name, value in form.multi_items():
            if name == "images" and not isinstance(value, str):
                images.append(await value.read())
            elif isinstance(value, str):
                fields[name] = value
            else:
                raise InputError(f"a file in the field {name[:80]!r}; files go into `images`")
        return images, fields


def _compute_jobs(body: bytes, settings: ServerSettings) -> list[Job]:
    asked = bodies.validated(bodies.ComputeRequest, bodies.load_json(body))
    texts, images = asked.prompt or asked.prompts or [], asked.image or asked.images or []
    if not texts or len(images) != len(texts):
        raise InputError(f"{len(images)} images for {len(texts)} prompts")
    if len(images) > settings.max_images:
        raise InputError(f"{len(images)} images in a request; at most {settings.max_images}")
    extra = asked.kwargs or asked.extra or {}
    prompts = as_prompts(while_wanted(asked_of(texts, records_of(extra))))
    return [
        Job(bodies.decode_base64(image), prompt, settings.reward.weights)
        for image, prompt in zip(images, prompts, strict=True)
    ]


async def _scores(
    request: Request, pool: Pool, jobs: Sequence[Job], until: float
) -> list[ItemScore]:
    """Scores of jobs, all of them or a refusal; stops waiting when the client is gone."""
    timeout = max(0.0, until - time.monotonic())
    if not jobs:
        return []
    try:
        futures = await pool.submit(jobs)
    except Overloaded as error:
        raise Refused(503, str(error), error.retry_after) from None
    every = asyncio.gather(*futures)
    gone = asyncio.create_task(until_gone(request))
    try:
        waiting: set[asyncio.Future[Any]] = {every, gone}
        await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if every.done():
            return list(await every)
        if gone.done():
            raise Refused(400, "the client left before its answer was ready")
        raise Refused(504, "not scored in time")
    except WorkerLost as error:
        raise Refused(503, str(error), 1) from None
    finally:
        gone.cancel()
        if not every.done():
            every.cancel()
        for future in futures:
            future.cancel()
        await asyncio.gather(every, gone, return_exceptions=True)
