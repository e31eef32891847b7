"""Prompts in, images and `images.parquet` out: planned batches, redone whole, the same bits."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Sequence
from typing import Any

import polars as pl

from t2i_spatial import parts
from t2i_spatial.curation.exporter import discard
from t2i_spatial.engines import Engine, Local, run_batches
from t2i_spatial.errors import InputError
from t2i_spatial.generation.first_look import LOOKED_AT
from t2i_spatial.generation.generator import FLAT, Sampling, default_sampling
from t2i_spatial.generation.png import is_whole
from t2i_spatial.generation.resolve import (
    BUNDLED,
    is_local,
    resolve_lora,
    resolve_loras,
    resolve_model,
    split_strength,
)
from t2i_spatial.generation.seeds import image_seed
from t2i_spatial.locations import for_each
from t2i_spatial.progress import note
from t2i_spatial.provenance import environment, prompt_set_hash
from t2i_spatial.run import Run, writes_run
from t2i_spatial.scene import Prompt, check_unique_ids
from t2i_spatial.settings import short_dtype
from t2i_spatial.stages.generate_worker import (
    FirstLook,
    GenerateWorkers,
    Job,
    LoadGenerator,
    Loras,
)
from t2i_spatial.stages.stage_settings import GenerateSettings
from t2i_spatial.stages.suitable import note_unknown
from t2i_spatial.tables import IMAGES, KEY, SCORED, prompts_to_table

STAGE = "generate"
MOST_IMAGES = 5_000_000
"""Images of one run; their list alone takes a gigabyte."""
MOST_IN_A_FOLDER = 50_000
"""Images of a larger run are spread over folders; see `generation.seeds.image_place`."""
DERIVED = (
    "images.parquet",
    "detections/*",
    "verdicts/*",
    "captions/*",
    "summary.json",
    "report.html",
    "selection.parquet",
)
"""Files that are made from images."""


@writes_run
def generate_run(
    run: Run,
    prompts: Sequence[Prompt],
    settings: GenerateSettings,
    *,
    overwrite: bool = False,
    engine: Engine | None = None,
) -> None:
    """Make every image of `prompts` that `run` does not have yet, and its `images.parquet`.

    A second call with the same settings finishes an interrupted one to the same bits; batches with
    a missing or truncated file are made again. More `samples` than a finished run has are added to
    it, in batches of their own, which `run.json` records as `grown`.

    Raises:
        InputError: no prompts, a duplicate id, or settings that the model does not have.
        ModelLoadError: see `load_generator`.
        PlanMismatchError: the run was made by another plan (unless `overwrite`).
        T2ISpatialError: the disk is full; finished batches are kept.
    """
    if not prompts:
        raise InputError("no prompts to generate images for")
    check_unique_ids(prompts)
    if (number := len(prompts) * settings.samples) > MOST_IMAGES:
        raise InputError(
            f"{len(prompts):,} prompts with {settings.samples:,} samples are {number:,} images, "
            f"more than a run may have ({MOST_IMAGES:,}); make several runs"
        )
    engine = engine or Local()
    devices = engine.devices(settings.device)
    requested = _requested(prompts, settings, devices[0])
    if not overwrite and _is_done(run, requested):
        note(f"{run.path}: all images are there already")
        if not run.prompts().equals(table := prompts_to_table(prompts)):
            note("the prompts mean something else than before; `detect` and `score` again")
            run.write_prompts(table)
        return
    source = resolve_model(
        settings.model,
        revision=settings.revision,
        variant=settings.variant,
        offline=settings.offline,
    )
    if settings.model == BUNDLED:
        note_unknown([p.scene.names for p in prompts if p.scene is not None])
    loras = resolve_loras(settings.lora, settings.lora_scale, offline=settings.offline)
    load = LoadGenerator(source, settings.variant, short_dtype(settings.dtype), loras)
    known = {} if overwrite else run.plan(STAGE)
    size = known.get("batch_size") if settings.batch_size == "auto" else settings.batch_size
    texts = [prompt.text for prompt in prompts]
    look = FirstLook(load, _sampling(settings), texts[:LOOKED_AT], size)
    with run.sharing():  # it may take a while
        found = engine.once(look, devices[0])
    if not engine.is_here(devices):
        load.forget()  # every process loads its own; two copies would not fit
    sampling = found.sampling
    jobs = [
        Job(prompt.id, sample, prompt.text, image_seed(settings.seed, prompt.id, sample))
        for prompt in prompts
        for sample in range(settings.samples)
    ]
    plan = {
        "prompts": requested["prompts"],
        "samples": settings.samples,
        "seed": settings.seed,
        "model": source.name,
        "revision": source.revision,
        "variant": settings.variant,
        "lora": _told(loras),
        "dtype": found.dtype,
        "device": found.device.split(":")[0],
        "steps": sampling.steps,
        "guidance_scale": sampling.guidance_scale,
        "negative_prompt": sampling.negative_prompt,
        "width": sampling.width,
        "height": sampling.height,
        **found.described,
        "batch_size": found.batch_size,
    }
    record = {
        "requested": requested,
        "devices": devices,
        "threads": found.threads,
        **environment(),
    }
    if overwrite:
        _drop_derived(run)
    if not overwrite:
        _extend(run, plan, record)
    run.begin(STAGE, plan, record=record, overwrite=overwrite)
    run.write_prompts(prompts_to_table(prompts))
    batches = _batches(jobs, found.batch_size, _grown(run))
    _keep_whole_batches(run, batches)
    model = f"{source.name}@{source.revision}" + "".join(f"+{lora.name}" for lora, _ in loras)
    many = len(jobs) > MOST_IN_A_FOLDER
    workers = GenerateWorkers(load, run.path, sampling, model, many)
    run_batches(run, STAGE, batches, workers, engine=engine, devices=devices)
    complete(run)


def complete(run: Run) -> None:
    """Make `images.parquet` of the batches, once all of them are done."""
    samples = range(run.plan(STAGE)["samples"])
    keys = ((prompt_id, k) for prompt_id in run.prompts()["prompt_id"] for k in samples)
    order = {key: place for place, key in enumerate(keys)}
    images = run.shards(STAGE).read_all(IMAGES)
    places = [order[key] for key in images.select(KEY).iter_rows()]
    images = images[sorted(range(len(places)), key=places.__getitem__)]
    run.write_images(images)
    if flat := images.filter(pl.col("reason") == FLAT).height:
        note(f"{flat} images are of {FLAT}")
    missing = images.filter(pl.col("status") != SCORED)
    for reason in missing["reason"].unique(maintain_order=True):
        note(f"{missing.filter(pl.col('reason') == reason).height} images not made: {reason}")
    run.finish(
        STAGE,
        images=images.height - missing.height,
        missing=missing.height,
        remarks=images.filter(pl.col("status") == SCORED)["reason"].drop_nulls().len(),
    )


def _requested(
    prompts: Sequence[Prompt], settings: GenerateSettings, device: str
) -> dict[str, Any]:
    """The request without what changes no pixel, and with the content of local files."""
    request = settings.model_dump(exclude={"offline", "device"})
    request["dtype"] = short_dtype(settings.dtype)
    request["device"] = device.split(":")[0]
    request["prompts"] = prompt_set_hash([(prompt.id, prompt.text) for prompt in prompts])
    if is_local(settings.model):
        request["revision"] = resolve_model(settings.model).revision
    request["lora"] = [_content(name) for name in settings.lora]
    return request


def _content(name: str) -> list[Any]:
    path, weight = split_strength(name)
    return [resolve_lora(path).digest if is_local(path) else path, weight]


def _told(loras: Loras) -> Any:
    """LoRAs as a plan records them: one as it always was, several as a list."""
    told = [{"name": lora.name, "sha256": lora.digest, "scale": scale} for lora, scale in loras]
    return told if len(told) > 1 else told[0] if told else None


def _is_done(run: Run, requested: dict[str, Any]) -> bool:
    if not (run.is_finished(STAGE) and run.has("images.parquet")):
        return False
    if run.manifest["stages"][STAGE]["record"].get("requested") != requested:
        return False
    return all(_whole_rows(run, run.images()))


def _whole_rows(run: Run, images: pl.DataFrame) -> list[bool]:
    """Of every row whether its picture is there and whole, or was not to be made."""
    made = images.filter(pl.col("status") == SCORED)["image"].to_list()
    whole = iter(for_each(is_whole, [run.image_path(image) for image in made]))
    return [status != SCORED or next(whole) for status in images["status"]]


def _extend(run: Run, plan: dict[str, Any], record: dict[str, Any]) -> None:
    """Take a finished run that lacks nothing but samples for the beginning of this one."""
    known = run.plan(STAGE)
    have = known.get("samples", plan["samples"])
    if not run.is_finished(STAGE) or have >= plan["samples"]:
        return
    if {**known, "samples": plan["samples"]} == json.loads(json.dumps(plan)):
        note(f"{run.path}: {have} samples of every prompt are there, the others are made")
        run.extend(STAGE, plan, record, grown=[*_grown(run), have])


def _grown(run: Run) -> list[int]:
    """Numbers of samples that the run had before it was extended, each time."""
    return list(run.manifest["stages"].get(STAGE, {}).get("grown", []))


def _batches(jobs: Sequence[Job], size: int, grown: Sequence[int]) -> list[list[Job]]:
    """The plan: batches of `size` in the order of the prompts, those of an extension last."""
    batches = []
    for low, high in itertools.pairwise([0, *grown, math.inf]):
        part = [job for job in jobs if low <= job.sample < high]
        batches += [part[start : start + size] for start in range(0, len(part), size)]
    return batches


def _keep_whole_batches(run: Run, batches: Sequence[Sequence[Job]]) -> None:
    """Make shards exactly of the batches whose rows are known and whose files are whole."""
    shards = run.shards(STAGE)
    shards.drop_broken()
    rows = [shards.read_all(IMAGES)]
    if (run.is_finished(STAGE) or _grown(run)) and run.has("images.parquet"):
        rows.append(run.stored_images())
    table = pl.concat(rows)
    whole = {
        (row["prompt_id"], row["sample"]): row
        for row in table.filter(_whole_rows(run, table)).iter_rows(named=True)
    }
    finished = shards.finished()
    broken = 0
    for number, batch in enumerate(batches):
        kept = [whole[job[:2]] for job in batch if job[:2] in whole]
        if len(kept) == len(batch):
            if number not in finished:
                shards.write(number, pl.DataFrame(kept, schema=IMAGES))
        elif number in finished or (table.height and run.is_finished(STAGE)):
            shards.drop(number)
            broken += 1
    if broken:
        note(f"{broken} batches with missing or truncated images are made again")


def _drop_derived(run: Run) -> None:
    """Forget what was found in images that are about to change."""
    for stage in [name for name in run.manifest["stages"] if name != STAGE]:
        run.discard(stage)
    for pattern in DERIVED:
        for path in run.path.glob(pattern):
            parts.remove(path)
    for folder in run.path.glob("curated*"):
        discard(folder)


def _sampling(settings: GenerateSettings) -> Sampling:
    values = dataclasses.asdict(default_sampling(settings.model))
    asked = {name: getattr(settings, name) for name in values}
    return Sampling(**values | {name: value for name, value in asked.items() if value is not None})
