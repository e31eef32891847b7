"""A package of its own adds one of each kind: installed for real, found by its entry points."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from PIL import Image, ImageDraw

from tests.limits import HANGS

PACKAGE = Path(__file__).parent / "plugin_package"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    target = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
         "--no-build-isolation", "--target", target, PACKAGE],
        check=True,
        timeout=HANGS,
    )  # fmt: skip
    return target


@pytest.fixture(scope="module")
def command(installed, tmp_path_factory):
    """The command line with the package installed, in a folder of its own."""
    folder = tmp_path_factory.mktemp("work")
    path = os.pathsep.join([str(installed), *sys.path])

    def call(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "t2i_spatial", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=HANGS,
        )
        assert done.returncode == 0, done.stderr
        assert "warning" not in done.stderr
        return done.stdout

    call.folder = folder
    return call


@pytest.fixture(scope="module")
def scores(command):
    """Drawings of a red square beside a blue one: level, lower, missing, and level but upright."""
    (command.folder / "images").mkdir()
    for sample, (size, top) in enumerate([((96, 64), 20), ((96, 64), 40), ((96, 64), None),
                                          ((64, 96), 20)]):  # fmt: skip
        image = Image.new("RGB", size, "white")
        draw = ImageDraw.Draw(image)
        draw.rectangle((5, 20, 24, 39), fill=(255, 0, 0))
        if top is not None:
            draw.rectangle((40, top, 59, top + 19), fill=(0, 0, 255))
        image.save(command.folder / "images" / f"00000_{sample}.png")
    triple = "subject,relation,object\nred ball,at the same height as,blue box\n"
    (command.folder / "triples.csv").write_text(triple)
    said = command("score", "--images", "images", "--prompts", "triples.csv", "--detector",
                   "color_blobs:", "-p", "presence", "-p", "spatial", "-o", "run",
                   "--json")  # fmt: skip
    return json.loads(said)


def test_its_prompt_format_makes_scenes(scores, command):
    prompt = pl.read_parquet(command.folder / "run" / "prompts.parquet").row(0, named=True)
    assert prompt["text"] == "a red ball at the same height as a blue box"
    assert [entry["name"] for entry in prompt["objects"]] == ["red ball", "blue box"]
    assert prompt["relations"][0]["relation"] == "level with"


def test_its_detector_finds_boxes(scores, command):
    table = pl.read_parquet(command.folder / "run" / "detections" / "main.parquet").sort("sample")
    found = [[(d["label"], d["box"]) for d in row] for row in table["detections"].to_list()]
    assert sorted(found[0]) == [("blue box", [40, 20, 60, 40]), ("red ball", [5, 20, 25, 40])]
    assert found[2] == [("red ball", [5, 20, 25, 40])]


def test_its_protocol_scores(scores):
    assert scores["presence"]["presence"]["value"] == pytest.approx((1 + 1 + 0.5 + 1) / 4)


def test_its_relation_is_judged_by_its_rule(scores, command):
    assert scores["spatial"]["accuracy"]["value"] == 0.5
    table = pl.read_parquet(command.folder / "run" / "verdicts" / "spatial.parquet").sort("sample")
    assert table["correct"].to_list() == [True, False, False, True]
    assert table["reason"][0].startswith("red ball is level with blue box")


def test_its_relation_is_read_by_the_parser(command):
    said = json.loads(command("prompts", "parse", "a cat on a level with a dog", "--json"))
    scene = said.get("scene", said)
    assert [r["relation"] for r in scene["relations"]] == ["level with"]


def test_its_relation_is_sampled_worded_and_drawn(command):
    said = command("prompts", "sample", "--count", "2", "--relation", "level with")
    for line in said.splitlines():
        prompt = json.loads(line)
        assert " level with " in prompt["text"]
        one, other = (entry["box"] for entry in prompt["metadata"]["layout"])
        assert one[1] + one[3] == pytest.approx(other[1] + other[3], abs=0.02)


def test_its_filter_and_its_exporter_make_a_training_set(scores, command):
    said = command("curate", "run", "--protocol", "presence", "--filter", "wide", "--export",
                   "captions_tsv")  # fmt: skip
    assert "3 clear → 2 wide" in said
    folder = command.folder / "run" / "curated-captions_tsv"
    table = pl.read_csv(folder / "captions.tsv", separator="\t")
    assert table["caption"].to_list() == ["a red ball at the same height as a blue box"] * 2
    assert [(folder / "images" / name).exists() for name in table["file"]] == [True, True]
    reasons = pl.read_parquet(command.folder / "run" / "selection.parquet")["reason"].to_list()
    assert "64 x 96 pixels is too narrow" in reasons


def test_its_detection_format_is_read(command):
    boxes = [["Red-Ball", 0.9, 15, 30, 20, 20], ["blue box", 0.8, 50, 30, 20, 20]]
    (command.folder / "boxes.json").write_text(json.dumps({"frames": {"00000_0.png": boxes}}))
    triple = "subject,relation,object\nred ball,left of,blue box\n"
    (command.folder / "left.csv").write_text(triple)
    said = command("score", "--detections", "boxes.json", "--prompts", "left.csv", "-p", "visor",
                   "--json")  # fmt: skip
    assert json.loads(said)["visor"]["VISOR_uncond"]["value"] == 1
