from __future__ import annotations

import io
import tracemalloc

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from t2i_spatial.bundled.scenes import NOUNS, RELATIONS, render, sample_scene
from t2i_spatial.curation.filters.near_duplicates import (
    near_duplicates,
    perceptual_hash,
    thumbnail,
)
from t2i_spatial.curation.selection import select
from tests.curation.runs import drawing


def scene(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    nouns = [NOUNS[i] for i in rng.permutation(len(NOUNS))[:2]]
    relation = RELATIONS[rng.integers(4)]
    return Image.fromarray(render(sample_scene(rng, nouns=nouns, relation=relation))[0])


def found(images, **options):
    hashes = np.array([perceptual_hash(image) for image in images], np.uint64)
    looks = np.array([thumbnail(image) for image in images]).reshape(-1, 16, 16, 3)
    return near_duplicates(hashes, looks, **options).tolist()


def jpeg(image, quality=60):
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return Image.open(data).convert("RGB")


def noisy(image):
    noise = np.random.default_rng(1).normal(0, 8, (*image.size[::-1], 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    "change", [jpeg, noisy, lambda i: i.resize((50, 50)), lambda i: i.resize((128, 128))]
)
def test_a_copy_that_only_went_through_a_codec_is_found(seed, change):
    image = scene(seed)
    assert found([image, change(image)]) == [-1, 0]


def test_different_scenes_stay_apart():
    assert sum(i >= 0 for i in found([scene(seed) for seed in range(200)])) <= 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 12))
def test_a_scene_and_its_mirror_image_are_never_merged(seed, distance):
    image = scene(seed)
    assert found([image, ImageOps.mirror(image)], distance=distance, colour=255.0) == [-1, -1]
    assert (perceptual_hash(image) ^ perceptual_hash(ImageOps.mirror(image))).bit_count() > 12


def test_a_mirror_image_that_the_hash_cannot_tell_is_told_by_its_colours():
    image = Image.new("RGB", (64, 64), (128, 128, 128))
    image.paste((150, 110, 128), (0, 0, 20, 64))  # about the same grey
    assert (perceptual_hash(image) ^ perceptual_hash(ImageOps.mirror(image))).bit_count() <= 12
    assert found([image, ImageOps.mirror(image)], distance=12) == [-1, -1]
    assert found([image, jpeg(image)], distance=12) == [-1, 0]


def test_the_same_shapes_in_another_colour_are_another_image():
    image = scene(3)
    red, green, blue = image.split()
    other = Image.merge("RGB", (green.point(lambda v: v // 2), red, blue))
    assert found([image, other], distance=12) == [-1, -1]


def test_a_chain_of_small_changes_does_not_eat_everything():
    hashes = np.array([0, 0b1111, 0b11111111], np.uint64)
    looks = np.zeros((3, 16, 16, 3), np.uint8)
    assert near_duplicates(hashes, looks, distance=4).tolist() == [-1, 0, -1]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 12))
def test_bands_find_every_close_pair(seed, distance):
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, 60, dtype=np.uint64)
    for i in range(30, 60):  # half of them a few bits from another one
        for bit in rng.integers(0, 64, rng.integers(0, 14)):
            hashes[i] = hashes[i - 30] ^ np.uint64(1 << int(bit))
    looks = np.zeros((60, 16, 16, 3), np.uint8)
    expected = [-1] * 60
    for later in range(60):
        for earlier in range(later):
            close = (int(hashes[later]) ^ int(hashes[earlier])).bit_count() <= distance
            if close and expected[earlier] < 0:
                expected[later] = earlier
                break
    assert near_duplicates(hashes, looks, distance=distance).tolist() == expected


def test_thousands_of_copies_of_one_image_cost_little():
    hashes = np.full(20_000, 12345, np.uint64)
    looks = np.zeros((20_000, 16, 16, 3), np.uint8)
    tracemalloc.start()
    try:
        assert (near_duplicates(hashes, looks)[1:] == 0).all()
        assert tracemalloc.get_traced_memory()[1] < 50e6  # every pair would be 200 million
    finally:
        tracemalloc.stop()


def test_nothing_and_one_image():
    assert found([]) == []
    assert found([scene(0)]) == [-1]


def pictures(folder, images):
    rows = []
    for number, image in enumerate(images):
        path = folder / f"{number}.png"
        image.save(path)
        rows.append({"prompt_id": str(number), "sample": 0, "image": path.name, "path": str(path)})
    return pl.LazyFrame(rows).with_columns(text=pl.lit("a caption"))


def test_exact_duplicates_are_decided_by_pixels_not_files(tmp_path):
    rows = pictures(tmp_path, [drawing(1), drawing(2), drawing(1)])
    with Image.open(tmp_path / "2.png") as image:
        image.save(tmp_path / "2.png", compress_level=1, pnginfo=None)
    assert (tmp_path / "0.png").read_bytes() != (tmp_path / "2.png").read_bytes()
    chosen = select(rows, ["exact_duplicates"], tmp_path / "selection.parquet").frame()
    assert chosen["kept"].to_list() == [True, True, False]
    assert chosen["reason"][2] == "the same pixels as 0, sample 0"


def test_a_truncated_image_is_refused_with_its_reason(tmp_path):
    rows = pictures(tmp_path, [drawing(1), drawing(2)])
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:100])
    selection = select(rows, ["near_duplicates"], tmp_path / "selection.parquet")
    assert [(s.name, s.refused) for s in selection.stages] == [
        ("readable", 1),
        ("near_duplicates", 0),
    ]
    assert "cannot be decoded" in selection.frame()["reason"][1]


@pytest.mark.parametrize(
    ("seed", "recorded"),
    enumerate(
        [0xFC9848E313C47A3B, 0x8CE3D8B83ACB4B34, 0xFC6C8D47DB2400DB,
         0xDD79E29CD5EE0011, 0x9141A6A6C285FF7A, 0xCE62F0FED33A00C5]
    ),
)  # fmt: skip
def test_the_hash_is_that_of_imagehash(seed, recorded):
    tiles = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(np.kron(tiles, np.ones((10, 10, 1), np.uint8)))
    assert perceptual_hash(image) == recorded
