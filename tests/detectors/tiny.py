"""Tiny random checkpoints with the files of a hub repository, built from config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

WORDS = "a photo of an the cat dog red blue teddy bear traffic light bus cup".split()  # noqa: SIM905


def clip_tokenizer(folder: Path) -> Any:
    """A byte-level CLIP tokenizer: every byte, every byte that ends a word, no merges."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    pieces = [*letters, *(c + "</w>" for c in letters)]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            pair = (parts[0], parts[1])
            if pair not in merges:
                merges.append(pair)
                pieces.append("".join(pair))
            parts = ["".join(pair), *parts[2:]]
    pieces = list(dict.fromkeys([*pieces, "<|startoftext|>", "<|endoftext|>"]))
    tokenizer = CLIPTokenizer(
        vocab={piece: i for i, piece in enumerate(pieces)},
        merges=merges,
        model_max_length=16,
        pad_token="<|endoftext|>",
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def owl(folder: Path, kind: str = "owlvit", size: int = 32, seed: int = 0) -> Path:
    """An OWL-ViT or OWLv2 of some 40 thousand random weights."""
    import transformers as tf

    tokenizer = clip_tokenizer(folder)
    config_class, model_class, image_class, processor_class = {
        "owlvit": (
            tf.OwlViTConfig,
            tf.OwlViTForObjectDetection,
            tf.OwlViTImageProcessor,
            tf.OwlViTProcessor,
        ),
        "owlv2": (
            tf.Owlv2Config,
            tf.Owlv2ForObjectDetection,
            tf.Owlv2ImageProcessor,
            tf.Owlv2Processor,
        ),
    }[kind]
    common = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    config = config_class(
        text_config={
            **common,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 16,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": 0,
        },
        vision_config={**common, "image_size": size, "patch_size": 8},
        projection_dim=32,
    )
    torch.manual_seed(seed)
    model = model_class(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.15)
        model.class_head.logit_scale.bias.fill_(4.0)
    model.save_pretrained(folder)
    processor_class(
        image_class(
            size={"height": size, "width": size}, crop_size={"height": size, "width": size}
        ),
        tokenizer,
    ).save_pretrained(folder)
    return folder


def red_finder(folder: Path, kind: str, size: int = 64) -> Path:
    """An OWL whose weights are written by hand: a patch scores high exactly when it is red.

    The box of a patch is the one its place on the grid is biased to (centre at the lower right
    corner of its cell, one cell wide), so every detected box is known beforehand.
    """
    from transformers import Owlv2ForObjectDetection, OwlViTForObjectDetection

    owl(folder, kind, size)
    model_class = {"owlvit": OwlViTForObjectDetection, "owlv2": Owlv2ForObjectDetection}[kind]
    model = model_class.from_pretrained(folder)
    vision = getattr(model, kind).vision_model
    with torch.no_grad():
        embeddings = vision.embeddings
        embeddings.position_embedding.weight.zero_()
        sign = torch.ones(32)
        sign[16:] = -1
        embeddings.class_embedding.copy_(sign)
        patch = embeddings.patch_embedding.weight.zero_()
        patch[0, 0], patch[0, 1], patch[0, 2] = 1.0, -0.5, -0.5
        patch[1] = -patch[0]
        for layer in vision.encoder.layers:
            for linear in (layer.self_attn.out_proj, layer.mlp.fc2):
                linear.weight.zero_()
                linear.bias.zero_()
        head = model.class_head
        head.dense0.weight.zero_()
        head.dense0.bias.zero_()
        head.logit_shift.weight.zero_()
        head.logit_shift.weight[0, 0] = 1.0
        head.logit_shift.bias.fill_(-2.0)
        head.logit_scale.weight.zero_()
        head.logit_scale.bias.fill_(1.0)
        model.box_head.dense2.weight.zero_()
        model.box_head.dense2.bias.zero_()
    model.save_pretrained(folder)
    return folder


def bert_vocabulary() -> dict[str, int]:
    """[CLS], [SEP], "." and "?" at the ids that Grounding DINO has built in."""
    words = ["cat", "dog", "bus", "traffic", "light", "teddy", "bear", "baseball", "glove", "bat"]
    vocabulary = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
    vocabulary |= {".": 1012, "?": 1029}
    vocabulary |= {word: 200 + i for i, word in enumerate([*words, "a", "red", "blue", "##s"])}
    taken = set(vocabulary.values())
    vocabulary |= {f"[unused{i}]": i for i in range(1040) if i not in taken}
    return dict(sorted(vocabulary.items(), key=lambda item: item[1]))


def bert_tokenizer(folder: Path) -> Any:
    from transformers import BertTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = BertTokenizer(vocab=bert_vocabulary())
    tokenizer.save_pretrained(folder)
    return tokenizer


def grounding_dino(
    folder: Path, kind: str = "grounding-dino", width: int = 32, seed: int = 0
) -> Path:
    """A Grounding DINO (or MM-Grounding-DINO) of half a million random weights."""
    import transformers as tf

    tokenizer = bert_tokenizer(folder)
    config_class, model_class = {
        "grounding-dino": (tf.GroundingDinoConfig, tf.GroundingDinoForObjectDetection),
        "mm-grounding-dino": (tf.MMGroundingDinoConfig, tf.MMGroundingDinoForObjectDetection),
    }[kind]
    config = config_class(
        backbone_config=tf.SwinConfig(
            embed_dim=16,
            depths=[1, 1, 1, 1],
            num_heads=[1, 2, 2, 4],
            window_size=4,
            out_indices=[2, 3, 4],
        ),
        text_config=tf.BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
        ),
        d_model=width,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        num_queries=30,
        max_text_len=64,
    )
    torch.manual_seed(seed)
    model = model_class(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "bbox_embed" in name:
                parameter.normal_(0, 5 / width)
            if name.endswith(("vision_param", "text_param")):
                parameter.fill_(0.2)
    model.save_pretrained(folder)
    tf.GroundingDinoProcessor(
        tf.GroundingDinoImageProcessor(size={"shortest_edge": 128, "longest_edge": 256}), tokenizer
    ).save_pretrained(folder)
    return folder


def mask2former(folder: Path, seed: int = 0) -> Path:
    """A Mask2Former with five COCO classes."""
    import transformers as tf

    labels = dict(enumerate(["person", "cat", "dog", "mouse", "tv"]))
    config = tf.Mask2FormerConfig(
        backbone_config=tf.SwinConfig(
            embed_dim=16,
            depths=[1, 1, 1, 1],
            num_heads=[1, 2, 2, 4],
            window_size=4,
            out_indices=[1, 2, 3, 4],
        ),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        dim_feedforward=32,
        num_queries=10,
        id2label=labels,
        label2id={label: index for index, label in labels.items()},
    )
    torch.manual_seed(seed)
    tf.Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    tf.Mask2FormerImageProcessor(
        size={"shortest_edge": 64, "longest_edge": 128}, ignore_index=255
    ).save_pretrained(folder)
    return folder


def _strengthen(model: torch.nn.Module) -> None:
    """Weights large enough that the output depends on the picture."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.25)


def depth_anything(folder: Path, metric: bool = False, seed: int = 0) -> Path:
    """A Depth Anything of some thousand random weights."""
    import transformers as tf

    config = tf.DepthAnythingConfig(
        backbone_config=tf.Dinov2Config(
            hidden_size=16,
            num_hidden_layers=4,
            num_attention_heads=2,
            mlp_ratio=1,
            image_size=28,
            patch_size=14,
            out_indices=[1, 2, 3, 4],
            reshape_hidden_states=False,
        ),
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type="metric" if metric else "relative",
        max_depth=20 if metric else 1,
    )
    torch.manual_seed(seed)
    model = tf.DepthAnythingForDepthEstimation(config)
    _strengthen(model)
    with torch.no_grad():
        model.head.conv3.bias.fill_(0.0 if metric else 2.0)
    model.save_pretrained(folder)
    tf.DPTImageProcessor(
        size={"height": 56, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=14
    ).save_pretrained(folder)
    return folder


def dpt(folder: Path, seed: int = 0) -> Path:
    """A DPT (the MiDaS kind) of some thousand random weights."""
    import transformers as tf

    config = tf.DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=8,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        is_hybrid=False,
        use_auxiliary_head=False,
    )
    torch.manual_seed(seed)
    model = tf.DPTForDepthEstimation(config)
    _strengthen(model)
    with torch.no_grad():
        model.head.head[4].bias.fill_(2.0)
    model.save_pretrained(folder)
    tf.DPTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def clip(folder: Path, seed: int = 0) -> str:
    """An open_clip model as "local-dir:FOLDER"; its config says everything."""
    import json

    import open_clip
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8},
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": 16,
            "heads": 2,
            "layers": 1,
        },
    }
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": {}})
    )
    torch.manual_seed(seed)
    model = open_clip.CLIP(**config)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"
