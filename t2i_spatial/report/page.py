"""The page: numbers and cards into one HTML file without any outside reference."""

from __future__ import annotations

import json
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from jinja2.loaders import FunctionLoader
from markupsafe import Markup

from t2i_spatial._version import __version__
from t2i_spatial.report.content import read_curation, read_facts, read_protocols
from t2i_spatial.report.gallery import build_gallery
from t2i_spatial.run import Run


def render_report(run: Run, *, max_images: int = 400, thumbnail: int = 320) -> str:
    """The report of a run as one HTML document.

    Every text from a table is escaped; the page loads nothing and names no outside address.

    Args:
        run: a run with verdicts.
        max_images: most images in the gallery, taken evenly over tag, status and verdict.
        thumbnail: longer side of the embedded pictures in pixels.

    Raises:
        InputError: the run has neither verdicts nor a summary.
    """
    protocols = read_protocols(run)
    gallery = build_gallery(run, max_images, thumbnail)
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(
            run_name=run.path.resolve().name,
            created=str(run.manifest.get("created", ""))[:10],
            version=__version__,
            facts=read_facts(run),
            protocols=protocols,
            gallery=gallery,
            order=[protocol.name for protocol in protocols],
            curation=read_curation(run),
            manifest=json.dumps(run.manifest, indent=2, ensure_ascii=False),
            css=Markup(_template("report.css")),
            js=Markup(_template("report.js")),
        )
    )


def _template(name: str) -> str:
    return (files("t2i_spatial.report") / "templates" / name).read_text("utf-8")


def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = _percent
    environment.filters["subscript"] = _subscript
    environment.filters["words"] = lambda name: str(name).replace("_", " ")
    return environment


def _subscript(name: str) -> Markup | str:
    """`VISOR_cond` with its subscript, as the paper prints it."""
    head, _, tail = name.partition("_")
    if head.isupper() and tail:
        return Markup("{}<sub>{}</sub>").format(head, tail.replace("_", " "))
    return name.replace("_", " ")


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f}"
