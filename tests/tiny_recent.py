"""Tiny random checkpoints of the families of 2024 to 2026, for `tiny_models.tiny_model`.

One byte-level tokenizer serves all language models; sizes are the smallest that the pipelines take.
"""

from __future__ import annotations

import atexit
import io
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

WORDS = 300


def _bytes_tokenizer(chat: str | None = None) -> Any:
    from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    model = BPE({word: index for index, word in enumerate([*special, *letters])}, [])
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=special[3:],
        model_max_length=512,
    )
    fast.chat_template = chat
    return fast


_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }} "
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{{ message['content'][0]['text'] }}{% endif %}<|im_end|>{% endfor %}"
)
_LANGUAGE = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": WORDS,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def _flow(**options: Any) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**{"shift": 3.0, **options})


def _vae(channels: int, **options: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        **{
            "block_out_channels": (8, 16),
            "norm_num_groups": 4,
            "down_block_types": ("DownEncoderBlock2D",) * 2,
            "up_block_types": ("UpDecoderBlock2D",) * 2,
            "latent_channels": channels,
            "layers_per_block": 1,
            "sample_size": 32,
            "shift_factor": 0.06,
            "scaling_factor": 1.5,
            "use_quant_conv": False,
            "use_post_quant_conv": False,
            **options,
        }
    )


def _video_vae(kind: str, **options: Any) -> Any:
    import diffusers

    return getattr(diffusers, kind)(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
        **options,
    )


def _qwen2_vl(width: int = 16) -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    sections = [width // 16, width // 16, width // 8]
    config = Qwen2_5_VLConfig(
        text_config={
            **_LANGUAGE,
            "hidden_size": width,
            "rope_scaling": {"mrope_section": sections, "rope_type": "default", "type": "default"},
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": width,
        },
        vocab_size=WORDS,
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def _qwen_image() -> Any:
    from diffusers import QwenImagePipeline, QwenImageTransformer2DModel

    return QwenImagePipeline(
        transformer=QwenImageTransformer2DModel(
            patch_size=2,
            in_channels=16,
            out_channels=4,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            axes_dims_rope=(8, 4, 4),
        ),
        vae=_video_vae("AutoencoderKLQwenImage"),
        scheduler=_flow(use_dynamic_shifting=True),
        text_encoder=_qwen2_vl(),
        tokenizer=_bytes_tokenizer(),
    )


def _qwen3(kind: str) -> Any:
    import transformers

    # FLUX.2 reads the states after layers 9, 18 and 27
    deep = {**_LANGUAGE, "num_hidden_layers": 28}
    config = transformers.Qwen3Config(**deep, head_dim=8, max_position_embeddings=512)
    return getattr(transformers, kind)(config)


def _flux2_parts(guided: bool, width: int) -> dict[str, Any]:
    from diffusers import AutoencoderKLFlux2, Flux2Transformer2DModel

    vae = AutoencoderKLFlux2(
        sample_size=32,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 8),
        layers_per_block=1,
        latent_channels=2,
        norm_num_groups=1,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    vae.bn.running_mean.uniform_(-1.0, 1.0)
    vae.bn.running_var.uniform_(0.5, 2.0)
    return {
        "scheduler": _flow(use_dynamic_shifting=True),
        "transformer": Flux2Transformer2DModel(
            patch_size=1,
            in_channels=8,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=width,
            timestep_guidance_channels=32,
            axes_dims_rope=[4, 4, 4, 4],
            guidance_embeds=guided,
        ),
        "vae": vae,
    }


def _flux2_klein(distilled: bool = False) -> Any:
    from diffusers import Flux2KleinPipeline

    return Flux2KleinPipeline(
        **_flux2_parts(False, 48),
        text_encoder=_qwen3("Qwen3ForCausalLM"),
        tokenizer=_bytes_tokenizer(_CHAT),
        is_distilled=distilled,
    )


def _flux2_dev() -> Any:
    from diffusers import Flux2Pipeline
    from transformers import (
        Mistral3Config,
        Mistral3ForConditionalGeneration,
        PixtralImageProcessor,
        PixtralProcessor,
    )

    # FLUX.2 reads the states after layers 10, 20 and 30
    config = Mistral3Config(
        text_config={
            **_LANGUAGE,
            "model_type": "mistral",
            "num_hidden_layers": 31,
            "head_dim": 8,
            "max_position_embeddings": 512,
        },
        vision_config={
            "model_type": "pixtral",
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "head_dim": 8,
            "image_size": 32,
            "patch_size": 8,
        },
        image_token_index=7,
    )
    tokenizer = _bytes_tokenizer()
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["[IMG]", "[IMG_BREAK]", "[IMG_END]"]},
    )
    return Flux2Pipeline(
        **_flux2_parts(True, 48),
        text_encoder=Mistral3ForConditionalGeneration(config),
        tokenizer=PixtralProcessor(
            PixtralImageProcessor(), tokenizer, patch_size=8, chat_template=_CHAT
        ),
    )


