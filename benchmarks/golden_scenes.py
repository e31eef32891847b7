"""Scoring of parsed scenes against hand-labelled ones.

A labelled case is a mapping with `source`, `text`, `objects` and `relations` by name, and, where
more than one reading is right, `or` (another relation that is right too), `optional_objects`,
`optional_relations` (may be read or not) and `count_judged: false`. Names match when they are
equal or when one is the other's head. Only the eleven relations of box protocols are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from t2i_spatial.scene import SceneSpec

JUDGED = frozenset(
    [
        "left of",
        "right of",
        "above",
        "below",
        "on",
        "under",
        "in",
        "next to",
        "near",
        "in front of",
        "behind",
    ]
)
Triple = tuple[str, str, str]


def head(name: str) -> str:
    """The head noun: "body of water" -> "body", "dining table" -> "table"."""
    return name.split(" of ")[0].split()[-1]


def same_name(one: str, other: str) -> bool:
    return one == other or head(one) == other or head(other) == one


@dataclass
class Score:
    """What was right and wrong in one scene.

    Attributes:
        objects, relations: (found, missed, invented).
        wrong: what was wrong, in words; empty for a scene that was read whole.
    """

    objects: tuple[int, int, int]
    relations: tuple[int, int, int]
    wrong: list[str] = field(default_factory=list)


def score(scene: SceneSpec, case: Mapping[str, Any]) -> Score:
    """Compare a scene with a labelled case."""
    wrong: list[str] = []
    objects = _objects(scene, case, wrong)
    relations = _relations(scene, case, wrong)
    return Score(objects, relations, wrong)


def _objects(scene: SceneSpec, case: Mapping[str, Any], wrong: list[str]) -> tuple[int, int, int]:
    left = [
        spec
        for spec in scene.objects
        if getattr(spec, "text", None) is None and spec.name not in ("text", "word", "letter")
    ]
    found = missed = 0
    # best fitting first, so that two objects of one name find their own
    for want in case["objects"]:
        fitting = [spec for spec in left if same_name(spec.name, want["name"])]
        if not fitting:
            missed += 1
            wrong.append(f"object missed: {want['name']}")
            continue
        best = min(fitting, key=lambda spec: (_unlike(spec, want), spec.name != want["name"]))
        left.remove(best)
        found += 1
        if unlike := _unlike(best, want):
            wrong.append(
                f"{'count' if unlike > 1 else 'color'} of {want['name']}: "
                f"{best.count} {best.color}, not {want['count']} {want['color']}"
            )
    for want in case.get("optional_objects", ()):
        for spec in left:
            if same_name(spec.name, want["name"]):
                left.remove(spec)
                break
    wrong.extend(f"object invented: {spec.name}" for spec in left)
    return found, missed, len(left)


def _unlike(spec: Any, want: Mapping[str, Any]) -> int:
    count = want.get("count_judged", True) and spec.count != want["count"]
    color = bool(want.get("color")) and spec.color != want["color"]
    return 2 * count + color


def _relations(scene: SceneSpec, case: Mapping[str, Any], wrong: list[str]) -> tuple[int, int, int]:
    names = [spec.name for spec in scene.objects]
    left: list[Triple] = [
        (names[r.subject], r.relation, names[r.object])
        for r in scene.relations
        if r.relation in JUDGED and not getattr(r, "negated", False)
    ]
    found = missed = 0
    for want in case["relations"]:
        if _take(left, [want]) or (want.get("or") and _take(left, want["or"])):
            found += 1
        else:
            missed += 1
            wrong.append("relation missed: {subject} {relation} {object}".format(**want))
    also = [*case.get("optional_relations", ())]
    also += [other for want in case["relations"] for other in (want, *want.get("or", ()))]
    invented = [triple for triple in left if not any(_is(triple, other) for other in also)]
    wrong.extend(f"relation invented: {' '.join(triple)}" for triple in invented)
    return found, missed, len(invented)


def _take(left: list[Triple], readings: Iterable[Mapping[str, Any]]) -> bool:
    for want in readings:
        for triple in left:
            if _is(triple, want):
                left.remove(triple)
                return True
    return False


def _is(triple: Triple, want: Mapping[str, Any]) -> bool:
    return (
        triple[1] == want["relation"]
        and same_name(triple[0], want["subject"])
        and same_name(triple[2], want["object"])
    )


def rates(scores: Sequence[Score]) -> dict[str, float]:
    """Shares over several scenes: whole, and recall and precision of objects and relations."""

    def total(kind: str, place: int) -> int:
        return sum(getattr(score, kind)[place] for score in scores)

    table = {"whole": sum(not score.wrong for score in scores) / len(scores)}
    for kind in ("objects", "relations"):
        found, missed, invented = (total(kind, place) for place in range(3))
        table[f"{kind} recall"] = found / (found + missed) if found + missed else 1.0
        table[f"{kind} precision"] = found / (found + invented) if found + invented else 1.0
    return table
