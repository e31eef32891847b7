"""Measure the bundled models through their stock classes, and draw contact sheets to look at.

`python scripts/bundled/evaluate.py detector` compares with the known boxes of fresh scenes;
`python scripts/bundled/evaluate.py generator --prompts 60` generates relational prompts of the
SR2D form at the shipped settings and judges them with the shipped detector.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from pathlib import Path

import numpy as np
import torch
from common import BUNDLED
from diffusers import StableDiffusionPipeline
from evaluate_detector import figures_at, side_of
from PIL import Image, ImageDraw
from transformers import OwlViTForObjectDetection, OwlViTProcessor

from t2i_spatial.bundled.scene_captions import PHRASES, noun_phrase
from t2i_spatial.bundled.scenes import NOUNS, RELATIONS, render, sample_scene


class Detector:
    """The exported detector with its stock processor, queried for all nouns at once."""

    def __init__(self, folder: Path) -> None:
        self.model = OwlViTForObjectDetection.from_pretrained(folder).eval()
        self.processor = OwlViTProcessor.from_pretrained(folder)
        self.length = self.model.config.text_config.max_position_embeddings

    @torch.no_grad()
    def __call__(
        self, images: list[Image.Image], queries: list[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities (n, tokens, queries) and boxes (n, tokens, 4) in pixels."""
        scores, boxes = [], []
        for start in range(0, len(images), 64):
            part = images[start : start + 64]
            inputs = self.processor(
                text=[queries] * len(part), images=part, return_tensors="pt",
                padding="max_length", max_length=self.length,
            )  # fmt: skip
            output = self.model(**inputs)
            centre, half = output.pred_boxes[..., :2], output.pred_boxes[..., 2:] / 2
            size = torch.tensor([[image.width, image.height] * 2 for image in part])
            scores.append(output.logits.sigmoid().numpy())
            boxes.append((torch.cat([centre - half, centre + half], -1) * size[:, None]).numpy())
        return np.concatenate(scores), np.concatenate(boxes)


def judge(
    scores: np.ndarray, boxes: np.ndarray, prompt: dict, threshold: float
) -> tuple[bool, bool, list]:
    """Both objects found, relation true by VISOR's rule, and the two boxes used."""
    found = []
    for noun in (prompt["first"], prompt["second"]):
        column = scores[:, NOUNS.index(noun)]
        best = int(column.argmax())
        found.append(boxes[best] if column[best] > threshold else None)
    if found[0] is None or found[1] is None:
        return False, False, found
    left, above = side_of(*found)
    truth = {"left": left, "right": not left, "above": above, "below": not above}
    return True, truth[prompt["relation"]], found


def make_prompts(count: int, seed: int) -> list[dict]:
    rng = np.random.default_rng(seed)
    prompts = []
    for index in range(count):
        first, second = (NOUNS[i] for i in rng.permutation(len(NOUNS))[:2])
        relation = RELATIONS[index % 4]
        text = f"{noun_phrase(first)} {PHRASES[relation][0]} {noun_phrase(second)}"
        prompts.append({"text": text, "first": first, "second": second, "relation": relation})
    return prompts


