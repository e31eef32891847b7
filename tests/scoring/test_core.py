from __future__ import annotations

import io
import itertools
import time

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from t2i_spatial import bundled
from t2i_spatial.detections import Detections
from t2i_spatial.detectors import load_detector
from t2i_spatial.detectors.color_pixels import PixelColor
from t2i_spatial.detectors.masks import MaskedDetections, encode_mask
from t2i_spatial.errors import InputError
from t2i_spatial.rewards import LocalScorer, RewardSpec, as_prompts, score_batch
from t2i_spatial.scene import ObjectSpec, RelationSpec, SceneSpec
from t2i_spatial.scoring.api import score
from t2i_spatial.scoring.core import judge_batch
from tests.rewards.drawing_detector import (
    ASKED,
    LEFT,
    ONLY_CAT,
    RECORD,
    RIGHT,
    DrawingDetector,
    drawing,
)

DETECTOR = DrawingDetector()
BESIDE = RelationSpec(0, "next to", 1)


def test_right_beats_wrong_beats_nothing():
    items = score_batch([LEFT, RIGHT, ONLY_CAT], [ASKED] * 3, detector=DETECTOR)
    assert [item.status for item in items] == ["scored"] * 3
    right, wrong, missing = (item.reward for item in items)
    assert right > 0.9 > 0.1 > wrong >= missing == 0.0
    assert items[2].reason == "no dog found"


def test_the_same_numbers_as_the_offline_scorer():
    rng = np.random.default_rng(0)
    pairs = [("cat", "dog"), ("bus", "cup"), ("zebra", "cat"), ("cake", "car")] * 2
    scenes = [bundled.sample_scene(rng, nouns=pair, relation="left") for pair in pairs]
    images = [bundled.render(scene)[0] for scene in scenes]
    asked = [f"a {s.objects[0].noun} to the left of a {s.objects[1].noun}" for s in scenes]
    detector = load_detector("bundled", device="cpu")
    items = LocalScorer(detector, "spatial", protocols=["visor"])(images, asked)
    offline = score(images, asked, detector=detector, protocols=["spatial", "visor"])
    for protocol in ("spatial", "visor"):
        rows = [r for r in offline.iter_rows(named=True) if r["protocol"] == protocol]
        for item, row in zip(items, rows, strict=True):
            ours = item.verdicts[protocol]
            for key in ("value", "correct", "margin", "reason", "status"):
                assert ours[key] == row[key]
    assert sum(item.reward > 0.5 for item in items) >= 6


def test_weighted_sums_and_parts():
    spec = {"spatial": 0.5, "visor.objects_found": 0.25, "geneval_reward_fixed.soft": 2.0}
    item = score_batch([RIGHT], [ASKED], detector=DETECTOR, reward=spec)[0]
    assert set(item.parts) == set(spec)
    assert item.parts["visor.objects_found"] == 1.0
    assert item.reward == pytest.approx(sum(w * item.parts[n] for n, w in spec.items()))


def test_a_part_without_a_value_leaves_no_reward():
    asked = [SceneSpec((ObjectSpec("cat"),))]
    item = score_batch([LEFT], asked, detector=DETECTOR, reward={"spatial": 1, "visor": 1})[0]
    assert item.reward is None
    assert item.status == "not_applicable"
    assert item.parts["spatial"] > 0.9


def test_a_component_without_a_value_is_named_and_one_of_no_weight_does_not_matter():
    spec = {"spatial": 1.0, "spatial.colors": 0.5}
    item = score_batch([LEFT], [ASKED], detector=DETECTOR, reward=spec)[0]
    assert (item.reward, item.reason) == (None, "spatial.colors has no value for this prompt")
    spec["spatial.colors"] = 0.0
    assert score_batch([LEFT], [ASKED], detector=DETECTOR, reward=spec)[0].reward > 0.9


def test_pictures_are_turned_as_their_exif_data_say():
    data = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down and mirrored: RIGHT, turned by half
    LEFT.rotate(180).save(data, "PNG", exif=exif)
    turned = score_batch([Image.open(data)], [ASKED], detector=DETECTOR)[0]
    assert turned.reward == score_batch([LEFT], [ASKED], detector=DETECTOR)[0].reward


