"""The wires of clients that pickle, read without unpickling.

flow_grpo's GenEval client (yifan123/flow_grpo @ 54809b5, `geneval_score`): JPEG bytes and GenEval
records, answered with five lists. verl-omni's scorer client (verl-project/verl-omni @ a1139ba,
`reward_score/http_scorer_client.py`): JPEG bytes and prompts, answered with their scores.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import Any

from t2i_spatial.errors import InputError, T2ISpatialError
from t2i_spatial.rewards.flow_grpo import geneval_values
from t2i_spatial.rewards.server.plain_pickle import loads_plain
from t2i_spatial.rewards.server.request_readers import while_wanted
from t2i_spatial.rewards.server.worker import Job
from t2i_spatial.scoring.core import ItemScore
from t2i_spatial.scoring.requests import as_prompts, asked_of, geneval_prompt


class CompatRefused(T2ISpatialError):
    """A request that this client must not send again."""


def flow_grpo_answer(
    jobs: Sequence[Job], items: Sequence[ItemScore], only_strict: bool, protocol: str
) -> bytes:
    """The pickled answer (plain lists of floats) to a request.

    Raises:
        CompatRefused: an image cannot be scored; the client has no way to hear of single images.
    """
    tags = [job.prompt.tag for job in jobs]
    try:
        values = geneval_values(items, tags, only_strict, protocol)
    except InputError as error:
        raise CompatRefused(str(error)) from None
    names = ("scores", "rewards", "strict_rewards", "group_rewards", "group_strict_rewards")
    return pickle.dumps(dict(zip(names, values, strict=True)))


def scores_answer(items: Sequence[ItemScore]) -> bytes:
    """The pickled answer with the rewards of `items`.

    Raises:
        CompatRefused: an image has no reward; the client has no way to hear of single images.
    """
    for number, item in enumerate(items):
        if item.reward is None:
            raise CompatRefused(f"image {number} has no reward: {item.reason}")
    return pickle.dumps({"scores": [item.reward for item in items]})


def pickled_jobs(
    body: bytes, protocol: str, weights: Mapping[str, float], max_images: int
) -> tuple[list[Job], bool | None]:
    """The images of a request, and whether only strict rewards are asked for.

    Args:
        protocol: what GenEval records are judged by; weights: reward of a request with prompts, for
            which the second value is `None`.

    Raises:
        InputError: the request is not what these clients send.
    """
    asked = loads_plain(body)
    if not isinstance(asked, dict) or "images" not in asked:
        raise InputError("expected a mapping with images, and meta_datas or prompts")
    images = asked["images"]
    if not isinstance(images, list) or not all(isinstance(image, bytes) for image in images):
        raise InputError("images must be a list of bytes")
    if len(images) > max_images:
        raise InputError(f"{len(images)} images in a request; at most {max_images}")
    if "meta_datas" in asked:
        records = _of_each_image(asked, "meta_datas", dict, len(images))
        prompts = as_prompts(geneval_prompt(record) for record in while_wanted(records))
        weights, only_strict = {protocol: 1.0}, bool(asked.get("only_strict", True))
    elif "prompts" in asked:
        texts = _of_each_image(asked, "prompts", str, len(images))
        metadata = asked.get("metadata") or None  # verl-omni sends an empty mapping
        prompts = as_prompts(while_wanted(asked_of(texts, metadata)))
        only_strict = None
    else:
        raise InputError("expected a mapping with images, and meta_datas or prompts")
    jobs = [Job(image, prompt, weights) for image, prompt in zip(images, prompts, strict=True)]
    return jobs, only_strict


def _of_each_image(asked: Mapping[str, Any], name: str, kind: type, count: int) -> list[Any]:
    values = asked[name]
    if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
        raise InputError(f"{name} must be a list of {'texts' if kind is str else 'mappings'}")
    if count != len(values) or not values:
        raise InputError(f"{count} images for {len(values)} {name}")
    return values
