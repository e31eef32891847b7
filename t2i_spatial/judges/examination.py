"""Before you believe a judge, measure it: drawn scenes whose truth is known.

Scenes come in pairs that differ in one thing (left and right, which is larger, which covers which,
there or not), so that a judge who always says the same is right half of the time and not more.
Choices are shown in both orders of options.
"""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from t2i_spatial.bundled.scenes import (
    COLOURS,
    NOUNS,
    TINTABLE,
    Background,
    Scene,
    SceneObject,
    render,
)
from t2i_spatial.judges.base import Asked, Judge, Picture, Reply
from t2i_spatial.judges.sending import JudgeError
from t2i_spatial.prompts.inflection import plural
from t2i_spatial.prompts.phrasing import noun_phrase
from t2i_spatial.questions import ANSWERED, ERROR, LETTER, NUMBER, REFUSED, Question
from t2i_spatial.scene import ObjectSpec
from t2i_spatial.statistics.intervals import Interval, ratio_interval

SIDE = 256
MOST = 6
"""The largest number that is counted."""
BOTH = ((0, 1), (1, 0))
"""Orders of two options."""
GREY = Background(first=(225, 225, 220), second=(225, 225, 220))
ENDS = {
    "left": ("to the left of", "to the right of", (0.27, 0.5), (0.73, 0.5)),
    "above": ("above", "below", (0.5, 0.27), (0.5, 0.73)),
}


@dataclass(frozen=True)
class Case:
    """One question about one drawn scene.

    Attributes:
        kind: what is tested.
        pair: scenes with the same number are each other's opposite, or one row of counts.
        orders: of options, in which the question is put; `None` for none.
    """

    kind: str
    pair: int
    scene: Scene
    question: Question
    orders: tuple[tuple[int, ...] | None, ...] = (None,)


@dataclass(frozen=True)
class Examination:
    """How good a judge is at what.

    Attributes:
        accuracy: kind -> share of right answers, clustered by pair; what is unusable is wrong.
        unusable: kind -> share of answers that are none.
        because: why most of the unusable ones are, in the judge's or the server's words.
        refused: share of questions that were declined.
        first_letter: share of "A" among answers to choices; one half is no liking for a letter.
        order_bias: share of choices answered otherwise when the options are exchanged.
        mirror_consistency: share of pairs of opposite scenes that got opposite answers.
        seconds: per question.
        questions: how many were put.
    """

    accuracy: dict[str, Interval]
    unusable: dict[str, float]
    because: str | None
    refused: float
    first_letter: float | None
    order_bias: float | None
    mirror_consistency: float | None
    seconds: float
    questions: int

    def to_dict(self) -> dict[str, Any]:
        """For `--json`, and to be stored with a run."""
        return {
            "accuracy": {
                kind: {"value": i.value, "low": i.low, "high": i.high, "pairs": i.n_clusters}
                for kind, i in self.accuracy.items()
            },
            "unusable": self.unusable,
            "because": self.because,
            "refused": self.refused,
            "first_letter": self.first_letter,
            "order_bias": self.order_bias,
            "mirror_consistency": self.mirror_consistency,
            "seconds": self.seconds,
            "questions": self.questions,
        }


def cases(pairs: int = 8, seed: int = 0) -> list[Case]:
    """Scenes with their questions: `pairs` pairs of each kind, as many rows of counts.

    >>> sorted({case.kind for case in cases(1)})
    ['above', 'colour', 'count', 'exists', 'in front', 'larger', 'left']
    """
    rng, other = np.random.default_rng(seed), np.random.default_rng((seed, 1))
    return [case for pair in range(pairs) for case in (*_cases(pair, rng), *_colours(pair, other))]


