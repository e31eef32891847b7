"""Selections and training sets of a run on a store are those of the same run in a folder."""

from __future__ import annotations

import pytest

from t2i_spatial.curation.exporter import MARK, UNFINISHED
from t2i_spatial.errors import InputError
from t2i_spatial.locations import locate
from t2i_spatial.run import Run
from t2i_spatial.stages.curate import CurateSettings, TooFewImagesError, curate_run
from tests.curation.runs import make_run, verdict
from tests.storage.chain import contents, copied


@pytest.fixture
def here(tmp_path) -> Run:
    verdicts = [verdict(str(p), s, correct=s != 1, margin=0.4) for p in range(3) for s in range(2)]
    return make_run(tmp_path / "run", verdicts, {}, {("2", 0): "image_missing"})


@pytest.mark.parametrize("export", ["imagefolder", "webdataset"])
def test_a_training_set_on_a_store_has_the_files_of_one_in_a_folder(here, url, export):
    there = copied(here, f"{url}/run")
    settings = CurateSettings(export=export, filters=("present", "upright"))
    local, remote = curate_run(here, settings), curate_run(there, settings)
    assert str(remote.folder) == f"{url}/run/{local.folder.name}"
    assert remote.selection.frame().equals(local.selection.frame())
    assert contents(remote.folder) == contents(local.folder)
    # a smaller set leaves nothing of the larger one behind
    smaller = settings.model_copy(update={"filters": ("correct", "upright")})
    local, remote = curate_run(here, smaller), curate_run(there, smaller)
    assert 0 < remote.images < 6
    assert contents(remote.folder) == contents(local.folder)


def test_a_set_whose_publication_was_killed_is_no_set_and_is_made_again(here, url, monkeypatch):
    there = copied(here, f"{url}/run")
    curate_run(there)
    mark = there.path / "curated" / MARK

    def killed(*_args, **_kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("t2i_spatial.curation.exporter.upload_folder", killed)
        with pytest.raises(KeyboardInterrupt):
            curate_run(there)
    assert mark.read_text().splitlines()[1] == UNFINISHED
    curate_run(there)
    assert mark.read_text().splitlines()[1] not in ("", UNFINISHED)


def test_what_is_no_training_set_of_ours_stays(here, url):
    there = copied(here, f"{url}/run")
    locate(f"{url}/run/curated/letter.txt").write_text("dear")
    with pytest.raises(InputError, match="not a curated set"):
        curate_run(there)
    assert locate(f"{url}/run/curated/letter.txt").read_text() == "dear"


def test_a_selection_that_keeps_too_little_says_why_and_takes_the_older_set_away(here, url):
    there = copied(here, f"{url}/run")
    curate_run(there)
    with pytest.raises(TooFewImagesError):
        curate_run(there, CurateSettings(min_images=50))
    assert not (there.path / "curated").exists()
    assert there.has("selection.parquet")