def sheet(rows: list[tuple[Image.Image, str, list, str]], columns: int = 8) -> Image.Image:
    """Contact sheet: each picture twice as large, its boxes, prompt and verdict."""
    side, text = 128, 26
    height = -(-len(rows) // columns) * (side + text)
    canvas = Image.new("RGB", (columns * side, height), "white")
    draw = ImageDraw.Draw(canvas)
    for index, (image, prompt, boxes, verdict) in enumerate(rows):
        x, y = index % columns * side, index // columns * (side + text)
        canvas.paste(image.resize((side, side), Image.Resampling.BICUBIC), (x, y))
        scale = side / image.width
        for box, colour in zip(boxes, ("red", "blue"), strict=False):
            if box is not None:
                corner = np.clip(box * scale, 0, side - 1) + np.array([x, y, x, y])
                draw.rectangle(corner.tolist(), outline=colour)
        draw.text((x + 1, y + side), prompt[:21], fill="black")
        draw.text((x + 1, y + side + 12), f"{prompt[21:38]} {verdict}", fill="black")
    return canvas


def evaluate_generator(arguments: argparse.Namespace) -> dict:
    """Generate, judge, count: OA, VISOR cond/uncond/1-4, speed."""
    settings = json.loads((BUNDLED / "settings.json").read_text())
    defaults = settings["generator"]
    threshold = arguments.threshold or settings["detector"]["threshold"]
    guidance = arguments.guidance or defaults["guidance_scale"]
    steps = arguments.steps or defaults["steps"]
    pipeline = StableDiffusionPipeline.from_pretrained(
        arguments.models / "generator", safety_checker=None
    )
    if arguments.lora:
        pipeline.load_lora_weights(arguments.lora)
    pipeline.set_progress_bar_config(disable=True)
    prompts = make_prompts(arguments.prompts, arguments.seed)
    images, started = [], time.monotonic()
    for index, prompt in enumerate(prompts):
        seeds = [100_000 + 10 * index + sample for sample in range(arguments.samples)]
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        images += pipeline(
            [prompt["text"]] * arguments.samples, num_inference_steps=steps,
            guidance_scale=guidance, generator=generators,
        ).images  # fmt: skip
    seconds = time.monotonic() - started
    scores, boxes = Detector(arguments.models / "detector")(
        images, [f"a photo of a {noun}" for noun in NOUNS]
    )
    both, right, rows = [], [], []
    for index, image in enumerate(images):
        prompt = prompts[index // arguments.samples]
        present, true, used = judge(scores[index], boxes[index], prompt, threshold)
        both.append(present)
        right.append(true)
        verdict = "ok" if true else "wrong" if present else "missing"
        rows.append((image, prompt["text"], used, verdict))
    if arguments.sheet:
        order = np.random.default_rng(0).permutation(len(rows))[: arguments.sheet_images]
        sheet([rows[i] for i in order]).save(arguments.sheet)
    per_prompt = np.array(right).reshape(-1, arguments.samples).sum(1)
    relations = np.array([prompt["relation"] for prompt in prompts]).repeat(arguments.samples)
    both, right = np.array(both), np.array(right)
    return {
        "images": len(images),
        "threshold": threshold,
        "guidance_scale": guidance,
        "steps": steps,
        "object_accuracy": round(float(both.mean()), 3),
        "object_accuracy_by_threshold": {
            str(value): round(
                float(
                    np.mean(
                        [
                            judge(scores[i], boxes[i], prompts[i // arguments.samples], value)[0]
                            for i in range(len(images))
                        ]
                    )
                ),
                3,
            )
            for value in (0.2, 0.3, 0.4, 0.5, 0.6)
        },
        "visor_cond": round(float(right.sum() / max(both.sum(), 1)), 3),
        "visor_cond_by_relation": {
            name: round(
                float(right[relations == name].sum() / max(both[relations == name].sum(), 1)), 3
            )
            for name in RELATIONS
        },
        "visor_uncond": round(float(right.mean()), 3),
        **{f"visor_{n}": round(float((per_prompt >= n).mean()), 3) for n in range(1, 5)},
        "images_per_second": round(len(images) / seconds, 2),
    }


def damage(image: np.ndarray, how: str, rng: np.random.Generator) -> Image.Image:
    """Return a picture as others might store it: other sizes, JPEG, noise."""
    picture = Image.fromarray(image)
    if how == "jpeg":
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=70)
        return Image.open(buffer).convert("RGB")
    if how == "noise":
        noisy = image + rng.normal(0, 8, image.shape)
        return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    return picture


def evaluate_detector(arguments: argparse.Namespace) -> dict:
    """Figures on fresh scenes, as trained, larger and damaged, and for words not in them."""
    settings = json.loads((BUNDLED / "settings.json").read_text())
    threshold = arguments.threshold or settings["detector"]["threshold"]
    detector = Detector(arguments.models / "detector")
    queries = [f"a photo of a {noun}" for noun in NOUNS]
    strangers = ["person", "truck", "sheep", "kite", "surfboard", "wine glass", "xylophone", "qwe"]
    rng = np.random.default_rng(arguments.seed + 40_000)
    report: dict = {"scenes": arguments.scenes, "threshold": threshold}
    for name, side, how in (
        ("clean_64", 64, ""), ("clean_256", 256, ""),
        ("jpeg_64", 64, "jpeg"), ("noise_64", 64, "noise"),
    ):  # fmt: skip
        scenes = [sample_scene(rng) for _ in range(arguments.scenes)]
        drawn = [render(scene, side) for scene in scenes]
        pictures = [damage(image, how, rng) for image, _ in drawn]
        names = queries + [f"a photo of a {word}" for word in strangers]
        scores, boxes = detector(pictures, names)
        truth = [found for _, found in drawn]
        figures = figures_at(threshold, scores[..., : len(NOUNS)], boxes, truth, scenes)
        report[name] = {
            key: round(value, 4)
            for key, value in vars(figures).items()
            if key in ("recall", "precision", "mean_iou", "relation")
        }
        strange = scores[..., len(NOUNS) :].max(axis=1)
        report[name]["unknown_word_found"] = round(float((strange > threshold).mean()), 4)
        if name == "clean_64":
            for value in (0.3, 0.4, 0.5, 0.6, 0.7):
                tried = figures_at(value, scores[..., : len(NOUNS)], boxes, truth, scenes)
                report[f"clean_64 at {value}"] = tried.short()
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("generator", "detector"))
    parser.add_argument("--models", type=Path, default=BUNDLED)
    parser.add_argument("--prompts", type=int, default=60)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--threshold", type=float, help="instead of the shipped one")
    parser.add_argument("--guidance", type=float, help="instead of the shipped one")
    parser.add_argument("--steps", type=int, help="instead of the shipped one")
    parser.add_argument("--lora", type=Path)
    parser.add_argument("--sheet", type=Path, help="write a contact sheet of judged images")
    parser.add_argument("--sheet-images", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    evaluate = evaluate_generator if arguments.what == "generator" else evaluate_detector
    print(json.dumps(evaluate(arguments), indent=2))


if __name__ == "__main__":
    main()
