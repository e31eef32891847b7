"""Attention by explicit matrix products: the maps can be read, and bf16 is fast on the CPU."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from t2i_spatial.errors import InputError
from t2i_spatial.progress import note
from t2i_spatial.training.attention_reading import layers_with_text, read_attention
from t2i_spatial.training.data import Example, fit_mask
from t2i_spatial.training.families import Family
from t2i_spatial.training.phrases import phrase_places
from t2i_spatial.training.processes import Processes

_GRID = 64
_GROUNDED = re.compile(r"^(mid_block|up_blocks)\..*attn2\.processor$")


class ExplicitAttention:
    """The stock attention of a UNet block, in plain products and a float32 softmax.

    On the CPU the fused bf16 backward is slower than this, and a fused product has no maps.

    Args:
        maps: receives the attention probabilities (images, heads, pixels, tokens) of every call.
    """

    def __init__(self, maps: list[Tensor] | None = None) -> None:
        self.maps = maps

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        """See `diffusers.models.attention_processor.AttnProcessor2_0`."""
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            part.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for part in (attn.to_q(hidden_states), attn.to_k(source), attn.to_v(source))
        )
        scores = (query @ key.transpose(-1, -2)) * attn.scale
        if attention_mask is not None:
            scores = scores + attention_mask.unflatten(0, (-1, attn.heads))
        weights = scores.float().softmax(-1)
        if self.maps is not None and torch.is_grad_enabled():
            self.maps.append(weights)
        mixed = (weights.to(value.dtype) @ value).transpose(1, 2).flatten(2)
        output: Tensor = attn.to_out[0](mixed)
        return output


def use_explicit_attention(unet: Any) -> None:
    """Replace the processors of a UNet; results change by float rounding only."""
    unet.set_attn_processor(ExplicitAttention())


def collect_maps(denoiser: Any) -> list[Tensor]:
    """Let a denoiser leave its maps of attention to text in the returned list.

    Of a UNet, those of the middle and upward cross-attention; else as `read_attention`.

    Raises:
        InputError: the denoiser has no attention to text that can be read.
    """
    if not _is_unet(denoiser):
        return read_attention(denoiser)
    check_readable(denoiser)
    maps: list[Tensor] = []
    denoiser.set_attn_processor(
        {
            name: ExplicitAttention(maps if _GROUNDED.match(name) else None)
            for name in denoiser.attn_processors
        }
    )
    return maps


def check_readable(denoiser: Any) -> None:
    """Refuse a denoiser whose maps `collect_maps` cannot collect; it may be without weights.

    Raises:
        InputError: as `collect_maps`.
    """
    if not _is_unet(denoiser):
        layers_with_text(denoiser)
    elif not any(_GROUNDED.match(name) for name in getattr(denoiser, "attn_processors", {})):
        raise InputError("attention losses need a UNet with text cross-attention")


def _is_unet(denoiser: Any) -> bool:
    return hasattr(denoiser, "down_blocks")


def grounding_losses(
    maps: list[Tensor], objects: list[tuple[int, list[int], Tensor]], count: float
) -> tuple[Tensor, Tensor]:
    """How much of each object's attention falls outside its mask (TokenCompose's two losses).

    Follows `TENOR/sd/src/loss_utils.py` of github.com/blurgyy/CoMPaSS at 83f396d, with two
    differences: images of a batch are averaged, and maps are grouped by resolution alone.

    Args:
        maps: attention probabilities (images, heads, pixels, tokens), pixels in square grids.
        objects: of every object its image's index in the batch, its token positions in the
            caption, and its mask (side, side), non-zero inside.
        count: the number of images that the losses are divided by.

    Returns:
        Token loss and pixel loss, each summed over resolutions, averaged over objects of an image,
        summed over images and divided by `count`; zeros without objects.
    """
    zero = maps[0].new_zeros(())
    if not objects:
        return zero, zero
    images = sorted({image for image, _, _ in objects})
    token_loss, pixel_loss = zero, zero
    for pixels in sorted({item.shape[2] for item in maps}):
        layers = [item for item in maps if item.shape[2] == pixels]
        side = round(pixels**0.5)
        mean_map = torch.stack([item.mean(1) for item in layers]).mean(0)
        for image in images:
            own = [(tokens, mask) for index, tokens, mask in objects if index == image]
            for tokens, mask in own:
                inside = _shrunk(mask.to(zero.device), side).flatten()
                share = 1 / (len(own) * count)
                for item in layers:
                    attention = item[image, :, :, tokens]  # heads, pixels, tokens
                    kept = (attention * inside[:, None]).sum(1) / attention.sum(1)
                    token_loss = token_loss + share * (1 - kept.mean(0)).square().mean()
                predicted = mean_map[image, :, tokens].sum(-1).clamp(0, 1)
                pixel_loss = pixel_loss + share * torch.nn.functional.binary_cross_entropy(
                    predicted, inside
                )
    return token_loss, pixel_loss


def _shrunk(mask: Tensor, side: int) -> Tensor:
    """A mask on a coarser grid: 1 where any of it falls."""
    pooled = torch.nn.functional.adaptive_max_pool2d((mask > 0).float()[None, None], side)
    return pooled[0, 0]


class Grounder:
    """The attention losses of a training: maps of the denoiser against the objects' places.

    Args:
        family: the model, which may still be without weights.
        examples: the training set; objects whose phrase is not in the caption are left out.
        token, pixel: factors of the two losses (CoMPaSS: 1e-3 and 5e-5).
        size: side of the training images in pixels.

    Raises:
        InputError: attention or tokens that cannot be read, or no example has an object whose
            phrase is in its caption.
    """

    def __init__(
        self,
        family: Family,
        examples: Sequence[Example],
        size: int,
        *,
        token: float,
        pixel: float,
    ) -> None:
        self.token, self.pixel = token, pixel
        self.maps: list[Tensor] = []
        check_readable(family.denoiser)
        self.objects = [_places(family, example, size) for example in examples]
        found = sum(map(bool, self.objects))
        if not found:
            raise InputError(
                "attention losses need `objects` (phrase and box or mask) in metadata.jsonl"
            )
        note(f"attention losses on {found} of {len(examples)} images")

    def attach(self, denoiser: Any) -> None:
        """Replace the attention of a denoiser by one whose maps can be read."""
        self.maps = collect_maps(denoiser)

    def __call__(
        self, chosen: Sequence[int], dropped: Sequence[bool], processes: Processes
    ) -> Tensor:
        """The weighted losses of the last forward pass; images without a caption count nothing.

        Args:
            chosen, dropped: the images of the whole batch and which of them lost their caption.
            processes: this process's share of the batch; the mean of all shares is the loss of the
                batch, also where the images with objects are not shared equally.
        """
        maps = list(self.maps)
        self.maps.clear()
        places = [
            [] if gone else self.objects[index] for index, gone in zip(chosen, dropped, strict=True)
        ]
        objects = [
            (image, positions, mask)
            for image, found in enumerate(places[processes.rows])
            for positions, mask in found
        ]
        token, pixel = grounding_losses(maps, objects, sum(map(bool, places)) / processes.count)
        return self.token * token + self.pixel * pixel


def _places(family: Family, example: Example, size: int) -> list[tuple[list[int], Tensor]]:
    """Token positions and mask of every object of an example that its caption names."""
    places = []
    phrases = [item.phrase for item in example.objects]
    for item in example.objects:
        positions = phrase_places(family, example.text, item.phrase, phrases)
        if positions:
            mask = torch.from_numpy(fit_mask(example, item, size)).float()[None, None]
            grid = torch.nn.functional.adaptive_max_pool2d(mask, min(size, _GRID))[0, 0]
            places.append((positions, grid))
    return places