def _z_image() -> Any:
    import torch
    from diffusers import ZImagePipeline, ZImageTransformer2DModel

    transformer = ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=16,
        axes_dims=[8, 4, 4],
        axes_lens=[640, 32, 32],
    )
    with torch.no_grad():  # torch.empty where they are made
        transformer.x_pad_token.fill_(1.0)
        transformer.cap_pad_token.fill_(1.0)
    return ZImagePipeline(
        transformer=transformer,
        vae=_vae(4),
        scheduler=_flow(shift=6.0),
        text_encoder=_qwen3("Qwen3Model"),
        tokenizer=_bytes_tokenizer(_CHAT),
    )


def _gemma2() -> Any:
    from transformers import Gemma2Config, Gemma2Model

    return Gemma2Model(Gemma2Config(**_LANGUAGE, head_dim=8, attn_implementation="eager"))


def _sana() -> Any:
    from diffusers import AutoencoderDC, SanaPipeline, SanaTransformer2DModel

    return SanaPipeline(
        transformer=SanaTransformer2DModel(
            patch_size=1,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            num_attention_heads=2,
            attention_head_dim=8,
            num_cross_attention_heads=2,
            cross_attention_head_dim=8,
            cross_attention_dim=16,
            caption_channels=16,
            sample_size=16,
        ),
        vae=AutoencoderDC(
            in_channels=3,
            latent_channels=4,
            attention_head_dim=2,
            encoder_block_types=("ResBlock", "EfficientViTBlock"),
            decoder_block_types=("ResBlock", "EfficientViTBlock"),
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            encoder_qkv_multiscales=((), (5,)),
            decoder_qkv_multiscales=((), (5,)),
            encoder_layers_per_block=(1, 1),
            decoder_layers_per_block=[1, 1],
            downsample_block_type="conv",
            upsample_block_type="interpolate",
            decoder_norm_types="rms_norm",
            decoder_act_fns="silu",
            scaling_factor=0.41407,
        ),
        scheduler=_flow(),
        text_encoder=_gemma2(),
        tokenizer=_bytes_tokenizer(),
    )


def _lumina2() -> Any:
    from diffusers import Lumina2Pipeline, Lumina2Transformer2DModel

    return Lumina2Pipeline(
        transformer=Lumina2Transformer2DModel(
            sample_size=16,
            patch_size=2,
            in_channels=4,
            hidden_size=16,
            num_layers=1,
            num_refiner_layers=1,
            num_attention_heads=2,
            num_kv_heads=2,
            multiple_of=16,
            axes_dim_rope=[4, 2, 2],
            axes_lens=[512, 64, 64],
            cap_feat_dim=16,
        ),
        vae=_vae(
            4,
            block_out_channels=(4, 4, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            norm_num_groups=1,
        ),
        scheduler=_flow(),
        text_encoder=_gemma2(),
        tokenizer=_bytes_tokenizer(),
    )


def _t5(kind: str = "T5EncoderModel", width: int = 32) -> Any:
    import transformers

    options = {"vocab_size": WORDS, "d_model": width, "d_kv": 8, "d_ff": 32, "num_layers": 1}
    config = transformers.UMT5Config if kind.startswith("UMT5") else transformers.T5Config
    return getattr(transformers, kind)(config(**options, num_heads=4))


def _pixart() -> Any:
    from diffusers import DDIMScheduler, PixArtSigmaPipeline, PixArtTransformer2DModel

    return PixArtSigmaPipeline(
        transformer=PixArtTransformer2DModel(
            sample_size=16,
            num_layers=1,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=2,
            caption_channels=32,
            in_channels=4,
            cross_attention_dim=16,
            out_channels=8,
        ),
        vae=_vae(4, shift_factor=None),
        scheduler=DDIMScheduler(),
        text_encoder=_t5(),
        tokenizer=_bytes_tokenizer(),
    )


def _chroma() -> Any:
    from diffusers import ChromaPipeline, ChromaTransformer2DModel

    return ChromaPipeline(
        transformer=ChromaTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            axes_dims_rope=[4, 4, 8],
            approximator_hidden_dim=32,
            approximator_layers=1,
            approximator_num_channels=16,
        ),
        vae=_vae(4),
        scheduler=_flow(use_dynamic_shifting=True),
        text_encoder=_t5(),
        tokenizer=_bytes_tokenizer(),
    )


