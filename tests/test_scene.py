from __future__ import annotations

import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.scene import (
    RELATION_ALIASES,
    RELATIONS,
    Prompt,
    SceneSpec,
    canonical_relation,
    check_unique_ids,
)


def test_every_alias_maps_onto_the_vocabulary():
    assert {canonical_relation(alias) for alias in RELATION_ALIASES} <= set(RELATIONS)


def test_the_interface_example_is_read_as_documented():
    record = {
        "id": "42",
        "text": "a red cat to the left of two dogs",
        "tag": "position",
        "scene": {
            "objects": [{"name": "cat", "count": 1, "color": "red"}, {"name": "dog", "count": 2}],
            "relations": [{"subject": 0, "relation": "to the left of", "object": 1}],
        },
    }
    prompt = Prompt.from_dict(record)
    assert prompt.scene is not None
    assert prompt.scene.relations[0].relation == "left of"
    assert prompt.scene.relations[0].phrase == "to the left of"
    assert Prompt.from_dict(prompt.to_dict()) == prompt


@pytest.mark.parametrize(
    ("scene", "message"),
    [
        ({"object": []}, "unknown key 'object' in a scene; did you mean 'objects'"),
        ({"objects": [{"count": 1}]}, "needs a name"),
        ({"objects": [{"name": "cat", "count": "two"}]}, "must be a whole number"),
        ({"objects": [{"name": "cat", "count": -1}]}, "must not be negative"),
        ({"objects": ["cat"]}, "must be a mapping"),
        (
            {
                "objects": [{"name": "cat"}],
                "relations": [{"subject": 0, "relation": "on", "object": 1}],
            },
            "names object 1, but the scene has 1",
        ),
        (
            {
                "objects": [{"name": "cat"}],
                "relations": [{"subject": 0, "relation": "lef of", "object": 0}],
            },
            "did you mean 'left of'",
        ),
        ({"objects": 1e308}, "objects must be a list, got float"),
        ({"objects": "cat"}, "objects must be a list, got str"),
        ({"objects": [{"name": "cat", "color": [[]]}]}, "color must be text, got list"),
        ({"objects": [{"name": "cat", "frame_position": 2}]}, "frame_position must be text"),
        ({"objects": [{"name": "cat", "attributes": -1}]}, "attributes must be a list"),
        ({"objects": [{"name": "cat", "attributes": [[]]}]}, "attributes must hold texts"),
        ({"relations": True}, "relations must be a list"),
        ({"relations": [{"subject": 0, "relation": 5, "object": 1}]}, "relation must be text"),
        ({"relations": [{"subject": 0, "relation": None, "object": 1}]}, "needs the key"),
        (
            {
                "objects": [{"name": "cat"}] * 2,
                "relations": [{"subject": 0, "relation": "on", "object": 1, "phrase": [0]}],
            },
            "phrase must be text",
        ),
        ({"unparsed": [True]}, "unparsed must hold texts"),
    ],
)
def test_a_broken_scene_says_what_is_wrong(scene, message):
    with pytest.raises(InputError, match=message):
        SceneSpec.from_dict(scene)


def test_an_empty_text_and_a_duplicate_id_are_refused():
    with pytest.raises(InputError, match="'7' has an empty text"):
        Prompt.from_dict({"id": 7, "text": "  "})
    with pytest.raises(InputError, match=r"'a' occurs twice \(records 1 and 3\)"):
        check_unique_ids([Prompt("a", "x"), Prompt("b", "x"), Prompt("a", "y")])
