"""Latents and text embeddings, computed once before the first step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from t2i_spatial.errors import InputError
from t2i_spatial.progress import note, progress_bar
from t2i_spatial.training.data import Example, fit_image
from t2i_spatial.training.families import Family, Text

_BATCH = 16


def encode_images(family: Family, examples: Sequence[Example], size: int) -> Tensor:
    """Latents of every example, float32 on the CPU, computed in float32.

    Raises:
        InputError: images that cannot be read; says how many, and which.
    """
    vae = family.pipe.vae
    dtype = vae.dtype
    if dtype != torch.float32:
        vae.to(torch.float32)
    parts = []
    broken = []
    with torch.no_grad(), progress_bar(len(examples), "encode", "img") as bar:
        for start in range(0, len(examples), _BATCH):
            batch = examples[start : start + _BATCH]
            pixels = []
            for example in batch:
                try:
                    pixels.append(fit_image(example.path, size))
                except InputError as error:  # the others are looked at first, then it is raised
                    broken.append(str(error))
            if not broken:
                parts.append(family.latents(torch.from_numpy(np.stack(pixels))).float().cpu())
            bar.update(len(batch))
    if broken:
        raise InputError(
            f"{len(broken)} of {len(examples)} images cannot be read: {'; '.join(broken[:3])}"
            f"{' ...' if len(broken) > 3 else ''}"
        )
    if dtype != torch.float32:
        vae.to(dtype)
    return torch.cat(parts)


class Captions:
    """Every distinct caption, and the empty one, by number.

    Attributes:
        texts: the distinct captions; number 0 is the empty one.
        numbers: caption number of every example.
    """

    def __init__(self, examples: Sequence[Example]) -> None:
        texts = dict.fromkeys(["", *(example.text for example in examples)])
        self.texts = list(texts)
        number = {text: k for k, text in enumerate(self.texts)}
        self.numbers = torch.tensor([number[example.text] for example in examples])
        self._cached: Text | None = None

    def check_length(self, family: Family, truncate: bool) -> None:
        """Refuse captions longer than the text encoder reads, or say that they are cut.

        Raises:
            InputError: there are such captions and `truncate` is false.
        """
        tokenizer, limit = family.longest_caption()
        lengths = [len(ids) for ids in tokenizer(self.texts).input_ids]
        long = [text for text, length in zip(self.texts, lengths, strict=True) if length > limit]
        if not long:
            return
        message = (
            f"{len(long)} of {len(self.texts) - 1} captions are longer than the {limit} tokens "
            f"that the text encoder reads (up to {max(lengths)})"
        )
        if not truncate:
            raise InputError(
                f"{message}, such as {long[0][:60]!r}; shorten them, or accept with "
                "--truncate-captions that their ends are not learnt"
            )
        note(f"{message}: their ends are not learnt")

    def cache(self, family: Family) -> None:
        """Encode all captions now; without this, `rows` encodes at every step, with gradients."""
        batches = [
            self.texts[start : start + _BATCH] for start in range(0, len(self.texts), _BATCH)
        ]
        with torch.no_grad():
            parts = [
                {key: value.cpu() for key, value in family.encode(batch).items()}
                for batch in batches
            ]
        self._cached = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}

    def rows(self, family: Family, numbers: Tensor, device: torch.device) -> Text:
        """Embeddings of captions by number."""
        if self._cached is None:
            return family.encode([self.texts[k] for k in numbers.tolist()])
        return {key: value[numbers].to(device) for key, value in self._cached.items()}
