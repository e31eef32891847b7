"""The numbers that are compared are those that are printed, by name and by value."""

from __future__ import annotations

import pytest

from t2i_spatial.metrics import PROTOCOLS
from t2i_spatial.metrics.numbers import rate_rows
from t2i_spatial.scene import Prompt
from t2i_spatial.tables import IMAGE_MISSING, prompts_to_table
from tests.builders import box, detection_rows, detections, relation_prompt

PAIR = relation_prompt("cat", "left of", "dog").scene
PLAN = {"boxes": [{"name": "cat", "box": [0, 0, 0.2, 0.2]}, {"name": "dog", "box": [0, 0, 1, 1]}]}
PROMPTS = prompts_to_table(
    Prompt(k, "a cat to the left of a dog", "position", PAIR, {"layout": PLAN}) for k in "ab"
)
IMAGES = detection_rows(
    {
        ("a", 0): detections(box("cat", 0, 0, 99, 99), box("dog", 200, 0, 250, 50)),
        ("a", 1): detections(box("cat", 0, 0, 99, 99), box("dog", 10, 0, 90, 99)),
        ("b", 0): detections(box("cat", 0, 0, 90, 90)),
    },
    {("b", 1): IMAGE_MISSING},
)


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_every_rate_is_a_number_of_the_summary(name):
    protocol = PROTOCOLS[name]()
    verdicts = protocol.judge(PROMPTS, IMAGES)
    summary = protocol.summarize(verdicts, PROMPTS)
    assert set(protocol.rates) <= set(summary)
    for number, rate in protocol.rates.items():
        if rate.at_least is None and not rate.by_tag and summary["images"]["expected"]:
            above, below = rate_rows(verdicts, protocol.parts, rate)
            assert above.sum() / below.sum() == pytest.approx(summary[number]["value"]), number