def _aura_flow() -> Any:
    from diffusers import AuraFlowPipeline, AuraFlowTransformer2DModel

    return AuraFlowPipeline(
        transformer=AuraFlowTransformer2DModel(
            sample_size=16,
            patch_size=2,
            in_channels=4,
            num_mmdit_layers=1,
            num_single_dit_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=32,
            joint_attention_dim=32,
            out_channels=4,
            pos_embed_max_size=64,
        ),
        vae=_vae(4, shift_factor=None),
        scheduler=_flow(),
        text_encoder=_t5("UMT5EncoderModel"),
        tokenizer=_bytes_tokenizer(),
    )


def _cogview4() -> Any:
    from diffusers import CogView4Pipeline, CogView4Transformer2DModel
    from transformers import GlmConfig, GlmModel

    return CogView4Pipeline(
        transformer=CogView4Transformer2DModel(
            patch_size=2,
            in_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            out_channels=4,
            text_embed_dim=16,
            time_embed_dim=8,
            condition_dim=4,
            sample_size=16,
        ),
        vae=_vae(4, shift_factor=None),
        scheduler=_flow(use_dynamic_shifting=True, time_shift_type="linear"),
        text_encoder=GlmModel(GlmConfig(**_LANGUAGE, head_dim=8)),
        tokenizer=_bytes_tokenizer(),
    )


def _krea2() -> Any:
    from diffusers import Krea2Pipeline, Krea2Transformer2DModel
    from transformers import Qwen3VLConfig, Qwen3VLModel

    config = Qwen3VLConfig(
        text_config={**_LANGUAGE, "head_dim": 8},
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 16,
        },
        vocab_size=WORDS,
    )
    return Krea2Pipeline(
        transformer=Krea2Transformer2DModel(
            in_channels=16,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=32,
            timestep_embed_dim=8,
            text_hidden_dim=16,
            num_text_layers=3,
            text_num_attention_heads=2,
            text_num_key_value_heads=1,
            text_intermediate_size=16,
            num_layerwise_text_blocks=1,
            num_refiner_text_blocks=1,
            axes_dims_rope=(4, 2, 2),
        ),
        vae=_video_vae("AutoencoderKLQwenImage"),
        scheduler=_flow(use_dynamic_shifting=True),
        text_encoder=Qwen3VLModel(config),
        tokenizer=_bytes_tokenizer(),
        text_encoder_select_layers=(0, 1, 2),
    )


def _wan() -> Any:
    from diffusers import WanPipeline, WanTransformer3DModel

    return WanPipeline(
        transformer=WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=4,
            out_channels=4,
            text_dim=32,
            freq_dim=16,
            ffn_dim=32,
            num_layers=1,
            rope_max_seq_len=32,
        ),
        vae=_video_vae("AutoencoderKLWan", scale_factor_spatial=4, scale_factor_temporal=2),
        scheduler=_flow(),
        text_encoder=_t5("UMT5EncoderModel"),
        tokenizer=_bytes_tokenizer(),
    )


def _hunyuan_image(distilled: bool = False) -> Any:
    from diffusers import (
        AdaptiveProjectedMixGuidance,
        AutoencoderKLHunyuanImage,
        HunyuanImagePipeline,
        HunyuanImageTransformer2DModel,
    )

    guider = None if distilled else AdaptiveProjectedMixGuidance()
    return HunyuanImagePipeline(
        transformer=HunyuanImageTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=4,
            attention_head_dim=8,
            num_layers=1,
            num_single_layers=1,
            num_refiner_layers=1,
            patch_size=(1, 1),
            guidance_embeds=distilled,
            text_embed_dim=32,
            text_embed_2_dim=32,
            rope_axes_dim=(4, 4),
        ),
        vae=AutoencoderKLHunyuanImage(
            in_channels=3,
            out_channels=3,
            latent_channels=4,
            block_out_channels=(32, 64),
            layers_per_block=1,
            scaling_factor=0.476986,
            spatial_compression_ratio=2,
            sample_size=32,
        ),
        scheduler=_flow(),
        text_encoder=_qwen2_vl(32),
        tokenizer=_bytes_tokenizer(),
        text_encoder_2=_t5(),
        tokenizer_2=_bytes_tokenizer(),
        guider=guider,
        ocr_guider=guider,
    )


