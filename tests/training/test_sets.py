from __future__ import annotations

import csv
import io
import json
import tarfile

import numpy as np
import polars as pl
import pytest
from PIL import Image

from t2i_spatial.curation.exporter import EXPORT, export
from t2i_spatial.errors import InputError
from t2i_spatial.images import read_image
from t2i_spatial.training.latent_cache import Captions
from t2i_spatial.training.sets.reading import read_training_set

CAPTIONS = [f"cat {k}, left of a dog" for k in range(5)]


def picture(number, size=(8, 6)):
    pixels = np.random.default_rng(number).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for k in range(5):
        picture(k).save(folder / f"{k}.png")
    return folder


def png(number):
    data = io.BytesIO()
    picture(number).save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def read(tmp_path):
    """Reads a set, and gives what is in it."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return lambda source, *captions: read_training_set(source, scratch, captions)


def check(examples, texts=CAPTIONS, images=range(5)):
    assert [example.text for example in examples] == list(texts)
    for example, number in zip(examples, images, strict=True):
        assert np.array_equal(np.asarray(read_image(example.path)), np.asarray(picture(number)))


def records():
    return [{"file_name": f"{k}.png", "text": text} for k, text in enumerate(CAPTIONS)]


def write_csv(folder, rows):
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("as_file", [False, True])
def test_metadata_in_every_form(images, read, form, as_file):
    if form == "jsonl":
        (images / "metadata.jsonl").write_text("\n".join(map(json.dumps, records())))
    elif form == "csv":
        write_csv(images, records())
    else:
        pl.DataFrame(records()).write_parquet(images / "metadata.parquet")
    check(read(images / f"metadata.{form}" if as_file else images))


def test_csv_has_weights_boxes_and_lines_in_captions(images, read):
    objects = json.dumps([{"phrase": "cat", "box": [0, 0, 4, 4]}])
    rows = [{**row, "weight": 1 + k % 2, "objects": objects} for k, row in enumerate(records())]
    rows[2]["text"] = 'a "cat"\nleft of a dog'
    write_csv(images, rows)
    examples = read(images)
    assert examples[2].text == 'a "cat"\nleft of a dog'
    assert [e.weight for e in examples] == pytest.approx([1 / 1.4, 2 / 1.4] * 2 + [1 / 1.4])
    assert examples[0].objects[0].box == (0, 0, 4, 4)
    write_csv(images, [{**row, "weight": "much"} for row in records()])
    with pytest.raises(InputError, match=r"metadata.csv, line 2: weight 'much'"):
        read(images)


def test_captions_by_name_one_or_several(images, read):
    rows = [
        {"file_name": f"{k}.png", "long": f"long {k}", "short": [f"s {k}", f"t {k}"]}
        for k in range(5)
    ]
    (images / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match=r"line 1: needs file_name and text"):
        read(images)
    check(read(images, "long"), [f"long {k}" for k in range(5)])
    assert read(images, "short", "long")[1].captions == ("s 1", "t 1", "long 1")
    with pytest.raises(InputError, match=r"line 1: no caption 'lang'; there is file_name, long"):
        read(images, "lang")


def test_one_of_several_captions_is_drawn_every_epoch(images, read):
    rows = [{**row, "text": [f"{row['text']} {m}" for m in "abc"]} for row in records()]
    (images / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    captions = Captions(read(images))
    everything = list(range(5))
    drawn = {epoch: captions.drawn(everything, [epoch] * 5, seed=3).tolist() for epoch in range(40)}
    assert captions.drawn([4, 1], [7, 9], seed=3).tolist() == [drawn[7][4], drawn[9][1]]
    for index in everything:
        said = [captions.texts[numbers[index]] for numbers in drawn.values()]
        assert {text[:-2] for text in said} == {CAPTIONS[index]}
        assert {text[-1] for text in said} == set("abc")
    assert captions.drawn(everything, [0] * 5, seed=4).tolist() != drawn[0]


def test_images_with_text_files_beside_them(images, read):
    for k, text in enumerate(CAPTIONS):
        (images / f"{k}.txt").write_text(f"{text}\n")
    check(read(images))
    check(read(images.parent))  # in a sub-folder
    (images / "3.txt").unlink()
    with pytest.raises(InputError, match=r"1 of 5 images of .* have no caption \(.txt\): 3.png"):
        read(images)
    with pytest.raises(InputError, match="a caption column has no effect"):
        read(images, "text")


def test_kohya_subsets_inherit_repeat_and_prefix(images, read, tmp_path, capsys):
    for k, text in enumerate(CAPTIONS[:3]):
        (images / f"{k}.caption").write_text(f"{text}\nsecond line {k}\n")
    (tmp_path / "more").mkdir()
    for k in (3, 4):
        (images / f"{k}.png").rename(tmp_path / "more" / f"{k}.png")
    (tmp_path / "set.toml").write_text(
        """
