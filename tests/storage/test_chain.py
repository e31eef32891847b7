"""A whole run on a store ends with the tables of one in a folder, whatever the store does."""

from __future__ import annotations

import polars as pl
import pytest

from t2i_spatial.locations import locate
from t2i_spatial.run import Run
from tests.storage import chain


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Run:
    """The run in a folder."""
    folder = tmp_path_factory.mktemp("here")
    (folder / "prompts.txt").write_text(chain.PROMPTS)
    return chain.generated(folder / "made", folder / "prompts.txt")


@pytest.fixture(scope="module")
def imported_here(here, tmp_path_factory) -> Run:
    folder = here.path.parent
    return chain.imported(folder / "run", here.path / "images", folder / "prompts.txt")


def test_images_made_on_a_store_are_those_made_in_a_folder(here, url):
    locate(f"{url}/prompts.txt").write_text(chain.PROMPTS)
    run = chain.generated(f"{url}/made", f"{url}/prompts.txt")
    assert run.images().equals(here.images())
    assert chain.pixels(run) == chain.pixels(here)
    assert run.plan("generate") == here.plan("generate")
    run.path.joinpath("images/00001_0.png").unlink()
    again = chain.generated(f"{url}/made", f"{url}/prompts.txt")
    assert chain.pixels(again) == chain.pixels(here)


def test_images_on_a_store_are_imported_and_looked_at(imported_here, url):
    for path in imported_here.images()["image"]:
        locate(f"{url}/images/{path.rpartition('/')[2]}").write_bytes(locate(path).read_bytes())
    locate(f"{url}/prompts.txt").write_text(chain.PROMPTS)
    run = chain.imported(f"{url}/run", f"{url}/images", f"{url}/prompts.txt")
    there, local = chain.tables(run), chain.tables(imported_here)
    assert there.keys() == local.keys()
    for name in local:
        same = [column for column in local[name].columns if column != "image"]
        assert there[name].select(same).equals(local[name].select(same)), name
    assert run.images()["image"].str.starts_with(f"{url}/images/").all()
    assert run.detections().filter(pl.col("detections").list.len() > 0).height
