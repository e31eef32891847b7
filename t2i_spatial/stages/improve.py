"""The loop as one stage: score, curate, fine-tune, and prove it on held-out prompts.

output/before/        the base model on held-out prompts       (a run)
output/round-1/candidates/   the model on training prompts     (a run, curated)
output/round-1/train/        what it is trained on             (an imagefolder)
output/round-1/lora/
output/round-1/after/        the tuned model, same prompts and seeds as `before`
output/improve.json   differences with intervals, and drift
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from t2i_spatial.curation.filters.quality import blur
from t2i_spatial.errors import InputError
from t2i_spatial.images import read_image
from t2i_spatial.progress import note
from t2i_spatial.prompts import sample_prompts, split_prompts
from t2i_spatial.run import Run, write_json
from t2i_spatial.scene import Prompt
from t2i_spatial.stages.compare import ProtocolComparison, compare_runs
from t2i_spatial.stages.curate import CurateSettings, curate_run
from t2i_spatial.stages.detect import DetectSettings, detect_run
from t2i_spatial.stages.finetune import finetune_folder
from t2i_spatial.stages.generate import GenerateSettings, generate_run
from t2i_spatial.stages.pipeline import PromptSettings
from t2i_spatial.stages.rendered import rendered_set
from t2i_spatial.stages.score import make_protocols, score_run
from t2i_spatial.tables import SCORED
from t2i_spatial.training.settings import FinetuneSettings

PROTOCOLS = ("visor", "spatial")


class ImproveSettings(BaseModel):
    """What the loop can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompts: PromptSettings = PromptSettings(relations_only=True)
    held_out: float = Field(0.25, gt=0, lt=1, description="share of the object pairs")
    train_prompts: int = Field(240, ge=1)
    train_samples: int = Field(4, ge=1)
    eval_prompts: int = Field(60, ge=1)
    eval_samples: int = Field(4, ge=1)
    drift_prompts: int = Field(24, ge=0, description="single-object prompts")
    data: Literal["own", "rendered", "mixture"] = "own"
    rendered: int = Field(2000, ge=1, description="scenes of the bundled renderer")
    rounds: int = Field(1, ge=1)
    candidate_guidance: float | None = Field(None, ge=0)
    generate: GenerateSettings = GenerateSettings()
    detect: DetectSettings = DetectSettings()
    curate: CurateSettings = CurateSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    seed: int = 0


def improve(output: Path, settings: ImproveSettings) -> dict[str, Any]:
    """Run the rounds; a round that does not raise VISOR_uncond is the last one.

    Every sub-run resumes by itself, so the same call goes on after an interruption.

    Returns:
        What `improve.json` holds: per round `images` trained on, `numbers` (published name ->
        before, after, difference, interval, p) on held-out prompts, and `drift` on single-object
        prompts and in the pixels.

    Raises:
        T2ISpatialError: what the stages raise.
    """
    train, held_out = split_prompts(settings.prompts.load(), settings.held_out, settings.seed)
    train = sample_prompts(train, settings.train_prompts, settings.seed)
    held_out = sample_prompts(held_out, settings.eval_prompts, settings.seed)
    singles = _singles(train, settings.drift_prompts)
    before = _evaluate(output / "before", held_out, singles, settings, None)
    write_json(output / "settings.json", settings.model_dump(mode="json"))
    rounds: list[dict[str, Any]] = []
    lora: Path | None = None
    for number in range(1, settings.rounds + 1):
        folder = output / f"round-{number}"
        data = _training_set(folder, train, settings, lora, number)
        tuned = settings.finetune.model_copy(update={"lora": None if lora is None else str(lora)})
        finetune_folder(data, folder / "lora", tuned, resume=(folder / "lora").exists())
        lora = folder / "lora"
        after = _evaluate(folder / "after", held_out, singles, settings, lora)
        compared = compare_runs(before["run"], after["run"], ("visor",)).protocols["visor"]
        rounds.append(
            {
                "round": number,
                "images": _count(data),
                "numbers": _numbers(compared),
                "drift": {
                    key: {"before": before["drift"][key], "after": after["drift"][key]}
                    for key in before["drift"]
                },
            }
        )
        write_json(output / "improve.json", {"rounds": rounds})
        gained = compared.numbers["VISOR_uncond"]
        best = rounds[-2]["numbers"]["VISOR_uncond"]["after"] if number > 1 else gained.a
        if gained.b is None or best is None or gained.b <= best:
            note(f"round {number} did not raise VISOR_uncond; stopping")
            break
    return {"rounds": rounds}


def _evaluate(
    folder: Path,
    prompts: Sequence[Prompt],
    singles: Sequence[Prompt],
    settings: ImproveSettings,
    lora: Path | None,
) -> dict[str, Any]:
    made = settings.generate.model_copy(
        update={
            "samples": settings.eval_samples,
            "seed": settings.seed,
            "lora": None if lora is None else str(lora),
        }
    )
    run = _scored_run(folder, prompts, made, settings)
    drift = pixel_drift(run)
    if singles:
        place = folder.with_name(folder.name + "-single")
        alone = _scored_run(place, singles, made, settings, ("spatial",))
        summary = json.loads((alone.path / "summary.json").read_text("utf-8"))
        drift["single_object_accuracy"] = summary["spatial"]["accuracy"]["value"]
    return {"run": run.path, "drift": drift}


