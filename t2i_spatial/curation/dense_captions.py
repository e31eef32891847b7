"""Dense captions by a judge: what it is asked, what its reply says, and how that is made to fit.

After SpatialT2I and SPRIGHT, whose captions a vision-language model wrote to fit their images.
Here every claim about space in what it writes is checked against the boxes (`claim_checks`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from t2i_spatial.curation.box_captions import distinct
from t2i_spatial.curation.caption_length import Limit
from t2i_spatial.curation.claim_checks import CONTRADICTED, SUPPORTED, Finding
from t2i_spatial.curation.claims import RELATED
from t2i_spatial.errors import InputError
from t2i_spatial.prompts import parse_prompt
from t2i_spatial.questions import Question, Template, template

DENSE = template(
    Template(
        "dense_caption/1",
        system="You write captions of pictures, for the training of text-to-image models.",
        max_tokens=1024,
    )
)
MOST_BOXES = 40
"""Boxes that a judge is told of, the largest first."""

_ASKED = """\
Write one dense caption of this picture: what is in it, how many there are, what they look like, \
and above all where things stand to each other and in the picture.

It was made from this prompt, which may be wrong about it: {prompt}
{boxes}
Rules:
- Say only what can be seen. Left and right are those of the viewer.
- Call things by the names of the list. Name them in every sentence; no "it" or "they".
- One sentence for each fact about where something stands, as in "The cat is to the left of the \
dog."
- The most important first: the main things and where they stand to each other.
- Plain English sentences, {words} words at most. No list, no heading, no numbers of boxes, \
nothing before or after the caption."""
_BOXES = """
A detector found these things, with left, top, right and bottom as shares of the picture's width \
and height from its upper left corner:
{lines}
"""
_AGAIN = """

