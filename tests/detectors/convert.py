"""Weights of the transformers Grounding DINO renamed to groundingdino-py's own layout."""

from __future__ import annotations

import re

import torch

_NAMES = [
    (r"^model\.text_backbone\.", "bert."),
    (r"^model\.text_projection\.", "feat_map."),
    (r"^model\.input_proj_vision\.", "input_proj."),
    (r"^model\.level_embed$", "transformer.level_embed"),
    (r"^model\.query_position_embeddings\.", "transformer.tgt_embed."),
    (r"^model\.enc_output_norm\.", "transformer.enc_output_norm."),
    (r"^model\.enc_output\.", "transformer.enc_output."),
    (r"^model\.encoder_output_bbox_embed\.", "transformer.enc_out_bbox_embed."),
    (r"^model\.decoder\.layer_norm\.", "transformer.decoder.norm."),
    (r"^model\.decoder\.reference_points_head\.", "transformer.decoder.ref_point_head."),
    # the backbone
    (r"^model\.backbone\.conv_encoder\.model\.", "backbone.0."),
    (r"^backbone\.0\.swin\.", "backbone.0."),
    (r"^backbone\.0\.embeddings\.patch_embeddings\.projection\.", "backbone.0.patch_embed.proj."),
    (r"^backbone\.0\.embeddings\.norm\.", "backbone.0.patch_embed.norm."),
    (r"^backbone\.0\.encoder\.layers\.", "backbone.0.layers."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.self\.relative_position_bias_table", ".attn.relative_position_bias_table"),
    (r"^(backbone.*)\.attention\.output\.dense\.", r"\1.attn.proj."),
    (r"^(backbone.*)\.intermediate\.dense\.", r"\1.mlp.fc1."),
    (r"^(backbone.*)\.output\.dense\.", r"\1.mlp.fc2."),
    # the encoder
    (r"^model\.encoder\.layers\.(\d+)\.deformable_layer\.", r"transformer.encoder.layers.\1."),
    (r"^model\.encoder\.layers\.(\d+)\.fusion_layer\.", r"transformer.encoder.fusion_layers.\1."),
    (
        r"^model\.encoder\.layers\.(\d+)\.text_enhancer_layer\.",
        r"transformer.encoder.text_layers.\1.",
    ),
    (r"^(transformer\.encoder\.layers\.\d+)\.self_attn_layer_norm\.", r"\1.norm1."),
    (r"^(transformer\.encoder\.layers\.\d+)\.final_layer_norm\.", r"\1.norm2."),
    (r"^(transformer\.encoder\.\w+\.\d+)\.fc1\.", r"\1.linear1."),
    (r"^(transformer\.encoder\.\w+\.\d+)\.fc2\.", r"\1.linear2."),
    (r"^(transformer\.encoder\.text_layers\.\d+)\.layer_norm_before\.", r"\1.norm1."),
    (r"^(transformer\.encoder\.text_layers\.\d+)\.layer_norm_after\.", r"\1.norm2."),
    (r"\.layer_norm_vision\.", ".layer_norm_v."),
    (r"\.layer_norm_text\.", ".layer_norm_l."),
    (r"\.vision_param$", ".gamma_v"),
    (r"\.text_param$", ".gamma_l"),
    (r"\.attn\.vision_proj\.", ".attn.v_proj."),
    (r"\.attn\.text_proj\.", ".attn.l_proj."),
    (r"\.attn\.values_vision_proj\.", ".attn.values_v_proj."),
    (r"\.attn\.values_text_proj\.", ".attn.values_l_proj."),
    (r"\.attn\.out_vision_proj\.", ".attn.out_v_proj."),
    (r"\.attn\.out_text_proj\.", ".attn.out_l_proj."),
    # the decoder
    (r"^model\.decoder\.layers\.", "transformer.decoder.layers."),
    (r"\.encoder_attn_text\.", ".ca_text."),
    (r"\.encoder_attn_text_layer_norm\.", ".catext_norm."),
    (r"\.encoder_attn\.", ".cross_attn."),
    (r"\.encoder_attn_layer_norm\.", ".norm1."),
    (r"^(transformer\.decoder\.layers\.\d+)\.self_attn_layer_norm\.", r"\1.norm2."),
    (r"^(transformer\.decoder\.layers\.\d+)\.final_layer_norm\.", r"\1.norm3."),
    (r"^(transformer\.decoder\.layers\.\d+)\.fc1\.", r"\1.linear1."),
    (r"^(transformer\.decoder\.layers\.\d+)\.fc2\.", r"\1.linear2."),
]
_STAGE = re.compile(r"^backbone\.0\.hidden_states_norms\.stage(\d)\.")
_PART = re.compile(r"^(.*?)\.?(?:attention\.self\.)?(query|key|value)\.(weight|bias)$")


def to_groundingdino_py(
    state: dict[str, torch.Tensor], decoder_layers: int
) -> dict[str, torch.Tensor]:
    """A state dict as the package's own model names it."""
    renamed: dict[str, torch.Tensor] = {}
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in state.items():
        name = key
        for pattern, replacement in _NAMES:
            name = re.sub(pattern, replacement, name)
        name = _STAGE.sub(lambda m: f"backbone.0.norm{int(m[1]) - 1}.", name)
        if name.startswith("backbone.0.layernorm."):
            continue
        match = _PART.match(name)
        if match and not name.startswith("bert."):
            home, which, kind = match.groups()
            middle = ".attn.qkv." if home.startswith("backbone") else ".in_proj_"
            parts.setdefault(f"{home}{middle}{kind}", {})[which] = value
        else:
            renamed[name] = value
    for name, three in parts.items():
        renamed[name] = torch.cat([three["query"], three["key"], three["value"]])
    for layer in range(decoder_layers):
        for key in [k for k in renamed if k.startswith("bbox_embed.0.")]:
            copy = key.replace("bbox_embed.0.", f"bbox_embed.{layer}.")
            renamed[copy] = renamed[f"transformer.decoder.{copy}"] = renamed[key]
    return renamed
