"""What a judge is: a picture and questions in, one reply per question out."""

from __future__ import annotations

import hashlib
import io
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, TypeVar

from PIL import Image
from pydantic import ValidationError

from t2i_spatial.errors import InputError, nearest
from t2i_spatial.images import ImageUnreadableError, as_image, read_image
from t2i_spatial.judges.replies import HALF, Probabilities, back, parse
from t2i_spatial.questions import ANSWERED, ERROR, OFF_FORMAT, Question
from t2i_spatial.settings import Settings

MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}


@dataclass(frozen=True)
class JudgeSpec:
    """Which judge with which settings, resolved without loading or asking anything.

    Picklable, so that every worker process loads its own. Secrets are no part of it: keys come
    from the environment.

    Attributes:
        spec: what the user asked for ("bundled", "boxes", a URL, "transformers:ID").
        backend: name in the judge registry.
        source: URL, hub id or path.
        model: name of the model at a URL.
        revision: resolved commit of a hub id.
        weights: sha256 of local weights.
        dtype: precision of a local model.
        options: what only this backend knows.
    """

    spec: str
    backend: str
    source: str = ""
    model: str | None = None
    revision: str | None = None
    weights: str | None = None
    dtype: str = "float32"
    options: Mapping[str, Any] = field(default_factory=dict)

    def plan(self) -> dict[str, Any]:
        """What decides the answers, for `run.json`."""
        return {
            "judge": self.spec,
            "backend": self.backend,
            "model": self.model,
            "revision": self.revision,
            "weights": self.weights,
            "dtype": self.dtype,
            "options": dict(self.options),
        }


@dataclass(frozen=True)
class Picture:
    """An image to be asked about, as its file holds it.

    Attributes:
        path: the file; empty for a drawing.
        data: its bytes; empty for judges that look at stored boxes only.
        key: (prompt id, sample), for judges that look things up.
    """

    path: str
    data: bytes
    key: tuple[str, int] = ("", 0)

    @cached_property
    def sha256(self) -> str:
        """Of the bytes."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def media_type(self) -> str:
        """The true type of the bytes, "image/png"."""
        with Image.open(io.BytesIO(self.data)) as image:
            kind = image.format or ""
        return MEDIA_TYPES.get(kind, f"image/{kind.lower() or 'png'}")

    def decoded(self) -> Image.Image:
        """As RGB, turned as its EXIF data say; of a picture without a file, from its bytes.

        Raises:
            ImageUnreadableError: the file is no image.
        """
        if not self.path:
            try:
                with Image.open(io.BytesIO(self.data)) as image:
                    return as_image(image)
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                raise ImageUnreadableError(f"a picture that cannot be read: {error}") from None
        return read_image(self.path)


@dataclass(frozen=True, slots=True)
class Asked:
    """One question as put once: which rollout, and in which order the options are shown."""

    question: Question
    rollout: int = 0
    order: tuple[int, ...] | None = None
    seed: int = 0

    @property
    def text(self) -> str:
        """What the judge reads."""
        return self.question.shown(self.order)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one `Asked`; letters are those of the options as listed (see `ANSWERS`)."""

    status: str
    answer: str | None = None
    probabilities: Probabilities | None = None
    bracket: tuple[float, float] | None = None
    raw: str | None = None
    tokens: int | None = None
    seconds: float | None = None
    reason: str | None = None
    cached: bool = False

    @classmethod
    def failed(cls, reason: str, *, status: str = ERROR, raw: str | None = None) -> Reply:
        """No answer, and why."""
        return cls(status, raw=raw, reason=reason)


Model = TypeVar("Model", bound=Settings)


def checked_options(model: type[Model], options: Mapping[str, Any], who: str) -> Model:
    """Options as their settings class; texts of the command line are read as what they stand for.

    Raises:
        InputError: an unknown option, or a value that it cannot have.
    """
    for name in options:
        if name not in model.model_fields:
            raise InputError(f"{who} has no option {name!r}; {nearest(name, model.model_fields)}")
    try:
        return model(**options)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        said = str(first["msg"]).removeprefix("Value error, ")
        raise InputError(f"option {name} of {who}: {said} (got {first['input']!r})") from None


