"""A reward model as Flow-Factory loads it, and the answers to its remote client.

Source of the forms: X-GenGroup/Flow-Factory @ 5f6cda1 (`rewards/abc.py`) and @ 696af07
(`rewards/my_reward_remote.py`, `reward_server/example_server.py`). The server of this package
answers that client's `POST /compute`.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from t2i_spatial.errors import InputError, MissingDependencyError
from t2i_spatial.scoring.core import LocalScorer, Scorer
from t2i_spatial.scoring.requests import asked_of


def spatial_reward_model() -> type:
    """The class for `reward_model:` in a Flow-Factory config; needs flow_factory installed.

    Settings read from the reward's config: `server_url` (a server instead of a local detector),
    `detector`, `reward` (name or name -> weight), `color`, `threshold`.

    Put this in a module of your own and name it in the config:

        from t2i_spatial.rewards.flow_factory import spatial_reward_model
        SpatialReward = spatial_reward_model()

    Raises:
        MissingDependencyError: flow_factory is not installed.
    """
    try:
        abc: Any = importlib.import_module("flow_factory.rewards.abc")
    except ImportError as error:
        raise MissingDependencyError(
            "Flow-Factory is not installed in this environment (its package flow_factory comes "
            f"from its repository, not from an extra of this package): {error}"
        ) from None

    class SpatialReward(abc.PointwiseRewardModel):  # type: ignore[misc]
        required_fields = ("prompt", "image")
        use_tensor_inputs = False

        def __init__(self, config: Any, accelerator: Any) -> None:
            super().__init__(config, accelerator)
            self.scorer = make_scorer(config, str(self.device))

        def __call__(
            self, prompt: Sequence[str], image: Sequence[Any] | None = None, **extra: Any
        ) -> Any:
            rewards, info = pointwise(self.scorer, prompt, image, records_of(extra))
            return abc.RewardModelOutput(rewards=rewards, extra_info=info)

    return SpatialReward


def records_of(extra: Mapping[str, Any]) -> Sequence[Any] | None:
    """The records among the further fields of samples: `geneval_metadata`, or else `metadata`.

    Its GenEval data sets carry the record as JSON text in a column of that name (pull request 165),
    which arrives as a field of its own, or inside `metadata` where that holds the other columns.
    """
    records = extra.get("geneval_metadata")
    if records is not None:
        return records  # type: ignore[no-any-return]
    metadata = extra.get("metadata")
    if isinstance(metadata, str) or not isinstance(metadata, Sequence):
        return metadata
    return [_unwrapped(record) for record in metadata]


def _unwrapped(record: Any) -> Any:
    if isinstance(record, str):
        try:
            found = json.loads(record)
        except (ValueError, RecursionError):
            return record  # `asked_of` says what is wrong
    else:
        found = record
    inner = found.get("geneval_metadata") if isinstance(found, Mapping) else None
    return record if inner is None else inner


def make_scorer(config: Any, device: str) -> Scorer:
    """The scorer that a reward's config asks for: a server's client, or a local detector."""
    if url := getattr(config, "server_url", None):
        from t2i_spatial.rewards.client import Client

        return Client(url, token=getattr(config, "token", None))
    return LocalScorer(
        getattr(config, "detector", None) or "bundled",
        getattr(config, "reward", None),
        color=getattr(config, "color", None),
        threshold=getattr(config, "threshold", None),
        device=device,
    )


def pointwise(
    scorer: Scorer,
    prompt: Sequence[str],
    image: Sequence[Any] | None,
    metadata: Sequence[Any] | None = None,
) -> tuple[list[float], dict[str, Any]]:
    """`(rewards, extra_info)` of a batch.

    Args:
        metadata: JSON texts or mappings, one per image; one with a GenEval record or a scene
            decides what is asked instead of the prompt.

    Raises:
        InputError: no images, lengths that differ, or an image that cannot be scored.
    """
    if image is None or len(image) != len(prompt):
        raise InputError(f"{len(image or ())} images for {len(prompt)} prompts")
    items = scorer(list(image), asked_of(prompt, metadata))
    for number, item in enumerate(items):
        if item.reward is None:
            raise InputError(f"image {number} has no reward: {item.reason}")
    info = {"reason": [item.reason for item in items]}
    return [item.reward for item in items if item.reward is not None], info
