"""Tiny random text-to-image checkpoints, saved with the files that a hub repository has.

`tiny_model("sdxl")` builds the folder once per process and returns it; treat it as read-only.
All make 32x32 images from 16x16 latents, with a vocabulary of single bytes.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.tiny_recent import BUILDERS

FAMILIES = ("sd1", "sd2", "sdxl", "sd3", "flux", "flow_unet")
"""SD 1.x (epsilon), SD 2.x (v-prediction), SDXL, SD3, Flux, and the bundled kind of model."""

RECENT = tuple(name for name in BUILDERS if name != "hidream")
"""Qwen-Image and what came with it, without HiDream, which makes a megapixel whatever is asked."""

SIZE = 32


@functools.cache
def tiny_model(family: str) -> Path:
    """The folder of the tiny checkpoint of one family."""
    import torch

    torch.set_num_threads(1)  # on tensors this small, threads only wait for each other
    folder = _folder() / family
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline = (_BUILDERS | BUILDERS)[family]()
    for name in ("unet", "transformer"):
        if hasattr(pipeline, name):
            _liven(getattr(pipeline, name))
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="t2i-spatial-tiny-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _liven(model: Any) -> None:
    """Random last layers instead of the zeros some families start from: the text must matter."""
    import torch

    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.ndim > 1 and not parameter.any():
            parameter.data.normal_(0.0, 0.05, generator=generator)


def clip_tokenizer(length: int = 77) -> Any:
    from transformers import CLIPTokenizer

    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [value for value in range(256) if value not in kept]
    symbols = [chr(value) for value in kept] + [chr(256 + k) for k in range(len(moved))]
    symbols += [f"{symbol}</w>" for symbol in symbols]
    symbols += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {symbol: index for index, symbol in enumerate(symbols)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[])
    tokenizer.model_max_length = length
    return tokenizer


def _t5(width: int) -> tuple[Any, Any]:
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(chr(value), -3.0) for value in range(33, 127)]
    tokenizer = T5Tokenizer(vocab=pieces, extra_ids=0)
    tokenizer.model_max_length = 64
    config = T5Config(
        vocab_size=len(pieces), d_model=width, d_kv=8, d_ff=37, num_layers=1, num_heads=4
    )
    return tokenizer, T5EncoderModel(config)


def _clip_config(projection: int = 32) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=514,
        hidden_size=32,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=2,
        projection_dim=projection,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
    )


def _clip_text() -> Any:
    from transformers import CLIPTextModel

    return CLIPTextModel(_clip_config())


def _clip_projected() -> Any:
    from transformers import CLIPTextModelWithProjection

    return CLIPTextModelWithProjection(_clip_config())


def _vae(channels: int = 4, *, quantised: bool = True) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        layers_per_block=1,
        sample_size=SIZE,
        shift_factor=None if quantised else 0.06,
        scaling_factor=0.18215 if quantised else 1.5,
        use_quant_conv=quantised,
        use_post_quant_conv=quantised,
    )


def _unet(**options: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=SIZE // 2,
        block_out_channels=(16, 32),
        norm_num_groups=4,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **{"cross_attention_dim": 32, "attention_head_dim": 4, **options},
    )


def _stable_diffusion(scheduler: Any) -> Any:
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=_clip_text(),
        tokenizer=clip_tokenizer(),
        unet=_unet(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def _sd1() -> Any:
    from diffusers import PNDMScheduler

    return _stable_diffusion(PNDMScheduler(**_BETAS, skip_prk_steps=True, steps_offset=1))


def _sd2() -> Any:
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(
        **_BETAS,
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    return _stable_diffusion(scheduler)


def _flow_unet() -> Any:
    from diffusers import DPMSolverMultistepScheduler

    scheduler = DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=2.0
    )
    return _stable_diffusion(scheduler)


def _sdxl() -> Any:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    return StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=_clip_text(),
        text_encoder_2=_clip_projected(),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=_unet(
            cross_attention_dim=64,
            attention_head_dim=(2, 4),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            transformer_layers_per_block=(1, 2),
            projection_class_embeddings_input_dim=80,
        ),
        scheduler=EulerDiscreteScheduler(**_BETAS, steps_offset=1, timestep_spacing="leading"),
        add_watermarker=False,
    )


def _sd3() -> Any:
    from diffusers import (
        FlowMatchEulerDiscreteScheduler,
        SD3Transformer2DModel,
        StableDiffusion3Pipeline,
    )

    tokenizer, t5 = _t5(64)
    return StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=SIZE // 2,
            patch_size=2,
            in_channels=8,
            out_channels=8,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=32,
            joint_attention_dim=64,
            pooled_projection_dim=64,
            pos_embed_max_size=16,
        ),
        text_encoder=_clip_projected(),
        text_encoder_2=_clip_projected(),
        text_encoder_3=t5,
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        tokenizer_3=tokenizer,
        vae=_vae(8, quantised=False),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def _flux(kind: str = "FluxPipeline") -> Any:
    import diffusers
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel

    tokenizer, t5 = _t5(32)
    return getattr(diffusers, kind)(
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=(4, 4, 8),
            guidance_embeds=True,
        ),
        text_encoder=_clip_text(),
        text_encoder_2=t5,
        tokenizer=clip_tokenizer(),
        tokenizer_2=tokenizer,
        vae=_vae(4, quantised=False),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
    )


_BUILDERS: dict[str, Callable[[], Any]] = {
    "sd1": _sd1,
    "sd2": _sd2,
    "sdxl": _sdxl,
    "sd3": _sd3,
    "flux": _flux,
    "flow_unet": _flow_unet,
    "kontext": lambda: _flux("FluxKontextPipeline"),
}
