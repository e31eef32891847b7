"""Folders of images as people have them: names, numbers, captions, kinds of files."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2i_spatial.errors import InputError
from t2i_spatial.images import ImageUnreadableError, image_kind, read_image
from t2i_spatial.prompts import load_prompts
from t2i_spatial.run import Run
from t2i_spatial.scene import Prompt
from t2i_spatial.stages.import_images import import_images

SIX = [Prompt(f"{i:05d}", f"prompt {word}") for i, word in enumerate("abcdef")]


def save(path: Path, width: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, 6), "green").save(path)


def imported(folder, prompts=SIX, samples=None):
    run = Run.create(folder.parent / "run")
    import_images(run, folder, prompts, samples)
    return run.images()


def found(table):
    """Prompt id, sample and file name, or status, of every expected image."""
    rows = table.select("prompt_id", "sample", "image", "status").rows()
    return [(p, s, Path(i).name if i else status) for p, s, i, status in rows]


@pytest.mark.parametrize("start", [0, 7, 5_331_588, 10**7, 2**31])
def test_names_with_a_global_index_are_one_sample_each(tmp_path, capsys, start):
    folder = tmp_path / "images"
    names = [f"{prompt.id}_{start + i}.png" for i, prompt in enumerate(SIX)]
    for name in names:
        save(folder / name)
    assert found(imported(folder)) == [(p.id, 0, n) for p, n in zip(SIX, names, strict=True)]
    assert "run over all images" in capsys.readouterr().err


def test_seeds_of_all_prompts_keep_their_gaps(tmp_path):
    folder = tmp_path / "images"
    for name in ("00000_42", "00000_43", "00001_43"):
        save(folder / f"{name}.png")
    assert found(imported(folder, SIX[:2])) == [
        ("00000", 0, "00000_42.png"), ("00000", 1, "00000_43.png"),
        ("00001", 0, "image_missing"), ("00001", 1, "00001_43.png"),
    ]  # fmt: skip


def test_prompt_files_and_images_that_count_from_1_are_not_shifted(tmp_path):
    texts, folder = tmp_path / "prompts", tmp_path / "images"
    texts.mkdir()
    for number in range(1, 13):
        (texts / f"{number}.txt").write_text(f"{number} cats\n")
        save(folder / f"{number}.png", number)
    table = imported(folder, load_prompts(texts))
    assert table["prompt_id"].to_list() == [str(n) for n in range(1, 13)]
    assert table["width"].to_list() == list(range(1, 13))


@pytest.mark.parametrize("name", ["{}.png", "{}_0.png", "{:05d}.png", "{:04d}_0.png"])
def test_names_from_1_to_n_are_the_lines_of_a_list(tmp_path, capsys, name):
    folder = tmp_path / "images"
    for number in range(1, 7):
        save(folder / name.format(number), number)
    assert imported(folder)["width"].to_list() == [1, 2, 3, 4, 5, 6]
    assert "count from 1" in capsys.readouterr().err


def test_names_from_0_are_as_they_are(tmp_path, capsys):
    folder = tmp_path / "images"
    for number in range(6):
        save(folder / f"{number}.png", number + 1)
    assert imported(folder)["width"].to_list() == [1, 2, 3, 4, 5, 6]
    assert capsys.readouterr().err == ""


def test_a_folder_per_prompt(tmp_path):
    folder = tmp_path / "images"
    for number, name in enumerate(("00000", "prompt b", "prompt_c")):
        for sample in (1, 2, 10):
            save(folder / name / f"out-{sample}.png", 10 * number + sample)
    assert imported(folder, SIX[:3])["width"].to_list() == [1, 2, 10, 11, 12, 20, 21, 22, 30]


GENEVAL = {"tag": "colors", "include": [{"class": "cat", "count": 1, "color": "red"}]}


def test_a_geneval_folder_brings_its_prompts(tmp_path):
    folder = tmp_path / "outputs"
    for place in range(12):
        text = f"a photo of a red cat, {place // 2}"
        save(folder / f"{place:05d}" / "samples" / "0000.png", place + 1)
        record = {**GENEVAL, "prompt": text}
        (folder / f"{place:05d}" / "metadata.jsonl").write_text(json.dumps(record))
    run = Run.create(tmp_path / "run")
    import_images(run, folder)
    prompts = run.prompts()
    assert prompts["prompt_id"].to_list() == [f"{n:05d}" for n in range(0, 12, 2)]
    assert prompts["tag"].to_list() == ["colors"] * 6
    assert prompts["objects"][0][0]["color"] == "red"
    assert run.images()["sample"].to_list() == [0, 1] * 6
    assert run.images()["width"].to_list() == list(range(1, 13))
    # the same folder beside the file with every prompt twice
    lines = [json.loads(p.read_text()) for p in sorted(folder.glob("*/metadata.jsonl"))]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    again = Run.create(tmp_path / "again")
    import_images(again, folder, load_prompts(tmp_path / "m.jsonl"))
    assert again.images().drop("image").equals(run.images().drop("image"))
    # and without the folders' own records, by line
    for path in folder.glob("*/metadata.jsonl"):
        path.unlink()
    bare = Run.create(tmp_path / "bare")
    import_images(bare, folder, load_prompts(tmp_path / "m.jsonl"))
    assert bare.images().drop("image").equals(run.images().drop("image"))


def test_images_of_one_caption_are_samples_of_one_prompt(tmp_path, capsys):
    folder = tmp_path / "images"
    for number, text in ((10, "a cat"), (9, "a cat"), (1, "a dog"), (2, "a cat")):
        save(folder / f"{number}.png", number)
        (folder / f"{number}.txt").write_text(text + "\n")
    run = Run.create(tmp_path / "run")
    import_images(run, folder)
    rows = run.images().select("prompt_id", "sample", "width", "status").rows()
    assert sorted(rows) == [
        ("1", 0, 1, "scored"), ("2", 0, 2, "scored"), ("2", 1, 9, "scored"), ("2", 2, 10, "scored"),
    ]  # fmt: skip
    assert "4 images have 2 captions" in capsys.readouterr().err


def test_metadata_csv_of_an_image_folder(tmp_path):
    folder = tmp_path / "images"
    save(folder / "x.png", 3)
    save(folder / "y.png", 4)
    (folder / "metadata.csv").write_text('file_name,text\ny.png,"a cat, black"\nx.png,a dog\n')
    run = Run.create(tmp_path / "run")
    import_images(run, folder)
    assert run.prompts()["text"].to_list() == ["a cat, black", "a dog"]
    assert run.images()["width"].to_list() == [4, 3]


def test_equal_texts_share_their_images(tmp_path):
    prompts = [Prompt("0", "a cat"), Prompt("1", "a dog"), Prompt("2", "a cat")]
    folder = tmp_path / "images"
    for number in (2, 10, 1, 9):
        save(folder / f"a cat_{number}.png", number)
        save(folder / f"a dog_{number}.png", number + 20)
    table = imported(folder, prompts, samples=2)
    assert table["width"].to_list() == [1, 2, 21, 22, 9, 10]


def test_most_prompts_without_images_are_told(tmp_path, capsys):
    save(tmp_path / "images" / "00001_0.png")
    imported(tmp_path / "images")
    assert "only 1 of 6 prompts have images; the 5 others" in capsys.readouterr().err


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    folder = tmp_path / "images"
    save(folder / "00000_0.png")
    os.mkfifo(folder / "00001_0.png")
    os.mkfifo(folder / "pipe")
    assert imported(folder, SIX[:2])["status"].to_list() == ["scored", "image_missing"]


KINDS = {
    "AVIF": {}, "JPEG": {}, "PNG": {}, "WEBP": {"lossless": True}, "PPM": {}, "BMP": {}, "GIF": {},
    "TIFF": {}, "JPEG2000": {},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["00000_0.jfif", "00000_0", "00000_0.image", "00000_0.png"])
def test_images_are_known_by_what_is_in_them(tmp_path, kind, name):
    data = io.BytesIO()
    Image.new("RGB", (32, 24), (200, 30, 60)).save(data, kind, **KINDS[kind])
    assert image_kind(data.getvalue()[:32]) is not None
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / name).write_bytes(data.getvalue())
    (folder / "notes.txt").write_text("P6 is no picture")
    (folder / "list").write_text("a cat\n")
    row = imported(folder, SIX[:1]).row(0, named=True)
    assert (row["status"], row["width"], row["height"]) == ("scored", 32, 24)
    pixel = read_image(folder / name).getpixel((5, 5))
    assert np.abs(np.subtract(pixel, (200, 30, 60))).max() < 12


def test_kinds_that_need_more_say_so(tmp_path):
    heic = tmp_path / "a.jpg"
    heic.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40)
    with pytest.raises(ImageUnreadableError, match="pip install pillow-heif"):
        read_image(heic)
    for start, message in (
        (b"\xff\x0a" + b"\0" * 40, "JPEG XL"),
        (b"\x76\x2f\x31\x01" + b"\0" * 40, "OpenEXR"),
        (b"<svg/>", "not an image that Pillow reads"),
    ):
        heic.write_bytes(start)
        with pytest.raises(ImageUnreadableError, match=message):
            read_image(heic)


@pytest.mark.parametrize("top", [1.0, 255.0, 65535.0])
def test_float_images_are_scaled_to_their_own_range(tmp_path, top):
    values = np.linspace(0, top, 64, dtype=np.float32).reshape(8, 8)
    Image.fromarray(values).save(tmp_path / "f.tif")
    grey = np.asarray(read_image(tmp_path / "f.tif"))[..., 0].ravel()
    assert np.abs(grey - np.linspace(0, 255, 64)).max() <= 1


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "not finite"), (np.inf, "not finite"), (-1.0, "black must be 0")],
)
def test_floats_that_are_no_brightness_are_refused(tmp_path, value, message):
    values = np.full((4, 4), 0.5, np.float32)
    values[1, 1] = value
    Image.fromarray(values).save(tmp_path / "f.tif")
    with pytest.raises(ImageUnreadableError, match=message):
        read_image(tmp_path / "f.tif")


def test_broken_geneval_folders_are_told(tmp_path):
    save(tmp_path / "g" / "00000" / "samples" / "0000.png")
    for text in ("{", "[1]", '{"prompt": 5}', '{"tag": "x"}'):
        (tmp_path / "g" / "00000" / "metadata.jsonl").write_text(text)
        with pytest.raises(InputError, match="not a GenEval record"):
            imported(tmp_path / "g", None)
