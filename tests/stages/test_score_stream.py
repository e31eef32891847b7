from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from t2i_spatial import parts
from t2i_spatial.errors import InputError
from t2i_spatial.metrics.base import PROTOCOLS, Metric
from t2i_spatial.metrics.numbers import Intervals
from t2i_spatial.run import Run
from t2i_spatial.stages import score_stream
from t2i_spatial.stages.protocols import make_protocols
from t2i_spatial.stages.score_sources import score_detections
from t2i_spatial.stages.score_stream import score_parquet
from t2i_spatial.stages.scores import complete, score_tables
from t2i_spatial.tables import prompts_to_table, table_to_prompts
from tests.builders import box, detection_rows, detections, relation_prompt

ALLOWING = Intervals(allow_missing=True)
RELATIONS = ("left of", "above", "on", "next to")
NAMES = [
    "visor",
    "geneval",
    "geneval_reward",
    "t2i_compbench_2d",
    "t2i_compbench_numeracy",
    "spatial",
]


@pytest.fixture
def table():
    rng = np.random.default_rng(3)
    prompts = [relation_prompt("cat", RELATIONS[i % 4], "dog", f"p{i}") for i in range(30)]
    found = {}
    for prompt in prompts:
        for sample in range(4):
            if rng.random() < 0.1 or prompt.id == "p7":
                continue
            items = []
            for name in rng.choice(["cat", "dog"], rng.integers(0, 4)):
                x, y = rng.integers(0, 400, 2)
                items.append(box(str(name), x, y, x + 60, y + 60, float(rng.uniform(0.05, 1))))
            found[prompt.id, sample] = detections(*items)
    rows = detection_rows(found, {("p7", 0): "image_unreadable"})
    return prompts_to_table(prompts), rows


def test_slices_give_the_numbers_and_verdicts_of_the_whole(table, tmp_path):
    prompts, rows = table
    rows.write_parquet(tmp_path / "found.parquet")
    run = Run.create(tmp_path / "run")
    whole = score_tables(prompts, complete(rows, prompts), make_protocols(NAMES))
    sliced = score_parquet(
        tmp_path / "found.parquet", prompts, make_protocols(NAMES), output=run, size=17
    )
    assert sliced.summary == whole.summary
    assert (sliced.n_scored, sliced.n_expected) == (whole.n_scored, 120)
    for name in NAMES:
        order = ["prompt_id", "sample"]
        assert run.verdicts(name).sort(order).equals(whole.verdicts[name].sort(order))
    assert not list(run.path.glob(".shards/*"))


def test_fewer_samples_and_allowed_gaps_are_the_same_too(table, tmp_path):
    prompts, rows = table
    rows.write_parquet(tmp_path / "found.parquet")
    whole = score_tables(
        prompts, complete(rows, prompts, samples=2), make_protocols(["visor"]), ALLOWING
    )
    sliced = score_parquet(
        tmp_path / "found.parquet", prompts, make_protocols(["visor"]), size=11, samples=2,
        intervals=ALLOWING,
    )  # fmt: skip
    assert sliced.summary == whole.summary


def test_a_doubled_image_is_found_across_slices(table, tmp_path):
    prompts, rows = table
    pl.concat([rows, rows[:1]]).write_parquet(tmp_path / "found.parquet")
    with pytest.raises(InputError, match="same image twice"):
        score_parquet(tmp_path / "found.parquet", prompts, make_protocols(["visor"]), size=17)


def test_images_of_other_prompts_are_refused(table, tmp_path):
    prompts, rows = table
    rows.write_parquet(tmp_path / "found.parquet")
    with pytest.raises(InputError, match="belong to no prompt"):
        score_parquet(tmp_path / "found.parquet", prompts[5:], make_protocols(["visor"]))
    rows.drop("sample").write_parquet(tmp_path / "found.parquet")
    with pytest.raises(InputError, match="no column 'sample'"):
        score_parquet(tmp_path / "found.parquet", prompts, make_protocols(["visor"]))


def test_protocols_that_do_not_add_up_are_refused(table, tmp_path, monkeypatch):
    prompts, rows = table
    rows.write_parquet(tmp_path / "found.parquet")

    class Other(Metric):
        name = "other"
        judge = summarize = None

    with pytest.raises(InputError, match="other cannot be summed"):
        score_parquet(tmp_path / "found.parquet", prompts, [Other()])


def test_large_files_are_scored_in_slices_by_the_command(table, tmp_path, monkeypatch):
    prompts, rows = table
    rows.write_parquet(tmp_path / "found.parquet")
    prompts.write_parquet(tmp_path / "prompts.parquet")
    ask = (tmp_path / "found.parquet", table_to_prompts(prompts), make_protocols(["visor"]))
    small = score_detections(*ask)
    monkeypatch.setattr(score_stream, "LARGE", 50)
    large = score_detections(*ask, output=tmp_path / "run")
    assert large.summary == small.summary
    publish = parts.Writer.publish

    def killed(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(parts.Writer, "publish", killed)
    with pytest.raises(KeyboardInterrupt):
        score_detections(*ask, output=tmp_path / "run")
    with pytest.raises(InputError, match="not finished"):
        Run.open(tmp_path / "run").summary()
    monkeypatch.setattr(parts.Writer, "publish", publish)
    assert score_detections(*ask, output=tmp_path / "run").summary == small.summary
    run = Run.open(tmp_path / "run")
    assert len(run.verdicts("visor")) == 120 and not run.has("detections/main.parquet")


def test_every_protocol_of_ours_adds_up():
    assert all(hasattr(PROTOCOLS[name], "tally") for name in PROTOCOLS)


def test_labels_numbers_and_fractions_are_those_of_the_whole_file(table, tmp_path):
    prompts, rows = table
    path = tmp_path / "found.parquet"
    spelt = [
        None if row is None else [{**d, "label": d["label"].title() + "s"} for d in row]
        for row in rows["detections"].to_list()
    ]
    other = rows.with_columns(pl.Series("detections", spelt, dtype=rows.schema["detections"]))
    other.write_parquet(path)
    whole = score_tables(prompts, complete(rows, prompts), make_protocols(["visor"]))
    assert score_parquet(path, prompts, make_protocols(["visor"]), size=17).summary == whole.summary
    seeds = pl.int_range(pl.len(), dtype=pl.Int64) * 97_000_000
    rows.with_columns(seeds.alias("sample")).write_parquet(path)
    with pytest.raises(InputError, match="number them from 0 within each prompt"):
        score_parquet(path, prompts, make_protocols(["visor"]), size=17)
    shrunk = [
        None if row is None else [{**d, "box": [v / 512 for v in d["box"]]} for d in row]
        for row in rows["detections"].to_list()
    ]
    small = rows.with_columns(pl.Series("detections", shrunk, dtype=rows.schema["detections"]))
    small.write_parquet(path)
    with pytest.raises(InputError, match="multiply them by width and height"):
        score_parquet(path, prompts, make_protocols(["visor"]), size=17)
