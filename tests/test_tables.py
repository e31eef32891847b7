from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from t2i_spatial.scene import RELATIONS, ObjectSpec, Prompt, RelationSpec, SceneSpec
from t2i_spatial.tables import expected_images, prompts_to_table, table_to_prompts

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
            ),
            min_size=1,
            max_size=4,
        )
    )
    index = st.integers(0, len(objects) - 1)
    relations = draw(
        st.lists(
            st.builds(RelationSpec, index, st.sampled_from(RELATIONS), index, st.none() | words),
            max_size=3,
        )
    )
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
