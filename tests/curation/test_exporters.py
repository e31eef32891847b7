from __future__ import annotations

import json
import tarfile
import tomllib

import numpy as np
import polars as pl
import pytest
import webdataset
from datasets import load_dataset
from PIL import Image, ImageOps

from t2i_spatial.curation.exporter import EXPORT, EXPORTERS, export
from t2i_spatial.errors import InputError, T2ISpatialError
from tests.curation.runs import drawing

FORMATS = ("imagefolder", "kohya", "parquet", "webdataset")


@pytest.fixture
def rows(tmp_path):
    """Five images, the last a mirrored copy of the first, the fourth a part of its file."""
    images = tmp_path / "images"
    images.mkdir()
    entries = []
    for number in range(4):
        drawing(number, (96, 64)).save(images / f"{number}.png")
        entries.append(
            {
                "prompt_id": f"p/{number}",
                "sample": number,
                "path": str(images / f"{number}.png"),
                "text": f"a cat “{number}”\nto the left of a dog",
                "score": 0.5 + number / 10,
                "margin": None if number == 2 else 0.25,
                "weight": 1.0 + number,
                "mirrored": False,
                "crop": [10.0, 0.0, 74.0, 64.0] if number == 3 else None,
                "width": 96,
                "height": 64,
                "objects": [{"phrase": "cat", "box": [24.0, 16.0, 48.0, 32.0]}],
            }
        )
    entries.append(entries[0] | {"mirrored": True, "text": "a cat to the right of a dog"})
    return pl.DataFrame(entries, schema=EXPORT)


def expected(rows):
    """What each image must look like when it is not resized."""
    found = []
    for row in rows.iter_rows(named=True):
        with Image.open(row["path"]) as image:
            image = image.convert("RGB")
        if row["crop"]:
            image = image.crop([int(v) for v in row["crop"]])
        found.append(np.asarray(ImageOps.mirror(image) if row["mirrored"] else image))
    return found


def same(images, rows):
    return [np.array_equal(np.asarray(i), e) for i, e in zip(images, expected(rows), strict=True)]


def test_imagefolder_loads_with_all_columns(rows, tmp_path):
    folder = export(rows, tmp_path / "set", "imagefolder")
    data = load_dataset("imagefolder", data_dir=str(folder), split="train")
    assert all(same(data["image"], rows))
    for column in ("text", "prompt_id", "sample", "score", "margin", "weight", "mirrored"):
        assert data[column] == rows[column].to_list()


def test_boxes_follow_crop_resize_and_mirroring(rows, tmp_path):
    folder = export(rows, tmp_path / "set", "imagefolder", resolution=32)
    data = load_dataset("imagefolder", data_dir=str(folder), split="train")
    boxes = [objects[0]["box"] for objects in data["objects"]]
    assert boxes[0] == [8, 8, 16, 16]
    assert boxes[3] == [7, 8, 19, 16]
    assert boxes[4] == [16, 8, 24, 16]
    unknown = rows.with_columns(width=pl.lit(None, dtype=pl.Int32))
    folder = export(unknown, tmp_path / "set", "imagefolder")
    line = (folder / "train/metadata.jsonl").read_text("utf-8").splitlines()[0]
    assert json.loads(line)["objects"] == []


def test_a_column_that_only_later_rows_have_is_left_out(rows, tmp_path, monkeypatch):
    from t2i_spatial.curation.exporters import imagefolder as module

    monkeypatch.setattr(module, "TYPED_BY", 1)
    late = rows.with_columns(margin=pl.Series([None, None, 0.5, 0.5, None], dtype=pl.Float64))
    folder = export(late, tmp_path / "set", "imagefolder")
    data = load_dataset("imagefolder", data_dir=str(folder), split="train")
    assert "margin" not in data.column_names and "score" in data.column_names
    none = rows.with_columns(margin=pl.lit(None, pl.Float64))
    folder = export(none, tmp_path / "set", "imagefolder")
    data = load_dataset("imagefolder", data_dir=str(folder), split="train")
    assert data["margin"] == [None] * 5


