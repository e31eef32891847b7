"""Encoded captions: tensors by name, of unlike lengths where they come with a mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Text = dict[str, Tensor]
"""Tensors whose first axis counts captions.

`"<name>_mask"` (captions, tokens) tells which entries of the second axis of `"<name>"` are tokens;
what it leaves out is padding that the denoiser does not see, and is not kept.
"""

MASK = "_mask"


def split(text: Text) -> list[Text]:
    """The captions of a batch one by one, without padding and without masks."""
    masks = {name: text[f"{name}{MASK}"].bool() for name in text if f"{name}{MASK}" in text}
    kept = [name for name in text if name.removesuffix(MASK) not in masks or name in masks]
    count = len(next(iter(text.values())))
    return [
        {name: text[name][k][masks[name][k]] if name in masks else text[name][k] for name in kept}
        for k in range(count)
    ]


def join(captions: Sequence[Text]) -> Text:
    """A batch of captions; those of unlike lengths are padded with zeros and get a mask."""
    joined: Text = {}
    for name in captions[0]:
        values = [caption[name] for caption in captions]
        if len({value.shape for value in values}) == 1:
            joined[name] = torch.stack(values)
            continue
        joined[name] = torch.nn.utils.rnn.pad_sequence(values, batch_first=True)
        lengths = torch.tensor([len(value) for value in values], device=values[0].device)
        places = torch.arange(joined[name].shape[1], device=lengths.device)
        joined[f"{name}{MASK}"] = places < lengths[:, None]
    return joined


def mask_of(text: Mapping[str, Tensor], name: str) -> Tensor:
    """Which entries of the second axis of `text[name]` are tokens: all, where none is padding."""
    mask = text.get(f"{name}{MASK}")
    if mask is not None:
        return mask.bool()
    return torch.ones(text[name].shape[:2], dtype=torch.bool, device=text[name].device)


def without_zeros(text: Tensor) -> Text:
    """Captions whose padding is zeros that the denoiser reads; kept without, for `with_zeros`."""
    return {"text": text, f"text{MASK}": text.any(-1)}


def with_zeros(text: Mapping[str, Tensor], tokens: int) -> Tensor:
    """Captions padded with zeros to so many tokens."""
    missing = tokens - text["text"].shape[1]
    return torch.nn.functional.pad(text["text"], (0, 0, 0, missing))


def encode_both_ways(pipe: Any, texts: Sequence[str], **options: Any) -> Text:
    """Captions as a pipeline encodes prompts, the empty one as it encodes its negative prompt.

    For pipelines that put words around a prompt and none around a negative one; their
    `encode_prompt` returns both, each with its mask.
    """
    empty = [text == "" for text in texts]
    text, mask, negative, negative_mask = pipe.encode_prompt(
        list(texts), do_classifier_free_guidance=any(empty), negative_prompt="", **options
    )
    if any(empty):
        text[empty], mask[empty] = negative[empty], negative_mask[empty]
    return {"text": text, f"text{MASK}": mask}
