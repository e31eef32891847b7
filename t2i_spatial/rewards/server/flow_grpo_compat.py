"""The wire of flow_grpo's GenEval client, read without unpickling.

Source of the wire: yifan123/flow_grpo @ 54809b5 (`geneval_score`): a pickled request with JPEG
bytes and GenEval records, a pickled answer with five lists.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence

from t2i_spatial.errors import InputError, T2ISpatialError
from t2i_spatial.rewards.flow_grpo import geneval_values
from t2i_spatial.rewards.server.plain_pickle import loads_plain
from t2i_spatial.rewards.server.request_readers import while_wanted
from t2i_spatial.rewards.server.worker import Job
from t2i_spatial.scoring.core import ItemScore
from t2i_spatial.scoring.requests import as_prompts, geneval_prompt


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


def flow_grpo_jobs(body: bytes, protocol: str, max_images: int) -> tuple[list[Job], bool]:
    """The images of a request, and whether only strict rewards are asked for.

    Raises:
        InputError: the request is not what that client sends.
    """
    asked = loads_plain(body)
    if not isinstance(asked, dict) or not {"images", "meta_datas"} <= asked.keys():
        raise InputError("expected a mapping with images and meta_datas")
    images, records = asked["images"], asked["meta_datas"]
    if not isinstance(images, list) or not all(isinstance(image, bytes) for image in images):
        raise InputError("images must be a list of bytes")
    if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
        raise InputError("meta_datas must be a list of mappings")
    if len(images) != len(records) or not images:
        raise InputError(f"{len(images)} images for {len(records)} records")
    if len(images) > max_images:
        raise InputError(f"{len(images)} images in a request; at most {max_images}")
    prompts = as_prompts(geneval_prompt(record) for record in while_wanted(records))
    jobs = [
        Job(image, prompt, {protocol: 1.0}) for image, prompt in zip(images, prompts, strict=True)
    ]
    return jobs, bool(asked.get("only_strict", True))
