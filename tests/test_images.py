from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from t2i_spatial.images import ImageUnreadableError, read_image


def _save(tmp_path, image, name="x.png", **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "I", "F"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    name = "x.tif" if mode in ("CMYK", "I;16", "I", "F") else "x.png"
    path = _save(tmp_path, Image.new(mode, (7, 5)), name)
    image = read_image(path)
    assert (image.mode, image.size) == ("RGB", (7, 5))


def test_sixteen_bit_keeps_its_brightness(tmp_path):
    values = np.array([[0, 32768, 65535]], dtype=np.uint16)
    image = read_image(_save(tmp_path, Image.fromarray(values)))
    assert np.asarray(image)[0, :, 0].tolist() == [0, 128, 255]


def test_transparent_pixels_lie_over_white(tmp_path):
    image = read_image(_save(tmp_path, Image.new("RGBA", (2, 2), (255, 0, 0, 0))))
    assert image.getpixel((0, 0)) == (255, 255, 255)


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = _save(tmp_path, Image.new("RGB", (20, 10)), "x.jpg", exif=exif)
    assert read_image(path).size == (10, 20)


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (4, 4), c) for c in ("red", "blue")]
    path = _save(tmp_path, frames[0], "x.gif", save_all=True, append_images=frames[1:])
    assert read_image(path).getpixel((0, 0))[0] > 200


def _png_header(width, height):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def test_a_bomb_is_refused_before_decoding(tmp_path):
    (tmp_path / "bomb.png").write_bytes(_png_header(20_000, 20_000))
    with pytest.raises(ImageUnreadableError, match="pixels"):
        read_image(tmp_path / "bomb.png")


def test_truncated_empty_missing_and_foreign_files(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    whole = _save(tmp_path, Image.fromarray(noise)).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("hello")
    for name, message in [
        ("cut.png", "cannot be decoded"),
        ("empty.png", "not an image"),
        ("text.png", "not an image"),
        ("none.png", "no such file"),
    ]:
        with pytest.raises(ImageUnreadableError, match=message):
            read_image(tmp_path / name)
