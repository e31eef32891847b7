"""`spatial`: whole scenes, matched jointly, explained in words."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_spatial.metrics import Spatial, assignment, assignment_search, spatial, spatial_pairs
from t2i_spatial.metrics.assignment import Candidates, assign
from t2i_spatial.metrics.relations import protocol_rules
from t2i_spatial.scene import ObjectSpec, Prompt, RelationSpec, SceneSpec
from t2i_spatial.tables import DETECTIONS, prompts_to_table
from tests.builders import box, boxes, detection_rows, detections, relation_prompt

CAT, DOG = box("cat", 0, 200, 100, 300), box("dog", 300, 200, 400, 300)


def judge(prompt, *items, colors=None, depths=None, protocol=None):
    rows = detection_rows({("0", 0): detections(*items)})
    if colors or depths:
        n = len(items)
        found = [
            {**d, "color": c, "depth": z}
            for d, c, z in zip(
                rows["detections"][0].to_list(), colors or [None] * n, depths or [None] * n,
                strict=True,
            )
        ]  # fmt: skip
        rows = rows.with_columns(pl.Series("detections", [found], dtype=DETECTIONS["detections"]))
    return (protocol or Spatial()).judge(prompts_to_table([prompt]), rows).row(0, named=True)


def scene(*objects, relations=(), text="text"):
    return Prompt("0", text, None, SceneSpec(tuple(objects), tuple(relations)))


def part(verdict, name):
    return {c["name"]: c["value"] for c in verdict["components"]}[name]


def test_right_wrong_and_missing():
    prompt = relation_prompt("cat", "left of", "dog")
    right = judge(prompt, CAT, DOG)
    assert right["correct"] and right["value"] == pytest.approx(0.97)
    assert right["reason"] == "cat is left of dog: 0.97"
    assert right["margin"] == right["value"] - 0.5
    wrong = judge(relation_prompt("dog", "left of", "cat"), CAT, DOG)
    assert wrong["correct"] is False
    assert wrong["reason"] == "dog is right of cat (needs left of): 0.03"
    missing = judge(prompt, CAT)
    assert (missing["value"], missing["reason"]) == (0, "no dog found")
    assert [e["label"] for e in missing["evidence"]] == ["cat"]
    assert judge(prompt)["reason"] == "no cat found"


def test_the_unsure_band_is_said_and_counted():
    prompt = relation_prompt("cat", "left of", "dog")
    verdict = judge(prompt, box("cat", 0, 0, 100, 100), box("dog", 10, 0, 110, 100))
    assert 0.35 < verdict["value"] < 0.65
    assert verdict["reason"].startswith("unsure: ")
    protocol = Spatial()
    table = prompts_to_table([prompt])
    rows = detection_rows(
        {
            ("0", 0): detections(box("cat", 0, 0, 100, 100), box("dog", 10, 0, 110, 100)),
            ("0", 1): detections(CAT, DOG),
        }
    )
    summary = protocol.summarize(protocol.judge(table, rows), table)
    assert summary["unsure"]["value"] == 0.5


def test_the_best_joint_assignment_wins_over_the_most_confident_box():
    prompt = relation_prompt("cat", "left of", "dog")
    rival = box("cat", 450, 200, 500, 300, 0.95)
    verdict = judge(prompt, rival, CAT, DOG)
    assert verdict["correct"]
    assert verdict["evidence"][0]["box"] == [0, 200, 100, 300]


def test_but_a_doubtful_box_does_not_rescue_a_wrong_picture():
    prompt = relation_prompt("cat", "left of", "dog")
    sure = box("cat", 450, 200, 500, 300, 0.9)
    for score, correct in ((0.2, False), (0.4, True)):
        verdict = judge(prompt, sure, box("cat", 0, 200, 100, 300, score), DOG)
        assert verdict["correct"] is correct


def test_boxes_of_one_thing_count_once():
    two = scene(ObjectSpec("cat", 2))
    again = box("cat", 2, 202, 101, 301, 0.5)
    assert not judge(two, CAT, again)["correct"]
    assert judge(two, CAT, box("cat", 300, 0, 400, 100))["correct"]


def test_one_box_cannot_be_two_objects():
    prompt = scene(ObjectSpec("cat"), ObjectSpec("dog"))
    verdict = judge(prompt, CAT, box("dog", 0, 200, 100, 300))
    assert not verdict["correct"]
    assert verdict["reason"] == "cat and dog share one box"


@pytest.mark.parametrize(
    ("relation", "two_things"),
    [(None, False), ("next to", False), ("larger than", False), ("touching", False),
     ("on", True), ("in front of", True)],
)  # fmt: skip
@pytest.mark.parametrize("path", ["pairs", "any scene"])
def test_two_labels_on_one_thing_unless_one_may_cover_the_other(relation, two_things, path):
    """IoU 0.85; a third object takes the scene off the path for pairs."""
    relations = () if relation is None else (RelationSpec(0, relation, 1),)
    more = () if path == "pairs" else (ObjectSpec("bird"),)
    prompt = scene(ObjectSpec("cat"), ObjectSpec("dog"), *more, relations=relations)
    items = [box("cat", 100, 100, 200, 200), box("dog", 100, 100, 200, 217.5, 0.8)]
    verdict = judge(prompt, *items, *[box("bird", 300, 0, 350, 50)] * len(more), depths=None)
    assert ("share one box" in verdict["reason"]) != two_things, verdict["reason"]
    if not two_things:
        assert verdict["value"] == pytest.approx(0.1)


@pytest.mark.parametrize(("count", "value"), [(1, 1), (2, 1 / 4)])
def test_two_words_for_one_thing_are_one_thing(count, value):
    prompt = scene(ObjectSpec("couch", count), text="one couch")
    seen = box("couch", 100, 100, 200, 200), box("sofa", 100, 100, 200, 202, 0.8)
    assert judge(prompt, *seen)["value"] == pytest.approx(value)
    two = scene(ObjectSpec("couch", 2))
    assert judge(two, *seen, box("sofa", 300, 100, 400, 200))["correct"]


@pytest.mark.parametrize(("n", "value"), [(0, 0), (1, 1 / 3), (2, 1 / 3), (3, 1), (4, 1 / 3)])
def test_counts_from_two_on_are_exact(n, value):
    prompt = scene(ObjectSpec("cat", 3))
    verdict = judge(prompt, *[box("cat", 60 * k, 0, 60 * k + 50, 50) for k in range(n)])
    if n == 1:
        value = 0.5 * (1 - 2 / 3)
    assert verdict["value"] == pytest.approx(value)
    assert verdict["correct"] is (n == 3)


def test_further_instances_of_a_cat_are_allowed_unless_the_text_says_one():
    cats = [box("cat", 60 * k, 0, 60 * k + 50, 50) for k in range(3)]
    assert judge(scene(ObjectSpec("cat"), text="a cat"), *cats)["correct"]
    one = judge(scene(ObjectSpec("cat"), text="exactly one cat"), *cats)
    assert not one["correct"]
    assert one["reason"] == "3 cat found, 1 wanted"
    assert judge(scene(ObjectSpec("cat", None), text="cats"), *cats)["correct"]
    none = judge(scene(ObjectSpec("dog", 0), text="no dog"), DOG)
    assert (none["correct"], none["reason"]) == (False, "1 dog found, none wanted")
    assert judge(scene(ObjectSpec("dog", 0), text="no dog"), CAT)["correct"]


def test_every_instance_must_stand_in_the_relation():
    prompt = scene(
        ObjectSpec("cat"), ObjectSpec("dog", 2), relations=[RelationSpec(0, "left of", 1)]
    )
    far, near = box("dog", 420, 200, 500, 300), box("dog", 0, 0, 30, 30)
    assert judge(prompt, CAT, DOG, far)["correct"]
    assert not judge(prompt, CAT, DOG, near)["correct"]


def test_colours_choose_among_boxes_and_are_judged_where_known():
    prompt = scene(ObjectSpec("cat", color="red"), text="a red cat")
    two = box("cat", 0, 0, 50, 50, 0.9), box("cat", 100, 0, 150, 50, 0.6)
    chosen = judge(prompt, *two, colors=["blue", "red"])
    assert chosen["correct"]
    assert chosen["evidence"][0]["score"] == 0.6
    wrong = judge(prompt, two[0], colors=["blue"])
    assert (wrong["correct"], wrong["reason"]) == (False, "cat is blue (needs red)")
    unknown = judge(prompt, two[0])
    assert unknown["status"] == "judged_in_part" and unknown["unjudged"] == ["red cat"]


def test_two_objects_of_one_name_get_two_boxes():
    prompt = scene(
        ObjectSpec("cat", color="red"),
        ObjectSpec("cat", color="black"),
        relations=[RelationSpec(0, "left of", 1)],
    )
    left, right = box("cat", 0, 0, 50, 50), box("cat", 200, 0, 250, 50)
    assert judge(prompt, left, right, colors=["red", "black"])["correct"]
    assert not judge(prompt, left, right, colors=["black", "red"])["correct"]
    only = judge(prompt, left, colors=["red"])
    assert not only["correct"] and "1 of 2 cat found" in only["reason"]


@pytest.mark.parametrize(
    ("place", "holds"),
    [("left", True), ("top left", True), ("bottom", False), ("center", False),
     ("bottom left", False), ("upper-left", True), ("left middle", False), ("middle", False)],
)  # fmt: skip
def test_places_in_the_frame(place, holds):
    prompt = scene(ObjectSpec("cat", frame_position=place))
    verdict = judge(prompt, box("cat", 0, 0, 100, 100))
    assert verdict["correct"] is holds
    assert (part(verdict, "frame") > 0.5) is holds
    assert judge(scene(ObjectSpec("cat", frame_position="somewhere")), CAT)["value"] is None


def test_depth_decides_in_front_of():
    prompt = relation_prompt("cat", "in front of", "dog")
    items = box("cat", 0, 0, 100, 100), box("dog", 50, 0, 150, 300)
    assert not judge(prompt, *items)["correct"]
    assert judge(prompt, *items, depths=[0.9, 0.2])["correct"]


def test_labels_match_by_alias_but_never_another_word_of_the_prompt():
    sofa = relation_prompt("sofa", "left of", "dog")
    assert judge(sofa, box("couch", 0, 200, 100, 300), DOG)["correct"]
    people = relation_prompt("man", "left of", "woman")
    man, woman = box("man", 300, 0, 350, 100), box("woman", 0, 0, 50, 100)
    # as "person" both would fit both ways round
    assert not judge(people, man, woman)["correct"]


def test_what_could_not_be_read_is_told():
    prompt = Prompt("0", "t", None, SceneSpec((ObjectSpec("cat"),), unparsed=("in the mood",)))
    verdict = judge(prompt, CAT)
    assert verdict["status"] == "judged_in_part" and verdict["correct"] is verdict["value"] is None
    assert verdict["reason"].endswith("; not judged: in the mood")
    assert verdict["unjudged"] == ["in the mood"]


def test_prompts_without_objects_are_not_applicable():
    for empty in (Prompt("0", "beauty"), scene()):
        assert judge(empty, CAT)["status"] == "not_applicable"


def test_weak_boxes_are_not_looked_at():
    prompt = scene(ObjectSpec("cat"))
    weak = boxes("cat", 0, 0, 9, 9, 0.1)
    rows = detection_rows({("0", 0): weak})
    table = prompts_to_table([prompt])
    assert Spatial().judge(table, rows)["correct"].to_list() == [False]
    assert Spatial(min_score=0.05).judge(table, rows)["correct"].to_list() == [True]


RULED = sorted(r for r in protocol_rules("spatial") if r != "between")


def random_scene(rng, number):
    # a vase holds things, a hat is worn, a bus is large
    names = ["cat", "vase", "hat", "bus"]
    first, second = rng.permutation(names)[:2]
    relation = RULED[rng.integers(len(RULED))]
    pair = (ObjectSpec(str(first)), ObjectSpec(str(second)))
    swap = int(rng.integers(2))
    prompt = Prompt(
        str(number), "x", relation, SceneSpec(pair, (RelationSpec(swap, relation, 1 - swap),))
    )
    items = []
    for _ in range(rng.integers(0, 7)):
        x, y, w, h = rng.integers(0, 400, 2).tolist() + rng.integers(0, 110, 2).tolist()
        items.append(box(str(rng.choice(names)), x, y, x + w, y + h, rng.choice([0.05, 0.3, 0.9])))
    if items and rng.random() < 0.2:
        items += [box(str(n), *items[0][2], 0.7) for n in (first, second)]
    return prompt, detections(*items)


def test_the_path_for_pairs_agrees_with_the_one_for_any_scene(monkeypatch):
    rng = np.random.default_rng(7)
    made = [random_scene(rng, i) for i in range(300)]
    prompts = prompts_to_table(prompt for prompt, _ in made)
    rows = detection_rows({(prompt.id, 0): found for prompt, found in made})
    fast = Spatial().judge(prompts, rows)
    assert 12 < fast["correct"].sum() < 280
    monkeypatch.setattr(
        spatial_pairs,
        "is_pair_scene",
        lambda images: pl.Series([False] * len(images), dtype=pl.Boolean),
    )
    slow = Spatial().judge(prompts, rows)
    exact = ["prompt_id", "correct", "status", "reason", "evidence"]
    assert fast.select(exact).equals(slow.select(exact), null_equal=True)
    for numbers in ("value", "margin"):
        assert fast[numbers].to_list() == pytest.approx(slow[numbers].to_list(), abs=1e-12)
    for a, b in zip(fast["components"].to_list(), slow["components"].to_list(), strict=True):
        assert [c["name"] for c in a] == [c["name"] for c in b]
        assert [c["value"] for c in a] == pytest.approx([c["value"] for c in b], abs=1e-12)


@given(st.permutations(range(4)), st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_the_order_of_detections_does_not_matter(order, seed):
    rng = np.random.default_rng(seed)
    items = [
        box(str(rng.choice(["cat", "dog"])), x, y, x + 60, y + 60, s)
        for (x, y), s in zip(
            rng.integers(0, 400, (4, 2)).tolist(), [0.9, 0.8, 0.7, 0.6], strict=True
        )
    ]
    prompt = relation_prompt("cat", "above", "dog")
    first = judge(prompt, *items)
    second = judge(prompt, *[items[i] for i in order])
    assert first["value"] == pytest.approx(second["value"], abs=1e-12)


@pytest.mark.parametrize("limit", [20_000, 10])
def test_improving_object_by_object_finds_what_exhaustive_search_finds(monkeypatch, limit):
    monkeypatch.setattr("t2i_spatial.metrics.assignment_search.MAX_COMBINATIONS", limit)
    row = [box("cat", 60 * k, 0, 60 * k + 50, 50, 0.9 - 0.01 * k) for k in range(8)]
    dogs = box("dog", 200, 0, 230, 50), box("dog", 470, 0, 490, 50, 0.5)
    found = detections(*row, *dogs, box("bird", 440, 0, 470, 50))
    n = len(found)
    candidates = Candidates(
        found.labels, found.scores, found.boxes, [None] * n, np.full(n, np.nan), 512, 512
    )
    wanted = SceneSpec(
        (ObjectSpec("dog"), ObjectSpec("cat"), ObjectSpec("bird")),
        (RelationSpec(1, "right of", 0), RelationSpec(1, "left of", 2)),
    )
    # the best cat between dog and bird is the first one right of the dog
    assert assign(wanted, "", candidates).chosen == ((8,), (4,), (10,))


def test_by_relation_covers_every_prompt_that_asks_for_it():
    prompts = prompts_to_table(
        [relation_prompt("cat", "left of", "dog", "0"), relation_prompt("cat", "on", "dog", "1")]
    )
    rows = detection_rows({("0", 0): detections(CAT, DOG), ("1", 0): detections(CAT, DOG)})
    protocol = Spatial()
    summary = protocol.summarize(protocol.judge(prompts, rows), prompts)
    assert {k: v["accuracy"]["value"] for k, v in summary["by_relation"].items()} == {
        "left of": 1.0,
        "on": 0.0,
    }
    assert summary["accuracy"]["value"] == 0.5


def test_a_crowd_loses_the_same_duplicates_as_a_few(monkeypatch):
    random = np.random.default_rng(1)
    corner = random.uniform(0, 60, (90, 2))
    corners = np.concatenate([corner, corner + random.uniform(20, 40, (90, 2))], axis=1)
    boxes = pl.DataFrame(
        {
            "row": [k % 3 for k in range(90)],
            "label": [("cat", "dog")[k % 2] for k in range(90)],
            "score": random.choice([0.5, 0.6, 0.7], 90),
            **dict(zip(spatial.CORNERS, corners.T, strict=True)),
        }
    )
    few = spatial._without_duplicates(boxes, 0.5)
    monkeypatch.setattr(spatial, "CROWD", 5)
    assert spatial._without_duplicates(boxes, 0.5).equals(few)
    assert 10 < len(few) < 80


def test_what_must_not_hold():
    prompt = scene(
        ObjectSpec("cat"),
        ObjectSpec("dog"),
        relations=[RelationSpec(0, "left of", 1, negated=True)],
    )
    wrong = judge(prompt, CAT, DOG)
    assert wrong["value"] == pytest.approx(0.03)
    assert wrong["reason"] == "cat is left of dog (must not be): 0.03"
    right = judge(prompt, box("cat", 450, 200, 500, 300), DOG)
    assert right["value"] == pytest.approx(0.97)
    assert right["reason"] == "cat is not left of dog: 0.97"
    # not one of the cats may be there
    both = scene(
        ObjectSpec("cat", 2),
        ObjectSpec("dog"),
        relations=[RelationSpec(0, "left of", 1, negated=True)],
    )
    assert judge(both, CAT, box("cat", 450, 200, 500, 300), DOG)["correct"] is False


@pytest.mark.parametrize("relation", ["facing", "holding", "at the edge of"])
def test_what_boxes_cannot_show_is_not_judged_and_never_right(relation):
    prompt = relation_prompt("cat", relation, "dog")
    verdict = judge(prompt, CAT, DOG)
    assert verdict["value"] is None and verdict["correct"] is None
    assert verdict["status"] == "judged_in_part"
    assert relation in verdict["reason"]
    assert judge(prompt, CAT)["correct"] is False  # what was judged is wrong


def cats(*lefts):
    return [box("cat", x, 200, x + 40, 240, 0.9 - x / 10_000) for x in lefts]


def among(count, relation, **more):
    return scene(ObjectSpec("cat", count), relations=[RelationSpec(0, relation, 0, **more)])


def test_two_of_a_kind_next_to_each_other():
    prompt = among(2, "next to")
    right = judge(prompt, *cats(0, 48))
    assert right["correct"] and right["status"] == "scored"
    assert part(right, "relations") > 0.7
    assert right["reason"].startswith("2 cat found, 2 wanted; cats are next to each other: 0.")
    wrong = judge(prompt, *cats(0, 400))
    assert wrong["correct"] is False
    assert wrong["reason"].startswith("cats are not next to each other: 0.")
    assert judge(among(2, "next to", negated=True), *cats(0, 400))["correct"]
    denied = judge(among(2, "next to", negated=True), *cats(0, 48))
    assert denied["correct"] is False
    assert denied["reason"].startswith("cats are next to each other (must not be): 0.")
    alone = judge(prompt, *cats(0))
    assert alone["correct"] is False and part(alone, "relations") == 0
    assert judge(among(None, "next to"), *cats(0))["reason"] == "1 cat found, next to needs two"


@pytest.mark.parametrize(
    ("relation", "lefts", "holds"),
    [
        ("next to", (0, 48, 96), True),  # a chain: the outer two need not touch
        ("next to", (96, 0, 48), True),
        ("next to", (0, 48, 400), False),
        ("far from", (0, 230, 460), True),
        ("far from", (0, 400, 448), False),  # of any two
    ],
)
def test_several_that_stand_to_each_other(relation, lefts, holds):
    assert judge(among(3, relation), *cats(*lefts))["correct"] is holds


def test_of_two_on_top_of_each_other_either_may_be_above():
    high, low = box("cup", 0, 0, 100, 100), box("cup", 0, 80, 100, 180)
    prompt = scene(ObjectSpec("cup", 2), relations=[RelationSpec(0, "on", 0)])
    for items in ((high, low), (low, high)):
        assert judge(prompt, *items)["correct"]
    assert judge(prompt, high, box("cup", 300, 0, 400, 100))["correct"] is False


def test_the_two_that_stand_to_each_other_are_chosen_among_many():
    prompt = scene(
        ObjectSpec("cat", 2, count_rule="at least"), relations=[RelationSpec(0, "next to", 0)]
    )
    verdict = judge(prompt, *cats(0, 400, 448))
    assert verdict["correct"]
    assert [e["box"][0] for e in verdict["evidence"]] == [400, 448]


@pytest.mark.parametrize(
    ("relation", "second"), [("facing", None), ("between", None), ("between", 1)]
)
def test_what_stands_to_itself_is_never_silently_right(relation, second):
    prompt = scene(
        ObjectSpec("cat", 2),
        ObjectSpec("dog"),
        relations=[RelationSpec(0, relation, 0, second=second)],
    )
    verdict = judge(prompt, *cats(0, 48), box("dog", 300, 200, 400, 300))
    assert verdict["status"] == "judged_in_part" and verdict["correct"] is None
    assert len(verdict["unjudged"]) == 1 and relation in verdict["unjudged"][0]


TREES = box("tree", 0, 0, 60, 200), box("tree", 300, 0, 360, 200)


def test_between_two_of_a_kind():
    prompt = scene(
        ObjectSpec("cat"), ObjectSpec("tree", None), relations=[RelationSpec(0, "between", 1)]
    )
    assert judge(prompt, box("cat", 150, 100, 200, 200), *TREES)["correct"]
    outside = judge(prompt, box("cat", 400, 100, 450, 200), *TREES)
    assert outside["reason"] == "cat is not between tree: 0.15"
    alone = judge(prompt, box("cat", 150, 100, 200, 200), TREES[0])
    assert (alone["value"], alone["reason"]) == (0, "1 tree found, between needs two")


def test_between_is_judged_once_and_not_by_what_it_implies():
    things = ObjectSpec("cat"), ObjectSpec("tree"), ObjectSpec("car")
    between = RelationSpec(0, "between", 1, second=2)
    implied = [RelationSpec(0, "next to", end, "between") for end in (1, 2)]
    boxes = box("cat", 150, 150, 180, 180), TREES[0], box("car", 400, 100, 500, 200)
    prompt = scene(*things, relations=[between, *implied])
    verdict = judge(prompt, *boxes)
    assert verdict["reason"] == "cat is between tree and car: 0.85"
    # said by themselves they are judged
    asked = scene(*things, relations=[between, RelationSpec(0, "next to", 2, "beside")])
    assert judge(asked, *boxes)["correct"] is False


@pytest.mark.parametrize(
    ("rule", "found", "value"),
    [
        ("exactly", 3, 1.0), ("exactly", 2, 0.5 * 2 / 3), ("exactly", 4, 0.5 * 2 / 3),
        ("at least", 3, 1.0), ("at least", 5, 1.0), ("at least", 1, 0.5 / 3),
        ("at most", 3, 1.0), ("at most", 1, 1.0), ("at most", 5, 0.5 / 3), ("at most", 0, 0.0),
    ],
)  # fmt: skip
def test_how_a_number_is_meant(rule, found, value):
    prompt = scene(ObjectSpec("cat", 3, count_rule=rule))
    cats = [box("cat", 60 * i, 0, 60 * i + 50, 50) for i in range(found)]
    assert judge(prompt, *cats)["value"] == pytest.approx(value)


def test_two_things_of_one_name_are_two_boxes():
    prompt = scene(
        ObjectSpec("dog", attributes=()),
        ObjectSpec("dog"),
        relations=[RelationSpec(0, "larger than", 1), RelationSpec(0, "left of", 1)],
    )
    big, small = box("dog", 0, 0, 200, 200), box("dog", 300, 100, 360, 160, 0.8)
    verdict = judge(prompt, small, big)
    assert verdict["correct"]
    assert [e["box"] for e in verdict["evidence"]] == [[0, 0, 200, 200], [300, 100, 360, 160]]
    alone = judge(prompt, big)
    assert alone["correct"] is False


def crowd(n):
    """n kinds of counted things in a row, everyone left of the next ones."""
    things = tuple(ObjectSpec(f"thing{chr(97 + i // 26)}{chr(97 + i % 26)}", 2) for i in range(n))
    relations = tuple(RelationSpec(i, "left of", i + 1) for i in range(min(n - 1, 64)))
    items = [
        box(spec.name, 5 * i + k, 20 * k, 5 * i + k + 2, 20 * k + 8, 0.9 - 0.01 * k)
        for i, spec in enumerate(things)
        for k in range(3)
    ]
    return SceneSpec(things, relations), items


def test_a_scene_of_a_hundred_counted_objects_is_searched_by_parts(monkeypatch):
    related, tried = [], []
    made, logs = assignment._related, assignment_search.Related.logs
    monkeypatch.setattr(
        assignment, "_related", lambda *given: related.append(made(*given)) or related[-1]
    )
    monkeypatch.setattr(
        assignment_search.Related, "logs",
        lambda self, options: tried.append(logs(self, options).size) or logs(self, options),
    )  # fmt: skip
    wanted, items = crowd(100)
    verdict = judge(Prompt("0", "x", None, wanted), *items)
    assert verdict["reason"] == "3 thingaa found, 2 wanted"
    # no table is over all boxes of the image, and no step looks at all relations again
    assert max(link.table.size for link in related) == 9
    assert sum(tried) < 20 * len(wanted.relations) * 3
