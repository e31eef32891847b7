"""Curation of boxes rather than verdicts: COCO files, detections files, pairs of a run."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from datasets import load_dataset
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from t2i_spatial.bundled.scenes import NOUNS, RELATIONS, render, sample_scene
from t2i_spatial.cli.main import main
from t2i_spatial.curation.crops import square_around_pair
from t2i_spatial.errors import InputError
from t2i_spatial.stages.curate import (
    CurateSettings,
    TooFewImagesError,
    curate_coco,
    curate_detections,
    curate_run,
)
from t2i_spatial.stages.curation_sources import detection_pairs, file_candidates
from t2i_spatial.stages.finetune import finetune_run
from t2i_spatial.training.hyperparameters import FinetuneSettings
from tests.builders import box, detection_rows, detections
from tests.curation.runs import drawing, make_run, verdict


@pytest.fixture
def coco(tmp_path):
    """Two images in COCO's form: a clear pair and a small box; two boxes of one kind."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in (1, 2):
        drawing(number, (400, 300)).save(folder / f"{number:012}.jpg", quality=95)
    data = {
        "images": [
            {"id": i, "file_name": f"{i:012}.jpg", "width": 400, "height": 300} for i in (1, 2)
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}],
        "annotations": [
            {"id": 5, "image_id": 1, "category_id": 17, "bbox": [20, 40, 120, 150]},
            {"id": 6, "image_id": 1, "category_id": 18, "bbox": [200, 50, 130, 140]},
            {"id": 7, "image_id": 1, "category_id": 18, "bbox": [0, 0, 10, 10]},
            {"id": 8, "image_id": 2, "category_id": 18, "bbox": [0, 0, 150, 150]},
            {"id": 9, "image_id": 2, "category_id": 18, "bbox": [200, 0, 150, 150]},
        ],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(data))
    return path, folder, data


def test_scop_makes_a_training_set_of_coco(coco, tmp_path):
    path, folder, _ = coco
    curated = curate_coco(path, folder, tmp_path / "out", CurateSettings(resolution=64))
    assert curated.selection.counts() == (
        "2 candidates → 2 significant → 1 of two kinds → 1 close → 1 apart → 1 balanced → 1 present"
    )
    (row,) = load_dataset("imagefolder", data_dir=str(curated.folder), split="train")
    assert (row["prompt_id"], row["sample"], row["score"]) == ("1", 0, 1.0)
    assert row["text"] in (
        "a photo of a cat left of a dog",
        "a photo of a dog right of a cat",
    )
    assert row["image"].size == (64, 64)
    assert {item["phrase"] for item in row["objects"]} == {"cat", "dog"}
    for item in row["objects"]:
        x1, y1, x2, y2 = item["box"]
        assert 0 <= x1 < x2 <= 64
        assert 0 <= y1 < y2 <= 64
    dropped = curated.selection.frame().filter(~pl.col("kept"))
    assert dropped["reason"].to_list() == ["both are dog"]


