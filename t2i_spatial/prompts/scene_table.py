"""A scene as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from t2i_spatial.scene import SceneSpec


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
                spec.name,
                "any" if spec.count is None else str(spec.count),
                spec.color or "",
                " ".join(spec.attributes),
                spec.frame_position or "",
            )
        )
    parts = [_aligned(rows) if scene.objects else "no object found"]
    if scene.relations:
        told: list[Sequence[str]] = [("relation", "phrase")]
        for relation in scene.relations:
            words = f"{relation.subject} {relation.relation} {relation.object}"
            told.append((words, relation.phrase or relation.relation))
        parts.append(_aligned(told))
    if scene.unparsed:
        parts.append("not read: " + "; ".join(scene.unparsed))
    return "\n\n".join(parts)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
