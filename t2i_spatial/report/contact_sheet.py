"""A contact sheet: images with their boxes, prompts and verdicts, as one picture."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from t2i_spatial.errors import InputError
from t2i_spatial.files import atomic_write
from t2i_spatial.images import ImageUnreadableError, read_image
from t2i_spatial.locations import locate
from t2i_spatial.report.gallery import Box, Card, Verdict, build_cards, choose
from t2i_spatial.run import Run

INK, MUTED, PAPER, HOLE = "#1d1d1b", "#6f6b64", "#ffffff", "#ecebe7"
ROLE_COLORS = {"subject": "#1f6fd6", "object": "#d97a00", "other": "#7a5cc7", "found": "#8b8780"}
KIND_COLORS = {"correct": "#1a7f5a", "wrong": "#c0392b"}
SCALE = 2
"""Drawn at twice the nominal size, so that a sheet stays sharp on dense screens."""

Cell = tuple[Run, Card, Verdict, str | None]
"""One picture of a sheet; the last says which of two runs it is of."""


def contact_sheet(
    run: Run,
    path: str | Path,
    *,
    protocol: str | None = None,
    images: int = 12,
    columns: int = 4,
    cell: int = 220,
    keys: Sequence[tuple[str, int]] | None = None,
) -> Path:
    """Write a PNG grid of images with boxes (blue: subject, orange: object), prompt and verdict.

    Args:
        protocol: whose verdicts and boxes are drawn; the first of the run by default.
        images: how many, taken evenly over tag, status and verdict.
        columns: images per row.
        cell: width of one image in CSS pixels; the file has twice as many.
        keys: exactly these `(prompt_id, sample)`, in this order, instead of a choice.

    Raises:
        InputError: the run has none of the asked images with a verdict.
    """
    if keys is None:
        keys = [(str(row[0]), int(row[1])) for row in choose(run, images)[0].iter_rows()]
    chosen = [
        (card, verdict)
        for card in build_cards(run, keys)
        if (verdict := _verdict_of(card, protocol)) is not None
    ]
    if not chosen:
        raise InputError(f"{run.path} has none of the asked images with a verdict")
    cells = [(run, card, verdict, None) for card, verdict in chosen]
    return _write_sheet(path, cells, min(columns, len(chosen)), cell)


def before_and_after(
    before: Run, after: Run, path: str | Path, protocol: str, *, images: int = 12, columns: int = 6
) -> Path:
    """Write a PNG of the same prompts and seeds in two runs, `before` above `after`.

    The pictures are not picked: every n-th prompt of `before`, its first sample.

    Raises:
        InputError: the runs share no image with a verdict.
    """
    numbers = sorted(set(before.images()["prompt_id"]), key=lambda x: (len(x), x))
    step = max(1, len(numbers) // images)
    keys = [(number, 0) for number in numbers[::step][:images]]
    sides = []
    for run in (before, after):
        cards = {(card.prompt_id, card.sample): card for card in build_cards(run, keys)}
        sides.append({key: (card, _verdict_of(card, protocol)) for key, card in cards.items()})
    shared = [key for key in keys if all(side.get(key, (0, None))[1] for side in sides)]
    if not shared:
        raise InputError(f"{before.path} and {after.path} share no image with a verdict")
    columns = min(columns, len(shared))
    cells: list[Cell] = []
    for start in range(0, len(shared) - len(shared) % columns, columns):
        for run, side, when in ((before, sides[0], "before"), (after, sides[1], "after")):
            for key in shared[start : start + columns]:
                card, verdict = side[key]
                assert verdict is not None
                cells.append((run, card, verdict, when))
    return _write_sheet(path, cells, columns, cell=160)


def _write_sheet(path: str | Path, cells: Sequence[Cell], columns: int, cell: int) -> Path:
    unit = cell * SCALE
    caption, gap = round(unit * 0.34), round(unit * 0.08)
    rows = -(-len(cells) // columns)
    size = (columns * (unit + gap) + gap, rows * (unit + caption + gap) + gap)
    sheet = Image.new("RGB", size, PAPER)
    for number, (run, card, verdict, when) in enumerate(cells):
        x = gap + (number % columns) * (unit + gap)
        y = gap + (number // columns) * (unit + caption + gap)
        _draw_picture(sheet, card, verdict, run, (x, y), unit)
        _draw_caption(ImageDraw.Draw(sheet), card, verdict, (x, y + unit), unit, when)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    with atomic_write(path) as file:
        file.write(buffer.getvalue())
    return locate(path)


def _verdict_of(card: Card, protocol: str | None) -> Verdict | None:
    return next((v for v in card.verdicts if protocol in (None, v.protocol)), None)


def _draw_picture(
    sheet: Image.Image, card: Card, verdict: Verdict, run: Run, at: tuple[int, int], unit: int
) -> None:
    draw = ImageDraw.Draw(sheet)
    try:
        if card.image is None:
            raise ImageUnreadableError(card.problem)
        picture = read_image(run.image_path(card.image))
    except ImageUnreadableError:
        draw.rectangle((*at, at[0] + unit, at[1] + unit), fill=HOLE)
        middle = (at[0] + unit // 2, at[1] + unit // 2)
        words = verdict.status.replace("_", " ")
        draw.text(middle, words, font=_font(unit // 15), fill=MUTED, anchor="mm")
        return
    scale = unit / max(picture.size)
    target = (round(picture.width * scale), round(picture.height * scale))
    left, top = at[0] + (unit - target[0]) // 2, at[1] + (unit - target[1]) // 2
    sheet.paste(picture.resize(target, Image.Resampling.BICUBIC), (left, top))
    for box in verdict.boxes or card.found:
        _draw_box(draw, box, (left, top), scale, (target, unit))


def _draw_box(
    draw: ImageDraw.ImageDraw,
    box: Box,
    origin: tuple[int, int],
    scale: float,
    sizes: tuple[tuple[int, int], int],
) -> None:
    (width, _), unit = sizes
    color = ROLE_COLORS[box.role]
    x, y = origin[0] + box.x * scale, origin[1] + box.y * scale
    corners = (x, y, x + box.width * scale, y + box.height * scale)
    draw.rectangle(corners, outline=color, width=max(2, unit // 110))
    label = box.label if box.score is None else f"{box.label} {box.score:.2f}"
    font, height = _font(unit // 20), unit // 15
    length = draw.textlength(label, font=font) + 10
    x = max(origin[0], min(x, origin[0] + width - length))
    y = max(origin[1], y - height)
    draw.rectangle((x, y, x + length, y + height), fill=color)
    draw.text((x + 5, y + height / 2), label, font=font, fill="white", anchor="lm")


def _draw_caption(
    draw: ImageDraw.ImageDraw,
    card: Card,
    verdict: Verdict,
    at: tuple[int, int],
    unit: int,
    when: str | None,
) -> None:
    size = unit // 15
    text = "".join(part for part, _ in card.text)
    lines = textwrap.wrap(text, width=32, max_lines=2, placeholder=" …")
    for number, line in enumerate(lines):
        place = (at[0], at[1] + size * (0.5 + 1.3 * number))
        draw.text(place, line, font=_font(size), fill=INK)
    word = verdict.kind
    if word == "graded" and verdict.value is not None:
        word = f"{verdict.value:.2f}"
    if when is not None:
        word = f"{when}: {word}"
    place = (at[0], at[1] + size * (0.7 + 1.3 * len(lines)))
    draw.text(place, word, font=_font(size), fill=KIND_COLORS.get(verdict.kind, MUTED))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=max(8, size))
