"""The form of the chat-completions interface: requests out of questions, replies out of bodies.

Source: the OpenAI API reference (chat completions, batch), as vLLM, SGLang, Ollama, llama.cpp and
`transformers serve` follow it. Pure functions; `http` sends, `batch_files` writes to files.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from t2i_spatial.judges.base import Asked, Picture, Reply, understood
from t2i_spatial.judges.cache import cache_key
from t2i_spatial.judges.replies import from_top_tokens
from t2i_spatial.questions import REFUSED, TEMPLATES

TOP = 20
"""Alternatives asked for at the answer position: the most that servers give."""
LISTED = ("yes/no", "choice", "count")
"""Kinds of question whose allowed answers are known."""
ROUNDING = 1e-3
VOTING = 1.0
"""Temperature of sampled votes, where there are no probabilities."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """What is sent with every question.

    Attributes:
        model: name at the server.
        logprobs: whether token probabilities are asked for.
        temperature: `None` takes the template's; rollouts after the first need one above 0.
        max_tokens: `None` takes the template's.
        detail: OpenAI's `detail` of the image; `None` leaves it out.
        extra: further fields of the body, as the server knows them.
    """

    model: str
    logprobs: bool = True
    temperature: float | None = None
    max_tokens: int | None = None
    detail: str | None = None
    extra: tuple[tuple[str, Any], ...] = ()


def body_of(
    picture: Picture | None, asked: Asked, sampling: Sampling, *, image: bool = True
) -> dict[str, Any]:
    """The body of one request.

    Args:
        picture: `None` for a question without one: servers of language models take plain text.
        image: `False` puts the hash of the picture in its place (for cache keys).
    """
    template = TEMPLATES[asked.question.template]
    content: Any = asked.text
    if picture is not None:
        url: dict[str, Any] = {"url": _data_uri(picture) if image else picture.sha256}
        if sampling.detail is not None:
            url["detail"] = sampling.detail
        content = [{"type": "image_url", "image_url": url}, {"type": "text", "text": asked.text}]
        if not template.image_first:
            content.reverse()
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if template.system is not None:
        messages.insert(0, {"role": "system", "content": template.system})
    body: dict[str, Any] = {
        "model": sampling.model,
        "messages": messages,
        "max_tokens": sampling.max_tokens or template.max_tokens,
        "temperature": _temperature(asked, sampling),
    }
    if wants_probabilities(asked, sampling):
        body |= {"logprobs": True, "top_logprobs": TOP}
    if body["temperature"] > 0:
        body["seed"] = (asked.seed * 1_000_003 + asked.rollout) % 2**31
    return body | dict(sampling.extra)


def reply_key(url: str, picture: Picture | None, asked: Asked, sampling: Sampling) -> str:
    """Of everything that decides a reply: its name in the cache, and in files of requests."""
    return cache_key(
        {
            "url": url,
            "body": body_of(picture, asked, sampling, image=False),
            "media_type": None if picture is None else picture.media_type,
            "template": asked.question.template,
            "rollout": asked.rollout,
        }
    )


def wants_probabilities(asked: Asked, sampling: Sampling) -> bool:
    """Whether the first token of the reply is the answer, and its probabilities are to be had."""
    return sampling.logprobs and asked.question.kind in LISTED


def reply_of(
    body: Mapping[str, Any], asked: Asked, *, logprobs: bool, started: float | None = None
) -> Reply:
    """The reply in the body of a response.

    Raises:
        ValueError: the body is no chat completion.
    """
    try:
        choice = body["choices"][0]
        message = choice["message"]
        text = message.get("content") or ""
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ValueError("the reply is no chat completion") from None
    if not isinstance(text, str):
        raise ValueError(f"the reply's content is {type(text).__name__}, not text")
    tokens = _tokens(body)
    if message.get("refusal") or choice.get("finish_reason") == "content_filter":
        told = str(message.get("refusal") or "content filter")
        return Reply(REFUSED, raw=text or told, tokens=tokens, reason=f"the judge refused: {told}")
    finished = choice.get("finish_reason") != "length"
    top = top_tokens(choice) if logprobs else None
    if top:
        probabilities, bracket = from_top_tokens(top, asked.question)
        if probabilities is not None:
            return understood(
                asked, text, probabilities, bracket=bracket, tokens=tokens, started=started
            )
    return understood(asked, text, finished=finished, tokens=tokens, started=started)


def top_tokens(choice: Mapping[str, Any]) -> list[tuple[str, float]]:
    """(token, log-probability) at the first position of a reply that is no blank.

    Whatever is not of that form (other interfaces have other lists) counts as not given.
    """
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    for place in content if isinstance(content, list) else ():
        if isinstance(place, Mapping) and str(place.get("token", "")).strip():
            listed = [_listed(entry) for entry in place.get("top_logprobs") or [place]]
            return [entry for entry in listed if entry is not None]
    return []


def _listed(entry: Any) -> tuple[str, float] | None:
    value = entry.get("logprob") if isinstance(entry, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # servers round: a hair above 0 is certainty; what is more, or no number, is no probability
    return (str(entry.get("token", "")), min(0.0, float(value))) if value <= ROUNDING else None


def _tokens(body: Mapping[str, Any]) -> int | None:
    usage = body.get("usage")
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    return total if isinstance(total, int) else None


def _data_uri(picture: Picture) -> str:
    return f"data:{picture.media_type};base64,{base64.b64encode(picture.data).decode('ascii')}"


def _temperature(asked: Asked, sampling: Sampling) -> float:
    if sampling.temperature is not None:
        return sampling.temperature
    if asked.question.kind in LISTED and not sampling.logprobs:
        return VOTING  # the most probable reply, asked for again, says nothing new
    return TEMPLATES[asked.question.template].temperature
