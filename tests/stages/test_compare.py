"""compare: differences of the runs first, refusal of what is no result, paired numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from t2i_spatial.cli.main import main
from t2i_spatial.errors import InputError
from t2i_spatial.metrics.numbers import Intervals
from t2i_spatial.run import Run
from t2i_spatial.scene import Prompt
from t2i_spatial.stages.compare import (
    IncomparableRunsError,
    compare_runs,
    join_verdicts,
    prompt_means,
)
from t2i_spatial.stages.compare_text import format_comparison
from t2i_spatial.stages.differences import run_differences
from t2i_spatial.stages.score import make_protocols, score_run
from t2i_spatial.statistics.paired import paired_difference
from t2i_spatial.statistics.sequential import prompt_order
from t2i_spatial.tables import prompts_to_table
from tests.builders import box, detection_rows, detections, relation_prompt

RIGHT = detections(box("cat", 10, 10, 50, 50), box("dog", 200, 10, 240, 50))
WRONG = detections(box("cat", 200, 10, 240, 50), box("dog", 10, 10, 50, 50))
NO_DOG = detections(box("cat", 10, 10, 50, 50))

DETECTOR = {"detector": "bundled", "threshold": 0.1, "revision": "r1"}
MODEL = {"model": "sd", "seed": 0, "samples": 2, "steps": 20, "prompts": "h", "batch_size": 4}


def prompt_set(count: int) -> list[Prompt]:
    return [relation_prompt("cat", "left of", "dog", id=f"p{k:03d}") for k in range(count)]


def make_run(
    path: Path,
    outcomes: np.ndarray,
    *,
    prompts: list[Prompt] | None = None,
    generate: dict[str, Any] | None = None,
    detect: dict[str, Any] | None = None,
    missing: int = 0,
    protocols: tuple[str, ...] = ("visor",),
) -> Path:
    """A scored run; outcomes is (prompts, samples): 2 right, 1 wrong side, 0 object missing."""
    prompts = prompts or prompt_set(len(outcomes))
    run = Run.create(path)
    run.begin("generate", MODEL | (generate or {}))
    run.finish("generate")
    run.begin("detect", DETECTOR | (detect or {}))
    images = {
        (prompt.id, sample): (NO_DOG, WRONG, RIGHT)[outcomes[k, sample]]
        for k, prompt in enumerate(prompts)
        for sample in range(outcomes.shape[1])
    }
    statuses = dict.fromkeys(list(images)[:missing], "detector_failed")
    images = {key: value for key, value in images.items() if key not in statuses}
    run.write_prompts(prompts_to_table(prompts))
    run.write_detections(detection_rows(images, statuses))
    run.finish("detect")
    score_run(run, make_protocols(protocols), Intervals(resamples=100))
    return path


def two_outcomes(count: int = 30) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 3, (count, 2))
    return a, np.where(rng.random((count, 2)) < 0.3, 2, a)


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    a, b = two_outcomes()
    return make_run(tmp_path / "a", a), make_run(
        tmp_path / "b", b, generate={"model": "sd-lora", "steps": 30, "batch_size": 8}
    )


def test_numbers_are_the_paired_differences(runs: tuple[Path, Path]) -> None:
    a, b = two_outcomes()
    result = compare_runs(*runs)
    assert result.comparable
    part = result.protocols["visor"]
    assert (part.pairs.prompts, part.pairs.images) == (30, 60)
    assert (part.pairs.only_a, part.pairs.only_b, part.pairs.unscored_a) == (0, 0, 0)
    clusters = np.repeat(np.arange(30), 2)
    right = [(x == 2).ravel().astype(float) for x in (a, b)]
    found = [(x > 0).ravel().astype(float) for x in (a, b)]
    expected = paired_difference(right[0], found[0], right[1], found[1], clusters)
    assert part.numbers["VISOR_cond"] == expected
    whole = part.numbers["VISOR_uncond"]
    assert whole.value == pytest.approx(right[1].mean() - right[0].mean())
    assert (whole.gains, whole.losses) == (int(((a != 2) & (b == 2)).sum()), 0)
    both = part.numbers["VISOR_2"]
    assert both.value == pytest.approx((b == 2).all(axis=1).mean() - (a == 2).all(axis=1).mean())
    assert both.n_clusters == 30
    assert part.numbers["VISOR_3"].value is None  # there are two images of a prompt
    assert whole.low is not None and whole.low > 0
    assert whole.p is not None and whole.p < 0.05
    assert part.prompts_for_two_points is not None and part.prompts_for_two_points > 500


def test_what_is_compared_is_told_from_how_it_was_measured(
    tmp_path: Path, runs: tuple[Path, Path]
) -> None:
    a, _ = two_outcomes()
    kinds = {
        d.key: d.kind for d in run_differences(Run.open(runs[0]), Run.open(runs[1]), ["visor"])
    }
    assert kinds == {"model": "compared", "steps": "compared"}
    other = make_run(
        tmp_path / "c",
        a,
        generate={"seed": 7, "samples": 4},
        detect={"threshold": 0.3, "input": "x"},
    )
    found = run_differences(Run.open(runs[0]), Run.open(other), ["visor"])
    assert {(d.key, d.a, d.b, d.kind) for d in found} == {
        ("seed", 0, 7, "pairing"),
        ("samples", 2, 4, "pairing"),
        ("threshold", 0.1, 0.3, "measurement"),
    }


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"detect": {"threshold": 0.3}}, "detect.threshold: 0.1 | 0.3"),
        ({"detect": {"detector": "owlv2"}}, "detect.detector: bundled | owlv2"),
        ({"prompts": prompt_set(31)[1:]}, "1 not in the other"),
    ],
)
def test_incomparable_runs_give_no_numbers(
    tmp_path: Path, runs: tuple[Path, Path], change: dict[str, Any], named: str
) -> None:
    a, _ = two_outcomes()
    other = make_run(tmp_path / "c", a, **change)
    result = compare_runs(runs[0], other)
    assert not result.comparable
    assert result.protocols == {}
    with pytest.raises(IncomparableRunsError, match="no result"):
        result.require_comparable()
    printed = CliRunner().invoke(main, ["compare", str(runs[0]), str(other)])
    assert printed.exit_code == 1
    assert named in printed.stdout
    assert "VISOR" not in printed.stdout
    assert printed.stderr.startswith("error: the runs were not measured alike")


def test_another_protocol_setting_is_incomparable(runs: tuple[Path, Path]) -> None:
    second = Run.open(runs[1])
    protocol = make_protocols(["visor"])[0]
    protocol.threshold = 0.5  # type: ignore[attr-defined]
    score_run(second, [protocol], Intervals(resamples=100))
    result = compare_runs(*runs)
    assert [str(d) for d in result.differences if d.kind == "measurement"] == [
        "score.visor.threshold: 0.1 | 0.5"
    ]


def test_same_text_other_ids_match_nothing_and_say_so(runs: tuple[Path, Path]) -> None:
    verdicts = Run.open(runs[0]).verdicts("visor")
    renamed = verdicts.with_columns(pl.col("prompt_id") + "x")
    with pytest.raises(InputError, match="none of the 60 images"):
        join_verdicts(verdicts, renamed)


def test_the_same_image_twice_is_refused(runs: tuple[Path, Path]) -> None:
    verdicts = Run.open(runs[0]).verdicts("visor")
    with pytest.raises(InputError, match="run B has the same image twice"):
        join_verdicts(verdicts, pl.concat([verdicts, verdicts.head(1)]))


def test_verdicts_of_another_prompt_set_in_one_run_are_refused(runs: tuple[Path, Path]) -> None:
    run = Run.open(runs[1])
    run.write_verdicts(
        run.verdicts("visor").with_columns(pl.col("prompt_id").replace({"p000": "elsewhere"})),
        "visor",
    )
    with pytest.raises(InputError, match=r"2 visor verdicts belong to no prompt"):
        compare_runs(*runs)


def test_missing_images_count_as_failures_or_leave_with_their_pair(tmp_path: Path) -> None:
    outcomes = np.full((10, 2), 2)
    a = make_run(tmp_path / "a", outcomes)
    b = make_run(tmp_path / "b", outcomes, missing=3)
    counted = compare_runs(a, b).protocols["visor"]
    assert counted.pairs.unscored_b == 3
    assert counted.numbers["VISOR_uncond"].value == pytest.approx(-3 / 20)
    left_out = compare_runs(a, b, (), Intervals(allow_missing=True)).protocols["visor"]
    assert left_out.numbers["VISOR_uncond"].value == 0.0
    assert left_out.numbers["VISOR_uncond"].n == 17
    command = CliRunner().invoke(main, ["compare", str(a), str(b)])
    assert command.exit_code == 1
    assert "3 images without a score" in command.stderr
    assert CliRunner().invoke(main, ["compare", str(a), str(b), "--allow-missing"]).exit_code == 0


def test_images_without_a_partner_are_counted(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", np.full((6, 2), 2))
    b = make_run(tmp_path / "b", np.full((6, 3), 2), generate={"samples": 3})
    part = compare_runs(a, b).protocols["visor"]
    assert (part.pairs.images, part.pairs.only_a, part.pairs.only_b) == (12, 0, 6)


def test_decide_stops_early(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    a = rng.integers(0, 3, (300, 2))
    b = np.where(rng.random((300, 2)) < 0.7, 2, a)
    runs = make_run(tmp_path / "a", a), make_run(tmp_path / "b", b)
    decision = compare_runs(*runs, decide=True).protocols["visor"].decision
    assert decision is not None
    assert decision.verdict == "b_better"
    assert decision.bounds.n < 100
    assert decision.population == 300
    text = format_comparison(compare_runs(*runs, decide=True))
    assert f"B is better (VISOR_uncond) after {decision.bounds.n} of 300 prompts" in text


def test_within_every_relation_and_tag(tmp_path: Path) -> None:
    """B is right above only, and that is what the breakdown says."""
    ways = ("left of", "above")
    prompts = [relation_prompt("cat", ways[k % 2], "dog", id=f"p{k:03d}") for k in range(20)]
    upright = detections(box("cat", 10, 10, 50, 50), box("dog", 10, 200, 50, 240))
    paths = []
    for name, found in (("a", NO_DOG), ("b", upright)):
        run = Run.create(tmp_path / name)
        run.write_prompts(prompts_to_table(prompts))
        run.begin("detect", DETECTOR)
        run.write_detections(detection_rows({(p.id, 0): found for p in prompts}))
        run.finish("detect")
        score_run(run, make_protocols(["visor", "geneval"]), Intervals(resamples=100))
        paths.append(run.path)
    result = compare_runs(*paths, by=["relation", "tag"])
    found_by = result.protocols["visor"].groups["relation"]
    assert list(found_by) == ["left of", "above"]
    gained = {relation: numbers["VISOR_uncond"].value for relation, numbers in found_by.items()}
    assert gained == {"left of": 0.0, "above": 1.0}
    assert found_by["above"]["VISOR_uncond"].n_clusters == 10
    assert list(result.protocols["geneval"].groups) == ["tag"]
    assert "above VISOR_uncond" in format_comparison(result)
    with pytest.raises(InputError, match="geneval: no numbers by object"):
        compare_runs(*paths, ["geneval"], by=["object"])


def test_random_order_depends_on_ids_and_seed_alone() -> None:
    ids = pl.Series(["b", "a", "c", "a"])
    values = np.array([2.0, 1.0, 3.0, 0.0])
    means = dict(zip(prompt_order(["c", "b", "a"], 5), prompt_means(values, ids, 5), strict=True))
    assert means == {"a": 0.5, "b": 2.0, "c": 3.0}
    assert prompt_order(map(str, range(50)), 1) != prompt_order(map(str, range(50)), 2)


def test_tags_weigh_the_same(tmp_path: Path) -> None:
    prompts = [
        Prompt(p.id, p.text, "rare" if k == 0 else "common", p.scene)
        for k, p in enumerate(prompt_set(9))
    ]
    a = np.full((9, 1), 2)
    b = a.copy()
    b[0] = 0
    runs = [
        make_run(tmp_path / name, outcomes, prompts=prompts, protocols=("geneval",))
        for name, outcomes in (("a", a), ("b", b))
    ]
    numbers = compare_runs(*runs).protocols["geneval"].numbers
    assert numbers["overall"].value == pytest.approx(-0.5)
    assert numbers["images_correct"].value == pytest.approx(-1 / 9)
    assert numbers["overall"].a == pytest.approx(1.0)


def test_command_prints_and_gives_json(runs: tuple[Path, Path]) -> None:
    arguments = ["compare", str(runs[0]), str(runs[1])]
    text = CliRunner().invoke(main, arguments)
    assert text.exit_code == 0, text.stderr
    assert text.stdout.index("generate.model: sd | sd-lora") < text.stdout.index("VISOR_cond")
    assert "visor: 60 pairs of images of 30 prompts" in text.stdout
    data = json.loads(CliRunner().invoke(main, [*arguments, "--json", "--decide"]).stdout)
    assert data["comparable"] is True
    part = data["protocols"]["visor"]
    assert part["numbers"]["VISOR_uncond"]["n_clusters"] == 30
    assert part["decision"]["verdict"] in ("b_better", "exhausted", "similar")
    again = json.loads(CliRunner().invoke(main, [*arguments, "--json", "--decide"]).stdout)
    assert again == data


def test_unscored_runs_and_unknown_protocols(tmp_path: Path, runs: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match=r"not scored by 'geneval'.*known: visor"):
        compare_runs(*runs, ["geneval"])
    bare = Run.create(tmp_path / "bare")
    with pytest.raises(InputError, match="no scores yet"):
        compare_runs(runs[0], bare.path)
    outcomes, _ = two_outcomes()
    other = make_run(tmp_path / "g", outcomes, protocols=("geneval",))
    with pytest.raises(InputError, match="no protocol in common"):
        compare_runs(runs[0], other)


def test_runs_of_other_prompts_are_compared_on_those_they_share(tmp_path: Path) -> None:
    a, b = two_outcomes()
    prompts = prompt_set(30)
    first = make_run(tmp_path / "a", a[:20], prompts=prompts[:20])
    second = make_run(tmp_path / "b", b[10:], prompts=prompts[10:])
    assert not compare_runs(first, second).comparable
    comparison = compare_runs(first, second, (), Intervals(resamples=100), shared_prompts=True)
    assert comparison.comparable
    pairs = comparison.protocols["visor"].pairs
    assert (pairs.prompts, pairs.images, pairs.only_a, pairs.only_b) == (10, 20, 0, 0)
    expected = compare_runs(
        make_run(tmp_path / "c", a[10:20], prompts=prompts[10:20]),
        make_run(tmp_path / "d", b[10:20], prompts=prompts[10:20]),
        (),
        Intervals(resamples=100),
    )
    assert comparison.protocols == expected.protocols
    comparison.require_complete()


def test_a_prompt_with_other_words_is_not_shared(tmp_path: Path) -> None:
    a, b = two_outcomes(4)
    others = [relation_prompt("dog", "left of", "cat", id=f"p{k:03d}") for k in range(4)]
    first = make_run(tmp_path / "a", a)
    second = make_run(tmp_path / "b", b, prompts=others)
    with pytest.raises(InputError, match="share no prompt"):
        compare_runs(first, second, shared_prompts=True)
