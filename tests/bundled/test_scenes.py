"""The renderer: boxes are tight, left is left, the same generator state gives the same picture."""

from __future__ import annotations

import numpy as np
import pytest

from t2i_spatial.bundled import NOUNS, RELATIONS, Scene, SceneObject, render, sample_scene
from t2i_spatial.bundled.scene_captions import INVERSE, describe
from t2i_spatial.bundled.scenes import COLOURS, TINTABLE, Background


@pytest.mark.parametrize("side", [64, 200])
@pytest.mark.parametrize("noun", NOUNS)
def test_box_is_tight_around_the_pixels_that_the_object_changes(noun, side):
    background = Background(first=(255, 0, 255))
    scene = Scene((SceneObject(noun, 0.45, 0.55, 0.4, angle=8),), background)
    image, boxes = render(scene, side)
    empty, none = render(Scene((), background), side)
    assert none.shape == (0, 4)
    changed = (np.abs(image.astype(int) - empty.astype(int)).max(-1)) > 150
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    seen = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    np.testing.assert_allclose(boxes[0], seen, atol=max(2, side * 0.02))
    assert boxes.dtype == np.float32


def test_same_seed_same_pixels_and_another_seed_another_scene():
    def draw(seed):
        return render(sample_scene(np.random.default_rng(seed)))

    np.testing.assert_array_equal(draw(5)[0], draw(5)[0])
    np.testing.assert_array_equal(draw(5)[1], draw(5)[1])
    assert (draw(5)[0] != draw(6)[0]).any()


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("relation", RELATIONS)
def test_requested_relation_holds_between_box_centres(relation, count):
    rng = np.random.default_rng(0)
    for _ in range(30):
        nouns = [NOUNS[i] for i in rng.permutation(len(NOUNS))[:count]]
        scene = sample_scene(rng, nouns=nouns, relation=relation)
        assert [item.noun for item in scene.objects] == nouns
        _, boxes = render(scene)
        dx, dy = (boxes[0, :2] + boxes[0, 2:] - boxes[1, :2] - boxes[1, 2:]) / 2
        signed = {"left": -dx, "right": dx, "above": -dy, "below": dy}[relation]
        assert signed > 10


def test_boxes_lie_inside_the_image_and_objects_hardly_overlap():
    rng = np.random.default_rng(1)
    for _ in range(200):
        _, boxes = render(sample_scene(rng))
        assert (boxes >= 0).all() and (boxes <= 64).all()
        assert ((boxes[:, 2:] - boxes[:, :2]) >= 4).all()
        for first in range(len(boxes)):
            for second in range(first + 1, len(boxes)):
                low = np.maximum(boxes[first, :2], boxes[second, :2])
                high = np.minimum(boxes[first, 2:], boxes[second, 2:])
                shared = np.clip(high - low, 0, None).prod()
                areas = [(box[2:] - box[:2]).prod() for box in (boxes[first], boxes[second])]
                assert shared < 0.5 * min(areas)


def test_tint_changes_colour_and_not_the_box():
    plain = SceneObject("bus", 0.5, 0.5, 0.5)
    red = SceneObject("bus", 0.5, 0.5, 0.5, colour="red")
    (first, box), (second, tinted_box) = render(Scene((plain,))), render(Scene((red,)))
    np.testing.assert_array_equal(box, tinted_box)
    middle = (slice(26, 38), slice(26, 38))
    assert (second[middle][..., 0].mean() - second[middle][..., 1].mean()) > 40
    assert (first != second).any()
    assert set(NOUNS) >= TINTABLE
    assert len(COLOURS) == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"nouns": ["cat", "unicorn"]}, "no sprite for 'unicorn'"),
        ({"nouns": ["cat", "dog"], "relation": "near"}, "unknown relation 'near'"),
        ({"nouns": ["cat"], "relation": "left"}, "cannot place 1 object"),
        ({"nouns": ["cat"] * 5}, "cannot place 5 object"),
    ],
)
def test_impossible_scenes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        sample_scene(np.random.default_rng(0), **arguments)


def _related_scenes(rng, count):
    for _ in range(count):
        names = [NOUNS[i] for i in rng.permutation(len(NOUNS))[:2]]
        relation = RELATIONS[rng.integers(4)]
        yield sample_scene(rng, nouns=names, relation=relation)


def test_clean_captions_are_true_and_noisy_ones_true_as_often_as_asked():
    rng = np.random.default_rng(2)

    def accuracy(relation_accuracy):
        right = total = 0
        for scene in _related_scenes(rng, 1500):
            caption = describe(scene, rng, relation_accuracy)
            if caption.relation is not None:
                swapped = caption.slots[0].noun != scene.objects[0].noun
                truth = INVERSE[scene.relation] if swapped else scene.relation
                right += caption.relation == truth
                total += 1
        return right / total

    assert accuracy(1.0) == 1.0
    assert accuracy(0.33) == pytest.approx(0.33, abs=0.05)
