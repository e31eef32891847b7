"""Train the judge, a small `LlavaForConditionalGeneration`, on questions about rendered scenes.

Its eyes are those of the bundled detector (the vision towers have the same form) and stay as they
are, so a bank of pictures is looked at once; the projector and a small Llama learn to answer. The
questions of a picture share its tokens: they lie in one sequence behind the picture, and no
question sees another.

Beside the answers, three things are taught directly: a projected patch in the middle of an object
has to resemble the word of its noun and to tell its colour, every patch has to tell where it is,
and the word of a noun in a question has to tell, after the second layer, how many of it there are,
and where and of which colour the only one is. Without that the first thousands of steps learn
nothing but how answers look.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from augment import augment
from common import (
    BUNDLED,
    SIDE,
    Averaged,
    Clock,
    load_checkpoint,
    log,
    pick_device,
    save_checkpoint,
    set_rate,
    to_tensor,
)
from judge_questions import Asked, Facts, ask, scene_to_ask
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    OwlViTForObjectDetection,
    PreTrainedTokenizerFast,
)

from t2i_spatial.bundled.scene_captions import plural
from t2i_spatial.bundled.scenes import COLOURS, NOUNS, Scene, SceneObject, render

PATCH = 8
IMAGE_TOKENS = (SIDE // PATCH) ** 2
PAD, END, USER, ASSISTANT, IMAGE = "<pad>", "<end>", "<user>", "<assistant>", "<image>"
LAYERS = (3, -1)
"""Layers of the vision tower that the projector sees: places in the middle, names at the end."""


def build_tokenizer(corpus: list[str], size: int = 1400) -> PreTrainedTokenizerFast:
    """Byte-level BPE, so that any text can be asked."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[PAD, END, USER, ASSISTANT, IMAGE],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, padding_side="left"
    )


def build_judge(tokens: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    """The model with the detector's vision tower in it."""
    vision = CLIPVisionConfig(
        hidden_size=192,
        intermediate_size=640,
        num_hidden_layers=6,
        num_attention_heads=6,
        image_size=SIDE,
        patch_size=PATCH,
        projection_dim=128,
    )
    text = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},  # slow: likeness survives it
        tie_word_embeddings=True,
        pad_token_id=tokens.pad_token_id,
        eos_token_id=tokens.eos_token_id,
        bos_token_id=None,
    )
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=vision,
            text_config=text,
            image_token_index=tokens.convert_tokens_to_ids(IMAGE),
            image_seq_length=IMAGE_TOKENS,
            vision_feature_layer=list(LAYERS),
            tie_word_embeddings=True,
        )
    )
    detector = OwlViTForObjectDetection.from_pretrained(BUNDLED / "detector")
    eyes = {
        name.replace("pre_layernorm", "pre_layrnorm"): weight
        for name, weight in detector.owlvit.vision_model.state_dict().items()
    }
    tower = model.model.vision_tower
    tower.load_state_dict(eyes)
    tower.requires_grad_(False)
    look_for_likeness(model)
    return model


@torch.no_grad()
def look_for_likeness(model: LlavaForConditionalGeneration, gain: float = 1.3) -> None:
    """Let the first two layers start by attending to what resembles the token that asks.

    Queries and keys begin as one and the same projection, so the word of a noun finds the patches
    that were taught to resemble it; left to chance, finding this takes most of the training.
    """
    for layer in model.model.language_model.layers[:2]:
        attention = layer.self_attn
        width = attention.q_proj.weight.shape[1]
        same = torch.nn.init.orthogonal_(torch.empty(width, width)) * gain
        attention.q_proj.weight.copy_(same)
        attention.k_proj.weight.copy_(same)


def corpus(rng: np.random.Generator, scenes: int = 1500) -> list[str]:
    """Texts to learn the vocabulary from."""
    drawn = [scene_to_ask(rng) for _ in range(scenes)]
    boxes = [render(scene, SIDE)[1] for scene in drawn]
    facts = Facts(drawn, boxes, SIDE)
    asked = [ask(facts, k % scenes, rng) for k in range(12 * scenes)]
    return [text for pair in asked for text in pair]


def colour_of(item: SceneObject) -> int:
    """Number of the tint; -1 for an object in its own colours, which have no one name."""
    return -1 if item.colour is None else list(COLOURS).index(item.colour)


