"""What requests and answers look like, and how a body becomes jobs."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.rewards.server.request_readers import while_wanted
from t2i_spatial.rewards.server.worker import Job
from t2i_spatial.scoring.core import ItemScore, RewardSpec
from t2i_spatial.scoring.requests import MAX_TEXT, as_prompt
from t2i_spatial.tables import STATUSES

BAD_REQUEST = "bad_request"
MAX_JSON_PARTS = 200_000
"""Most commas and brackets of a JSON text: 60 MB of `[],` would become gigabytes of lists."""
MAX_ID = 200


class AskedOf(BaseModel):
    """What is asked of one image: exactly one of `prompt`, `scene` and `geneval`.

    Beside a `scene`, `prompt` is its text and `tag` its tag: some protocols look at them.
    """

    model_config = ConfigDict(extra="forbid")

    id: str | None = Field(default=None, max_length=MAX_ID, description="Echoed in the answer.")
    prompt: str | None = Field(default=None, min_length=1, max_length=MAX_TEXT)
    scene: dict[str, Any] | None = Field(
        default=None, description="Objects and relations, as in a prompt file."
    )
    tag: str | None = Field(default=None, max_length=MAX_ID, description="Of a scene.")
    geneval: dict[str, Any] | None = Field(
        default=None, description="A GenEval metadata record: tag, include, exclude."
    )


class Item(AskedOf):
    """One image to score."""

    image: str = Field(min_length=1, description="PNG, JPEG or WebP as base64, or a data URI.")


class ScoreRequest(BaseModel):
    """Images to score."""

    model_config = ConfigDict(extra="forbid")

    items: list[Item] = Field(min_length=1)
    reward: dict[str, float] | None = Field(
        default=None,
        min_length=1,
        max_length=32,
        description="Protocol, or protocol.component -> weight. Default: the server's.",
    )
    protocols: list[str] = Field(
        default_factory=list, max_length=32, description="Further protocols to judge by."
    )


class _Envelope(BaseModel):
    """A request whose items have not been looked at: a bad item must not cost the others."""

    model_config = ConfigDict(extra="forbid")

    items: list[Any] = Field(min_length=1)
    reward: dict[str, float] | None = Field(default=None, min_length=1, max_length=32)
    protocols: list[str] = Field(default_factory=list, max_length=32)


class VerdictOut(BaseModel):
    """What one protocol says of one image."""

    value: float | None
    correct: bool | None
    status: str
    margin: float | None
    reason: str | None
    components: dict[str, float | None]
    evidence: list[dict[str, Any]]
    unjudged: list[str] = Field(
        default_factory=list, description="What the prompt asks and the protocol did not judge."
    )


class ItemOut(BaseModel):
    """The answer to one item; `reward` is null unless the image was scored."""

    id: str | None
    status: Literal[(*STATUSES, BAD_REQUEST)]  # type: ignore[valid-type]
    reward: float | None
    reason: str
    parts: dict[str, float | None]
    verdicts: dict[str, VerdictOut]


class ScoreAnswer(BaseModel):
    """Answers in the order of the items."""

    rewards: list[float | None]
    errors: int = Field(description="Items that are at fault themselves; then the code is 422.")
    items: list[ItemOut]


class Problem(BaseModel):
    """Why a request was not served."""

    error: str


class ComputeRequest(BaseModel):
    """What Flow-Factory's remote reward client sends; either spelling of its two versions."""

    model_config = ConfigDict(extra="forbid")

    prompt: list[str] | None = None
    prompts: list[str] | None = None
    image: list[str] | None = None
    images: list[str] | None = None
    video: None = None
    videos: None = None
    condition_images: Any = None
    condition_videos: Any = None
    kwargs: dict[str, Any] | None = None
    extra: dict[str, Any] | None = None


class ComputeAnswer(BaseModel):
    """One reward per image."""

    rewards: list[float]


Parsed = tuple[list[tuple[str | None, Job | str]], RewardSpec]
"""Per item its id and a job, or what is wrong with it; and the reward that was asked for."""


def from_json(body: bytes, default: RewardSpec, protocols: Sequence[str], limit: int) -> Parsed:
    """Jobs of a JSON body.

    Raises:
        InputError: the body as a whole cannot be served.
    """
    envelope = validated(_Envelope, load_json(body))
    return _jobs(envelope, [_split(entry) for entry in envelope.items], default, protocols, limit)


def from_parts(
    images: Sequence[bytes],
    fields: Mapping[str, str],
    default: RewardSpec,
    protocols: Sequence[str],
    limit: int,
) -> Parsed:
    """Jobs of a multipart body: files `images`, and a text field `items` that holds a JSON list.

    Raises:
        InputError: the body as a whole cannot be served.
    """
    data = {name: load_json(text) for name, text in fields.items()}
    envelope = validated(_Envelope, data)
    if len(images) != len(envelope.items):
        raise InputError(f"{len(images)} images for {len(envelope.items)} items")
    pairs = list(zip(envelope.items, images, strict=True))
    return _jobs(envelope, pairs, default, protocols, limit)