def test_imagefolder_has_no_text_files_that_would_hide_the_images(rows, tmp_path):
    folder = export(rows, tmp_path / "set", "imagefolder")
    assert {p.suffix for p in folder.rglob("*") if p.is_file()} == {".png", ".jsonl", ""}
    by_name = load_dataset(str(folder), split="train")  # the trainers' --dataset_name FOLDER
    assert set(by_name.column_names) >= {"image", "text"}


@pytest.mark.parametrize("inner", ["", "train"])
def test_diffusers_lora_script_sees_whole_images(rows, tmp_path, inner):
    """The data part of train_text_to_image_lora.py: its load call, transforms and loader."""
    import torch
    from torchvision import transforms

    folder = export(rows, tmp_path / "set", "imagefolder", resolution=32) / inner
    data = load_dataset("imagefolder", data_files={"train": f"{folder}/**"})["train"]
    assert data.column_names[:2] == ["image", "text"]  # its defaults are the first two columns
    transform = transforms.Compose(
        [
            transforms.Resize(32, interpolation=transforms.InterpolationMode.BILINEAR),
            transforms.RandomCrop(32),
            transforms.ToTensor(),
        ]
    )

    def preprocess(examples):
        pixels = [transform(image.convert("RGB")) for image in examples["image"]]
        return {"pixel_values": pixels, "text": examples["text"]}

    loader = torch.utils.data.DataLoader(data.with_transform(preprocess), batch_size=5)
    (batch,) = loader
    assert batch["text"] == rows["text"].to_list()
    for tensor, image in zip(batch["pixel_values"], expected(rows), strict=True):
        whole = Image.fromarray(image).resize((32, 32), Image.Resampling.LANCZOS)
        assert np.abs(np.asarray(whole) / 255 - tensor.permute(1, 2, 0).numpy()).max() < 0.05


def test_webdataset_reads_the_shards(rows, tmp_path, monkeypatch):
    from t2i_spatial.curation.exporters import webdataset as module

    monkeypatch.setattr(module, "ROWS_PER_SHARD", 2)
    folder = export(rows, tmp_path / "set", "webdataset")
    shards = sorted(str(p) for p in folder.glob("*.tar"))
    assert len(shards) == 3
    data = list(webdataset.WebDataset(shards, shardshuffle=False).decode("pil"))
    assert all(same([sample["png"] for sample in data], rows))
    assert [sample["txt"] for sample in data] == rows["text"].to_list()
    assert [sample["json"]["weight"] for sample in data] == rows["weight"].to_list()
    assert [sample["__key__"] for sample in data] == [f"{number:09}" for number in range(5)]
    keys = pl.read_parquet(folder / "00001.parquet")
    assert keys["key"].to_list() == ["000000002", "000000003"]
    assert keys["caption"].to_list() == rows["text"].to_list()[2:4]
    assert keys["margin"].to_list() == [None, 0.25]


def test_webdataset_shards_are_cut_by_size_and_listed(rows, tmp_path, monkeypatch):
    from t2i_spatial.curation.exporters import webdataset as module

    monkeypatch.setattr(module, "SHARD_BYTES", 60_000)
    many = pl.concat([rows] * 8)
    folder = export(many, tmp_path / "set", "webdataset")
    index = json.loads((folder / "index.json").read_text("utf-8"))
    assert len(index["shardlist"]) > 1
    for entry in index["shardlist"]:
        size = (folder / entry["url"]).stat().st_size
        assert entry["filesize"] == size <= 60_000 + tarfile.RECORDSIZE
    shards = [str(folder / entry["url"]) for entry in index["shardlist"]]
    read = [list(webdataset.WebDataset(shard, shardshuffle=False)) for shard in shards]
    assert [len(samples) for samples in read] == [e["nsamples"] for e in index["shardlist"]]
    assert [s["txt"].decode() for part in read for s in part] == many["text"].to_list()


