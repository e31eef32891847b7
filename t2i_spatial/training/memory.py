"""How much memory a fine-tuning will need, from configurations alone: nothing is loaded.

Weights, LoRA, gradients and optimiser are counted exactly. Activations are a formula: what autograd
keeps grows with the outputs of the denoiser's linear and convolutional layers at every place they
are computed for; the factor was measured (`KEPT`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from t2i_spatial.errors import require
from t2i_spatial.training.hyperparameters import FinetuneSettings

KEPT = 1.8
"""Numbers that autograd keeps per number that a layer puts out, with LoRA on the attention.

Measured with `saved_tensors_hooks` in float32 and bfloat16 on denoisers of 60 to 220 M parameters:
UNet, SD3, Flux, Qwen-Image and Sana keep 0.6 to 1.2 times what the formula says, Lumina 2 in
bfloat16 2.3 times, since it rotates queries and keys in float32.
"""

_LORA = 4 * (1 + 1 + 2 + 1)
"""Bytes per trained weight: itself, its gradient, AdamW's two moments, the last good copy."""

_VAE = 22.0
"""Bytes per pixel and per channel of the first layer that a VAE needs to encode, in float32."""

_PER_IMAGE = re.compile(r"norm|mod(ulation|_|\.|$)|embed|time|adaln|refiner|caption|text_fusion")
"""Layers that are computed once per image, or for little more, by their names."""

_OF_TEXT = re.compile(r"(attn2|cross_attn)\.to_[kv]$|add_[qkv]_proj$|to_add_out$|context|encoder_")


@dataclass(frozen=True)
class Shape:
    """What is computed at once: images, their side in pixels and in latents, tokens of the text.

    `patch` is the side, in latents, of what the denoiser makes one token of.
    """

    batch: int
    size: int
    side: int
    tokens: int
    patch: int = 1


@dataclass(frozen=True)
class Estimate:
    """Bytes of each stage of a fine-tuning; what is largest decides.

    Attributes:
        parameters: of every model, by name.
        encoding: bytes while the VAE, or the text encoders, are at work.
        weights, lora, activations: bytes while the denoiser is trained.
        device, free: where that would be, and the bytes that are free there.
    """

    parameters: dict[str, int]
    encoding: dict[str, float]
    weights: float
    lora: float
    activations: float
    device: str = "cpu"
    free: float = math.inf

    @property
    def training(self) -> float:
        """Bytes while the denoiser is trained."""
        return self.weights + self.lora + self.activations

    @property
    def peak(self) -> float:
        """Bytes of the largest stage."""
        return max(self.training, *self.encoding.values())

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self) | {"training": self.training, "peak": self.peak}

    def __str__(self) -> str:
        """For a person, with a warning where the device has less."""
        sizes = ", ".join(f"{name} {_count(count)}" for name, count in self.parameters.items())
        rows = {"parameters": sizes}
        rows |= {f"encoding {what}": _gb(needed) for what, needed in self.encoding.items()}
        rows["training"] = (
            f"{_gb(self.training)}: frozen weights {_gb(self.weights)}, LoRA with optimiser "
            f"{_gb(self.lora)}, activations {_gb(self.activations)}"
        )
        rows["peak"] = f"{_gb(self.peak)}; {self.device} has {_gb(self.free)} free"
        lines = [f"{name:<20} {value}" for name, value in rows.items()]
        if self.peak > self.free:
            lines.append(
                "more than there is: --base-bits 8 or 4, --gradient-checkpointing, a smaller "
                "--batch-size with --accumulate, or a lower --resolution need less"
            )
        return "\n".join(lines)


def weight_bytes(module: nn.Module, dtype_bytes: int, bits: int | None) -> float:
    """Bytes of the frozen weights of a model whose linear layers may be packed.

    NF4 has a scale of one byte per block of 64, and one of four bytes per 256 of these; int8 has
    four bytes per row.
    """
    whole = float(sum(p.numel() for p in module.parameters()) * dtype_bytes)
    if bits not in (8, 4):
        return whole
    kept = {*(getattr(module, "_keep_in_fp32_modules", None) or ()), "lm_head"}
    for name, layer in module.named_modules():
        if type(layer) is nn.Linear and not kept & set(name.split(".")):
            count = layer.weight.numel()
            packed = count + 4 * layer.out_features if bits == 8 else count * (0.5 + 1.016 / 64)
            whole += packed - count * dtype_bytes
    return whole


def lora_bytes(parameters: int, *, averaged: bool = False) -> float:
    """Bytes of trained weights with gradients, optimiser, and moving average if there is one."""
    return float(parameters * (_LORA + 4 * averaged))


def lora_parameters(module: nn.Module, targets: Sequence[str], rank: int) -> int:
    """Trained numbers of LoRA layers on the layers whose names end in one of `targets`."""
    total = 0
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d) and _ends(name, targets):
            wide = layer.weight[0].numel() + len(layer.weight)
            total += rank * wide
    return total