def load_json(body: bytes | str) -> Any:
    """JSON without NaN and infinities.

    Raises:
        InputError: no JSON, nested too deeply, or of too many parts.
    """
    parts = sum(
        body.count(sign) if isinstance(body, str) else body.count(sign.encode()) for sign in ",[{"
    )
    if parts > MAX_JSON_PARTS:
        raise InputError(f"the JSON has {parts:,} parts; at most {MAX_JSON_PARTS:,}")

    def refuse(name: str) -> Any:
        raise InputError(f"the JSON holds {name}, which is no number")

    try:
        return json.loads(body, parse_constant=refuse)
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"the body is not JSON ({error})") from None


def validated(model: Any, data: Any) -> Any:
    """An instance of a pydantic model.

    Raises:
        InputError: naming the first field that is wrong.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(ascii(part)[:60].strip("'") for part in first["loc"]) or "the body"
        raise InputError(f"{place}: {first['msg']}") from None


def _split(entry: Any) -> tuple[Any, Any]:
    if isinstance(entry, dict) and "image" in entry:
        return {key: value for key, value in entry.items() if key != "image"}, entry["image"]
    return entry, None


def _jobs(
    envelope: _Envelope,
    pairs: Sequence[tuple[Any, Any]],
    default: RewardSpec,
    protocols: Sequence[str],
    limit: int,
) -> Parsed:
    if len(pairs) > limit:
        raise InputError(f"{len(pairs)} images in a request; at most {limit}")
    spec = default if envelope.reward is None else RewardSpec(envelope.reward)
    wanted = tuple(dict.fromkeys([*protocols, *envelope.protocols]))
    for name in wanted:
        PROTOCOLS[name]
    jobs: list[tuple[str | None, Job | str]] = []
    for asked, image in while_wanted(pairs):
        item_id = asked.get("id") if isinstance(asked, dict) else None
        try:
            jobs.append((item_id, _job(asked, image, spec, wanted)))
        except InputError as error:
            jobs.append((_echoed(item_id), str(error)))
    return jobs, spec


def _echoed(item_id: Any) -> str | None:
    """The id of an item at fault, unless the fault may be in the id."""
    sound = isinstance(item_id, str) and len(item_id) <= MAX_ID and item_id.isprintable()
    return item_id if sound else None


def _job(asked: Any, image: Any, spec: RewardSpec, protocols: tuple[str, ...]) -> Job:
    if not isinstance(asked, dict):
        raise InputError("an item must be a JSON object")
    wanted = validated(AskedOf, asked)
    data = image if isinstance(image, bytes) else decode_base64(image)
    return Job(data, as_prompt(_record(wanted)), spec.weights, protocols)


def _record(asked: AskedOf) -> Any:
    """What `as_prompt` takes."""
    several = asked.geneval is not None and (asked.prompt, asked.scene) != (None, None)
    if several or (asked.prompt, asked.scene, asked.geneval) == (None, None, None):
        raise InputError("give exactly one of prompt, scene and geneval")
    if asked.tag is not None and asked.scene is None:
        raise InputError("a tag belongs to a scene")
    if asked.geneval is not None:
        if "include" not in asked.geneval:
            raise InputError("a GenEval record needs a non-empty include list")
        return asked.geneval
    if asked.scene is None:
        return asked.prompt
    text = {} if asked.prompt is None else {"text": asked.prompt}
    return {"scene": asked.scene, "tag": asked.tag, **text}


def decode_base64(text: Any) -> bytes:
    """Bytes of a base64 text or a base64 data URI.

    Raises:
        InputError: no text, or no base64.
    """
    if not isinstance(text, str) or not text:
        raise InputError("image: base64 text is needed")
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InputError("image: not base64") from None


def item_out(name: str | None, score: ItemScore | str) -> ItemOut:
    """The answer to one item, scored or refused (a text)."""
    if isinstance(score, str):
        return ItemOut(
            id=name, status=BAD_REQUEST, reward=None, reason=score, parts={}, verdicts={}
        )
    return ItemOut(
        id=name,
        status=score.status,
        reward=score.reward,
        reason=score.reason,
        parts=dict(score.parts),
        verdicts={
            protocol: VerdictOut(
                value=verdict["value"],
                correct=verdict["correct"],
                status=verdict["status"],
                margin=verdict["margin"],
                reason=verdict["reason"],
                components=verdict["components"],
                evidence=verdict["evidence"] or [],
                unjudged=verdict["unjudged"] or [],
            )
            for protocol, verdict in score.verdicts.items()
        },
    )