def _cases(pair: int, rng: np.random.Generator) -> Iterator[Case]:
    first, second, other = (NOUNS[k] for k in rng.permutation(len(NOUNS))[:3])
    size = float(rng.uniform(0.34, 0.42))
    for kind, (way, back, place, opposite) in ENDS.items():
        for k, (a, b) in enumerate(((place, opposite), (opposite, place))):
            scene = _scene((first, *a, size), (second, *b, size))
            yield Case(kind, pair, scene, _either(first, (way, back), second, "AB"[k]), BOTH)
    for k, (size_a, size_b) in enumerate(((0.5, 0.25), (0.25, 0.5))):
        scene = _scene((first, 0.27, 0.5, size_a), (second, 0.75, 0.5, size_b))
        words = ("larger than", "smaller than")
        yield Case("larger", pair, scene, _either(first, words, second, "AB"[k]), BOTH)
    lower, upper = (second, 0.42, 0.45, 0.5), (first, 0.6, 0.58, 0.5)
    for k, drawn in enumerate(((lower, upper), (upper, lower))):
        words = ("in front of", "behind")
        question = _either(first, words, second, "AB"[k])
        yield Case("in front", pair, _scene(*drawn), question, BOTH)
    scene = _scene((first, 0.27, 0.5, size), (second, 0.73, 0.5, size))
    for noun, there in ((first, "yes"), (other, "no")):
        asked = f"Is there {noun_phrase(ObjectSpec(noun))} in the image?"
        yield Case("exists", pair, scene, Question(asked, gold=there))
    places = [(0.2 + 0.3 * (k % 3), 0.3 + 0.4 * (k // 3)) for k in range(MOST)]
    asked = f"How many {plural(first)} are in the image?"
    for count in range(1, MOST + 1):
        chosen = [places[k] for k in sorted(rng.permutation(MOST)[:count])]
        scene = _scene(*((first, x, y, 0.24) for x, y in chosen))
        question = Question(asked, "count", gold=str(count), template=NUMBER.name)
        yield Case("count", pair, scene, question)


def _colours(pair: int, rng: np.random.Generator) -> Iterator[Case]:
    """The same question of the same object in two colours; the other object has the other one."""
    first, second = (str(noun) for noun in rng.permutation(sorted(TINTABLE))[:2])
    asked, other = (str(colour) for colour in rng.permutation(list(COLOURS))[:2])
    for colours, gold in (((asked, other), "yes"), ((other, asked), "no")):
        places = zip((first, second), ((0.27, 0.5), (0.73, 0.5)), colours, strict=True)
        objects = tuple(
            SceneObject(noun, x, y, 0.38, colour=colour) for noun, (x, y), colour in places
        )
        yield Case(
            "colour", pair, Scene(objects, GREY), Question(f"Is the {first} {asked}?", gold=gold)
        )


def _scene(*objects: tuple[str, float, float, float]) -> Scene:
    return Scene(tuple(SceneObject(*spec) for spec in objects), GREY)


def _either(first: str, words: tuple[str, str], second: str, gold: str) -> Question:
    options = tuple(f"the {first} is {way} the {second}" for way in words)
    return Question("Which is true of the image?", "choice", options, gold, template=LETTER.name)


def examine(
    judge: Judge, folder: Path, *, pairs: int = 8, seed: int = 0, votes: int = 1
) -> Examination:
    """Put every question to a judge.

    Args:
        folder: where the drawings are kept meanwhile.
        votes: sampled replies per question of a judge without probabilities.

    Raises:
        JudgeError: every question ended in an error.
    """
    put = cases(pairs, seed)
    times = 1 if judge.gives_probabilities else votes
    batch = []
    for number, case in enumerate(put):
        path = folder / f"{number}.png"
        buffer = io.BytesIO()
        Image.fromarray(render(case.scene, SIDE)[0]).save(buffer, "PNG")
        path.write_bytes(buffer.getvalue())
        asked = [
            Asked(case.question, rollout * len(case.orders) + k, order, seed)
            for rollout in range(times)
            for k, order in enumerate(case.orders)
        ]
        batch.append((Picture(str(path), buffer.getvalue(), (str(number), 0)), asked))
    begun = time.monotonic()
    replies = judge.collect(judge.submit(batch))
    seconds = time.monotonic() - begun
    asked_of = [asked for _, asked in batch]
    return _marked(put, asked_of, replies, seconds)


def _marked(
    put: Sequence[Case],
    asked: Sequence[Sequence[Asked]],
    replies: Sequence[Sequence[Reply]],
    seconds: float,
) -> Examination:
    right: dict[str, list[float]] = {}
    clusters: dict[str, list[int]] = {}
    unusable: dict[str, list[bool]] = {}
    shown_first: list[bool] = []
    turned: list[bool] = []
    answers: dict[tuple[str, int], list[str | None]] = {}
    for case, of_case, given in zip(put, asked, replies, strict=True):
        for one, reply in zip(of_case, given, strict=True):
            right.setdefault(case.kind, []).append(float(reply.answer == case.question.gold))
            clusters.setdefault(case.kind, []).append(case.pair)
            unusable.setdefault(case.kind, []).append(reply.status != ANSWERED)
            if reply.answer is not None and one.order is not None:
                shown_first.append(one.order.index("AB".index(reply.answer)) == 0)
        if case.question.kind == "choice":
            said = [reply.answer for reply in given]
            if None not in said:
                turned += [a != b for a, b in zip(said[::2], said[1::2], strict=True)]
            answers.setdefault((case.kind, case.pair), []).append(said[0])
    pairs = [said for said in answers.values() if None not in said]
    count = sum(map(len, right.values()))
    every = [reply for given in replies for reply in given]
    reasons = Counter(r.reason for r in every if r.status != ANSWERED and r.reason is not None)
    because = reasons.most_common(1)[0][0] if reasons else None
    if every and all(reply.status == ERROR for reply in every):
        raise JudgeError(f"the judge answered none of {len(every):,} questions (most: {because})")
    return Examination(
        {
            kind: ratio_interval(right[kind], np.ones(len(right[kind])), clusters[kind])
            for kind in right
        },
        {kind: float(np.mean(unusable[kind])) for kind in right},
        because,
        float(np.mean([reply.status == REFUSED for reply in every])),
        _mean(shown_first),
        _mean(turned),
        _mean([len(set(said)) > 1 for said in pairs]),
        seconds / max(1, count),
        count,
    )


def _mean(values: Sequence[bool]) -> float | None:
    return float(np.mean(values)) if values else None


def as_text(name: str, found: Examination) -> str:
    """For a person, one fact per line."""
    lines = [f"judge      {name}: {found.questions} questions about drawings whose truth is known"]
    for kind, i in found.accuracy.items():
        open_ = f", {found.unusable[kind]:.0%} no usable answer" if found.unusable[kind] else ""
        lines.append(
            f"           {kind:<9} {100 * (i.value or 0):5.1f} % right "
            f"({100 * (i.low or 0):.1f} to {100 * (i.high or 0):.1f}){open_}"
        )
    facts = (
        ("answers that are the first letter shown (50 % is no liking)", found.first_letter),
        ("choices answered otherwise when the options change places", found.order_bias),
        ("opposite scenes that got opposite answers", found.mirror_consistency),
        ("questions declined", found.refused),
    )
    lines += [f"           {100 * v:5.1f} % {what}" for what, v in facts if v is not None]
    if found.because is not None:
        lines.append(f"           most of the unusable answers: {found.because}")
    lines.append(f"           {found.seconds:.3g} s per question")
    return "\n".join(lines)
