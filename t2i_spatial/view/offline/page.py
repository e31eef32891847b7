"""Pictures, prompts and questions into one HTML file that saves a label file."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from t2i_spatial.errors import InputError
from t2i_spatial.files import atomic_write
from t2i_spatial.images import ImageUnreadableError
from t2i_spatial.labels.people import questions_for
from t2i_spatial.labels.records import PROTOCOL_VERSION
from t2i_spatial.progress import note
from t2i_spatial.run import Run
from t2i_spatial.stages.auditing.labelled import PICKED
from t2i_spatial.tables import table_to_prompts
from t2i_spatial.view.labelling import Item, items_to_label
from t2i_spatial.view.pictures import Pictures

MOST_IMAGES = 300
"""Images in one page, so that it still opens on a phone."""
SHOWN_SIZE = 768
SEED = 0


def write_label_page(run: Run, path: str | Path, limit: int = MOST_IMAGES) -> int:
    """Write a page for people without an installation; returns how many images are in it.

    It has all images that were picked: a part of them would not have the recorded probabilities.
    Where none were, it has at most `limit`, drawn by chance. Verdicts, boxes and the model are not
    in the file. What it saves is a label file as the app writes it.

    Raises:
        InputError: the run has no image that can be shown.
    """
    items = items_to_label(run)
    if len(items) > limit and not run.has(PICKED):
        chosen = np.random.default_rng(SEED).permutation(len(items))[:limit]
        note(f"{limit:,} of {len(items):,} images are in the page, drawn by chance")
        items = [items[int(k)] for k in sorted(chosen)]
    prompts = {prompt.id: prompt for prompt in table_to_prompts(run.prompts())}
    pictures = Pictures()
    shown = []
    for item in items:
        if item.prompt_id not in prompts:
            continue
        try:
            shown.append(_entry(run, item, prompts[item.prompt_id], pictures))
        except (ImageUnreadableError, OSError) as error:
            note(f"left out: {error}")
    if not shown:
        raise InputError(f"{run.path} has no image that can be labelled")
    with atomic_write(path, "w") as file:
        file.write(_page(shown))
    return len(shown)


def _entry(run: Run, item: Item, prompt: Any, pictures: Pictures) -> dict[str, Any]:
    path = run.image_path(item.image)
    picture = pictures.get(path, SHOWN_SIZE)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    questions = [
        {"id": a.question.id, "text": a.question.text, "part": a.part, "gold": a.question.gold,
         "objects": list(a.objects)}
        for a in questions_for(prompt)
    ]  # fmt: skip
    label = {name: getattr(item, name) for name in Item.__slots__ if name != "twice"}
    encoded = base64.b64encode(picture.content).decode("ascii")
    return {
        "prompt": prompt.text,
        "questions": questions,
        "picture": f"data:{picture.media_type};base64,{encoded}",
        "label": {**label, "image_sha256": digest},
    }


def _page(shown: list[dict[str, Any]]) -> str:
    """The whole document; scripts other than ours are forbidden by their hash."""
    here = files("t2i_spatial.view")
    css = (here / "static" / "app.css").read_text("utf-8")
    js = (here / "offline" / "offline.js").read_text("utf-8")
    content = json.dumps(shown, ensure_ascii=False)
    data = {
        "page": hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16],
        "protocol_version": PROTOCOL_VERSION,
        "items": shown,
    }
    policy = f"default-src 'none'; img-src data:; script-src {_hash(js)}; style-src {_hash(css)}"
    parts = {
        "policy": policy,
        "css": css,
        "js": js,
        # nothing in it can end the element: JSON means the same with its "<" written as an escape
        "data": json.dumps(data).replace("<", "\\u003c"),
    }
    page = (here / "offline" / "page.html").read_text("utf-8")
    pieces = page.split("{{ ")
    told = [pieces[0]]
    for piece in pieces[1:]:
        name, rest = piece.split(" }}", 1)
        told.append(parts[name] + rest)
    return "".join(told)


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return f"'sha256-{digest}'"
