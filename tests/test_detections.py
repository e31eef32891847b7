from __future__ import annotations

import numpy as np
import pytest

from t2i_spatial.detections import Detections, NoBoxes, check_boxes, detections_table
from t2i_spatial.errors import InputError
from t2i_spatial.tables import DETECTIONS, IMAGE_MISSING, SCORED
from tests.builders import box, boxes, detections


def test_records_round_trip_with_colour_and_depth():
    found = Detections(
        ("cat", "dog"),
        np.array([0.9, 0.1]),
        np.array([[1, 2, 3, 4], [0, 0, 5, 5]]),
        10,
        10,
        ("red", None),
        np.array([0.5, np.nan]),
    )
    again = Detections.from_records(found.to_records(), 10, 10)
    assert again.labels == found.labels
    assert again.colors == ("red", None)
    np.testing.assert_array_equal(again.boxes, found.boxes)
    np.testing.assert_array_equal(again.depths, found.depths)


def test_no_boxes_is_fine():
    found = detections()
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert len(Detections.from_records([], 5, 5)) == 0


def test_select_keeps_the_asked_order():
    found = detections(box("a", 0, 0, 1, 1), box("b", 0, 0, 2, 2), box("c", 0, 0, 3, 3))
    assert found.select(np.array([2, 0])).labels == ("c", "a")
    assert found.select(np.array([False, True, False])).labels == ("b",)


@pytest.mark.parametrize(
    ("xyxy", "message"),
    [
        ((10, 0, 5, 5), "inverted"),
        ((0, 0, float("nan"), 5), "not finite"),
        ((0, 0, 600, 5), "outside the 512x512 image"),
    ],
)
def test_bad_boxes_are_refused_by_name(xyxy, message):
    with pytest.raises(InputError, match=message):
        boxes("cat", *xyxy)


def test_an_overshoot_below_one_pixel_is_clipped():
    np.testing.assert_array_equal(check_boxes([[-0.5, 0, 10.4, 10]], 10, 10), [[0, 0, 10, 10]])


def test_scores_and_lengths_are_checked():
    with pytest.raises(InputError, match="scores must be in"):
        boxes("cat", 0, 0, 1, 1, 1.5)
    with pytest.raises(InputError, match="do not match"):
        Detections(("a", "b"), np.array([0.5]), np.zeros((1, 4)), 5, 5)


GOOD = {"labels": ("cat",), "scores": [0.5], "boxes": [[0, 0, 1, 1]], "width": 10, "height": 10}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": float("nan")}, "whole numbers of pixels, got nan and 10"),
        ({"height": None}, "whole numbers of pixels"),
        ({"width": 0}, "whole numbers of pixels"),
        ({"width": 10.5}, "whole numbers of pixels"),
        ({"labels": "c"}, "labels must be a sequence of texts, got the text 'c'"),
        ({"labels": (1,)}, "labels must be texts, got 1"),
        ({"scores": [float("nan")]}, "scores must be in"),
        ({"scores": ["high"]}, "scores must be numbers"),
        ({"boxes": [["a", 0, 1, 1]]}, "boxes must be numbers of shape"),
        ({"boxes": [[0, 0, 1]]}, "boxes must have shape"),
        ({"colors": "r"}, "colors must be a sequence of texts or None, got the text 'r'"),
        ({"colors": (3,)}, "colors must be texts or None, got 3"),
        ({"depths": [7.0]}, "depths must be in"),
        ({"depths": [0.1, 0.2]}, "2 depths for 1 boxes"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    Detections(**GOOD)
    with pytest.raises(InputError, match=message):
        Detections(**{**GOOD, **change})


def test_unknown_depths_and_numpy_sizes_are_fine():
    found = Detections(**{**GOOD, "width": np.int64(10), "depths": [None], "colors": (None,)})
    assert type(found.width) is int
    assert found.to_records()[0]["depth"] is None


def test_a_record_without_its_parts_is_refused():
    with pytest.raises(InputError, match=r"a detection has no score, only \['label'\]"):
        Detections.from_records([{"label": "cat"}], 10, 10)


def test_a_table_of_images_in_memory_numbers_the_samples_of_a_prompt():
    found = Detections(("cat",), [0.5], [[0, 0, 4, 4]], 10, 8)
    samples = {"a": 2}
    missing = NoBoxes(IMAGE_MISSING, "no image")
    table = detections_table([("a", found), ("b", missing), ("a", missing)], samples)
    assert table.select("prompt_id", "sample", "status", "reason").rows() == [
        ("a", 2, SCORED, None),
        ("b", 0, IMAGE_MISSING, "no image"),
        ("a", 3, IMAGE_MISSING, "no image"),
    ]
    assert samples == {"a": 4, "b": 1}
    assert (table["width"][0], table["height"][0]) == (10, 8)
    assert table["detections"][0][0]["box"] == [0, 0, 4, 4]
    assert table["detections"][1] is None
    assert detections_table([]).schema == DETECTIONS
