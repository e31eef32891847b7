"""T2I-CompBench++'s MLLM evaluation: a judge rates the picture, by the peer's parsing and by ours.

Source: Karine-Huang/T2I-CompBench @ 1b70949, MLLM_eval/gpt4v_eval.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

from t2i_spatial.errors import InputError, nearest
from t2i_spatial.metrics.asked.brought import BroughtQuestions, Replies, Reply
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.metrics.numbers import Numbers, Rate
from t2i_spatial.prompts.phrasing import noun_phrase
from t2i_spatial.questions import ANSWERED, Question, Template, template
from t2i_spatial.scene import ObjectSpec, Prompt, SceneSpec
from t2i_spatial.tables import table_to_prompts

ATTRIBUTES = ("color", "shape", "texture")
LOOKED_AT = {
    "spatial": "objects and how they are placed",
    "3d_spatial": "objects and how they are placed",
    "action": "actions, events, objects and how they are related",
    "numeracy": "objects and how many there are",
    "complex": "objects, their attributes, places and actions",
}
"""Category -> what the judge is to look at."""
CATEGORIES = (*ATTRIBUTES, *LOOKED_AT)
RATED = template(Template("t2i_compbench_mllm/1", max_tokens=300))
LEVELS = template(Template("t2i_compbench_mllm_fixed/1", max_tokens=300))
_FORM = (
    "Reply in JSON with the keys score (for example {example}) and explanation (20 words at most)."
)
_WHOLE = """You help to find {what} in the image. See whether the image shows the text "{text}" \
rightly. {scale}, by these criteria:
5: {what} are all as the text says.
4: in the main they are.
3: they are not quite as the text says.
2: the image does not fit the text.
1: the image has almost nothing to do with the text.
"""
_PHRASE = """You help to find objects and their {category} in the image. See whether there is \
{phrase} in the image. {scale}, by these criteria:
4: there is {noun}, and its {category} is {value}.
3: there is {noun}, its {category} is mostly {value}.
2: there is {noun}, but it is not {value}.
1: there is no {noun} in the image.
"""


@PROTOCOLS.register("t2i_compbench_mllm")
@dataclass(kw_only=True)
class T2ICompBenchMLLM(BroughtQuestions):
    """As published: a score from 0 to 100 by a rubric of five levels, taken from the reply's JSON.

    Attributes:
        category: of the prompts, where their tag is none of T2I-CompBench's.
    """

    title: ClassVar[str] = "T2I-CompBench MLLM"
    record: ClassVar[str] = ""
    parts: ClassVar[tuple[str, ...]] = ("score", "score_at_most")
    counts_questions: ClassVar[bool] = True
    numbers: ClassVar[Numbers] = {
        "score": Rate("score", meaning="mean rating, 0 for a reply without one"),
        "score_at_most": Rate("score_at_most", meaning="replies without a rating counted as full"),
    }
    groups: ClassVar[Mapping[str, Sequence[str]]] = {"tag": ("score",)}

    category: str = "spatial"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.category not in CATEGORIES:
            raise InputError(
                f"{self.name}.category {self.category!r}; {nearest(self.category, CATEGORIES)}"
            )

    def category_of(self, prompt: Prompt) -> str:
        """The category that a prompt is asked by."""
        tag = (prompt.tag or "").removesuffix("_val")
        return tag if tag in CATEGORIES else self.category

    def asked(self, prompt: Prompt) -> Iterator[Question]:
        """One request. The peer's condition sends every category but attributes to "spatial"."""
        category, scale = self.category_of(prompt), "Give a score from 0 to 100"
        if category in ATTRIBUTES:
            texts = _of_phrases(prompt, category, scale)
        else:
            texts = [_WHOLE.format(what=LOOKED_AT["spatial"], text=prompt.text, scale=scale)]
        if texts:
            text = "\n".join(texts) + _FORM.format(example=2)
            yield Question(text, "text", skill=category, template=RATED.name)

    def ratings(self, reply: Reply, category: str) -> list[float]:
        """What a reply gives, in [0, 1]: whole numbers behind the key and before a comma."""
        if reply["raw"] is None:  # a stored result
            return [float(reply["answer"] or 0) / 100] if reply["status"] == ANSWERED else []
        return [min(int(n), 100) / 100 for n in re.findall(r'"score": (\d+),', reply["raw"])]

    def verdict(self, prompt: Prompt, replies: Replies) -> Mapping[str, Any]:
        """See `BroughtQuestions.verdict`."""
        category = self.category_of(prompt)
        found = []
        for rows in replies.values():
            rated = [rating for row in rows for rating in self.ratings(row, category)]
            found.append(sum(rated) / len(rated) if rated else None)
        value = sum(rating or 0.0 for rating in found) / len(found)
        most = sum(1.0 if rating is None else rating for rating in found) / len(found)
        wrong = any(rating is not None and rating < 1 for rating in found)
        open_ = None in found
        return {
            "value": value,
            "correct": False if wrong else (None if open_ else True),
            "margin": value - 1,
            "reason": "a reply gives no rating" if open_ else f"rated {100 * value:.0f} of 100",
            "components": {"score": value, "score_at_most": most},
            "unjudged": ["the rating"] if open_ else [],
        }

    def holding(self, prompts: pl.DataFrame) -> Iterator[Prompt]:
        """Every prompt."""
        yield from table_to_prompts(prompts)


