"""New prompt sets over any vocabulary: satisfiable, balanced, in several wordings."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from t2i_spatial.errors import InputError, nearest
from t2i_spatial.locations import locate
from t2i_spatial.prompts.containers import read_text
from t2i_spatial.prompts.parser import parse_prompt
from t2i_spatial.prompts.phrasing import phrasings, told_inversely
from t2i_spatial.prompts.sr2d import COCO_NAMES
from t2i_spatial.prompts.witness_layout import solve_layout
from t2i_spatial.relation_algebra import canonical_key, closure, contradictions
from t2i_spatial.scene import (
    COLORS,
    ObjectSpec,
    Prompt,
    RelationSpec,
    SceneSpec,
    canonical_relation,
)

_HANDFUL = 12
_PATIENCE = 200


@dataclass(frozen=True, slots=True)
class SceneOptions:
    """What sampled scenes look like.

    Attributes:
        vocabulary: nouns, singular; each scene takes different ones.
        relations: relations to use, evenly.
        n_objects: kinds of objects per scene.
        n_relations: relations per scene; they join different pairs, and none follows from others.
        counts: counts to choose from; 1 is as likely as any other.
        colors: colours to choose from; empty for none.
        color_share: share of the objects that get a colour.
    """

    vocabulary: Sequence[str] = COCO_NAMES
    relations: Sequence[str] = ("left of", "right of", "above", "below")
    n_objects: int = 2
    n_relations: int = 1
    counts: Sequence[int] = (1,)
    colors: Sequence[str] = ()
    color_share: float = 1.0


DIFFICULTIES: dict[str, SceneOptions] = {
    "easy": SceneOptions(),
    "medium": SceneOptions(n_objects=3, n_relations=2, colors=COLORS, color_share=0.5),
    "hard": SceneOptions(n_objects=4, n_relations=4, counts=(1, 2, 3), colors=COLORS),
}
"""Presets: two objects and a relation; three with some colours; four with counts and colours."""


def options_for(
    difficulty: str = "easy",
    *,
    n_objects: int | None = None,
    n_relations: int | None = None,
    relations: Sequence[str] | None = None,
    vocabulary: Sequence[str] | None = None,
    max_count: int | None = None,
    colors: bool | None = None,
) -> SceneOptions:
    """A preset with some of its settings replaced; `None` keeps the preset's.

    Raises:
        InputError: no such preset.
    """
    if difficulty not in DIFFICULTIES:
        raise InputError(f"unknown difficulty {difficulty!r}; {nearest(difficulty, DIFFICULTIES)}")
    preset = DIFFICULTIES[difficulty]
    objects = preset.n_objects if n_objects is None else n_objects
    return SceneOptions(
        vocabulary=preset.vocabulary if vocabulary is None else vocabulary,
        relations=preset.relations if relations is None else relations,
        n_objects=objects,
        n_relations=min(preset.n_relations, objects * (objects - 1) // 2)
        if n_relations is None
        else n_relations,
        counts=preset.counts if max_count is None else tuple(range(1, max_count + 1)),
        colors=preset.colors if colors is None else (COLORS if colors else ()),
        color_share=preset.color_share,
    )


def read_vocabulary(path: str | Path) -> list[str]:
    """The nouns of a text file, one per line, without blank lines.

    Raises:
        InputError: the file is missing, not UTF-8, or empty.
    """
    nouns = [line.strip() for line in read_text(locate(path)).splitlines() if line.strip()]
    if not nouns:
        raise InputError(f"no nouns in {path}")
    return nouns


def only_about(prompts: Iterable[Prompt], nouns: Iterable[str]) -> list[Prompt]:
    """The prompts whose objects are all among `nouns`; one without objects is not.

    >>> from t2i_spatial.prompts import sr2d
    >>> len(only_about(sr2d(), ["cat", "dog"]))
    12
    """
    known = set(nouns)
    return [p for p in prompts if p.scene and p.scene.objects and known.issuperset(p.scene.names)]


def sample_scenes(
    count: int,
    options: SceneOptions | None = None,
    *,
    seed: int = 0,
    wordings: int = 1,
) -> list[Prompt]:
    """`count` different scenes as prompts, each with a witness layout.

    Every relation is used equally often (to within one scene), and every noun about equally often
    as the first-named object and as another one, because models favour what is named first. No two
    scenes ask for the same in other words. All are satisfiable: a layout was found.

    Args:
        count: how many scenes.
        options: what they look like; two objects and one relation by default.
        seed: the same seed and options give the same prompts on every machine.
        wordings: prompts per scene; the second is told from the other object's side where the
            relation has an inverse ("A left of B", "B right of A"), the next are other templates.

    Returns:
        Prompts in the order of sampling. `metadata` has "layout" (boxes as fractions of the
        picture), "scene_id" (equal for wordings of one scene) and "template".

    Raises:
        InputError: a count below 1, more wordings than such scenes have, a vocabulary too small or
            with a noun that the parser does not read as one, unknown relations, or fewer different
            satisfiable scenes than asked for.

    >>> first, second = sample_scenes(1, wordings=2)
    >>> first.metadata["scene_id"] == second.metadata["scene_id"], second.metadata["template"]
    (True, 'inverse')
    """
    options = options or SceneOptions()
    relations = _check(count, options, wordings)
    rng = random.Random(seed)
    used: Counter[tuple[str, str]] = Counter()
    seen: set[tuple[object, ...]] = set()
    prompts: list[Prompt] = []
    for number in range(count):
        for _ in range(_PATIENCE):
            scene = _draw(options, relations, used, rng)
            if scene is None or (key := canonical_key(scene)) in seen:
                continue
            try:
                layout = solve_layout(scene, rng.randrange(2**31))
            except InputError:
                # this draw has no layout; the loop draws another and gives up loudly
                continue
            break
        else:
            raise InputError(
                f"found only {number} different satisfiable scenes of {count}; "
                "use more nouns or relations, or fewer objects"
            )
        seen.add(key)
        for relation in scene.relations:
            used["relation", relation.relation] += 1
        for place, spec in enumerate(scene.objects):
            used["first" if place == 0 else "later", spec.name] += 1
        for place, (template, text) in enumerate(_wordings(scene, wordings)):
            told = (told_inversely(scene) or scene) if template == "inverse" else scene
            scene_id = f"{number:05d}"
            prompts.append(
                Prompt(
                    scene_id if wordings == 1 else f"{scene_id}-{place}",
                    text,
                    _tag(told),
                    told,
                    {"layout": layout, "scene_id": scene_id, "template": template},
                )
            )
    return prompts


def split_prompts(
    prompts: Iterable[Prompt], held_out: float = 0.2, seed: int = 0, by: str = "pair"
) -> tuple[list[Prompt], list[Prompt]]:
    """A training and a held-out part without leakage between them.

    Args:
        prompts: with scenes.
        held_out: share of the groups that is held out, at least one group.
        seed: the same seed gives the same parts.
        by: "pair" keeps all prompts about the same set of nouns in one part, whatever their
            relation; "scene" only those that ask for the same scene in other words.

    Returns:
        Training part, held-out part, each in the order of `prompts`.

    Raises:
        InputError: a share outside (0, 1), an unknown `by`, a prompt without scene, or fewer than
            two groups.
    """
    if not 0.0 < held_out < 1.0:
        raise InputError(f"held_out must be between 0 and 1, got {held_out}")
    if by not in ("pair", "scene"):
        raise InputError(f"unknown split {by!r}; known: pair, scene")
    prompts = list(prompts)
    groups = [_group(prompt, by) for prompt in prompts]
    order = sorted(set(groups), key=repr)
    if len(order) < 2:
        raise InputError("a split needs prompts about at least two different scenes")
    random.Random(seed).shuffle(order)
    number = min(max(1, round(held_out * len(order))), len(order) - 1)
    test = set(order[:number])
    return (
        [prompt for prompt, group in zip(prompts, groups, strict=True) if group not in test],
        [prompt for prompt, group in zip(prompts, groups, strict=True) if group in test],
    )


def _group(prompt: Prompt, by: str) -> tuple[object, ...]:
    if prompt.scene is None:
        raise InputError(f"prompt {prompt.id!r} has no scene; load it with load_prompts first")
    return canonical_key(prompt.scene) if by == "scene" else tuple(sorted(prompt.scene.names))


def _check(count: int, options: SceneOptions, wordings: int) -> list[str]:
    if count < 1 or wordings < 1 or options.n_objects < 1:
        raise InputError("the numbers of scenes, wordings and objects must be at least 1")
    if options.n_relations < 0:
        raise InputError(f"a scene cannot have {options.n_relations} relations")
    if not options.counts or min(options.counts) < 1:
        raise InputError("counts must be 1 or more")
    if len(set(options.vocabulary)) < options.n_objects:
        raise InputError(
            f"{options.n_objects} objects need as many nouns, got {len(set(options.vocabulary))}"
        )
    pairs = options.n_objects * (options.n_objects - 1) // 2
    if options.n_relations > pairs:
        raise InputError(f"{options.n_objects} objects have only {pairs} pairs to relate")
    if options.n_relations and not options.relations:
        raise InputError("no relations to choose from")
    for noun in options.vocabulary:
        for number in {1, 2, *options.counts}:
            scene = SceneSpec((ObjectSpec(noun, number),))
            if parse_prompt(next(iter(phrasings(scene).values()))) != scene:
                raise InputError(
                    f"the parser does not read {noun!r} as one noun; write nouns in lower case "
                    "and the singular, without adjectives"
                )
    return sorted({canonical_relation(relation) for relation in options.relations})


def _draw(
    options: SceneOptions, relations: list[str], used: Counter[tuple[str, str]], rng: random.Random
) -> SceneSpec | None:
    """One scene of the least used nouns and relations, or `None` when it contradicts itself."""
    nouns: list[str] = []
    for place in range(options.n_objects):
        role = "first" if place == 0 else "later"
        handful = [n for n in _some(options.vocabulary, rng) if n not in nouns]
        if not handful:
            return None
        nouns.append(
            min(handful, key=lambda n: (used[role, n], used["first", n] + used["later", n]))
        )
    objects = tuple(
        ObjectSpec(
            noun,
            rng.choice(list(options.counts)),
            rng.choice(list(options.colors))
            if options.colors and rng.random() < options.color_share
            else None,
        )
        for noun in nouns
    )
    here: Counter[str] = Counter()
    chosen: list[RelationSpec] = []
    for subject, target in _pairs(options, rng):
        free = [r for r in relations if _adds(chosen, RelationSpec(subject, r, target))]
        if not free:
            return None
        rng.shuffle(free)
        relation = min(free, key=lambda r: used["relation", r] + here[r])
        here[relation] += 1
        chosen.append(RelationSpec(subject, relation, target))
    return SceneSpec(objects, tuple(chosen))


def _some(vocabulary: Sequence[str], rng: random.Random) -> list[str]:
    nouns = list(dict.fromkeys(vocabulary))
    return nouns if len(nouns) <= _HANDFUL else rng.sample(nouns, _HANDFUL)


def _pairs(options: SceneOptions, rng: random.Random) -> list[tuple[int, int]]:
    """Pairs to relate: a chain that begins with the first object, then any others."""
    chain = [(i, i + 1) for i in range(options.n_objects - 1)]
    others = [(i, j) for i in range(options.n_objects) for j in range(i + 2, options.n_objects)]
    rng.shuffle(others)
    return (chain + others)[: options.n_relations]


def _adds(chosen: list[RelationSpec], new: RelationSpec) -> bool:
    """Whether a relation neither contradicts the others nor follows from them."""
    if contradictions([*chosen, new]):
        return False
    return (new.subject, new.relation, new.object) not in closure(chosen)


def _wordings(scene: SceneSpec, number: int) -> list[tuple[str, str]]:
    found = phrasings(scene)
    preferred: tuple[str, ...] = ("plain", "sentences", "inverse")
    order = [name for name in preferred if name in found]
    if "plain" in found and "sentences" in found:
        order.remove("sentences")
    order += [name for name in found if name not in order]
    if len(order) < number:
        raise InputError(f"scenes of this kind have only {len(order)} wordings, not {number}")
    return [(name, found[name]) for name in order[:number]]


def _tag(scene: SceneSpec) -> str:
    if len(scene.relations) == 1 and len(scene.objects) == 2:
        return scene.relations[0].relation
    return f"{len(scene.objects)} objects"
