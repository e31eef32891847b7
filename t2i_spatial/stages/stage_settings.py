"""What every stage can be told: the one declaration of each setting, its bounds and its meaning.

Nothing heavy is imported here, so that `t2i-spatial COMMAND --help` is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from t2i_spatial.settings import (
    DEFAULT_PROTOCOLS,
    AutoDtype,
    BatchSize,
    Dtype,
    Location,
    Option,
    Settings,
    TableName,
)
from t2i_spatial.stages.ask_settings import CaptionerSettings
from t2i_spatial.training.hyperparameters import FinetuneSettings

if TYPE_CHECKING:
    from t2i_spatial.curation.filter import Filter
    from t2i_spatial.detectors.base import DetectorSpec
    from t2i_spatial.metrics.base import Metric
    from t2i_spatial.metrics.numbers import Intervals
    from t2i_spatial.scene import Prompt

MOST_SAMPLES = 100_000
LARGEST_SIDE = 16_384
MOST_RESAMPLES = 1_000_000
Filters = tuple[str | dict[str, Any], ...]


def _vocabulary(value: Any) -> Any:
    """A text names a vocabulary; a list is one."""
    from t2i_spatial.detectors.vocabularies import read_vocabulary

    return read_vocabulary(value) if isinstance(value, str) else value


def _nouns(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    from t2i_spatial.bundled import NOUNS
    from t2i_spatial.prompts.sampling import read_vocabulary

    return tuple(NOUNS) if value == "bundled" else read_vocabulary(value)


def _none(value: Any) -> Any:
    return None if value == "none" else value


def _several(value: Any) -> Any:
    """One name, none or a list of them."""
    return (value,) if isinstance(value, str) else value or ()


class PromptSettings(Settings):
    """Which prompts: a name or file, and how many of them."""

    source: str = Field(default="sr2d", description="`sr2d`, or a prompt file of any known format.")
    format: str | None = Field(
        default=None,
        description="Record format; `text` for one prompt per line.  [default: recognised]",
    )
    column: str | None = Field(
        default=None,
        description="Column that holds the prompt.  [default: text, prompt, caption]",
    )
    delimiter: str | None = Field(
        default=None,
        description="Sign between the fields of a CSV file.  [default: found in the file]",
    )
    repeated: Literal["auto", "merge", "keep"] = Field(
        default="auto",
        description="Prompts that stand several times in the file: merge makes each one prompt, "
        "keep takes every line as its own, auto merges where all stand equally often.",
    )
    relations_only: bool = Field(
        default=False, description="Leave out prompts without a relation, as SR2D's 'and' prompts."
    )
    nouns: Annotated[
        tuple[str, ...],
        BeforeValidator(_nouns),
        Option(metavar="FILE|bundled", repeatable=False),
    ] = Field(
        default=(),
        description="Only prompts about these nouns: a list, a text file, or `bundled` for those "
        "that the bundled models know.  [default: all]",
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        description="Only so many, balanced over relations and objects.  [default: all]",
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="Seed of the balanced sample.")

    @property
    def reading(self) -> dict[str, Any]:
        """How the file is read: arguments of `load_prompts`."""
        return self.model_dump(include={"format", "column", "delimiter", "repeated"})

    def load(self) -> list[Prompt]:
        """The prompts, balanced when limited.

        Raises:
            InputError: an unreadable source, or nothing left after the restrictions.
        """
        from t2i_spatial.errors import InputError
        from t2i_spatial.progress import note
        from t2i_spatial.prompts import load_prompts, sample_prompts, unread
        from t2i_spatial.prompts.sampling import only_about

        prompts = load_prompts(self.source, **self.reading)
        if self.relations_only:
            prompts = [p for p in prompts if p.scene is not None and p.scene.relations]
        if self.nouns:
            prompts = only_about(prompts, self.nouns)
        if not prompts:
            raise InputError(f"no prompt of {self.source!r} fits the restrictions")
        if self.limit is not None:
            prompts = sample_prompts(prompts, self.limit, self.seed)
        if missed := unread(prompts):
            note(f"{len(missed)} of {len(prompts)} prompts have parts that could not be read")
        return prompts


class GenerateSettings(Settings):
    """What `generate` can be told; `None` is the model's own default."""

    model: str = Field(
        default="bundled", description="'bundled', a diffusers hub id or local folder."
    )
    revision: str | None = Field(default=None, description="Commit, tag or branch of a hub id.")
    variant: str | None = Field(
        default=None, description="Weight files of a variant, such as fp16."
    )
    dtype: AutoDtype = Field(
        default="auto",
        description="Number format; auto: float32 on the CPU, bfloat16 (else float16) on a GPU.",
    )
    device: str = Field(
        default="auto",
        description="auto, cpu, cuda:0, ... or several, comma-separated, one process each.",
    )
    lora: Annotated[tuple[str, ...], BeforeValidator(_several)] = Field(
        default=(),
        description="LoRA weights: file, folder, run directory or hub id, with a strength as in "
        "NAME:0.6; several add up.",
    )
    lora_scale: float = Field(
        default=1.0, description="Strength of LoRAs that are named without one."
    )
    samples: int = Field(default=4, ge=1, le=MOST_SAMPLES, description="Images per prompt.")
    steps: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Denoising steps.  [default: the model's own]",
    )
    guidance_scale: float | None = Field(
        default=None,
        ge=0,
        description="Guidance by the text, on the scale of the model's pipeline.  "
        "[default: the model's own]",
    )
    negative_prompt: str | None = Field(
        default=None, description="What the image should not be.  [default: none]"
    )
    width: int | None = Field(
        default=None,
        ge=8,
        le=LARGEST_SIDE,
        description="Pixels.  [default: the model's own size]",
    )
    height: int | None = Field(
        default=None,
        ge=8,
        le=LARGEST_SIDE,
        description="Pixels.  [default: the model's own size]",
    )
    batch_size: BatchSize = Field(
        default="auto",
        description="Images at a time, or auto: what fits. Recorded, since it changes pixels by "
        "rounding.",
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="Seed of the run.")
    offline: bool = Field(default=False, description="Use only models that are on this machine.")


