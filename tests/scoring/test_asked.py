"""Rewards made of answers: all asked together, and a judge that fails is no zero."""

from __future__ import annotations

import time

import pytest
from PIL import Image

from t2i_spatial.bundled import detector_path
from t2i_spatial.detectors import load_detector
from t2i_spatial.errors import InputError
from t2i_spatial.judges import load_judge
from t2i_spatial.rewards import LocalScorer, RewardSpec
from t2i_spatial.rewards.server.worker import Job, _score
from t2i_spatial.scene import ObjectSpec, Prompt, SceneSpec
from t2i_spatial.scoring.asked import require_judge
from t2i_spatial.scoring.core import score_batch
from t2i_spatial.tables import IN_PART, SCORED
from tests.judges.replaying_server import ReplayingServer, failure, image_of, said

ONE = SceneSpec((ObjectSpec("cat"),))


@pytest.fixture(scope="module")
def detector():
    return load_detector(str(detector_path()), device="cpu")


def pictures(count):
    return [Image.new("RGB", (16, 16), (k, 0, 0)) for k in range(count)]


def judged_by(server, **options):
    return load_judge(server.url, model="m", options={"probe": False, "patience": 2.0, **options})


def test_the_reward_is_what_the_judge_says(detector):
    with ReplayingServer(lambda b, n: said("Yes", {"Yes": 0.6, "No": 0.2})) as server:
        scores = score_batch(
            pictures(3), [ONE] * 3, detector=detector, reward="spatial_vqa",
            judge=judged_by(server),
        )  # fmt: skip
        assert len({image_of(body) for body in server.bodies}) == 3
    assert [score.reward for score in scores] == pytest.approx([0.75] * 3)
    assert {score.status for score in scores} == {SCORED}


def test_it_is_a_part_like_any_other(detector):
    weights = {"spatial": 0.5, "spatial_vqa": 0.5}
    with ReplayingServer(lambda b, n: said("Yes", {"Yes": 0.8, "No": 0.2})) as server:
        scorer = LocalScorer(detector, weights, judge=judged_by(server))
        (score,) = scorer(pictures(1), [ONE])
    assert set(score.parts) == {"spatial", "spatial_vqa"}
    assert score.reward == pytest.approx(0.5 * score.parts["spatial"] + 0.4)


def test_a_judge_that_fails_or_refuses_gives_no_reward_and_not_zero(detector):
    def answer(body, number):
        if image_of(body) == image_of(server.bodies[0]):
            return failure(422, "not this one")
        return said("Yes", {"Yes": 0.9, "No": 0.1})

    with ReplayingServer(answer) as server:
        judge = judged_by(server, concurrency=1)
        scores = score_batch(
            pictures(2), [ONE] * 2, detector=detector, reward="spatial_vqa", judge=judge
        )
    assert [score.reward for score in scores] == [None, pytest.approx(0.9)]
    assert scores[0].status == IN_PART
    with ReplayingServer(lambda b, n: failure(401, "no")) as server:
        judge = judged_by(server)
        (score,) = score_batch(
            pictures(1), [ONE], detector=detector, reward="spatial_vqa", judge=judge
        )
    assert score.reward is None
    assert "the judge cannot be asked: " in score.reason
    assert "401" in score.reason


def test_a_group_of_images_is_under_way_together(detector):
    def slow(body, number):
        time.sleep(0.1)
        return said("Yes", {"Yes": 0.9, "No": 0.1})

    with ReplayingServer(slow) as server:
        judge = judged_by(server, concurrency=32)
        score_batch(pictures(16), [ONE] * 16, detector=detector, reward="spatial_vqa", judge=judge)
        assert server.busiest >= 8


def test_who_needs_a_judge_says_so(detector):
    with pytest.raises(InputError, match="spatial_vqa judges by answers, and no judge is given"):
        LocalScorer(detector, "spatial_vqa")
    with pytest.raises(InputError, match="no judge is given"):
        score_batch(pictures(1), [ONE], detector=detector, reward="spatial_vqa")
    require_judge(["spatial"], None)
    require_judge(["spatial_vqa"], object())


def test_a_worker_of_the_server_asks_too(detector):
    import io

    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "PNG")
    jobs = [Job(buffer.getvalue(), Prompt("a", "a cat", scene=ONE), {"spatial_vqa": 1.0})]
    with ReplayingServer(lambda b, n: said("Yes", {"Yes": 0.9, "No": 0.1})) as server:
        (score,) = _score(jobs, pictures(1), detector, None, 4, judged_by(server))
    assert score.reward == pytest.approx(0.9)
    (score,) = _score(jobs, pictures(1), detector, None, 4)
    assert score.reward is None
    assert "no judge is given" in score.reason
    assert RewardSpec.parse(["spatial_vqa=0.5"]).protocols == ("spatial_vqa",)
