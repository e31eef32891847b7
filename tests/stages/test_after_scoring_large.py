"""What follows scoring, on a large run: piece by piece, with the results of the whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from t2i_spatial import parts
from t2i_spatial.metrics.numbers import DEFAULTS
from t2i_spatial.report.content import read_curation, read_protocols
from t2i_spatial.report.gallery import build_cards, choose
from t2i_spatial.run import Run
from t2i_spatial.stages import curation_sources
from t2i_spatial.stages.auditing.pick import pick_run
from t2i_spatial.stages.auditing.settings import PickSettings
from t2i_spatial.stages.card import make_card
from t2i_spatial.stages.curate import curate_run
from t2i_spatial.stages.score import make_protocols, score_run
from t2i_spatial.stages.stage_settings import CurateSettings
from t2i_spatial.stages.stored_summary import summary_of
from t2i_spatial.view.index import read_index, read_prompts
from tests.stages.large_runs import PROMPTS, Reads, large_run, small_bounds

SAMPLES = 8
FILTERS = ["scored", "correct", "margin"]


def made(folder: Path) -> Run:
    run = large_run(folder, samples=SAMPLES)
    score_run(run, make_protocols(["visor"]))
    settings = CurateSettings(protocol="visor", pipeline=FILTERS, export=None, min_images=1)
    curate_run(run, settings, announce=False)
    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return made(tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture(scope="module")
def in_parts(tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as monkeypatch:
        _bounds(monkeypatch)
        return made(tmp_path_factory.mktemp("parts") / "run")


@pytest.fixture
def pieces(in_parts: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same run in parts; from here on small bounds hold."""
    _bounds(monkeypatch)
    return in_parts


def _bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    small_bounds(monkeypatch)
    monkeypatch.setattr(parts, "BATCH", 10)
    monkeypatch.setattr(curation_sources, "SLICE", 30)


def report_of(run: Run) -> Any:
    chosen, total = choose(run, 12)
    cards = build_cards(run, chosen.rows())
    return chosen.rows(), total, cards, read_protocols(run), read_curation(run)


def view_of(run: Run) -> Any:
    index = read_index(run, read_prompts(run), "visor")
    arrays = [index.prompt, index.sample, index.image, index.value, index.margin, index.keys]
    groups = {k: (c.names, c.codes.tolist()) for k, c in index.columns.items()}
    return [np.nan_to_num(array).tolist() for array in arrays], groups


def numbers_of(run: Run) -> Any:
    visor = make_protocols(["visor"])[0]
    return summary_of(run, visor, run.prompts(), DEFAULTS), make_card(run, "x", again=True)


def selection_of(run: Run) -> Any:
    table = pl.read_parquet(run.path / "selection.parquet")
    return table.to_dicts(), run.results("curate")


def picks_of(run: Run) -> Any:
    first = pick_run(run, PickSettings(number=5)).drop("image_sha256").rows()
    return first, pick_run(run, PickSettings(number=7)).drop("image_sha256").rows()


@pytest.mark.parametrize(
    "look", [report_of, view_of, numbers_of, selection_of, picks_of], ids=lambda f: f.__name__
)
def test_pieces_give_what_the_whole_gives(
    whole: Run, in_parts: Run, monkeypatch: pytest.MonkeyPatch, look: Callable[[Run], Any]
) -> None:
    expected = look(whole)
    _bounds(monkeypatch)
    assert (in_parts.path / "images.parquet").is_dir()
    assert look(in_parts) == expected


@pytest.mark.parametrize("look", [report_of, view_of, selection_of], ids=lambda f: f.__name__)
def test_no_table_is_read_whole(
    pieces: Run, monkeypatch: pytest.MonkeyPatch, look: Callable[[Run], Any]
) -> None:
    reads = Reads(monkeypatch)
    if look is selection_of:
        settings = CurateSettings(protocol="visor", pipeline=FILTERS, export=None, min_images=1)
        curate_run(pieces, settings, announce=False)
    else:
        look(pieces)
    assert 0 < reads.most <= 2 * PROMPTS < PROMPTS * SAMPLES / 2


def test_a_selection_of_another_order_finds_its_images(pieces: Run, tmp_path: Path) -> None:
    expected = view_of(pieces)
    run = Run.open(shutil.copytree(pieces.path, tmp_path / "run"))
    path = run.path / "selection.parquet"
    pl.read_parquet(path).reverse().write_parquet(path)
    assert view_of(run) == expected
