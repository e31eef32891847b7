"""What a batch of the worker may hold, and what it costs the others."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from t2i_spatial.images import ImageUnreadableError, read_image
from t2i_spatial.rewards.server.worker import Job, _score, decode
from t2i_spatial.scoring.requests import as_prompt
from tests.rewards.conftest import encoded
from tests.rewards.drawing_detector import ASKED, LEFT, DrawingDetector

LIMIT = 1_000_000


def job(prompt: str = ASKED) -> Job:
    return Job(b"", as_prompt(prompt), {"spatial": 1.0})


class Moody(DrawingDetector):
    """Fails on dark pictures, in a way that nobody has foreseen."""

    def prepare(self, image: Image.Image):
        if image.getpixel((0, 0)) == (0, 0, 0):
            raise KeyError("dark")
        return super().prepare(image)


def test_a_picture_that_breaks_the_detector_costs_only_itself():
    dark = Image.new("RGB", LEFT.size)
    scores = _score([job()] * 4, [LEFT, dark, "truncated", LEFT], Moody(), None, 4)
    assert [s.status for s in scores] == [
        "scored",
        "detector_failed",
        "image_unreadable",
        "scored",
    ]
    assert scores[1].reason == "KeyError: 'dark'" and scores[1].reward is None
    assert scores[0].reward == scores[3].reward > 0.9


def test_a_lost_device_ends_the_worker():
    class Lost(DrawingDetector):
        def prepare(self, image: Image.Image):
            raise RuntimeError("CUDA error: device-side assert triggered")

    with pytest.raises(RuntimeError, match="CUDA error"):
        _score([job()] * 2, [LEFT, LEFT], Lost(), None, 2)


def broken_exif(tag: int, kind: int) -> bytes:
    """A PNG that is to be turned and has a tag of the wrong kind beside that."""
    exif = b"II*\0" + struct.pack("<IH", 8, 2)
    exif += struct.pack("<HHI4s", 0x0112, 3, 1, b"\6") + struct.pack("<HHI4s", tag, kind, 1, b"\1")
    chunk = b"eXIf" + exif + bytes(4)
    png = encoded(Image.new("RGB", (8, 8)))
    at = png.index(b"IDAT") - 4
    size, check = struct.pack(">I", len(chunk) - 4), struct.pack(">I", zlib.crc32(chunk))
    return png[:at] + size + chunk + check + png[at:]


@pytest.mark.parametrize(
    ("tag", "kind", "error"),
    [(0x0100, 2, struct.error), (0x010F, 5, AttributeError), (0x011A, 1, TypeError)],
)
def test_exif_that_pillow_stumbles_over_is_a_fault_of_the_picture(tmp_path, tag, kind, error):
    data = broken_exif(tag, kind)
    with pytest.raises(error), Image.open(io.BytesIO(data)) as image:
        ImageOps.exif_transpose(image)
    assert "cannot be decoded" in decode(data, LIMIT)
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ImageUnreadableError, match="cannot be decoded"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("side", [(1, 3000), (3000, 1)])
def test_a_long_thin_picture_is_refused(side):
    assert "in a line" in decode(encoded(Image.new("RGB", side)), LIMIT)


def test_every_kind_of_picture_is_read_as_rgb():
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    sixteen = Image.fromarray(rng.integers(0, 65536, (20, 30), dtype=np.uint16))
    turned = Image.Exif()
    turned[0x0112] = 6
    kinds = {
        "palette": encoded(image.convert("P"), transparency=0),
        "grey": encoded(image.convert("LA")),
        "bits": encoded(image.convert("1")),
        "sixteen": encoded(sixteen),
        "cmyk": encoded(image.convert("CMYK"), "JPEG"),
        "alpha": encoded(image.convert("RGBA"), "WEBP"),
    }
    for data in kinds.values():
        picture = decode(data, LIMIT)
        assert picture.mode == "RGB" and picture.size == (30, 20)
    assert decode(encoded(image, exif=turned), LIMIT).size == (20, 30)
