from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from t2i_spatial.report.thumbnails import Thumbnail, make_thumbnail, make_thumbnails


def decoded(thumbnail: Thumbnail) -> Image.Image:
    data = thumbnail.uri.removeprefix("data:image/webp;base64,")
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_small_picture_is_kept_bit_by_bit(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    thumbnail = make_thumbnail(tmp_path / "a.png", 320)
    assert np.array_equal(np.asarray(decoded(thumbnail).convert("RGB")), pixels)


def test_a_large_picture_shrinks_and_keeps_its_shape(tmp_path):
    Image.new("RGB", (1000, 10), "red").save(tmp_path / "a.png")
    thumbnail = make_thumbnail(tmp_path / "a.png", 320)
    assert decoded(thumbnail).size == (320, 3)
    assert (thumbnail.width, thumbnail.height) == (1000, 10)


def test_order_is_kept_and_what_cannot_be_read_says_why(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    first, second, third = make_thumbnails([tmp_path / "no.png", None, tmp_path / "a.png"], 32)
    assert first == "no.png: no such file"
    assert second is None
    assert isinstance(third, Thumbnail)
