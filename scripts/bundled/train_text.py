"""Train the generator's text tower, a stock causal `CLIPTextModel`, on captions alone.

The last six positions, which see the whole caption, must tell about each object that the caption
names: class, side, count and colour (two positions per object); noun tokens tell their class.
These labels are hand-made: they come from the caption's own slots. The tower is frozen afterwards;
without this step the denoiser did not learn which object goes where (see MODEL_CARD.md).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from common import Clock, log, pick_device, set_rate
from tokenizer import build_tokenizer
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from t2i_spatial.bundled.scene_captions import Caption, describe
from t2i_spatial.bundled.scenes import COLOURS, NOUNS, sample_scene

TEXT_LENGTH = 24
WIDTH = 192
SLOTS = 3
PARTS = {"noun": len(NOUNS) + 1, "side_x": 3, "side_y": 3, "count": 4, "colour": len(COLOURS) + 1}


def build_text_tower() -> CLIPTextModel:
    tokens = len(build_tokenizer(TEXT_LENGTH, "<|endoftext|>"))
    tower = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=tokens,
            hidden_size=WIDTH,
            intermediate_size=576,
            projection_dim=WIDTH,
            num_hidden_layers=3,
            num_attention_heads=6,
            max_position_embeddings=TEXT_LENGTH,
            bos_token_id=tokens - 2,
            eos_token_id=tokens - 1,
            pad_token_id=tokens - 1,
        )
    )
    with torch.no_grad():
        for name, weight in tower.named_parameters():
            if "position_embedding" in name:
                weight.normal_(0, 0.7)
            elif "token_embedding" in name:
                weight.normal_(0, 0.5)
    return tower


def slot_targets(caption: Caption) -> list[dict[str, int]]:
    """Class indices per slot; absent slots say "no noun" and are ignored (-100) elsewhere."""
    names = list(COLOURS)
    targets = []
    for slot in caption.slots:
        targets.append(
            {
                "noun": NOUNS.index(slot.noun),
                "side_x": slot.side_x + 1,
                "side_y": slot.side_y + 1,
                "count": slot.count,
                "colour": names.index(slot.colour) if slot.colour else len(names),
            }
        )
    empty = dict.fromkeys(PARTS, -100) | {"noun": len(NOUNS)}
    return targets + [empty] * (SLOTS - len(targets))


def vary(text: str, rng: np.random.Generator) -> str:
    """Small changes of form that must not matter."""
    if rng.random() < 0.15:
        text += "."
    if rng.random() < 0.15:
        text = text.replace("an ", "a ")
    return text


class Heads(nn.Module):
    """Linear read-outs of the slot positions and of noun tokens; thrown away after training."""

    def __init__(self) -> None:
        super().__init__()
        self.slot = nn.ModuleDict({part: nn.Linear(WIDTH, size) for part, size in PARTS.items()})
        self.word = nn.Linear(WIDTH, len(NOUNS) + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=2)
    arguments = parser.parse_args()
    device = pick_device(arguments.device, arguments.threads)
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    tokenizer = build_tokenizer(TEXT_LENGTH, "<|endoftext|>")
    last_words = {tokenizer(noun).input_ids[-2]: index for index, noun in enumerate(NOUNS)}
    word_class = torch.full((len(tokenizer),), -100)
    for token, index in last_words.items():
        word_class[token] = index
    tower, heads = build_text_tower().to(device), Heads().to(device)
    optimizer = torch.optim.AdamW(
        [*tower.parameters(), *heads.parameters()], lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01
    )
    clock, step = Clock(arguments.minutes, warmup=100), 0
    positions = torch.arange(TEXT_LENGTH - 2 * SLOTS, TEXT_LENGTH)
    while clock.progress < 1:
        set_rate(optimizer, clock.rate(step, 1.2e-3, decay_from=0.4))
        captions = [describe(sample_scene(rng), rng) for _ in range(arguments.batch)]
        tokens = tokenizer(
            [vary(caption.text, rng) for caption in captions], padding="max_length",
            truncation=True, max_length=TEXT_LENGTH, return_tensors="pt",
        ).input_ids.to(device)  # fmt: skip
        hidden = tower(tokens).last_hidden_state
        noisy = hidden + 0.35 * torch.randn_like(hidden)
        targets = [slot_targets(caption) for caption in captions]
        loss = F.cross_entropy(
            heads.word(noisy).flatten(0, 1), word_class.to(device)[tokens].flatten()
        )
        correct = torch.ones(len(tokens), SLOTS, dtype=torch.bool, device=device)
        for part in PARTS:
            want = torch.tensor([[slot[part] for slot in slots] for slots in targets]).to(device)
            scores = heads.slot[part](noisy[:, positions])
            scores = scores.unflatten(1, (SLOTS, 2))
            twice = want[:, :, None].expand(-1, -1, 2)
            loss = loss + F.cross_entropy(scores.flatten(0, 2), twice.flatten())
            correct &= (scores[:, :, 0].argmax(-1) == want) | (want < 0)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        if step % 50 == 0 or clock.progress >= 1:
            exact = correct.all(1).float().mean().item()
            log(f"text step {step} loss {loss.item():.4f} captions read exactly {exact:.3f}")
    tower.eval().save_pretrained(arguments.out / "text_encoder")
    tokenizer.save_pretrained(arguments.out / "tokenizer")


if __name__ == "__main__":
    main()
