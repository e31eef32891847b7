from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from t2i_spatial.errors import InputError
from t2i_spatial.report import contact_sheet
from t2i_spatial.report.contact_sheet import before_and_after
from t2i_spatial.run import Run
from tests.report.drawn_run import drawn_run

BLUE = np.array([0x1F, 0x6F, 0xD6])


def test_a_sheet_shows_the_images_with_their_boxes(tmp_path):
    run = drawn_run(tmp_path / "run")
    path = contact_sheet(run, tmp_path / "sheet.png", images=4, columns=2, cell=120)
    with Image.open(path) as image:
        sheet = np.asarray(image.convert("RGB")).astype(int)
    assert sheet.shape[0] > sheet.shape[1] > 2 * 240
    assert (np.abs(sheet - BLUE).sum(axis=2) == 0).sum() > 500


def test_images_can_be_named(tmp_path):
    run = drawn_run(tmp_path / "run")
    one = contact_sheet(run, tmp_path / "one.png", keys=[("p1", 0)], cell=100)
    two = contact_sheet(run, tmp_path / "two.png", keys=[("p1", 0), ("p3", 0)], cell=100)
    with Image.open(one) as a, Image.open(two) as b:
        assert a.height == b.height and a.width < b.width


def test_a_sheet_of_nothing_is_refused(tmp_path):
    run = drawn_run(tmp_path / "run")
    with pytest.raises(InputError, match="none of the asked images"):
        contact_sheet(run, tmp_path / "sheet.png", keys=[("nobody", 0)])
    assert not (tmp_path / "sheet.png").exists()


def test_two_runs_stand_above_each_other_with_the_same_prompts(tmp_path):
    run = drawn_run(tmp_path / "run")
    path = before_and_after(run, run, tmp_path / "both.png", "visor", images=2, columns=2)
    with Image.open(path) as image:
        sheet = np.asarray(image.convert("RGB")).astype(int)
    half = (len(sheet) - 26) // 2  # the gap below the last row
    rows = [sheet[:half], sheet[half : 2 * half]]  # the same pictures, other words below them
    pictures = [part[: 26 + 320] for part in rows]
    assert np.abs(pictures[0] - pictures[1]).max() == 0
    assert np.abs(rows[0] - rows[1]).max() > 0
    empty = Run.create(tmp_path / "empty")
    empty.write_images(run.images().clear())
    empty.write_prompts(run.prompts().clear())
    with pytest.raises(InputError, match="share no image"):
        before_and_after(run, empty, tmp_path / "none.png", "visor")
