from __future__ import annotations

import io
import itertools
import tracemalloc

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageOps

from t2i_spatial.bundled.scenes import NOUNS, RELATIONS, render, sample_scene
from t2i_spatial.curation.close_hashes import Hashes
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


COLOURS = {
    "red": (220, 40, 40), "green": (40, 160, 60), "blue": (50, 80, 210), "yellow": (235, 215, 60),
    "orange": (240, 140, 40), "purple": (130, 60, 170), "pink": (245, 150, 190),
    "brown": (130, 80, 45), "black": (25, 25, 25), "white": (240, 240, 240),
}  # fmt: skip


def two_discs(left, right, side, disc):
    image = Image.new("RGB", (side, side), (128, 128, 128))
    draw, top, edge = ImageDraw.Draw(image), (side - disc) // 2, side // 8
    draw.ellipse((edge, top, edge + disc, top + disc), fill=COLOURS[left])
    draw.ellipse((side - edge - disc, top, side - edge, top + disc), fill=COLOURS[right])
    return image


@pytest.mark.parametrize(("side", "disc"), [(64, 12), (64, 20), (256, 24), (256, 64)])
def test_exchanged_objects_are_another_image_for_every_pair_of_colours(side, disc):
    for pair in itertools.combinations(COLOURS, 2):
        first, second = (two_discs(*order, side, disc) for order in (pair, pair[::-1]))
        assert found([first, second, jpeg(first, 90)], distance=12) == [-1, -1, 0], pair


def test_only_equal_pixels_join_different_captions():
    hashes = np.zeros(6, np.uint64)
    looks = np.zeros((6, 16, 16, 3), np.uint8)
    captions = np.array([0, 1, 0, 1, 2, 1])
    pixels = np.array([0, 1, 2, 0, 3, 4])
    near = near_duplicates(hashes, looks, captions=captions, pixels=pixels)
    assert near.tolist() == [-1, -1, 0, 1, -1, 1]
    assert near_duplicates(hashes, looks, captions=captions).tolist() == [-1, -1, 0, 1, -1, 1]
    apart = np.array([0, 2**64 - 1, 0, 2**40 - 1, 0, 0], np.uint64)
    assert near_duplicates(apart, looks, captions=captions, pixels=pixels).tolist() == [
        -1, -1, 0, 0, -1, -1,
    ]  # fmt: skip


def test_a_chain_of_small_changes_does_not_eat_everything():
    hashes = np.array([0, 0b1111, 0b11111111], np.uint64)
    looks = np.zeros((3, 16, 16, 3), np.uint8)
    assert near_duplicates(hashes, looks, distance=4).tolist() == [-1, 0, -1]


