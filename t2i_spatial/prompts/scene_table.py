"""A scene as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from t2i_spatial.scene import ObjectSpec, SceneSpec


def scene_table(scene: SceneSpec) -> str:
    """Objects, relations and unread parts as aligned text.

    >>> from t2i_spatial.prompts.parser import parse_prompt
    >>> print(scene_table(parse_prompt("a red cat left of two dogs")))
    #  object  count  color  attributes  place
    0  cat     1      red
    1  dog     2
    <BLANKLINE>
    relation     phrase
    0 left of 1  left of
    """
    rows: list[Sequence[str]] = [("#", "object", "count", "color", "attributes", "place")]
    for index, spec in enumerate(scene.objects):
        rows.append(
            (
                str(index),
                spec.name if spec.text is None else f"{spec.name} {spec.text!r}",
                _count(spec),
                spec.color or "",
                " ".join(spec.attributes),
                spec.frame_position or "",
            )
        )
    parts = [_aligned(rows) if scene.objects else "no object found"]
    if scene.relations:
        told: list[Sequence[str]] = [("relation", "phrase")]
        for relation in scene.relations:
            negation = "not " if relation.negated else ""
            other = "each other" if relation.reciprocal else relation.object
            words = f"{relation.subject} {negation}{relation.relation} {other}"
            if relation.second is not None:
                words += f" and {relation.second}"
            told.append((words, relation.phrase or relation.relation))
        parts.append(_aligned(told))
    if scene.reading != "read":
        parts.append(f"reading: {scene.reading}")
    if scene.unparsed:
        parts.append("not read: " + "; ".join(scene.unparsed))
    return "\n\n".join(parts)


def _count(spec: ObjectSpec) -> str:
    if spec.count is None:
        return "any"
    return str(spec.count) if spec.count_rule == "exactly" else f"{spec.count_rule} {spec.count}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