def activation_bytes(
    denoiser: nn.Module, shape: Shape, number_bytes: int, *, checkpointing: bool
) -> float:
    """Bytes that the backward pass of a denoiser needs.

    With gradient checkpointing, the input of every block is kept and one block is computed anew.
    """
    blocks: dict[str, float] = {}
    inputs: dict[str, float] = {}
    for name, layer in _counted(denoiser):
        places = _places(denoiser, name, shape)
        block = _block(name)
        out = float(layer.weight.shape[0])
        blocks[block] = blocks.get(block, 0.0) + KEPT * places * out
        narrow = min(layer.weight.shape[:2])
        inputs[block] = max(inputs.get(block, 0.0), places * narrow)
    if checkpointing:
        kept = sum(inputs.values()) + max(blocks.values(), default=0.0)
    else:
        kept = sum(blocks.values())
    return kept * shape.batch * number_bytes


def _counted(denoiser: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, layer in denoiser.named_modules():
        convolution = isinstance(layer, nn.Conv2d)
        linear = isinstance(layer, nn.Linear) and not _PER_IMAGE.search(name.lower())
        if (convolution or linear) and re.search(r"\.\d+\.|^mid_block", name):
            yield name, layer


def _block(name: str) -> str:
    """The repeated block that a layer lies in, which checkpointing treats as one."""
    found = re.match(r"(.*(?:resnets|attentions)\.\d+)\.", name)
    found = found or re.match(r"(.*?(?:blocks|layers)\.\d+)\.", name)
    return found[1] if found else name.rpartition(".")[0]


def _places(denoiser: nn.Module, name: str, shape: Shape) -> float:
    """For how many tokens or pixels a layer is computed, per image."""
    if _OF_TEXT.search(name):
        return float(shape.tokens)
    config: Any = denoiser.config
    if hasattr(denoiser, "down_blocks"):
        depth = len(config.block_out_channels) - 1
        found = re.match(r"(down|up)_blocks\.(\d+)", name)
        level = depth if found is None else int(found[2])
        if found is not None and found[1] == "up":
            level = depth - level
        return float((shape.side / 2**level) ** 2)
    image = (shape.side / shape.patch) ** 2
    block = denoiser.get_submodule(_block(name))
    names = [inner for inner, _ in block.named_modules()]
    apart = any(re.search(r"attn2|cross_attn|add_[qk]_proj", inner) for inner in names)
    return image if apart else image + shape.tokens


def _ends(name: str, targets: Iterable[str]) -> bool:
    return any(name == target or name.endswith(f".{target}") for target in targets)


def estimate(
    models: Mapping[str, nn.Module],
    part: str,
    targets: Sequence[str],
    shape: Shape,
    settings: FinetuneSettings,
    *,
    weight: int,
    number: int,
) -> Estimate:
    """The memory of a training of hollow models (`generation.parts.hollow_models`).

    Args:
        part: name of the denoiser.
        targets: ends of the names of the layers that get a LoRA.
        weight: bytes of a weight that is not packed: 2 in 16 bits, 4 in float32.
        number: bytes of a number of the computation.
    """
    bits = settings.base_bits
    denoiser, vae = models[part], models["vae"]
    texts = sum(
        weight_bytes(module, weight, bits)
        for name, module in models.items()
        if name.startswith("text_encoder")
    )
    frozen = weight_bytes(denoiser, weight, bits)
    if number < weight and bits not in (8, 4):
        frozen += frozen * number / weight  # autocast's copies, which the backward pass reads
    if settings.text_encoder or settings.validate_every:
        frozen += texts
    if settings.validate_every:
        frozen += weight_bytes(vae, weight, None)
    pixels = max(shape.size**2, min(16 * shape.size**2, 16 * 256**2))  # see `encode_images`
    trained = lora_parameters(denoiser, targets, settings.rank)
    return Estimate(
        parameters={name: sum(p.numel() for p in m.parameters()) for name, m in models.items()},
        encoding={
            "images": weight_bytes(vae, 4, None) + _VAE * _channels(vae) * pixels,
            "captions": texts,
        },
        weights=frozen,
        lora=lora_bytes(trained, averaged=settings.ema is not None),
        activations=activation_bytes(
            denoiser, shape, number, checkpointing=settings.gradient_checkpointing
        ),
    )


def _channels(vae: nn.Module) -> int:
    layers = (m for m in vae.modules() if isinstance(m, nn.Conv2d | nn.Conv3d))
    return int(next(layers).out_channels)


def device_memory(device: str) -> float:
    """Bytes that a device, or the machine, has free."""
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(torch.device(device))
        return float(free)
    return float(require("psutil", "train").virtual_memory().available)


def _gb(value: float) -> str:
    return f"{value / 1e9:.1f} GB"


def _count(parameters: int) -> str:
    if parameters < 1e9:
        return f"{parameters / 1e6:.1f} M"
    return f"{parameters / 1e9:.2f} B"
