"""OWL-ViT and OWLv2: same numbers as the library's own joint forward, boxes in the right place."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from t2i_spatial.detectors import load_detector, owl, resolve_detector
from t2i_spatial.errors import InputError
from tests.detectors import tiny

NAMES = [("cat", "dog"), ("teddy bear",), ("dog", "cat", "bus")]


def noise(*sizes: tuple[int, int], seed: int = 0) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8)) for w, h in sizes]


@pytest.mark.parametrize("size", [(48, 48), (40, 90), (90, 40), (1, 1), (300, 7)])
def test_boxes_scores_and_labels_are_those_of_the_joint_forward(
    owl_folder: Path, size: tuple[int, int]
) -> None:
    from transformers import AutoProcessor

    images = noise(size, size, size)
    detector = load_detector(str(owl_folder), threshold=0.0, device="cpu")
    found = detector(images, NAMES)
    processor = AutoProcessor.from_pretrained(owl_folder)
    for image, names, ours in zip(images, NAMES, found, strict=True):
        queries = [f"a photo of a {name}" for name in names]
        inputs = processor(text=[queries], images=image, return_tensors="pt", max_length=16)
        with torch.no_grad():
            outputs = detector.model(**inputs)  # type: ignore[attr-defined]
        theirs = processor.post_process_grounded_object_detection(
            outputs, threshold=0.0, target_sizes=[size[::-1]], text_labels=[list(names)]
        )[0]
        limit = torch.tensor([*size, *size])
        boxes = theirs["boxes"].clamp(min=0).minimum(limit)
        inside = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        order = torch.argsort(theirs["scores"][inside], descending=True, stable=True)
        assert ours.labels == tuple(np.array(theirs["text_labels"])[inside][order])
        np.testing.assert_allclose(ours.scores, theirs["scores"][inside][order], atol=1e-6)
        np.testing.assert_allclose(ours.boxes, boxes[inside][order], atol=1e-4 * max(size))


@pytest.mark.parametrize("kind", ["owlvit", "owlv2"])
@pytest.mark.parametrize("size", [(128, 128), (256, 128), (128, 256), (192, 64)])
def test_a_drawn_square_is_found_where_it_was_drawn(
    tmp_path: Path, kind: str, size: tuple[int, int]
) -> None:
    width, height = size
    frame = size if kind == "owlvit" else (max(size), max(size))
    cell = np.array(frame) / 8
    left, top = 1 * cell[0], 1 * cell[1]
    right, bottom = 3 * cell[0], min(2 * cell[1], height)
    pixels = np.full((height, width, 3), 128, dtype=np.uint8)
    pixels[int(top) : int(bottom), int(left) : int(right)] = (255, 0, 0)
    detector = load_detector(
        str(tiny.red_finder(tmp_path, kind)), threshold=0.5, query_template="{name}", device="cpu"
    )
    (found,) = detector([Image.fromarray(pixels)], [("red",)])
    # the box of a patch is centred on the lower right corner of its cell
    drawn = np.array([left, top, right, bottom]) + np.tile(cell / 2, 2)
    union = np.concatenate([found.boxes[:, :2].min(0), found.boxes[:, 2:].max(0)])
    np.testing.assert_allclose(union, np.minimum(drawn, [*size, *size]), atol=0.02 * max(frame))
    assert len(found) == 2


def test_alone_or_in_a_batch_gives_the_same_boxes(owl_folder: Path) -> None:
    detector = load_detector(str(owl_folder), threshold=0.3, device="cpu")
    images = noise((40, 30), (30, 40), (40, 30))
    together = detector(images, NAMES)
    for image, names, found in zip(images, NAMES, together, strict=True):
        (alone,) = detector([image], [names])
        assert alone.labels == found.labels
        np.testing.assert_allclose(alone.boxes, found.boxes, atol=1e-3)
        np.testing.assert_allclose(alone.scores, found.scores, atol=1e-5)


def test_each_name_is_embedded_once(owlvit_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = load_detector(str(owlvit_folder), device="cpu")
    core = detector.model.owlvit  # type: ignore[attr-defined]
    embedded: list[int] = []
    original = core.get_text_features

    def counting(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> object:
        embedded.append(len(input_ids))
        return original(input_ids=input_ids, attention_mask=attention_mask)

    monkeypatch.setattr(core, "get_text_features", counting)
    detector(noise((20, 20), (20, 20), (20, 20)), NAMES)
    detector(noise((30, 20)), [("bus", "cat", "cup")])
    # alone, so that its features do not depend on what was asked beside it
    assert embedded == [1] * 5


def test_threads_share_the_cache_without_mixing_names(owlvit_folder: Path) -> None:
    detector = load_detector(str(owlvit_folder), threshold=0.0, device="cpu")
    names = [(f"thing {k}", f"other {k % 3}") for k in range(24)]
    image = noise((24, 24))
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            together = list(threads.map(lambda asked: detector(image, [asked])[0], names))
    finally:
        sys.setswitchinterval(before)
    alone = load_detector(str(owlvit_folder), threshold=0.0, device="cpu")
    for asked, found in zip(names, together, strict=True):
        expected = alone(image, [asked])[0]
        assert found.labels == expected.labels
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


def test_other_braces_of_a_template_are_text(owlvit_folder: Path) -> None:
    detector = load_detector(
        str(owlvit_folder), threshold=0.0, query_template="{name} of {x}", device="cpu"
    )
    assert len(detector(noise((20, 20)), [("cat",)])[0])


def test_the_cache_of_names_has_a_limit(
    owlvit_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owl, "MAX_CACHED", 4)
    detector = load_detector(str(owlvit_folder), threshold=0.0, device="cpu")
    image = noise((24, 24))
    first = detector(image, [("cat", "dog")])[0]
    for k in range(9):
        detector(image, [(f"thing {k}",)])
    assert len(detector._rows) <= 4 and len(detector._text) <= 4  # type: ignore[attr-defined]
    again = detector(image, [("cat", "dog")])[0]
    assert again.labels == first.labels
    np.testing.assert_allclose(again.scores, first.scores, atol=1e-6)


def test_together_one_name_per_box_and_each_several(owlvit_folder: Path) -> None:
    image, names = noise((40, 40)), [("cat", "dog")]
    together = load_detector(str(owlvit_folder), threshold=0.0, device="cpu")(image, names)[0]
    each = load_detector(str(owlvit_folder), threshold=0.0, query_mode="each", device="cpu")
    apart = each(image, names)[0]
    assert len(together) == 16
    assert len(apart) == 32
    best = {tuple(np.round(box, 3)) for box in together.boxes}
    assert {tuple(np.round(box, 3)) for box in apart.boxes} == best
    alone = each(image, [("dog",)])[0]
    np.testing.assert_allclose(
        np.sort(apart.scores[np.array(apart.labels) == "dog"]), np.sort(alone.scores), atol=1e-6
    )


def test_nms_keeps_the_better_of_two_boxes_of_one_name(owlvit_folder: Path) -> None:
    image, names = noise((40, 40)), [("cat", "dog")]
    everything = load_detector(str(owlvit_folder), threshold=0.0, device="cpu")(image, names)[0]
    kept = load_detector(str(owlvit_folder), threshold=0.0, nms=0.05, device="cpu")(image, names)[0]
    assert 0 < len(kept) < len(everything)
    assert kept.scores[0] == everything.scores[0]


def test_bfloat16_autocast_stays_close(owl_folder: Path) -> None:
    images = noise((64, 48))
    exact = load_detector(str(owl_folder), threshold=0.0, device="cpu")(images, [("cat",)])[0]
    fast = load_detector(str(owl_folder), threshold=0.0, dtype="bfloat16", device="cpu")(
        images, [("cat",)]
    )[0]
    assert len(exact) == len(fast)
    assert np.abs(np.sort(exact.scores) - np.sort(fast.scores)).max() < 0.05
    assert not np.array_equal(exact.scores, fast.scores)


def test_vocabulary_and_unicode_names_come_back_as_asked(owlvit_folder: Path) -> None:
    detector = load_detector(str(owlvit_folder), threshold=0.0, device="cpu")
    names = ("Katze", "猫", "Traffic  Light")
    (found,) = detector(noise((20, 20)), [names])
    assert set(found.labels) <= set(names)


def test_nothing_asked_nothing_found(owlvit_folder: Path) -> None:
    detector = load_detector(str(owlvit_folder), device="cpu")
    assert detector([], []) == []
    (found,) = detector(noise((20, 30)), [()])
    assert (len(found), found.width, found.height) == (0, 20, 30)


@pytest.mark.parametrize(
    ("name", "message"), [("", "empty"), ("  ", "empty"), ("cat " * 100, "tokens")]
)
def test_names_that_cannot_be_asked(owlvit_folder: Path, name: str, message: str) -> None:
    detector = load_detector(str(owlvit_folder), device="cpu")
    with pytest.raises(InputError, match=message):
        detector(noise((20, 20)), [(name,)])


def test_settings_out_of_range(owlvit_folder: Path) -> None:
    for wrong, message in (
        ({"threshold": 1.5}, "threshold"),
        ({"query_template": "a photo"}, "no {name}"),
        ({"query_mode": "both"}, "query mode"),
        ({"dtype": "int8"}, "dtype"),
        ({"nms": 0.0}, "nms"),
        ({"options": {"text_threshold": 1}}, "text_threshold"),
    ):
        with pytest.raises(InputError, match=message):
            resolve_detector(str(owlvit_folder), **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="device 'cuda:99'"):
        load_detector(str(owlvit_folder), device="cuda:99")