class Judge(ABC):
    """One loaded judge. Subclasses register in `JUDGES`.

    `submit` starts on a batch, `collect` waits for it, so that the next batch is on its way while
    this one is awaited; a judge that has nothing to gain from that overrides `ask` alone.

    Attributes:
        needs_pixels: whether the bytes of the images are wanted.
        on_device: whether it computes on a device of ours, so that several are faster than one.
        samples: whether a question asked once more gets another sample; else it is asked once.
        writes: whether it answers in sentences of its own where a question wants text.
        gives_probabilities: whether replies carry them; a judge over HTTP finds out by asking.
    """

    needs_pixels: ClassVar[bool] = True
    on_device: ClassVar[bool] = False
    samples: ClassVar[bool] = True
    writes: ClassVar[bool] = False

    def __init__(self, spec: JudgeSpec, device: str = "cpu") -> None:
        self.spec = spec
        self.device = device
        self.gives_probabilities = False

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Backend options with defaults filled in; unknown ones are an `InputError`."""
        if options:
            raise InputError(f"unknown judge option {sorted(options)[0]!r}")
        return {}

    @abstractmethod
    def ask(self, picture: Picture, asked: Sequence[Asked]) -> list[Reply]:
        """One reply per question about one picture, in order; failures are replies too."""

    def say(self, asked: Sequence[Asked]) -> list[Reply]:
        """One reply per question that no picture belongs to; of language models.

        Raises:
            InputError: this judge looks at pictures only.
        """
        raise InputError(f"{self.spec.spec!r} answers questions about pictures only")

    def submit(self, batch: Sequence[tuple[Picture, Sequence[Asked]]]) -> Any:
        """Start on a batch; what is returned goes to `collect`."""
        return batch

    def collect(self, started: Any) -> list[list[Reply]]:
        """The replies of a batch that was submitted, picture by picture."""
        return [self.ask(picture, asked) for picture, asked in started]

    def plan(self) -> dict[str, Any]:
        """What decides the answers, for `run.json`."""
        return {**self.spec.plan(), "probabilities": self.gives_probabilities}

    def found_out(self) -> dict[str, Any]:
        """What was learnt of the judge while asking (model as served, log-probabilities)."""
        return {"probabilities": self.gives_probabilities}

    def close(self) -> None:  # noqa: B027 - most judges hold nothing
        """Let go of connections."""


def understood(
    asked: Asked,
    text: str | None,
    probabilities: Probabilities | None = None,
    *,
    bracket: tuple[float, float] | None = None,
    finished: bool = True,
    tokens: int | None = None,
    started: float | None = None,
) -> Reply:
    """A reply from its text, from token probabilities, or from both; probabilities decide.

    Args:
        started: `time.monotonic()` when the question was put.
    """
    seconds = None if started is None else time.monotonic() - started
    order = asked.order
    if probabilities is not None:
        turned = Probabilities(
            back(probabilities.answer, order),
            probabilities.p,
            probabilities.p_raw,
            probabilities.mass,
            {back(answer, order): p for answer, p in probabilities.options.items()},
        )
        if probabilities.mass < HALF:
            told = f"only {probabilities.mass:.2f} of the probability is on allowed answers"
            return Reply(OFF_FORMAT, None, turned, bracket, text, tokens, seconds, told)
        return Reply(ANSWERED, turned.answer, turned, bracket, text, tokens, seconds)
    parsed = parse(text or "", asked.question, finished=finished)
    answer = parsed.answer
    if answer is not None and asked.question.kind == "choice":
        answer = back(answer, order)
    return Reply(parsed.status, answer, None, bracket, text, tokens, seconds, parsed.reason)


def answer_row(key: tuple[str, int], asked: Asked, reply: Reply) -> dict[str, Any]:
    """The row of ANSWERS of one reply; `key` is (prompt id, sample)."""
    found = reply.probabilities
    low, high = reply.bracket or (None, None)
    return {
        "prompt_id": key[0],
        "sample": key[1],
        "question_id": asked.question.id,
        "rollout": asked.rollout,
        "status": reply.status,
        "answer": reply.answer,
        "p": None if found is None else found.p,
        "p_raw": None if found is None else found.p_raw,
        "mass": None if found is None else found.mass,
        "p_low": low,
        "p_high": high,
        "chances": None
        if found is None
        else [{"answer": answer, "p": p} for answer, p in found.options.items()],
        "order": None if asked.order is None else list(asked.order),
        "raw": reply.raw,
        "tokens": reply.tokens,
        "seconds": reply.seconds,
        "reason": reply.reason,
    }
