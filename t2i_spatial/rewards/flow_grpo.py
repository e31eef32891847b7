"""Reward functions as flow_grpo and DDPO-style trainers call them.

Source of the call forms: yifan123/flow_grpo @ 54809b5, `flow_grpo/rewards.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.geneval import TAGS
from t2i_spatial.scoring.core import ItemScore, Scorer
from t2i_spatial.scoring.requests import asked_of, geneval_prompt

NOT_THIS_TASK = -10.0
"""flow_grpo's mark in a group's list for an image of another group; left out of its means."""

RewardFunction = Callable[..., tuple[list[float], dict[str, Any]]]


def reward_function(scorer: Scorer, *, unscored: float | None = None) -> RewardFunction:
    """`fn(images, prompts, metadata) -> (scores, info)`.

    `metadata[i]` decides what is asked when it is a GenEval record or has a `scene`; otherwise
    the prompt text is parsed.

    Args:
        scorer: `LocalScorer(...)`, or `Client(url)` for a server.
        unscored: reward of an image that cannot be scored (a prompt without objects). By default
            it is an error: a silent number would be learnt from.

    Returns:
        A function whose `info` holds lists of one entry per image: `status`, `reason`, and every
        part of the reward by its name.
    """

    def fn(
        images: Any, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]] | None = None
    ) -> tuple[list[float], dict[str, Any]]:
        items = scorer(images, asked_of(prompts, metadata))
        scores = [_reward(item, i, prompts, unscored) for i, item in enumerate(items)]
        info: dict[str, Any] = {
            "status": [item.status for item in items],
            "reason": [item.reason for item in items],
        }
        for name in items[0].parts if items else ():
            info[name] = [item.parts[name] for item in items]
        return scores, info

    return fn


def geneval_function(
    scorer: Scorer, protocol: str = "geneval_reward_fixed"
) -> Callable[..., tuple[Any, ...]]:
    """`fn(images, prompts, metadatas, only_strict)` with five values, as flow_grpo's `geneval`.

    Returns `(scores, rewards, strict_rewards, group_rewards, group_strict_rewards)`: the soft
    reward, GenEval's own verdict (0.0 with `only_strict`), the strict one, and both by tag, -10
    where the image has another tag.

    Args:
        scorer: must judge by `protocol`.
        protocol: "geneval_reward_fixed", or "geneval_reward" for the peer's own numbers.

    Raises (the function):
        InputError: a record that is no GenEval record, or an image that cannot be scored.
    """

    def fn(
        images: Any,
        prompts: Sequence[str],
        metadatas: Sequence[Mapping[str, Any]],
        only_strict: bool = True,
    ) -> tuple[Any, ...]:
        del prompts
        asked = [geneval_prompt(record) for record in metadatas]
        return geneval_values(
            scorer(images, asked),
            [record.get("tag") for record in metadatas],
            only_strict,
            protocol,
        )

    return fn


def geneval_values(
    items: Sequence[ItemScore], tags: Sequence[str | None], only_strict: bool, protocol: str
) -> tuple[list[float], list[float], list[float], dict[str, list[float]], dict[str, list[float]]]:
    """The five values of scored items.

    Raises:
        InputError: an item has no value.
    """
    scores, rewards, strict_rewards = [], [], []
    for number, item in enumerate(items):
        verdict = item.verdicts.get(protocol)
        if verdict is None and item.verdicts:
            raise InputError(
                f"the scorer judges by {', '.join(item.verdicts)}; it must judge by {protocol}, too"
            )
        if verdict is None or verdict["value"] is None or verdict.get("unjudged"):
            reason = (verdict or {}).get("reason") or item.reason
            raise InputError(f"item {number} has no score: {reason}")
        parts = verdict["components"]
        scores.append(float(parts["soft"]))
        rewards.append(0.0 if only_strict else float(parts["nonstrict"]))
        strict_rewards.append(float(parts["strict"]))
    groups = [
        {
            tag: [
                value if own == tag else NOT_THIS_TASK
                for value, own in zip(values, tags, strict=True)
            ]
            for tag in TAGS
        }
        for values in (rewards, strict_rewards)
    ]
    return scores, rewards, strict_rewards, groups[0], groups[1]


def _reward(item: ItemScore, number: int, prompts: Sequence[str], unscored: float | None) -> float:
    if item.reward is not None:
        return item.reward
    if unscored is None:
        raise InputError(
            f"image {number} ({str(prompts[number])[:80]!r}) has no reward: {item.reason}; "
            "give unscored= a number to train on such prompts all the same"
        )
    return unscored
