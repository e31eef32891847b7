"""What may change beside the scores when a model is tuned: looks, sameness, single objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from t2i_spatial.curation.filters.quality import blur
from t2i_spatial.files import read_table
from t2i_spatial.images import read_image
from t2i_spatial.run import Run
from t2i_spatial.scene import Prompt
from t2i_spatial.tables import SCORED


def pixel_drift(run: Run) -> dict[str, float]:
    """What the pixels alone say.

    Returns:
        `sharpness`: one minus Crété-Roffet's blur measure, mean over images; `contrast`: mean
        standard deviation of grey in [0, 1]; `diversity`: mean absolute difference in [0, 1]
        between the samples of one prompt. Empty for a run without a readable image.
    """
    images = run.images().filter(pl.col("status") == SCORED).sort("prompt_id", "sample")
    sharp, contrast, between = [], [], []
    for (_,), group in images.group_by(["prompt_id"], maintain_order=True):
        pictures = [read_image(run.image_path(name)) for name in group["image"]]
        pixels = np.stack([np.asarray(p.convert("L"), dtype=np.float64) / 255 for p in pictures])
        sharp += [1 - blur(p) for p in pictures]
        contrast += [float(p.std()) for p in pixels]
        for i in range(1, len(pixels)):
            between.append(float(np.abs(pixels[i] - pixels[i - 1]).mean()))
    if not sharp:
        return {}
    return {
        "sharpness": float(np.mean(sharp)),
        "contrast": float(np.mean(contrast)),
        "diversity": float(np.mean(between)) if between else 0.0,
    }


def clip_drift(run: Run, model: str, device: str = "auto") -> dict[str, float]:
    """`clip_score`: mean cosine of image and prompt by an open_clip model.

    Raises:
        ModelLoadError: the CLIP model cannot be loaded.
    """
    from t2i_spatial.stages.clip_score import TABLE, clip_score_run

    clip_score_run(run, model, device=device)
    mean = read_table(run.path / TABLE)["clip_score"].mean()
    return {} if mean is None else {"clip_score": float(mean)}  # type: ignore[arg-type]


def single_objects(prompts: Sequence[Prompt], limit: int) -> list[Prompt]:
    """`a cat`, `a dog` … for the nouns of `prompts`, at most `limit`, in SR2D's order."""
    from t2i_spatial.prompts import sr2d

    names = {name for p in prompts if p.scene for name in p.scene.names}
    found = [p for p in sr2d() if p.tag == "single" and p.scene and p.scene.names[0] in names]
    return found[:limit]


def rephrased(prompts: Sequence[Prompt], limit: int) -> list[Prompt]:
    """The first `limit` scenes in another wording than their own, the wordings in turn.

    A prompt that has no other wording is left out.
    """
    from t2i_spatial.prompts.phrasing import phrasings

    told = []
    for number, prompt in enumerate(prompts[:limit]):
        if prompt.scene is None:
            continue
        others = [text for text in phrasings(prompt.scene).values() if text != prompt.text]
        if others:
            text = others[number % len(others)]
            told.append(Prompt(prompt.id, text, prompt.tag, prompt.scene))
    return told
