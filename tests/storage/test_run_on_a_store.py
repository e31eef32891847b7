from __future__ import annotations

import pytest
from PIL import Image

from t2i_spatial.files import atomic_write
from t2i_spatial.locations import locate
from t2i_spatial.run import Run
from t2i_spatial.stages.curate import CurateSettings, curate_detections
from t2i_spatial.view.app import create_app
from tests.storage import chain
from tests.view.client import browser


@pytest.mark.parametrize("kind", ["s3", "memory"])
def test_a_run_on_a_store_holds_the_tables_of_one_in_a_folder(kind, url, tmp_path):
    place = url if kind == "s3" else f"memory://{url.partition('://')[2]}"
    here, there = chain.scored(tmp_path / "run"), chain.scored(f"{place}/run")
    again = Run.open(f"{place}/run")
    assert again.prompts().equals(here.prompts())
    assert again.detections().equals(here.detections())
    assert again.verdicts().equals(here.verdicts())
    assert again.summary() == here.summary()
    assert str(there.path) == f"{place}/run"
    left = sorted(path.name for path in there.path.iterdir())
    assert left == sorted(path.name for path in here.path.iterdir() if path.name != ".run.lock")


def test_the_beginning_of_an_empty_file_is_empty(url):
    place = locate(f"{url}/empty")
    place.write_bytes(b"")
    assert place.read_bytes(10) == b""
    place.write_bytes(b"0123456789abc")
    assert place.read_bytes(10) == b"0123456789"


def test_the_viewer_shows_a_run_on_a_store_as_one_in_a_folder(url, tmp_path):
    here, there = chain.scored(tmp_path / "run"), chain.scored(f"{url}/run")
    asked = ("found?protocol=visor", "page?protocol=visor", "evidence?protocol=visor&rows=0,3")
    one, two = browser(create_app([here])), browser(create_app([there]))
    for question in asked:
        shown = two.get(f"/api/{question}")
        assert shown.status_code == 200
        assert shown.json() == one.get(f"/api/{question}").json()


def test_boxes_of_a_file_on_a_store_are_curated_to_a_store(url, tmp_path):
    run = chain.scored(f"{url}/run")
    for image in run.detections()["image"]:
        with atomic_write(run.path / image) as file:
            Image.new("RGB", (512, 512), "white").save(file, "PNG")
        with atomic_write(tmp_path / image) as file:
            Image.new("RGB", (512, 512), "white").save(file, "PNG")
    boxes = run.path / "detections" / "main.parquet"
    (tmp_path / "boxes.parquet").write_bytes(boxes.read_bytes())
    settings = CurateSettings(pairs=True, pipeline=("present",), min_images=1)
    there = curate_detections(boxes, locate(f"{url}/set"), settings, images=run.path)
    here = curate_detections(tmp_path / "boxes.parquet", tmp_path / "set", settings)
    assert there.images == here.images > 0
    assert there.selection.frame().equals(here.selection.frame())
    assert chain.contents(there.folder).keys() == chain.contents(here.folder).keys()
