"""`spatial_vqa`: the scene of a prompt, asked part by part of a judge. Ours, for any prompt.

Objects, counts and colours are one question each. A relation is a choice between the statement and
its opposite, told from either object's side and with the options in both orders: a judge that likes
a letter, or says yes to everything, gains nothing, and one that contradicts itself is seen to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import polars as pl

from t2i_spatial.metrics.answers import QUESTION, AnswerMetric, shares_right
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.metrics.numbers import Numbers, Rate
from t2i_spatial.metrics.tabular import component_column
from t2i_spatial.prompts.inflection import plural
from t2i_spatial.prompts.phrasing import each_other, noun_phrase
from t2i_spatial.questions import LETTER, NUMBER, QUESTIONS, Question, questions_to_table
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

    @cached_property
    def question_ids(self) -> tuple[str, ...]:
        """Of its questions; they take a hash each."""
        return tuple(question.id for question in self.questions)


class Scenes:
    """The scenes of a PROMPTS table, each that occurs taken apart once.

    Attributes:
        numbers: `prompt_id, scene` in the order of the prompts.
        parts: of every scene.
    """

    def __init__(self, prompts: pl.DataFrame) -> None:
        scene = pl.struct("objects", "relations").rank("dense").cast(pl.UInt32) - 1
        numbered = prompts.with_columns(scene.alias("scene"), pl.lit(None).alias("metadata"))
        self.numbers = numbered.select("prompt_id", "scene")
        firsts = numbered.unique("scene", keep="any").sort("scene").drop("scene")
        self.parts = [parts_of(p.scene or SceneSpec()) for p in table_to_prompts(firsts)]

    def questions(self) -> pl.DataFrame:
        """`scene, part, question_id`, in order."""
        rows = [(*place, id_) for *place, part in self._places() for id_ in part.question_ids]
        return _table(rows, scene=pl.UInt32, part=pl.UInt32, question_id=pl.String)

    def words(self) -> pl.DataFrame:
        """`scene, part, kind, words`."""
        rows = [(*place, part.kind, part.words) for *place, part in self._places()]
        return _table(rows, scene=pl.UInt32, part=pl.UInt32, kind=pl.String, words=pl.String)

    def objects(self) -> pl.DataFrame:
        """`scene, part, object`: what must be there for a part to mean anything."""
        rows = [(*place, index) for *place, part in self._places() for index in part.objects]
        return _table(rows, scene=pl.UInt32, part=pl.UInt32, object=pl.UInt32)

    def _places(self) -> Iterator[tuple[int, int, Part]]:
        for scene, parts in enumerate(self.parts):
            for place, part in enumerate(parts):
                yield scene, place, part


def _table(rows: Sequence[tuple[Any, ...]], **schema: Any) -> pl.DataFrame:
    """Rows as columns, which is quicker than one by one."""
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    return pl.DataFrame(
        [
            pl.Series(name, values, dtype=dtype)
            for (name, dtype), values in zip(schema.items(), columns, strict=True)
        ]
    )


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
        scenes = Scenes(prompts)
        asked = (
            (f"{scene}", question)
            for scene, parts in enumerate(scenes.parts)
            for part in parts
            for question in part.questions
        )
        of_scene = questions_to_table(asked).unique(QUESTION, maintain_order=True)
        of_scene = of_scene.with_columns(pl.col("prompt_id").cast(pl.UInt32).alias("scene"))
        return scenes.numbers.join(
            of_scene.drop("prompt_id"), on="scene", maintain_order="left_right"
        ).select(list(QUESTIONS))

    def weigh(
        self, prompts: pl.DataFrame, images: pl.DataFrame, answers: pl.DataFrame
    ) -> pl.DataFrame:
        """See `AnswerMetric.weigh`."""
        shares = shares_right(answers)
        scenes = Scenes(prompts)
        known = images.select(*KEY).join(shares, on=KEY, how="semi", maintain_order="left")
        asked = (
            known.with_row_index("image")
            .join(scenes.numbers, on="prompt_id", maintain_order="left")
            .join(scenes.questions(), on="scene", maintain_order="left_right")
            .join(shares, on=[*KEY, "question_id"], how="left", maintain_order="left")
        )
        parts = asked.group_by("image", "scene", "part", maintain_order=True).agg(
            (pl.col("right").sum() / pl.col("right").count()).fill_nan(None).alias("p"),
            pl.col("right").count().alias("usable"),
            (1 - (pl.col("right").max() - pl.col("right").min())).alias("agreement"),
        )
        parts = parts.join(scenes.words(), on=["scene", "part"], maintain_order="left")
        return _weighed(known, _without_unseen(parts, scenes.objects()))

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


def _without_unseen(parts: pl.DataFrame, objects: pl.DataFrame) -> pl.DataFrame:
    """Without parts about things that the judge does not see: they have no colour and no place."""
    there, place = pl.col("kind") == "exists", ["scene", "part"]
    unseen = parts.filter(there & (pl.col("p") <= HALF)).join(objects, on=place)
    if unseen.is_empty():
        return parts
    hidden = parts.filter(~there).join(objects, on=place)
    hidden = hidden.join(unseen, on=["image", "object"], how="semi")
    return parts.join(hidden, on=["image", "part"], how="anti", maintain_order="left")


def _weighed(images: pl.DataFrame, parts: pl.DataFrame) -> pl.DataFrame:
    """The verdicts on images from how surely their parts hold, which are together in order."""
    p, usable = pl.col("p"), pl.col("usable") > 0
    of_kind = {kind: p.filter(pl.col("kind") == kind).min() for kind in PARTS[:-1]}
    agreement = pl.col("agreement").filter(pl.col("usable") > 1)
    of_kind["consistency"] = agreement.cum_sum().last() / agreement.len()
    verdicts = parts.group_by("image", maintain_order=True).agg(
        p.min().alias("value"),
        pl.col("words").filter(p == p.min()).min().alias("weakest"),
        pl.col("words").filter(~usable).alias("unjudged"),
        *[value.alias(kind) for kind, value in of_kind.items()],
    )
    reasons = [
        "no answer is usable" if value is None else f"{weakest}: {value:.2f}"
        for weakest, value in verdicts.select("weakest", "value").iter_rows()
    ]
    return pl.concat([images, verdicts], how="horizontal").select(
        *KEY,
        "value",
        (pl.col("value") > HALF).alias("correct"),
        (pl.col("value") - HALF).alias("margin"),
        pl.Series("reason", reasons, dtype=pl.String),
        component_column(verdicts, {kind: pl.col(kind) for kind in PARTS}).alias("components"),
        "unjudged",
    )