def test_photographs_that_are_not_there_are_dropped_by_name(coco, tmp_path):
    path, folder, _ = coco
    (folder / f"{1:012}.jpg").unlink()
    with pytest.raises(TooFewImagesError, match="present: 1 removed, 0 left"):
        curate_coco(path, folder, tmp_path / "out")
    table = pl.read_parquet(tmp_path / "out" / "selection.parquet")
    assert table["reason"][0] == "no such file: 000000000001.jpg"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["annotations"][0].update(image_id=9), "annotation 5 is of the unknown image"),
        (lambda d: d["annotations"][1].update(category_id=1), "annotation 6 has the unknown cat"),
        (
            lambda d: d["annotations"][2].update(bbox=[1, 2, 3]),
            "annotations, 7, bbox: Field required",
        ),
        (
            lambda d: d["annotations"][2].update(bbox=[1, 2, 3, None]),
            "7, bbox: Input should be a valid num",
        ),
        (
            lambda d: d["annotations"][2].update(bbox=[1, 2, -3, 4]),
            "7, bbox: .* greater than or equal",
        ),
        (
            lambda d: d["annotations"][2].update(bbox=[1, 2, float("nan"), 4]),
            "7, bbox: .* finite number",
        ),
        (lambda d: d.pop("categories"), "no list of 'categories'"),
        (lambda d: d["images"][0].pop("width"), "images, 1, width: Field required"),
        (lambda d: d["images"][0].update(width=0), "images, 1, width: .* greater than"),
        (lambda d: d["images"][0].update(width=10**400), "images, 1, width: .*too large|less than"),
        (lambda d: d["images"][0].update(file_name="\ud800"), "images, 1, file_name"),
        (lambda d: d["annotations"][2].update(bbox=[10**400, 0, 1, 1]), "7, bbox"),
        (lambda d: d["annotations"][2].update(id="x"), "annotations, 'x', id"),
        (lambda d: d["annotations"][2].update(category_id=[]), "7, category_id"),
        (lambda d: d["categories"].append({"id": 17, "name": "horse"}), "two categories have the"),
        (lambda d: d["categories"][0].update(name=None), "categories, 18, name"),
        (lambda d: d["categories"][0].update(name=" "), "categories, 18, name"),
        (lambda d: d["categories"][0].update(name="a\nb"), "categories, 18, name"),
        (lambda d: d["categories"][0].pop("id"), "categories, 'number 0', id: Field required"),
        (lambda d: d["images"][0].update(id=2), "two images have the same id"),
        (lambda d: d["images"][0].update(file_name="../../x.jpg"), "out of the image folder"),
        (lambda d: d["images"][0].update(file_name="/etc/x.jpg"), "out of the image folder"),
    ],
)
def test_a_broken_annotation_file_says_where(coco, tmp_path, change, message):
    path, folder, data = coco
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=message):
        curate_coco(path, folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "expected an object"),
        ("[" * 200_000, "cannot be read as JSON"),
        ("{", "cannot be read as JSON"),
        (None, "no such file"),
    ],
)
def test_a_file_that_is_not_coco_is_refused(coco, tmp_path, content, message):
    path, folder, _ = coco
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(InputError, match=message):
        curate_coco(path, folder, tmp_path / "out")


def test_an_annotation_file_without_annotations_is_an_empty_set(coco, tmp_path):
    path, folder, data = coco
    path.write_text(json.dumps(data | {"annotations": []}))
    with pytest.raises(TooFewImagesError, match="0 images were kept"):
        curate_coco(path, folder, tmp_path / "out")


def rendered_run(path, n=12):
    """Rendered scenes with their true boxes as detections."""
    rng = np.random.default_rng(3)
    images, found, verdicts = {}, {}, []
    for number in range(n):
        nouns = tuple(NOUNS[i] for i in rng.permutation(len(NOUNS))[:2])
        scene = sample_scene(rng, nouns=nouns, relation=RELATIONS[number % 4])
        pixels, boxes = render(scene)
        key = (str(number), 0)
        images[key] = Image.fromarray(pixels)
        items = [box(noun, *map(float, b)) for noun, b in zip(nouns, boxes, strict=True)]
        found[key] = detections(*items, size=(64, 64))
        verdicts.append(verdict(*key))
    run = make_run(path, verdicts, images)
    run.write_detections(detection_rows(found))
    return run


def test_pairs_of_a_run_get_captions_that_their_boxes_bear_out(tmp_path):
    from t2i_spatial.prompts import parse_prompt

    run = rendered_run(tmp_path / "run")
    curated = curate_run(run, CurateSettings(pairs=True, min_area=16, caption="short"))
    data = load_dataset("imagefolder", data_dir=str(curated.folder), split="train")
    assert len(data) >= 6
    boxes = {
        f"{r['prompt_id']}_0": {d["label"]: d["box"] for d in r["detections"]}
        for r in run.detections().iter_rows(named=True)
    }
    for row in data:
        scene = parse_prompt(row["text"])
        assert scene.relations
        for relation in scene.relations:
            a, b = (
                boxes[row["prompt_id"]][scene.objects[i].name]
                for i in (relation.subject, relation.object)
            )
            dx, dy = a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3]
            true = {"left of": dx < 0, "right of": dx > 0, "above": dy < 0, "below": dy > 0}
            assert true[relation.relation]


