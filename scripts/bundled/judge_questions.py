"""Questions about rendered scenes with known answers: what the bundled judge is trained on.

Wordings vary; among them are those of the protocols that ask (`t2i_spatial.judges`). Relations are
asked only where the rules of `spatial` are sure of them, so that no picture is a toss-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from t2i_spatial.bundled.scene_captions import describe, noun_phrase, plural
from t2i_spatial.bundled.scenes import COLOURS, NOUNS, TINTABLE, Scene, sample_scene
from t2i_spatial.metrics.relations import relation_scores

YES_NO = (
    " Answer Yes or No.",
    " Please answer Yes or No.",
    " Please answer yes or no.",
    " Answer in one word.",
    " Answer the question with one word.",
    "",
)
LETTER = (" Answer with one letter.", " Answer with the letter of the right option.", "")
NUMBER = (" Answer with a number.", " Answer in one word.", "")
RELATIONS: dict[str, tuple[str, ...]] = {
    "left of": ("to the left of", "left of", "on the left of", "on the left side of"),
    "right of": ("to the right of", "right of", "on the right of", "on the right side of"),
    "above": ("above", "over"),
    "below": ("below", "under", "beneath", "underneath"),
    "next to": ("next to", "beside", "close to"),
}
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
WORDS = ("zero", "one", "two", "three", "four", "five", "six")
LETTERS = "ABCDE"
PLACES = ("in the image", "in the picture", "in this image", "in this picture", "in the photo")
PREFIXES = ("a photo of ", "a picture of ", "an image of ")


class Asked(NamedTuple):
    """A question about one picture and the text that answers it: Yes, No, a letter or a digit."""

    text: str
    answer: str


def pick(rng: np.random.Generator, values: Sequence):
    return values[rng.integers(len(values))]


def scene_to_ask(rng: np.random.Generator) -> Scene:
    """A scene; more counts and colours than the other models are trained on."""
    draw = rng.random()
    if draw < 0.55:
        return sample_scene(rng)
    first, second = (NOUNS[i] for i in rng.permutation(len(NOUNS))[:2])
    if draw < 0.75:
        nouns = (first,) * int(rng.integers(1, 5))
    elif draw < 0.85:
        nouns = (*(first,) * int(rng.integers(1, 4)), second)
    else:
        nouns = (first, second)
    colours = [
        pick(rng, list(COLOURS)) if noun in TINTABLE and rng.random() < 0.6 else None
        for noun in nouns
    ]
    relation = pick(rng, list(OPPOSITE)).split()[0] if len(set(nouns)) == len(nouns) == 2 else None
    return sample_scene(rng, nouns=nouns, relation=relation, colours=colours)


class Facts:
    """What is true of a batch of rendered scenes: relations are judged all at once."""

    def __init__(self, scenes: Sequence[Scene], boxes: Sequence[np.ndarray], side: int) -> None:
        self.scenes = scenes
        pairs = [
            (k, i, j)
            for k, scene in enumerate(scenes)
            for i in range(len(scene.objects))
            for j in range(len(scene.objects))
            if i != j and self._alone(scene, i) and self._alone(scene, j)
        ]
        subjects = np.array([boxes[k][i] for k, i, _ in pairs]).reshape(-1, 4)
        objects = np.array([boxes[k][j] for k, _, j in pairs]).reshape(-1, 4)
        self.holds: list[dict[tuple[int, int, str], bool]] = [{} for _ in scenes]
        for relation in RELATIONS:
            p = relation_scores("spatial", relation, subjects, objects, image_size=(side, side))
            for (k, i, j), value in zip(pairs, p, strict=True):
                if value >= 0.85 or value <= 0.15:
                    self.holds[k][i, j, relation] = bool(value > 0.5)
        self.sizes = [
            [float((b[2] - b[0]) * (b[3] - b[1])) for b in of_scene] for of_scene in boxes
        ]

    @staticmethod
    def _alone(scene: Scene, index: int) -> bool:
        names = [item.noun for item in scene.objects]
        return names.count(names[index]) == 1

    def counts(self, k: int) -> dict[str, int]:
        """Noun -> how many of it picture k shows."""
        found: dict[str, int] = {}
        for item in self.scenes[k].objects:
            found[item.noun] = found.get(item.noun, 0) + 1
        return found


def ask(facts: Facts, k: int, rng: np.random.Generator) -> Asked:
    """One random question about picture k."""
    kinds = ["exists", "exists", "count", "caption"]
    if facts.holds[k]:
        kinds += ["relation"] * 8 + ["relation_choice"] * 8 + ["statement"] * 4
    if any(item.colour for item in facts.scenes[k].objects):
        kinds += ["colour"] * 10
    if len(facts.counts(k)) > 1:
        kinds += ["size"]
    if max(facts.counts(k).values()) > 1:
        kinds += ["count"] * 4
    made = None
    while made is None:
        made = ASK[pick(rng, kinds)](facts, k, rng)
    return made


def _yes(holds: bool) -> str:
    return "Yes" if holds else "No"


def _absent(facts: Facts, k: int, rng: np.random.Generator) -> str:
    return pick(rng, [noun for noun in NOUNS if noun not in facts.counts(k)])


def _choice(text: str, options: list[str], right: str, rng: np.random.Generator) -> Asked:
    order = [options[i] for i in rng.permutation(len(options))]
    if rng.random() < 0.3 and len(order) < len(LETTERS):
        order.append("None")
    separator = pick(rng, (" ", "\n"))
    head = pick(rng, ("Options:", "Options:", ""))
    lines = separator.join(f"{LETTERS[i]}. {option}" for i, option in enumerate(order))
    shown = f"{text}{separator}{head}{separator if head else ''}{lines}{pick(rng, LETTER)}"
    return Asked(shown, LETTERS[order.index(right)])


def ask_exists(facts: Facts, k: int, rng: np.random.Generator) -> Asked:
    there = rng.random() < 0.5
    noun = pick(rng, list(facts.counts(k))) if there else _absent(facts, k, rng)
    if rng.random() < 0.2:
        right = pick(rng, list(facts.counts(k)))
        others = [n for n in NOUNS if n not in facts.counts(k)]
        options = [right, *(others[i] for i in rng.permutation(len(others))[:3])]
        question = pick(rng, ("Which object is in the image?", "What is in the picture?"))
        return _choice(question, options, right, rng)
    text = pick(
        rng,
        (
            f"Is there {noun_phrase(noun)} {pick(rng, PLACES)}?",
            f"Is there {noun_phrase(noun)}?",
            f"Are there any {plural(noun)} {pick(rng, PLACES)}?",
            f"Does the image contain {plural(noun)}?",
            f"Does the image show {noun_phrase(noun)}?",
        ),
    )
    return Asked(text + pick(rng, YES_NO), _yes(there))


def ask_count(facts: Facts, k: int, rng: np.random.Generator) -> Asked:
    counts = facts.counts(k)
    noun = max(counts, key=lambda n: counts[n]) if rng.random() < 0.7 else pick(rng, list(counts))
    count = counts[noun]
    if rng.random() < 0.35:
        text = f"How many {plural(noun)} are {pick(rng, ('there', *PLACES))}?"
        return Asked(text + pick(rng, NUMBER), str(count))
    if rng.random() < 0.25:
        wrong = [n for n in range(1, 7) if n != count]
        options = [str(count), *(str(wrong[i]) for i in rng.permutation(len(wrong))[:3])]
        return _choice(f"How many {plural(noun)} are in the image?", options, str(count), rng)
    asked = count if rng.random() < 0.5 else int(pick(rng, [n for n in range(1, 6) if n != count]))
    said = noun_phrase(noun) if asked == 1 else f"{WORDS[asked]} {plural(noun)}"
    said = f"one {noun}" if asked == 1 else said
    verb = "Is" if asked == 1 else "Are"
    text = f"{verb} there {pick(rng, ('exactly ', ''))}{said} {pick(rng, PLACES)}?"
    return Asked(text + pick(rng, YES_NO), _yes(asked == count))


def ask_colour(facts: Facts, k: int, rng: np.random.Generator) -> Asked | None:
    items = [item for item in facts.scenes[k].objects if item.colour]
    item = pick(rng, items)
    if facts.counts(k)[item.noun] > 1:
        return None
    if rng.random() < 0.25:
        others = [c for c in COLOURS if c != item.colour]
        options = [item.colour, *(others[i] for i in rng.permutation(len(others))[:3])]
        word = pick(rng, ("color", "colour"))
        return _choice(f"What {word} is the {item.noun}?", options, item.colour, rng)
    right = rng.random() < 0.5
    colour = item.colour if right else pick(rng, [c for c in COLOURS if c != item.colour])
    text = pick(
        rng,
        (
            f"Is the {item.noun} {colour}?",
            f"Is there {noun_phrase(item.noun, colour)} {pick(rng, PLACES)}?",
        ),
    )
    return Asked(text + pick(rng, YES_NO), _yes(right))


def _related(facts: Facts, k: int, rng: np.random.Generator) -> tuple[str, str, str, bool]:
    wanted = rng.random() < 0.5
    known = [key for key, value in facts.holds[k].items() if value == wanted]
    i, j, relation = pick(rng, known or list(facts.holds[k]))
    objects = facts.scenes[k].objects
    return objects[i].noun, relation, objects[j].noun, facts.holds[k][i, j, relation]


def ask_relation(facts: Facts, k: int, rng: np.random.Generator) -> Asked:
    subject, relation, target, holds = _related(facts, k, rng)
    phrase = pick(rng, RELATIONS[relation])
    if rng.random() < 0.08:
        target, holds = _absent(facts, k, rng), False
    article = pick(rng, ("the", "the", "a"))
    one, two = (
        (f"the {subject}", f"the {target}")
        if article == "the"
        else (noun_phrase(subject), noun_phrase(target))
    )
    text = f"Is {one} {phrase} {two}?"
    if article == "a":
        text = pick(rng, (text, f"Is there {one} {phrase} {two}?"))
    if rng.random() < 0.15:
        text = f"Are the {plural(subject)} {phrase} the {plural(target)}?"
    return Asked(text + pick(rng, YES_NO), _yes(holds))


def ask_statement(facts: Facts, k: int, rng: np.random.Generator) -> Asked:
    subject, relation, target, holds = _related(facts, k, rng)
    phrase = pick(rng, RELATIONS[relation])
    prefix = pick(rng, ("", "", *PREFIXES))
    caption = f"{prefix}{noun_phrase(subject)} {phrase} {noun_phrase(target)}"
    statement = f"the {subject} is {phrase} the {target}"
    text = pick(
        rng,
        (
            f'Does this figure show "{caption}"? Please answer Yes or No.',
            f'Does this figure show "{caption}"? Please answer yes or no.',
            f'Is this statement true of the image: "{statement}"? Answer Yes or No.',
            f'Is this true of the image: "{statement}"? Answer Yes or No.',
        ),
    )
    return Asked(text, _yes(holds))


def ask_relation_choice(facts: Facts, k: int, rng: np.random.Generator) -> Asked | None:
    subject, relation, target, holds = _related(facts, k, rng)
    if relation not in OPPOSITE:
        return None
    right = relation if holds else OPPOSITE[relation]
    i = next(n for n, o in enumerate(facts.scenes[k].objects) if o.noun == subject)
    j = next(n for n, o in enumerate(facts.scenes[k].objects) if o.noun == target)
    if not facts.holds[k].get((i, j, right)):
        return None
    options = [right, *(r for r in OPPOSITE if facts.holds[k].get((i, j, r)) is False)]
    if len(options) < 2:
        return None
    phrase = {r: pick(rng, RELATIONS[r]) for r in options}
    question = pick(
        rng,
        (
            f"Where is the {subject} relative to the {target}?",
            f"Which is true of the {subject} and the {target}?",
            f"Where is the {subject}?",
        ),
    )
    forms = ("{p} the {t}", "The {s} is {p} the {t}", "the {s} is {p} the {t}", "{p}")
    form = pick(rng, forms if target in question else forms[:3])
    shown = {r: form.format(p=p, t=target, s=subject) for r, p in phrase.items()}
    return _choice(question, list(shown.values()), shown[right], rng)


def ask_size(facts: Facts, k: int, rng: np.random.Generator) -> Asked | None:
    objects = facts.scenes[k].objects
    i, j = rng.permutation(len(objects))[:2]
    ratio = facts.sizes[k][i] / max(facts.sizes[k][j], 1.0)
    names = [item.noun for item in objects]
    if 0.67 < ratio < 1.5 or names.count(names[i]) > 1 or names.count(names[j]) > 1:
        return None
    larger = rng.random() < 0.5
    word = pick(rng, ("larger", "bigger") if larger else ("smaller",))
    text = f"Is the {names[i]} {word} than the {names[j]}?"
    return Asked(text + pick(rng, YES_NO), _yes((ratio > 1) == larger))


def ask_caption(facts: Facts, k: int, rng: np.random.Generator) -> Asked | None:
    """A whole caption, right or with one object exchanged."""
    scene, counts = facts.scenes[k], facts.counts(k)
    if max(counts.values()) > 3 or len(counts) < len(scene.objects) > max(counts.values()):
        return None
    caption = describe(scene, rng)
    if caption.relation is not None:
        return None
    text, holds = caption.text, True
    if rng.random() < 0.5:
        noun = caption.slots[rng.integers(len(caption.slots))].noun
        if caption.slots[0].count > 1 or noun not in text:
            return None
        other = _absent(facts, k, rng)
        text, holds = text.replace(noun, other, 1), False
    return Asked(f'Does this figure show "{text}"?{pick(rng, YES_NO[1:3])}', _yes(holds))


ASK = {
    "exists": ask_exists,
    "count": ask_count,
    "colour": ask_colour,
    "relation": ask_relation,
    "statement": ask_statement,
    "relation_choice": ask_relation_choice,
    "size": ask_size,
    "caption": ask_caption,
}
