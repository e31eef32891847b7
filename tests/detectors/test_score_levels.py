"""Thresholds belong to a family of detectors; ours follow it, the peers' do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from t2i_spatial.detectors import DETECTORS
from t2i_spatial.detectors.score_levels import LEVELS, fitted, misfits, reached
from t2i_spatial.metrics import PROTOCOLS
from t2i_spatial.scene import ObjectSpec, Prompt, SceneSpec
from t2i_spatial.stages.protocols import make_protocols
from t2i_spatial.tables import prompts_to_table
from tests.builders import box, detection_rows, detections


def told(protocol, prompts, rows):
    return misfits(protocol, reached(protocol, prompts, rows))


PUBLISHED = ["visor", "geneval", "geneval_reward", "t2i_compbench_2d", "t2i_compbench_numeracy"]


def test_every_family_of_ours_has_its_levels_and_its_own_threshold():
    assert set(LEVELS) == set(DETECTORS)
    for backend, levels in LEVELS.items():
        assert levels.found == DETECTORS[backend].default_threshold
        assert levels.counted >= levels.found


@pytest.mark.parametrize("backend", [*LEVELS, None, "someone-elses"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_thresholds_stay(name, backend):
    assert fitted(PROTOCOLS[name](), backend).settings == PROTOCOLS[name]().settings


@pytest.mark.parametrize("backend", LEVELS)
def test_ours_follow_the_detector_unless_told_otherwise(backend):
    levels = LEVELS[backend]
    reward = fitted(PROTOCOLS["geneval_reward_fixed"](), backend)
    assert (reward.threshold, reward.counting_threshold) == (levels.found, levels.counted)
    assert fitted(PROTOCOLS["spatial"](), backend).min_score == levels.found
    (told,) = make_protocols(["spatial"], ["spatial.min_score=0.55"])
    assert fitted(told, backend).min_score == 0.55
    assert fitted(PROTOCOLS["spatial"](), "someone-elses").min_score == 0.1


@pytest.mark.parametrize(("backend", "right"), [("owl", True), ("mask2former", False)])
def test_a_detector_that_is_never_sure_can_count(backend, right):
    prompt = Prompt("0", "three cats", "counting", SceneSpec((ObjectSpec("cat", 3),)))
    cats = detections(*(box("cat", 100 * k, 0, 100 * k + 80, 90, 0.3) for k in range(3)))
    judge = fitted(PROTOCOLS["geneval_reward_fixed"](), backend)
    table = judge.judge(prompts_to_table([prompt]), detection_rows({("0", 0): cats}))
    assert table["correct"].to_list() == [right]


def test_thresholds_that_no_box_reaches_are_told():
    prompt = Prompt("0", "cats", "counting", SceneSpec((ObjectSpec("cat", 3),)))
    crowd = detections(*(box("cat", k, 0, k + 8, 9, 0.2) for k in range(60)))
    prompts, rows = prompts_to_table([prompt]), detection_rows({("0", 0): crowd})
    (counting,) = [s for s in told(PROTOCOLS["geneval"](), prompts, rows) if "counting" in s]
    assert "0 of 60 boxes have a score above its published counting_threshold 0.9" in counting
    assert told(PROTOCOLS["visor"](), prompts, rows) == []
    sure = replace(crowd, scores=crowd.scores + 0.75)
    assert told(PROTOCOLS["geneval"](), prompts, detection_rows({("0", 0): sure})) == []
    # other prompts are not counted
    single = prompts_to_table([replace(prompt, tag="colors")])
    assert all("counting" not in s for s in told(PROTOCOLS["geneval"](), single, rows))
