"""Latents and text embeddings, computed once before the first step."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from t2i_spatial.errors import InputError
from t2i_spatial.generation.seeds import image_seed
from t2i_spatial.progress import note, progress_bar
from t2i_spatial.training.caption_store import CaptionFile
from t2i_spatial.training.data import Example, fit_image
from t2i_spatial.training.families import Family, Text
from t2i_spatial.training.families.text import join, split

_BATCH = 16
_LARGE = 1e9
"""More bytes of captions than this are kept in a file."""


def encode_images(family: Family, examples: Sequence[Example], size: int) -> Tensor:
    """Latents of every example, float32 on the CPU, computed in float32.

    Raises:
        InputError: images that cannot be read; says how many, and which.
    """
    vae = family.pipe.vae
    dtype = vae.dtype
    if dtype != torch.float32:
        vae.to(torch.float32)
    # as many pixels at once as 16 images of 256 x 256: some 3 GB in the VAE of Stable Diffusion
    count = max(1, min(_BATCH, int(_BATCH * (256 / size) ** 2)))
    parts = []
    broken = []
    with torch.no_grad(), progress_bar(len(examples), "encode", "img") as bar:
        for start in range(0, len(examples), count):
            batch = examples[start : start + count]
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
        choices: caption numbers of every example, mostly one.
    """

    def __init__(self, examples: Sequence[Example]) -> None:
        texts = dict.fromkeys(["", *(text for example in examples for text in example.captions)])
        self.texts = list(texts)
        number = {text: k for k, text in enumerate(self.texts)}
        self.choices = [[number[text] for text in example.captions] for example in examples]
        self._cached: list[Text] | CaptionFile | None = None

    def drawn(self, chosen: Sequence[int], epochs: Sequence[int], seed: int) -> Tensor:
        """Caption number of each chosen example; (seed, epoch) draws one of several."""
        numbers = []
        for index, epoch in zip(chosen, epochs, strict=True):
            choices = self.choices[index]
            place = 0
            if len(choices) > 1:
                place = image_seed(seed, f"caption {index}", epoch) % len(choices)
            numbers.append(choices[place])
        return torch.tensor(numbers)

    def check_length(self, family: Family, truncate: bool) -> None:
        """Refuse captions longer than the text encoder reads, or say that they are cut.

        Raises:
            InputError: there are such captions and `truncate` is false.
        """
        _, limit = family.longest_caption()
        texts = self.texts[1:]
        lengths = family.caption_tokens(texts) if texts else []
        long = [text for text, length in zip(texts, lengths, strict=True) if length > limit]
        if not long:
            return
        message = (
            f"{len(long)} of {len(texts)} captions are longer than the {limit} tokens "
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
        cached: list[Text] | CaptionFile = []
        with torch.no_grad():
            for start in range(0, len(self.texts), _BATCH):
                encoded = family.encode(self.texts[start : start + _BATCH])
                part = split({key: value.cpu() for key, value in encoded.items()})
                if start == 0:
                    size = sum(value.nbytes for text in part for value in text.values())
                    size = size * len(self.texts) // len(part)
                    if size > _LARGE:
                        cached = CaptionFile()
                        note(
                            f"{len(self.texts)} captions take {size / 1e9:.1f} GB and are kept in "
                            f"{tempfile.gettempdir()}"
                        )
                for text in part:
                    cached.append(text)
        self._cached = cached

    def rows(self, family: Family, numbers: Tensor, device: torch.device) -> Text:
        """Embeddings of captions by number."""
        if self._cached is None:
            return family.encode([self.texts[k] for k in numbers.tolist()])
        text = join([self._cached[k] for k in numbers.tolist()])
        return {key: value.to(device) for key, value in text.items()}
