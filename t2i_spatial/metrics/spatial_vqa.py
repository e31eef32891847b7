"""`spatial_vqa`: the scene of a prompt, asked part by part of a judge. Ours, for any prompt.

Objects, counts and colours are one question each. A relation is a choice between the statement and
its opposite, told from either object's side and with the options in both orders: a judge that likes
a letter, or says yes to everything, gains nothing, and one that contradicts itself is seen to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import polars as pl

from t2i_spatial.metrics.answers import QUESTION, WEIGHED, AnswerMetric, shares_right
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.metrics.numbers import Numbers, Rate
from t2i_spatial.prompts.inflection import plural
from t2i_spatial.prompts.phrasing import each_other, noun_phrase
from t2i_spatial.questions import LETTER, NUMBER, Question, questions_to_table
from t2i_spatial.relations import RELATION_TABLE
from t2i_spatial.scene import ObjectSpec, Prompt, RelationSpec, SceneSpec
from t2i_spatial.tables import KEY, table_to_prompts

PARTS = ("exists", "count", "color", "relation", "consistency")
HALF = 0.5


@dataclass(frozen=True)
class Part:
    """One thing a scene asks, with the questions that decide it.

    Attributes:
        kind: one of `PARTS`.
        words: what is asked, for reasons.
        questions: their right answers taken together are the part.
        objects: indices of the objects that must be there for the part to mean anything.
        relation: the relation that it is about, if it is about one.
    """

    kind: str
    words: str
    questions: tuple[Question, ...]
    objects: tuple[int, ...] = ()
    relation: RelationSpec | None = None


@PROTOCOLS.register("spatial_vqa")
@dataclass(kw_only=True)
class SpatialVQA(AnswerMetric):
    """Every part of a scene as questions; `value` is the probability of the weakest part.

    A part about objects (count, colour, relation) is looked at only if the judge sees them; if it
    does not, the missing object is what is wrong. The probability of a relation is that of the
    statement against its opposite, averaged over both sides and both orders of options;
    `consistency` is 1 minus the mean distance between the two sides.
    """

    title: ClassVar[str] = "Spatial VQA"
    parts: ClassVar[tuple[str, ...]] = PARTS
    rollouts: ClassVar[int] = 2
    numbers: ClassVar[Numbers] = {
        "probability": Rate("value", meaning="mean probability that the picture shows the scene"),
        "accuracy": Rate("correct", meaning="images whose every part is likelier than not"),
        "probability_at_most": Rate(
            "value", meaning="the same if what the judge left open were right", if_right=True
        ),
        "accuracy_at_most": Rate(
            "correct", meaning="the same if what the judge left open were right", if_right=True
        ),
        "consistency": Rate(
            "consistency", meaning="agreement of the judge with itself, turned", optional=True
        ),
    }
    groups: ClassVar[Mapping[str, Sequence[str]]] = {
        "relation": ("probability", "accuracy", "consistency")
    }

    def questions(self, prompts: pl.DataFrame) -> pl.DataFrame:
        """See `AnswerMetric.questions`."""
        asked: list[tuple[str, Question]] = []
        for prompt in table_to_prompts(prompts):
            for part in parts_of(prompt.scene or SceneSpec()):
                asked += [(prompt.id, question) for question in part.questions]
        return questions_to_table(asked).unique(QUESTION, maintain_order=True)

    def weigh(
        self, prompts: pl.DataFrame, images: pl.DataFrame, answers: pl.DataFrame
    ) -> pl.DataFrame:
        """See `AnswerMetric.weigh`."""
        scenes = {p.id: parts_of(p.scene or SceneSpec()) for p in table_to_prompts(prompts)}
        right: dict[tuple[str, int], dict[str, float | None]] = {}
        for prompt_id, sample, question_id, share in (
            shares_right(answers).select(*KEY, "question_id", "right").iter_rows()
        ):
            right.setdefault((prompt_id, sample), {})[question_id] = share
        rows = [
            {"prompt_id": prompt_id, "sample": sample}
            | _weighed(scenes[prompt_id], right[prompt_id, sample])
            for prompt_id, sample in images.select(*KEY).iter_rows()
            if (prompt_id, sample) in right
        ]
        return pl.DataFrame(rows, schema=WEIGHED)

    def unjudged(self, prompt: Prompt) -> tuple[str, ...]:
        """What was not read; what was read is asked, relations that boxes cannot decide too."""
        return prompt.scene.unparsed if prompt.scene else ()


@lru_cache(maxsize=65_536)  # questions, verdicts and facts of one call all want them
def parts_of(scene: SceneSpec) -> tuple[Part, ...]:
    """What a scene asks, as parts with their questions.

    >>> cat, dog = ObjectSpec("cat"), ObjectSpec("dog")
    >>> scene = SceneSpec((cat, dog), (RelationSpec(0, "left of", 1),))
    >>> for part in parts_of(scene)[1:]:
    ...     print(part.kind, part.questions[0].shown())
    exists Is there a dog in the image? Answer Yes or No.
    relation Which is true of the image?
    A. the cat is to the left of the dog
    B. the cat is to the right of the dog Answer with one letter.
    """
    parts = [part for index, spec in enumerate(scene.objects) for part in _of_object(index, spec)]
    between = {
        (r.subject, end) for r in scene.relations for end in _ends(r) if r.second is not None
    }
    for relation in scene.relations:
        # "between" is asked as such, and not once more as being next to either end
        implied = relation.phrase == "between" and relation.second is None
        if not (implied and (relation.subject, relation.object) in between):
            parts.append(_of_relation(scene, relation))
    return tuple(parts)


def _of_object(index: int, spec: ObjectSpec) -> Iterator[Part]:
    name = noun_phrase(replace(spec, count=1, color=None))
    there = f"Is there {name} in the image?"
    if spec.count == 0:
        yield Part("count", f"no {spec.name}", (Question(there, gold="no", skill="object"),))
        return
    yield Part("exists", name, (Question(there, gold="yes", skill="object"),), (index,))
    many = plural(spec.name)
    if spec.count is not None and spec.count > 1:
        number, rule = str(spec.count), spec.count_rule
        asked = (
            Question(
                f"How many {many} are in the image?",
                "count",
                gold=number,
                skill="count",
                template=NUMBER.name,
            )
            if rule == "exactly"
            else Question(
                f"Are there {rule} {number} {many} in the image?", gold="yes", skill="count"
            )
        )
        yield Part("count", f"{number} {many}", (asked,), (index,))
    if spec.color:
        asked = Question(f"{_is(spec)} {_the(spec)} {spec.color}?", gold="yes", skill="color")
        yield Part("color", f"{spec.color} {spec.name}", (asked,), (index,))


def _of_relation(scene: SceneSpec, relation: RelationSpec) -> Part:
    subject, target = scene.objects[relation.subject], scene.objects[relation.object]
    ends = _ends(relation)
    others = " and ".join(_the(scene.objects[end]) for end in ends)
    row = RELATION_TABLE[relation.relation]
    said = f"{row.words} {others}"
    if relation.reciprocal:
        ends, said = (), each_other(row.name)
    holds = not relation.negated
    words = f"{_the(subject)} {'' if holds else 'not '}{said}"
    if row.inverse is None or row.symmetric or len(ends) != 1:
        text = f"{_is(subject)} {_the(subject)} {said}?"
        asked: tuple[Question, ...] = (
            Question(text, gold="yes" if holds else "no", skill=row.name),
        )
    else:
        other = RELATION_TABLE[row.inverse].words
        gold = "A" if holds else "B"
        asked = (
            _either(subject, (row.words, other), target, gold, row.name),
            _either(target, (other, row.words), subject, gold, row.name),
        )
    return Part("relation", words, asked, (relation.subject, *ends), relation)


def _either(
    subject: ObjectSpec, words: tuple[str, str], target: ObjectSpec, gold: str, skill: str
) -> Question:
    verb = _is(subject).lower()
    options = tuple(f"{_the(subject)} {verb} {way} {_the(target)}" for way in words)
    question = "Which is true of the image?"
    return Question(question, "choice", options, gold, skill=skill, template=LETTER.name)


def _ends(relation: RelationSpec) -> tuple[int, ...]:
    return (relation.object,) if relation.second is None else (relation.object, relation.second)


def _the(spec: ObjectSpec) -> str:
    return noun_phrase(
        replace(spec, color=None, attributes=(), count=1 if spec.count == 1 else None), True
    )


def _is(spec: ObjectSpec) -> str:
    return "Is" if spec.count == 1 else "Are"


def _weighed(parts: Sequence[Part], right: Mapping[str, float | None]) -> dict[str, Any]:
    """The verdict on one image from how surely each of its questions was answered right."""
    kinds: dict[str, list[float]] = {}
    known: list[tuple[float, str]] = []
    open_parts: list[str] = []
    agreement: list[float] = []
    unseen: set[int] = set()
    for part in parts:
        if unseen & set(part.objects):
            continue  # what is not there has no colour and no place
        shares = [right.get(question.id) for question in part.questions]
        usable = [share for share in shares if share is not None]
        if not usable:
            open_parts.append(part.words)
            continue
        if len(usable) > 1:
            agreement.append(1 - abs(usable[0] - usable[1]))
        p = sum(usable) / len(usable)
        kinds.setdefault(part.kind, []).append(p)
        known.append((p, part.words))
        if part.kind == "exists" and p <= HALF:
            unseen |= set(part.objects)
    value, weakest = min(known, default=(None, ""))
    components: dict[str, float | None] = {kind: min(ps) for kind, ps in kinds.items()}
    components["consistency"] = sum(agreement) / len(agreement) if agreement else None
    return {
        "value": value,
        "correct": None if value is None else value > HALF,
        "margin": None if value is None else value - HALF,
        "reason": f"{weakest}: {value:.2f}" if value is not None else "no answer is usable",
        "components": [{"name": kind, "value": components.get(kind)} for kind in PARTS],
        "unjudged": open_parts,
    }
