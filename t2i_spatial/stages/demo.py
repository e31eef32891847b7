"""The settings of the demo: SR2D prompts of the nouns that the bundled models know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from t2i_spatial import bundled
from t2i_spatial.stages.config import PipelineSettings
from t2i_spatial.stages.stage_settings import (
    CurateSettings,
    DetectSettings,
    GenerateSettings,
    ImproveSettings,
    PromptSettings,
    ScoreSettings,
)
from t2i_spatial.training.hyperparameters import FinetuneSettings


def demo_settings(
    output: Path, *, limit: int = 60, samples: int = 4, seed: int = 0
) -> PipelineSettings:
    """`limit` relational SR2D prompts over the bundled nouns, `samples` images each."""
    return PipelineSettings(
        output=output,
        prompts=PromptSettings(
            source="sr2d", relations_only=True, nouns=tuple(bundled.NOUNS), limit=limit, seed=seed
        ),
        generate=GenerateSettings(model="bundled", samples=samples, seed=seed),
        detect=DetectSettings(detector="bundled"),
        score=ScoreSettings(protocols=("visor", "spatial")),
        curate=CurateSettings(),
    )


def demo_improvement(*, samples: int, steps: int, seed: int) -> ImproveSettings:
    """One round on rendered scenes, small enough for the end of the demo."""
    return improve_settings(
        data="rendered",
        rendered=1000,
        steps=steps,
        seed=seed,
        eval_samples=samples,
        rephrased_prompts=0,
        drift_prompts=12,
    )


def improve_settings(
    *,
    model: str = "bundled",
    detector: str = "bundled",
    steps: int = 400,
    learning_rate: float | None = None,
    tenor: bool = False,
    seed: int = 0,
    **rest: Any,
) -> ImproveSettings:
    """The loop on SR2D prompts; only about the nouns that are bundled when that is needed."""
    drawn = rest.get("data", "own") != "own"
    known = tuple(bundled.NOUNS) if drawn or "bundled" in (model, detector) else ()
    finetune = FinetuneSettings(
        model=model, steps=steps, learning_rate=learning_rate, tenor=tenor, seed=seed
    )
    if model == "bundled":  # what taught it most (docs/finetuning.md)
        better = {"schedule": "cosine", "noise_mean": 0.7, "noise_std": 1.2}
        finetune = finetune.model_copy(update=better)
    return ImproveSettings(
        prompts=PromptSettings(source="sr2d", relations_only=True, nouns=known),
        generate=GenerateSettings(model=model),
        detect=DetectSettings(detector=detector),
        finetune=finetune,
        seed=seed,
        **rest,
    )
