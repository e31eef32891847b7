"""Phrases for detectors that read one caption of several phrases (Grounding DINO's way).

A caption is "cat. traffic light. " as token ids. The label of a box comes from the token span of
the asked phrase, never from comparing strings: merged ("car taxi"), cut ("##van") or reordered
labels cannot arise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_DELIMITERS = re.compile(r"[.?]")


def clean_phrase(text: str) -> str:
    """Lower case, one space between words, and no "." or "?", which would end the phrase.

    >>> clean_phrase(" St. Bernard  dog?")
    'st bernard dog'
    """
    return " ".join(_DELIMITERS.sub(" ", text.lower()).split())


@dataclass(frozen=True)
class Caption:
    """One pass over an image: its text, token ids, and each phrase's index and token span."""

    text: str
    ids: tuple[int, ...]
    phrases: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]


class CaptionBuilder:
    """Builds the captions of one image's names.

    Args:
        encode: token ids of a phrase without special tokens.
        start, stop, end: ids of `[CLS]`, "." and `[SEP]`.
        unknown: id of a token outside the vocabulary, or `None`.
        most: token limit of the model, special tokens included.
        template: text asked for a name.
    """

    def __init__(
        self,
        encode: Callable[[str], list[int]],
        *,
        start: int,
        stop: int,
        end: int,
        unknown: int | None,
        most: int,
        template: str = "{name}",
    ) -> None:
        self._encode = encode
        self._start, self._stop, self._end, self._unknown = start, stop, end, unknown
        self.most = most
        self._template = template
        self._cache: dict[str, tuple[int, ...]] = {}

    def text(self, name: str) -> str:
        """What is asked for a name."""
        return clean_phrase(self._template.replace("{name}", name))

    def tokens(self, name: str) -> tuple[int, ...]:
        """Token ids of one phrase."""
        if name not in self._cache:
            self._cache[name] = tuple(self._encode(self.text(name)))
        return self._cache[name]

    def refuse(self, name: str) -> str | None:
        """Why a name cannot be asked, or `None`."""
        if not clean_phrase(name):
            return "the phrase is empty"
        ids = self.tokens(name)
        if len(ids) + 3 > self.most:
            return f"the phrase has {len(ids)} tokens, this detector reads {self.most - 3}"
        if self._unknown is not None and set(self._encode(clean_phrase(name))) <= {self._unknown}:
            return "no word of the phrase is in this detector's vocabulary"
        return None

    def captions(self, names: Sequence[str], *, each: bool = False) -> list[Caption]:
        """As few captions as the token limit allows, or one per name with `each`."""
        captions: list[Caption] = []
        texts: list[str] = []
        ids: list[int] = [self._start]
        phrases: list[int] = []
        spans: list[tuple[int, int]] = []

        def close() -> None:
            text = "".join(f"{part}. " for part in texts).strip()
            captions.append(Caption(text, (*ids, self._end), tuple(phrases), tuple(spans)))
            ids[1:], phrases[:], spans[:], texts[:] = [], [], [], []

        for index, name in enumerate(names):
            tokens = self.tokens(name)
            if phrases and (each or len(ids) + len(tokens) + 2 > self.most):
                close()
            spans.append((len(ids), len(ids) + len(tokens)))
            phrases.append(index)
            texts.append(self.text(name))
            ids += [*tokens, self._stop]
        if phrases:
            close()
        return captions


def span_scores(
    tokens: torch.Tensor, captions: Sequence[Caption], *, mean: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Best phrase of every box.

    Args:
        tokens: (n, p, t) probability of each token for each box.
        captions: n captions.
        mean: score a phrase by the mean over its tokens (the COCO evaluation of the Grounding
            DINO repository) instead of the best one (its inference code).

    Returns:
        (n, p) scores, and (n, p) index into the names asked of that image.
    """
    import torch

    count, boxes, length = tokens.shape
    most = max(len(caption.phrases) for caption in captions)
    member = torch.zeros(count, most, length, dtype=torch.bool)
    index = torch.zeros(count, most, dtype=torch.long)
    for i, caption in enumerate(captions):
        index[i, : len(caption.phrases)] = torch.tensor(caption.phrases)
        for k, (first, last) in enumerate(caption.spans):
            member[i, k, first:last] = True
    member, index = member.to(tokens.device), index.to(tokens.device)
    if mean:
        weights = member.float() / member.sum(dim=-1, keepdim=True).clamp(min=1)
        scores = tokens.float() @ weights.transpose(1, 2)
        scores = scores.masked_fill(~member.any(dim=-1)[:, None], -1.0)
    else:
        parts = [tokens.masked_fill(~member[:, None, k], -1.0).amax(dim=-1) for k in range(most)]
        scores = torch.stack(parts, dim=-1)
    best = scores.max(dim=-1)
    labels = index.gather(1, best.indices.reshape(count, -1)).reshape(count, boxes)
    return best.values, labels
