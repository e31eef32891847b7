"""Depth, colour and masks: stages that add to stored boxes, each on its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from PIL import Image

from t2i_spatial.cli.main import main
from t2i_spatial.detectors.clip_model import ClipSpec
from t2i_spatial.detectors.clip_scorer import ClipScore
from t2i_spatial.detectors.masks import decode_mask
from t2i_spatial.errors import InputError, ModelLoadError, PlanMismatchError, T2ISpatialError
from t2i_spatial.run import Run
from t2i_spatial.scene import ObjectSpec, Prompt, SceneSpec
from t2i_spatial.stages.clip_score import clip_score_run
from t2i_spatial.stages.color import color_run
from t2i_spatial.stages.depth import depth_run
from t2i_spatial.stages.detect import DetectSettings, check_names, detect_run
from t2i_spatial.stages.import_images import import_images
from tests.builders import box, detection_rows, detections
from tests.detectors import tiny


@pytest.fixture(scope="module")
def depth_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.depth_anything(tmp_path_factory.mktemp("depth")))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two images with known boxes in known colours, one without boxes, one missing."""
    folder = tmp_path / "images"
    folder.mkdir()
    pixels = np.full((40, 60, 3), 240, dtype=np.uint8)
    pixels[5:20, 5:25], pixels[20:38, 30:55] = (225, 30, 30), (30, 70, 220)
    Image.fromarray(pixels).save(folder / "p_0.png")
    Image.fromarray(pixels.transpose(1, 0, 2)).save(folder / "p_1.png")
    Image.fromarray(pixels).save(folder / "p_2.png")
    made = Run.create(tmp_path / "run")
    scene = SceneSpec((ObjectSpec("cat"), ObjectSpec("dog")))
    import_images(made, folder, [Prompt("p", "a cat and a dog", scene=scene)], samples=4)
    found = {
        ("p", 0): detections(box("cat", 5, 5, 25, 20), box("dog", 30, 20, 55, 38), size=(60, 40)),
        ("p", 1): detections(box("dog", 20, 30, 38, 55), size=(40, 60)),
        ("p", 2): detections(size=(60, 40)),
    }
    table = detection_rows(found, {("p", 3): "image_missing"})
    stored = tmp_path / "boxes.parquet"
    table.write_parquet(stored)
    detect_run(made, DetectSettings(detector=f"precomputed:{stored}"))
    return made


def values(run: Run, key: str) -> list[list[object] | None]:
    return [
        None if own is None else [one[key] for one in own]
        for own in run.detections()["detections"].to_list()
    ]


def test_stored_boxes_become_the_runs(run: Run, tmp_path: Path) -> None:
    table = run.detections()
    assert table["status"].to_list() == ["scored"] * 3 + ["image_missing"]
    assert table["image"][0] == str((tmp_path / "images" / "p_0.png").resolve())
    assert [d["label"] for d in table["detections"][0]] == ["cat", "dog"]
    detector = f"precomputed:{tmp_path / 'boxes.parquet'}"
    detect_run(run, DetectSettings(detector=detector, name="high", threshold=0.95))
    assert run.detections("high")["detections"].list.len().to_list() == [0, 0, 0, None]
    with pytest.raises(InputError, match="no such file"):
        detect_run(run, DetectSettings(detector="precomputed:nothing.parquet", name="none"))


def test_stored_boxes_that_lack_an_image(run: Run, tmp_path: Path) -> None:
    table = run.detections().filter(pl.col("sample") != 1)
    table.write_parquet(tmp_path / "part.parquet")
    detect_run(run, DetectSettings(detector=f"precomputed:{tmp_path}/part.parquet", name="part"))
    part = run.detections("part")
    assert part["status"].to_list() == ["scored", "detector_failed", "scored", "image_missing"]
    assert "part.parquet has no row" in part["reason"][1]
    table.with_columns(prompt_id=pl.lit("q")).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(InputError, match="no boxes for any image"):
        detect_run(run, DetectSettings(detector=f"precomputed:{tmp_path}/other.parquet", name="o"))
    twice = table.with_columns(pl.col("width") * 2, pl.col("height") * 2)
    twice.write_parquet(tmp_path / "large.parquet")
    with pytest.raises(InputError, match=r"those of an image of .* this run's has"):
        detect_run(run, DetectSettings(detector=f"precomputed:{tmp_path}/large.parquet", name="l"))


