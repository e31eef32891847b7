from __future__ import annotations

import json
import sys
import types
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from t2i_spatial.errors import InputError, MissingDependencyError
from t2i_spatial.rewards import LocalScorer, flow_factory, flow_grpo, trl, verl
from tests.rewards.drawing_detector import ASKED, LEFT, ONLY_CAT, RECORD, RIGHT, DrawingDetector

SCORER = LocalScorer(DrawingDetector())
GENEVAL = LocalScorer(DrawingDetector(), "geneval_reward_fixed", protocols=["geneval_reward"])
BATCH = np.stack([np.asarray(image) for image in (LEFT, RIGHT, ONLY_CAT)])
NOTHING_TO_SEE = "in the style of impressionism"


def test_flow_grpo_takes_both_image_forms():
    fn = flow_grpo.reward_function(SCORER)
    tensor = torch.from_numpy(BATCH.transpose(0, 3, 1, 2) / 255.0).float()
    from_array, info = fn(BATCH, [ASKED] * 3, [{}] * 3)
    from_tensor, _ = fn(tensor, [ASKED] * 3, [{}] * 3)
    assert from_array == from_tensor
    assert from_array[0] > 0.9 > 0.1 > from_array[1]
    assert info["status"] == ["scored"] * 3
    assert info["spatial"] == from_array
    assert info["reason"][2] == "no dog found"


def test_flow_grpo_prefers_the_record_to_the_words():
    fn = flow_grpo.reward_function(SCORER)
    other = {"scene": {"objects": [{"name": "cat"}], "relations": []}}
    scores, _ = fn(BATCH[:2], ["some words", "other words"], [RECORD, json.dumps(other)])
    assert min(scores) > 0.9


def test_flow_grpo_does_not_invent_a_reward():
    with pytest.raises(InputError, match=r"image 1 .* has no reward"):
        flow_grpo.reward_function(SCORER)(BATCH[:2], [ASKED, NOTHING_TO_SEE], None)
    scores, _ = flow_grpo.reward_function(SCORER, unscored=-1.0)(
        BATCH[:2], [ASKED, NOTHING_TO_SEE], None
    )
    assert scores[1] == -1.0


def test_the_geneval_variant_gives_five_values():
    fn = flow_grpo.geneval_function(GENEVAL)
    single = {"tag": "single_object", "include": [{"class": "cat", "count": 1}]}
    records = [RECORD, RECORD, single]
    scores, rewards, strict, groups, strict_groups = fn(BATCH, ["x"] * 3, records, False)
    assert scores == [1.0, pytest.approx(2 / 3), 1.0]
    assert rewards == strict == [1.0, 0.0, 1.0]
    assert groups["position"] == [1.0, 0.0, -10.0]
    assert strict_groups["single_object"] == [-10.0, -10.0, 1.0]
    assert groups["counting"] == [-10.0] * 3
    assert len(groups) == 6
    _, rewards, strict, _, _ = fn(BATCH, ["x"] * 3, records, True)
    assert rewards == [0.0] * 3
    assert strict == [1.0, 0.0, 1.0]


def test_the_peers_own_soft_score_can_be_had():
    fn = flow_grpo.geneval_function(GENEVAL, "geneval_reward")
    assert fn(BATCH, ["x"] * 3, [RECORD] * 3, False)[0] == [1.0, 0.75, pytest.approx(1 / 3)]


def test_trl_gets_none_where_the_reward_does_not_apply():
    fn = trl.reward_function(SCORER, name="left_right")
    assert fn.__name__ == "left_right"
    rewards = fn([ASKED, NOTHING_TO_SEE], [LEFT, LEFT], trainer_state=None)
    assert rewards[0] > 0.9 and rewards[1] is None


def test_trl_reads_chat_messages_and_columns():
    prompt = [{"role": "user", "content": [{"type": "text", "text": ASKED}]}]
    content = [{"type": "text", "text": "here"}, {"type": "image", "image": LEFT}]
    fn = trl.reward_function(SCORER)
    assert fn([prompt], [[{"role": "assistant", "content": content}]])[0] > 0.9
    by_column = trl.reward_function(SCORER, scene_column="record")
    assert by_column(["?"], [RIGHT], record=[RECORD])[0] < 0.1
    with pytest.raises(InputError, match="no column 'record'"):
        by_column(["?"], [RIGHT])
    with pytest.raises(InputError, match="completion 0 holds no picture"):
        fn([ASKED], ["a text"])


def test_a_scorer_of_another_protocol_is_named():
    fn = flow_grpo.geneval_function(SCORER)
    with pytest.raises(
        InputError, match="judges by spatial; it must judge by geneval_reward_fixed"
    ):
        fn([LEFT], ["x"], [RECORD])


def test_flow_factory_is_no_extra_of_ours():
    with pytest.raises(MissingDependencyError, match="from its repository, not from an extra"):
        flow_factory.spatial_reward_model()


