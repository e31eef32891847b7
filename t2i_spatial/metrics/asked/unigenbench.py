"""UniGenBench++: checkpoints of a prompt, all in one reply as published, or one by one.

Source: CodeGoat24/UniGenBench @ 49d0bce, eval/src/eval_common.py (data CC BY 4.0).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.asked.brought import (
    BroughtQuestions,
    Replies,
    listed,
    once_per_prompt,
    share_bounds,
)
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.metrics.numbers import Numbers, Rate
from t2i_spatial.questions import Question, Template, template
from t2i_spatial.scene import Prompt

DIMENSIONS = {
    "layout_2d": "Entity Layout - Two-Dimensional Space",
    "layout_3d": "Entity Layout - Three-Dimensional Space",
    "comparison": "Relationship - Comparison",
    "composition": "Relationship - Composition",
    "inclusion": "Relationship - Inclusion",
    "similarity": "Relationship - Similarity",
}
"""Our name -> the peer's, of the sub-dimensions about space and relations."""
MEANINGS = {
    "Entity Layout - Two-Dimensional Space": "how things are arranged in the plane of the picture",
    "Entity Layout - Three-Dimensional Space": "how things are arranged in depth",
    "Relationship - Comparison": "an attribute of one thing compared with that of another",
    "Relationship - Composition": "a thing that is made up of others",
    "Relationship - Inclusion": "a thing in a container, which may be flat, as a painting",
    "Relationship - Similarity": "different things that are alike in some way",
}
PRIMARY = {"layout": ("layout_2d", "layout_3d"), "relationship": tuple(DIMENSIONS)[2:]}
COUNTED = ("all", *PRIMARY, *DIMENSIONS)
PARTS = (*COUNTED, *(f"{name} asked" for name in COUNTED), "all_at_most")
IN_ONE = template(Template("unigenbench/1", image_first=False, max_tokens=4096))
ALONE = template(Template("unigenbench_strict/1", max_tokens=4, suffix=" Answer Yes or No."))
_ASKED = """You describe pictures exactly and without opinion. You get a prompt, the picture that \
was made from it, and checkpoints that say what the picture must show of the prompt.

1. The prompt is: "{prompt}". Look at the picture from the sides that {points} name. What they mean:
{meanings}
What they are about in this prompt:
{descriptions}
Examine each checkpoint by itself.

2. Then decide for each checkpoint whether the picture fulfils it: 1 if it does, otherwise 0.

Rules:
- Describe only what can be seen; do not interpret, guess or tell a story.
- Keep to details that can be checked by eye.
- Leave out what is uncertain.
- Describe no abstract things or feelings, even if the prompt has them.

Reply in exactly this form:
<description>
    <prompt>{prompt}</prompt>
    <checkpoint>{points}</checkpoint>
    <analysis>a list in square brackets, one text in quotation marks per checkpoint</analysis>
    <score>a list in square brackets, one 0 or 1 per checkpoint</score>
</description>
"""


@PROTOCOLS.register("unigenbench")
@dataclass(kw_only=True)
class UniGenBench(BroughtQuestions):
    """As published: all checkpoints in one reply; the share that is fulfilled, pooled over images.

    A reply that cannot be parsed leaves the denominator.
    """

    title: ClassVar[str] = "UniGenBench"
    record: ClassVar[str] = "unigenbench"
    parts: ClassVar[tuple[str, ...]] = PARTS
    numbers: ClassVar[Numbers] = {
        **{
            name: Rate(name, f"{name} asked", meaning=f"fulfilled checkpoints of {what}")
            for name, what in (
                ("layout", "layout"),
                ("relationship", "relationship"),
                *((name, peers.lower()) for name, peers in DIMENSIONS.items()),
                ("all", "every dimension"),
            )
        },
        "images_at_least": Rate("value", meaning="mean share of an image, dropped ones as 0"),
        "images_at_most": Rate("value", meaning="the same, dropped ones as 1", if_right=True),
    }

    def asked(self, prompt: Prompt) -> Iterator[Question]:
        """All checkpoints in one request."""
        points = _points(prompt)
        names = [name for name, _ in points]
        text = _ASKED.format(
            prompt=prompt.text,
            points=names,
            meanings="\n".join(f"{name}: {MEANINGS.get(name, name)}" for name in names),
            descriptions="\n".join(f"{name}: {description}" for name, description in points),
        )
        yield Question(text, "text", template=IN_ONE.name)

    def verdict(self, prompt: Prompt, replies: Replies) -> Mapping[str, Any]:
        """See `BroughtQuestions.verdict`."""
        points = _points(prompt)
        raws = [row["raw"] or row["answer"] for rows in replies.values() for row in rows]
        scores = next((s for raw in raws if (s := read_scores(raw, len(points)))), None)
        if scores is None:
            return {
                "value": None,
                "correct": None,
                "margin": None,
                "reason": "no reply has an analysis and a score for each checkpoint",
                "components": {},
                "unjudged": ["the checkpoints"],
            }
        return _of_points(points, [(float(s == 1), float(s == 1)) for s in scores])


