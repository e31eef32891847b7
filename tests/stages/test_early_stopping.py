"""Early stopping end to end: stored detections, runs, folders and images made as needed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from filelock import FileLock

from t2i_spatial.cli.main import main
from t2i_spatial.errors import IncompleteRunError, InputError, PlanMismatchError
from t2i_spatial.metrics import VISOR
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.prompts import write_prompts
from t2i_spatial.run import LOCK, Run
from t2i_spatial.scene import ObjectSpec, Prompt, SceneSpec
from t2i_spatial.stages.compare import IncomparableRunsError, compare_runs
from t2i_spatial.stages.detect import DetectSettings, detect_run
from t2i_spatial.stages.early_stopping.judge import applicable, decide_until, judge_to_precision
from t2i_spatial.stages.early_stopping.sources import StoredLook
from t2i_spatial.stages.early_stopping.stage import decide_between, score_to_precision
from t2i_spatial.stages.generate import GenerateSettings, generate_run
from t2i_spatial.stages.score import score_run
from t2i_spatial.tables import prompts_to_table
from tests.builders import box, detection_rows, detections, relation_prompt
from tests.detectors import tiny
from tests.tiny_models import tiny_model

RIGHT = detections(box("cat", 10, 10, 50, 50), box("dog", 200, 10, 240, 50))
WRONG = detections(box("cat", 200, 10, 240, 50), box("dog", 10, 10, 50, 50))
NO_DOG = detections(box("cat", 10, 10, 50, 50))


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def benchmark(count: int, *, rate: float = 0.4, seed: int = 0) -> tuple[list[Prompt], pl.DataFrame]:
    """Prompts and detections; two images of each, right at `rate`."""
    rng = np.random.default_rng(seed)
    prompts = [relation_prompt("cat", "left of", "dog", id=f"p{k:04d}") for k in range(count)]
    outcomes = rng.choice(3, size=(count, 2), p=[0.2, 0.8 - rate, rate])
    images = {
        (prompt.id, sample): (NO_DOG, WRONG, RIGHT)[outcomes[k, sample]]
        for k, prompt in enumerate(prompts)
        for sample in range(2)
    }
    return prompts, detection_rows(images)


@pytest.fixture(scope="module")
def large() -> tuple[pl.DataFrame, pl.DataFrame]:
    prompts, rows = benchmark(2000)
    return prompts_to_table(prompts), rows


@pytest.mark.parametrize("number", ["VISOR_uncond", "VISOR_cond", "OA", "VISOR_2"])
def test_stops_early_with_the_truth_inside(
    large: tuple[pl.DataFrame, pl.DataFrame], number: str
) -> None:
    table, rows = large
    protocol = PROTOCOLS["visor"]()
    summary = protocol.summarize(protocol.judge(table, rows), table, resamples=100)
    stopped = judge_to_precision(
        table, StoredLook(table, rows, protocol), protocol, 0.06, number=number
    )
    assert stopped.verdict == "precise"
    assert stopped.bounds.half_width <= 0.06
    assert stopped.bounds.low <= summary[number]["value"] <= stopped.bounds.high
    assert stopped.prompts < 700
    assert (stopped.population, stopped.images_of_all) == (2000, 4000)
    assert stopped.images == 2 * stopped.prompts


def test_only_judged_prompts_are_looked_at(large: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    table, rows = large
    protocol = PROTOCOLS["visor"]()
    asked: list[str] = []

    class Counting(StoredLook):
        def __call__(self, prompt_ids):  # type: ignore[no-untyped-def]
            asked.extend(prompt_ids)
            return super().__call__(prompt_ids)

    stopped = judge_to_precision(table, Counting(table, rows, protocol), protocol, 0.08, seed=3)
    assert len(asked) == len(set(asked)) == stopped.prompts
    again = judge_to_precision(table, StoredLook(table, rows, protocol), protocol, 0.08, seed=3)
    assert again == stopped
    other = judge_to_precision(table, StoredLook(table, rows, protocol), protocol, 0.08, seed=4)
    assert other.bounds != stopped.bounds


def test_a_small_set_is_judged_whole_and_exact() -> None:
    prompts, rows = benchmark(20)
    table = prompts_to_table(prompts)
    protocol = PROTOCOLS["visor"]()
    stopped = judge_to_precision(table, StoredLook(table, rows, protocol), protocol, 0.001)
    right = protocol.judge(table, rows)["value"].mean()
    assert stopped.prompts == 20
    assert stopped.bounds.low == stopped.bounds.high == pytest.approx(right)


def test_tags_weigh_the_same() -> None:
    rng = np.random.default_rng(1)
    prompts, images = [], {}
    for k in range(1200):
        tag = "position" if k < 1000 else "two_object"
        prompt = relation_prompt("cat", "left of", "dog", id=f"p{k:04d}")
        prompts.append(Prompt(prompt.id, prompt.text, tag, prompt.scene))
        images[prompt.id, 0] = RIGHT if rng.random() < (0.2 if k < 1000 else 0.9) else WRONG
    table, rows = prompts_to_table(prompts), detection_rows(images)
    protocol = PROTOCOLS["geneval"]()
    summary = protocol.summarize(protocol.judge(table, rows), table, resamples=100)
    stopped = judge_to_precision(table, StoredLook(table, rows, protocol), protocol, 0.05)
    assert stopped.number == "overall"
    assert stopped.bounds.low <= summary["overall"]["value"] <= stopped.bounds.high
    assert abs(summary["overall"]["value"] - summary["images_correct"]["value"]) > 0.1


def test_a_tag_or_a_relation_can_be_the_number() -> None:
    """`--number position`: the number of the group, and only its prompts are judged."""
    prompts, rows = benchmark(60)
    tags = ["position" if k % 3 else "two_object" for k in range(60)]
    prompts = [replace(p, tag=tag) for p, tag in zip(prompts, tags, strict=True)]
    table = prompts_to_table(prompts)
    for name, number, path in (
        ("geneval", "position", ("by_tag", "position", "images_correct")),
        ("visor", "left of", ("by_relation", "left of", "VISOR_uncond")),
        ("visor", "VISOR_cond:left of", ("by_relation", "left of", "VISOR_cond")),
    ):
        protocol = PROTOCOLS[name]()
        look = StoredLook(table, rows, protocol)
        stopped = judge_to_precision(table, look, protocol, 0.001, number=number)
        summary = protocol.summarize(protocol.judge(table, rows), table, resamples=10)
        group, member, main = path
        assert stopped.bounds.value == pytest.approx(summary[group][member][main]["value"])
        assert stopped.population == (40 if name == "geneval" else 60)
        assert stopped.number == number
    with pytest.raises(InputError, match=r"no number 'positions'.*position"):
        judge_to_precision(table, look, PROTOCOLS["geneval"](), 0.1, number="positions")


def test_prompts_that_the_protocol_does_not_judge_are_no_population() -> None:
    prompts, rows = benchmark(10)
    alone = Prompt("alone", "a cat", scene=SceneSpec((ObjectSpec("cat"),)))
    table = prompts_to_table([*prompts, alone])
    assert len(applicable(table, PROTOCOLS["visor"]())) == 10
    with pytest.raises(InputError, match="applies to none of the 1 prompts"):
        applicable(prompts_to_table([alone]), PROTOCOLS["visor"]())
    assert len(rows) == 20


def test_missing_images_are_counted_not_dropped() -> None:
    prompts, rows = benchmark(30, rate=0.8)
    table = prompts_to_table(prompts)
    protocol = PROTOCOLS["visor"]()
    gone = rows.filter(pl.col("prompt_id") != "p0000")
    stopped = judge_to_precision(
        table, StoredLook(table, gone, protocol, samples=2), protocol, 0.001
    )
    assert stopped.unscored == 2
    right = protocol.judge(table, gone)["value"].sum()
    assert stopped.bounds.value == pytest.approx(right / 60)
    with pytest.raises(IncompleteRunError, match="2 of 60 images"):
        stopped.require_complete()
    left_out = judge_to_precision(
        table, StoredLook(table, gone, protocol, samples=2), protocol, 0.001, allow_missing=True
    )
    assert left_out.bounds.value == pytest.approx(right / 58)


def test_decision_between_stored_runs() -> None:
    prompts, a = benchmark(1500, rate=0.3)
    _, b = benchmark(1500, rate=0.45, seed=1)
    table = prompts_to_table(prompts)
    protocol = PROTOCOLS["visor"]()
    looks = [StoredLook(table, rows, protocol) for rows in (a, b)]
    stopped = decide_until(table, looks[0], looks[1], protocol)
    assert stopped.verdict == "b_better"
    assert stopped.prompts < 500
    assert stopped.images == 4 * stopped.prompts
    assert "B - A" in str(stopped)
    with pytest.raises(InputError, match="no number 'VISOR_cond' that is a mean over images"):
        decide_until(table, looks[0], looks[1], protocol, number="VISOR_cond")
    with pytest.raises(InputError, match="A has 2 images per prompt and B has 3"):
        decide_until(table, looks[0], StoredLook(table, b, protocol, samples=3), protocol)


def test_command_on_a_file_of_detections(tmp_path: Path) -> None:
    prompts, rows = benchmark(1000)
    write_prompts(prompts, tmp_path / "prompts.jsonl")
    rows.write_parquet(tmp_path / "boxes.parquet")
    arguments = ["score", "--detections", str(tmp_path / "boxes.parquet")]
    arguments += ["--prompts", str(tmp_path / "prompts.jsonl"), "-p", "visor"]
    text = CliRunner().invoke(main, [*arguments, "--precision", "0.08"])
    assert text.exit_code == 0, text.stderr
    assert "precise after" in text.stdout
    assert "of 1,000 prompts" in text.stdout
    data = json.loads(
        CliRunner().invoke(main, [*arguments, "--precision", "0.08", "--json"]).stdout
    )
    assert data["verdict"] == "precise"
    assert data["images"] < 1000
    wrong = CliRunner().invoke(main, [*arguments, "--precision", "0.08", "--number", "VISOR_con"])
    assert wrong.exit_code == 1
    assert "did you mean 'VISOR_cond'" in wrong.stderr
    few = CliRunner().invoke(main, [*arguments, "--precision", "0.08", "--number", "VISOR_3"])
    assert "VISOR_3 needs 3 images per prompt; there are 2" in few.stderr
    assert CliRunner().invoke(main, [*arguments, "--precision", "2"]).exit_code == 2
    assert CliRunner().invoke(main, [*arguments, "--number", "OA"]).exit_code == 2


# -- images made and detected as needed -----------------------------------------------------------


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> tuple[GenerateSettings, DetectSettings]:
    owl = str(tiny.owl(tmp_path_factory.mktemp("owl"), "owlvit"))
    return (
        GenerateSettings(
            model=str(tiny_model("sd1")), steps=1, samples=2, batch_size=16, device="cpu"
        ),
        DetectSettings(detector=owl, threshold=0.1, device="cpu", batch_size=16),
    )


@pytest.fixture
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("t2i_spatial.stages.early_stopping.judge.FIRST_ROUND", 4)


@pytest.mark.usefixtures("few_rounds")
def test_images_are_made_as_needed_and_are_those_of_a_whole_run(
    tmp_path: Path, settings: tuple[GenerateSettings, DetectSettings]
) -> None:
    generate, detect = settings
    prompts, _ = benchmark(12)
    protocol = PROTOCOLS["visor"]()
    options = {"prompts": prompts, "generate": generate, "detect": detect}
    stopped = score_to_precision(protocol, 0.45, output=tmp_path / "part", **options)  # type: ignore[arg-type]
    assert 4 <= stopped.prompts < 12
    run = Run.open(tmp_path / "part")
    assert len(run.images()) == len(run.verdicts("visor")) == stopped.images
    assert run.manifest["stages"]["stopping"]["results"]["verdict"] == "precise"
    assert run.plan("detect")["threshold"] == 0.1
    # the interval of the summary is the one that allows for stopping, also when scored again
    for _ in range(2):
        number = json.loads((run.path / "summary.json").read_text("utf-8"))["visor"][stopped.number]
        assert (number["low"], number["high"]) == (stopped.bounds.low, stopped.bounds.high)
        assert number["anytime_valid"]
        score_run(run, [protocol])
    score_run(run, [VISOR(threshold=0.2)])
    number = json.loads((run.path / "summary.json").read_text("utf-8"))["visor"][stopped.number]
    assert "anytime_valid" not in number

    whole = Run.create(tmp_path / "whole")
    generate_run(whole, prompts, generate)
    seeds = dict(whole.images().select("image", "seed").iter_rows())
    for image, seed in run.images().select("image", "seed").iter_rows():
        name = f"images/{Path(image).name}"
        assert seeds[name] == seed
        assert run.image_path(image).exists()

    made = {p: p.stat().st_mtime_ns for p in (tmp_path / "part").rglob("*.png")}
    again = score_to_precision(protocol, 0.45, output=tmp_path / "part", **options)  # type: ignore[arg-type]
    assert again == stopped
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "part").rglob("*.png")} == made
    with pytest.raises(PlanMismatchError, match=r"precision: 0\.45 there, 0\.3 now"):
        score_to_precision(protocol, 0.3, output=tmp_path / "part", **options)  # type: ignore[arg-type]


@pytest.mark.usefixtures("few_rounds")
def test_a_run_with_images_is_detected_as_far_as_needed(
    tmp_path: Path, settings: tuple[GenerateSettings, DetectSettings]
) -> None:
    generate, detect = settings
    prompts, _ = benchmark(12)
    source = Run.create(tmp_path / "source")
    generate_run(source, prompts, generate)
    protocol = PROTOCOLS["visor"]()
    with pytest.raises(InputError, match="give --output"):
        score_to_precision(protocol, 0.45, run=source.path, detect=detect)
    stopped = score_to_precision(
        protocol, 0.45, run=source.path, detect=detect, output=tmp_path / "part"
    )
    assert stopped.prompts < 12
    folder = score_to_precision(
        protocol, 0.45, images=source.path / "images", prompts=prompts, detect=detect,
        output=tmp_path / "folder",
    )  # fmt: skip
    assert folder.bounds == stopped.bounds

    detect_run(source, detect)
    stored = score_to_precision(protocol, 0.45, run=source.path)
    assert stored == stopped


def test_two_stopped_scorings_do_not_write_into_one_folder(tmp_path: Path) -> None:
    prompts, _ = benchmark(4)
    source = Run.create(tmp_path / "source")
    source.write_prompts(prompts_to_table(prompts))
    protocol = PROTOCOLS["visor"]()
    calls = {
        "part": lambda: score_to_precision(
            protocol, 0.45, run=source.path, output=tmp_path / "part"
        ),
        "out/b": lambda: decide_between(source.path, source.path, protocol, tmp_path / "out"),
    }
    for place, call in calls.items():
        run = Run.create(tmp_path / place)
        with (
            FileLock(run.path / LOCK),
            pytest.raises(InputError, match="another t2i-spatial command is writing"),
        ):
            call()
        assert not (run.path / "rounds").exists()


@pytest.mark.usefixtures("few_rounds")
def test_decision_between_configs(
    tmp_path: Path, settings: tuple[GenerateSettings, DetectSettings]
) -> None:
    generate, detect = settings
    prompts, _ = benchmark(10)
    write_prompts(prompts, tmp_path / "prompts.jsonl")
    configs = []
    for name, seed in (("a", 0), ("b", 1)):
        config = {
            "output": "unused",
            "prompts": {"source": str(tmp_path / "prompts.jsonl")},
            "generate": generate.model_copy(update={"seed": seed}).model_dump(),
            "detect": detect.model_dump(),
        }
        (tmp_path / f"{name}.yaml").write_text(json.dumps(config))
        configs.append(str(tmp_path / f"{name}.yaml"))
    arguments = ["compare", *configs, "-p", "visor", "--decide"]
    without = CliRunner().invoke(main, arguments)
    assert without.exit_code == 2
    assert "need --decide and --output" in without.stderr
    result = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path / "out"), "--margin", "0.9"])
    assert result.exit_code == 0, result.stderr
    assert "B - A" in result.stdout
    compared = compare_runs(tmp_path / "out" / "a", tmp_path / "out" / "b")
    assert compared.comparable
    assert {d.key for d in compared.differences} == {"seed"}
    assert compared.protocols["visor"].pairs.prompts < 10

    other = json.loads(Path(configs[1]).read_text())
    other["detect"]["threshold"] = 0.3
    Path(configs[1]).write_text(json.dumps(other))
    with pytest.raises(IncomparableRunsError, match=r"'threshold': 0\.3"):
        decide_between(Path(configs[0]), Path(configs[1]), PROTOCOLS["visor"](), tmp_path / "other")


@pytest.mark.usefixtures("few_rounds")
def test_run_config_stops_early(
    tmp_path: Path, settings: tuple[GenerateSettings, DetectSettings]
) -> None:
    generate, detect = settings
    prompts, _ = benchmark(12)
    write_prompts(prompts, tmp_path / "prompts.jsonl")
    config = {
        "output": str(tmp_path / "out"),
        "prompts": {"source": str(tmp_path / "prompts.jsonl")},
        "generate": generate.model_dump(),
        "detect": detect.model_dump(),
        "score": {"protocols": ["visor", "spatial"], "precision": 0.45},
        "report": None,
    }
    (tmp_path / "run.yaml").write_text(json.dumps(config))
    result = CliRunner().invoke(main, ["run", str(tmp_path / "run.yaml"), "--json"])
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert 4 <= summary["visor"]["OA"]["n_prompts"] < 12
    assert summary["spatial"]["images"] == summary["visor"]["images"]
    assert "precise after" in result.stderr