class ImportSettings(Settings):
    """A folder of images that were made elsewhere, instead of `generate`."""

    folder: Location = Field(
        description="Images named `<prompt id>_<sample>.png`, GenEval's layout, or with a "
        "metadata.jsonl. They are not copied."
    )
    samples: int | None = Field(
        default=None,
        ge=1,
        le=MOST_SAMPLES,
        description="Images expected per prompt.  [default: as many as the fullest prompt has]",
    )


class DetectorSettings(Settings):
    """Which detector, how it is asked, and where it runs."""

    detector: str = Field(
        default="bundled",
        description="'bundled', a hub id, a local folder, 'backend:source' or 'precomputed:FILE'.",
    )
    revision: str | None = Field(default=None, description="Commit, tag or branch of a hub id.")
    threshold: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Keep boxes with a higher score.  [default: the detector's own]",
    )
    query_template: str | None = Field(
        default=None,
        description="Text asked for a name, with {name} in it.  [default: the detector's own]",
    )
    query_mode: Literal["together", "each"] = Field(
        default="together",
        description="All names of a prompt compete for a box, or each is asked on its own.",
    )
    nms: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Drop a box that overlaps a better one of its name more.  [default: none]",
    )
    dtype: Dtype = Field(
        default="float32", description="Precision of matrix products; weights stay float32."
    )
    compile: bool = Field(
        default=False, description="Compile the backbone (pays off for many images)."
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="Settings that only this backend knows."
    )
    device: str = Field(
        default="auto", description="auto, cpu, cuda:0, or several with commas, one worker each."
    )

    def resolve(self) -> DetectorSpec:
        """The detector these settings mean; reads `config.json` but no weights."""
        from t2i_spatial.detectors import resolve_detector

        asked = self.model_dump(include=set(DetectorSettings.model_fields) - {"detector", "device"})
        return resolve_detector(self.detector, **asked)