def test_colours_are_those_of_the_mask_where_there_is_one():
    class Masking(DrawingDetector):
        def _find(self, pixels, size, names):
            found = super()._find(pixels, size, names)
            inside = np.zeros(pixels.shape[:2], bool)
            inside[45:65, 10:30] = True
            return MaskedDetections(
                found.labels, found.scores, found.boxes, *size, masks=(encode_mask(inside),)
            )

    seen = []

    class Looking(PixelColor):
        def measure(self, prepared, found):
            seen.extend(found)
            return super().measure(prepared, found)

    record = {"tag": "colors", "include": [{"class": "cat", "count": 1, "color": "red"}]}
    score_batch([ONLY_CAT], [record], detector=Masking(), reward="geneval", color=Looking())
    assert seen[0].masks is not None and len(seen[0].masks) == 1


def test_a_name_that_cannot_be_asked_costs_its_own_image_only():
    items = score_batch([LEFT, LEFT], ["a unicorn left of a dog", ASKED], detector=DETECTOR)
    assert [item.status for item in items] == ["detector_failed", "scored"]
    assert "not in its vocabulary" in items[0].reason
    assert items[0].reward is None


def test_colours_come_from_a_colour_model():
    record = {"tag": "colors", "include": [{"class": "cat", "count": 1, "color": "red"}]}
    kwargs = {"detector": DETECTOR, "reward": "geneval"}
    assert score_batch([LEFT], [record], **kwargs)[0].status == "detector_failed"
    assert score_batch([LEFT], [record], color=PixelColor(), **kwargs)[0].reward == 1.0
    blue = {"tag": "colors", "include": [{"class": "cat", "count": 1, "color": "blue"}]}
    assert score_batch([LEFT], [blue], color=PixelColor(), **kwargs)[0].reward == 0.0


@pytest.mark.parametrize(
    ("reward", "repeat"),
    # `spatial` compares every pair of boxes of a name, so fewer here
    [("visor", 5000), ("geneval", 5000), ("geneval_reward_fixed", 5000), ("spatial", 500)],
)
def test_thousands_of_boxes_are_judged(reward, repeat):
    detector = DrawingDetector(repeat=repeat)
    item = score_batch([LEFT], [ASKED], detector=detector, reward=reward)[0]
    assert item.status == "scored"
    assert item.verdicts[reward]["value"] is not None


def test_no_images_no_scores():
    assert score_batch([], [], detector=DETECTOR) == []


@pytest.mark.parametrize(
    ("images", "asked", "reward", "message"),
    [
        ([LEFT], [], None, "1 images for 0 scenes"),
        ([LEFT], [""], None, "item 0: the prompt is empty"),
        ([LEFT], [7], None, "item 0: a text, scene or prompt record"),
        ([LEFT], [{"include": []}], None, "needs a non-empty include"),
        ([LEFT], [{"include": [{"class": "cat"}] * 33}], None, "at most 32 clauses"),
        ([LEFT], ["300 cats left of a dog"], None, "301 counted objects"),
        ([LEFT], [SceneSpec((ObjectSpec("cat"),) * 33)], None, "33 objects in a scene"),
        ([LEFT], [SceneSpec((ObjectSpec("cat"),) * 2, (BESIDE,) * 65)], None, "65 relations"),
        ([LEFT], ["a cat \ud800"], None, "half a character"),
        ([LEFT], [{**RECORD, "note": "x" * 64_000}], None, "at most 64,000"),
        ([LEFT], ["cat " * 2000], None, "at most 4,000"),
        ([LEFT], [ASKED], "spacial", "did you mean 'spatial'"),
        ([LEFT], [ASKED], {"visor.object": 1.0}, "no component 'object'"),
        ([LEFT], [ASKED], {"visor": float("nan")}, "finite"),
        ([LEFT], [ASKED], {}, "at least one protocol"),
        ([np.zeros((4, 4))], [ASKED], None, "must have shape"),
        ([np.zeros((0, 4, 3))], [ASKED], None, "must have shape"),
        ([np.full((3, 4, 4), np.nan)], [ASKED], None, "not finite"),
        ([np.zeros((4, 4, 3), dtype=np.int64)], [ASKED], None, "float in"),
    ],
)
def test_bad_input_is_named(images, asked, reward, message):
    with pytest.raises(InputError, match=message):
        score_batch(images, asked, detector=DETECTOR, reward=reward)


def box_of(x: float, width: float = 30) -> list[float]:
    return [x, 40.0, x + width, 70.0]


def reward_at(xs: list[float], reward: str, score: float = 0.9) -> list[float]:
    found = [
        Detections(("cat", "dog"), [score, score], [box_of(x), box_of(185)], 400, 110) for x in xs
    ]
    prompts = as_prompts(["a cat to the right of a dog"] * len(xs))
    return [item.reward for item in judge_batch(found, prompts, RewardSpec({reward: 1.0}))]


