"""Train the detector, a small `OwlViTForObjectDetection`, on scenes with known boxes.

First each object is taught to its four nearest tokens; from `--one-to-one` of the time on, only to
the token near its centre that already answers best, all others being negatives, so duplicates die
out and no non-maximum suppression is needed. Queries are the nouns in varying templates plus words
that are not in the picture (other COCO nouns, random letters), which must score low.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from augment import augment
from common import (
    SIDE,
    Averaged,
    Clock,
    load_checkpoint,
    log,
    pick_device,
    save_checkpoint,
    scene_batch,
    set_rate,
    to_tensor,
)
from tokenizer import OTHER_COCO_NOUNS, build_tokenizer
from transformers import OwlViTConfig, OwlViTForObjectDetection

from t2i_spatial.bundled.scenes import NOUNS

TEXT_LENGTH = 16
TEMPLATES = ("a photo of a {}", "a photo of a {}", "{}", "a {}", "an image of a {}", "the {}")
PATCH = 8
GRID = SIDE // PATCH


def build_detector() -> OwlViTForObjectDetection:
    tokens = len(build_tokenizer(TEXT_LENGTH, "!"))
    text = {
        "vocab_size": tokens,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": TEXT_LENGTH,
        "bos_token_id": tokens - 2,
        "eos_token_id": tokens - 1,
        "pad_token_id": 0,
    }
    vision = {
        "hidden_size": 192,
        "intermediate_size": 640,
        "num_hidden_layers": 6,
        "num_attention_heads": 6,
        "image_size": SIDE,
        "patch_size": PATCH,
    }
    model = OwlViTForObjectDetection(
        OwlViTConfig(text_config=text, vision_config=vision, projection_dim=128)
    )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("class_embedding", "token_embedding.weight")):
                weight.normal_(0, 0.4)
            elif "position_embedding" in name:
                weight.normal_(0, 0.15)
            elif name.endswith("patch_embedding.weight"):
                weight.normal_(0, 0.05)
            elif "embeddings" not in name and name.endswith("weight") and weight.ndim == 2:
                weight.normal_(0, (1 / weight.shape[1]) ** 0.5 * 0.8)
        head = model.class_head
        for layer, bias in ((head.logit_scale, 12.0), (head.logit_shift, -0.45)):
            layer.weight.mul_(0.05)
            layer.bias.fill_(bias)
        model.box_head.dense2.weight.mul_(0.2)
        model.box_head.dense2.bias.zero_()
    return model


def random_queries(rng: np.random.Generator, negatives: int = 8) -> list[str]:
    """The nouns, each in a random template, then words that no scene shows."""
    strangers = [OTHER_COCO_NOUNS[i] for i in rng.permutation(len(OTHER_COCO_NOUNS))[:negatives]]
    letters = "".join(chr(97 + code) for code in rng.integers(0, 26, rng.integers(3, 9)))
    strangers[-1] = letters
    return [TEMPLATES[rng.integers(len(TEMPLATES))].format(noun) for noun in (*NOUNS, *strangers)]


def predict(model: OwlViTForObjectDetection, images: torch.Tensor, text: dict) -> tuple:
    """Return logits (b, tokens, queries) and boxes cxcywh in 0-1 (b, tokens, 4)."""
    queries = model.owlvit.get_text_features(**text)
    queries = queries if isinstance(queries, torch.Tensor) else queries.pooler_output
    features, _ = model.image_embedder(images)
    features = features.flatten(1, 2)
    batch = len(images)
    grid = features.reshape(batch, GRID, GRID, -1)
    logits, _ = model.class_predictor(features, queries[None].expand(batch, -1, -1))
    return logits.float(), model.box_predictor(features, grid).float()


def corners(boxes: torch.Tensor) -> torch.Tensor:
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], -1)


def loss_of(
    logits: torch.Tensor, boxes: torch.Tensor, truth: dict[str, torch.Tensor], one_to_one: bool
) -> torch.Tensor:
    """Focal binary loss over all tokens and queries, class and box losses on assigned tokens.

    `truth`: for each object its image `row`, noun index `noun` and box `xyxy` in 0-1.
    """
    row, noun, target = truth["row"], truth["noun"], truth["xyxy"]
    centres = (target[:, :2] + target[:, 2:]) / 2
    steps = (torch.arange(GRID, device=boxes.device) + 0.5) / GRID
    tokens = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).reshape(-1, 2)
    offset = (tokens[None] - centres[:, None]).abs()
    nearest = offset.pow(2).sum(-1).topk(4, largest=False).indices
    labels = torch.zeros_like(logits)
    if one_to_one:
        with torch.no_grad():
            own = corners(boxes[row])
            inter = torch.minimum(own[..., 2:], target[:, None, 2:]) - torch.maximum(
                own[..., :2], target[:, None, :2]
            )
            inter = inter.clamp(min=0).prod(-1)
            union = (
                (own[..., 2:] - own[..., :2]).prod(-1)
                + (target[:, 2:] - target[:, :2]).prod(-1, keepdim=True)
                - inter
            )
            score = logits[row].gather(2, noun[:, None, None].expand(-1, len(tokens), 1))[..., 0]
            fit = score.sigmoid().sqrt() * (inter / union.clamp(min=1e-6)).pow(2)
            near = (offset.amax(-1) < 1.5 / GRID).float()
            best = (near * (fit + 1e-3 - 1e-4 * offset.sum(-1))).argmax(1)
        chosen = best[:, None]
        assigned = torch.cat([chosen, nearest], 1)
    else:
        chosen = assigned = nearest
    rows = row[:, None].expand(-1, chosen.shape[1]).reshape(-1)
    classes = noun[:, None].expand(-1, chosen.shape[1]).reshape(-1)
    labels[rows, chosen.reshape(-1), classes] = 1
    raw = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    wrong = (labels - logits.sigmoid()).abs()
    focal = ((0.25 + 0.5 * labels) * wrong.pow(2) * raw).sum() / labels.sum()
    picked = logits[rows, chosen.reshape(-1), : len(NOUNS)]
    naming = F.cross_entropy(picked, classes, label_smoothing=0.02)
    rows = row[:, None].expand(-1, assigned.shape[1]).reshape(-1)
    own = corners(boxes[rows, assigned.reshape(-1)])
    want = target[:, None].expand(-1, assigned.shape[1], -1).reshape(-1, 4)
    overlap = 1 - paired_giou(own, want)
    return 2 * focal + 0.5 * naming + 4 * (own - want).abs().sum(-1).mean() + 1.5 * overlap.mean()


def paired_giou(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Generalised IoU (n,) of boxes (n, 4) xyxy, pair by pair."""
    low = torch.maximum(first[:, :2], second[:, :2])
    high = torch.minimum(first[:, 2:], second[:, 2:])
    inter = (high - low).clamp(min=0).prod(-1)
    area = (first[:, 2:] - first[:, :2]).prod(-1) + (second[:, 2:] - second[:, :2]).prod(-1)
    union = (area - inter).clamp(min=1e-6)
    hull = torch.maximum(first[:, 2:], second[:, 2:]) - torch.minimum(first[:, :2], second[:, :2])
    hull = hull.prod(-1).clamp(min=1e-6)
    return inter / union - (hull - union) / hull


