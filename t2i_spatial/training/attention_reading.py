"""Attention maps of transformers, whatever their attention is written like.

Every attention of diffusers ends in `scaled_dot_product_attention`. While a chosen layer runs, that
function is computed in plain products and its probabilities are kept: from image tokens to text
tokens, in cross-attention or in the joint attention of both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from t2i_spatial.errors import InputError

_SDPA = torch.nn.functional.scaled_dot_product_attention


@dataclass(frozen=True)
class Reading:
    """Where a denoiser attends to text.

    Attributes:
        layers: names of these attention layers (a regular expression).
        joint: whether the keys are those of text and image; which of them comes first.
    """

    layers: str
    joint: bool = True
    image_first: bool = False


_DOUBLE = Reading(r"^transformer_blocks\.\d+\.attn$")
_CROSS = Reading(r"^(transformer_)?blocks\.\d+\.attn2$", joint=False)

READINGS: Mapping[str, Reading] = {
    "SD3Transformer2DModel": Reading(_DOUBLE.layers, image_first=True),
    "FluxTransformer2DModel": _DOUBLE,
    "Flux2Transformer2DModel": _DOUBLE,
    "ChromaTransformer2DModel": _DOUBLE,
    "QwenImageTransformer2DModel": _DOUBLE,
    "AuraFlowTransformer2DModel": Reading(r"^joint_transformer_blocks\.\d+\.attn$"),
    "SanaTransformer2DModel": _CROSS,
    "PixArtTransformer2DModel": _CROSS,
    "WanTransformer3DModel": _CROSS,
}
"""By class of the denoiser, as its attention processors in diffusers 0.42 join text and image."""

UNREAD: Mapping[str, str] = {
    "CogView4Transformer2DModel": "its captions are computed apart by their length",
    "HunyuanImageTransformer2DModel": "its text tokens change their order by caption",
    "HiDreamImageTransformer2DModel": "its text is three encoders' tokens in a row",
    "Krea2Transformer2DModel": "its text is mixed across layers before the image sees it",
    "Lumina2Transformer2DModel": "its image tokens start at another place for every caption",
    "ZImageTransformer2DModel": "its text tokens start at another place for every size and caption",
}
"""Why the attention of a denoiser is not read."""


def layers_with_text(denoiser: Any) -> list[str]:
    """Names of the layers of a transformer whose attention to text can be read.

    Raises:
        InputError: a denoiser whose attention to text is not known; says why.
    """
    kind = type(denoiser).__name__
    reading = READINGS.get(kind)
    names = [n for n, _ in denoiser.named_modules() if reading and re.match(reading.layers, n)]
    if not names:
        reason = UNREAD.get(kind, "its attention to text is not known here")
        raise InputError(f"attention losses cannot read {kind}: {reason}")
    return names


def read_attention(denoiser: Any) -> list[Tensor]:
    """Let a transformer leave its maps in the returned list: (images, heads, pixels, tokens).

    Blocks of the middle half count, where text decides about places; there is no published choice
    for transformers. Maps are kept only while gradients are.

    Raises:
        InputError: as `layers_with_text`.
    """
    names = layers_with_text(denoiser)
    reading = READINGS[type(denoiser).__name__]
    maps: list[Tensor] = []
    mode = _Reader(reading, maps, _registers(denoiser))
    if reading.joint:
        denoiser.register_forward_pre_hook(mode.note_text, with_kwargs=True)
    aside = len(names) // 4
    for name in names[aside : len(names) - aside]:
        layer: nn.Module = denoiser.get_submodule(name)
        layer.register_forward_pre_hook(mode.begin)
        layer.register_forward_hook(mode.end, always_call=True)
    return maps


def _registers(denoiser: Any) -> int:
    """Learnt tokens that AuraFlow puts before those of the text."""
    tokens = getattr(denoiser, "register_tokens", None)
    return 0 if tokens is None else int(tokens.shape[1])


class _Reader(TorchFunctionMode):  # type: ignore[misc]
    """Keeps the maps of every attention that is computed while it is entered."""

    def __init__(self, reading: Reading, maps: list[Tensor], registers: int) -> None:
        super().__init__()
        self.reading, self.maps, self.registers = reading, maps, registers
        self.tokens = 0

    def note_text(self, _: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        """See how many text tokens the denoiser is given."""
        self.tokens = named["encoder_hidden_states"].shape[1]

    def begin(self, _: nn.Module, arguments: tuple[Any, ...]) -> None:
        """A chosen layer starts."""
        self.__enter__()

    def end(self, _: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        """And ends, also by an error."""
        self.__exit__(None, None, None)

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Compute attention by hand, everything else as it is."""
        if function is not _SDPA:
            return function(*args, **(kwargs or {}))
        output, weights = attention(*args, **(kwargs or {}))
        if torch.is_grad_enabled():
            self.maps.append(self._to_text(weights))
        return output

    def _to_text(self, weights: Tensor) -> Tensor:
        if not self.reading.joint:
            return weights
        if self.reading.image_first:
            image = weights.shape[-1] - self.tokens
            return weights[:, :, :image, image:]
        text = self.registers + self.tokens
        return weights[:, :, text:, self.registers : text]


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> tuple[Tensor, Tensor]:
    """`scaled_dot_product_attention` of (images, heads, tokens, width), and its probabilities.

    Raises:
        InputError: dropout or a causal mask, which no denoiser here has.
    """
    if dropout_p or is_causal:
        raise InputError("attention with dropout or a causal mask is not read")
    if enable_gqa:
        groups = query.shape[1] // key.shape[1]
        key, value = (part.repeat_interleave(groups, 1) for part in (key, value))
    scores = (query @ key.transpose(-1, -2)).float()
    scores = scores * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            attn_mask = torch.zeros_like(attn_mask, dtype=scores.dtype).masked_fill(
                ~attn_mask, -math.inf
            )
        scores = scores + attn_mask
    weights = scores.softmax(-1)
    return (weights.to(value.dtype) @ value).to(query.dtype), weights
