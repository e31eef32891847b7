"""The HTTP side of labelling."""

from __future__ import annotations

from threading import Lock
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from t2i_spatial.errors import InputError
from t2i_spatial.view.charts import reliability_of
from t2i_spatial.view.labelling import Desk, items_to_label, people_say
from t2i_spatial.view.library import Library

MOST_BYTES = 10_000


class Desks:
    """One desk per run, made when somebody labels there; another pick is another desk."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self._desks: dict[int, tuple[Any, Desk]] = {}
        self._lock = Lock()

    def get(self, number: int) -> Desk:
        """The desk of a run.

        Raises:
            InputError: there is no such run, or it has no images.
        """
        run = self.library.run(number)
        with self._lock:
            stamp = self.library.stamps(number)
            if number not in self._desks or self._desks[number][0] != stamp:
                self._desks[number] = (stamp, Desk(run, items_to_label(run)))
            return self._desks[number][1]


def add_labelling(app: FastAPI, library: Library, send: Any) -> None:
    """Routes under /api/label; `send(request, path)` answers with a picture."""
    desks = Desks(library)

    async def step(request: Request) -> JSONResponse:
        """`next`, `answer` or `undo`, for the annotator that the body names."""
        body = await _body(request)
        what = request.path_params["what"]
        return JSONResponse(await run_in_threadpool(_step, desks, what, body))

    def image(request: Request, run: int, item: int) -> Response:
        """A picture to label; its address says nothing of verdict or model."""
        found: Response = send(request, desks.get(run).image_path(item))
        return found

    def agreement(request: Request) -> dict[str, Any]:
        """Values of the asked protocol against what people said."""
        number = request.query_params.get("run", "0")
        run = int(number) if number.isascii() and number.isdigit() else 0
        index = library.index(run, request.query_params.get("protocol") or None)
        return reliability_of(index, people_say(library.run(run)))

    app.add_api_route("/api/label/{what}", step, methods=["POST"])
    app.add_api_route("/api/label/image/{run}/{item}", image, methods=["GET"])
    app.add_api_route("/api/reliability", agreement, methods=["GET"])


def _step(desks: Desks, what: str, body: dict[str, Any]) -> dict[str, Any]:
    desk, annotator = desks.get(_whole(body, "run")), _text(body, "annotator")
    if what == "next":
        return desk.next(annotator)
    if what == "undo":
        return desk.undo(annotator)
    if what == "answer":
        item, question = _whole(body, "item"), _text(body, "question_id")
        return desk.answer(annotator, item, question, _text(body, "answer"))
    raise InputError(f"a step is next, answer or undo, got {what[:40]!r}")


async def _body(request: Request) -> dict[str, Any]:
    """A small JSON object. Asking for its type keeps plain forms of other sites out.

    Raises:
        InputError: anything else.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise InputError("the body must be application/json")
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > MOST_BYTES:
            raise InputError(f"the body has more than {MOST_BYTES:,} bytes")
    import json

    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the body is not JSON ({error})") from None
    if not isinstance(body, dict):
        raise InputError("the body must be a JSON object")
    return body


def _text(body: dict[str, Any], name: str) -> str:
    if not isinstance(body.get(name), str):
        raise InputError(f"{name} must be a text")
    found: str = body[name]
    return found


def _whole(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{name} must be a whole number")
    return value
