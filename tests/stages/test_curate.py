from __future__ import annotations

import json
import os

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from datasets import load_dataset
from filelock import FileLock
from PIL import Image

from t2i_spatial.cli.main import main
from t2i_spatial.errors import InputError, T2ISpatialError
from t2i_spatial.run import Run
from t2i_spatial.stages.curate import CurateSettings, TooFewImagesError, curate_run
from t2i_spatial.stages.curation_sources import run_candidates
from t2i_spatial.stages.generate import _drop_derived
from t2i_spatial.tables import SELECTION
from tests.curation.runs import drawing, make_run, verdict


@pytest.fixture
def run(tmp_path):
    """Eight prompts, four samples: one missing, some wrong, unsure, close and twice the same."""
    verdicts = [
        verdict(
            str(prompt),
            sample,
            correct=sample != 1,
            margin=0.02 if sample == 3 else 0.4,
            scores=(0.9, 0.2) if prompt == 4 else (0.9, 0.8),
        )
        for prompt in range(8)
        for sample in range(4)
    ]
    same = {("1", 2): drawing(0)}
    return make_run(tmp_path / "run", verdicts, same, {("7", 0): "image_missing"})


def hidden(folder):
    return [p.name for p in folder.iterdir() if p.name.startswith(".") and p.suffix != ".lock"]


def loaded(folder):
    return load_dataset("imagefolder", data_dir=str(folder), split="train")


def test_kept_images_load_as_the_trainers_load_them(run):
    curated = curate_run(run)
    assert curated.selection.counts() == (
        "32 candidates → 31 scored → 23 correct → 20 confident → 13 clear → 12 distinct"
    )
    dataset = loaded(curated.folder)
    selection = pl.read_parquet(run.path / "selection.parquet")
    kept = selection.filter("kept")
    assert dataset["prompt_id"] == kept["prompt_id"].to_list()
    assert dataset["sample"] == kept["sample"].to_list()
    assert dataset["text"] == ["a cat left of a dog"] * 12
    assert set(dataset["score"]) == {0.8}
    assert set(dataset["weight"]) == {1.0}
    for row in dataset:
        name = f"images/{row['prompt_id']}_{row['sample']}.png"
        with Image.open(run.path / name) as original:
            assert np.array_equal(np.asarray(row["image"]), np.asarray(original))


def test_the_selection_explains_every_candidate(run):
    curate_run(run)
    table = pl.read_parquet(run.path / "selection.parquet")
    assert table.schema == SELECTION
    assert len(table) == 32
    said = {(p, s): (f, r) for p, s, f, r in table.select(
        "prompt_id", "sample", "filter", "reason").iter_rows()}  # fmt: skip
    assert said["7", 0] == ("scored", "image_missing: image_missing for a reason")
    assert said["0", 1] == ("correct", "cat is not left of dog")
    assert said["4", 0] == ("score", "lowest detector score 0.2 < 0.3")
    assert said["0", 3] == ("margin", "margin 0.02 < 0.05")
    assert said["1", 2] == ("near_duplicates", "looks like 0, sample 0")
    assert said["0", 0] == (None, None)


def test_the_whole_image_is_resized_so_that_no_crop_cuts_it(tmp_path):
    wide = Image.new("RGB", (200, 100), "white")
    wide.paste((200, 0, 0), (0, 0, 20, 100))
    wide.paste((0, 0, 200), (180, 0, 200, 100))
    run = make_run(tmp_path / "run", [verdict("0", 0)], {("0", 0): wide})
    image = loaded(curate_run(run, CurateSettings(resolution=64)).folder)[0]["image"]
    assert image.size == (64, 64)
    assert image.getpixel((1, 32))[0] > 150 > image.getpixel((1, 32))[2]
    assert image.getpixel((62, 32))[2] > 150 > image.getpixel((62, 32))[0]


def test_images_are_copied_as_they_are_unless_a_trainer_could_not_read_them(tmp_path):
    pictures = {("0", 0): drawing(0), ("0", 1): drawing(1).convert("L"), ("0", 2): drawing(2)}
    run = make_run(tmp_path / "run", [verdict("0", s) for s in range(3)], pictures)
    upright = drawing(2)
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(run.path / "images/0_2.png", exif=exif)
    folder = curate_run(run, CurateSettings(duplicate_distance=-1)).folder / "train"
    assert (folder / "000001.png").read_bytes() == (run.path / "images/0_0.png").read_bytes()
    with Image.open(folder / "000002.png") as grey, Image.open(folder / "000003.png") as turned:
        assert grey.mode == "RGB"
        assert np.array_equal(turned, upright)
        assert 0x0112 not in turned.getexif()


def test_curating_again_gives_the_same_bytes_and_replaces_the_old_set(run):
    def content():
        return {
            str(path.relative_to(run.path)): path.read_bytes()
            for path in [run.path / "selection.parquet", *(run.path / "curated").rglob("*")]
            if path.is_file()
        }

    curate_run(run, CurateSettings(resolution=32))
    first = content()
    curate_run(run, CurateSettings(resolution=32))
    assert content() == first
    curate_run(run, CurateSettings(min_margin=0.0))
    assert len(loaded(run.path / "curated")) > 12
    assert hidden(run.path) == []


