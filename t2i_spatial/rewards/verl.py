"""A reward function as verl's image rewards call it.

Source of the call form: verl-project/verl pull request 5713 (`ImageRewardManager`): one image per
call, `compute_score(data_source, solution_image, ground_truth, extra_info)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
        (text, scene or GenEval record), or `extra_info["prompt"]` when that is missing.
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
        item = scorer([solution_image], [asked])[0]
        reward = item.reward if item.reward is not None else unscored
        if reward is None:
            raise InputError(f"an image of {data_source!r} has no reward: {item.reason}")
        return {"score": reward, **item.parts}

    return compute_score