def truth_of(boxes: list[np.ndarray], nouns: list[list[int]], device: torch.device) -> dict:
    """Flatten per-image boxes (pixels) and noun indices into one row per object."""
    rows = [index for index, found in enumerate(boxes) for _ in range(len(found))]
    return {
        "row": torch.tensor(rows, device=device),
        "noun": torch.tensor([noun for found in nouns for noun in found], device=device),
        "xyxy": torch.from_numpy(np.concatenate(boxes) / SIDE).float().to(device),
    }


class Bank:
    """Autoencoder reconstructions with boxes, written by `encode_bank.py`; used once it exists."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.data: dict[str, np.ndarray] | None = None

    def sample(self, rng: np.random.Generator, count: int) -> tuple | None:
        if self.data is None:
            if self.path is None or not self.path.exists():
                return None
            self.data = dict(np.load(self.path))
            log(f"detector: mixing in {len(self.data['images'])} reconstructions")
        picked = rng.integers(0, len(self.data["images"]), count)
        counts = self.data["counts"][picked]
        boxes = [self.data["boxes"][i, :n] for i, n in zip(picked, counts, strict=True)]
        nouns = [self.data["nouns"][i, :n].tolist() for i, n in zip(picked, counts, strict=True)]
        return to_tensor(self.data["images"][picked]), boxes, nouns


@torch.no_grad()
def quality(model: OwlViTForObjectDetection, fresh: tuple, text: dict) -> str:
    """Short figures on fresh scenes: recall, precision and relation agreement at the best F1."""
    from evaluate_detector import measure_predictions

    images, boxes, scenes = fresh
    logits, found = predict(model, images, text)
    return measure_predictions(logits.sigmoid(), corners(found) * SIDE, boxes, scenes).short()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--bank", type=Path, help="reconstructions to mix in, once they exist")
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--one-to-one", type=float, default=0.35)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    device = pick_device(arguments.device, arguments.threads)
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    tokenizer = build_tokenizer(TEXT_LENGTH, "!")

    def encode(queries: list[str]) -> dict[str, torch.Tensor]:
        tokens = tokenizer(
            queries, padding="max_length", truncation=True, max_length=TEXT_LENGTH,
            return_tensors="pt",
        )  # fmt: skip
        return {name: tokens[name].to(device) for name in ("input_ids", "attention_mask")}

    plain = encode([f"a photo of a {noun}" for noun in NOUNS])
    images, boxes, scenes = scene_batch(np.random.default_rng(20_000), 256)
    fresh = (images.to(device), boxes, scenes)

    model = build_detector().to(device)
    model.set_attn_implementation("eager")  # bf16 SDPA backward takes a quarter of a CPU step
    average = Averaged(model, 0.999)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.02)
    step, seconds, path = 0, 0.0, arguments.out / "detector.pt"
    if saved := load_checkpoint(path):
        model.load_state_dict(saved["model"])
        average.model.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        step, seconds, average.updates = saved["step"], saved["seconds"], saved["step"]
        rng = np.random.default_rng(arguments.seed + step)
    bank = Bank(arguments.bank)
    forward = torch.compile(predict) if arguments.compile else predict
    clock = Clock(arguments.minutes, seconds, warmup=500)
    while clock.progress < 1:
        set_rate(optimizer, clock.rate(step, arguments.rate, decay_from=0.45))
        extra = bank.sample(rng, arguments.batch // 4) if step % 2 else None
        images, boxes, scenes = scene_batch(rng, arguments.batch - (len(extra[0]) if extra else 0))
        nouns = [[NOUNS.index(item.noun) for item in scene.objects] for scene in scenes]
        if extra:
            images = torch.cat([images, extra[0]])
            boxes, nouns = boxes + extra[1], nouns + extra[2]
        images = augment(images, rng).to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            logits, found = forward(model, images, encode(random_queries(rng)))
        one_to_one = clock.progress > arguments.one_to_one
        loss = loss_of(logits, found, truth_of(boxes, nouns, device), one_to_one)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update(model)
        step += 1
        if step % 250 == 0 or clock.progress >= 1:
            rate = step * arguments.batch / clock.seconds
            figures = quality(average.model, fresh, plain)
            log(f"detector step {step} loss {loss.item():.3f} {figures}, {rate:.0f} img/s")
            save_checkpoint(
                path,
                model=model.state_dict(),
                average=average.model.state_dict(),
                optimizer=optimizer.state_dict(),
                step=step,
                seconds=clock.seconds,
            )


if __name__ == "__main__":
    main()