def test_new_images_leave_no_older_training_set(run):
    curate_run(run)
    (run.path / "curated-mine").mkdir()
    _drop_derived(run)
    assert not (run.path / "curated").exists()
    assert not (run.path / "selection.parquet").exists()
    assert (run.path / "curated-mine").exists()


def test_a_failed_export_leaves_the_old_set(run):
    curate_run(run, CurateSettings(duplicate_distance=-1))
    before = sorted(p.name for p in (run.path / "curated/train").iterdir())
    (run.path / "images/6_2.png").write_bytes(b"not an image")
    with pytest.raises(T2ISpatialError, match=r"6_2\.png: not an image"):
        curate_run(run, CurateSettings(duplicate_distance=-1))
    assert sorted(p.name for p in (run.path / "curated/train").iterdir()) == before
    assert hidden(run.path) == []
    assert "finished" not in Run.open(run.path).manifest["stages"]["curate"]


def test_one_curation_at_a_time_and_nothing_is_left_of_a_killed_one(run):
    for left in (".curate-abc", ".curated-abc"):
        (run.path / left).mkdir()
    with FileLock(run.path / ".curate.lock"), pytest.raises(InputError, match="another curation"):
        curate_run(run)
    curate_run(run)
    assert hidden(run.path) == []


def test_a_folder_that_is_not_ours_is_not_replaced(run):
    (run.path / "curated").mkdir()
    (run.path / "curated" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="not a curated set"):
        curate_run(run)
    assert (run.path / "curated" / "thesis.txt").read_text() == "mine"


def test_an_empty_set_says_what_each_filter_removed(run):
    curate_run(run)
    assert (run.path / "curated").exists()
    with pytest.raises(TooFewImagesError) as caught:
        curate_run(run, CurateSettings(min_score=0.95))
    message = str(caught.value)
    assert "0 images were kept" in message
    assert "correct: 8 removed, 23 left" in message
    assert "score: 23 removed, 0 left" in message
    assert len(pl.read_parquet(run.path / "selection.parquet")) == 32
    assert not (run.path / "curated").exists()


def test_too_few_is_an_error_when_asked_and_a_note_otherwise(run, capsys):
    with pytest.raises(TooFewImagesError, match="12 images were kept, 50 are needed"):
        curate_run(run, CurateSettings(min_images=50))
    curate_run(run)
    assert "few images for fine-tuning: 12" in capsys.readouterr().err


def test_missing_tables_are_named(tmp_path, run):
    with pytest.raises(InputError, match="score --protocol geneval"):
        curate_run(run, CurateSettings(protocol="geneval"))
    with pytest.raises(InputError, match=r"no prompts.parquet yet"):
        curate_run(Run.create(tmp_path / "new"))
    with pytest.raises(InputError, match="unknown exporter 'imagefoldr'; did you mean"):
        curate_run(run, CurateSettings(export="imagefoldr"))


def test_joining_in_slices_gives_the_same_candidates(run, tmp_path):
    whole = run_candidates(run, "visor").collect()
    sliced = run_candidates(run, "visor", scratch=tmp_path, size=5).collect()
    assert len(list(tmp_path.glob("*.parquet"))) == 7
    assert sliced.equals(whole)
    (tmp_path / "other").mkdir()
    run.write_verdicts(run.verdicts("visor").reverse(), "visor")
    shuffled = run_candidates(run, "visor", scratch=tmp_path / "other", size=5).collect()
    assert not list((tmp_path / "other").glob("*.parquet"))
    assert shuffled.equals(whole)


def test_images_of_others_may_lie_anywhere(tmp_path, run):
    elsewhere = tmp_path / "elsewhere"
    os.rename(run.path / "images", elsewhere)
    images = run.images().with_columns(
        pl.col("image").str.replace("images", str(elsewhere), literal=True)
    )
    run.write_images(images)
    assert len(loaded(curate_run(run).folder)) == 12


def test_long_captions_are_noted(run, capsys):
    prompts = run.prompts().with_columns(text=pl.lit("a very long story of a cat " * 12))
    run.write_prompts(prompts)
    curate_run(run)
    assert "longer than 77 CLIP tokens" in capsys.readouterr().err


def invoke(*args):
    return CliRunner().invoke(main, ["curate", *map(str, args)])


def test_the_command_prints_counts(run):
    result = invoke(run.path, "--min-margin", "0", "--resolution", "48")
    assert result.exit_code == 0, result.output
    assert "23 correct" in result.stdout
    assert f"images in {run.path / 'curated'}" in result.stdout


def test_the_command_prints_json_for_machines(run):
    result = invoke(run.path, "--json", "--export", "none")
    counts = json.loads(result.stdout)
    assert (counts["candidates"], counts["kept"], counts["exported"]) == (32, 12, 0)
    assert {"filter": "correct", "removed": 8, "left": 23} in counts["stages"]
    assert not (run.path / "curated").exists()


def test_the_command_fails_in_one_line(run, tmp_path):
    result = invoke(run.path, "--min-score", "0.99")
    assert result.exit_code == 1
    assert "error: 0 images were kept" in result.stderr
    assert invoke(tmp_path).exit_code == 1
    assert invoke(run.path, "--min-score", "2").exit_code == 2
