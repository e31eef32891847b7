"""A whole run on a store ends with the tables of one in a folder, whatever the store does."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from t2i_spatial.cli.main import main
from t2i_spatial.curation.exporter import MARK
from t2i_spatial.files import read_table
from t2i_spatial.locations import locate
from t2i_spatial.metrics.numbers import Intervals
from t2i_spatial.prompts import load_prompts
from t2i_spatial.run import Run
from t2i_spatial.stages.card import differences, make_card
from t2i_spatial.stages.clip_score import clip_score_run
from t2i_spatial.stages.color import color_run
from t2i_spatial.stages.compare import compare_runs
from t2i_spatial.stages.depth import depth_run
from t2i_spatial.stages.detect import detect_run
from t2i_spatial.stages.finetune import finetune_folder
from t2i_spatial.stages.import_images import import_images
from t2i_spatial.stages.stage_settings import DetectSettings
from t2i_spatial.training.hyperparameters import FinetuneSettings
from tests.detectors import tiny
from tests.storage import chain


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Run:
    """The images, made in a folder."""
    folder = tmp_path_factory.mktemp("here")
    (folder / "prompts.txt").write_text(chain.PROMPTS)
    return chain.generated(folder / "made", folder / "prompts.txt")


@pytest.fixture(scope="module")
def judged_here(here) -> Run:
    folder = here.path.parent
    return chain.judged(folder / "run", here.path / "images", folder / "prompts.txt")


def test_images_made_on_a_store_are_those_made_in_a_folder(here, url):
    locate(f"{url}/prompts.txt").write_text(chain.PROMPTS)
    run = chain.generated(f"{url}/made", f"{url}/prompts.txt")
    assert run.images().equals(here.images())
    assert chain.pixels(run) == chain.pixels(here)
    assert run.plan("generate") == here.plan("generate")
    run.path.joinpath("images/00001_0.png").unlink()
    again = chain.generated(f"{url}/made", f"{url}/prompts.txt")
    assert chain.pixels(again) == chain.pixels(here)


@pytest.mark.parametrize("fault", ["every tenth request fails", "late answers"])
def test_the_stages_on_a_bad_store_end_with_the_tables_of_a_folder(
    here, judged_here, url, faults, monkeypatch, fault
):
    for path in (here.path / "images").iterdir():
        locate(f"{url}/images/{path.name}").write_bytes(path.read_bytes())
    locate(f"{url}/prompts.txt").write_text(chain.PROMPTS)
    monkeypatch.setattr("t2i_spatial.patience.FIRST_PAUSE", 0.01)
    faults.every = 10 if "fails" in fault else 0
    faults.delay = 0.2 if "late" in fault else 0.0
    run = chain.judged(f"{url}/run", f"{url}/images", f"{url}/prompts.txt")
    there, local = chain.tables(run), chain.tables(judged_here)
    assert there.keys() == local.keys()
    assert {"answers/boxes.parquet", "selection.parquet", "verdicts/visor.parquet"} <= there.keys()
    for name in local:
        assert there[name].equals(local[name]), name
    assert run.summary() == judged_here.summary()
    ours, theirs = (chain.contents(one.path / "curated") for one in (run, judged_here))
    assert ours.pop(MARK) != theirs.pop(MARK)  # the origin knows where the images lie
    assert ours == theirs
    assert "data:image/webp" in (run.path / "report.html").read_text()
    if "late" in fault:
        compared = compare_runs(run.path, judged_here.path, (), Intervals(resamples=50))
        assert compared.comparable
        assert differences(make_card(run), run) == []
        assert make_card(run)["images"] == make_card(judged_here)["images"]


def test_one_command_on_a_store_ends_with_those_tables_too(here, judged_here, url, tmp_path):
    chain.copied(here, f"{url}/made")
    locate(f"{url}/prompts.txt").write_text(chain.PROMPTS)
    locate(f"{url}/all.yaml").write_text(
        f"output: {url}/run\n"
        f"prompts: {{source: {url}/prompts.txt}}\n"
        f"images: {{folder: {url}/made/images}}\n"
        "detect: {detector: bundled, batch_size: 2}\n"
        "ask: {judge: boxes, protocols: [spatial_vqa]}\n"
        "curate: {pipeline: [present, upright]}\n"
    )
    told = CliRunner().invoke(main, ["run", f"{url}/all.yaml"])
    assert told.exit_code == 0, told.output
    run = Run.open(f"{url}/run")
    there, local = chain.tables(run), chain.tables(judged_here)
    assert {name for name in local if not there[name].equals(local[name])} == set()
    lora, made = finetune_folder(f"{url}/run", tmp_path / "lora", FinetuneSettings(steps=1))
    assert made["images"] == 4
    assert list(lora.glob("*.safetensors"))


def test_depth_colour_and_clip_score_of_pictures_on_a_store_are_those_of_a_folder(
    here, url, tmp_path
):
    depth, clip = str(tiny.depth_anything(tmp_path / "depth")), tiny.clip(tmp_path / "clip")
    there = chain.copied(here, f"{url}/run")
    for run in (here, there):
        detect_run(run, DetectSettings(batch_size=2))
        color_run(run, "pixels")
        depth_run(run, depth, device="cpu")
        clip_score_run(run, clip, device="cpu", batch_size=2)
    scores = [read_table(run.path / "clip_score.parquet") for run in (here, there)]
    assert scores[0].equals(scores[1])
    assert there.detections().equals(here.detections())
    found = there.detections()["detections"].explode().drop_nulls().struct.unnest()
    assert found["depth"].null_count() == found["color"].null_count() == 0
    assert len(found)


def test_jobs_of_a_batch_scheduler_meet_on_a_store(here, url, monkeypatch):
    monkeypatch.setattr("t2i_spatial.stages.image_batches.SHARD_IMAGES", 1)
    prompts = load_prompts(here.path.parent / "prompts.txt")
    whole, parts = (Run.create(f"{url}/{name}") for name in ("whole", "parts"))
    for run in (whole, parts):
        import_images(run, here.path / "images", prompts)
    detect_run(whole)
    for job in ("1/2", "2/2"):
        assert not parts.has("detections/main.parquet")
        command = ["detect", str(parts.path), "--detector", "bundled", "--shard", job]
        told = CliRunner().invoke(main, command)
        assert told.exit_code == 0, told.output
    assert Run.open(parts.path).detections().equals(whole.detections())
