"""What a filter is: a polars expression over candidates, with a name and a reason."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError

from t2i_spatial.errors import InputError, nearest
from t2i_spatial.registry import Registry


@dataclass(frozen=True, eq=False)
class Measure:
    """Columns computed from the pixels of one image.

    Attributes:
        columns: name -> polars type of what `function` returns, in its order.
        function: 8-bit RGB image -> one value per column.
    """

    columns: Mapping[str, Any]
    function: Callable[[Image.Image], Sequence[Any]]


class Filter(BaseModel, ABC):
    """One rule of a curation pipeline; its fields are its parameters, never NaN or infinite.

    `keep` and `reason` are expressions over the candidates (see `curation.candidates`) with the
    columns of `measures` and `prepare`. A null `keep` refuses. `reason` says why in words and
    is evaluated for refused rows only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: ClassVar[str]
    """Name in the registry, which registering sets."""
    adjective: ClassVar[str]
    """What the rows that stay are, for the line of counts ("131 correct")."""
    measures: ClassVar[tuple[Measure, ...]] = ()
    """What must be computed from pixels first."""

    @abstractmethod
    def keep(self) -> pl.Expr:
        """True for the rows that stay."""

    @abstractmethod
    def reason(self) -> pl.Expr:
        """Why a refused row goes."""

    def prepare(self, survivors: pl.LazyFrame) -> pl.LazyFrame | None:
        """Columns that depend on the other rows: the key (`prompt_id`, `sample`) and the columns.

        Args:
            survivors: the candidates that no earlier filter refused, in their order.
        """
        return None

    def weight(self) -> pl.Expr | None:
        """Factor on the training weight of the rows that stay."""
        return None


class FilterGroup(BaseModel, ABC):
    """Several filters under one name; its fields are their common parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]

    @abstractmethod
    def filters(self) -> list[Filter]:
        """The filters it stands for, in order."""


Definition = Filter | FilterGroup | str | Mapping[str, Any]
"""A filter as data: a name, or a mapping `{"filter": name, parameter: value, ...}`."""

FILTERS: Registry[type[Filter] | type[FilterGroup]] = Registry(
    "filter", "t2i_spatial.curation.filters", classes=(Filter, FilterGroup)
)
"""All filters by name: `FILTERS["correct"]()` makes one with its default parameters."""


def make_filters(definitions: Iterable[Definition]) -> list[Filter]:
    """Filters from data, in order; groups are replaced by what they stand for.

    >>> [made.minimum for made in make_filters([{"filter": "margin", "minimum": 0.1}, "score"])]
    [0.1, 0.3]
    >>> [made.name for made in make_filters(["scop"])][:2]
    ['visual_significance', 'semantic_distinction']

    Raises:
        InputError: an unknown filter or parameter, or a value of the wrong kind.
    """
    filters: list[Filter] = []
    for definition in definitions:
        made = _make(definition)
        filters += made.filters() if isinstance(made, FilterGroup) else [made]
    return filters


def _make(definition: Definition) -> Filter | FilterGroup:
    if isinstance(definition, Filter | FilterGroup):
        return definition
    if isinstance(definition, str):
        definition = {"filter": definition}
    if not isinstance(definition, Mapping) or not isinstance(definition.get("filter"), str):
        raise InputError(
            f"a filter is a name or a mapping with the key 'filter', got {definition!r}"
        )
    kind = FILTERS[definition["filter"]]
    parameters = {key: value for key, value in definition.items() if key != "filter"}
    try:
        return kind.model_validate(parameters)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = nearest(key, kind.model_fields) if kind.model_fields else "it has none"
            raise InputError(f"filter {kind.name!r} has no parameter {key!r}; {known}") from None
        raise InputError(f"filter {kind.name!r}, {key or 'parameters'}: {first['msg']}") from None
