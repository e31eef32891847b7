"""Where the words of a phrase are among the text tokens that a denoiser reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from t2i_spatial.errors import InputError
from t2i_spatial.training.families import Family

_LOWERED = ("PixArtTransformer2DModel", "SanaTransformer2DModel")
"""Read by pipelines that turn captions to lower case."""


def phrase_places(
    family: Family, text: str, phrase: str, phrases: Sequence[str] = ()
) -> list[int] | None:
    """Places of a phrase's tokens among those that the denoiser reads; `None` if it is not there.

    UNets read the tokens of CLIP, SD3 those of CLIP and then of T5, other transformers those of
    one language model, without the words of a template that the family drops.

    Args:
        phrases: of all objects; "dog" is not looked for inside "hot dog" if that is one of them.

    Raises:
        InputError: a tokenizer that does not tell where its tokens stand.
    """
    pipe: Any = family.pipe
    kind = type(family.denoiser).__name__
    if kind.startswith("UNet"):
        if not type(pipe.tokenizer).__name__.startswith("CLIP"):
            raise InputError(f"attention losses cannot read the text of {family.title}")
        return phrase_positions(pipe.tokenizer, text, phrase, phrases)
    tokenizer, limit = family.longest_caption()
    if kind == "SD3Transformer2DModel":
        found = phrase_positions(pipe.tokenizer, text, phrase, phrases) or []
        if pipe.tokenizer_3 is not None:
            after = int(pipe.tokenizer.model_max_length)
            later = _by_offsets(tokenizer, text, text, phrase, phrases)
            found += [after + place for place in later if place < limit]
        return found or None
    if hasattr(pipe, "system_message"):
        raise InputError("attention losses cannot read FLUX.2 dev: its chat hides the caption")
    text = text.lower() if kind in _LOWERED else text
    places = _by_offsets(tokenizer, family.as_read(text), text, phrase, phrases)
    dropped = max(0, limit - family.call_default("max_sequence_length"))
    return [place - dropped for place in places if dropped <= place < limit] or None


def _by_offsets(
    tokenizer: Any, read: str, text: str, phrase: str, phrases: Sequence[str]
) -> list[int]:
    """Tokens of the first such phrase of a caption inside what is read of it."""
    if tokenizer.padding_side == "left":
        raise InputError("attention losses cannot read tokens that are padded on the left")
    span = _span(text, phrase, phrases)
    if span is None:
        return []
    before = read.rindex(text)
    start, end = before + span[0], before + span[1]
    try:
        offsets = tokenizer(read, return_offsets_mapping=True).offset_mapping
    except NotImplementedError:
        kind = type(tokenizer).__name__
        raise InputError(
            f"attention losses need a tokenizer with offsets; {kind} has none"
        ) from None
    return [k for k, (first, last) in enumerate(offsets) if max(first, start) < min(last, end)]


def _span(text: str, phrase: str, phrases: Sequence[str]) -> tuple[int, int] | None:
    """Characters of the first whole phrase that lies in no longer one."""
    longer = [
        match.span()
        for other in phrases
        if len(other) > len(phrase)
        for match in _whole(other).finditer(text)
    ]
    for match in _whole(phrase).finditer(text):
        start, end = match.span()
        if not any(first <= start and end <= last for first, last in longer):
            return start, end
    return None


def _whole(phrase: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(phrase)}(?!\w)", re.IGNORECASE)


def phrase_positions(
    tokenizer: Any, text: str, phrase: str, phrases: Sequence[str] = ()
) -> list[int] | None:
    """Positions of a phrase's tokens in what CLIP reads, counting the start token; or `None`.

    Args:
        phrases: as `phrase_places`.
    """
    whole = tokenizer(text).input_ids
    part, *others = (tokenizer(words).input_ids[1:-1] for words in (phrase, *phrases))
    longer = [
        range(start, start + len(other))
        for other in others
        if len(other) > len(part)
        for start in _starts(whole, other)
    ]
    for start in _starts(whole, part):
        end = start + len(part)
        inside = any(place.start <= start and end <= place.stop for place in longer)
        if end <= tokenizer.model_max_length and not inside:
            return list(range(start, end))
    return None


def _starts(whole: list[int], part: list[int]) -> list[int]:
    places = range(1, len(whole) - len(part))
    return [start for start in places if whole[start : start + len(part)] == part]
