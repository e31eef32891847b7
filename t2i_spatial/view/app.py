"""The HTTP side of the explorer: the page, its data, and pictures."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import polars as pl
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from t2i_spatial._version import __version__
from t2i_spatial.errors import InputError, T2ISpatialError
from t2i_spatial.files import explain
from t2i_spatial.images import ImageUnreadableError
from t2i_spatial.run import Run
from t2i_spatial.view import charts, evidence
from t2i_spatial.view.access import Access
from t2i_spatial.view.index import Index, row_of
from t2i_spatial.view.label_routes import add_labelling
from t2i_spatial.view.library import Library
from t2i_spatial.view.pictures import Pictures
from t2i_spatial.view.query import Answer, parse_query

MOST_ROWS = 500
"""Images per request."""
KINDS = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}


def create_app(runs: Sequence[Run], *, token: str | None = None, local_only: bool = True) -> Any:
    """The ASGI application over these runs.

    Args:
        token: secret that is needed to see anything, or `None`.
        local_only: answer only what is addressed to this machine by a loopback name.
    """
    app = FastAPI(title="t2i-spatial view", version=__version__, docs_url=None, redoc_url=None,
                  openapi_url=None, redirect_slashes=False)  # fmt: skip
    library, pictures = Library(runs), Pictures()
    _add_static(app)
    _add_explorer(app, library)
    _add_pictures(app, library, pictures)
    add_labelling(app, library, lambda request, path: send_picture(request, pictures, path, None))
    app.add_exception_handler(T2ISpatialError, _refused)
    app.add_exception_handler(pl.exceptions.PolarsError, _damaged)
    return Access(app, token, local_only)


def _refused(_: Request, error: Any) -> Response:
    return JSONResponse({"error": str(error)}, 404 if _is_absent(error) else 400)


def _is_absent(error: Any) -> bool:
    return isinstance(error, ImageUnreadableError)


def _damaged(_: Request, error: Any) -> Response:
    return JSONResponse({"error": explain(error) or str(error).splitlines()[0]}, 500)


def _add_static(app: FastAPI) -> None:
    folder = files("t2i_spatial.view") / "static"
    contents = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}

    def page() -> Response:
        return Response(contents["index.html"], media_type=KINDS["html"], headers=_fresh())

    def static(name: str) -> Response:
        if name not in contents:
            return JSONResponse({"error": "there is no such file"}, 404)
        kind = KINDS.get(name.rpartition(".")[2], "application/octet-stream")
        return Response(contents[name], media_type=kind, headers=_fresh())

    app.add_api_route("/", page, methods=["GET", "HEAD"])
    app.add_api_route("/static/{name}", static, methods=["GET", "HEAD"])


def _fresh() -> dict[str, str]:
    return {"Cache-Control": "no-cache"}


def _asked(request: Request, library: Library) -> tuple[Index, Answer, int, int | None]:
    """Index, images, run and other run that the address names."""
    items = request.query_params.multi_items()
    named = dict(items)
    run, other = _number(named, "run", 0), _number(named, "other", None)
    index, found = library.answer(
        run or 0,
        named.get("protocol") or None,
        parse_query(items),
        other=other,
        with_witnesses=named.get("with") == "witnesses",
    )
    return index, found, run or 0, other


def _number(named: dict[str, str], name: str, default: int | None) -> int | None:
    text = named.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InputError(f"{name} must be a number, got {text[:40]!r}")
    return int(text)


def _add_explorer(app: FastAPI, library: Library) -> None:
    def runs() -> dict[str, Any]:
        return {
            "version": __version__,
            "runs": [library.about(number) for number in range(len(library.runs))],
        }

    def found(request: Request) -> dict[str, Any]:
        """How many images are meant, and how many of each kind."""
        index, answer, _, _ = _asked(request, library)
        return {
            "protocol": index.protocol,
            "total": answer.total,
            "matched": len(answer.rows),
            "facets": answer.facets,
        }

    def page(request: Request) -> dict[str, Any]:
        """Some of the images that are meant, in order, with those of the other run."""
        index, answer, run, other = _asked(request, library)
        named = dict(request.query_params)
        offset = _number(named, "offset", 0) or 0
        limit = min(_number(named, "limit", 60) or 60, MOST_ROWS)
        rows = answer.rows[offset : offset + limit]
        told: dict[str, Any] = {"offset": offset, "rows": [row_of(index, int(r)) for r in rows]}
        if other is not None:
            _, there, partner = library.partners(run, other, named.get("protocol") or None)
            beside = [int(partner[r]) for r in rows]
            told["others"] = [row_of(there, r) if r >= 0 else None for r in beside]
        return told

    def evidence_(request: Request) -> dict[str, Any]:
        """Boxes and reasons of these rows."""
        named = dict(request.query_params)
        index = library.index(_number(named, "run", 0) or 0, named.get("protocol") or None)
        rows = [int(r) for r in named.get("rows", "").split(",") if r.isascii() and r.isdigit()]
        rows = [r for r in rows[:MOST_ROWS] if r < len(index) and index.prompt[r] >= 0]
        run = library.run(_number(named, "run", 0) or 0)
        all_boxes = named.get("boxes") == "all"
        return {"evidence": evidence.evidence_of(run, index, rows, with_found=all_boxes)}

    def prompt(request: Request) -> dict[str, Any]:
        """Everything about one prompt, in one run or in two."""
        named = dict(request.query_params)
        numbers = [_number(named, "run", 0), _number(named, "other", None)]
        chosen = [n for n in numbers if n is not None]
        pages = [evidence.prompt_page(library.run(n), named.get("prompt", "")) for n in chosen]
        return {"runs": chosen, "pages": pages}

    def masks(request: Request) -> dict[str, Any]:
        named = dict(request.query_params)
        run = library.run(_number(named, "run", 0) or 0)
        sample = _number(named, "sample", 0) or 0
        return {"masks": evidence.masks_of(run, named.get("prompt", ""), sample)}

    def histogram(request: Request) -> dict[str, Any]:
        index, answer, _, _ = _asked(request, library)
        what = request.query_params.get("what", "value")
        if what not in ("value", "margin"):
            raise InputError(f"what must be value or margin, got {what[:40]!r}")
        return charts.histogram(index, answer.rows, what)

    for path, route in (
        ("/api/runs", runs),
        ("/api/found", found),
        ("/api/page", page),
        ("/api/evidence", evidence_),
        ("/api/prompt", prompt),
        ("/api/masks", masks),
        ("/api/histogram", histogram),
    ):
        app.add_api_route(path, _plain(route), methods=["GET"])


def _plain(route: Any) -> Any:
    """The route, its answer written by us: FastAPI's own conversion refuses infinite numbers."""
    import functools
    import inspect

    @functools.wraps(route)
    def answered(*arguments: Any, **named: Any) -> Response:
        return JSONResponse(_finite(route(*arguments, **named)))

    answered.__signature__ = inspect.signature(route, eval_str=True)  # type: ignore[attr-defined]
    return answered


def _finite(value: Any) -> Any:
    """JSON has no infinities: such numbers are null; times are text."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {str(key): _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return value


def _add_pictures(app: FastAPI, library: Library, pictures: Pictures) -> None:
    def picture(request: Request, run: int, row: int) -> Response:
        path = library.image_path(run, row)
        size = _number(dict(request.query_params), "size", None)
        if path is None:
            raise ImageUnreadableError("this image was never made")
        return send_picture(request, pictures, path, size)

    app.add_api_route("/image/{run}/{row}", picture, methods=["GET"])


def send_picture(request: Request, pictures: Pictures, path: Any, size: int | None) -> Response:
    """A picture, or "not modified" for a browser that has it.

    Raises:
        ImageUnreadableError: there is none.
    """
    try:
        found = pictures.get(path, size)
    except OSError as error:
        raise ImageUnreadableError(f"{path.name}: {error.strerror or error}") from None
    headers = {"Cache-Control": "private, no-cache", "ETag": found.etag}
    if request.headers.get("if-none-match") == found.etag:
        return Response(status_code=304, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)