def two_things(x: float) -> bool:
    """Whether the boxes of `reward_at` are far enough from one another to be of two things."""
    return abs(x - 185.0) >= 1.6  # at 1.58 the overlap of boxes of width 30 is 0.9


@given(st.lists(st.floats(0, 370), min_size=2, max_size=12), st.floats(0.3, 1.0))
@example([180.0, 184.0, 185.5, 188.0], 0.9)
def test_further_on_the_right_side_never_scores_less(xs, score):
    xs = sorted(filter(two_things, xs))
    for name in ("spatial", "geneval_reward_fixed"):
        rewards = reward_at(xs, name, score)
        assert all(0 <= value <= 1 for value in rewards)
        assert all(b >= a - 1e-12 for a, b in itertools.pairwise(rewards))


@given(st.lists(st.floats(185, 370), min_size=2, max_size=12), st.floats(0.3, 1.0))
def test_the_mean_is_monotone_once_the_side_is_right(xs, score):
    rewards = reward_at(sorted(xs), "spatial.mean", score)
    assert all(b >= a - 1e-12 for a, b in itertools.pairwise(rewards))


def test_coinciding_boxes_cost_the_mean_more_than_a_wrong_side():
    apart, same = reward_at([20.0, 184.0], "spatial.mean")
    assert same < apart < 0.7  # two names for one thing are less than two things, wrongly placed


def test_the_soft_reward_changes_in_small_steps():
    xs = np.arange(60.0, 340.0, 1.0)
    rewards = np.array(reward_at(xs[[two_things(x) for x in xs]].tolist(), "spatial"))
    assert np.abs(np.diff(rewards)).max() < 0.12
    # no rule claims beyond what people confirm: the ends are flat, between them all differ
    low, high = rewards.min(), rewards.max()
    assert (rewards[0], rewards[-1]) == (low, high) and low < 0.05 and high > 0.9
    between = rewards[(rewards > low) & (rewards < high)]
    assert len(between) > 25 and len(np.unique(between)) == len(between)


def test_one_thing_with_two_names_is_not_nearly_right():
    near, one, beyond = reward_at([183.0, 185.0, 187.0], "spatial")
    assert one == 0.1 < near < beyond


def test_the_mended_reward_orders_what_the_peer_does_not():
    pictures = [LEFT, RIGHT]
    fixed = score_batch(pictures, [RECORD] * 2, detector=DETECTOR, reward="geneval_reward_fixed")
    peer = score_batch(pictures, [RECORD] * 2, detector=DETECTOR, reward="geneval_reward")
    assert [item.reward for item in peer] == [1.0, 0.75]
    assert fixed[0].reward == 1.0 and fixed[1].reward == pytest.approx(2 / 3)
    crowd = score_batch([LEFT], [RECORD], detector=DrawingDetector(16), reward="geneval_reward")
    assert crowd[0].reward < 0
    # sixteen boxes on one thing are one thing
    crowd = score_batch(
        [LEFT], [RECORD], detector=DrawingDetector(16), reward="geneval_reward_fixed"
    )
    assert crowd[0].reward == 1.0


@pytest.mark.parametrize("name", ["spatial", "visor", "geneval", "t2i_compbench_numeracy"])
def test_ten_thousand_boxes_are_judged_in_a_moment(name):
    random = np.random.default_rng(0)
    corner = random.uniform(0, 900, (10_000, 2))
    boxes = np.concatenate([corner, corner + random.uniform(5, 100, (10_000, 2))], axis=1)
    crowd = Detections(("cat", "dog") * 5000, random.uniform(0.4, 1, 10_000), boxes, 1000, 1000)
    begun = time.process_time()
    (item,) = judge_batch([crowd], as_prompts(["three cats above two dogs"]), RewardSpec({name: 1}))
    # VISOR has no rule for counts, and the numeracy score none for relations
    assert (item.reward is None) == (name in ("visor", "t2i_compbench_numeracy"))
    assert time.process_time() - begun < 5  # every pair of boxes would take a minute


def test_scenes_of_drawings_go_through_every_form_of_request():
    relation = {"subject": 0, "relation": "left of", "object": 1}
    scene = {"scene": {"objects": [{"name": "cat"}, {"name": "dog"}], "relations": [relation]}}
    forms = [ASKED, scene, as_prompts([ASKED])[0], as_prompts([ASKED])[0].scene, RECORD]
    items = score_batch([LEFT] * len(forms), forms, detector=DETECTOR)
    assert len({item.reward for item in items}) == 1
    picture = drawing(("cup", (10, 10, 30, 30)))
    assert score_batch([picture], ["a cup"], detector=DETECTOR)[0].reward > 0.9
