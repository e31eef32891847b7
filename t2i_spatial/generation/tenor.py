"""TENOR: the order of the caption's tokens, added where attention reads them as keys.

CoMPaSS (Zhang et al. 2024), github.com/blurgyy/CoMPaSS at 4b51c28, `TENOR/`. In UNets
(and, by analogy, Sana, PixArt and Wan, which read the text in cross-attention too), keys of every
cross-attention are `W_k(text + P)`, values stay `W_v(text)`; in models with double blocks (Flux,
and by analogy SD3, Qwen-Image, FLUX.2, Chroma, AuraFlow, HunyuanImage and HiDream), queries and
keys of the text stream of these blocks are made from `text + P`. Models of single blocks only
(Z-Image, Lumina 2, CogView4, Krea 2) have no stream of text alone and are refused.

P is the sinusoidal encoding of the token index. It has no weights, but a model trained with it must
be used with it, so the flag is stored beside LoRA weights.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from t2i_spatial.errors import ModelLoadError

if TYPE_CHECKING:
    import torch

_CROSS = re.compile(r"attn2\.to_k$")
_DOUBLE = re.compile(
    r"(^|\.)(joint_)?transformer_blocks\.\d+\.attn\.add_[qk]_proj$|\.attn1\.to_[qk]_t$"
)


def token_order(length: int, width: int) -> torch.Tensor:
    """The encoding P of shape (length, width): sine and cosine interleaved, base 10000.

    >>> (100 * token_order(2, 2)).round().tolist()
    [[0.0, 100.0], [84.0, 54.0]]
    """
    import torch

    even = width + width % 2
    frequency = 1.0 / 10000 ** (torch.arange(0, even, 2).float() / even)
    angle = torch.arange(length).float()[:, None] * frequency
    return torch.stack((angle.sin(), angle.cos()), -1).flatten(1)[:, :width]


def add_token_order(denoiser: Any) -> list[Any]:
    """Switch TENOR on; `remove()` on the returned handles switches it off.

    Call it after LoRA layers were added: the LoRA must see the same keys as the layer it adapts.

    Raises:
        ModelLoadError: the denoiser has no attention of these kinds.
    """
    # by class, as attn2 of a transformer may read the image (the dual attention of SD3.5)
    crossed = type(denoiser).__name__.startswith(("UNet", "Sana", "PixArt", "Wan"))
    reads_text = _CROSS if crossed else _DOUBLE
    handles = [
        module.register_forward_pre_hook(_with_order)
        for name, module in denoiser.named_modules()
        if reads_text.search(name)
    ]
    if not handles:
        raise ModelLoadError(
            f"TENOR needs text cross-attention or double blocks; {type(denoiser).__name__} has none"
        )
    return handles


def _with_order(module: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    text = arguments[0]
    order = _cached(text.shape[-2], text.shape[-1], text.dtype, str(text.device))
    return (text + order, *arguments[1:])


@functools.lru_cache(maxsize=16)
def _cached(length: int, width: int, dtype: Any, device: str) -> torch.Tensor:
    return token_order(length, width).to(device=device, dtype=dtype)