def test_a_detections_file_is_enough(tmp_path):
    run = rendered_run(tmp_path / "run")
    path = tmp_path / "boxes.jsonl"
    lines = [
        {k: row[k] for k in ("prompt_id", "sample", "image", "width", "height", "detections")}
        for row in run.detections().iter_rows(named=True)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = CurateSettings(min_area=16)
    curated = curate_detections(path, tmp_path / "out", settings, images=run.path)
    again = curate_run(run, CurateSettings(min_area=16, pairs=True))
    assert curated.selection.frame().equals(again.selection.frame())
    assert curated.images == again.images > 0


def test_detections_without_sizes_are_refused(tmp_path):
    path = tmp_path / "boxes.jsonl"
    path.write_text(json.dumps({"prompt_id": "1", "sample": 0, "detections": []}) + "\n")
    with pytest.raises(InputError, match="needs width and height"):
        curate_detections(path, tmp_path / "out")


def test_images_outside_the_folder_are_told(tmp_path, capsys):
    run = rendered_run(tmp_path / "run")
    path = tmp_path / "elsewhere" / "boxes.jsonl"
    path.parent.mkdir()
    lines = [
        {k: row[k] for k in ("prompt_id", "sample", "image", "width", "height", "detections")}
        for row in run.detections().iter_rows(named=True)
    ]
    lines[0]["image"] = f"../run/{lines[0]['image']}"
    lines[1]["image"] = str(run.path / lines[1]["image"])
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    file_candidates(path, None, None, 0.5, 16)
    said = f"2 of {len(lines)} images lie outside {path.parent}, the first is ../run/"
    assert said in capsys.readouterr().err
    path.write_text("".join(json.dumps(line) + "\n" for line in lines[2:]))
    file_candidates(path, run.path, None, 0.5, 16)
    assert capsys.readouterr().err == ""


def test_weak_boxes_make_no_pairs(tmp_path):
    run = rendered_run(tmp_path / "run")
    with pytest.raises(TooFewImagesError, match="0 candidates"):
        curate_run(run, CurateSettings(pairs=True, min_area=16, min_score=0.95))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((100, 100, 50, 50), (200, 100, 50, 50), [92, 42, 258, 208]),
        ((0, 0, 50, 50), (100, 0, 50, 50), [0, 0, 165, 165]),
        ((0, 0, 50, 50), (350, 0, 50, 50), [0, 0, 400, 300]),
        ((350, 250, 50, 50), (250, 250, 50, 50), [235, 135, 400, 300]),
    ],
)
def test_the_crop_is_square_inside_the_image_and_cuts_no_box(a, b, expected):
    row = {}
    for role, item in (("a", a), ("b", b)):
        row |= {f"{role}_{part}": float(v) for part, v in zip("xywh", item, strict=True)}
    row |= {"a_label": "cat", "b_label": "dog", "width": 400, "height": 300}
    crop = pl.DataFrame([row]).select(square_around_pair()).item().to_list()
    for x, y, w, h in (a, b):
        assert crop[0] <= x
        assert crop[1] <= y
        assert crop[2] >= x + w
        assert crop[3] >= y + h
    assert np.allclose(crop, expected, atol=1)
    if expected[2] - expected[0] == expected[3] - expected[1]:
        assert crop[2] - crop[0] == crop[3] - crop[1]


@given(st.lists(st.floats(0, 190), min_size=4, max_size=4), st.floats(1, 100), st.floats(1, 100))
def test_crops_are_square_to_the_pixel_and_cut_nothing(corners, w, h):
    row = {"a_label": "cat", "b_label": "dog", "width": 300, "height": 300}
    for role, (x, y) in (("a", corners[:2]), ("b", corners[2:])):
        row |= {f"{role}_x": x, f"{role}_y": y, f"{role}_w": w, f"{role}_h": h}
    x1, y1, x2, y2 = pl.DataFrame([row]).select(square_around_pair()).item().to_list()
    assert x2 - x1 == y2 - y1
    assert 0 <= x1 <= min(corners[0], corners[2]) and max(corners[0], corners[2]) + w <= x2 <= 300
    assert 0 <= y1 <= min(corners[1], corners[3]) and max(corners[1], corners[3]) + h <= y2 <= 300


def scored_run(tmp_path, n=6):
    verdicts = [verdict(str(k), 0) for k in range(n)]
    return make_run(tmp_path / "run", verdicts)


def boxes_of(run, wrong=(), more=()):
    cat, dog = box("cat", 10, 40, 40, 80), box("dog", 60, 40, 90, 80)
    turned = (box("cat", 60, 40, 90, 80), box("dog", 10, 40, 40, 80))
    return detection_rows(
        {
            (prompt, sample): detections(
                *(turned if prompt in wrong else (cat, dog)), *more, size=(96, 96)
            )
            for prompt, sample in run.images().select("prompt_id", "sample").iter_rows()
        }
    )


