"""Tiny random vision-language models built from configs, saved as any checkpoint is.

`tiny_vlm("qwen2_5_vl")` makes the folder once per process; treat it as read-only.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

FAMILIES = ("qwen2_5_vl", "qwen3_vl", "smolvlm", "llava", "gemma3", "internvl")
TEXTS = (
    "Is there a cat in the image? Answer Yes or No.",
    "Which is true of the image?\nA. the cat\nB. the dog Answer with one letter.",
    "How many dogs are in the image? Answer with a number. 0 1 2 3 4 5 6 7 8 9",
    " Yes No yes no A B C D E one two three four five six seven eight nine ten",
)
START, END = "<|im_start|>", "<|im_end|>"
QWEN = ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>")
SMOL = ("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>")


@functools.cache
def tiny_vlm(family: str) -> Path:
    """The folder of the tiny checkpoint of one family."""
    import torch

    folder = Path(tempfile.mkdtemp(prefix="t2i-spatial-vlm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, processor = _BUILDERS[family]()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "norm" not in name:
                parameter.mul_(4.0)  # so that the picture and the words matter
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def tokenizer(special: tuple[str, ...]) -> Any:
    """Byte-level BPE that has the usual answers as single tokens."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(TEXTS * 40, vocab_size=512, show_progress=False)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer, eos_token=END, pad_token="<|pad|>"
    )
    fast.add_special_tokens({"additional_special_tokens": [START, *special]})
    return fast


def _template(image: str) -> str:
    return (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
        "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
        "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
        + image
        + "{% else %}"
        "{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


def _text(words: Any, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(words),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "bos_token_id": None,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
        **more,
    }


def _qwen_ids(words: Any) -> dict[str, int]:
    start, image, end, video = words.convert_tokens_to_ids(list(QWEN))
    return {
        "vision_start_token_id": start,
        "image_token_id": image,
        "vision_end_token_id": end,
        "video_token_id": video,
    }


def _qwen2_5_vl() -> tuple[Any, Any]:
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    words = tokenizer(QWEN)
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10_000.0}
    config = Qwen2_5_VLConfig(
        text_config=_text(words, rope_parameters=rope),
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "out_hidden_size": 64,
            "intermediate_size": 48,
            "num_heads": 2,
            "patch_size": 14,
            "fullatt_block_indexes": [1],
            "window_size": 56,
        },
        **_qwen_ids(words),
    )
    images = Qwen2VLImageProcessor(
        patch_size=14, merge_size=2, min_pixels=28 * 28 * 4, max_pixels=28 * 28 * 16
    )
    template = _template("<|vision_start|><|image_pad|><|vision_end|>")
    processor = Qwen2_5_VLProcessor(images, words, Qwen2VLVideoProcessor(), chat_template=template)
    return Qwen2_5_VLForConditionalGeneration(config), processor


def _qwen3_vl() -> tuple[Any, Any]:
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    words = tokenizer(QWEN)
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10_000.0}
    config = Qwen3VLConfig(
        text_config=_text(words, head_dim=16, rope_parameters=rope),
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "out_hidden_size": 64,
            "intermediate_size": 48,
            "num_heads": 2,
            "patch_size": 16,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        tie_word_embeddings=True,
        **_qwen_ids(words),
    )
    images = Qwen2VLImageProcessor(
        patch_size=16, merge_size=2, min_pixels=32 * 32 * 4, max_pixels=32 * 32 * 16
    )
    template = _template("<|vision_start|><|image_pad|><|vision_end|>")
    processor = Qwen3VLProcessor(images, words, Qwen3VLVideoProcessor(), chat_template=template)
    return Qwen3VLForConditionalGeneration(config), processor


def _smolvlm() -> tuple[Any, Any]:
    from transformers import (
        SmolVLMConfig,
        SmolVLMForConditionalGeneration,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )

    words = tokenizer(SMOL)
    config = SmolVLMConfig(
        text_config={"model_type": "llama", **_text(words)},
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 16,
        },
        image_token_id=words.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=words.pad_token_id,
    )
    side = {"longest_edge": 64}
    images = SmolVLMImageProcessor(size=side, max_image_size=side, do_image_splitting=False)
    processor = SmolVLMProcessor(
        images,
        words,
        SmolVLMVideoProcessor(),
        image_seq_len=4,
        chat_template=_template("<image>"),
    )
    return SmolVLMForConditionalGeneration(config), processor


def _llava() -> tuple[Any, Any]:
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    words = tokenizer(("<image>",))
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=64,
        patch_size=16,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config={"model_type": "llama", **_text(words)},
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    images = CLIPImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64})
    processor = LlavaProcessor(
        images,
        words,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_template("<image>"),
    )
    return LlavaForConditionalGeneration(config), processor


def _named_tokens(words: Any, names: dict[str, str]) -> Any:
    """A tokenizer that knows its special tokens by name, as those of newer models do."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=words.backend_tokenizer,
        eos_token=END,
        pad_token="<|pad|>",
        extra_special_tokens=names,
    )


def _gemma3() -> tuple[Any, Any]:
    import torch
    from transformers import (
        Gemma3Config,
        Gemma3ForConditionalGeneration,
        Gemma3ImageProcessor,
        Gemma3Processor,
    )

    names = {
        "boi_token": "<start_of_image>",
        "image_token": "<image_soft_token>",
        "eoi_token": "<end_of_image>",
    }
    words = _named_tokens(tokenizer(tuple(names.values())), names)
    config = Gemma3Config(
        # two layers look at a window that the picture does not fit into, one at everything
        text_config={
            **_text(words, num_hidden_layers=3, head_dim=16, sliding_window=16),
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 16,
        },
        mm_tokens_per_image=4,
        boi_token_index=words.convert_tokens_to_ids(names["boi_token"]),
        eoi_token_index=words.convert_tokens_to_ids(names["eoi_token"]),
        image_token_index=words.convert_tokens_to_ids(names["image_token"]),
    )
    images = Gemma3ImageProcessor(size={"height": 64, "width": 64})
    processor = Gemma3Processor(
        images, words, chat_template=_template("<start_of_image>"), image_seq_length=4
    )
    model = Gemma3ForConditionalGeneration(config)
    # made as zeros, which would hide every picture
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight)
    return model, processor


def _internvl() -> tuple[Any, Any]:
    from transformers import (
        GotOcr2ImageProcessor,
        InternVLConfig,
        InternVLForConditionalGeneration,
        InternVLProcessor,
        InternVLVideoProcessor,
    )

    names = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    words = _named_tokens(tokenizer(tuple(names.values())), names)
    config = InternVLConfig(
        text_config={"model_type": "qwen2", **_text(words)},
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": [64, 64],
            "patch_size": [16, 16],
        },
        image_token_id=words.convert_tokens_to_ids(names["context_image_token"]),
        image_seq_length=4,
        downsample_ratio=0.5,
    )
    images = GotOcr2ImageProcessor(size={"height": 64, "width": 64}, max_patches=2)
    processor = InternVLProcessor(
        images,
        words,
        InternVLVideoProcessor(size={"height": 64, "width": 64}),
        image_seq_length=4,
        chat_template=_template("<IMG_CONTEXT>"),
    )
    return InternVLForConditionalGeneration(config), processor


_BUILDERS = {
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "smolvlm": _smolvlm,
    "llava": _llava,
    "gemma3": _gemma3,
    "internvl": _internvl,
}