You have written this: {caption}
These statements of it do not fit the boxes:
{lines}
Write the caption again, by the same rules, with these statements put right or left out."""


def caption_question(
    prompt: str,
    boxes: Iterable[Mapping[str, Any]],
    size: tuple[int, int],
    limit: Limit,
    *,
    written: str | None = None,
    wrong: Sequence[Finding] = (),
) -> Question:
    """What a judge is asked about a picture.

    Args:
        prompt: what the picture was made from.
        boxes: those that are certain, with `label`, `score` and `box` in pixels.
        size: width and height of the picture; without them boxes cannot be told.
        limit: of the caption.
        written, wrong: what it wrote before, and what boxes contradict of it.
    """
    text = _ASKED.format(
        prompt=json.dumps(prompt, ensure_ascii=False),
        boxes=_told_boxes(boxes, size),
        words=limit.words,
    )
    if written is not None:
        lines = "\n".join(f"- {finding.claim.said} ({finding.reason})" for finding in wrong)
        text += _AGAIN.format(caption=json.dumps(written, ensure_ascii=False), lines=lines)
    return Question(text, "text", template=DENSE.name)


def _told_boxes(boxes: Iterable[Mapping[str, Any]], size: tuple[int, int]) -> str:
    """Boxes in words, each thing once, from left to right."""
    if not all(size):
        return ""
    found = sorted(boxes, key=lambda box: -box["score"])
    kept = distinct([box["label"] for box in found], [box["box"] for box in found])
    told = sorted((found[k] for k in kept), key=lambda box: -_area(box["box"]))[:MOST_BOXES]
    width, height = size
    lines = []
    for box in sorted(told, key=lambda box: box["box"]):
        x1, y1, x2, y2 = box["box"]
        shares = (x1 / width, y1 / height, x2 / width, y2 / height)
        lines.append(f"- {box['label']} ({', '.join(f'{share:.2f}' for share in shares)})")
    return _BOXES.format(lines="\n".join(lines)) if lines else ""


def _area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


# -- what a reply says ----------------------------------------------------------------------------

MOST_LETTERS, MOST_SENTENCES = 20_000, 60
"""Of a reply; a longer one is no caption, and what more sentences say is left out."""
_THOUGHT = re.compile(r"^.*</think>", re.DOTALL)
_LEAD = re.compile(
    r"^\W*(?:here is|here's|sure|certainly|caption|dense caption)\b[^\n]{0,60}?:\s+", re.IGNORECASE
)
_COORDINATES = re.compile(r"\s*[\[(]\s*\d*\.?\d+(?:\s*,\s*\d*\.?\d+){1,3}\s*[\])]")
_END = re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]?[A-Z0-9])")
_NO_END = re.compile(r"\b(?:e\.g|i\.e|etc|approx|vs|Mr|Mrs|Dr|St|No)\.$")


def sentences_of_reply(reply: str) -> list[str]:
    """The sentences of the caption in a reply: no thoughts, headings, marks or numbers of boxes.

    What stands behind the last full stop was cut off, and goes.

    Raises:
        InputError: there is no caption in it.

    >>> sentences_of_reply("**Caption:** A cat (0.1, 0.2, 0.4, 0.9) sits. It is left of a")
    ['A cat sits.']
    """
    if len(reply) > MOST_LETTERS:
        raise InputError(f"the reply has {len(reply):,} letters, which is no caption")
    text = _THOUGHT.sub("", reply).strip()
    text = re.sub(r"^```\w*\n?|```$", "", text).strip()
    if text[:1] in ("{", "["):
        text = _of_json(text)
    text = re.sub(r"[*_`#]{1,}", "", text)
    text = _LEAD.sub("", text)
    text = re.sub(r"(?m)^\s*(?:[-•]|\d{1,2}[.)])\s+", "", text)
    text = _COORDINATES.sub("", " ".join(text.split())).strip('"“” ')
    found = split_sentences(text)[:MOST_SENTENCES]
    if found and not re.search(r"[.!?][\"'”’)\]]*$", found[-1]):
        last = found.pop()
        found = found or [f"{last}."]
    if not found or not parse_prompt(" ".join(found)).objects:
        raise InputError(f"no thing can be read in the reply: {reply.strip()[:60]!r}")
    return found


def _of_json(text: str) -> str:
    """The caption of a reply that is JSON, which nobody asked for."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"the reply is broken JSON: {text[:60]!r}") from None
    caption = value.get("caption") if isinstance(value, dict) else None
    if not isinstance(caption, str):
        raise InputError(f"the reply is JSON without a caption: {text[:60]!r}")
    return caption


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, whitespace within them as single blanks.

    >>> split_sentences("A cat, e.g. Tom, sits. It sleeps!  Really?")
    ['A cat, e.g. Tom, sits.', 'It sleeps!', 'Really?']
    """
    found: list[str] = []
    for part in _END.split(" ".join(text.split())):
        if found and _NO_END.search(found[-1]):
            found[-1] += f" {part}"
        elif part:
            found.append(part)
    return found


# -- making it fit --------------------------------------------------------------------------------

_LEANS = re.compile(r"^(?:it|its|they|their|them|he|she|his|her|this|these|both)\b", re.IGNORECASE)


def without_contradicted(sentences: Sequence[str], findings: Iterable[Finding]) -> list[str]:
    """The sentences but those of which boxes contradict a claim, and those that lean on one.

    A sentence that begins with "it" or "they" goes with the one before it.
    """
    wrong = {f.claim.sentence for f in findings if f.fate == CONTRADICTED}
    return [sentences[k] for k in _standing(sentences, set(range(len(sentences))) - wrong)]


def shortened(
    sentences: Sequence[str], findings: Iterable[Finding], main: Iterable[str], limit: Limit
) -> list[str]:
    """As many whole sentences as fit, in their order, the most important kept.

    Args:
        findings: what boxes say to their claims.
        main: names of the main things: those of the prompt.

    First stand sentences with a relation that the boxes support, then those that name a main
    thing, then the others; the earlier first. None fits: an empty list.
    """
    if limit.count(" ".join(sentences)) <= limit.tokens:
        return list(sentences)
    related = {
        f.claim.sentence for f in findings if f.fate == SUPPORTED and f.claim.kind == RELATED
    }
    names = re.compile("|".join(rf"\b{re.escape(n)}" for n in main) or "(?!)", re.IGNORECASE)
    ranks = [0 if k in related else 1 if names.search(s) else 2 for k, s in enumerate(sentences)]
    kept: set[int] = set()
    for k in sorted(range(len(sentences)), key=lambda k: (ranks[k], k)):
        trial = _standing(sentences, kept | {k})
        if k in trial and limit.count(" ".join(sentences[i] for i in trial)) <= limit.tokens:
            kept = set(trial)
    return [sentences[k] for k in sorted(kept)]


def _standing(sentences: Sequence[str], kept: set[int]) -> list[int]:
    """Of the kept sentences those whose beginning is understood without a lost one before them."""
    standing: list[int] = []
    for k in sorted(kept):
        if k == 0 or not _LEANS.match(sentences[k]) or (standing and standing[-1] == k - 1):
            standing.append(k)
    return standing
