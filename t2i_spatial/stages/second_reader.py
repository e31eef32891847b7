"""The text of a prompt, read by a judge: a second opinion beside the parser's rules."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from t2i_spatial.devices import resolve_devices
from t2i_spatial.errors import T2ISpatialError
from t2i_spatial.judges import Asked, Judge, JudgeSpec, load_judge
from t2i_spatial.judges.cache import ReplyCache, cache_key
from t2i_spatial.judges.sending import JudgeError
from t2i_spatial.prompts.second_reading import READ, reading_question, scene_of_reply
from t2i_spatial.questions import ANSWERED
from t2i_spatial.scene import SceneSpec
from t2i_spatial.stages.ask_settings import JudgeChoice


def load_reader(settings: JudgeChoice) -> Judge:
    """The judge, spared the question whether it looks at pictures. `read_by_judge` keeps replies.

    Raises:
        InputError, ModelLoadError, JudgeError: see `judges.load_judge`.
    """
    return load_unseeing(settings.model_copy(update={"cache": None}).resolve(), settings.device)


def load_unseeing(spec: JudgeSpec, device: str) -> Judge:
    """A judge that is asked about texts only.

    Raises:
        ModelLoadError, JudgeError: see `judges.load_judge`.
    """
    if "probe" in spec.options:
        spec = dataclasses.replace(spec, options={**spec.options, "probe": False})
    return load_judge(spec, device=resolve_devices(device)[0])


def read_by_judge(text: str, judge: Judge, cache: str | Path | None = None) -> SceneSpec:
    """The scene that a judge reads in a text.

    Args:
        cache: folder of replies; only those that hold a scene about the text are kept.

    Raises:
        InputError: the judge needs a picture, or its reply is no scene about this text.
        JudgeError: it gave no reply.
    """
    kept, asked = ReplyCache(cache), Asked(reading_question(text))
    key = cache_key({"judge": judge.plan(), "template": READ.to_dict(), "asked": asked.text})
    if isinstance(known := kept.get(key), str):
        return scene_of_reply(known, text)
    (reply,) = judge.say([asked])
    if reply.status != ANSWERED or reply.answer is None:
        raise JudgeError(f"{judge.spec.spec} did not read the prompt: {reply.reason}")
    try:
        scene = scene_of_reply(reply.answer, text)
    except T2ISpatialError as error:
        raise type(error)(f"{judge.spec.spec}: {error}") from None
    kept.put(key, reply.answer)
    return scene
