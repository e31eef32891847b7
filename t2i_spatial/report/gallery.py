"""Which images the gallery shows, and what stands on each card."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from t2i_spatial import parts
from t2i_spatial.report.answered import Answered, answered, disputes
from t2i_spatial.report.content import verdict_tables
from t2i_spatial.report.thumbnails import BUDGET_BYTES, Thumbnail, make_thumbnails
from t2i_spatial.run import Run
from t2i_spatial.tables import IMAGE_MISSING, KEY, SCORED, VERDICTS

KINDS = ("correct", "wrong", "graded", "unscored")
"""What a verdict can be; graded ones have a value and no yes or no."""
MAX_BOXES = 24
"""Boxes drawn per image; the rest is counted on the card."""


@dataclass(frozen=True)
class Box:
    """A box in pixels of the image: `role` is subject, object, other or found."""

    role: str
    label: str
    score: float | None
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Verdict:
    """What one protocol says about one image."""

    protocol: str
    kind: str
    status: str
    value: float | None
    margin: float | None
    reason: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Card:
    """One image of the gallery."""

    prompt_id: str
    sample: int
    seed: int | None
    text: tuple[tuple[str, str], ...]
    tag: str
    image: str | None
    thumbnail: Thumbnail | None
    problem: str
    found: tuple[Box, ...]
    n_hidden_boxes: int
    verdicts: tuple[Verdict, ...]
    kept: bool | None
    selection: str
    answered: tuple[Answered, ...] = ()
    disputed: float = 0.0
    """How far boxes and judge are apart where they say the opposite."""
    sides: tuple[str, ...] = ()
    """What boxes say and what the judge says, where they do."""

    @property
    def search(self) -> str:
        """Text that the search field looks through, lower case."""
        words = "".join(part for part, _ in self.text)
        labels = " ".join(dict.fromkeys(box.label for box in self.found))
        return f"{words} {self.prompt_id} {self.tag} {labels}".lower()


@dataclass(frozen=True)
class Gallery:
    """The cards, how many images there are in all, and what the filters offer."""

    cards: tuple[Card, ...]
    n_images: int
    tags: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    n_disputed: int = 0
    """Images of the run of which boxes and judge say the opposite."""


STRATUM = ("tag", "status", "correct")


def choose(run: Run, limit: int, *, disputed: bool = False) -> tuple[pl.DataFrame, int]:
    """At most `limit` images, the same share of attention for every kind of outcome.

    Images are grouped by tag, status and verdict of the first protocol; the groups take turns
    until the limit is reached, in the order of a hash of prompt and sample within each group.

    Args:
        disputed: give half of the places to images of which boxes and a judge say the opposite, as
            far as there are any, the surest disagreements before others.

    Returns:
        `(prompt_id, sample)` of the chosen images in the order of choice, and how many there are.
    """
    best = pl.DataFrame(schema={name: VERDICTS[name] for name in (*KEY, *STRATUM)})
    total = 0
    for rows in _outcomes(run):
        total += len(rows)
        best = _first_of_each(pl.concat([best, rows]), limit)
    turn = pl.int_range(pl.len()).over(STRATUM).alias("turn")
    others = best.with_columns(turn).sort(["turn", *STRATUM], maintain_order=True).select(KEY)
    first = disputes(verdict_tables(run)).head((limit + 1) // 2 if disputed else 0).select(KEY)
    return pl.concat([first, others]).unique(maintain_order=True).head(limit), total


def _outcomes(run: Run) -> Iterator[pl.DataFrame]:
    """What the images are grouped by, piece by piece."""
    tables = verdict_tables(run)
    if tables:
        yield from parts.batches(next(iter(tables.values())), [*KEY, *STRATUM])
    elif run.has("images.parquet"):
        run.require_finished("generate", "import")
        tag, correct = (pl.lit(None, VERDICTS[name]).alias(name) for name in ("tag", "correct"))
        for rows in parts.batches(run.table_path("images.parquet"), [*KEY, "status"]):
            yield rows.select(*KEY, tag, "status", correct)


def _first_of_each(rows: pl.DataFrame, limit: int) -> pl.DataFrame:
    """The first `limit` of every group, each image once."""
    once = rows.unique(subset=list(KEY), keep="first", maintain_order=True)
    ordered = once.sort(pl.struct(KEY).hash(), maintain_order=True)
    return ordered.group_by(STRATUM, maintain_order=True).head(limit).select(rows.columns)


def build_gallery(run: Run, limit: int, thumbnail: int) -> Gallery:
    """Cards for at most `limit` images with pictures of at most `thumbnail` pixels.

    Fewer are shown when their pictures would exceed `BUDGET_BYTES`. An empty run gives no cards.
    """
    chosen, n_images = choose(run, limit, disputed=True)
    candidates = build_cards(run, [(row[0], row[1]) for row in chosen.iter_rows()])
    paths = [None if card.image is None else run.image_path(card.image) for card in candidates]
    cards, spent = [], 0
    for card, picture in zip(candidates, make_thumbnails(paths, thumbnail), strict=True):
        if isinstance(picture, Thumbnail):
            spent += len(picture.uri)
            if spent > BUDGET_BYTES:
                break
            cards.append(replace(card, thumbnail=picture))
        else:
            cards.append(replace(card, problem=picture or card.problem))
    order = {prompt_id: n for n, prompt_id in enumerate(_prompt_order(run, cards))}
    cards.sort(key=lambda c: (order.get(c.prompt_id, len(order)), c.prompt_id, c.sample))
    seen = [verdict for card in cards for verdict in card.verdicts]
    return Gallery(
        tuple(cards),
        n_images,
        tuple(sorted({card.tag for card in cards if card.tag})),
        tuple(sorted({verdict.status for verdict in seen})),
        tuple(kind for kind in KINDS if kind in {verdict.kind for verdict in seen}),
        len(disputes(verdict_tables(run))),
    )


def build_cards(run: Run, keys: Sequence[tuple[str, int]]) -> list[Card]:
    """Cards without pictures for these `(prompt_id, sample)`, in this order."""
    chosen = pl.DataFrame(
        {"prompt_id": [key[0] for key in keys], "sample": [key[1] for key in keys]},
        schema={"prompt_id": pl.String, "sample": pl.Int32},
    )
    ids = chosen.select("prompt_id").unique()
    prompts = {row["prompt_id"]: row for row in _rows_of(run, "prompts.parquet", ids)}
    images = _by_key(_rows_of(run, "images.parquet", chosen))
    detections = _by_key(_rows_of(run, "detections/main.parquet", chosen))
    selection: dict[tuple[str, int], dict[str, Any]] = {}
    if run.has("selection.parquet"):
        selection = _by_key(_rows_of(run, "selection.parquet", chosen))
    verdicts: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for path in verdict_tables(run).values():
        for row in _rows_of(run, f"verdicts/{path.name}", chosen):
            verdicts.setdefault((row["prompt_id"], row["sample"]), []).append(row)
    said = answered(run, chosen)
    apart = {(row[0], row[1]): row[2:] for row in disputes(verdict_tables(run)).iter_rows()}
    cards = [
        _card(
            key,
            prompts.get(key[0], {}),
            images.get(key, {}),
            detections.get(key, {}),
            verdicts.get(key, []),
            selection.get(key),
        )
        for key in keys
    ]
    return [
        replace(card, answered=said.get(key, ()), disputed=far, sides=tuple(sides))
        for key, card in zip(keys, cards, strict=True)
        for far, *sides in [apart.get(key, (0.0,))]
    ]


def _prompt_order(run: Run, cards: Sequence[Card]) -> list[str]:
    if not run.has("prompts.parquet"):
        return []
    shown = {card.prompt_id for card in cards}
    ids = parts.scan(run.path / "prompts.parquet", ["prompt_id"])
    found = ids.filter(pl.col("prompt_id").is_in(list(shown))).collect(engine="streaming")
    return found["prompt_id"].to_list()


def _rows_of(run: Run, name: str, chosen: pl.DataFrame) -> list[dict[str, Any]]:
    if not run.has(name):
        return []
    # the ids are looked at first, and everything else only where one of them fits
    near = pl.col("prompt_id").is_in(chosen["prompt_id"].unique().implode())
    table = parts.scan(run.path / name).filter(near)
    joined = table.join(chosen.lazy(), on=chosen.columns, how="semi", maintain_order="left")
    return joined.collect(engine="streaming").to_dicts()


def _by_key(rows: list[dict[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
    return {(row["prompt_id"], row["sample"]): row for row in rows}


def _card(
    key: tuple[str, int],
    prompt: dict[str, Any],
    image: dict[str, Any],
    detection: dict[str, Any],
    rows: list[dict[str, Any]],
    selected: dict[str, Any] | None,
) -> Card:
    roles = _roles(prompt)
    records = sorted(detection.get("detections") or (), key=lambda r: -(r["score"] or 0.0))
    found = tuple(box for record in records[:MAX_BOXES] if (box := _box("found", record)))
    status = image.get("status") or detection.get("status")
    row = image or detection
    file = None if row.get("status") == IMAGE_MISSING else row.get("image")
    tags = [row["tag"] for row in rows if row["tag"]] + [prompt.get("tag") or ""]
    selection = ""
    if selected is not None and not selected["kept"]:
        selection = selected["reason"] or selected["filter"] or ""
    return Card(
        prompt_id=key[0],
        sample=key[1],
        seed=image.get("seed"),
        text=_marked(prompt.get("text") or "", roles),
        tag=tags[0],
        image=file,
        thumbnail=None,
        problem="" if file else row.get("reason") or status or "no image",
        found=found,
        n_hidden_boxes=max(0, len(records) - MAX_BOXES),
        verdicts=tuple(_verdict(row, roles) for row in rows),
        kept=None if selected is None else bool(selected["kept"]),
        selection=selection,
    )


def _verdict(row: dict[str, Any], roles: dict[str, str]) -> Verdict:
    if row["status"] != SCORED:
        kind = "unscored"
    elif row["correct"] is None:
        kind = "graded"
    else:
        kind = "correct" if row["correct"] else "wrong"
    boxes = []
    for record in (row["evidence"] or ())[:MAX_BOXES]:
        role = record["role"] if record["role"] in ("subject", "object") else None
        box = _box(role or roles.get(record["label"] or "", "other"), record)
        if box:
            boxes.append(box)
    return Verdict(
        row["protocol"],
        kind,
        row["status"],
        row["value"],
        row["margin"],
        row["reason"] or "",
        tuple(boxes),
    )


def _box(role: str, record: dict[str, Any]) -> Box | None:
    corners = record.get("box")
    if corners is None or len(corners) != 4:
        return None
    x1, y1, x2, y2 = corners
    score = record.get("score")
    return Box(role, record.get("label") or "", score, x1, y1, max(0.0, x2 - x1), max(0.0, y2 - y1))


def _roles(prompt: dict[str, Any]) -> dict[str, str]:
    """Object name -> subject or object, by the first relation of the prompt."""
    relations, objects = prompt.get("relations") or (), prompt.get("objects") or ()
    if not relations:
        return {}
    first = relations[0]
    roles = {objects[first["object"]]["name"]: "object"}
    roles[objects[first["subject"]]["name"]] = "subject"
    return roles


def _marked(text: str, roles: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """The text in pieces `(words, role)`, so that names can carry the colour of their box.

    >>> _marked("a cat above a dog", {"cat": "subject", "dog": "object"})
    (('a ', ''), ('cat', 'subject'), (' above a ', ''), ('dog', 'object'))
    """
    if not roles:
        return ((text, ""),) if text else ()
    names = "|".join(re.escape(name) for name in sorted(roles, key=len, reverse=True))
    pieces = re.split(rf"\b({names})\b", text)
    return tuple((piece, roles.get(piece, "")) for piece in pieces if piece)
