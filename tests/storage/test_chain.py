"""A whole run on a store ends with the tables of one in a folder, whatever the store does."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from t2i_spatial.cli.main import main
from t2i_spatial.curation.exporter import MARK
from t2i_spatial.locations import locate
from t2i_spatial.metrics.numbers import Intervals
from t2i_spatial.run import Run
from t2i_spatial.stages.card import differences, make_card
from t2i_spatial.stages.compare import compare_runs
from t2i_spatial.stages.finetune import finetune_folder
from t2i_spatial.training.hyperparameters import FinetuneSettings
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


@pytest.mark.parametrize("fault", ["none", "every tenth request fails", "late answers"])
def test_the_stages_on_a_store_end_with_the_tables_of_a_folder(
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
    if fault == "none":
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
