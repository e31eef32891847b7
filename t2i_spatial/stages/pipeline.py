"""All stages of one run from one set of settings: what `run CONFIG` and `demo` do."""

from __future__ import annotations

from t2i_spatial.engines import make_engine
from t2i_spatial.errors import InputError
from t2i_spatial.locations import is_url
from t2i_spatial.metrics.answers import AnswerMetric
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.progress import note
from t2i_spatial.run import Run
from t2i_spatial.stages.agreement import agree_run
from t2i_spatial.stages.ask import ask_run
from t2i_spatial.stages.ask_settings import AskSettings
from t2i_spatial.stages.config import PipelineSettings
from t2i_spatial.stages.config import load_config as load_config
from t2i_spatial.stages.curate import check_names as check_curation
from t2i_spatial.stages.curate import curate_run
from t2i_spatial.stages.detect import check_names as check_detection
from t2i_spatial.stages.detect import detect_run
from t2i_spatial.stages.early_stopping.judge import find_target
from t2i_spatial.stages.early_stopping.stage import score_to_precision
from t2i_spatial.stages.finetune import finetune_run
from t2i_spatial.stages.generate import generate_run
from t2i_spatial.stages.import_images import import_images
from t2i_spatial.stages.report import report_run
from t2i_spatial.stages.score import Scores, score_run
from t2i_spatial.stages.stage_settings import GenerateSettings
from t2i_spatial.stages.stage_settings import ImportSettings as ImportSettings
from t2i_spatial.stages.stage_settings import PromptSettings as PromptSettings
from t2i_spatial.stages.stage_settings import ReportSettings as ReportSettings
from t2i_spatial.stages.stage_settings import ScoreSettings as ScoreSettings
from t2i_spatial.stages.suitable import check_detector
from t2i_spatial.tables import prompts_to_table


def run_pipeline(settings: PipelineSettings, *, overwrite: bool = False) -> tuple[Run, Scores]:
    """Do every stage that is not done yet, after checking the names that all of them will need.

    Nothing is raised for missing images; see `Scores.require_complete`.

    Raises:
        T2ISpatialError: what the stages raise. What is finished is kept, and the same call goes on.
    """
    check_pipeline(settings)
    prompts = settings.prompts.load()
    if settings.score.precision is not None:
        stopped = score_to_precision(
            settings.score.judges()[0],
            settings.score.precision,
            images=settings.images.folder if settings.images else None,
            prompts=prompts,
            generate=settings.generate or GenerateSettings(),
            detect=settings.detect,
            output=settings.output,
            number=settings.score.number,
            samples=settings.images.samples if settings.images else settings.score.samples,
            allow_missing=settings.score.allow_missing,
            seed=settings.score.seed,
            overwrite=overwrite,
        )
        note(str(stopped))
        return _after_detection(settings, Run.open(settings.output), overwrite)
    run = Run.create(settings.output)
    engine = make_engine(settings.engine)
    if settings.images is not None:
        import_images(
            run, settings.images.folder, prompts, settings.images.samples, overwrite=overwrite
        )
    else:
        made = settings.generate or GenerateSettings()
        generate_run(run, prompts, made, overwrite=overwrite, engine=engine)
    if looks_for_boxes(settings):
        detect_run(run, settings.detect, overwrite=overwrite, engine=engine)
    return _after_detection(settings, run, overwrite)


def looks_for_boxes(settings: PipelineSettings) -> bool:
    """Whether anything looks at boxes: a protocol, a judge, curation, or the user who names it."""
    by_answers = all(isinstance(p, AnswerMetric) for p in settings.score.judges())
    asks_boxes = settings.ask is not None and settings.ask.judge == "boxes"
    return not by_answers or asks_boxes or settings.names("detect") or settings.curate is not None


