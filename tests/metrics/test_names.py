"""What a detector is asked and how it answers; two names of one class are two things."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from t2i_spatial.metrics import PROTOCOLS
from t2i_spatial.metrics.duplicates import are_things
from t2i_spatial.metrics.labels import PEOPLE, peer_names
from t2i_spatial.prompts import parse_prompt
from t2i_spatial.scene import ObjectSpec, Prompt, RelationSpec, SceneSpec
from t2i_spatial.tables import prompts_to_table
from tests.builders import box, detection_rows, detections

LEFT, RIGHT = (20, 200, 120, 400), (380, 200, 480, 400)


def judge(name, prompt, *items, **settings):
    rows = detection_rows({(prompt.id, 0): detections(*items)})
    return PROTOCOLS[name](**settings).judge(prompts_to_table([prompt]), rows).row(0, named=True)


def pair(subject, object_, phrase="on the left of"):
    scene = SceneSpec(
        (ObjectSpec(subject), ObjectSpec(object_)), (RelationSpec(0, "left of", 1, phrase),)
    )
    return Prompt("0", f"a {subject} {phrase} a {object_}", "left of", scene)


def number(**counts):
    scene = SceneSpec(tuple(ObjectSpec(name, count) for name, count in counts.items()))
    return Prompt("0", "counts", "numeracy", scene)


@pytest.mark.parametrize("person", sorted(PEOPLE))
@pytest.mark.parametrize("name", ["t2i_compbench_2d", "t2i_compbench_2d_fixed"])
def test_people_are_found_by_the_word_the_detector_was_asked(name, person):
    prompt = pair(person, "lamp")
    ours = judge(name, prompt, box(person, *LEFT), box("lamp", *RIGHT))
    peers = judge(name, prompt, box("person", *LEFT), box("lamp", *RIGHT))
    assert ours["value"] == peers["value"] == pytest.approx(0.95)
    swapped = judge(name, prompt, box(person, *RIGHT), box("lamp", *LEFT))
    assert swapped["correct"] is False


@pytest.mark.parametrize("name", ["t2i_compbench_2d", "t2i_compbench_2d_fixed", "spatial"])
@pytest.mark.parametrize(("a", "b"), [("man", "woman"), ("girl", "boy"), ("woman", "girl")])
def test_two_people_are_two_boxes(name, a, b):
    right = judge(name, pair(a, b), box(a, *LEFT), box(b, *RIGHT))
    wrong = judge(name, pair(a, b), box(b, *LEFT), box(a, *RIGHT))
    assert right["correct"] and wrong["correct"] is False


def test_quirk_the_peers_own_boxes_are_read_as_the_peer_does():
    # both are "person" to the peer's detector, so both are its most confident one
    verdict = judge("t2i_compbench_2d", pair("man", "woman"), box("person", *LEFT, 0.9),
                    box("person", *RIGHT, 0.8))  # fmt: skip
    assert verdict["value"] == 0
    assert [e["box"] for e in verdict["evidence"]] == [list(LEFT)] * 2


@pytest.mark.parametrize("name", ["t2i_compbench_2d_fixed", "spatial"])
@pytest.mark.parametrize(
    ("a", "b", "label"),
    [("man", "woman", "person"), ("cup", "mug", "cup"), ("mouse", "computer mouse", "mouse"),
     ("couch", "sofa", "sofa"), ("car", "automobile", "car")],
)  # fmt: skip
def test_one_box_is_never_two_things(name, a, b, label):
    verdict = judge(name, pair(a, b), box(label, *LEFT))
    assert verdict["correct"] is False
    if name != "spatial":
        assert len(verdict["evidence"]) == 1
    twice = judge(name, pair(a, b), box(a, *LEFT), box(b, LEFT[0] + 4, *LEFT[1:], 0.8))
    assert twice["correct"] is False


@pytest.mark.parametrize("first", [0.9, 0.5])
def test_two_boxes_of_one_label_serve_two_names(first):
    items = [box("person", *LEFT, first), box("person", *RIGHT, 0.7)]
    verdict = judge("t2i_compbench_2d_fixed", pair("man", "woman"), *items)
    assert len({tuple(e["box"]) for e in verdict["evidence"]}) == 2
    assert judge("spatial", pair("man", "woman"), *items)["correct"]


@pytest.mark.parametrize("name", ["t2i_compbench_numeracy", "t2i_compbench_numeracy_fixed"])
@pytest.mark.parametrize("noun", ["man", "woman", "boy", "girl", "ship", "television", "goldfish"])
def test_counted_nouns_are_found_by_the_word_that_was_asked(name, noun):
    apart = [box(noun, 100 * k, 0, 100 * k + 80, 100) for k in range(3)]
    assert judge(name, number(**{noun: 3}), *apart)["value"] == 1
    assert judge(name, number(**{noun: 2}), *apart)["correct"] is False


@pytest.mark.parametrize("name", ["t2i_compbench_numeracy", "t2i_compbench_numeracy_fixed"])
def test_men_and_women_are_counted_apart(name):
    people = [box("man", 60 * k, 0, 60 * k + 50, 100) for k in range(3)]
    people += [box("woman", 60 * k, 200, 60 * k + 50, 300) for k in range(2)]
    assert judge(name, number(man=3, woman=2), *people)["correct"]
    assert judge(name, number(man=2, woman=3), *people)["correct"] is False


def test_quirk_the_peer_counts_all_people_for_each_word():
    people = [box("person", 60 * k, 0, 60 * k + 50, 100) for k in range(3)]
    assert judge("t2i_compbench_numeracy", number(man=3, woman=3), *people)["correct"]


def test_peer_names_of_what_was_seen():
    assert [peer_names(n, {"person"}) for n in ("man", "person", "dog")] == ["person"] * 2 + ["dog"]
    assert peer_names("man", {"man", "person"}) == "man"
    assert peer_names("ship", {"ship", "boat"}) == "boat"
    assert peer_names("ship", {"ship"}) == "ship"


WHOLE = (0.0, 0, 200, 100)


@pytest.mark.parametrize(
    ("boxes", "scores", "kept"),
    [
        ([WHOLE, (10, 10, 60, 60)], (0.9, 0.5), 1),  # a head inside its cat
        ([(10, 10, 60, 60), WHOLE], (0.9, 0.5), 1),  # the same, the head more certain
        ([(0, 0, 90, 100), (110, 0, 200, 100), WHOLE], (0.9, 0.8, 0.7), 2),  # a group
        ([WHOLE, (0, 0, 90, 100), (110, 0, 200, 100)], (0.9, 0.8, 0.7), 2),  # a certain group
        ([WHOLE, (0, 0, 60, 60), (150, 40, 200, 100)], (0.9, 0.3, 0.3), 1),  # two weak parts
        ([WHOLE, (210, 0, 300, 100)], (0.9, 0.8), 2),  # neighbours
        ([WHOLE, (150, 0, 350, 100)], (0.9, 0.8), 2),  # one in front of the other
        ([], (), 0),
    ],
)
def test_parts_and_groups_are_no_things(boxes, scores, kept):
    array = np.array(boxes, dtype=float).reshape(-1, 4)
    assert are_things(array, np.array(scores)).sum() == kept
    moved = array * 3 + 17  # neither scale nor place matters
    assert (are_things(moved, np.array(scores)) == are_things(array, np.array(scores))).all()


@pytest.mark.parametrize(
    "name", ["spatial", "t2i_compbench_numeracy_fixed", "geneval_reward_fixed"]
)
def test_parts_and_groups_do_not_count(name):
    cats = [box("cat", 0, 0, 90, 100, 0.95), box("cat", 110, 0, 200, 100, 0.95)]
    scene = SceneSpec((ObjectSpec("cat", 2),))
    prompt = Prompt("0", "two cats", "counting", scene)
    extra = {
        "part": box("cat", 5, 5, 45, 45, 0.91),
        "group": box("cat", 0, 0, 200, 100, 0.92),
        "certain group": box("cat", 0, 0, 200, 100, 0.99),
    }
    assert judge(name, prompt, *cats)["correct"]
    for what, surplus in extra.items():
        assert judge(name, prompt, *cats, surplus)["correct"], what
    third = box("cat", 250, 0, 340, 100, 0.95)
    assert judge(name, prompt, *cats, third)["correct"] is False


@pytest.mark.parametrize("shift", [0, 3, 7])
def test_two_labels_on_one_thing_are_one_thing(shift):
    prompt = Prompt("0", "a cat and a dog", scene=parse_prompt("a cat and a dog"))
    one = [box("cat", 100, 100, 200, 200), box("dog", 100 + shift, 100, 200 + shift, 200, 0.8)]
    if shift < 7:
        assert judge("spatial", prompt, *one)["correct"] is False
    cups = number(cup=2)
    labelled = [box("cup", 100, 100, 200, 200), box("mug", 100 + shift, 100, 200 + shift, 200, 0.8)]
    assert judge("t2i_compbench_numeracy_fixed", cups, *labelled)["correct"] is False
    apart = [box("cup", 100, 100, 200, 200), box("mug", 300, 100, 400, 200, 0.8)]
    assert judge("t2i_compbench_numeracy_fixed", cups, *apart)["correct"]


def test_every_order_of_the_boxes_gives_the_same_verdict():
    items = [box("person", *LEFT, 0.9), box("person", *RIGHT, 0.7), box("man", *LEFT, 0.8)]
    values = {
        judge("t2i_compbench_2d_fixed", pair("man", "woman"), *order)["value"]
        for order in itertools.permutations(items)
    }
    assert len(values) == 1
