from __future__ import annotations

import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.relations import (
    RELATION_ALIASES,
    RELATION_TABLE,
    RELATIONS,
    REVERSED_ALIASES,
    Relation,
    add_relation,
    canonical_relation,
)

ROWS = [RELATION_TABLE[name] for name in RELATION_TABLE]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_fits_the_others(row):
    for other in (*row.entails, *row.excludes, row.mirrored or row.name):
        assert other in RELATIONS
    if row.inverse:
        assert RELATION_TABLE[row.inverse].inverse == row.name
    if row.inverse and row.axis:
        axis, sign = row.axis
        assert RELATION_TABLE[row.inverse].axis == (axis, -sign)
    assert RELATION_TABLE[row.mirrored or row.name].mirrored in ("", row.name)
    assert not set(row.entails) & set(row.excludes)
    assert canonical_relation(row.words) == row.name


def test_a_spelling_from_the_other_end_is_no_alias():
    assert REVERSED_ALIASES["surrounded by"] == "surrounding"
    assert "surrounded by" not in RELATION_ALIASES
    with pytest.raises(InputError, match="unknown relation 'surrounded by'"):
        canonical_relation("surrounded by")
    assert RELATION_ALIASES["to the left of"] == "left of"
    assert "left of" not in RELATION_ALIASES


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (Relation("above"), "registered twice"),
        (Relation("hovering over", ("over",)), "'over' means both 'above' and 'hovering over'"),
        (Relation("Hovering"), "'Hovering' is not plain lower case"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_whole(row, message):
    before = tuple(RELATIONS)
    with pytest.raises(InputError, match=message):
        add_relation(row)
    assert tuple(RELATIONS) == before
    assert canonical_relation("over") == "above"


def test_views_behave_as_the_containers_they_stand_for():
    assert RELATIONS[0] == "left of"
    assert RELATIONS[:2] == ("left of", "right of")
    assert RELATIONS.index("above") == 2
    assert len(RELATIONS) == len(list(RELATIONS)) == len(set(RELATIONS))
    assert "hovering" not in RELATIONS
    assert dict(RELATION_ALIASES)["beside"] == "next to"
