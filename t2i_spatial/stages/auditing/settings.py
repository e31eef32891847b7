"""What picking and auditing can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from t2i_spatial.settings import Option, Settings


class PickSettings(Settings):
    """Which images are to be labelled."""

    number: Annotated[int, Option(("--number", "-n"))] = Field(
        default=200, ge=1, le=1_000_000, description="Images to pick."
    )
    picker: Literal["uniform", "stratified", "active"] = Field(
        default="uniform",
        description="All alike; by verdict and confidence; or most where the scores are uncertain.",
    )
    per_relation: bool = Field(default=False, description="As many images for every relation.")
    protocols: Annotated[tuple[str, ...], Option(("--protocol", "-p"), metavar="NAME")] = Field(
        default=(),
        description="Whose values say how sure a verdict is.  [default: all of the run]",
    )
    twice: float = Field(
        default=0.1, ge=0, le=1, description="Share of images that a second person labels too."
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="Of the draw.")


class PlanSettings(Settings):
    """How many labels an interval takes."""

    half_width: float = Field(
        default=0.05, gt=0, lt=1, description="Wanted interval, ± this fraction (0.03: 3 points)."
    )
    accuracy: float | None = Field(
        default=None,
        ge=0.5,
        le=1,
        description="Assumed agreement with the scorer.  [default: from labels, else 0.85]",
    )
    rate: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Assumed share of right images.  [default: the score of the run, else 0.5]",
    )


class AuditSettings(Settings):
    """How numbers are corrected by labels."""

    labels: Annotated[tuple[Path, ...], Option(("--labels",), metavar="FILE")] = Field(
        default=(), description="Label file.  [default: RUN/labels/*.jsonl]"
    )
    target: Literal["model", "images"] = Field(
        default="model",
        description="What the interval is about: the model, or these images alone.",
    )
    witnesses: Annotated[tuple[str, ...], Option(("--witness",), metavar="PROTOCOL|RUN")] = Field(
        default=(),
        description="Further scores that help to predict the labels: another protocol of the run, "
        "or a run that scored the same images with another detector or judge.",
    )
    assume_uniform: bool = Field(
        default=False,
        description="Labels without a probability were made on images chosen by chance, all alike.",
    )
