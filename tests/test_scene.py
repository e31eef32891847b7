from __future__ import annotations

import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.scene import (
    RELATION_ALIASES,
    RELATIONS,
    ObjectSpec,
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


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "cat", "count_rule": "at leat"}, "did you mean 'at least'"),
        ({"name": "text", "text": 3}, "text must be text, got int"),
    ],
)
def test_a_broken_object_is_named(entry, message):
    with pytest.raises(InputError, match=message):
        SceneSpec.from_dict({"objects": [entry]})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"relation": "between", "second": 3}, "names object 3, but the scene has 3 objects"),
        ({"relation": "between", "second": "2"}, "the ends of a relation are indices"),
        ({"relation": "above", "second": 2}, "'above' has one other end, got a second: 2"),
        ({"relation": "above", "negated": "no"}, "negated must be true or false, got 'no'"),
        ({"relation": "aboev"}, "unknown relation 'aboev'; did you mean 'above'"),
    ],
)
def test_a_broken_relation_is_named(entry, message):
    objects = [{"name": name} for name in ("cat", "dog", "bird")]
    with pytest.raises(InputError, match=message):
        SceneSpec.from_dict(
            {"objects": objects, "relations": [{"subject": 0, "object": 1} | entry]}
        )


def test_a_scene_says_how_much_of_its_text_it_holds():
    cat = ObjectSpec("cat")
    assert SceneSpec((cat,)).reading == "read"
    assert SceneSpec((cat,), unparsed=("of joy",)).reading == "read in part"
    assert SceneSpec(unparsed=("ein Hund",)).reading == "not read"
    assert SceneSpec().reading == "not read"
