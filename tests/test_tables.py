from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_spatial.errors import InputError
from t2i_spatial.scene import COUNT_RULES, RELATIONS, ObjectSpec, Prompt, RelationSpec, SceneSpec
from t2i_spatial.tables import (
    PROMPTS,
    conform,
    expected_images,
    prompts_to_table,
    table_to_prompts,
)

words = st.text(st.characters(codec="utf-8", categories=["L"]), min_size=1, max_size=8)


@st.composite
def scenes(draw):
    objects = draw(
        st.lists(
            st.builds(
                ObjectSpec,
                name=words,
                count=st.none() | st.integers(0, 9),
                color=st.none() | words,
                attributes=st.lists(words, max_size=2).map(tuple),
                frame_position=st.none() | words,
                count_rule=st.sampled_from(COUNT_RULES),
                text=st.none() | words,
            ),
            min_size=1,
            max_size=4,
        )
    )
    index = st.integers(0, len(objects) - 1)
    common = (index, st.none() | words, st.booleans())
    plain = st.builds(RelationSpec, index, st.sampled_from(RELATIONS), *common)
    between = st.builds(RelationSpec, index, st.just("between"), *common, st.none() | index)
    relations = draw(st.lists(plain | between, max_size=3))
    return SceneSpec(tuple(objects), tuple(relations), tuple(draw(st.lists(words, max_size=2))))


@given(st.lists(st.tuples(words, st.none() | scenes(), st.none() | words), max_size=5))
def test_prompts_survive_the_table_and_the_json_form(items):
    prompts = [
        Prompt(str(i), text, tag, scene, {"n": [i]}) for i, (text, scene, tag) in enumerate(items)
    ]
    assert table_to_prompts(prompts_to_table(prompts)) == prompts
    assert [Prompt.from_dict(p.to_dict()) for p in prompts] == prompts


def test_expected_images_is_every_prompt_times_every_sample():
    prompts = prompts_to_table([Prompt("a", "x"), Prompt("b", "y")])
    assert expected_images(prompts, 2).rows() == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert expected_images(prompts, [3]).rows() == [("a", 3), ("b", 3)]


def test_a_table_of_a_version_without_the_newer_fields_is_read():
    scene = SceneSpec((ObjectSpec("cat"), ObjectSpec("dog")), (RelationSpec(0, "on", 1, "atop"),))
    table = prompts_to_table([Prompt("0", "x", scene=scene), Prompt("1", "y")])
    old = table.with_columns(
        pl.col("objects").cast(
            pl.List(pl.Struct({
                "name": pl.String, "count": pl.Int32, "color": pl.String,
                "attributes": pl.List(pl.String), "frame_position": pl.String,
            }))
        ),
        pl.col("relations").cast(
            pl.List(pl.Struct({
                "subject": pl.Int32, "relation": pl.String, "object": pl.Int32,
                "phrase": pl.String,
            }))
        ),
    )  # fmt: skip
    assert table_to_prompts(old)[0].scene == scene
    assert table_to_prompts(conform(old, PROMPTS, "prompts"))[0].scene == scene


def test_a_count_that_the_column_cannot_hold_is_refused_and_not_lost():
    scene = SceneSpec((ObjectSpec("cat", 2**31),))
    with pytest.raises(InputError, match="asks for 2147483648 of 'cat'"):
        prompts_to_table([Prompt("0", "cats", scene=scene)])
