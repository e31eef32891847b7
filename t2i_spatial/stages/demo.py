"""The settings of the demo: SR2D prompts of the nouns that the bundled models know."""

from __future__ import annotations

from pathlib import Path

from t2i_spatial import bundled
from t2i_spatial.stages.curate import CurateSettings
from t2i_spatial.stages.detect import DetectSettings
from t2i_spatial.stages.generate import GenerateSettings
from t2i_spatial.stages.pipeline import PipelineSettings, PromptSettings, ScoreSettings


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
        score=ScoreSettings(protocols=("visor",)),
        curate=CurateSettings(),
    )