@PROTOCOLS.register("unigenbench_strict")
@dataclass(kw_only=True)
class UniGenBenchStrict(UniGenBench):
    """The same checkpoints, one question each; unusable answers are bounds."""

    title: ClassVar[str] = "UniGenBench, strict"
    counts_questions: ClassVar[bool] = True
    numbers: ClassVar[Numbers] = {
        **{k: r for k, r in UniGenBench.numbers.items() if not k.startswith("images")},
        "all_at_most": Rate("all_at_most", "all asked", meaning="open ones counted as fulfilled"),
    }

    def asked(self, prompt: Prompt) -> Iterator[Question]:
        """One question per checkpoint."""
        yield from _each_alone(prompt)

    def verdict(self, prompt: Prompt, replies: Replies) -> Mapping[str, Any]:
        """See `BroughtQuestions.verdict`."""
        points = _points(prompt)
        bounds = [share_bounds(replies.get(q.id, ()), "yes") for q in _each_alone(prompt)]
        return _of_points(points, [(float(low > 0.5), float(high > 0.5)) for low, high in bounds])


def read_scores(text: str | None, count: int) -> list[Any] | None:
    """The scores in a reply, as the peer parses it, or `None`.

    >>> read_scores("<analysis>['a', 'b']</analysis> <score>[1, 0]</score>", 2)
    [1, 0]
    """
    found = [re.search(rf"<{key}>(.*?)</{key}>", text or "", re.DOTALL) for key in _PARSED]
    if not all(found):
        return None
    try:
        analysis, scores = (ast.literal_eval(match[1].strip()) for match in found if match)
        if len(analysis) != count or len(scores) != count:
            return None
        return list(scores)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


_PARSED = ("analysis", "score")


@once_per_prompt
def _points(prompt: Prompt) -> list[tuple[str, str]]:
    """Name and description of every checkpoint."""
    record = prompt.metadata["unigenbench"]
    names, told = listed(record, "Testpoints"), listed(record, "Testpoint Description")
    if len(names) != len(told) or not names:
        raise InputError(f"{len(names)} test points with {len(told)} descriptions")
    return list(zip(names, told, strict=True))


@once_per_prompt
def _each_alone(prompt: Prompt) -> list[Question]:
    """One question per checkpoint."""
    return [_alone(prompt, *point) for point in _points(prompt)]


def _alone(prompt: Prompt, name: str, description: str) -> Question:
    meaning = f" ({MEANINGS[name]})" if name in MEANINGS else ""
    text = (
        f'The picture was made from the prompt "{prompt.text}". Looking at {name}{meaning}: '
        f"does it show {description}?"
    )
    return Question(text, gold="yes", skill=name, template=ALONE.name)


def _of_points(
    points: Sequence[tuple[str, str]], bounds: Sequence[tuple[float, float]]
) -> dict[str, Any]:
    known = {peers: name for name, peers in DIMENSIONS.items()}
    primary = {name: first for first, names in PRIMARY.items() for name in names}
    components: dict[str, float] = {"all_at_most": sum(high for _, high in bounds)}
    for (name, _), (low, _) in zip(points, bounds, strict=True):
        ours = known.get(name)
        for key in ("all", *((ours, primary[ours]) if ours else ())):
            components[key] = components.get(key, 0.0) + low
            components[f"{key} asked"] = components.get(f"{key} asked", 0.0) + 1
    wrong = [told for (_, told), (_, high) in zip(points, bounds, strict=True) if high < 1]
    open_ = [told for (_, told), (lo, hi) in zip(points, bounds, strict=True) if lo < hi]
    value = components["all"] / len(points)
    return {
        "value": value,
        "correct": False if wrong else (None if open_ else True),
        "margin": 0.5 / len(points) - (1 - value),
        "reason": f"{components['all']:g} of {len(points)} fulfilled"
        + (f"; not: {', '.join(wrong[:5])}" if wrong else ""),
        "components": components,
        "unjudged": open_,
    }
