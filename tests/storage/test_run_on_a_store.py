from __future__ import annotations

import pytest

from t2i_spatial.locations import locate
from t2i_spatial.run import Run
from tests.storage.chain import scored


@pytest.mark.parametrize("kind", ["s3", "memory"])
def test_a_run_on_a_store_holds_the_tables_of_one_in_a_folder(kind, url, tmp_path):
    place = url if kind == "s3" else f"memory://{url.partition('://')[2]}"
    here, there = scored(tmp_path / "run"), scored(f"{place}/run")
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