def _hidream() -> Any:
    from diffusers import HiDreamImagePipeline, HiDreamImageTransformer2DModel
    from transformers import (
        CLIPTextConfig,
        CLIPTextModelWithProjection,
        LlamaConfig,
        LlamaForCausalLM,
    )

    clip = CLIPTextConfig(
        vocab_size=WORDS,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=128,
        projection_dim=16,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    # as published, but for the sizes: the layers of Llama are fewer than the blocks
    return HiDreamImagePipeline(
        transformer=HiDreamImageTransformer2DModel(
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            caption_channels=[32, 16],
            text_emb_dim=32,
            num_routed_experts=4,
            num_activated_experts=2,
            axes_dims_rope=(8, 4, 4),
            max_resolution=(32, 32),
            llama_layers=[0, 1, 1],
            force_inference_output=True,
        ),
        vae=_vae(4),
        scheduler=_flow(),
        text_encoder=CLIPTextModelWithProjection(clip),
        tokenizer=_bytes_tokenizer(),
        text_encoder_2=CLIPTextModelWithProjection(clip),
        tokenizer_2=_bytes_tokenizer(),
        text_encoder_3=_t5(),
        tokenizer_3=_bytes_tokenizer(),
        text_encoder_4=LlamaForCausalLM(LlamaConfig(**_LANGUAGE)),
        tokenizer_4=_bytes_tokenizer(),
    )


def _kolors() -> Any:
    import sentencepiece
    import torch
    from diffusers import EulerDiscreteScheduler, KolorsPipeline, UNet2DConditionModel
    from diffusers.pipelines.kolors import ChatGLMModel
    from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig
    from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer

    pieces = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a cat left of a dog", "object 0 1 2 3"]),
        model_writer=pieces,
        vocab_size=60,
        model_type="char",
        hard_vocab_limit=False,
        byte_fallback=False,
        minloglevel=2,
    )
    # copied from there when the pipeline is saved
    folder = tempfile.mkdtemp(prefix="t2i-spatial-tiny-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "tokenizer.model"
    path.write_bytes(pieces.getvalue())
    config = ChatGLMConfig(
        num_layers=2,
        padded_vocab_size=128,
        hidden_size=16,
        ffn_hidden_size=16,
        kv_channels=8,
        num_attention_heads=2,
        multi_query_attention=True,
        multi_query_group_num=1,
        seq_length=256,
        add_bias_linear=False,
        add_qkv_bias=True,
        apply_query_key_layer_scaling=True,
        attention_softmax_in_fp32=True,
        layernorm_epsilon=1e-5,
        rmsnorm=True,
        post_layer_norm=True,
        original_rope=True,
    )
    text_encoder = ChatGLMModel(config)
    for parameter in text_encoder.parameters():  # torch.empty where they are made
        torch.nn.init.normal_(parameter, 1.0 if parameter.ndim == 1 else 0.0, 0.2)
    return KolorsPipeline(
        vae=_vae(4, shift_factor=None, scaling_factor=0.13),
        text_encoder=text_encoder,
        tokenizer=ChatGLMTokenizer(str(path)),
        unet=UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(16, 32),
            norm_num_groups=4,
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=(2, 4),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            transformer_layers_per_block=(1, 2),
            projection_class_embeddings_input_dim=64,
            encoder_hid_dim=16,
            encoder_hid_dim_type="text_proj",
        ),
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.014, beta_schedule="scaled_linear", steps_offset=1
        ),
    )


BUILDERS: dict[str, Callable[[], Any]] = {
    "qwen_image": _qwen_image,
    "flux2_klein": _flux2_klein,
    "flux2_dev": _flux2_dev,
    "z_image": _z_image,
    "sana": _sana,
    "lumina2": _lumina2,
    "pixart": _pixart,
    "chroma": _chroma,
    "aura_flow": _aura_flow,
    "cogview4": _cogview4,
    "krea2": _krea2,
    "wan": _wan,
    "hunyuan_image": _hunyuan_image,
    "kolors": _kolors,
    "hidream": _hidream,
}