class DetectSettings(DetectorSettings):
    """Settings of the detect stage.

    `depth`, `color` and `clip_score` add what those models know of every box or image, after the
    detector has been freed.
    """

    name: TableName = Field(default="main", description="Writes `detections/NAME.parquet`.")
    vocabulary: Annotated[
        tuple[str, ...], BeforeValidator(_vocabulary), Option(repeatable=False)
    ] = Field(
        default=(),
        description="Ask these names of every image instead of its prompt's: comma-separated, a "
        "file with one per line, or 'coco'.",
    )
    batch_size: BatchSize = Field(default="auto", description="Images per model call, or auto.")
    depth: str | None = Field(
        default=None,
        description="Depth model for every box, e.g. depth-anything/Depth-Anything-V2-Small-hf.",
    )
    color: str | None = Field(
        default=None,
        description="Colour of every box: clip (as GenEval), clip:MODEL, or pixels.",
    )
    clip_score: Annotated[str | None, Option(metavar="MODEL")] = Field(
        default=None,
        description="Also write clip_score.parquet for curation, e.g. with ViT-L-14/openai.",
    )


class ScoreSettings(Settings):
    """Which protocols, and what to do about missing images."""

    protocols: Annotated[tuple[str, ...], Option(("--protocol", "-p"), metavar="NAME")] = Field(
        default=DEFAULT_PROTOCOLS, description="Protocol to judge by; the first is the main one."
    )
    settings: Annotated[tuple[str, ...], Option(("--set",), metavar="PROTOCOL.KEY=VALUE")] = Field(
        default=(),
        description="Change a protocol's published setting, e.g. geneval.threshold=0.5.",
    )
    samples: int | None = Field(
        default=None,
        ge=1,
        le=MOST_SAMPLES,
        description="Images expected per prompt.  [default: as the run planned or the input "
        "suggests]",
    )
    allow_missing: bool = Field(
        default=False,
        description="Leave images without a score out, as the peers do, instead of counting them "
        "as failures.",
    )
    only_read: bool = Field(
        default=False,
        description="Leave out prompts that a protocol judges in part (not all of them could be "
        "read, or it has no rule for a part), instead of counting them as not right.",
    )
    answers: Annotated[TableName | None, Option(metavar="NAME")] = Field(
        default=None,
        description="Answers of the run (`ask --name NAME`) for protocols that judge by answers.  "
        "[default: the only ones]",
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="Of bootstrap and random order.")
    resamples: int = Field(
        default=2000, ge=100, le=MOST_RESAMPLES, description="Bootstrap resamples."
    )
    second: Annotated[TableName | None, Option(metavar="NAME")] = Field(
        default=None,
        description="Second detections of the run (`detect --name NAME`): where they lead to "
        "another verdict, the image is ambiguous.",
    )
    precision: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Judge prompts in random order, and stop when `number` of the first protocol "
        "is known to ± this fraction (0.02 is two points). Images are then only made and detected "
        "as far as needed.",
    )
    number: Annotated[str | None, Option(metavar="NAME")] = Field(
        default=None,
        description="With a precision, the number to measure.  [default: the protocol's main one]",
    )

    def judges(self) -> list[Metric]:
        """The protocols, with their settings.

        Raises:
            InputError: an unknown protocol or setting.
        """
        from t2i_spatial.stages.protocols import make_protocols

        return make_protocols(self.protocols, self.settings, only_read=self.only_read)

    @property
    def intervals(self) -> Intervals:
        """How numbers are counted and how their intervals are made."""
        from t2i_spatial.metrics.numbers import Intervals

        return Intervals(allow_missing=self.allow_missing, seed=self.seed, resamples=self.resamples)