def test_how_stored_boxes_are_read_is_an_option(run: Run, tmp_path: Path) -> None:
    lines = [
        "image,label,score,x1,y1,x2,y2",
        "p_0.png,15,0.9,5,5,25,20",
        "p_0.png,16,0.8,30,20,55,38",
    ]
    path = tmp_path / "numbered.csv"
    path.write_text("\n".join([*lines, "p_1.png,16,0.8,20,30,38,39"]))
    settings = DetectSettings(detector=f"precomputed:{path}", name="numbered")
    with pytest.raises(InputError, match="say what they mean with --classes"):
        detect_run(run, settings)
    by_coco = settings.model_copy(update={"options": {"classes": "coco80"}})
    detect_run(run, by_coco)
    assert [d["label"] for d in run.detections("numbered")["detections"][0]] == ["cat", "dog"]
    # what the file of names says is part of what was detected
    names = tmp_path / "names.txt"
    names.write_text("\n".join(["-"] * 15 + ["dog", "cat"]))
    by_file = settings.model_copy(update={"options": {"classes": str(names)}, "name": "by_file"})
    detect_run(run, by_file)
    assert [d["label"] for d in run.detections("by_file")["detections"][0]] == ["dog", "cat"]
    names.write_text("\n".join(["-"] * 15 + ["cat", "dog"]))
    with pytest.raises(PlanMismatchError):
        detect_run(run, by_file)
    others = settings.model_copy(update={"options": {"any_label": True, "classes": str(names)}})
    names.write_text("\n".join(["-"] * 15 + ["tree", "bird"]))
    detect_run(run, others, overwrite=True)
    assert run.detections("numbered")["status"].to_list()[0] == "scored"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"options": {"clases": "coco80"}}, "no option 'clases'; did you mean 'classes'"),
        ({"options": {"repeated_rows": "twice"}}, "option repeated_rows of precomputed:FILE"),
        ({"options": {"coco_images": "/nowhere.json"}}, "nowhere.json"),
        ({"nms": 0.5}, "nms has no effect on precomputed:"),
        ({"query_template": "a {name}"}, "query_template has no effect"),
        ({"vocabulary": ("cat",)}, "vocabulary has no effect"),
    ],
)
def test_options_that_say_nothing_of_stored_boxes(run, tmp_path, settings, said) -> None:
    detector = f"precomputed:{tmp_path / 'boxes.parquet'}"
    made = DetectSettings(detector=detector, name="other", **settings)
    with pytest.raises(InputError, match=said):
        detect_run(run, made)
    if "coco_images" not in made.options:
        with pytest.raises(InputError, match=said):
            check_names(made)


