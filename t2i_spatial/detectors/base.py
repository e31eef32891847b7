"""What a detector is: images and asked names in, validated boxes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from PIL import Image

from t2i_spatial.detections import Detections
from t2i_spatial.errors import InputError

if TYPE_CHECKING:
    import torch

QUERY_MODES = ("together", "each")
"""All names of a prompt in one pass, or one pass per name (boxes may then carry two names)."""

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class DetectorSpec:
    """Which detector with which settings, resolved without loading any weights.

    Picklable, so that every worker process loads its own copy.

    Attributes:
        spec: what the user asked for ("bundled", a hub id, a folder, "backend:source").
        backend: name in the detector registry.
        source: hub id or local path that the backend loads.
        revision: resolved commit of a hub id, `None` for local files.
        threshold: boxes with a score above this are kept (strictly).
        query_template: text asked for a name; `{name}` stands for it.
        query_mode: "together" or "each".
        nms: drop a box that overlaps a better one of the same name by more than this IoU;
            `None` keeps all (VISOR's way).
        dtype: precision of the model's matrix products (autocast; weights stay float32).
        compile: run the backbone through `torch.compile`.
        weights: sha256 of the weights when they are local files.
        options: what only this backend knows.
    """

    spec: str
    backend: str
    source: str
    threshold: float
    query_template: str = "{name}"
    query_mode: str = "together"
    revision: str | None = None
    nms: float | None = None
    dtype: str = "float32"
    compile: bool = False
    weights: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise InputError(f"threshold must be in [0, 1), got {self.threshold}")
        if "{name}" not in self.query_template:
            raise InputError(f"query template {self.query_template!r} has no {{name}} in it")
        if self.query_mode not in QUERY_MODES:
            raise InputError(f"query mode must be one of {QUERY_MODES}, got {self.query_mode!r}")
        if self.nms is not None and not 0 < self.nms <= 1:
            raise InputError(f"nms must be in (0, 1], got {self.nms}")
        if self.dtype not in DTYPES:
            raise InputError(f"dtype must be one of {DTYPES}, got {self.dtype!r}")

    def plan(self) -> dict[str, Any]:
        """What decides the boxes, for `run.json`."""
        return {
            "detector": self.spec,
            "backend": self.backend,
            "revision": self.revision,
            "weights": self.weights,
            "threshold": self.threshold,
            "query_template": self.query_template,
            "query_mode": self.query_mode,
            "nms": self.nms,
            "dtype": self.dtype,
            "options": dict(self.options),
        }


class Detector(ABC):
    """One loaded detector on one device. Subclasses register in `DETECTORS`.

    The work is cut in three so that it can overlap: `prepare` runs in worker threads, `forward`
    only queues work on the device, `collect` waits for it.

    Attributes:
        name: name in the registry, which registering sets.
        model_types: `model_type` values of a `config.json` that this backend loads.
        default_threshold: score above which boxes are kept unless the user says otherwise.
        default_template: text asked for a name.
    """

    name: ClassVar[str]
    model_types: ClassVar[tuple[str, ...]] = ()
    default_threshold: ClassVar[float]
    default_template: ClassVar[str] = "{name}"

    def __init__(self, spec: DetectorSpec, device: str = "cpu") -> None:
        self.spec = spec
        self.device = device

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Backend options with defaults filled in; unknown ones are an `InputError`."""
        if options:
            raise InputError(f"unknown detector option {sorted(options)[0]!r}")
        return {}

    def refuse(self, name: str) -> str | None:
        """Why this name cannot be asked, or `None` when it can."""
        return None if name.strip() else "the phrase is empty"

    @abstractmethod
    def prepare(self, image: Image.Image) -> torch.Tensor:
        """The RGB image as a CPU tensor; called from worker threads."""

    @abstractmethod
    def forward(
        self,
        prepared: Sequence[torch.Tensor],
        sizes: Sequence[tuple[int, int]],
        names: Sequence[Sequence[str]],
    ) -> Any:
        """Queue one batch of images of one size (width, height); `names[i]` is asked of image i."""

    @abstractmethod
    def collect(self, raw: Any) -> list[Detections]:
        """Wait for what `forward` queued: one `Detections` per image, best score first."""

    def __call__(
        self,
        images: Sequence[Image.Image],
        names: Sequence[Sequence[str]],
        *,
        batch_size: int = 8,
    ) -> list[Detections]:
        """Detect in RGB images of any sizes; `names[i]` are the names asked of image i.

        An image of which nothing is asked gets no boxes; no images give an empty list.

        Raises:
            InputError: a name that this detector cannot be asked, or lengths that differ.
        """
        if len(images) != len(names):
            raise InputError(f"{len(images)} images but {len(names)} lists of names")
        for asked in names:
            for name in asked:
                if reason := self.refuse(name):
                    raise InputError(f"{name!r}: {reason}")
        found: dict[int, Detections] = {
            i: no_detections(*images[i].size) for i, asked in enumerate(names) if not asked
        }
        groups: dict[tuple[int, int], list[int]] = {}
        for i, image in enumerate(images):
            if i not in found:
                groups.setdefault(image.size, []).append(i)
        batches = [
            (size, members[k : k + batch_size])
            for size, members in groups.items()
            for k in range(0, len(members), batch_size)
        ]
        for size, members in batches:
            raw = self.forward(
                [self.prepare(images[i]) for i in members],
                [size] * len(members),
                [tuple(dict.fromkeys(names[i])) for i in members],
            )
            found.update(zip(members, self.collect(raw), strict=True))
        return [found[i] for i in range(len(images))]


def no_detections(width: int, height: int) -> Detections:
    """An image in which nothing was found."""
    return Detections((), [], [], width, height)  # type: ignore[arg-type]
