"""Requests to a file, replies from a file: batch APIs, and machines without a network.

    t2i-spatial ask run --judge https://api.openai.com/v1 --judge-model gpt-4.1 \\
        --export-requests requests.jsonl
    t2i-spatial ask run --judge https://api.openai.com/v1 --judge-model gpt-4.1 \\
        --import-replies replies.jsonl

Source of the form: the OpenAI batch API, which vLLM's `run-batch` shares. `custom_id` is the key
of the request in the cache of replies, so it does not matter when and where a reply was made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from t2i_spatial.errors import InputError
from t2i_spatial.incoming import read_text
from t2i_spatial.judges.base import Asked, Judge, JudgeSpec, Picture, Reply, checked_options
from t2i_spatial.judges.http import HTTPOptions, plan_of, sampling_of
from t2i_spatial.judges.openai_api import (
    Sampling,
    body_of,
    reply_key,
    reply_of,
    wants_probabilities,
)

URL = "/v1/chat/completions"
MOST_REQUESTS = 50_000
MOST_BYTES = 200_000_000
"""Of one file, at OpenAI."""
NO_REPLY = "there is no reply to it in the file"


class BatchFileJudge(Judge):
    """A judge at a URL whose replies are read from a file; nothing is sent.

    Token probabilities are asked for unless `logprobs=off`: whether the model gives some is not
    found out before its replies are there.

    Raises:
        InputError: no model is named, the judge is none at a URL, or another interface than chat
            completions is wanted.
    """

    def __init__(self, spec: JudgeSpec, replies: Mapping[str, Any] | None = None) -> None:
        super().__init__(spec)
        if spec.backend != "http" or spec.model is None:
            raise InputError("files of requests are for a judge at a URL with --judge-model")
        options = checked_options(HTTPOptions, spec.options, "a judge at a URL")
        if options.systemone:
            raise InputError("files of requests are for chat completions: leave out systemone")
        self.sampling: Sampling = sampling_of(options, spec.model)
        self.gives_probabilities = self.sampling.logprobs
        self._replies = replies or {}
        self.used = 0

    def ask(self, picture: Picture, asked: Sequence[Asked]) -> list[Reply]:
        """What the file says of each."""
        return [self._one(picture, one) for one in asked]

    def plan(self) -> dict[str, Any]:
        """That of the same judge asked directly."""
        return plan_of(super().plan(), self.sampling)

    def write(self, file: IO[str], picture: Picture, asked: Sequence[Asked]) -> int:
        """One line per question; returns how many characters were written."""
        written = 0
        for one in asked:
            line = {
                "custom_id": reply_key(self.spec.source, picture, one, self.sampling),
                "method": "POST",
                "url": URL,
                "body": body_of(picture, one, self.sampling),
            }
            written += file.write(json.dumps(line, ensure_ascii=True) + "\n")
        return written

    def _one(self, picture: Picture, asked: Asked) -> Reply:
        found = self._replies.get(reply_key(self.spec.source, picture, asked, self.sampling))
        if found is None:
            return Reply.failed(NO_REPLY)
        self.used += 1
        if isinstance(found, str):
            return Reply.failed(found)
        try:
            return reply_of(found, asked, logprobs=wants_probabilities(asked, self.sampling))
        except ValueError as error:
            return Reply.failed(str(error))


def read_replies(path: str | Path) -> dict[str, Any]:
    """Key of the request -> body of its reply, or why there is none.

    Raises:
        InputError: the file cannot be read, or a line is no reply of a batch.
    """
    replies: dict[str, Any] = {}
    for number, line in enumerate(read_text(path, "file of replies").splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            key = entry["custom_id"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise InputError(
                f"{path}, line {number}: no reply of a batch (a JSON object with a custom_id)"
            ) from None
        if "method" in entry:
            raise InputError(f"{path} holds requests, not replies to them")
        replies[str(key)] = _body(entry)
    if not replies:
        raise InputError(f"{path} holds no replies")
    return replies


def _body(entry: Mapping[str, Any]) -> Any:
    response = entry.get("response")
    if not isinstance(response, Mapping) or not isinstance(response.get("body"), Mapping):
        error = entry.get("error") or "no response"
        return str(error.get("message", error) if isinstance(error, Mapping) else error)
    status, body = response.get("status_code", 200), response["body"]
    if status == 200:
        return body
    error = body.get("error", body)
    return f"{status}: {error.get('message', error) if isinstance(error, Mapping) else error}"
