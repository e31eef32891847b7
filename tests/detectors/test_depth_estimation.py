"""Depth of boxes: larger = nearer, whatever the model's own unit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from t2i_spatial.detectors.boxes import BoxesOf
from t2i_spatial.detectors.depth_estimation import DepthEstimator, box_depth, resolve_depth
from t2i_spatial.detectors.masks import encode_mask
from t2i_spatial.errors import ModelLoadError
from tests.detectors import tiny


def noise(*sizes: tuple[int, int]) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8)) for w, h in sizes]


@pytest.fixture(scope="module", params=["depth_anything", "dpt"])
def estimator(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> DepthEstimator:
    folder = getattr(tiny, request.param)(tmp_path_factory.mktemp(request.param))
    return DepthEstimator(resolve_depth(str(folder)))


@pytest.mark.parametrize("size", [(40, 40), (90, 40), (40, 90)])
def test_map_is_the_librarys_scaled_to_one(
    estimator: DepthEstimator, size: tuple[int, int]
) -> None:
    (image,) = noise(size)
    (ours,) = estimator.maps([estimator.prepare(image)])
    inputs = estimator.image_processor(images=image, return_tensors="pt")
    with torch.no_grad():
        depth = estimator.model(**inputs).predicted_depth
    theirs = torch.nn.functional.interpolate(
        depth[None], size=size[::-1], mode="bilinear", align_corners=False
    )[0, 0]
    scaled = (theirs - theirs.min()) / (theirs.max() - theirs.min())
    np.testing.assert_allclose(ours, scaled, atol=2e-3)
    assert ours.shape == size[::-1]


def test_alone_or_in_a_batch(estimator: DepthEstimator) -> None:
    images = noise((40, 60), (40, 60), (40, 60))
    batch = estimator.maps([estimator.prepare(image) for image in images])
    for image, depth in zip(images, batch, strict=True):
        np.testing.assert_allclose(estimator.maps([estimator.prepare(image)])[0], depth, atol=1e-3)


def test_metres_are_turned_into_nearness(tmp_path: Path) -> None:
    relative = DepthEstimator(resolve_depth(str(tiny.depth_anything(tmp_path / "relative"))))
    metric = DepthEstimator(resolve_depth(str(tiny.depth_anything(tmp_path / "m", metric=True))))
    (image,) = noise((42, 42))
    near = relative.maps([relative.prepare(image)])[0].ravel()
    far = metric.maps([metric.prepare(image)])[0].ravel()
    assert metric.spec.metric
    assert np.corrcoef(near, far)[0, 1] < 0


def test_depth_of_a_box_is_its_middle_or_its_mask() -> None:
    depth = np.zeros((20, 30), dtype=np.float32)
    depth[5:15, 10:20] = 0.8
    assert box_depth(depth, np.array([8.0, 3.0, 22.0, 17.0])) == pytest.approx(0.8)
    assert box_depth(depth, np.array([0.0, 0.0, 8.0, 20.0])) == 0.0
    mask = np.zeros((20, 30), dtype=bool)
    mask[0:3] = True
    assert box_depth(depth, np.array([8.0, 3.0, 22.0, 17.0]), mask) == 0.0
    assert box_depth(depth, np.array([29.9, 19.9, 30.0, 20.0])) == 0.0
    assert box_depth(depth, np.array([12.0, 7.0, 12.0, 7.0])) == pytest.approx(0.8)


def test_annotate_uses_masks_where_there_are(
    estimator: DepthEstimator, monkeypatch: pytest.MonkeyPatch
) -> None:
    depth = np.tile(np.linspace(0, 1, 10, dtype=np.float32), (10, 1))
    monkeypatch.setattr(estimator, "maps", lambda prepared: depth[None])
    mask = np.zeros((10, 10), dtype=bool)
    mask[:, 9] = True
    box = np.array([[0.0, 0.0, 10.0, 10.0]])
    plain = BoxesOf(("cat",), box, 10, 10)
    masked = BoxesOf(("cat",), box, 10, 10, (encode_mask(mask),))
    assert estimator.measure([torch.zeros(3, 10, 10)], [plain]) == [[pytest.approx(0.5, abs=0.1)]]
    assert estimator.measure([torch.zeros(3, 10, 10)], [masked]) == [[pytest.approx(1.0)]]


def test_flat_picture_is_in_the_middle(estimator: DepthEstimator) -> None:
    with torch.no_grad():
        inputs = torch.zeros(1, 3, 8, 8)
    flat = torch.nn.Module()
    flat.forward = lambda pixel_values: type("Out", (), {"predicted_depth": inputs[:, 0] + 7})()  # type: ignore[method-assign]
    model, estimator.model = estimator.model, flat
    try:
        assert (estimator.maps([torch.zeros(3, 8, 8, dtype=torch.uint8)]) == 0.5).all()
        inputs[0, 0, 3, 3] = float("nan")
        assert np.isnan(estimator.maps([torch.zeros(3, 8, 8, dtype=torch.uint8)])).all()
        whole = BoxesOf(("cat",), np.array([[0, 0, 8, 8.0]]), 8, 8)
        (why,) = estimator.measure([torch.zeros(3, 8, 8, dtype=torch.uint8)], [whole])
        assert "not finite" in str(why)
    finally:
        estimator.model = model


def test_what_is_no_depth_model(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="'owlvit' model, not a depth model"):
        resolve_depth(str(tiny.owl(tmp_path)))
    with pytest.raises(ModelLoadError, match="HF_HUB_OFFLINE"):
        resolve_depth("depth-anything/Not-Cached")
