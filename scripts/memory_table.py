"""The table of memory per model family in docs/finetuning.md, from published configurations.

python scripts/memory_table.py          # rewrite it
python scripts/memory_table.py --check  # exit with 1 when it is not current

Nothing is downloaded: where the configuration of a published denoiser differs from the defaults of
its class in diffusers, it stands here. Text encoders count by their published number of parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import accelerate
import diffusers
from generated_table import GeneratedTable
from torch import nn

from t2i_spatial.training.families import FAMILIES
from t2i_spatial.training.memory import (
    Shape,
    activation_bytes,
    lora_bytes,
    lora_parameters,
    weight_bytes,
)

PAGE = Path(__file__).parents[1] / "docs" / "finetuning.md"
START, END = "<!-- memory: scripts/memory_table.py -->\n", "<!-- end of memory -->\n"
RANK = 16
VAE_FACTOR = 8

CLIP_L, CLIP_G, T5_XXL = 0.12, 0.69, 4.76


@dataclass(frozen=True)
class Published:
    """A model as its authors published it; sizes of text encoders in thousand millions."""

    title: str
    denoiser: str
    encoders: tuple[float, ...]
    tokens: int
    config: dict[str, Any] = field(default_factory=dict)
    size: int = 1024
    factor: int = VAE_FACTOR
    patch: int = 2


_SDXL: dict[str, Any] = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
_SD3: dict[str, Any] = {"qk_norm": "rms_norm", "joint_attention_dim": 4096, "out_channels": 16}

MODELS = (
    Published(
        "SD 1.5", "UNet2DConditionModel", (CLIP_L,), 77, {"cross_attention_dim": 768}, size=512
    ),
    Published("SDXL", "UNet2DConditionModel", (CLIP_L, CLIP_G), 77, _SDXL),
    Published(
        "Kolors",
        "UNet2DConditionModel",
        (6.24,),
        256,
        _SDXL
        | {
            "projection_class_embeddings_input_dim": 5632,
            "encoder_hid_dim": 4096,
            "encoder_hid_dim_type": "text_proj",
        },
    ),
    Published(
        "SD3.5 Medium",
        "SD3Transformer2DModel",
        (CLIP_L, CLIP_G, T5_XXL),
        333,
        _SD3
        | {
            "num_layers": 24,
            "num_attention_heads": 24,
            "caption_projection_dim": 1536,
            "pos_embed_max_size": 384,
            "dual_attention_layers": tuple(range(13)),
        },
    ),
    Published(
        "SD3.5 Large",
        "SD3Transformer2DModel",
        (CLIP_L, CLIP_G, T5_XXL),
        333,
        _SD3
        | {
            "num_layers": 38,
            "num_attention_heads": 38,
            "caption_projection_dim": 2432,
            "pos_embed_max_size": 192,
        },
    ),
    Published(
        "FLUX.1 dev", "FluxTransformer2DModel", (CLIP_L, T5_XXL), 512, {"guidance_embeds": True}
    ),
    Published(
        "FLUX.2 klein 4B",
        "Flux2Transformer2DModel",
        (4.02,),
        512,
        {
            "num_layers": 5,
            "num_single_layers": 20,
            "num_attention_heads": 24,
            "joint_attention_dim": 7680,
            "guidance_embeds": False,
        },
    ),
    Published("FLUX.2 dev", "Flux2Transformer2DModel", (24.01,), 512),
    Published("Qwen-Image", "QwenImageTransformer2DModel", (8.29,), 512),
    Published("Z-Image", "ZImageTransformer2DModel", (4.02,), 512),
    Published("Sana 1.6B", "SanaTransformer2DModel", (2.61,), 300, factor=32, patch=1),
    Published("Lumina 2", "Lumina2Transformer2DModel", (2.61,), 256, {"cap_feat_dim": 2304}),
    Published(
        "HiDream-I1",
        "HiDreamImageTransformer2DModel",
        (CLIP_L, CLIP_G, T5_XXL, 8.03),
        128,
        {
            "patch_size": 2,
            "in_channels": 16,
            "out_channels": 16,
            "caption_channels": [4096, 4096],
            "axes_dims_rope": (64, 32, 32),
            "llama_layers": list(range(48)),
        },
    ),
    Published("Chroma", "ChromaTransformer2DModel", (T5_XXL,), 512),
    Published("AuraFlow", "AuraFlowTransformer2DModel", (1.22,), 256, {"pos_embed_max_size": 9216}),
    Published(
        "CogView4",
        "CogView4Transformer2DModel",
        (9.4,),
        224,
        {"num_layers": 28, "num_attention_heads": 32, "attention_head_dim": 128},
    ),
    Published(
        "PixArt-Σ",
        "PixArtTransformer2DModel",
        (T5_XXL,),
        300,
        {"sample_size": 128, "caption_channels": 4096},
    ),
    Published(
        "HunyuanImage 2.1",
        "HunyuanImageTransformer2DModel",
        (8.29, 0.22),
        1000,
        {"text_embed_2_dim": 1472},
        size=2048,
        factor=32,
        patch=1,
    ),
    Published("Krea 2", "Krea2Transformer2DModel", (4.44,), 512),
)


def hollow(model: Published) -> nn.Module:
    """The denoiser of a published model, without weights."""
    with accelerate.init_empty_weights():
        module: nn.Module = getattr(diffusers, model.denoiser)(**model.config)
    return module


def table() -> str:
    """Markdown: one row per model."""
    lines = [
        "| model | denoiser | text encoders | 16 bits | 8 | 4 | 16, checkpointing | 8 | 4 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(row, MODELS)]) + "\n"


def row(model: Published) -> str:
    """The row of one model."""
    denoiser = hollow(model)
    count = sum(p.numel() for p in denoiser.parameters())
    texts = sum(model.encoders)
    cells = [model.title, f"{count / 1e9:.2f} B", f"{texts:.2f} B"]
    shape = Shape(1, model.size, model.size // model.factor, model.tokens, model.patch)
    lora = lora_bytes(lora_parameters(denoiser, _targets(denoiser), RANK))
    for checkpointing in (False, True):
        kept = activation_bytes(denoiser, shape, 2, checkpointing=checkpointing)
        for bits, per_weight in ((16, 2.0), (8, 1.0), (4, 0.52)):
            training = weight_bytes(denoiser, 2, bits) + lora + kept
            cells.append(f"{max(training, texts * 1e9 * per_weight) / 1e9:.0f}")
    return f"| {' | '.join(cells)} |"


def _targets(denoiser: nn.Module) -> list[str]:
    """What "attention" stands for in the family of a denoiser."""
    kind = type(denoiser).__name__
    family = next((FAMILIES[n] for n in FAMILIES if kind in FAMILIES[n].denoisers), None)
    return list(family.attention) if family else ["to_q", "to_k", "to_v", "to_out.0"]


TABLE = GeneratedTable(PAGE, START, END, table)

if __name__ == "__main__":
    raise SystemExit(TABLE.main())
