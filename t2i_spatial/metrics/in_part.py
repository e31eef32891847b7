"""What a prompt asks beside what a protocol judges, and what that makes of a verdict.

One rule for all readers and protocols: a part of a prompt that was not read, or that the protocol
has no rule for, never counts as satisfied. An image that fails by what was judged is wrong. One
that does not fail is `judged_in_part`: without value, the parts named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass

import polars as pl

from t2i_spatial.metrics.adjectives import HAS_ADJECTIVES, said
from t2i_spatial.scene import ObjectSpec, Prompt, RelationSpec, SceneSpec
from t2i_spatial.tables import IN_PART, NOT_APPLICABLE, SCORED, VERDICTS, table_to_prompts


@dataclass(frozen=True, kw_only=True)
class Scope:
    """The parts of a scene that a protocol has rules for.

    Attributes:
        relations, colors, places: the words that it judges (of an object's place in the picture);
            `None` is all of them.
        counts: numbers other than one.
        limits: numbers that are meant as "at least" or "at most".
        absences: objects that must not be there.
        negations: relations that must not hold.
        reciprocals: relations among the instances of one object ("each other").
        attributes: adjectives of looks ("wooden"). Where they are not judged they are told beside
            the verdict (`Metric.adjectives`); `False` makes their prompts judged in part.
        arrangements: adjectives that place or compare things ("in a row", "smaller").
        text: writing in the picture.
    """

    relations: Set[str] | None = frozenset()
    colors: frozenset[str] | None = frozenset()
    places: frozenset[str] | None = frozenset()
    counts: bool = False
    limits: bool = False
    absences: bool = False
    negations: bool = False
    reciprocals: bool = False
    attributes: bool = True
    arrangements: bool = False
    text: bool = False

    def judges(self, words: Set[str] | None, word: str) -> bool:
        """Whether `word` is among `words` of this scope."""
        return words is None or word in words


WHOLE = Scope(
    relations=None,
    colors=None,
    places=None,
    counts=True,
    limits=True,
    absences=True,
    negations=True,
    reciprocals=True,
    arrangements=True,
    text=True,
)
"""Everything that could be read: the scope of a protocol that does not say otherwise."""


def outside(scene: SceneSpec, scope: Scope) -> tuple[str, ...]:
    """What a scene asks beyond a scope, in words: what was not read first.

    >>> objects = ObjectSpec("car", color="silver"), ObjectSpec("cat", 2)
    >>> outside(SceneSpec(objects, unparsed=("facing",)), Scope(counts=True))
    ('facing', 'silver car')
    """
    beyond = [*scene.unparsed]
    for spec in scene.objects:
        beyond += _of_object(spec, scope)
    for relation in scene.relations:
        known = scope.judges(scope.relations, relation.relation)
        known = known and (scope.negations or not relation.negated)
        if relation.reciprocal:
            known = known and scope.reciprocals
        elif len(set(relation.indices)) < len(relation.indices):
            known = False  # "a cat between itself and a dog"
        if not known:
            beyond.append(relation_said(scene, relation))
    return tuple(dict.fromkeys(beyond))


def _of_object(spec: ObjectSpec, scope: Scope) -> Iterator[str]:
    name = spec.name
    if spec.count == 0:
        if not scope.absences:
            yield f"no {name}"
    elif spec.count is not None and spec.count_rule != "exactly" and not scope.limits:
        yield f"{spec.count_rule} {spec.count} {name}"
    elif spec.count is not None and spec.count > 1 and not scope.counts:
        yield f"{spec.count} {name}"
    if spec.color and not scope.judges(scope.colors, spec.color):
        yield f"{spec.color} {name}"
    if spec.frame_position and not scope.judges(scope.places, spec.frame_position):
        yield f"{name} in the {spec.frame_position} of the picture"
    if not scope.attributes:
        yield from said(spec, arranging=False)
    if not scope.arrangements:
        yield from said(spec, arranging=True)
    if spec.text and not scope.text:
        yield f"the text {spec.text!r}"


def relation_said(scene: SceneSpec, relation: RelationSpec) -> str:
    """A relation of a scene in words: "cat between tree and car"."""
    subject, *ends = (scene.objects[k].name for k in relation.indices)
    words = "not " * relation.negated + (relation.phrase or relation.relation)
    if relation.reciprocal:
        return f"{subject} {words}" + (" each other" if relation.phrase is None else "")
    return f"{subject} {words} {' and '.join(ends)}"


def settle(
    verdicts: pl.DataFrame,
    prompts: pl.DataFrame,
    scope: Scope,
    unjudged: Callable[[Prompt], tuple[str, ...]],
) -> pl.DataFrame:
    """VERDICTS in which nothing that was not judged counts as satisfied.

    Adds to `unjudged` (what a judge found out about single images stays), and takes value and
    verdict from the images that would be right. Settling twice changes nothing.

    Args:
        unjudged: what the protocol does not judge of a prompt; asked of those that are not plainly
            in `scope`.
    """
    parts = _parts(prompts, scope, unjudged)
    joined = verdicts.join(parts, on="prompt_id", how="left", maintain_order="left")
    given, status = pl.col("unjudged").fill_null([]), pl.col("status")
    joined = joined.with_columns(
        pl.when(status == NOT_APPLICABLE)
        .then(pl.col("unread").fill_null([]))
        .otherwise(
            pl.concat_list(given, pl.col("beyond").fill_null([])).list.unique(maintain_order=True)
        )
        .alias("unjudged")
    )
    lacking = pl.col("unjudged").list.len() > 0
    told = pl.concat_str(pl.lit("; not judged: "), pl.col("unjudged").list.join(", "))
    fresh = lacking & ~pl.col("reason").str.contains("; not judged: ", literal=True)
    undecided = lacking & (status == SCORED) & pl.col("correct").fill_null(True)
    return joined.with_columns(
        pl.when(undecided).then(pl.lit(IN_PART)).otherwise(status).alias("status"),
        *[pl.when(~undecided).then(name).alias(name) for name in VALUES],
        pl.when(fresh.fill_null(False))
        .then(pl.concat_str("reason", told))
        .otherwise("reason")
        .alias("reason"),
    ).select(list(VERDICTS))


def tell_adjectives(
    verdicts: pl.DataFrame, prompts: pl.DataFrame, adjectives: Callable[[Prompt], tuple[str, ...]]
) -> pl.DataFrame:
    """Settled VERDICTS whose reasons tell the adjectives that nobody judged; no value changes."""
    words = told_adjectives(prompts, adjectives)
    if not words:
        return verdicts
    told = pl.col("prompt_id").replace_strict(words, default=None, return_dtype=pl.String)
    judged = pl.col("status").is_in([SCORED, IN_PART])
    fresh = judged & told.is_not_null() & ~pl.col("reason").str.ends_with(told)
    return verdicts.with_columns(
        pl.when(fresh.fill_null(False))
        .then(pl.concat_str("reason", told))
        .otherwise("reason")
        .alias("reason")
    )


def told_adjectives(
    prompts: pl.DataFrame, adjectives: Callable[[Prompt], tuple[str, ...]]
) -> dict[str, str]:
    """What is told of the prompts with adjectives that are not judged, by prompt id."""
    return {
        prompt.id: f"; adjectives not judged: {', '.join(words)}"
        for prompt in table_to_prompts(prompts.filter(HAS_ADJECTIVES))
        if (words := adjectives(prompt))
    }


def leave_out(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Settled VERDICTS without those on prompts that were not judged whole."""
    out = (pl.col("unjudged").list.len() > 0) & (pl.col("status") != NOT_APPLICABLE)
    return verdicts.with_columns(
        pl.when(out).then(pl.lit(NOT_APPLICABLE)).otherwise("status").alias("status"),
        *[pl.when(~out).then(name).alias(name) for name in (*VALUES, "evidence")],
        pl.when(out)
        .then(pl.format("left out; not judged: {}", pl.col("unjudged").list.join(", ")))
        .otherwise("reason")
        .alias("reason"),
    )


VALUES = ("value", "correct", "margin", "components")


def _parts(
    prompts: pl.DataFrame, scope: Scope, unjudged: Callable[[Prompt], tuple[str, ...]]
) -> pl.DataFrame:
    """`prompt_id, beyond, unread` of the prompts of which something is not judged."""
    rows = [
        {
            "prompt_id": prompt.id,
            "beyond": list(beyond),
            # what a protocol does not apply to for other reasons was still not read
            "unread": list(prompt.scene.unparsed) if prompt.scene else [],
        }
        for prompt in table_to_prompts(prompts.filter(~_plain(scope)))
        if (beyond := unjudged(prompt))
    ]
    words = pl.List(pl.String)
    return pl.DataFrame(rows, schema={"prompt_id": pl.String, "beyond": words, "unread": words})


def _plain(scope: Scope) -> pl.Expr:
    """Prompts that are plainly in a scope, found for all at once: most of the large sets are."""
    each = pl.element().struct
    relation = each.field("relation")
    known = pl.lit(True) if scope.relations is None else relation.is_in(list(scope.relations))
    known = known & ~each.field("negated").fill_null(False) & each.field("second").is_null()
    known = known & (each.field("subject") != each.field("object"))
    simple = [
        each.field("count_rule").fill_null("exactly") == "exactly",
        each.field("text").is_null(),
        each.field("count").fill_null(1) == 1,
        each.field("color").is_null(),
        each.field("attributes").list.len().fill_null(0) == 0,
        each.field("frame_position").is_null(),
    ]
    return (
        (pl.col("unparsed").list.len().fill_null(0) == 0)
        & pl.col("objects").list.eval(pl.all_horizontal(simple)).list.all()
        & pl.col("relations").list.eval(known).list.all()
        & pl.col("metadata").is_null()
    ).fill_null(False)