def test_flow_factory_pointwise():
    rewards, info = flow_factory.pointwise(
        SCORER, ["x", ASKED], [RIGHT, LEFT], [json.dumps(RECORD), "{}"]
    )
    assert rewards[0] < 0.1 < 0.9 < rewards[1]
    assert len(info["reason"]) == 2
    with pytest.raises(InputError, match="0 images for 1 prompts"):
        flow_factory.pointwise(SCORER, ["x"], None)
    with pytest.raises(InputError, match="metadata is not JSON"):
        flow_factory.pointwise(SCORER, ["x"], [LEFT], ["{"])
    with pytest.raises(InputError, match="must be a list of records, got dict"):
        flow_factory.pointwise(SCORER, ["x"], [LEFT], RECORD)
    with pytest.raises(InputError, match="0 metadata records for 1 prompts"):
        flow_factory.pointwise(SCORER, ["x"], [LEFT], [])
    with pytest.raises(InputError, match="image 0 has no reward"):
        flow_factory.pointwise(SCORER, [NOTHING_TO_SEE], [LEFT])


def test_flow_factory_says_when_it_is_not_installed():
    with pytest.raises(MissingDependencyError, match="flow_factory"):
        flow_factory.spatial_reward_model()


def test_flow_factory_loads_the_class(monkeypatch):
    @dataclass
    class RewardModelOutput:
        rewards: list[float]
        extra_info: dict[str, object] | None = None

    class PointwiseRewardModel:
        def __init__(self, config, accelerator):
            self.device = accelerator.device

    package, rewards = types.ModuleType("flow_factory"), types.ModuleType("flow_factory.rewards")
    abc = types.ModuleType("flow_factory.rewards.abc")
    abc.RewardModelOutput, abc.PointwiseRewardModel = RewardModelOutput, PointwiseRewardModel
    for module in (package, rewards, abc):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    config = SimpleNamespace(detector=DrawingDetector(), reward="spatial")
    model = flow_factory.spatial_reward_model()(config, SimpleNamespace(device="cpu"))
    output = model(prompt=[ASKED], image=[LEFT], condition_images=None)
    assert output.rewards[0] > 0.9
    record = json.dumps(RECORD)
    for extra in (
        {"geneval_metadata": [record]},
        {"metadata": [{"geneval_metadata": record, "tag": "position"}]},
        {"metadata": [json.dumps({"geneval_metadata": RECORD})]},
        {"metadata": [record]},
    ):
        output = model(prompt=["some words"], image=[RIGHT], **extra)
        assert output.rewards[0] < 0.1
    with pytest.raises(InputError, match="metadata is not JSON"):
        model(prompt=["some words"], image=[RIGHT], metadata=["{"])


def test_verl_scores_one_image():
    compute_score = verl.compute_score_function(SCORER)
    image = torch.from_numpy(BATCH[0].transpose(2, 0, 1) / 255.0)
    result = compute_score("sr2d", image, ASKED, {})
    assert result["score"] == result["spatial"] > 0.9
    assert compute_score("sr2d", RIGHT, None, {"prompt": ASKED})["score"] < 0.1
    record = json.dumps(RECORD)  # as the columns of a data set carry it
    assert compute_score("sr2d", image, record)["score"] > 0.9
    assert compute_score("sr2d", RIGHT, record)["score"] < 0.1
    with pytest.raises(InputError, match="must be a record in JSON"):
        compute_score("sr2d", image, "{")
    with pytest.raises(InputError, match="neither ground_truth nor a prompt"):
        compute_score("sr2d", image, "", {})
    with pytest.raises(InputError, match="has no reward"):
        compute_score("sr2d", image, NOTHING_TO_SEE)
    unscored = verl.compute_score_function(SCORER, unscored=0.0)
    assert unscored("sr2d", Image.new("RGB", (9, 9)), NOTHING_TO_SEE)["score"] == 0.0


def test_verl_omni_calls_by_keyword_with_uint8_of_three_or_four_axes():
    compute_score = verl.compute_score_function(SCORER, unscored=0.0)
    image = torch.from_numpy(BATCH[0].transpose(2, 0, 1).copy())
    sample = {"data_source": "sr2d", "ground_truth": ASKED, "extra_info": {"num_turns": None}}
    router = {"reward_router_address": "x", "reward_model_tokenizer": None, "model_name": "y"}
    one = compute_score(solution_image=image, **sample, **router)
    assert one["score"] == one["spatial"] > 0.9
    assert compute_score(solution_image=image[None], **sample) == one
    both = torch.from_numpy(BATCH[:2].transpose(0, 3, 1, 2).copy())
    other = compute_score(solution_image=both[1], **sample)
    mean = (one["score"] + other["score"]) / 2
    assert compute_score(solution_image=both, **sample)["score"] == pytest.approx(mean)
    nothing = compute_score("sr2d", image, NOTHING_TO_SEE)
    assert nothing.keys() == one.keys()
    assert all(isinstance(value, float) for value in nothing.values())
    with pytest.raises(InputError, match="has no image"):
        compute_score(solution_image=both[:0], **sample)
