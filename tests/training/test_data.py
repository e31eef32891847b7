from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from t2i_spatial.errors import InputError
from t2i_spatial.training.data import data_hash, fit_image
from t2i_spatial.training.sets.imagefolder import read_imagefolder


@pytest.fixture
def folder(tmp_path):
    def make(lines, images=True):
        if images:
            for line in lines:
                if isinstance(line, dict) and "file_name" in line:
                    Image.new("RGB", (4, 4)).save(tmp_path / line["file_name"])
        text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        (tmp_path / "metadata.jsonl").write_text("\n".join(text) + "\n")
        return tmp_path

    return make


def rows(count, **extra):
    return [{"file_name": f"{k}.png", "text": f"t{k}", **extra} for k in range(count)]


def test_weights_are_divided_by_their_mean_and_zeros_left_out(folder):
    lines = rows(5)
    for line, weight in zip(lines, [1, 5, 0, None, 1], strict=True):
        line["weight"] = weight
    examples = read_imagefolder(folder(lines))
    assert [example.text for example in examples] == ["t0", "t1", "t3", "t4"]
    assert [example.weight for example in examples] == pytest.approx([0.5, 2.5, 0.5, 0.5])


def test_the_largest_weights_have_a_mean(folder):
    lines = rows(4)
    for line in lines:
        line["weight"] = 1e308
    assert [example.weight for example in read_imagefolder(folder(lines))] == [1.0] * 4


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\r\n"])
def test_line_separators_in_captions_separate_no_lines(folder, separator):
    lines = rows(4)
    lines[1]["text"] = f"a cat{separator}left of a dog, 猫 🐱"
    lines = [json.dumps(line, ensure_ascii=False) for line in lines]
    path = folder(lines, images=False)
    for k in range(4):
        Image.new("RGB", (4, 4)).save(path / f"{k}.png")
    metadata = path / "metadata.jsonl"
    for start, end in (("", "\n"), ("\ufeff", "\r\n")):  # as Windows writes it
        metadata.write_bytes((start + end.join(lines) + end).encode())
        assert read_imagefolder(path)[1].text == f"a cat{separator}left of a dog, 猫 🐱"


def test_what_the_curation_exports_is_found_in_train(tmp_path, folder):
    inner = folder(rows(4))
    outer = tmp_path / "outer"
    outer.mkdir()
    (outer / "train").symlink_to(inner, target_is_directory=True)
    assert len(read_imagefolder(outer)) == 4


def test_links_in_the_folder_are_followed_but_names_do_not_leave_it(tmp_path, folder):
    path = folder(rows(4))
    train = tmp_path / "data" / "train"
    train.mkdir(parents=True)
    (train / "metadata.jsonl").write_bytes((path / "metadata.jsonl").read_bytes())
    for k in range(4):
        (train / f"{k}.png").symlink_to(path / f"{k}.png")
    assert len(read_imagefolder(train)) == 4
    (tmp_path / "data" / "link.png").symlink_to(path / "0.png")
    line = json.dumps({"file_name": "../link.png", "text": "x"})
    (train / "metadata.jsonl").write_text(line)
    with pytest.raises(InputError, match=r"'\.\./link.png' is outside"):
        read_imagefolder(train)


def test_no_metadata(tmp_path):
    with pytest.raises(InputError, match=r"no train/metadata.jsonl"):
        read_imagefolder(tmp_path)


@pytest.mark.parametrize("count", [0, 3])
def test_too_few_images(folder, count):
    with pytest.raises(InputError, match=f"has {count} images; 4 are the least"):
        read_imagefolder(folder(rows(count)))


def test_missing_images_are_counted(folder):
    path = folder(rows(5))
    for k in (1, 3):
        (path / f"{k}.png").unlink()
    with pytest.raises(InputError, match=r"2 of 5 images of .* are missing: 1.png, 3.png"):
        read_imagefolder(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 5: "),
        ('{"file_name": "4.png"}', "needs file_name and text"),
        ('["4.png", "x"]', "needs file_name and text"),
        ('{"file_name": "0.png", "text": "x", "weight": -1}', "weight -1"),
        ('{"file_name": "0.png", "text": "x", "weight": NaN}', "weight nan"),
        ('{"file_name": "0.png", "text": "x", "weight": "much"}', "'much' is not a number"),
        ('{"file_name": "0.png", "text": "x", "weight": 1' + 400 * "0" + "}", "weight 1000"),
        ('{"file_name": "0.png", "text": "x", "sample": ' + 5000 * "9" + "}", "line 5: "),
        ('{"file_name": "0.png", "text": "half \\ud83d"}', "holds what is not text"),
        ('{"file_name": "0\\u0000.png", "text": "x"}', "holds what is not text"),
        (100_000 * "[", "line 5: "),
        ('{"file_name": "../../etc/passwd", "text": "x"}', "is outside"),
    ],
)
def test_broken_lines_are_named(folder, line, message):
    with pytest.raises(InputError, match=message):
        read_imagefolder(folder([*rows(4), line]))


def test_weights_that_are_all_zero(folder):
    with pytest.raises(InputError, match="all weights"):
        read_imagefolder(folder(rows(4, weight=0)))
    lines = rows(5)
    lines[0]["weight"] = lines[1]["weight"] = 0
    with pytest.raises(InputError, match="has 3 images of weight above 0; 4 are the least"):
        read_imagefolder(folder(lines))


def test_an_unreadable_image_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"training image a.png"):
        fit_image(tmp_path / "a.png", 16)


def test_the_hash_follows_captions_weights_and_pixels(folder):
    path = folder(rows(4))
    before = data_hash(read_imagefolder(path))
    assert data_hash(read_imagefolder(path)) == before
    Image.new("RGB", (4, 4), "red").save(path / "2.png")
    assert data_hash(read_imagefolder(path)) != before


@given(st.integers(1, 60), st.integers(1, 60), st.integers(8, 48))
def test_images_keep_left_and_right_and_all_their_content(width, height, size):
    import tempfile
    from pathlib import Path

    columns = np.linspace(0, 255, width)[None, :, None]
    rows_ = np.linspace(0, 255, height)[:, None, None]
    pixels = np.concatenate(
        np.broadcast_arrays(columns + 0 * rows_, rows_ + 0 * columns, 0 * rows_ + 0 * columns), 2
    ).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.png"
        Image.fromarray(pixels).save(path)
        fitted = fit_image(path, size)
    assert fitted.shape == (3, size, size)
    assert fitted.dtype == np.float32
    assert -1 <= fitted.min() <= fitted.max() <= 1
    assert (np.diff(fitted[0].mean(0)) >= -0.02).all()  # red still grows to the right
    assert (np.diff(fitted[1].mean(1)) >= -0.02).all()  # green still grows downwards
    scale = size / max(width, height)
    if width >= 2 and round(width * scale) >= width:  # nothing is cut off when it is enlarged
        assert fitted[0].max() - fitted[0].min() > 1.8
