"""Comparing large runs piece by piece: the same differences to the last digit."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

from t2i_spatial import parts
from t2i_spatial.errors import InputError
from t2i_spatial.metrics.numbers import Intervals
from t2i_spatial.stages.compare import compare_runs
from t2i_spatial.stages.score import make_protocols, score_run
from t2i_spatial.statistics.paired import difference_of_sums, paired_difference, paired_sums
from tests.stages.large_runs import PROMPTS, Reads, large_run, small_bounds

NAMES = ["visor", "geneval_reward", "spatial"]
FEW = Intervals(resamples=200)


def scored(folder, **options):
    run = large_run(folder, **options)
    score_run(run, make_protocols(NAMES))
    return run.path


@pytest.fixture
def runs(tmp_path):
    return scored(tmp_path / "a"), scored(tmp_path / "b", seed=1)


def compared(a, b, **options):
    """Every number of a comparison by its place; sums of soft scores may differ in the last bit."""
    options = {"intervals": FEW, "by": ["relation", "tag"], "decide": True, **options}
    found = {}

    def put(place, value):
        if isinstance(value, dict):
            for key, part in value.items():
                put(f"{place}.{key}", part)
        else:
            found[place] = round(value, 12) if isinstance(value, float) else value

    put("", dataclasses.asdict(compare_runs(a, b, NAMES, **options))["protocols"])
    return found


@pytest.mark.parametrize("allow_missing", [False, True])
def test_pieces_give_what_the_whole_gives(runs, monkeypatch, allow_missing):
    options = {"intervals": dataclasses.replace(FEW, allow_missing=allow_missing)}
    whole = compared(*runs, **options)
    small_bounds(monkeypatch)
    assert compared(*runs, **options) == whole


def test_tables_of_other_orders_are_paired_prompt_by_prompt(runs, monkeypatch):
    whole = compared(*runs)
    small_bounds(monkeypatch)
    for name in NAMES:
        path = runs[1] / "verdicts" / f"{name}.parquet"
        table = pl.read_parquet(path)
        parts.remove(path)
        parts.write(path, table.sample(fraction=1.0, shuffle=True, seed=3))
    assert compared(*runs) == whole


def test_images_of_one_run_only_are_counted_piece_by_piece(runs, monkeypatch):
    small_bounds(monkeypatch)
    table = pl.read_parquet(runs[1] / "verdicts" / "visor.parquet")
    parts.write(runs[1] / "verdicts" / "visor.parquet", table[:-7])
    pairs = compare_runs(*runs, ["visor"], FEW).protocols["visor"].pairs
    assert (pairs.only_a, pairs.only_b, pairs.images) == (7, 0, len(table) - 7)


def test_no_table_is_read_whole(tmp_path, monkeypatch):
    small_bounds(monkeypatch)
    a, b = (scored(tmp_path / name, seed=k, samples=8) for k, name in enumerate("ab"))
    reads = Reads(monkeypatch)
    compare_runs(a, b, ["visor", "spatial"], FEW)
    assert 0 < reads.most <= 2 * PROMPTS < PROMPTS * 8 / 2


def test_the_same_image_twice_and_nothing_to_pair_are_said(runs, monkeypatch):
    small_bounds(monkeypatch)
    tables = [pl.read_parquet(run / "verdicts" / "visor.parquet") for run in runs]
    for run, table in zip(runs, tables, strict=True):
        parts.write(run / "verdicts" / "visor.parquet", table[:-1].vstack(table[:1]))
    with pytest.raises(InputError, match="the same image twice"):
        compare_runs(*runs, ["visor"], FEW)
    for run, table, rows in zip(runs, tables, (slice(0, 120), slice(120, 240)), strict=True):
        parts.write(run / "verdicts" / "visor.parquet", table[rows])
    with pytest.raises(InputError, match="none of the 120 images of A and 120 of B"):
        compare_runs(*runs, ["visor"], FEW)


def test_sums_of_parts_of_rows_add_up_in_any_order():
    rng = np.random.default_rng(0)
    below = rng.integers(0, 2, (2, 300)).astype(float)
    above = below * rng.integers(0, 2, (2, 300))
    above[0, :40] *= 0.5  # soft scores in some prompts
    rows = above[0], below[0], above[1], below[1], rng.integers(0, 50, 300)
    whole = paired_difference(*rows, resamples=100)
    pieces = [paired_sums(*(column[k::3] for column in rows)) for k in (2, 0, 1)]
    added = pieces[0] + pieces[1] + pieces[2]
    assert difference_of_sums(added, resamples=100) == whole
    chosen = pl.Series(range(25))
    inside = rows[4] < 25
    some = paired_difference(*(column[inside] for column in rows), resamples=100)
    assert difference_of_sums(added.only(chosen), resamples=100) == some