def test_webdataset_has_one_image_format_and_no_type_that_changes(rows, tmp_path):
    photos = rows.filter(~pl.col("mirrored") & pl.col("crop").is_null())
    for path in photos["path"][:2]:
        with Image.open(path) as image:
            image.save(path, "JPEG", quality=90)
    for chosen, suffix in ((photos, "png"), (photos[:2], "jpg"), (rows, "png")):
        folder = export(chosen, tmp_path / "set", "webdataset")
        names = []
        for shard in sorted(folder.glob("*.tar")):
            with tarfile.open(shard) as archive:
                names += archive.getnames()
        assert names == sorted(names)
        assert [name for name in names if name.endswith(suffix)] == names[::3] or suffix == "png"
        assert {name.partition(".")[2] for name in names} == {suffix, "json", "txt"}
        data = load_dataset(str(folder), split="train")
        assert all(same(data[suffix], chosen))
        assert data["txt"] == chosen["text"].to_list()
        assert [set(entry) for entry in data["json"]] == [set(data["json"][0])] * len(chosen)
        assert ("margin" in data["json"][0]) == (chosen["margin"].null_count() == 0)


@pytest.mark.parametrize(
    ("name", "column"), [("parquet", "text"), ("imagefolder", "text"), ("webdataset", "txt")]
)
def test_another_set_of_the_same_name_is_not_taken_from_a_cache(rows, tmp_path, name, column):
    def captions(place, prefix):
        said = rows.with_columns(pl.lit(prefix) + pl.col("text"))
        folder = export(said, tmp_path / place / "curated", name)
        data = load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
        assert data[column] == said["text"].to_list()

    captions("first", "a drawing of ")
    captions("second", "a photo of ")
    captions("first", "a painting of ")  # curated anew
    captions("first", "a drawing of ")


def test_parquet_loads_as_images_here_and_as_the_hub_does(rows, tmp_path, monkeypatch):
    from t2i_spatial.curation.exporters import parquet as module

    monkeypatch.setattr(module, "ROWS_PER_FILE", 2)
    folder = export(rows, tmp_path / "set", "parquet")
    assert sorted(p.name for p in (folder / "data").iterdir()) == [
        f"train-{k:05}-of-00003.parquet" for k in range(3)
    ]
    data = load_dataset(str(folder), split="train")
    assert data.features["image"].dtype == "PIL.Image.Image"
    assert all(same(data["image"], rows))
    assert data["text"] == rows["text"].to_list()
    assert data["margin"] == rows["margin"].to_list()
    card = (folder / "README.md").read_text("utf-8")
    assert "5 images" in card
    assert "1 of them are mirrored" in card


def test_kohya_has_captions_beside_images_and_never_flips(rows, tmp_path):
    folder = export(rows, tmp_path / "set", "kohya", resolution=64)
    config = tomllib.loads((folder / "dataset.toml").read_text("utf-8"))
    assert config["general"]["flip_aug"] is False
    assert config["general"]["random_crop"] is False
    (dataset,) = config["datasets"]
    assert dataset["resolution"] == 64
    (subset,) = dataset["subsets"]
    images = sorted((folder / subset["image_dir"]).glob("*.png"))
    assert len(images) == 5
    captions = [p.with_suffix(config["general"]["caption_extension"]) for p in images]
    assert [p.read_text("utf-8") for p in captions] == [
        " ".join(text.split()) + "\n" for text in rows["text"]
    ]


