"""The pure core: images and prompts in, one verdict per protocol and one reward per image out.

The same detector and the same `Metric.judge` as the offline scorer, without any file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from t2i_spatial.detections import Detections, NoBoxes, detections_table
from t2i_spatial.detectors.score_levels import fitted
from t2i_spatial.errors import InputError, nearest
from t2i_spatial.judges.base import Judge, JudgeSpec
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.scene import Prompt
from t2i_spatial.scoring.asked import Verdicts, ask_about, require_judge
from t2i_spatial.scoring.requests import as_images, as_prompts
from t2i_spatial.tables import DETECTOR_FAILED, IN_PART, NOT_APPLICABLE, SCORED, prompts_to_table

if TYPE_CHECKING:
    from PIL import Image

    from t2i_spatial.detectors import Detector

DEFAULT_REWARD = "spatial"


@dataclass(frozen=True)
class ItemScore:
    """What one image is worth.

    Attributes:
        status: as in the VERDICTS table.
        reason: why there is no reward, or the reason of the first verdict.
        reward: weighted sum; `None` when a weighted part has no value, and for every image of a
            prompt that a weighted protocol judges in part.
        parts: weighted name -> its value before weighting ("spatial", "spatial.mean").
        verdicts: protocol -> its VERDICTS row (`value`, `correct`, `margin`, `reason`,
            `evidence`, `components` as name -> value).
    """

    status: str
    reason: str
    reward: float | None
    parts: Mapping[str, float | None] = field(default_factory=dict)
    verdicts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Scorer(Protocol):
    """Anything that adapters can ask: `LocalScorer`, or `Client` for a server."""

    def __call__(self, images: Any, prompts: Sequence[Any]) -> list[ItemScore]:
        """One `ItemScore` per image, in order."""
        ...


@dataclass(frozen=True)
class RewardSpec:
    """Which numbers make up the reward.

    Attributes:
        weights: name -> weight. A name is a protocol ("spatial", "geneval_reward_fixed") or one
            of its components ("spatial.mean", "visor.objects_found").

    Raises:
        InputError: no weights, an unknown protocol or component, or a weight that is not finite.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: {DEFAULT_REWARD: 1.0})

    def __post_init__(self) -> None:
        if not self.weights:
            raise InputError("a reward needs at least one protocol")
        for name, weight in self.weights.items():
            protocol, _, component = name.partition(".")
            known = PROTOCOLS[protocol].parts
            if component and component not in known:
                raise InputError(
                    f"{protocol} has no component {component!r}; {nearest(component, known)}"
                )
            if (
                isinstance(weight, bool)
                or not isinstance(weight, int | float)
                or not abs(weight) < 1e9
            ):
                raise InputError(f"weight of {name} must be a finite number, got {weight!r}")

    @classmethod
    def parse(cls, texts: Sequence[str]) -> RewardSpec:
        """Read "spatial=0.7", "visor.objects_found=0.3"; a bare name has weight 1.

        >>> RewardSpec.parse(["spatial=0.5", "spatial.mean=0.5"]).protocols
        ('spatial',)
        """
        weights: dict[str, float] = {}
        for text in texts:
            name, given, weight = text.partition("=")
            try:
                weights[name.strip()] = float(weight) if given else 1.0
            except ValueError:
                raise InputError(f"expected NAME=WEIGHT, got {text!r}") from None
        return cls(weights) if weights else cls()

    @property
    def protocols(self) -> tuple[str, ...]:
        """Protocols to judge by, each once."""
        return tuple(dict.fromkeys(name.partition(".")[0] for name in self.weights))


