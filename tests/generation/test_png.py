from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from t2i_spatial.generation.png import is_whole, write_png


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8))


def test_pixels_and_metadata_come_back(tmp_path, image):
    path = tmp_path / "images" / "a.png"
    write_png(path, image, {"prompt_id": "7", "seed": 2**62, "prompt": "une forêt, 森"})
    with Image.open(path) as read:
        assert read.text == {"prompt_id": "7", "seed": str(2**62), "prompt": "une forêt, 森"}
        assert np.array_equal(np.asarray(read), np.asarray(image))


def test_the_same_image_gives_the_same_file(tmp_path, image):
    for name in ("a.png", "b.png"):
        write_png(tmp_path / name, image, {"prompt_id": "0"})
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_only_whole_files_are_whole(tmp_path, image):
    path = tmp_path / "a.png"
    assert not is_whole(path)
    write_png(path, image, {})
    assert is_whole(path)
    data = path.read_bytes()
    for cut in (0, 3, 20, len(data) - 1):
        path.write_bytes(data[:cut])
        assert not is_whole(path)
    path.write_bytes(b"x" * len(data))
    assert not is_whole(path)
