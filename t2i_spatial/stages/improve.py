"""The loop as one stage: score, curate, fine-tune, and prove it on held-out prompts.

output/before/        the base model on held-out prompts       (a run)
output/before-rephrased/, before-single/     the same scenes in other words; single objects
output/round-1/candidates/   the model on training prompts     (a run, curated)
output/round-1/train-set/    what it is trained on, if joined  (an imagefolder)
output/round-1/lora/
output/round-1/after/ ...    the tuned model, same prompts and seeds as `before`
output/improve.json   differences with intervals, drift, and which round was best
output/improve.png    the same prompts and seeds before and after the best round
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2i_spatial.engines import Engine
from t2i_spatial.errors import InputError
from t2i_spatial.files import read_json_lines, write_json
from t2i_spatial.progress import note
from t2i_spatial.prompts import sample_prompts, split_prompts
from t2i_spatial.report.contact_sheet import before_and_after
from t2i_spatial.run import Run, writes_run
from t2i_spatial.scene import Prompt
from t2i_spatial.stages.compare import ProtocolComparison, compare_runs
from t2i_spatial.stages.curate import check_names as check_curation
from t2i_spatial.stages.curate import curate_run
from t2i_spatial.stages.detect import check_names as check_detection
from t2i_spatial.stages.detect import detect_run
from t2i_spatial.stages.drift import clip_drift, pixel_drift, rephrased, single_objects
from t2i_spatial.stages.finetune import finetune_folder
from t2i_spatial.stages.generate import generate_run
from t2i_spatial.stages.rendered import rendered_set
from t2i_spatial.stages.report import report_run
from t2i_spatial.stages.score import make_protocols, score_run
from t2i_spatial.stages.stage_settings import GenerateSettings, ImproveSettings
from t2i_spatial.tables import table_to_prompts

STAGE = "improve"
PROTOCOLS = ("visor", "spatial")


@dataclass(frozen=True)
class Questions:
    """What a model is asked before and after: nothing it is trained on is about these pairs.

    Attributes:
        held_out: prompts about pairs of objects that no training prompt is about.
        rephrased: some of their scenes in other words.
        single: prompts for one object each, which should not get worse.
    """

    held_out: Sequence[Prompt]
    rephrased: Sequence[Prompt]
    single: Sequence[Prompt]


@dataclass(frozen=True)
class Evaluation:
    """A model's answers to `Questions`; `rephrased` is `None` when none was asked."""

    run: Run
    rephrased: Run | None
    drift: dict[str, float]


def improve(
    output: Path,
    settings: ImproveSettings,
    *,
    base: Run | None = None,
    overwrite: bool = False,
    engine: Engine | None = None,
) -> dict[str, Any]:
    """Run the rounds; one that does not raise VISOR_uncond above the best so far is the last one.

    The held-out prompts thus also choose among several rounds: the number of the best one is a
    little optimistic then, and its interval does not know of it. Every sub-run resumes by itself,
    so the same call goes on after an interruption.

    Args:
        base: a finished run of the model, made with `settings.generate` and `settings.seed`. Its
            prompts are the held-out ones then, and training leaves their pairs of objects out.
        overwrite: throw away what `output` holds of a loop with other settings.
        engine: where images are made and looked at; training is done here.

    Returns:
        What `improve.json` holds: per round `images` trained on, `numbers` (published name ->
        before, after, difference, interval, p) on held-out prompts, `rephrased` (the same on
        other wordings), and `drift` on single-object prompts and in the pixels; and `best`,
        the number of the best round, `None` when none is better than the base model.

    Raises:
        InputError: see `plan_questions`; or `base` has other samples or seeds.
        PlanMismatchError: `output` holds a loop with other settings. More `rounds` may be asked.
        T2ISpatialError: what the stages raise.
    """
    return _improve(Run.create(output), settings, base, overwrite, engine)


@writes_run
def _improve(
    loop: Run,
    settings: ImproveSettings,
    base: Run | None,
    overwrite: bool,
    engine: Engine | None,
) -> dict[str, Any]:
    """`improve`, holding the lock of the outer folder: two loops would train on each other's."""
    output = loop.path
    _claim(loop, settings, base, overwrite)
    train, questions = plan_questions(settings, base)
    before = evaluate(output / "before", questions, settings, None, base, engine)
    rounds: list[dict[str, Any]] = []
    lora: Path | None = None
    for number in range(1, settings.rounds + 1):
        folder = output / f"round-{number}"
        data = _training_set(folder, train, settings, lora, number, engine)
        tuned = settings.finetune.model_copy(update={"lora": None if lora is None else str(lora)})
        finetune_folder(data, folder / "lora", tuned, resume=(folder / "lora").exists())
        lora = folder / "lora"
        after = evaluate(folder / "after", questions, settings, lora, engine=engine)
        rounds.append({"round": number, "images": _count(data), **changes(before, after)})
        best = best_round(rounds)
        write_json(output / "improve.json", {"rounds": rounds, "best": best})
        report_run(after.run)
        if best in (number, None):
            before_and_after(before.run, after.run, output / "improve.png", "visor")
        if best != number:
            note(f"round {number} did not raise VISOR_uncond; stopping")
            break
    loop.finish(STAGE, rounds=len(rounds))
    return {"rounds": rounds, "best": best}


