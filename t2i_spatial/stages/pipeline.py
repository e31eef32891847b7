"""All stages of one run from one set of settings: what `run CONFIG` and `demo` do."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from t2i_spatial.errors import InputError, nearest
from t2i_spatial.metrics.numbers import Intervals
from t2i_spatial.progress import note
from t2i_spatial.prompts import load_prompts, sample_prompts, unread
from t2i_spatial.prompts.sampling import only_about
from t2i_spatial.run import Run
from t2i_spatial.scene import Prompt
from t2i_spatial.stages.curate import CurateSettings, curate_run
from t2i_spatial.stages.detect import DetectSettings, detect_run
from t2i_spatial.stages.early_stopping.stage import score_until
from t2i_spatial.stages.generate import GenerateSettings, generate_run
from t2i_spatial.stages.import_images import import_images
from t2i_spatial.stages.report import report_run
from t2i_spatial.stages.score import Scores, make_protocols, score_run


class PromptSettings(BaseModel):
    """Which prompts: a name or file, and how many of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = "sr2d"
    relations_only: bool = False
    nouns: tuple[str, ...] = Field(
        default=(), description="only prompts whose objects are all among these"
    )
    limit: int | None = Field(default=None, ge=1)
    seed: int = 0

    def load(self) -> list[Prompt]:
        """The prompts, balanced when limited.

        Raises:
            InputError: an unreadable source, or nothing left after the restrictions.
        """
        prompts = load_prompts(self.source)
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


class ImportSettings(BaseModel):
    """A folder of images that were made elsewhere, instead of `generate`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path
    samples: int | None = Field(default=None, ge=1)


class ScoreSettings(BaseModel):
    """Which protocols, and what to do about missing images."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocols: tuple[str, ...] = ("visor",)
    allow_missing: bool = False
    only_read: bool = False
    """Leave out prompts that a protocol judges in part."""
    seed: int = 0
    resamples: int = Field(default=2000, ge=100)
    precision: float | None = Field(default=None, gt=0, lt=1)
    """Make, detect and judge random prompts only until `number` of the first protocol is known to
    ± this fraction."""
    number: str | None = None


class ReportSettings(BaseModel):
    """How much the report shows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_images: int = Field(default=400, ge=0)


class PipelineSettings(BaseModel):
    """Settings of a whole run, one section per stage.

    `curate` and `report` may be left out with `null`; `images` replaces `generate`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    output: Path
    prompts: PromptSettings = PromptSettings()
    generate: GenerateSettings | None = None
    images: ImportSettings | None = None
    detect: DetectSettings = DetectSettings()
    score: ScoreSettings = ScoreSettings()
    curate: CurateSettings | None = None
    report: ReportSettings | None = ReportSettings()


def run_pipeline(settings: PipelineSettings, *, overwrite: bool = False) -> tuple[Run, Scores]:
    """Do every stage that is not done yet.

    Nothing is raised for missing images; see `Scores.require_complete`.

    Raises:
        T2ISpatialError: what the stages raise. What is finished is kept, and the same call goes on.
    """
    if settings.generate is not None and settings.images is not None:
        raise InputError("give `generate` or `images`, not both")
    prompts = settings.prompts.load()
    if settings.score.precision is not None:
        stopped = score_until(
            make_protocols(settings.score.protocols, only_read=settings.score.only_read)[0],
            settings.score.precision,
            images=settings.images.folder if settings.images else None,
            prompts=prompts,
            generate=settings.generate or GenerateSettings(),
            detect=settings.detect,
            output=settings.output,
            number=settings.score.number,
            samples=settings.images.samples if settings.images else None,
            allow_missing=settings.score.allow_missing,
            seed=settings.score.seed,
            overwrite=overwrite,
        )
        note(str(stopped))
        return _after_detection(settings, Run.open(settings.output), overwrite)
    run = Run.create(settings.output)
    if settings.images is not None:
        import_images(
            run, settings.images.folder, prompts, settings.images.samples, overwrite=overwrite
        )
    else:
        generate_run(run, prompts, settings.generate or GenerateSettings(), overwrite=overwrite)
    detect_run(run, settings.detect, overwrite=overwrite)
    return _after_detection(settings, run, overwrite)


def _after_detection(settings: PipelineSettings, run: Run, overwrite: bool) -> tuple[Run, Scores]:
    scores = score_run(
        run,
        make_protocols(settings.score.protocols, only_read=settings.score.only_read),
        Intervals(
            allow_missing=settings.score.allow_missing,
            seed=settings.score.seed,
            resamples=settings.score.resamples,
        ),
    )
    try:
        if settings.curate is not None:
            curate_run(run, settings.curate)
    finally:  # the report is most wanted when curation kept nothing
        if settings.report is not None:
            report_run(run, max_images=settings.report.max_images)
    return run, scores


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> PipelineSettings:
    """Settings from a YAML or TOML file; `overrides` are `section.key=value` (YAML values).

    Raises:
        InputError: an unreadable file, or naming every wrong key and value.
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8")
        data = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except FileNotFoundError:
        raise InputError(f"no such config file: {path}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path} must be a mapping of sections ({', '.join(_keys())})")
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator:
            raise InputError(f"{override!r} is not of the form section.key=value")
        section = data
        *parents, last = key.split(".")
        for parent in parents:
            section = section.setdefault(parent, {})
            if not isinstance(section, dict):
                raise InputError(f"{override!r}: {parent!r} is not a section")
        section[last] = yaml.safe_load(value)
    try:
        return PipelineSettings.model_validate(data)
    except ValidationError as error:
        lines = "\n".join(f"  {_explain(item)}" for item in error.errors())
        raise InputError(f"{path}:\n{lines}") from None


def _keys(where: Sequence[Any] = ()) -> list[str]:
    model: Any = PipelineSettings
    for part in where:
        annotation = model.model_fields[part].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        model = next(o for o in options if isinstance(o, type) and issubclass(o, BaseModel))
    return list(model.model_fields)


def _explain(item: Mapping[str, Any]) -> str:
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"unknown key {name!r}; {nearest(str(item['loc'][-1]), _keys(item['loc'][:-1]))}"
    if item["type"] == "missing":
        return f"{name!r} is missing"
    return f"{name}: {item['msg']} (got {item['input']!r})"