def test_rows_that_repeat_may_be_counted_once(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "twice.csv"
    table = run.detections().drop_nulls("detections")
    pl.concat([table, table.head(1)]).write_parquet(path.with_suffix(".parquet"))
    settings = DetectSettings(detector=f"precomputed:{path.with_suffix('.parquet')}", name="twice")
    with pytest.raises(InputError, match="repeated-rows"):
        detect_run(run, settings)
    detect_run(run, settings.model_copy(update={"options": {"repeated_rows": "once"}}))
    assert run.detections("twice").equals(run.detections())


def test_colour_then_depth_without_detecting_again(run: Run, depth_model: str) -> None:
    before = run.detections()
    color_run(run, "pixels")
    assert values(run, "color") == [["red", "blue"], ["blue"], [], None]
    depth_run(run, depth_model, device="cpu")
    depths = values(run, "depth")
    assert all(0 <= value <= 1 for own in depths if own for value in own)  # type: ignore[operator]
    assert values(run, "color") == [["red", "blue"], ["blue"], [], None]
    assert run.detections().drop("detections").equals(before.drop("detections"))
    assert run.manifest["stages"]["color"]["results"] == {
        "boxes": 3,
        "unreadable": 0,
        "failed": 0,
    }


def test_a_depth_map_that_is_not_finite_costs_its_own_image_only(
    run: Run, depth_model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    from transformers import DepthAnythingForDepthEstimation

    depth_run(run, depth_model, device="cpu")
    whole = values(run, "depth")
    forward = DepthAnythingForDepthEstimation.forward
    broken = [True, False]

    def nan(self: object, *args: object, **kwargs: object) -> object:
        out = forward(self, *args, **kwargs)
        if broken.pop(0) if broken else True:
            out.predicted_depth[0] = torch.nan
        return out

    run.discard("depth")
    monkeypatch.setattr(DepthAnythingForDepthEstimation, "forward", nan)
    depth_run(run, depth_model, device="cpu", batch_size=1)
    assert values(run, "depth") == [[None, None], *whole[1:]]
    assert run.manifest["stages"]["depth"]["results"]["failed"] == 1
    assert "1 images could not be judged" in capsys.readouterr().err
    run.discard("depth")
    with pytest.raises(T2ISpatialError, match=r"failed on every image.*not finite"):
        depth_run(run, depth_model, device="cpu", batch_size=1)


def test_annotations_have_their_own_plan(
    run: Run, depth_model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    depth_run(run, depth_model, device="cpu")
    before = run.detections()
    depth_run(run, depth_model, device="cpu", batch_size=1)
    assert "depth: already done" in capsys.readouterr().err
    other = str(tiny.depth_anything(tmp_path / "other", seed=1))
    with pytest.raises(PlanMismatchError, match="model:"):
        depth_run(run, other, device="cpu")
    depth_run(run, other, device="cpu", overwrite=True)
    assert not run.detections().equals(before)


def test_detecting_anew_forgets_depth_and_colour(run: Run, tmp_path: Path) -> None:
    color_run(run, "pixels")
    detector = f"precomputed:{tmp_path / 'boxes.parquet'}"
    detect_run(run, DetectSettings(detector=detector, threshold=0.1), overwrite=True)
    assert "color" not in run.manifest["stages"]
    assert values(run, "color")[0] == [None, None]
    settings = DetectSettings(detector=detector, threshold=0.1, color="pixels")
    detect_run(run, settings)
    assert values(run, "color")[0] == ["red", "blue"]


def test_images_that_vanish_or_change_between_stages(run: Run, tmp_path: Path) -> None:
    (tmp_path / "images" / "p_1.png").unlink()
    color_run(run, "pixels")
    assert values(run, "color") == [["red", "blue"], [None], [], None]
    assert run.manifest["stages"]["color"]["results"]["unreadable"] == 1
    Image.new("RGB", (10, 10)).save(tmp_path / "images" / "p_0.png")
    run.discard("color")
    with pytest.raises(InputError, match="10x10 now"):
        color_run(run, "pixels")


def test_masks_are_stored_and_used(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for sample in range(2):
        pixels = rng.integers(0, 255, (60, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"p_{sample}.png")
    made = Run.create(tmp_path / "run")
    import_images(made, folder, [Prompt("p", "a cat", scene=SceneSpec((ObjectSpec("cat"),)))])
    model = str(tiny.mask2former(tmp_path / "model"))
    detect_run(made, DetectSettings(detector=model, threshold=0.0, color="pixels"))
    masks = pl.read_parquet(made.path / "masks" / "main.parquet")
    assert len(masks) == 2
    for row, own in zip(made.detections().iter_rows(named=True), masks["masks"], strict=True):
        assert len(own) == len(row["detections"]) > 0
        for found, counts in zip(row["detections"], own, strict=True):
            ys, xs = np.nonzero(decode_mask(counts, 90, 60))
            extent = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            assert found["box"] == [float(value) for value in extent]
            assert found["color"]


def test_unknown_methods_and_models(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'pixels'"):
        color_run(run, "pixel")
    with pytest.raises(ModelLoadError, match="not a depth model"):
        depth_run(run, str(tiny.owl(tmp_path / "owl")))
    with pytest.raises(ModelLoadError, match="cannot be loaded"):
        color_run(run, "clip:ViT-B-32=/no/file.pt", device="cpu")


def test_command_adds_colour_and_depth(run: Run, tmp_path: Path, depth_model: str) -> None:
    detector = f"precomputed:{tmp_path / 'boxes.parquet'}"
    common = ["detect", str(run.path), "--detector", detector, "--device", "cpu"]
    result = CliRunner().invoke(main, [*common, "--color", "pixels", "--depth", depth_model])
    assert result.exit_code == 0, result.output
    again = Run.open(run.path)
    assert values(again, "color")[0] == ["red", "blue"]
    assert values(again, "depth")[0] != [None, None]


def test_clip_score_becomes_a_column_for_curation(run: Run, tmp_path: Path) -> None:
    model = tiny.clip(tmp_path / "clip")
    (tmp_path / "images" / "p_2.png").unlink()
    clip_score_run(run, model, device="cpu", batch_size=2)
    table = pl.read_parquet(run.path / "clip_score.parquet").sort("sample")
    assert table["sample"].to_list() == [0, 1, 2]
    assert table["clip_score"].is_null().to_list() == [False, False, True]
    score = ClipScore(ClipSpec.parse(model))
    with Image.open(tmp_path / "images" / "p_0.png") as image:
        (expected,) = score([score.prepare(image.convert("RGB"))], ["a cat and a dog"])
    assert table["clip_score"][0] == pytest.approx(expected, abs=1e-5)
    other = tiny.clip(tmp_path / "other", seed=1)
    with pytest.raises(PlanMismatchError, match="model:"):
        clip_score_run(run, other, device="cpu")