def cut_by_kohya(size, config):
    """What the trainer cuts off an image, as (across, down) in pixels of the scaled image.

    The arithmetic of `BucketManager.select_bucket` of kohya-ss/sd-scripts.
    """
    area, step = config["resolution"] ** 2, config["bucket_reso_steps"]
    low, high = config["min_bucket_reso"], config["max_bucket_reso"]
    assert low <= config["resolution"] <= high  # asserted by the trainer
    side = int(area**0.5) // step * step
    shapes = {(side, side)}
    for width in range(low, high + 1, step):
        height = min(high, area // width // step * step)
        if height >= low:
            shapes |= {(width, height), (height, width)}
    shapes = sorted(shapes)
    errors = np.array([w / h for w, h in shapes]) - size[0] / size[1]
    wide, tall = shapes[int(np.abs(errors).argmin())]
    scale = tall / size[1] if size[0] / size[1] > wide / tall else wide / size[0]
    return tuple(int(s * scale + 0.5) - b for s, b in zip(size, (wide, tall), strict=True)), scale


@pytest.mark.parametrize("resolution", [None, 32, 64, 96, 500, 512])
@pytest.mark.parametrize("size", [(96, 64), (64, 97), (300, 201), (50, 200), (64, 64)])
def test_kohya_cuts_nothing_but_padding(rows, tmp_path, size, resolution):
    path = str(tmp_path / "images/0.png")
    drawing(0, size).save(path)
    row = rows[:1].with_columns(
        *(pl.lit(v, pl.Int32).alias(n) for n, v in zip(("width", "height"), size, strict=True))
    )
    folder = export(row, tmp_path / "set", "kohya", resolution=resolution)
    config = tomllib.loads((folder / "dataset.toml").read_text("utf-8"))["datasets"][0]
    with Image.open(folder / "images/000001.png") as image:
        written = np.asarray(image)
    (across, down), scale = cut_by_kohya(written.shape[1::-1], config)
    whole = size if resolution is None else (resolution, resolution)
    added = written.shape[1] - whole[0], written.shape[0] - whole[1]
    assert across <= added[0] * scale + 1
    assert down <= added[1] * scale + 1
    left, top = added[0] // 2, added[1] // 2
    if resolution is None:
        middle = written[top : top + size[1], left : left + size[0]]
        assert np.array_equal(middle, np.asarray(drawing(0, size)))
    assert 0 in added


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_repeatable_to_the_byte(rows, tmp_path, name):
    def content():
        folder = export(rows, tmp_path / "set", name, resolution=32)
        return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    assert content() == content()


@pytest.mark.parametrize("name", FORMATS)
def test_a_missing_image_stops_the_export_and_leaves_nothing(rows, tmp_path, name):
    (tmp_path / "images" / "2.png").unlink()
    with pytest.raises(T2ISpatialError, match=r"2\.png: no such file"):
        export(rows, tmp_path / "set", name)
    assert [p.name for p in tmp_path.iterdir()] == ["images"]


def test_boxes_of_another_size_stop_the_export(rows, tmp_path):
    cropped = rows.filter(pl.col("crop").is_not_null())[:1].with_columns(
        pl.lit(999, pl.Int32).alias("width"), pl.lit(999, pl.Int32).alias("height")
    )
    with pytest.raises(T2ISpatialError, match="boxes are those of 999 x 999"):
        export(cropped, tmp_path / "out", "imagefolder")


def test_all_formats_are_registered():
    assert set(FORMATS) <= set(EXPORTERS)


def test_a_full_disk_is_one_line_and_the_old_set_stays(rows, tmp_path, monkeypatch):
    folder = export(rows, tmp_path / "set", "imagefolder")
    before = (folder / "train/metadata.jsonl").read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("t2i_spatial.curation.exporter.shutil.copyfile", full)
    with pytest.raises(T2ISpatialError, match=r"cannot write .*: No space left on device"):
        export(rows[:2], folder, "imagefolder")
    assert (folder / "train/metadata.jsonl").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images", "set"]


def test_refusals(rows, tmp_path):
    with pytest.raises(InputError, match="nothing to export"):
        export(rows[:0], tmp_path / "set", "imagefolder")
    with pytest.raises(InputError, match="at least 8 pixels"):
        export(rows, tmp_path / "set", "imagefolder", resolution=4)
    with pytest.raises(InputError, match="unknown exporter 'kohia'; did you mean 'kohya'"):
        export(rows, tmp_path / "set", "kohia")
    with pytest.raises(InputError, match="is not a curated set"):
        export(rows, tmp_path / "images", "kohya")


def test_a_caption_keeps_its_letters(rows, tmp_path):
    folder = export(rows, tmp_path / "set", "imagefolder")
    lines = (folder / "train/metadata.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == 5
    assert json.loads(lines[1])["text"] == "a cat “1”\nto the left of a dog"
