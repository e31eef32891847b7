import itertools
import random

import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.prompts import parse_prompt, solve_layout
from t2i_spatial.prompts.drawing import draw_layout, layout_svg
from t2i_spatial.prompts.witness_layout import HOLDS
from t2i_spatial.scene import ObjectSpec, RelationSpec, SceneSpec


def hull(layout, index):
    boxes = [entry["box"] for entry in layout if entry["object"] == index]
    return tuple(f(v) for f, v in zip((min, min, max, max), zip(*boxes, strict=True), strict=True))


def overlap(a, b):
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


@pytest.mark.parametrize("relation", HOLDS)
@pytest.mark.parametrize("counts", [(1, 1), (3, 1), (1, 4), (2, None)])
def test_every_relation_holds_in_its_layout(relation, counts):
    scene = SceneSpec(
        (ObjectSpec("cat", counts[0]), ObjectSpec("dog", counts[1])),
        (RelationSpec(0, relation, 1),),
    )
    for seed in range(5):
        layout = solve_layout(scene, seed)
        assert [e["object"] for e in layout].count(0) == counts[0]
        for entry in layout:
            x1, y1, x2, y2 = entry["box"]
            assert 0 <= x1 < x2 <= 1
            assert 0 <= y1 < y2 <= 1
        for one, other in itertools.combinations(layout, 2):
            if one["object"] == other["object"]:
                assert not overlap(one["box"], other["box"])
        if counts == (1, 1):
            assert HOLDS[relation](hull(layout, 0), hull(layout, 1))


def test_random_scenes_hold_together():
    rng = random.Random(1)
    solved = 0
    for seed in range(60):
        relations = tuple(
            RelationSpec(i, rng.choice(("left of", "right of", "above", "below", "near")), i + 1)
            for i in range(3)
        )
        scene = SceneSpec(tuple(ObjectSpec(name) for name in "abcd"), relations)
        layout = solve_layout(scene, seed)
        solved += 1
        for relation in relations:
            assert HOLDS[relation.relation](
                hull(layout, relation.subject), hull(layout, relation.object)
            )
        for one, other in itertools.combinations(range(4), 2):
            assert not overlap(hull(layout, one), hull(layout, other))
    assert solved == 60


def test_places_in_the_picture_hold():
    scene = parse_prompt("a cat in the top left corner and a dog in the bottom right corner")
    cat, dog = (entry["box"] for entry in solve_layout(scene))
    assert (cat[0] + cat[2]) / 2 < 0.4
    assert (cat[1] + cat[3]) / 2 < 0.4
    assert (dog[0] + dog[2]) / 2 > 0.6


def test_the_seed_decides():
    scene = parse_prompt("a cat near a dog")
    assert solve_layout(scene, 3) == solve_layout(scene, 3)
    assert solve_layout(scene, 3) != solve_layout(scene, 4)


def test_nothing_to_draw():
    assert solve_layout(SceneSpec()) == []
    assert solve_layout(parse_prompt("no dogs")) == []


def test_a_contradiction_has_no_layout():
    with pytest.raises(InputError, match="contradict each other: cat left of dog, cat right of"):
        solve_layout(parse_prompt("a cat left of a dog and right of the dog"))


def test_too_much_for_one_picture_is_said():
    text = "A cat is to the left of a dog. The cat is on the right. The dog is on the left."
    with pytest.raises(InputError, match="no layout found for this scene: cat left of dog"):
        solve_layout(parse_prompt(text))


def test_drawings_are_safe_and_show_every_box(tmp_path):
    layout = [{"name": "<b>cat</b>", "box": [0.1, 0.1, 0.5, 0.5], "object": 0}]
    svg = layout_svg(layout, ["red"])
    assert "<b>" not in svg
    assert "&lt;b&gt;cat" in svg
    assert 'fill="red"' in svg
    assert 'fill="red' not in layout_svg(layout, ['red" onload="x'])
    draw_layout(tmp_path / "a.png", layout, ["red"])
    from PIL import Image

    with Image.open(tmp_path / "a.png") as image:
        red, green, _ = image.getpixel((96, 96))
        assert red > green + 50
        assert image.getpixel((300, 300)) == (0xF7, 0xF7, 0xF5)
    with pytest.raises(InputError, match=r"\.svg or \.png"):
        draw_layout(tmp_path / "a.gif", layout)