def test_a_second_detector_is_judged_by_the_same_protocol(tmp_path):
    run = scored_run(tmp_path)
    run.write_detections(boxes_of(run, wrong=("2", "4")), "owl")
    settings = CurateSettings(second="owl", filters=("agreement",))
    table = curate_run(run, settings).selection.frame()
    assert table["kept"].to_list() == [True, True, False, True, False, True]
    assert "the second detector disagrees: cat is not left of dog" in table["reason"][2]
    with pytest.raises(InputError, match="run `t2i-spatial detect --name dino` first"):
        curate_run(run, CurateSettings(second="dino"))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_scores_of_ones_own_come_from_a_table(tmp_path, suffix):
    run = scored_run(tmp_path)
    table = pl.DataFrame({"prompt_id": ["0", "1"], "sample": [0, 0], "clip_score": [0.31, 0.12]})
    path = tmp_path / f"scores.{suffix}"
    table.write_csv(path) if suffix == "csv" else table.write_parquet(path)
    curated = curate_run(run, CurateSettings(columns=path, filters=("clip_score",)))
    assert curated.selection.frame()["kept"].to_list() == [True] + [False] * 5
    assert curated.selection.frame()["reason"][2] == "there is no clip_score"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"prompt_id": ["0"], "clip": [1.0]}, "no column 'sample'"),
        ({"prompt_id": ["0"], "sample": [0], "margin": [1.0]}, "'margin' is taken"),
        ({"prompt_id": ["0", "0"], "sample": [0, 0], "x": [1, 2]}, "the same image twice"),
    ],
)
def test_a_wrong_table_of_scores_is_refused(tmp_path, table, message):
    run = scored_run(tmp_path)
    pl.DataFrame(table).write_parquet(tmp_path / "scores.parquet")
    with pytest.raises(InputError, match=message):
        curate_run(run, CurateSettings(columns=tmp_path / "scores.parquet"))


def test_mirrored_copies_swap_the_words(tmp_path):
    run = scored_run(tmp_path)
    data = load_dataset(
        "imagefolder",
        data_dir=str(curate_run(run, CurateSettings(mirror=True)).folder),
        split="train",
    )
    assert data["mirrored"] == [False, True] * 6
    assert data["objects"][0] == [
        {"phrase": "cat", "box": [10, 40, 40, 80]},
        {"phrase": "dog", "box": [60, 40, 90, 80]},
    ]
    assert data["objects"][1] == [
        {"phrase": "cat", "box": [56, 40, 86, 80]},
        {"phrase": "dog", "box": [6, 40, 36, 80]},
    ]
    for original, copy in zip(list(data)[::2], list(data)[1::2], strict=True):
        assert np.array_equal(np.asarray(original["image"])[:, ::-1], np.asarray(copy["image"]))
        assert original["text"] == "a cat left of a dog"
        assert copy["text"] == "a cat right of a dog"


def test_long_captions_come_from_all_boxes(tmp_path):
    run = scored_run(tmp_path)
    cup, weak = box("cup", 65, 5, 85, 25), box("bird", 2, 2, 20, 20, score=0.1)
    run.write_detections(boxes_of(run, more=(cup, weak)))
    curated = curate_run(run, CurateSettings(caption="long", min_score=0.3))
    assert set(curated.selection.frame()["caption"]) == {
        "A cat is to the left of a dog. The cat is to the left of a cup. The cat is below the cup. "
        "The dog is below the cup."
    }


def test_boxes_of_another_size_of_the_picture_are_not_used(coco, tmp_path):
    path, folder, _ = coco
    drawing(1, (200, 150)).save(folder / "000000000001.jpg")
    with pytest.raises(TooFewImagesError, match="declared_size: 1 removed"):
        curate_coco(path, folder, tmp_path / "out", CurateSettings())
    table = pl.read_parquet(tmp_path / "out" / "selection.parquet")
    assert table["reason"][0] == "200 x 150 pixels, but the boxes are those of 400 x 300"


def test_pictures_that_exif_turns_are_not_used_with_boxes_that_it_does_not(coco, tmp_path):
    path, folder, _ = coco
    exif = Image.Exif()
    exif[0x0112] = 3
    drawing(1, (400, 300)).save(folder / "000000000001.jpg", exif=exif)
    with pytest.raises(TooFewImagesError, match="upright: 1 removed"):
        curate_coco(path, folder, tmp_path / "out", CurateSettings())


def test_a_broken_picture_costs_its_own_pairs_only(coco, tmp_path):
    path, folder, _ = coco
    (folder / "000000000002.jpg").write_bytes(b"broken")
    settings = CurateSettings(filters=("minimal_overlap",))
    curated = curate_coco(path, folder, tmp_path / "out", settings)
    assert curated.selection.counts() == "2 candidates → 2 apart → 2 present → 1 readable"


