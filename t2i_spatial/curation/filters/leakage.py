"""Nothing of the evaluation in the training set."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import polars as pl
from typing_extensions import override

from t2i_spatial.curation.filter import FILTERS, Filter
from t2i_spatial.errors import InputError
from t2i_spatial.metrics.labels import canonical_label
from t2i_spatial.relation_algebra import SYMMETRIC
from t2i_spatial.scene import SceneSpec
from t2i_spatial.tables import KEY

_TOLD = {"right of": "left of", "below": "above", "behind": "in front of"}
_ASKED = ("text", "subject", "relation", "object")


@FILTERS.register("leakage")
class Leakage(Filter):
    """The prompt is not in a set of evaluation prompts.

    `level` says what counts as the same: "text" (upper case, punctuation and spaces aside),
    "scene" (the same text, or any relation between the same objects, from whichever side it is
    told), or "pair" (any two objects that an evaluation prompt names together). Objects are
    compared by kind ("sofa" is "couch"). Of a training prompt that is what its text says and what
    its first relation asks; pairs of boxes have no text.
    """

    adjective: ClassVar[str] = "unseen"

    prompts: str
    level: Literal["text", "scene", "pair"] = "scene"

    def prepare(self, survivors: pl.LazyFrame) -> pl.LazyFrame:
        """`leaked`: whether the evaluation set has the same."""
        from t2i_spatial.prompts import load_prompts, parse_prompt, read_scenes

        seen: set[Any] = set()
        for prompt in read_scenes(load_prompts(self.prompts)):
            seen.update(self._keys(prompt.text, prompt.scene or SceneSpec()))
        known = survivors.collect_schema().names()
        if not {"text", "subject"} & set(known):
            raise InputError("leakage needs a column `text`, or `subject` and `object`")
        asked = [name for name in _ASKED if name in known]
        prompts = survivors.select(asked).unique().collect()
        leaked = []
        for row in prompts.iter_rows(named=True):
            text = row.get("text") or ""
            scene = parse_prompt(text) if text.strip() else SceneSpec()
            keys = {*self._keys(text, scene), *self._first_relation(**row)}
            leaked.append(bool(keys & seen))
        found = prompts.with_columns(pl.Series("leaked", leaked, dtype=pl.Boolean))
        rows = survivors.select(*KEY, *asked)
        return rows.join(found.lazy(), on=asked, how="left", nulls_equal=True).select(
            *KEY, "leaked"
        )

    @override
    def keep(self) -> pl.Expr:
        return ~pl.col("leaked")

    @override
    def reason(self) -> pl.Expr:
        return pl.lit(f"the evaluation set has the same {self.level}")

    def _keys(self, text: str, scene: SceneSpec) -> Iterator[Any]:
        names = [canonical_label(name) for name in scene.names]
        if self.level != "pair" and text:
            yield plain(text)
        if self.level == "scene":
            for told in scene.relations:
                yield _relation(names[told.subject], told.relation, names[told.object])
        elif self.level == "pair":
            yield from map(frozenset, itertools.combinations(names, 2))

    def _first_relation(
        self,
        subject: str | None = None,
        relation: str | None = None,
        object: str | None = None,
        **_: Any,
    ) -> Iterator[Any]:
        if subject is None or object is None:
            return
        first, second = canonical_label(subject), canonical_label(object)
        if self.level == "scene" and relation is not None:
            for word in relation.replace("to the ", "").split(" and "):
                yield _relation(first, word, second)
        elif self.level == "pair":
            yield frozenset([first, second])


def plain(text: str) -> str:
    """Text in lower case, letters and digits only, single spaces.

    >>> plain("A cat, left of a dog!")
    'a cat left of a dog'
    """
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def _relation(subject: str, relation: str, target: str) -> tuple[str, ...]:
    """The same for a relation told from either side."""
    if relation in _TOLD:
        return (target, _TOLD[relation], subject)
    if relation in SYMMETRIC:
        return (min(subject, target), relation, max(subject, target))
    return (subject, relation, target)