class CurateSettings(Settings):
    """Settings of the curate stage."""

    pairs: bool = Field(
        default=False, description="Curate the pairs of detected boxes, not the verdicts."
    )
    protocol: Annotated[str, Option(("--protocol", "-p"))] = Field(
        default=DEFAULT_PROTOCOLS[0], description="Whose verdicts decide what is correct."
    )
    name: TableName = Field(default="main", description="Which detections of the run.")
    second: TableName | None = Field(
        default=None,
        description="Detections of a second detector, for the filter 'agreement'.",
    )
    columns: Location | None = Field(
        default=None, description="Table of your own scores, for the filter 'column'."
    )
    min_score: float = Field(
        default=0.3, ge=0, le=1, description="Lowest detector score of the boxes that are used."
    )
    min_margin: float = Field(
        default=0.05,
        description="Least distance from the other answer, in the protocol's unit (VISOR: image "
        "sides).",
    )
    min_area: float = Field(default=1024.0, ge=0, description="Of boxes of pairs, in px².")
    duplicate_distance: int = Field(
        default=4,
        ge=-1,
        le=12,
        description="Drop near-duplicates within this many bits of pHash; -1 keeps them.",
    )
    filters: Annotated[Filters, Option(metavar="NAME[:KEY=VALUE,...]")] = Field(
        default=(),
        description="A further filter, in this order; or YAML, '{filter: NAME, KEY: VALUE}'. Of "
        "pairs, all of the filters.  [default of pairs: scop]",
    )
    pipeline: Filters | None = Field(
        default=None, description="List of filters, instead of the usual ones."
    )
    caption: Literal["prompt", "short", "scop", "long", "judge"] | None = Field(
        default=None,
        description="The prompt; what the boxes say: one pair in a short wording or in CoMPaSS's, "
        "or several relations; or what a judge writes, checked against the boxes.  [default: "
        "prompt; of pairs: scop]",
    )
    caption_percent: float = Field(
        default=100.0,
        ge=0,
        le=100,
        description="How many images get that caption; the others keep their prompt.",
    )
    tokenizer: str | None = Field(
        default=None, description="Folder or hub id, for exact token counts of captions."
    )
    caption_tokens: int | None = Field(
        default=None,
        ge=16,
        le=100_000,
        description="What the trainer's text encoder reads of a caption; those of a judge are cut "
        "to it at ends of sentences.  [default: 77, or of T5 what the tokenizer or the model that "
        "made the images reads]",
    )
    captioner: CaptionerSettings = Field(
        default=CaptionerSettings(), description="The judge of `caption: judge`, see below."
    )
    drop_long: bool = Field(
        default=False, description="Drop captions of more than `caption_tokens`."
    )
    mirror: bool = Field(
        default=False,
        description="Add mirrored copies with left and right swapped in the caption.",
    )
    crop: bool | None = Field(
        default=None,
        description="Take the square around the two boxes.  [default: of pairs only]",
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="Of the choice of captions.")
    export: Annotated[str | None, BeforeValidator(_none)] = Field(
        default="imagefolder",
        description="imagefolder, kohya, webdataset or parquet; 'none' writes selection.parquet "
        "only.",
    )
    resolution: int | None = Field(
        default=None,
        ge=8,
        le=4096,
        description="Resize every image, whole, to this square side.  [default: as they are]",
    )
    min_images: int = Field(default=1, ge=1, description="Fewer kept images are an error.")

    def make_filters(self, *, pairs: bool, unturned: bool = False) -> list[Filter]:
        """The pipeline these settings mean.

        Args:
            pairs: whether the candidates are pairs of boxes.
            unturned: the boxes are those of the pixels in the file, before any EXIF rotation.

        Raises:
            InputError: an unknown filter or parameter.
        """
        from t2i_spatial.curation.filter import make_filters

        if self.pipeline is not None:
            return make_filters([*self.pipeline, *self.filters])
        if pairs:
            checks = ["present", *(["upright"] if unturned else []), "declared_size"]
            return make_filters([*(self.filters or ("scop",)), *checks])
        names: list[Any] = [
            "scored",
            "correct",
            {"filter": "score", "minimum": self.min_score, "needs_boxes": False},
            {"filter": "margin", "minimum": self.min_margin},
            *self.filters,
        ]
        if self.duplicate_distance >= 0:
            names.append({"filter": "near_duplicates", "distance": self.duplicate_distance})
        return make_filters(names)


