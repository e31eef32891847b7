"""Scene to text, in several wordings that the parser reads back as the same scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from t2i_spatial.errors import InputError, nearest
from t2i_spatial.prompts.inflection import article, plural
from t2i_spatial.prompts.parser.function_words import NUMBERS
from t2i_spatial.prompts.parser.relation_phrases import RECIPROCAL
from t2i_spatial.relation_algebra import inverse
from t2i_spatial.relations import RELATION_TABLE, WORDINGS
from t2i_spatial.scene import ObjectSpec, RelationSpec, SceneSpec

PHRASES = WORDINGS
"""The wording of every canonical relation."""

_NUMBER_WORDS = {value: word for word, value in reversed(NUMBERS.items()) if value} | {
    1: "one",
    2: "two",
    12: "twelve",
}


def noun_phrase(spec: ObjectSpec, definite: bool = False) -> str:
    """An object with its number or article, attributes and colour.

    >>> noun_phrase(ObjectSpec("wine glass", 2, "red")), noun_phrase(ObjectSpec("apple"))
    ('two red wine glasses', 'an apple')
    >>> noun_phrase(ObjectSpec("dog", None), definite=True)
    'the dogs'
    """
    noun = spec.name if spec.count == 1 else plural(spec.name)
    said = " ".join([*spec.attributes, *([spec.color] if spec.color else []), noun])
    if definite:
        return f"the {said}"
    if spec.count is None:
        return f"several {said}"
    if spec.count == 0:
        return f"no {said}"
    if spec.count == 1:
        return f"{article(said)} {said}"
    return f"{_NUMBER_WORDS.get(spec.count, spec.count)} {said}"


def _place(position: str) -> str:
    if position in ("left", "right"):
        return f"on the {position}"
    if position in ("top", "bottom"):
        return f"at the {position}"
    return f"in the {position}"


def _words(relation: RelationSpec) -> str:
    return RELATION_TABLE[relation.relation].words


def _is(spec: ObjectSpec) -> str:
    return "is" if spec.count == 1 else "are"


def _related(scene: SceneSpec) -> tuple[ObjectSpec, str, ObjectSpec] | None:
    """Subject, words and object of a plain scene of two objects and one relation."""
    if len(scene.objects) != 2 or len(scene.relations) != 1:
        return None
    if any(spec.frame_position or spec.count == 0 for spec in scene.objects):
        return None
    relation = scene.relations[0]
    if len(set(relation.indices)) < len(relation.indices) or relation.negated:
        return None
    return scene.objects[relation.subject], _words(relation), scene.objects[relation.object]


def _among(scene: SceneSpec) -> tuple[ObjectSpec, str] | None:
    """Subject and words of a scene of several things of one kind that stand to each other."""
    if len(scene.objects) != 1 or len(scene.relations) != 1:
        return None
    words, spec = _to_each_other(scene, scene.relations[0]), scene.objects[0]
    if words is None or scene.relations[0].negated or spec.frame_position:
        return None
    return spec, words


def _to_each_other(scene: SceneSpec, relation: RelationSpec) -> str | None:
    several = scene.objects[relation.subject].count not in (0, 1)
    if not (several and relation.reciprocal and relation.relation in RECIPROCAL):
        return None
    return each_other(relation.relation)


def each_other(relation: str) -> str:
    """How a relation is told of several things of one kind.

    >>> each_other("on"), each_other("left of")
    ('on top of each other', 'to the left of each other')
    """
    words = "on top of" if relation == "on" else RELATION_TABLE[relation].words
    return f"{words} each other"


def _plain(scene: SceneSpec) -> str | None:
    if among := _among(scene):
        return f"{noun_phrase(among[0])} {among[1]}"
    if related := _related(scene):
        subject, words, target = related
        return f"{noun_phrase(subject)} {words} {noun_phrase(target)}"
    placed = [bool(spec.frame_position) for spec in scene.objects]
    # "a cat and a dog on the left" would place both
    if scene.relations or not scene.objects or (any(placed) and not all(placed)):
        return None
    said = [
        noun_phrase(spec) + (f" {_place(spec.frame_position)}" if spec.frame_position else "")
        for spec in scene.objects
    ]
    if len(said) < 3:
        return " and ".join(said)
    return f"{', '.join(said[:-1])} and {said[-1]}"


def _photo(scene: SceneSpec) -> str | None:
    plain = _plain(scene)
    return None if plain is None else f"a photo of {plain}"


def _there_is(scene: SceneSpec) -> str | None:
    plain = _plain(scene)
    if plain is None:
        return None
    first = scene.objects[scene.relations[0].subject if scene.relations else 0]
    return f"there {_is(first)} {plain}"


def _predicative(scene: SceneSpec) -> str | None:
    if among := _among(scene):
        return f"{noun_phrase(among[0])} {_is(among[0])} {among[1]}"
    if related := _related(scene):
        subject, words, target = related
        return f"{noun_phrase(subject)} {_is(subject)} {words} {noun_phrase(target)}"
    return None


def _fronted(scene: SceneSpec) -> str | None:
    if related := _related(scene):
        subject, words, target = related
        return f"{words} {noun_phrase(target)} {_is(subject)} {noun_phrase(subject)}"
    return None


def _inverse(scene: SceneSpec) -> str | None:
    told = told_inversely(scene)
    return None if told is None else _plain(told) or _sentences(told)


def _reordered(scene: SceneSpec) -> str | None:
    if len(scene.relations) < 2:
        return None
    return _sentences(SceneSpec(scene.objects, scene.relations[::-1]))


def told_inversely(scene: SceneSpec) -> SceneSpec | None:
    """The same scene with every relation that has an inverse told from its other side.

    >>> scene = SceneSpec((ObjectSpec("cat"), ObjectSpec("dog")), (RelationSpec(0, "above", 1),))
    >>> told = told_inversely(scene).relations[0]
    >>> told.subject, told.relation, told.object
    (1, 'below', 0)
    """
    told = tuple(
        replace(spec, subject=spec.object, relation=other, object=spec.subject, phrase=None)
        if not spec.reciprocal and (other := inverse(spec.relation))
        else spec
        for spec in scene.relations
    )
    return None if told == scene.relations else SceneSpec(scene.objects, told)


def _sentences(scene: SceneSpec) -> str | None:
    """One sentence per relation; what was named before is "the ..." from then on."""
    objects = scene.objects
    if not objects:
        return None
    definite = [noun_phrase(spec, definite=True) for spec in objects]
    if scene.relations and (len(set(definite)) < len(objects) or _confusable(objects)):
        return None
    said: set[int] = set()
    sentences = []
    for index, spec in enumerate(objects):
        alone = not any(index in r.indices for r in scene.relations)
        if spec.frame_position or alone or spec.count == 0:
            there = f"there {_is(spec)} {noun_phrase(spec)}"
            sentences.append(
                f"{there} {_place(spec.frame_position)}" if spec.frame_position else there
            )
            said.add(index)
    for relation in scene.relations:
        among = _to_each_other(scene, relation)
        if among is None and len(set(relation.indices)) < len(relation.indices):
            return None
        ends = []
        for index in relation.indices[:1] if among else relation.indices:
            ends.append(definite[index] if index in said else noun_phrase(objects[index]))
            said.add(index)
        verb = _is(objects[relation.subject]) + (" not" if relation.negated else "")
        words = among or f"{_words(relation)} {' and '.join(ends[1:])}"
        sentences.append(f"{ends[0]} {verb} {words}")
    return ". ".join(sentence[0].upper() + sentence[1:] for sentence in sentences) + "."


def _confusable(objects: tuple[ObjectSpec, ...]) -> bool:
    """Whether "the cat" could mean two of the objects ("a cat" and "a red cat")."""
    for index, spec in enumerate(objects):
        for other in objects[index + 1 :]:
            if spec.name == other.name and not (
                spec.color and other.color and spec.color != other.color
            ):
                return True
    return False


TEMPLATES: dict[str, Callable[[SceneSpec], str | None]] = {
    "plain": _plain,
    "photo": _photo,
    "there is": _there_is,
    "predicative": _predicative,
    "fronted": _fronted,
    "inverse": _inverse,
    "sentences": _sentences,
    "reordered": _reordered,
}
"""Wordings by name; each gives `None` for scenes that it cannot say."""


def phrasings(scene: SceneSpec) -> dict[str, str]:
    """Every wording that can say the scene, by template name.

    All ask for the same picture; "inverse" tells the relations from the other objects' side. The
    parser reads each back as a scene with the same `relation_algebra.canonical_key`.

    Returns:
        Template name -> text; empty for an empty scene, and for one that no template can say.

    >>> scene = SceneSpec((ObjectSpec("cat"), ObjectSpec("dog")), (RelationSpec(0, "left of", 1),))
    >>> phrasings(scene)["inverse"]
    'a dog to the right of a cat'
    """
    scene = replace(scene, unparsed=())
    found = {name: template(scene) for name, template in TEMPLATES.items()}
    return {name: text for name, text in found.items() if text is not None}


def describe(scene: SceneSpec, template: str | None = None) -> str:
    """The scene in one wording: that of `template`, or else the first that can say it.

    Raises:
        InputError: no such template, or it cannot say this scene.
    """
    if template is not None and template not in TEMPLATES:
        raise InputError(f"unknown template {template!r}; {nearest(template, TEMPLATES)}")
    said = phrasings(scene)
    if not said or (template is not None and template not in said):
        raise InputError(
            f"the template {template!r} cannot say this scene; these can: {', '.join(said)}"
            if template
            else "no template can say this scene (two objects that only differ in attributes?)"
        )
    return said[template] if template else next(iter(said.values()))