def spots(scene: Scene, boxes: np.ndarray) -> list[tuple[int, int, int]]:
    """(patch, noun, colour) of patches whose centre lies in the middle half of an object's box."""
    steps = (np.arange(SIDE // PATCH) + 0.5) * PATCH
    found = {}
    for item, (x1, y1, x2, y2) in zip(scene.objects, boxes, strict=True):
        dx, dy = (x2 - x1) / 4, (y2 - y1) / 4
        for row in np.flatnonzero((steps > y1 + dy) & (steps < y2 - dy)):
            for column in np.flatnonzero((steps > x1 + dx) & (steps < x2 - dx)):
                patch = int(row) * (SIDE // PATCH) + int(column)
                found[patch] = (NOUNS.index(item.noun), colour_of(item))
    # later objects cover earlier ones
    return [(patch, *known) for patch, known in sorted(found.items())]


def told(scene: Scene, boxes: np.ndarray) -> list[tuple[int, float, float, int]]:
    """Of every noun: how many there are, and the place (NaN) and colour (-1) of the only one."""
    found = []
    for noun in NOUNS:
        own = [
            (item, box) for item, box in zip(scene.objects, boxes, strict=True) if item.noun == noun
        ]
        x, y, colour = (np.nan, np.nan, -1)
        if len(own) == 1:
            item, box = own[0]
            x, y = (box[:2] + box[2:]) / (2 * SIDE) - 0.5
            colour = colour_of(item)
        found.append((len(own), float(x), float(y), colour))
    return found


def noun_tokens(tokens: PreTrainedTokenizerFast) -> dict[int, int]:
    """Token -> noun; the last token of a noun of two words stands for it."""
    ways = ((index, way) for index, noun in enumerate(NOUNS) for way in (noun, plural(noun)))
    return {tokens(f" {way}")["input_ids"][-1]: index for index, way in ways}


class Bank:
    """Pictures of random scenes, damaged like the detector's, as the judge's eyes see them."""

    def __init__(
        self, model: LlavaForConditionalGeneration, seed: int, count: int, file: Path | None = None
    ) -> None:
        rng = np.random.default_rng(seed)
        self.scenes = [scene_to_ask(rng) for _ in range(count)]
        drawn = [render(scene, SIDE) for scene in self.scenes]
        self.boxes = [boxes for _, boxes in drawn]
        self.spots = [spots(s, b) for s, b in zip(self.scenes, self.boxes, strict=True)]
        if file is not None and file.exists():
            self.seen = torch.from_numpy(np.load(file))
            return
        damage = np.random.default_rng(seed + 1)
        pictures = [image for image, _ in drawn]
        self.seen = torch.cat(
            [
                look(model, augment(to_tensor(np.stack(pictures[k : k + 64])), damage))
                for k in range(0, count, 64)
            ]
        )
        if file is not None:
            np.save(file, self.seen.numpy())


@torch.no_grad()
def look(model: LlavaForConditionalGeneration, images: torch.Tensor) -> torch.Tensor:
    """What the projector gets of images (n, 3, SIDE, SIDE) in [-1, 1]: (n, patches, width)."""
    tower = model.model.vision_tower
    layers = tower(images.to(tower.device), output_hidden_states=True).hidden_states
    return torch.cat([layers[k][:, 1:] for k in LAYERS], -1).half().cpu()


class Batch:
    """Pictures with questions: one sequence per picture, a mask keeps the questions apart."""

    def __init__(
        self,
        rng: np.random.Generator,
        tokens: PreTrainedTokenizerFast,
        bank: Bank,
        chosen: np.ndarray,
        questions: int,
        nouns: dict[int, int],
    ) -> None:
        self.seen = bank.seen[torch.from_numpy(chosen)].float()
        self.spots = [bank.spots[k] for k in chosen]
        facts = Facts([bank.scenes[k] for k in chosen], [bank.boxes[k] for k in chosen], SIDE)
        self.asked: list[list[Asked]] = [
            [ask(facts, k, rng) for _ in range(questions)] for k in range(len(chosen))
        ]
        start, answer, end = tokens.convert_tokens_to_ids([USER, ASSISTANT, END])
        self.prefix = [start] + [tokens.convert_tokens_to_ids(IMAGE)] * IMAGE_TOKENS
        head = len(self.prefix)
        self.nouns: list[tuple[int, int, int, float, float, int]] = []
        rows = []
        for row, of_picture in enumerate(self.asked):
            facts_of = told(bank.scenes[chosen[row]], bank.boxes[chosen[row]])
            ids, labels, places, part = list(self.prefix), [-100] * head, list(range(head)), []
            part = [0] * head
            texts = tokens([q.text for q in of_picture])["input_ids"]
            replies = tokens([q.answer for q in of_picture])["input_ids"]
            for number, (text, reply) in enumerate(zip(texts, replies, strict=True), 1):
                own = [*text, answer, *reply, end]
                self.nouns += [
                    (row, len(ids) + k, *facts_of[nouns[token]])
                    for k, token in enumerate(text)
                    if token in nouns
                ]
                ids += own
                # what follows each token: nothing counts but the answer and the end
                labels += [-100] * len(text) + [*reply, end] + [-100]
                places += range(head, head + len(own))
                part += [number] * len(own)
            rows.append((ids, labels, places, part))
        longest = max(len(row[0]) for row in rows)
        fill = (tokens.pad_token_id, -100, 0, -1)
        self.ids, self.labels, self.places, part = (
            torch.tensor([row[c] + [fill[c]] * (longest - len(row[c])) for row in rows])
            for c in range(4)
        )
        same = (part[:, :, None] == part[:, None, :]) | (part[:, None, :] == 0)
        causal = torch.ones(longest, longest, dtype=torch.bool).tril()
        self.mask = (same & causal)[:, None]


class Grounding(torch.nn.Module):
    """What the projected patches are taught directly; thrown away after training."""

    def __init__(self, width: int, words: list[int]) -> None:
        super().__init__()
        self.place = torch.nn.Linear(width, 2)
        self.scale = torch.nn.Parameter(torch.tensor(10.0))
        self.words = words
        self.count = torch.nn.Linear(width, 5)
        self.where = torch.nn.Linear(width, 2)
        self.tint = torch.nn.Linear(width, len(COLOURS))
        self.colour = torch.nn.Linear(width, len(COLOURS))
        steps = (torch.arange(SIDE // PATCH) + 0.5) / (SIDE // PATCH) - 0.5
        grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)
        self.register_buffer("grid", grid.reshape(-1, 2))

    def forward(self, patches: torch.Tensor, nouns: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Loss of patches (b, tokens, width) against the embeddings (n, width) of the nouns."""
        where = [(row, *spot) for row, found in enumerate(batch.spots) for spot in found]
        rows, cells, labels, tints = torch.tensor(where, device=patches.device).T
        inside = patches[rows, cells].float()
        logits = self.scale * F.normalize(inside, dim=-1) @ F.normalize(nouns.float(), dim=-1).T
        placed = (self.place(patches).float() - self.grid).pow(2).mean()
        return F.cross_entropy(logits, labels) + 10 * placed + known(self.tint(inside), tints)

    def of_nouns(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Loss of what the nouns of questions know (b, tokens, width) of the picture."""
        rows, places, counts, x, y, colours = zip(*batch.nouns, strict=True)
        words = hidden[list(rows), list(places)].float()
        truth = torch.tensor(list(zip(x, y, strict=True)), device=words.device)
        single = truth[:, 0].isfinite()
        counted = F.cross_entropy(self.count(words), torch.tensor(counts, device=words.device))
        placed = (self.where(words)[single] - truth[single]).pow(2).mean()
        tinted = known(self.colour(words), torch.tensor(colours, device=words.device))
        return counted + 10 * placed + tinted


def known(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy over the labels that are not -1; 0 where none is."""
    total = F.cross_entropy(logits.float(), labels, ignore_index=-1, reduction="sum")
    return total / (labels >= 0).sum().clamp(min=1)


def answers(
    model: LlavaForConditionalGeneration,
    batch: Batch,
    device: torch.device,
    grounding: Grounding | None = None,
) -> tuple:
    """Logits (m, vocabulary) and labels (m,) where an answer is due, and the grounding loss."""
    ids = batch.ids.to(device)
    table = model.get_input_embeddings()
    embedded = table(ids)
    seen = model.model.multi_modal_projector(batch.seen.to(device))
    beside = 0.0
    if grounding is not None:
        beside = grounding(seen, table.weight[grounding.words], batch)
    embedded = torch.cat(
        [embedded[:, :1], seen.to(embedded.dtype), embedded[:, 1 + IMAGE_TOKENS :]], 1
    )
    mask = torch.zeros_like(batch.mask, dtype=embedded.dtype).masked_fill(~batch.mask, -1e4)
    hidden = model.model.language_model(
        inputs_embeds=embedded,
        attention_mask=mask.to(device),
        position_ids=batch.places.to(device),
        use_cache=False,
        output_hidden_states=grounding is not None,
    )
    if grounding is not None:
        beside = beside + grounding.of_nouns(hidden.hidden_states[2], batch)
    hidden = hidden.last_hidden_state
    labels = batch.labels.to(device)
    due = labels != -100
    return model.lm_head(hidden[due]).float(), labels[due], beside


@torch.no_grad()
def quality(
    model: LlavaForConditionalGeneration, fresh: Batch, device: torch.device, end: int
) -> str:
    """Share of right answers by kind of answer."""
    logits, labels, _ = answers(model, fresh, device)
    kept = labels != end
    right = (logits.argmax(-1) == labels)[kept].float().cpu()
    replies = [q.answer for of_picture in fresh.asked for q in of_picture]
    asked = [q.text for of_picture in fresh.asked for q in of_picture]
    groups: dict[str, list[float]] = {}
    words = (" left", " right", " above", " below", " over", " under", " beneath", " beside")
    for value, reply, text in zip(right.tolist(), replies, asked, strict=True):
        kind = "choice" if reply in "ABCDE" else "count" if reply.isdigit() else "exists"
        if kind == "exists" and any(word in text for word in words):
            kind = "relation"
        if any(f" {colour}" in text for colour in COLOURS):
            kind = "colour"
        groups.setdefault(kind, []).append(value)
    return " ".join(f"{kind} {100 * np.mean(v):.1f}" for kind, v in sorted(groups.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=90)
    parser.add_argument("--batch", type=int, default=32, help="pictures")
    parser.add_argument("--questions", type=int, default=8, help="of each picture")
    parser.add_argument("--pictures", type=int, default=16_000, help="in the bank")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args()
    device = pick_device(arguments.device, arguments.threads)
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    vocabulary = arguments.out / "judge_tokenizer"
    if not vocabulary.exists():
        build_tokenizer(corpus(np.random.default_rng(1))).save_pretrained(vocabulary)
    tokens = PreTrainedTokenizerFast.from_pretrained(vocabulary)
    end = tokens.convert_tokens_to_ids(END)
    model = build_judge(tokens).to(device)
    file = arguments.out / f"judge_bank_{arguments.pictures}.npy"
    bank = Bank(model, 40_000, arguments.pictures, file)
    log(f"judge: looked at {arguments.pictures} pictures")
    # the last word of a noun of two stands for it
    nouns = noun_tokens(tokens)
    words = [tokens(f" {noun}")["input_ids"][-1] for noun in NOUNS]
    grounding = Grounding(model.config.text_config.hidden_size, words).to(device)
    average = Averaged(model, 0.999)
    other = np.random.default_rng(30_000)
    fresh = Batch(other, tokens, Bank(model, 30_000, 192), np.arange(192), 8, nouns)
    learnt = [*(p for p in model.parameters() if p.requires_grad), *grounding.parameters()]
    optimizer = torch.optim.AdamW(learnt, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.02)
    step, seconds, path = 0, 0.0, arguments.out / "judge.pt"
    if saved := load_checkpoint(path):
        model.load_state_dict(saved["model"])
        average.model.load_state_dict(saved["average"])
        grounding.load_state_dict(saved["grounding"])
        optimizer.load_state_dict(saved["optimizer"])
        step, seconds, average.updates = saved["step"], saved["seconds"], saved["step"]
        rng = np.random.default_rng(arguments.seed + step)
    clock = Clock(arguments.minutes, seconds, warmup=300)
    while clock.progress < 1:
        set_rate(optimizer, clock.rate(step, arguments.rate, decay_from=0.5))
        chosen = rng.integers(0, arguments.pictures, arguments.batch)
        batch = Batch(rng, tokens, bank, chosen, arguments.questions, nouns)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            logits, labels, beside = answers(model, batch, device, grounding)
        loss = F.cross_entropy(logits, labels)
        (loss + 0.3 * beside).backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update(model)
        step += 1
        if step % 200 == 0 or clock.progress >= 1:
            figures = quality(average.model, fresh, device, end)
            rate = step * arguments.batch / clock.seconds
            losses = f"{loss.item():.3f} + {beside.item():.3f}"
            log(f"judge step {step} loss {losses} {figures}, {rate:.0f} img/s")
            save_checkpoint(
                path,
                model=model.state_dict(),
                average=average.model.state_dict(),
                grounding=grounding.state_dict(),
                optimizer=optimizer.state_dict(),
                step=step,
                seconds=clock.seconds,
            )


if __name__ == "__main__":
    main()