def test_an_object_found_twice_is_one_pair(tmp_path):
    def found(name, x, score):
        return box(name, x, 40, x + 40, 80, score=score)

    cats = [found("cat", 4 + shift, 0.9 - shift / 100) for shift in range(3)]
    table = detection_rows(
        {
            ("0", 0): detections(*cats, found("dog", 50, 0.8), size=(96, 96)),
            ("0", 1): detections(found("cat", 4, 0.9), found("cat", 46, 0.9), size=(96, 96)),
        }
    )
    pairs = detection_pairs(table.lazy(), "", 0.3, 0.0).collect()
    said = pairs.select("prompt_id", "a_label", "a_x", "b_label").rows()
    assert said == [("0_0", "cat", 4.0, "dog"), ("0_1", "cat", 4.0, "cat")]


def test_pairs_have_no_prompt_to_mix_in(coco, tmp_path):
    path, folder, _ = coco
    for settings in ({"caption_percent": 50}, {"caption": "prompt", "drop_long": True}):
        with pytest.raises(InputError, match="no prompt that could be a caption"):
            curate_coco(path, folder, tmp_path / "out", CurateSettings(**settings))


def test_a_set_of_an_earlier_selection_is_not_trained_on(tmp_path):
    run = scored_run(tmp_path)
    curate_run(run, CurateSettings())
    curate_run(run, CurateSettings(export="kohya", filters=({"filter": "balance", "at_most": 4},)))
    with pytest.raises(InputError, match="belongs to an earlier selection"):
        finetune_run(run, FinetuneSettings())


def test_each_format_has_its_own_folder(tmp_path):
    run = scored_run(tmp_path)
    for name in ("imagefolder", "kohya", "webdataset", "parquet"):
        curate_run(run, CurateSettings(export=name))
    found = sorted(p.name for p in run.path.iterdir() if p.name.startswith("curated"))
    assert found == ["curated", "curated-kohya", "curated-parquet", "curated-webdataset"]
    assert len(load_dataset("imagefolder", data_dir=str(run.path / "curated"), split="train")) == 6


def invoke(*args):
    return CliRunner().invoke(main, ["curate", *map(str, args)])


def test_the_command_curates_coco(coco, tmp_path):
    path, folder, _ = coco
    args = ("--coco", path, "--images", folder, "-o", tmp_path / "out", "--filter", "scop")
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    assert "2 candidates → 2 significant → 1 of two kinds" in result.stdout
    assert "1 images in" in result.stdout
    assert invoke(*args, "--filter", "balance", "--json").exit_code == 0


def test_the_command_takes_filters_and_pipelines(tmp_path):
    run = scored_run(tmp_path)
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text("- correct\n- filter: margin\n  minimum: 0.9\n")
    assert "correct: 0 removed, 6 left" in invoke(run.path, "--pipeline", pipeline).stderr
    result = invoke(run.path, "--filter", "best_of:n=1", "--filter", "{filter: size, minimum: 32}")
    assert result.exit_code == 0, result.output
    assert "6 best → 6 large enough → 6 distinct" in result.stdout
    assert run.path.joinpath("run.json").read_text().count('"best_of"') >= 1


def test_the_command_lists_filters_and_counts_captions(tmp_path):
    assert "best_of(n=1, by='margin')" in invoke("--list-filters").stdout
    captions = tmp_path / "captions.txt"
    captions.write_text("a cat above a dog\na dog\n")
    assert "1 (50.0 %) name a spatial relation" in invoke("--caption-statistics", captions).stdout
    counts = json.loads(invoke("--caption-statistics", captions, "--json").stdout)
    assert counts["relations"]["above"] == {"captions": 1, "phrases": 1}


def test_usage_errors_exit_with_two(coco, tmp_path):
    path, folder, _ = coco
    run = scored_run(tmp_path)
    assert invoke().exit_code == 2
    assert invoke(run.path, "--coco", path).exit_code == 2
    assert invoke("--coco", path, "--images", folder).exit_code == 2
    assert invoke("--coco", path, "-o", tmp_path / "out").exit_code == 2
    assert invoke(run.path, "-o", tmp_path / "out").exit_code == 2
    assert invoke(run.path, "--caption", "poem").exit_code == 2
    wrong = invoke(run.path, "--filter", "scor:minimum=1")
    assert (wrong.exit_code, "unknown filter 'scor'" in wrong.stderr) == (1, True)
