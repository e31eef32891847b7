import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_spatial.errors import InputError
from t2i_spatial.prompts import describe, parse_prompt, phrasings
from t2i_spatial.prompts.parser.relation_phrases import RECIPROCAL
from t2i_spatial.prompts.phrasing import TEMPLATES
from t2i_spatial.prompts.sr2d import COCO_NAMES
from t2i_spatial.prompts.witness_layout import HOLDS
from t2i_spatial.relation_algebra import canonical_key
from t2i_spatial.scene import COLORS, ObjectSpec, RelationSpec, SceneSpec

NOUNS = (*COCO_NAMES, "leaf", "child", "shoe", "glass", "palm tree", "coffee mug", "tablecloth")
PLACES = ("left", "right", "top", "bottom", "center", "top left", "bottom right", "background")

objects = st.builds(
    ObjectSpec,
    name=st.sampled_from(NOUNS),
    count=st.sampled_from([1, 1, 1, 2, 5, 12, 21, None]),
    color=st.sampled_from([None, None, *COLORS]),
    attributes=st.sampled_from([(), (), ("small",), ("big", "wooden"), ("striped",)]),
    frame_position=st.sampled_from([None] * 6 + list(PLACES)),
)


@st.composite
def scenes(draw):
    things = tuple(draw(st.lists(objects, min_size=1, max_size=4)))
    pairs = [(a, b) for a in range(len(things)) for b in range(a)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=3)) if pairs else []
    relations = []
    for pair in chosen:
        subject, target = draw(st.permutations(pair))
        relations.append(RelationSpec(subject, draw(st.sampled_from(sorted(HOLDS))), target))
    return SceneSpec(things, tuple(relations))


@settings(max_examples=200, deadline=None)
@given(scenes())
def test_what_is_said_is_read_as_the_same_scene(scene):
    for template, text in phrasings(scene).items():
        read = parse_prompt(text)
        assert [u for u in read.unparsed if not u.startswith("contradiction")] == [], text
        assert canonical_key(read) == canonical_key(scene), (template, text)


def test_every_template_is_used():
    pair = SceneSpec((ObjectSpec("cat"), ObjectSpec("dog", 2)), (RelationSpec(0, "left of", 1),))
    assert phrasings(pair) == {
        "plain": "a cat to the left of two dogs",
        "photo": "a photo of a cat to the left of two dogs",
        "there is": "there is a cat to the left of two dogs",
        "predicative": "a cat is to the left of two dogs",
        "fronted": "to the left of two dogs is a cat",
        "inverse": "two dogs to the right of a cat",
        "sentences": "A cat is to the left of two dogs.",
    }
    three = SceneSpec(
        (*pair.objects, ObjectSpec("tree")), (*pair.relations, RelationSpec(1, "near", 2))
    )
    assert phrasings(three) == {
        "sentences": "A cat is to the left of two dogs. The dogs are near a tree.",
        "inverse": "Two dogs are to the right of a cat. A tree is near the dogs.",
        "reordered": "Two dogs are near a tree. A cat is to the left of the dogs.",
    }
    assert {*phrasings(pair), *phrasings(three)} == set(TEMPLATES)


def test_a_scene_that_no_sentence_can_tell_apart():
    cats = SceneSpec(
        (ObjectSpec("cat"), ObjectSpec("cat", attributes=("big",)), ObjectSpec("dog")),
        (RelationSpec(0, "left of", 2), RelationSpec(1, "above", 2)),
    )
    assert phrasings(cats) == {}
    with pytest.raises(InputError, match="no template can say this scene"):
        describe(cats)
    assert phrasings(SceneSpec()) == {}


def test_describe_takes_a_template_or_the_first():
    scene = parse_prompt("a cat on a mat")
    assert describe(scene) == "a cat on a mat"
    assert describe(scene, "photo") == "a photo of a cat on a mat"
    with pytest.raises(InputError, match="'inverse' cannot say this scene"):
        describe(scene, "inverse")
    with pytest.raises(InputError, match="did you mean 'photo'"):
        describe(scene, "phot")


def test_between_and_what_must_not_hold_are_said_in_sentences():
    things = tuple(ObjectSpec(name) for name in ("cat", "dog", "bird"))
    between = SceneSpec(things, (RelationSpec(0, "between", 1, second=2),))
    assert phrasings(between) == {"sentences": "A cat is between a dog and a bird."}
    denied = SceneSpec(things[:2], (RelationSpec(0, "left of", 1, negated=True),))
    assert phrasings(denied)["sentences"] == "A cat is not to the left of a dog."
    assert phrasings(denied)["inverse"] == "A dog is not to the right of a cat."
    for scene in (between, denied):
        for text in phrasings(scene).values():
            read = parse_prompt(text)
            assert read.unparsed == ()
            assert scene.relations[0].negated == read.relations[0].negated


@pytest.mark.parametrize("count", [2, 3, None])
@pytest.mark.parametrize("relation", sorted(RECIPROCAL))
def test_what_stands_to_each_other_is_said_and_read_back(relation, count):
    scene = SceneSpec((ObjectSpec("cat", count),), (RelationSpec(0, relation, 0),))
    said = phrasings(scene)
    assert {"plain", "predicative", "sentences"} <= set(said)
    for text in said.values():
        assert canonical_key(parse_prompt(text)) == canonical_key(scene), text


def test_a_relation_that_is_not_said_of_each_other_has_no_wording():
    one = SceneSpec((ObjectSpec("cat"),), (RelationSpec(0, "next to", 0),))
    left = SceneSpec((ObjectSpec("cat", 2),), (RelationSpec(0, "left of", 0),))
    assert phrasings(one) == phrasings(left) == {}