def check_names(settings: ImproveSettings) -> None:
    """Resolve what the loop names before its first image is made.

    Raises:
        T2ISpatialError: an unknown detector, protocol, filter or exporter.
    """
    check_detection(settings.detect)
    check_curation(settings.curate)


def best_round(rounds: Sequence[dict[str, Any]]) -> int | None:
    """Number of the round with the highest VISOR_uncond, `None` when none is above the base."""
    best, number = rounds[0]["numbers"]["VISOR_uncond"]["before"], None
    for entry in rounds:
        reached = entry["numbers"]["VISOR_uncond"]["after"]
        if None not in (reached, best) and reached > best:
            best, number = reached, entry["round"]
    return number


def _claim(run: Run, settings: ImproveSettings, base: Run | None, overwrite: bool) -> None:
    """Record everything that determines the result as the plan of the output folder."""
    output = run.path
    machine = {"device", "offline"}
    sections = settings.model_dump(
        mode="json",
        exclude={"rounds": True, "generate": machine, "detect": machine, "finetune": machine},
    )
    plan: dict[str, Any] = {}
    for key, value in sections.items():
        inner = value.items() if isinstance(value, dict) else ()
        plan |= {f"{key}.{name}": part for name, part in inner} or {key: value}
    if base is not None:
        plan["base"] = base.plan("generate")
    plan = json.loads(json.dumps(plan))
    if overwrite and run.plan(STAGE) not in ({}, plan):
        # before the new plan is recorded: what is left of an interrupted clearing is not its own
        for place in (*output.glob("before*"), *output.glob("round-*")):
            shutil.rmtree(place)
        for place in output.glob("improve.*"):
            place.unlink()
    run.begin(STAGE, plan, overwrite=overwrite)


def plan_questions(
    settings: ImproveSettings, base: Run | None = None
) -> tuple[list[Prompt], Questions]:
    """Training prompts, and the questions about other pairs of objects.

    Raises:
        InputError: too few pairs of objects to split, `base` is about all of them or was not made
            as `settings` say, or scenes are to be rendered of nouns that have no drawing.
    """
    prompts = settings.prompts.load()
    if base is None:
        train, held_out = split_prompts(prompts, settings.held_out, settings.seed)
        held_out = sample_prompts(held_out, settings.eval_prompts, settings.seed)
    else:
        train, held_out = prompts, table_to_prompts(base.prompts())
        made = base.plan("generate")
        for name, wanted in (("samples", settings.eval_samples), ("seed", settings.seed)):
            if made.get(name, wanted) != wanted:
                raise InputError(f"{base.path} was made with {name} {made[name]}, not {wanted}")
    asked = set().union(*map(_pairs, held_out))
    train = [p for p in train if not asked & _pairs(p)]
    if not train:
        raise InputError("the held-out prompts are about every pair of objects to train on")
    if settings.data != "own":
        _check_renderable(train)
    train = sample_prompts(train, settings.train_prompts, settings.seed)
    return train, Questions(
        held_out,
        rephrased(held_out, settings.rephrased_prompts),
        single_objects(train, settings.drift_prompts),
    )


def _pairs(prompt: Prompt) -> set[frozenset[str]]:
    """All pairs of objects of a prompt."""
    names = prompt.scene.names if prompt.scene else ()
    return {frozenset(pair) for pair in itertools.combinations(names, 2)}


def _check_renderable(prompts: Sequence[Prompt]) -> None:
    from t2i_spatial.bundled import NOUNS

    unknown = sorted({n for p in prompts if p.scene for n in p.scene.names} - set(NOUNS))
    if unknown:
        raise InputError(
            f"there are no drawings of {', '.join(unknown[:5])}; rendered scenes need prompts "
            f"about {', '.join(NOUNS)}"
        )


