"""A reward function as verl's and verl-omni's image rewards call it.

Source of the call form: verl-project/verl pull request 5713, and verl-project/verl-omni @ a1139ba
(`reward_loop/reward_manager/visual.py`, `VisualRewardManager` and `MultiVisualRewardManager`): one
sample per call, by keyword, `compute_score(data_source, solution_image, ground_truth, extra_info)`,
with the image as (C, H, W) or (N, C, H, W).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from t2i_spatial.errors import InputError
from t2i_spatial.scoring.core import Scorer


def compute_score_function(
    scorer: Scorer, *, unscored: float | None = None
) -> Callable[..., dict[str, Any]]:
    """`compute_score` for `custom_reward_function.path`, closed over a scorer.

    Images come one by one, so a `Client` is the better scorer here: the server makes batches of
    what the reward workers send.

    Args:
        unscored: as in `flow_grpo.reward_function`.

    Returns:
        A function that returns `{"score": ..., <part>: ...}`. What is asked is `ground_truth`
        (text, scene or GenEval record), or `extra_info["prompt"]` when that is missing. Of several
        images of a sample the score and the parts are the means. All values are numbers, because
        the trainer averages them over the batch: a part without a value is NaN.
    """

    def compute_score(
        data_source: str,
        solution_image: Any,
        ground_truth: Any,
        extra_info: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        asked = ground_truth or (extra_info or {}).get("prompt")
        if not asked:
            raise InputError(f"a sample of {data_source!r} says neither ground_truth nor a prompt")
        images = list(solution_image) if getattr(solution_image, "ndim", 3) == 4 else None
        if images == []:
            raise InputError(f"a sample of {data_source!r} has no image")
        pictures = [solution_image] if images is None else images
        items = scorer(pictures, [asked] * len(pictures))
        rewards = []
        for item in items:
            reward = item.reward if item.reward is not None else unscored
            if reward is None:
                raise InputError(f"an image of {data_source!r} has no reward: {item.reason}")
            rewards.append(reward)
        parts = {name: _mean([item.parts[name] for item in items]) for name in items[0].parts}
        return {"score": _mean(rewards), **parts}

    return compute_score


def _mean(values: Sequence[float | None]) -> float:
    known = [math.nan if value is None else value for value in values]
    return sum(known) / len(known)
