"""What people are asked about an image, and what their answers make of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from t2i_spatial.labels.records import NO, UNSURE, YES
from t2i_spatial.metrics.numbers import Rate
from t2i_spatial.metrics.spatial_vqa import Part, parts_of
from t2i_spatial.questions import Question
from t2i_spatial.scene import Prompt, SceneSpec

WHOLE = "whole"

ASKS = {
    "value": "image",
    "correct": "image",
    "objects_found": "objects",
    "subject_found": "subject",
    "object_found": "object",
}
"""Numerator or denominator of a number -> the field of `Truth` that is its true value."""


@dataclass(frozen=True)
class Asked:
    """One yes/no question that a person answers about an image.

    Attributes:
        part: "exists", "count", "color", "relation" or "whole".
        question: a yes/no question; where judges are asked the same, it has the same id.
        objects: the objects of the scene that it is about.
    """

    part: str
    question: Question
    objects: tuple[int, ...] = ()


@dataclass(frozen=True)
class Truth:
    """What people say of one image: "yes", "no", "unsure", or `None` for what was not asked.

    Attributes:
        image: the image shows what its prompt says.
        objects: all objects are there; subject, object: those of the first relation.
        relation: all relations hold.
    """

    image: str | None = None
    objects: str | None = None
    subject: str | None = None
    object: str | None = None
    relation: str | None = None


def questions_for(prompt: Prompt) -> tuple[Asked, ...]:
    """The questions about images of a prompt, in the order in which they are to be asked.

    Objects first: a relation of what is not there need not be asked. A prompt of which
    more is said than these parts is also asked as a whole, which then decides.

    >>> from t2i_spatial.scene import ObjectSpec, RelationSpec
    >>> scene = SceneSpec((ObjectSpec("cat"), ObjectSpec("dog")), (RelationSpec(0, "left of", 1),))
    >>> for asked in questions_for(Prompt("0", "a cat left of a dog", scene=scene)):
    ...     print(asked.part, asked.question.text)
    exists Is there a cat in the image?
    exists Is there a dog in the image?
    relation Is this so: the cat is to the left of the dog?
    """
    scene = prompt.scene or SceneSpec()
    parts = parts_of(scene)
    asked = [Asked(part.kind, _yes_no(part), part.objects) for part in parts]
    order = ("exists", "count", "color", "relation")
    asked.sort(key=lambda a: order.index(a.part))
    if not (asked and _in_parts(scene)):
        asked.append(Asked(WHOLE, whole_question(prompt), ()))
    return tuple(asked)


def whole_question(prompt: Prompt) -> Question:
    """The one question about everything that a prompt says."""
    return Question(f"Does the image show this: {prompt.text}?", gold=YES, skill=WHOLE)


def truth_of(prompt: Prompt, answers: Mapping[str, str]) -> Truth:
    """What the answers to the questions about one image, by question id, say of it.

    An answer to the question about the whole prompt decides about the image; otherwise it is right
    when every part is, wrong when one is, and unsure in between. It takes all answers, but those
    about objects that are not there: an image counted as wrong by its first answer, and left out
    otherwise, would make every mean too low.
    """
    scene = prompt.scene or SceneSpec()
    asked = questions_for(prompt)
    right = [(a, _right(a.question, answers)) for a in asked if a.part != WHOLE]
    gone = {a.objects[0] for a, r in right if a.part == "exists" and r == NO}
    needed = [r for a, r in right if a.part == "exists" or not gone & set(a.objects)]
    whole = answers.get(whole_question(prompt).id)
    if whole is None and needed and (_in_parts(scene) or NO in needed):
        whole = _all(needed)
    exists = {a.objects[0]: r for a, r in right if a.part == "exists"}
    ends = (scene.relations[0].subject, scene.relations[0].object) if scene.relations else ()
    relations = [r for a, r in right if a.part == "relation"]
    return Truth(
        image=whole,
        objects=_all(exists.values()) if exists else None,
        subject=exists.get(ends[0]) if ends else None,
        object=exists.get(ends[1]) if ends else None,
        relation=_all(relations) if relations else None,
    )


def asks(rate: Rate) -> tuple[str, str | None] | str:
    """The fields of `Truth` that are numerator and denominator of a number, or why there are none.

    >>> asks(Rate("value", "objects_found"))
    ('image', 'objects')
    """
    if rate.at_least is not None:
        return "it needs labels of all images of a prompt"
    if rate.if_right:
        return "it is the bound of a number that labels settle"
    if rate.own_scale or not rate.bounded or rate.within is not None:
        return "it is no share of right images"
    names = (rate.numerator, rate.denominator)
    if any(name is not None and name not in ASKS for name in names) or rate.optional:
        return "people are not asked for it"
    return ASKS[rate.numerator], None if rate.denominator is None else ASKS[rate.denominator]


def _in_parts(scene: SceneSpec) -> bool:
    """Whether the questions about parts are all that a prompt says."""
    return not scene.unparsed and not any(o.frame_position or o.text for o in scene.objects)


def _yes_no(part: Part) -> Question:
    """The part's own question where it is one of yes or no, else its statement."""
    question = part.questions[0]
    if len(part.questions) == 1 and question.kind == "yes/no":
        return question
    if part.kind == "count":
        return Question(f"Are there exactly {part.words} in the image?", gold=YES, skill="count")
    holds = part.questions[0]
    gold = YES if holds.gold == "A" else NO
    return Question(f"Is this so: {holds.options[0]}?", gold=gold, skill=holds.skill)


def _right(question: Question, answers: Mapping[str, str]) -> str | None:
    answer = answers.get(question.id)
    if answer in (None, UNSURE):
        return answer
    return YES if answer == question.gold else NO


def _all(answers: Iterable[str | None]) -> str | None:
    """`None` while one is missing; then wrong if one is wrong, then unsure."""
    answers = list(answers)
    if None in answers:
        return None
    if NO in answers:
        return NO
    return UNSURE if UNSURE in answers else YES