@PROTOCOLS.register("t2i_compbench_mllm_fixed")
@dataclass(kw_only=True)
class T2ICompBenchMLLMFixed(T2ICompBenchMLLM):
    """A level from 1 to 5 (attributes: 4) is asked for and evenly spread over [0, 1].

    Every category has its own wording, every phrase its own request; a level is found wherever the
    JSON holds it, and a reply without one is open.
    """

    title: ClassVar[str] = "T2I-CompBench MLLM, fixed"
    numbers: ClassVar[Numbers] = {
        "score": Rate("score", meaning="mean level, open replies counted as the lowest"),
        "score_at_most": Rate("score_at_most", meaning="open replies counted as the highest"),
    }

    def asked(self, prompt: Prompt) -> Iterator[Question]:
        """One request, or one per phrase."""
        category = self.category_of(prompt)
        if category in ATTRIBUTES:
            texts = _of_phrases(prompt, category, "Give a level from 1 to 4")
        else:
            what, scale = LOOKED_AT[category], "Give a level from 1 to 5"
            texts = [_WHOLE.format(what=what, text=prompt.text, scale=scale)]
        for text in texts:
            yield Question(
                text + _FORM.format(example=2), "text", skill=category, template=LEVELS.name
            )

    def ratings(self, reply: Reply, category: str) -> list[float]:
        """The level of a reply, in [0, 1]."""
        level = level_of(reply, 4 if category in ATTRIBUTES else 5)
        return [] if level is None else [level]


def level_of(reply: Reply, highest: int) -> float | None:
    """The level in a reply, as the part of the way from 1 to the highest.

    >>> level_of({"status": "answered", "raw": '```json\\n{"score": 4}\\n```'}, 5)
    0.75
    """
    if reply["status"] != ANSWERED:
        return None
    if reply["raw"] is None:
        return float(reply["answer"] or 0) / 100
    found = re.search(r"\{.*\}", reply["raw"], re.DOTALL)
    try:
        said: Any = json.loads(found[0])["score"] if found else None
        level = None if said is None or isinstance(said, bool) else float(said)
    except (ValueError, TypeError, KeyError):
        return None
    if level is None or not 1 <= level <= highest:
        return None
    return (level - 1) / (highest - 1)


def _of_phrases(prompt: Prompt, category: str, scale: str) -> list[str]:
    """One text per object of which an attribute is asked."""
    texts = []
    for spec in (prompt.scene or SceneSpec()).objects:
        words = [spec.color] if category == "color" and spec.color else list(spec.attributes)
        if words:
            phrase, noun = noun_phrase(spec), noun_phrase(_plain(spec))
            value = " ".join(word for word in words if word)
            texts.append(
                _PHRASE.format(
                    category=category, phrase=phrase, noun=noun, value=value, scale=scale
                )
            )
    return texts


def _plain(spec: ObjectSpec) -> ObjectSpec:
    return ObjectSpec(spec.name, spec.count)