def score_batch(
    images: Any,
    scenes: Sequence[Any],
    *,
    detector: Detector,
    reward: RewardSpec | str | Mapping[str, float] | None = None,
    protocols: Sequence[str] = (),
    color: Any = None,
    batch_size: int = 8,
    judge: Judge | None = None,
) -> list[ItemScore]:
    """Detect once, ask once, judge by every protocol, weigh.

    Args:
        images: see `scoring.requests.as_images`.
        scenes: one per image; see `scoring.requests.as_prompt`.
        detector: a loaded detector.
        reward: what makes up the reward; `spatial` by default.
        protocols: further protocols whose verdicts are wanted.
        color: a loaded colour model (`PixelColor`, `ClipColor`) for protocols that ask colours.
        batch_size: images per forward pass.
        judge: a loaded judge, for protocols that judge by answers. One that fails gives no reward.

    A scene that the detector cannot be asked gets `detector_failed` with the reason; the other
    images are scored all the same. No images give an empty list.

    Raises:
        InputError: lengths differ, or an image, scene or reward of the wrong form.
    """
    spec = as_spec(reward)
    pictures, prompts = as_images(images), as_prompts(scenes)
    if len(pictures) != len(prompts):
        raise InputError(f"{len(pictures)} images for {len(prompts)} scenes; give one per image")
    names = [*spec.protocols, *protocols]
    answered = ask_about(pictures, prompts, names, judge)
    if answered.keys() >= set(names):
        found: list[Detections | str] = ["nothing was looked for"] * len(prompts)
    else:
        found = detect(pictures, prompts, detector, color, batch_size)
    backend = detector.spec.backend
    return judge_batch(found, prompts, spec, protocols, backend=backend, answered=answered)


def as_spec(reward: RewardSpec | str | Mapping[str, float] | None) -> RewardSpec:
    """A `RewardSpec` from one name, or from names and weights."""
    if reward is None:
        return RewardSpec()
    if isinstance(reward, RewardSpec):
        return reward
    return RewardSpec({reward: 1.0} if isinstance(reward, str) else dict(reward))


def detect(
    images: Sequence[Image.Image],
    prompts: Sequence[Prompt],
    detector: Detector,
    color: Any = None,
    batch_size: int = 8,
) -> list[Detections | str]:
    """Boxes of each image, or the reason why the detector cannot be asked about it."""
    result: list[Detections | str] = []
    names = []
    for prompt in prompts:
        asked = prompt.scene.names if prompt.scene else ()
        refusal = next((f"{n!r}: {r}" for n in asked if (r := detector.refuse(n))), None)
        names.append(() if refusal else asked)
        result.append(refusal or "")
    found = detector(images, names, batch_size=batch_size)
    for i, detections in enumerate(found):
        if not result[i]:
            result[i] = detections if color is None else _colored(images[i], detections, color)
    return result


def _colored(image: Image.Image, found: Detections, color: Any) -> Detections:
    from t2i_spatial.detectors.boxes import BoxesOf

    if not len(found):
        return found
    masks = getattr(found, "masks", None)  # of detectors that give some
    boxes = BoxesOf(found.labels, found.boxes, found.width, found.height, masks)
    words = color.measure([color.prepare(image)], [boxes])[0]
    return Detections(
        found.labels,
        found.scores,
        found.boxes,
        found.width,
        found.height,
        tuple(words),
        found.depths,
    )


def judge_batch(
    found: Sequence[Detections | str],
    prompts: Sequence[Prompt],
    spec: RewardSpec,
    protocols: Sequence[str] = (),
    *,
    backend: str | None = None,
    answered: Verdicts | None = None,
) -> list[ItemScore]:
    """Verdicts and rewards of detections; a text in place of them is why there are none.

    Prompt ids must differ. `backend` is the detector's family, whose levels our own protocols take
    (`detectors.score_levels`). `answered` are verdicts of protocols that judge by answers.

    Raises:
        InputError: a protocol judges by answers, and `answered` has none of it.
    """
    if not prompts:
        return []
    table, prompt_table = found_table(prompts, found), prompts_to_table(prompts)
    verdicts: list[dict[str, dict[str, Any]]] = [{} for _ in prompts]
    for name in dict.fromkeys([*spec.protocols, *protocols]):
        given = (answered or {}).get(name)
        if given is None:
            require_judge([name], None)
            judged = fitted(PROTOCOLS[name](), backend).judge(prompt_table, table)
            given = list(judged.iter_rows(named=True))
        for i, verdict in enumerate(given):
            components = {c["name"]: c["value"] for c in verdict["components"] or ()}
            verdicts[i][name] = {**verdict, "components": components}
    return [_item(of_image, spec) for of_image in verdicts]


def found_table(prompts: Sequence[Prompt], found: Sequence[Detections | str]) -> pl.DataFrame:
    """DETECTIONS of what `detect` gave; images of one prompt are its samples 0, 1, ..."""
    return detections_table(
        (prompt.id, _found(prompt, boxes)) for prompt, boxes in zip(prompts, found, strict=True)
    )


