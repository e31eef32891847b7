"""What `update` makes of prompts and detections given one by one."""

from __future__ import annotations

import polars as pl
import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.metrics import VISOR, GenEval, Spatial
from t2i_spatial.scene import Prompt
from t2i_spatial.tables import prompts_to_table
from tests.builders import box, detection_rows, detections, relation_prompt

LEFT = relation_prompt("cat", "left of", "dog")
RIGHT = detections(box("cat", 0, 0, 10, 10), box("dog", 50, 0, 60, 10))


@pytest.mark.parametrize("protocol", [VISOR, GenEval, Spatial])
def test_a_prompt_without_a_scene_is_parsed(protocol):
    parsed, plain = protocol(), protocol()
    parsed.update([LEFT], [RIGHT])
    plain.update([Prompt("0", "a cat to the left of a dog", LEFT.tag)], [RIGHT])
    assert plain.compute() == parsed.compute()
    assert plain.compute()["images"] == {"expected": 1, "scored": 1}


def test_one_id_is_one_prompt_in_one_call_and_in_several():
    for other, message in (
        (relation_prompt("cat", "right of", "dog"), "the prompt id '0' has two texts"),
        (Prompt("0", LEFT.text, scene=relation_prompt("cat", "on", "dog").scene), "two scenes"),
    ):
        with pytest.raises(InputError, match=message):
            VISOR().update([LEFT, other], [RIGHT, RIGHT])
        metric = VISOR()
        metric.update([LEFT], [RIGHT])
        with pytest.raises(InputError, match=message):
            metric.update([other], [RIGHT])
        assert metric.compute()["images"]["expected"] == 1


def test_samples_go_on_after_the_highest_number():
    metric = VISOR()
    table = detection_rows({("0", 0): RIGHT, ("0", 2): RIGHT})
    metric.update(prompts_to_table([LEFT]), table)
    metric.update([LEFT, LEFT], [RIGHT, None])
    assert metric.compute()["images"]["expected"] == 4


def test_generators_are_read():
    metric = VISOR()
    metric.update((p for p in [LEFT, LEFT]), (d for d in [RIGHT, None]))
    assert metric.compute()["images"]["expected"] == 2


@pytest.mark.parametrize(
    ("prompts", "found", "message"),
    [
        (["a cat"], [RIGHT], "prompts must hold Prompt, got str"),
        ([{"text": "a cat"}], [RIGHT], "prompts must hold Prompt, got dict"),
        ([LEFT], [{"boxes": []}], "detections must hold Detections or None, got dict"),
        (LEFT, RIGHT, "prompts must be a table .* or a sequence of Prompt, got Prompt"),
        ("a cat", [RIGHT], "got str"),
        (pl.LazyFrame(), pl.LazyFrame(), "got LazyFrame"),
        ([Prompt(3, "a cat")], [RIGHT], "id and text of a prompt must be text, got 3"),
    ],
)
def test_other_things_are_refused(prompts, found, message):
    with pytest.raises(InputError, match=message):
        VISOR().update(prompts, found)


@pytest.mark.parametrize("value", ["0.2", float("nan"), 5, -0.1, None, True])
def test_settings_that_are_shares_lie_between_0_and_1(value):
    message = "must be a number in"
    with pytest.raises(InputError, match=rf"visor.threshold {message} \[0, 1\], got"):
        VISOR(threshold=value)
    with pytest.raises(InputError, match=message):
        GenEval(max_overlap=value)
    with pytest.raises(InputError, match=message):
        Spatial(min_score=value)
    assert VISOR(threshold=1).threshold == 1


@pytest.mark.parametrize("seed", [-1, 0.5, "0", None])
def test_seeds_are_whole_numbers_from_0_up(seed):
    metric = VISOR()
    metric.update([LEFT], [RIGHT])
    with pytest.raises(InputError, match="seed must be a whole number from 0 up"):
        metric.compute(seed=seed)
