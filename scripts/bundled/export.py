"""Assemble what was trained into the two stock folders that ship, as fp16 safetensors.

`python scripts/bundled/export.py --checkpoints DIR [--out t2i_spatial/bundled]`; the parts that
are trained so far are exported, so a first version can be tried early.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from common import BUNDLED, SIDE, load_checkpoint
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline
from tokenizer import build_tokenizer
from train_detector import TEXT_LENGTH as QUERY_LENGTH
from train_detector import build_detector
from train_judge import IMAGE, PATCH, build_judge
from train_unet import build_unet
from transformers import (
    CLIPImageProcessor,
    CLIPTextModel,
    CLIPTokenizer,
    LlavaProcessor,
    OwlViTImageProcessor,
    OwlViTProcessor,
    PreTrainedTokenizerFast,
)

CHAT = (
    "{% for message in messages %}<{{ message.role }}>"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}"
    "{% if part.type in ['image', 'image_url'] %}<image>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}{% if message.role == 'assistant' %}<end>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
"""The conversation as the judge was trained on it: user, picture, question, assistant."""


def load_as_float32(config: Path) -> None:
    """Let transformers compute in float32 by default although the file holds float16."""
    values = json.loads(config.read_text())
    for part in (values, values.get("text_config", {}), values.get("vision_config", {})):
        if "dtype" in part:
            part["dtype"] = "float32"
        part.pop("transformers_version", None)
    config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")


def export_generator(checkpoints: Path, out: Path) -> bool:
    """Write the pipeline folder from the averaged weights; False if there are none yet."""
    saved = load_checkpoint(checkpoints / "unet.pt")
    if saved is None:
        return False
    unet = build_unet()
    unet.load_state_dict(saved["average"])
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(checkpoints / "vae"),
        text_encoder=CLIPTextModel.from_pretrained(checkpoints / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(checkpoints / "tokenizer"),
        unet=unet,
        scheduler=DPMSolverMultistepScheduler(
            prediction_type="flow_prediction",
            use_flow_sigmas=True,
            flow_shift=2.0,
            steps_offset=1,  # unused by flow sigmas; the pipeline warns about any other value
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    for part in (pipeline.vae, pipeline.text_encoder, pipeline.unet):
        part.half().eval()
    pipeline.save_pretrained(out)
    load_as_float32(out / "text_encoder" / "config.json")
    for config in out.rglob("config.json"):
        values = json.loads(config.read_text())
        if values.pop("_name_or_path", None) is not None:
            config.write_text(json.dumps(values, indent=2) + "\n")
    return True


def export_detector(checkpoints: Path, out: Path) -> bool:
    """Write the detector folder from the averaged weights; False if there are none yet."""
    saved = load_checkpoint(checkpoints / "detector.pt")
    if saved is None:
        return False
    model = build_detector()
    model.load_state_dict(saved["average"])
    model.half().eval().save_pretrained(out)
    load_as_float32(out / "config.json")
    processor = OwlViTProcessor(
        image_processor=OwlViTImageProcessor(
            size={"height": SIDE, "width": SIDE},
            do_center_crop=False,
            crop_size={"height": SIDE, "width": SIDE},
            image_mean=[0.5, 0.5, 0.5],
            image_std=[0.5, 0.5, 0.5],
        ),
        tokenizer=build_tokenizer(QUERY_LENGTH, "!"),
    )
    processor.save_pretrained(out)
    return True


def export_judge(checkpoints: Path, out: Path) -> bool:
    """Write the judge folder from the averaged weights; False if there are none yet."""
    saved = load_checkpoint(checkpoints / "judge.pt")
    if saved is None:
        return False
    tokens = PreTrainedTokenizerFast.from_pretrained(checkpoints / "judge_tokenizer")
    tokens.model_max_length = 1024
    model = build_judge(tokens)
    model.load_state_dict(saved["average"])
    model.generation_config.update(
        pad_token_id=tokens.pad_token_id, eos_token_id=tokens.eos_token_id, bos_token_id=None
    )
    model.half().eval().save_pretrained(out)
    load_as_float32(out / "config.json")
    LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"height": SIDE, "width": SIDE},
            do_center_crop=False,
            crop_size={"height": SIDE, "width": SIDE},
            image_mean=[0.5, 0.5, 0.5],
            image_std=[0.5, 0.5, 0.5],
        ),
        tokenizer=tokens,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,  # the class token, which is then left out
        image_token=IMAGE,
        chat_template=CHAT,
    ).save_pretrained(out)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoints", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=BUNDLED)
    arguments = parser.parse_args()
    for name, export in (
        ("generator", export_generator),
        ("detector", export_detector),
        ("judge", export_judge),
    ):
        folder = arguments.out / name
        if not export(arguments.checkpoints, folder):
            print(f"{name}: not trained yet")
            continue
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"{name}: {size / 1e6:.2f} MB in {folder.name}/")


if __name__ == "__main__":
    main()