def evaluate(
    folder: Path,
    questions: Questions,
    settings: ImproveSettings,
    lora: Path | None,
    base: Run | None = None,
    engine: Engine | None = None,
) -> Evaluation:
    """Generate, detect and score all questions below `folder`; `base` answers the held-out ones."""
    made = settings.generate.model_copy(
        update={
            "samples": settings.eval_samples,
            "seed": settings.seed,
            "lora": () if lora is None else (str(lora),),
        }
    )
    run = base or scored_run(folder, questions.held_out, made, settings, engine=engine)
    drift = pixel_drift(run)
    if settings.drift_clip:
        drift |= clip_drift(run, settings.drift_clip, settings.detect.device)
    told = None
    if questions.rephrased:
        place = folder.with_name(folder.name + "-rephrased")
        told = scored_run(place, questions.rephrased, made, settings, engine=engine)
    if questions.single:
        place = folder.with_name(folder.name + "-single")
        alone = scored_run(place, questions.single, made, settings, ("spatial",), engine)
        summary = alone.summary()
        drift["single_object_accuracy"] = summary["spatial"]["accuracy"]["value"]
    return Evaluation(run, told, drift)


def changes(before: Evaluation, after: Evaluation) -> dict[str, Any]:
    """`numbers`, `rephrased` and `drift` of two evaluations, paired by prompt and sample."""
    told = None
    if before.rephrased is not None and after.rephrased is not None:
        told = _numbers(_compared(before.rephrased, after.rephrased))
    return {
        "numbers": _numbers(_compared(before.run, after.run)),
        "rephrased": told,
        "drift": {
            key: {"before": value, "after": after.drift[key]} for key, value in before.drift.items()
        },
    }


def _compared(before: Run, after: Run) -> ProtocolComparison:
    compared = compare_runs(before.path, after.path, ("visor",))
    compared.require_comparable()
    compared.require_complete()
    return compared.protocols["visor"]


def scored_run(
    folder: Path,
    prompts: Sequence[Prompt],
    made: GenerateSettings,
    settings: ImproveSettings,
    protocols: Sequence[str] = PROTOCOLS,
    engine: Engine | None = None,
) -> Run:
    """Images, boxes and verdicts of `prompts` in `folder`; what is done already is kept."""
    run = Run.create(folder)
    generate_run(run, prompts, made, engine=engine)
    detect_run(run, settings.detect, engine=engine)
    score_run(run, make_protocols(protocols)).require_complete()
    return run


def _training_set(
    folder: Path,
    prompts: Sequence[Prompt],
    settings: ImproveSettings,
    lora: Path | None,
    number: int,
    engine: Engine | None,
) -> Path:
    parts = []
    if settings.data in ("own", "mixture"):
        made = candidate_settings(settings, lora, number)
        run = scored_run(folder / "candidates", prompts, made, settings, engine=engine)
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
                side=settings.finetune.resolution
                or (64 if settings.finetune.model == "bundled" else 512),
                seed=settings.seed + number,
            )
        parts.append(place / "curated")
    return parts[0] if len(parts) == 1 else join_sets(parts, folder / "train-set")


def candidate_settings(
    settings: ImproveSettings, lora: Path | None, number: int
) -> GenerateSettings:
    """How the candidates of round `number` are made: by the last LoRA, from seeds of their own."""
    guidance = settings.candidate_guidance
    return settings.generate.model_copy(
        update={
            "samples": settings.train_samples,
            "seed": settings.seed + 1000 * number,
            "lora": () if lora is None else (str(lora),),
            "guidance_scale": settings.generate.guidance_scale if guidance is None else guidance,
        }
    )


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
        for record in read_json_lines(source):
            old = source.parent / record["file_name"]
            record["file_name"] = f"{index}-{Path(record['file_name']).name}"
            try:
                os.link(old, train / record["file_name"])
            except OSError:
                shutil.copyfile(old, train / record["file_name"])
            lines.append(json.dumps(record, ensure_ascii=False))
    (train / "metadata.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return output


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
    return len(read_json_lines(data / "train" / "metadata.jsonl"))


def format_rounds(result: dict[str, Any]) -> str:
    """The rounds as a table for a person, in per cent."""
    lines = []
    for entry in result["rounds"]:
        lines.append(f"round {entry['round']}: trained on {entry['images']:,} images")
        for title in ("numbers", "rephrased"):
            if entry[title] is None:
                continue
            said = "held-out prompts" if title == "numbers" else "in other words"
            lines.append(f"  {said:<24}{'before':>8}{'after':>8}  difference, 95 %")
            for name, d in entry[title].items():
                if d["difference"] is None:
                    continue
                gain, low, high = (100 * d[key] for key in ("difference", "low", "high"))
                lines.append(
                    f"  {name:<24}{100 * d['before']:>8.1f}{100 * d['after']:>8.1f}"
                    f"  {gain:+.1f} [{low:+.1f}, {high:+.1f}]"
                )
        lines.append(f"  {'drift':<24}{'before':>8}{'after':>8}")
        for name, d in entry["drift"].items():
            lines.append(
                f"  {name.replace('_', ' '):<24}{100 * d['before']:>8.1f}{100 * d['after']:>8.1f}"
            )
    if len(result["rounds"]) > 1 and result["best"] is not None:
        lines.append(f"best is round {result['best']}")
    return "\n".join(lines)