def _found(prompt: Prompt, boxes: Detections | str) -> Detections | NoBoxes:
    if isinstance(boxes, str):
        return NoBoxes(DETECTOR_FAILED, boxes)
    if prompt.scene is None or not prompt.scene.objects:
        return NoBoxes(NOT_APPLICABLE, "no object could be read from the prompt")
    return boxes


def _item(verdicts: dict[str, dict[str, Any]], spec: RewardSpec) -> ItemScore:
    parts: dict[str, float | None] = {}
    for name in spec.weights:
        protocol, _, component = name.partition(".")
        verdict = verdicts[protocol]
        parts[name] = verdict["components"].get(component) if component else verdict["value"]
    reward = None
    absent = [name for name, value in parts.items() if value is None and spec.weights[name]]
    if not absent:
        reward = float(sum(w * (parts[name] or 0.0) for name, w in spec.weights.items()))
    deciding = [verdicts[protocol] for protocol in spec.protocols]
    blocking = next((v for v in deciding if v["status"] != SCORED), deciding[0])
    status = blocking["status"]
    in_part = next((v for v in deciding if v["unjudged"]), None)
    if in_part is not None and status == SCORED:
        # a failure has a verdict, but rewards of failures alone would teach by which prompts
        # can be judged
        reward, status, blocking = None, IN_PART, in_part
    reason = blocking["reason"] or ""
    if absent and blocking["status"] == SCORED:
        reason = f"{absent[0]} has no value for this prompt"
    return ItemScore(status, reason, reward, parts, verdicts)


class LocalScorer:
    """A detector in this process, loaded once.

    Args:
        detector: name, hub id, folder, or a loaded detector.
        reward: what makes up the reward (see `RewardSpec`).
        protocols: further protocols whose verdicts are wanted.
        color: `None`, "pixels", "clip" or "clip:MODEL"; GenEval's colour prompts need one.
        device, threshold: of a detector that is loaded here.
        batch_size: images per forward pass.
        judge: name, URL, or a loaded judge, for protocols that judge by answers ("spatial_vqa").
        judge_model: name of the model at a URL.

    Raises:
        InputError: an unknown reward, protocol or colour method.
        ModelLoadError: a model cannot be loaded.
    """

    def __init__(
        self,
        detector: str | Detector = "bundled",
        reward: RewardSpec | str | Mapping[str, float] | None = None,
        *,
        protocols: Sequence[str] = (),
        color: str | None = None,
        device: str = "auto",
        threshold: float | None = None,
        batch_size: int = 8,
        judge: str | JudgeSpec | Judge | None = None,
        judge_model: str | None = None,
    ) -> None:
        from t2i_spatial.detectors import load_detector
        from t2i_spatial.judges import load_judge, resolve_judge

        self.spec = as_spec(reward)
        self.protocols = tuple(protocols)
        for name in self.protocols:
            PROTOCOLS[name]
        require_judge([*self.spec.protocols, *self.protocols], judge)
        self.detector = (
            load_detector(detector, device=device, threshold=threshold)
            if isinstance(detector, str)
            else detector
        )
        self.color = None if color is None else load_color(color, self.detector.device)
        self.batch_size = batch_size
        if isinstance(judge, str):
            judge = resolve_judge(judge, model=judge_model)
        if isinstance(judge, JudgeSpec):
            judge = load_judge(judge, device=self.detector.device)
        self.judge = judge

    def __call__(self, images: Any, prompts: Sequence[Any]) -> list[ItemScore]:
        """See `score_batch`."""
        return score_batch(
            images,
            prompts,
            detector=self.detector,
            reward=self.spec,
            protocols=self.protocols,
            color=self.color,
            batch_size=self.batch_size,
            judge=self.judge,
        )


def load_color(method: str, device: str) -> Any:
    """The colour model of "pixels", "clip" or "clip:MODEL".

    Raises:
        InputError: another method.
        ModelLoadError: the CLIP model cannot be loaded.
    """
    from t2i_spatial.detectors.clip_model import ClipSpec
    from t2i_spatial.detectors.color_clip import ClipColor
    from t2i_spatial.detectors.color_pixels import PixelColor

    kind, _, model = method.partition(":")
    if kind == "pixels" and not model:
        return PixelColor()
    if kind == "clip":
        return ClipColor(ClipSpec.parse(model) if model else ClipSpec(), device)
    raise InputError(f"unknown colour method {method!r}; {nearest(kind, ('pixels', 'clip'))}")
