"""Every stage makes the same files on every engine, and after any interruption."""

from __future__ import annotations

import itertools
import shutil

import pytest

from t2i_spatial.engines import EngineSettings, Local, make_engine
from t2i_spatial.files import read_table
from t2i_spatial.jobs import JobDone
from t2i_spatial.run import Run
from t2i_spatial.scene import ObjectSpec, Prompt, SceneSpec
from t2i_spatial.stages import ask, image_batches
from t2i_spatial.stages.ask import AskSettings, ask_run
from t2i_spatial.stages.clip_score import clip_score_run
from t2i_spatial.stages.color import color_run
from t2i_spatial.stages.depth import depth_run
from t2i_spatial.stages.detect import DetectSettings, detect_run
from t2i_spatial.stages.generate import GenerateSettings, generate_run
from t2i_spatial.stages.merge import merge_run
from t2i_spatial.stages.protocols import make_protocols
from tests.detectors import tiny
from tests.judges.tiny_vlms import tiny_vlm
from tests.tiny_models import tiny_model

# all in one process: what they compare with is made once, and there is one cluster
pytestmark = pytest.mark.xdist_group("ray")

NAMES = ("cat", "dog", "red bus", "chair", "kite")


def prompts():
    return [
        Prompt(str(k), f"a {a} and a {b}", scene=SceneSpec((ObjectSpec(a), ObjectSpec(b))))
        for k, (a, b) in enumerate(itertools.pairwise(NAMES))
    ]


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """Name -> the stage, for batches of two or three images each."""
    folder = tmp_path_factory.mktemp("models")
    made = GenerateSettings(model=str(tiny_model("sd1")), samples=2, steps=1, batch_size=3)
    detector = DetectSettings(detector=str(tiny.owl(folder / "owl")), threshold=0.01, device="cpu")
    depth, clip = str(tiny.depth_anything(folder / "depth")), tiny.clip(folder / "clip")
    asked = AskSettings(judge=f"transformers:{tiny_vlm('llava')}", device="cpu")
    return {
        "generate": lambda run, engine: generate_run(run, prompts(), made, engine=engine),
        "detect": lambda run, engine: detect_run(run, detector, engine=engine),
        "depth": lambda run, engine: depth_run(run, depth, device="cpu", engine=engine),
        "color": lambda run, engine: color_run(run, f"clip:{clip}", device="cpu", engine=engine),
        "clip_score": lambda run, engine: clip_score_run(run, clip, device="cpu", engine=engine),
        "ask": lambda run, engine: ask_run(
            run, make_protocols(["spatial_vqa"]), asked, engine=engine
        ),
    }


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(image_batches, "SHARD_IMAGES", 3)
    monkeypatch.setattr(ask, "BATCH", 5)


@pytest.fixture(scope="module")
def local(stages, tmp_path_factory):
    """A run of which each stage was made undisturbed, as it was before and after each of them."""
    folder = tmp_path_factory.mktemp("local")
    run = Run.create(folder / "0")
    before, after = {}, {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_batches, "SHARD_IMAGES", 3)
        patch.setattr(ask, "BATCH", 5)
        for name, stage in stages.items():
            before[name] = run.path
            run = Run.open(shutil.copytree(run.path, folder / name))
            stage(run, Local())
            after[name] = run.path
    return before, after


ALL = ("generate", "detect", "depth", "color", "clip_score", "ask")


def made_by(path, name):
    """All that a stage makes: tables and images, without the seconds that an answer took."""
    found = {}
    for file in sorted(path.rglob("*")):
        key = str(file.relative_to(path))
        if file.suffix == ".png":
            found[key] = file.read_bytes()
        elif file.suffix == ".parquet" and not key.startswith((".", "contents")):
            table = read_table(file)
            found[key] = table.drop("seconds") if "seconds" in table.columns else table
    return found


def require_equal(first, second, name):
    ours, theirs = made_by(first, name), made_by(second, name)
    assert ours.keys() == theirs.keys()
    for key, content in ours.items():
        same = content == theirs[key] if key.endswith(".png") else content.equals(theirs[key])
        assert same, key
    assert not list(second.glob(".shards/*/*/*"))
    results = [
        Run.open(path).results(name if name != "ask" else "ask-llava") for path in (first, second)
    ]
    assert results[0] == results[1]


@pytest.fixture
def fresh(local, tmp_path, request):
    """The run before the stage, copied; and the one after it."""
    before, after = local
    name = request.getfixturevalue("name")
    return Run.open(shutil.copytree(before[name], tmp_path / "run")), after[name]


def job(text):
    return make_engine(EngineSettings(shard=text))


@pytest.mark.parametrize("name", ALL)
def test_jobs_in_any_order_make_the_same_files(name, stages, fresh):
    run, whole = fresh
    with pytest.raises(JobDone):
        stages[name](run, job("2/2"))
    stages[name](Run.open(run.path), job("1/2"))
    require_equal(whole, run.path, name)


@pytest.mark.parametrize("name", ALL)
def test_a_resumed_stage_makes_the_same_files(name, stages, fresh):
    run, whole = fresh
    with pytest.raises(JobDone):
        stages[name](run, job("3/3"))
    stages[name](Run.open(run.path), Local())
    require_equal(whole, run.path, name)


@pytest.mark.parametrize("name", ALL)
def test_a_cluster_makes_the_same_files(name, stages, fresh, ray_engine):
    run, whole = fresh
    stages[name](run, ray_engine(workers=2 if name == "detect" else 1))
    require_equal(whole, run.path, name)


@pytest.mark.parametrize("name", ["generate", "detect", "depth", "color", "clip_score"])
def test_merge_makes_the_same_files(name, stages, fresh, monkeypatch):
    run, whole = fresh
    with pytest.raises(JobDone):
        stages[name](run, job("1/2"))
    module = {"generate": "generate", "detect": "detect", "clip_score": "clip_score"}
    target = f"t2i_spatial.stages.{module.get(name, 'box_values')}.complete"
    with monkeypatch.context() as patch:

        def killed(*_):
            raise KeyboardInterrupt

        patch.setattr(target, killed)
        with pytest.raises(KeyboardInterrupt):
            stages[name](Run.open(run.path), job("2/2"))
    assert merge_run(Run.open(run.path)) == [name]
    require_equal(whole, run.path, name)