[general]
flip_aug = true
[[datasets]]
[[datasets.subsets]]
image_dir = "images"
caption_prefix = "photo:"
[[datasets.subsets]]
image_dir = "more"
class_tokens = "shs dog"
num_repeats = 3
"""
    )
    examples = read(tmp_path / "set.toml")
    check(examples, [*(f"photo: {text}" for text in CAPTIONS[:3]), "shs dog", "shs dog"])
    assert [e.weight for e in examples] == pytest.approx([5 / 9] * 3 + [5 / 3] * 2)
    assert "set.toml: flip_aug is not done" in capsys.readouterr().err
    text = (tmp_path / "set.toml").read_text()
    (tmp_path / "set.toml").write_text(text.replace('"photo:"', '"photo:"\nenable_wildcard = true'))
    assert read(tmp_path / "set.toml")[1].more == ("photo: second line 1",)
    (tmp_path / "set.toml").write_text(text.replace("more", "nothing"))
    with pytest.raises(InputError, match="image_dir 'nothing' has no images"):
        read(tmp_path / "set.toml")
    (tmp_path / "set.toml").write_text("[model]\nname = 1\n")
    with pytest.raises(InputError, match="not a kohya dataset TOML"):
        read(tmp_path / "set.toml")


def test_kohya_metadata_file(images, read, tmp_path):
    entries = {str(k): {"caption": text, "tags": "a, b"} for k, text in enumerate(CAPTIONS)}
    (tmp_path / "meta.json").write_text(json.dumps(entries))
    (tmp_path / "set.toml").write_text(
        '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "images"\nmetadata_file = "meta.json"\n'
    )
    check(read(tmp_path / "set.toml"), [f"{text}, a, b" for text in CAPTIONS])


def write_tar(path, samples):
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in samples:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def samples(numbers):
    for k in numbers:
        more = {"caption": f"other {k}", "weight": 1.0}
        yield f"./part/{k:03}.jpg", png(k)  # looked at by content
        yield f"./part/{k:03}.json", json.dumps(more).encode()
        yield f"./part/{k:03}.txt", f"{CAPTIONS[k]}\n".encode()


def test_webdataset_of_others(tmp_path, read):
    folder = tmp_path / "wds"
    folder.mkdir()
    write_tar(folder / "0.tar", samples(range(3)))
    write_tar(folder / "1.tar", samples(range(3, 5)))
    check(read(folder))
    check(read(folder, "caption"), [f"other {k}" for k in range(5)])
    write_tar(tmp_path / "all.tar.gz", samples(range(5)))
    check(read(tmp_path / "all.tar.gz"))
    write_tar(folder / "1.tar", [("9.txt", b"no image")])
    with pytest.raises(InputError, match=r"1.tar, /9: 0 images; one is needed"):
        read(folder)
    (folder / "1.tar").write_bytes((folder / "0.tar").read_bytes()[:700])
    with pytest.raises(InputError, match=r"1.tar"):
        read(folder)


@pytest.mark.parametrize("stored", ["struct", "bytes", "path"])
def test_parquet_of_others(tmp_path, images, read, stored):
    cells = {
        "struct": [{"bytes": png(k), "path": None} for k in range(5)],
        "bytes": [png(k) for k in range(5)],
        "path": [{"bytes": None, "path": f"images/{k}.png"} for k in range(5)],
    }[stored]
    kind = pl.Binary if stored == "bytes" else pl.Struct({"bytes": pl.Binary, "path": pl.String})
    column = pl.Series("img", cells, dtype=kind)
    pl.DataFrame({"img": column, "caption": CAPTIONS}).write_parquet(tmp_path / "set.parquet")
    check(read(tmp_path / "set.parquet"))
    check(read(tmp_path))
    pl.DataFrame({"caption": CAPTIONS}).write_parquet(tmp_path / "set.parquet")
    with pytest.raises(InputError, match="no column of image bytes; there is caption"):
        read(tmp_path / "set.parquet")


def test_the_training_split_of_a_folder_is_taken(tmp_path, read):
    (tmp_path / "data").mkdir()
    column = pl.Series("image", [png(k) for k in range(5)])
    table = pl.DataFrame({"image": column, "text": CAPTIONS})
    table.write_parquet(tmp_path / "data" / "train-0.parquet")
    table[:1].write_parquet(tmp_path / "data" / "test-0.parquet")
    check(read(tmp_path))


def test_data_sets_saved_to_disk_or_named(tmp_path, read):
    import datasets

    column = [{"bytes": png(k), "path": None} for k in range(5)]
    features = datasets.Features({"photo": datasets.Image(), "text": datasets.Value("string")})
    made = datasets.Dataset.from_dict({"photo": column, "text": CAPTIONS}, features)
    made.save_to_disk(tmp_path / "one")
    check(read(tmp_path / "one"))
    datasets.DatasetDict(train=made, test=made.select([0])).save_to_disk(tmp_path / "two")
    check(read(tmp_path / "two"))
    (tmp_path / "hub").mkdir()
    made.to_parquet(tmp_path / "hub" / "train.parquet")
    check(read(f"hf:{tmp_path / 'hub'}"))
    with pytest.raises(InputError, match="cannot load the data set 'nobody/nothing'"):
        read("hf:nobody/nothing")


@pytest.mark.parametrize("resolution", [None, 8])
@pytest.mark.parametrize("name", ["imagefolder", "kohya", "webdataset", "parquet"])
def test_every_export_of_our_own(images, read, tmp_path, name, resolution):
    rows = pl.DataFrame(
        [
            {"prompt_id": f"p{k}", "sample": 0, "path": str(images / f"{k}.png"), "text": text,
             "score": 0.5, "margin": None, "weight": 1.0, "mirrored": False, "crop": None,
             "width": 8, "height": 6, "objects": []}
            for k, text in enumerate(CAPTIONS)
        ],
        schema=EXPORT,
    )  # fmt: skip
    examples = read(export(rows, tmp_path / "set", name, resolution=resolution))
    assert [example.text for example in examples] == CAPTIONS
    for number, example in enumerate(examples):
        image = np.asarray(read_image(example.path))
        if resolution is None and name != "kohya":  # which pads to its buckets
            assert np.array_equal(image, np.asarray(picture(number)))
        else:
            assert min(image.shape[:2]) >= (resolution or 6)


def test_what_is_no_training_set(tmp_path, read):
    with pytest.raises(InputError, match="no such training set"):
        read(tmp_path / "nothing")
    with pytest.raises(InputError, match="no other training set; what it may be:\n  a folder with"):
        read(tmp_path)
    (tmp_path / "a.docx").write_bytes(b"x")
    with pytest.raises(InputError, match="is no training set"):
        read(tmp_path / "a.docx")