def crowd(seed, count, captions):
    """Hashes of which most are a few bits from another, looks in three colours, twins of pixels."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    for i in range(count // 4, count):
        hashes[i] = hashes[rng.integers(i)]
        for bit in rng.integers(0, 64, rng.integers(0, 9)):
            hashes[i] ^= np.uint64(1 << int(bit))
    looks = np.zeros((count, 16, 16, 3), np.uint8)
    looks[:, :, :8] = (rng.integers(0, 3, count) * 90)[:, None, None, None]
    return hashes, looks, rng.integers(0, captions, count), rng.integers(0, 2 * count, count)


def one_after_another(hashes, looks, captions, pixels, distance):
    """The definition, image by image."""
    first = [-1] * len(hashes)
    for later in range(len(hashes)):
        stays = [i for i in range(later) if first[i] < 0]
        alike = [
            i
            for i in stays
            if captions[i] == captions[later]
            and (int(hashes[i]) ^ int(hashes[later])).bit_count() <= distance
            and (looks[i] == looks[later]).all()
        ]
        twins = [i for i in stays if pixels[i] == pixels[later]]
        first[later] = (alike or twins or [-1])[0]
    return first


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 12), st.sampled_from([1, 3, 60]))
def test_the_search_finds_what_the_definition_says(seed, distance, captions):
    hashes, looks, said, pixels = crowd(seed, 120, captions)
    expected = one_after_another(hashes, looks, said, pixels, distance)
    near = near_duplicates(hashes, looks, distance=distance, captions=said, pixels=pixels)
    assert near.tolist() == expected


@pytest.mark.parametrize("captions", [1, 4])
def test_little_memory_gives_the_same_result(captions):
    hashes, looks, said, pixels = crowd(5, 1500, captions)
    options = {"captions": said, "pixels": pixels, "distance": 8}
    enough = near_duplicates(hashes, looks, **options)
    assert 300 < (enough >= 0).sum() < 1500
    assert near_duplicates(hashes, looks, memory=10_000, **options).tolist() == enough.tolist()


@pytest.mark.parametrize("bands", range(4, 9))
def test_every_number_of_bands_finds_every_close_pair_once(bands, monkeypatch):
    monkeypatch.setattr(Hashes, "bands", lambda self, rows: bands)
    values = crowd(7, 400, 1)[0]
    search = Hashes(values, np.zeros(400, np.int64), 4, 10**6)
    later, earlier = search.within(np.arange(400), 10**6)
    pairs = sorted(zip(later.tolist(), earlier.tolist(), strict=True))
    numbers = [int(value) for value in values]
    assert pairs == [
        (i, j) for i in range(400) for j in range(i) if (numbers[i] ^ numbers[j]).bit_count() <= 4
    ]
    half = search.between(np.arange(200), np.arange(200, 400))
    across = sorted((int(b), int(a)) for part in half for a, b in zip(*part, strict=True))
    assert across == [pair for pair in pairs if pair[0] >= 200 > pair[1]]


def test_thousands_of_look_alikes_cost_little():
    rng = np.random.default_rng(0)
    hashes = np.full(20_000, 12345, np.uint64) ^ (
        np.uint64(1) << rng.integers(0, 64, 20_000).astype(np.uint64)
    )
    looks = rng.integers(0, 4, (20_000, 16, 16, 3), np.uint8)
    looks[:, :, :8] += 90
    tracemalloc.start()
    try:
        assert (near_duplicates(hashes, looks, memory=40_000_000)[1:] == 0).all()
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


def test_exchanged_objects_and_other_captions_stay_in_the_set(tmp_path):
    first = two_discs("yellow", "orange", 64, 16)
    images = [first, jpeg(first, 90), jpeg(first, 90), first, two_discs("orange", "yellow", 64, 16)]
    rows = pictures(tmp_path, images)
    captions = ["a", "a", "b", "c", "a"]
    rows = rows.with_columns(text=pl.Series(captions))
    for rule in ("near_duplicates", {"filter": "near_duplicates", "memory": 1}):
        chosen = select(rows, [rule], tmp_path / "selection.parquet").frame()
        assert chosen["kept"].to_list() == [True, False, True, False, True]
        assert chosen["reason"].to_list() == [
            None, "looks like 0, sample 0", None, "looks like 0, sample 0", None,
        ]  # fmt: skip


def test_measures_are_taken_in_slices(tmp_path, monkeypatch):
    rows = pictures(tmp_path, [scene(k % 3) for k in range(7)])
    rows = rows.with_columns(text=pl.format("caption {}", pl.int_range(pl.len()) % 3))
    filters = ["near_duplicates", {"filter": "blur", "maximum": 1}]
    whole = select(rows, filters, tmp_path / "whole.parquet").frame()
    monkeypatch.setattr("t2i_spatial.curation.selection.MEASURED_AT_ONCE", 2)
    sliced = select(rows, filters, tmp_path / "sliced.parquet").frame()
    assert sliced.equals(whole)
    assert whole["kept"].to_list() == [True] * 3 + [False] * 4
    nothing = select(rows.head(0), filters, tmp_path / "nothing.parquet").frame()
    assert nothing.schema == whole.schema and len(nothing) == 0


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