def _scored_run(
    folder: Path,
    prompts: Sequence[Prompt],
    made: GenerateSettings,
    settings: ImproveSettings,
    protocols: Sequence[str] = PROTOCOLS,
) -> Run:
    run = Run.create(folder)
    generate_run(run, prompts, made)
    detect_run(run, settings.detect)
    score_run(run, make_protocols(protocols)).require_complete()
    return run


def _training_set(
    folder: Path,
    prompts: Sequence[Prompt],
    settings: ImproveSettings,
    lora: Path | None,
    number: int,
) -> Path:
    parts = []
    if settings.data in ("own", "mixture"):
        guidance = settings.candidate_guidance
        made = settings.generate.model_copy(
            update={
                "samples": settings.train_samples,
                "seed": settings.seed + 1000 * number,
                "lora": None if lora is None else str(lora),
                "guidance_scale": settings.generate.guidance_scale
                if guidance is None
                else guidance,
            }
        )
        run = _scored_run(folder / "candidates", prompts, made, settings)
        curate_run(run, settings.curate)
        parts.append(run.path / "curated")
    if settings.data in ("rendered", "mixture"):
        place = folder / "scenes"
        if not (place / "curated").exists():
            pairs = sorted({tuple(p.scene.names) for p in prompts if p.scene})
            rendered_set(
                place,
                [(p[0], p[1]) for p in pairs if len(p) == 2],
                settings.rendered,
                seed=settings.seed + number,
            )
        parts.append(place / "curated")
    return parts[0] if len(parts) == 1 else join_sets(parts, folder / "train-set")


def join_sets(parts: Sequence[Path], output: Path) -> Path:
    """One imagefolder of several: hard links where possible, names prefixed with the part.

    Raises:
        InputError: a part without `train/metadata.jsonl`.
    """
    if output.exists():
        shutil.rmtree(output)
    train = output / "train"
    train.mkdir(parents=True)
    lines = []
    for index, part in enumerate(parts):
        source = part / "train" / "metadata.jsonl"
        if not source.exists():
            raise InputError(f"{part} is not an imagefolder (no train/metadata.jsonl)")
        for line in source.read_text("utf-8").splitlines():
            record = json.loads(line)
            old = source.parent / record["file_name"]
            record["file_name"] = f"{index}-{Path(record['file_name']).name}"
            try:
                os.link(old, train / record["file_name"])
            except OSError:
                shutil.copyfile(old, train / record["file_name"])
            lines.append(json.dumps(record, ensure_ascii=False))
    (train / "metadata.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return output


def pixel_drift(run: Run) -> dict[str, float]:
    """What may change beside the scores, from the pixels alone.

    Returns:
        `sharpness`: one minus Crété-Roffet's blur measure, mean over images; `contrast`: mean
        standard deviation of grey in [0, 1]; `diversity`: mean absolute difference in [0, 1]
        between the samples of one prompt.
    """
    images = run.images()
    sharp, contrast, between = [], [], []
    for (_,), group in images.filter(images["status"] == SCORED).group_by(["prompt_id"]):
        pictures = [read_image(run.image_path(name)) for name in group["image"]]
        pixels = np.stack([np.asarray(p.convert("L"), dtype=np.float64) / 255 for p in pictures])
        sharp += [1 - blur(p) for p in pictures]
        contrast += [float(p.std()) for p in pixels]
        for i in range(1, len(pixels)):
            between.append(float(np.abs(pixels[i] - pixels[i - 1]).mean()))
    return {
        "sharpness": float(np.mean(sharp)),
        "contrast": float(np.mean(contrast)),
        "diversity": float(np.mean(between)) if between else 0.0,
    }


def _singles(prompts: Sequence[Prompt], limit: int) -> list[Prompt]:
    """`a cat`, `a dog` … for the nouns of the training prompts."""
    from t2i_spatial.prompts import sr2d

    names = {name for p in prompts if p.scene for name in p.scene.names}
    found = [p for p in sr2d() if p.tag == "single" and p.scene and p.scene.names[0] in names]
    return found[:limit]


def _numbers(compared: ProtocolComparison) -> dict[str, Any]:
    return {
        name: {
            "before": d.a,
            "after": d.b,
            "difference": d.value,
            "low": d.low,
            "high": d.high,
            "p": d.p,
        }
        for name, d in compared.numbers.items()
    }


def _count(data: Path) -> int:
    return len((data / "train" / "metadata.jsonl").read_text("utf-8").splitlines())


def format_rounds(result: dict[str, Any]) -> str:
    """The rounds as a table for a person, in per cent."""
    lines = []
    for entry in result["rounds"]:
        lines.append(f"round {entry['round']}: trained on {entry['images']:,} images")
        lines.append(f"  {'held-out prompts':<24}{'before':>8}{'after':>8}  difference, 95 %")
        for name, d in entry["numbers"].items():
            if d["difference"] is None:
                continue
            lines.append(
                f"  {name:<24}{100 * d['before']:>8.1f}{100 * d['after']:>8.1f}"
                f"  {100 * d['difference']:+.1f} [{100 * d['low']:+.1f}, {100 * d['high']:+.1f}]"
            )
        lines.append(f"  {'drift':<24}{'before':>8}{'after':>8}")
        for name, d in entry["drift"].items():
            lines.append(
                f"  {name.replace('_', ' '):<24}{100 * d['before']:>8.1f}{100 * d['after']:>8.1f}"
            )
    return "\n".join(lines)