class ImproveSettings(Settings):
    """What the loop can be told."""

    prompts: PromptSettings = PromptSettings(relations_only=True)
    held_out: float = Field(
        default=0.25, gt=0, lt=1, description="Share of the object pairs that is held out."
    )
    train_prompts: int = Field(default=240, ge=1, description="Prompts for candidates.")
    train_samples: int = Field(default=4, ge=1, le=MOST_SAMPLES, description="Of each of them.")
    eval_prompts: int = Field(default=60, ge=1, description="Held-out prompts.")
    eval_samples: int = Field(default=4, ge=1, le=MOST_SAMPLES, description="Of each of them.")
    rephrased_prompts: int = Field(default=30, ge=0, description="Held-out scenes in other words.")
    drift_prompts: int = Field(default=24, ge=0, description="Single-object prompts.")
    drift_clip: str | None = Field(
        default=None,
        description="open_clip model whose score is drift, too: ViT-L-14/openai.  [default: none]",
    )
    data: Literal["own", "rendered", "mixture"] = Field(
        default="own",
        description="Train on the model's own curated images, on rendered scenes chosen by SCOP, "
        "or both.",
    )
    rendered: Annotated[int, Option(("--scenes",))] = Field(
        default=2000, ge=1, description="Scenes of the bundled renderer."
    )
    rounds: int = Field(default=1, ge=1, le=1000, description="At most so many rounds.")
    candidate_guidance: float | None = Field(
        default=None,
        ge=0,
        description="Classifier-free guidance of candidates.  [default: as everywhere]",
    )
    generate: GenerateSettings = GenerateSettings()
    detect: DetectSettings = DetectSettings()
    curate: CurateSettings = CurateSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    seed: int = Field(default=0, ge=0, lt=2**63, description="Of everything random.")


class CompareSettings(Settings):
    """How two runs are compared."""

    protocols: Annotated[tuple[str, ...], Option(("--protocol", "-p"), metavar="NAME")] = Field(
        default=(), description="Protocol to compare by.  [default: all that both have scores of]"
    )
    labels: bool = Field(
        default=False,
        description="Also the differences by people's labels of both runs (see `audit`).",
    )
    shared_prompts: bool = Field(
        default=False,
        description="Compare on the prompts that both runs have, by id and text, where one has "
        "more than the other.",
    )
    allow_missing: bool = Field(
        default=False,
        description="Leave pairs without both scores out, instead of counting an image without a "
        "score as a failure.",
    )
    by: tuple[Literal["relation", "object", "tag"], ...] = Field(
        default=(), description="Compare within every relation, object or tag too."
    )
    decide: bool = Field(
        default=False,
        description="Also look at the pairs in random order, and say after how many prompts it was "
        "clear which run is better.",
    )
    margin: float = Field(
        default=0.02,
        gt=0,
        lt=1,
        description="With --decide, differences up to this fraction count as similar.",
    )
    seed: int = Field(
        default=0, ge=0, lt=2**63, description="Of bootstrap, permutation and random order."
    )
    resamples: int = Field(
        default=10_000,
        ge=100,
        le=MOST_RESAMPLES,
        description="Bootstrap resamples and permutations.",
    )

    @property
    def intervals(self) -> Intervals:
        """How numbers are counted and how their intervals are made."""
        from t2i_spatial.metrics.numbers import Intervals

        return Intervals(allow_missing=self.allow_missing, seed=self.seed, resamples=self.resamples)


class ReportSettings(Settings):
    """How much the report shows."""

    max_images: int = Field(
        default=400,
        ge=0,
        le=1_000_000,
        description="Most images in the gallery, taken evenly over relation, status and verdict.",
    )
    thumbnail: int = Field(
        default=320,
        ge=32,
        le=2048,
        description="Longer side of the embedded pictures, in pixels.",
    )