def asking_of(settings: PipelineSettings) -> AskSettings | None:
    """The section `ask`, for the protocols of `score` that judge by answers unless it names some.

    Raises:
        InputError: protocols of `score` need answers, and nobody is asked.
    """
    judged = [p.name for p in settings.score.judges() if isinstance(p, AnswerMetric)]
    if settings.ask is None:
        if judged and not (settings.output / "answers").is_dir():
            raise InputError(
                f"{judged[0]} judges by answers: add a section `ask` that names a judge"
            )
        return None
    if lacking := [n for n in judged if settings.ask.protocols and n not in settings.ask.protocols]:
        raise InputError(f"score.protocols names {lacking[0]}, which ask.protocols does not")
    if settings.ask.protocols or not judged:
        return settings.ask
    return settings.ask.model_copy(update={"protocols": tuple(judged)})


def check_pipeline(settings: PipelineSettings) -> None:
    """Resolve every name before anything is made: hours of images should not end in a misspelling.

    Raises:
        T2ISpatialError: an unknown protocol, number, setting, detector, filter or exporter, or
            sections that do not go together.
    """
    if settings.generate is not None and settings.images is not None:
        raise InputError("give `generate` or `images`, not both")
    if settings.engine.shard is not None:
        raise InputError(
            "engine.shard belongs to one stage of many jobs: give --shard to generate, detect or "
            "ask, and run this file when they are done"
        )
    make_engine(settings.engine)
    score = settings.score
    if not score.protocols:
        raise InputError(f"score.protocols is empty; known: {', '.join(PROTOCOLS)}")
    protocols = score.judges()
    if score.number is not None and score.precision is None:
        raise InputError("score.number needs score.precision")
    if score.precision is not None:
        find_target(protocols[0], prompts_to_table(settings.prompts.load()), score.number)
    if score.second is not None and score.precision is not None:
        raise InputError("score.second does not go with score.precision")
    model = (settings.generate or GenerateSettings()).model
    if looks_for_boxes(settings):
        check_detector(settings.detect, None if settings.images else model)
        check_detection(settings.detect)
    if (asking := asking_of(settings)) is not None:
        asking.resolve()
        asking.askers()
    if settings.curate is not None:
        check_curation(settings.curate)
        if not settings.curate.pairs and settings.curate.protocol not in score.protocols:
            raise InputError(
                f"curate.protocol is {settings.curate.protocol!r}, which score.protocols does not "
                f"name ({', '.join(score.protocols)})"
            )
    if settings.finetune is not None and settings.curate is None:
        raise InputError("finetune needs a curate section: it trains on the curated set")
    if settings.finetune is not None and is_url(settings.output):
        raise InputError(
            "a LoRA is trained into a folder of this machine: leave the section finetune out, and "
            f"then `t2i-spatial finetune {settings.output} --output FOLDER`"
        )


def _after_detection(settings: PipelineSettings, run: Run, overwrite: bool) -> tuple[Run, Scores]:
    protocols = settings.score.judges()
    intervals, samples = settings.score.intervals, settings.score.samples
    answers = settings.score.answers
    if (asking := asking_of(settings)) is not None:
        ask_run(run, None, asking, overwrite=overwrite, engine=make_engine(settings.engine))
        judged_by_answers = any(isinstance(p, AnswerMetric) for p in protocols)
        answers = answers or (asking.answers_name if judged_by_answers else None)
    if settings.score.second is not None:
        scores = agree_run(run, protocols, settings.score.second, intervals, samples=samples)
    else:
        scores = score_run(run, protocols, intervals, samples=samples, answers=answers)
    try:
        if settings.curate is not None:
            curate_run(run, settings.curate)
        if settings.finetune is not None:
            resume = (run.path / "lora").exists() and not overwrite
            finetune_run(run, settings.finetune, resume=resume, overwrite=overwrite)
    finally:  # the report is most wanted when curation kept nothing
        if settings.report is not None:
            report_run(run, **settings.report.model_dump())
    return run, scores
