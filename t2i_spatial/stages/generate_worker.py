"""Planned batches of (prompt, sample) in, image files and rows of IMAGES out."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from t2i_spatial.devices import automatic_batch_size, is_out_of_memory
from t2i_spatial.errors import ModelLoadError, T2ISpatialError, require
from t2i_spatial.generation.first_look import check_pictures, check_text_matters
from t2i_spatial.generation.generator import Generated, Generator, Sampling, load_from
from t2i_spatial.generation.png import write_png
from t2i_spatial.generation.resolve import (
    LoraSource,
    ModelSource,
    is_local,
    resolve_lora,
    resolve_model,
)
from t2i_spatial.generation.seeds import image_place
from t2i_spatial.progress import note
from t2i_spatial.tables import IMAGE_MISSING, IMAGES, SCORED

Loras = tuple[tuple[LoraSource, float], ...]

_CPU_PIXELS = 2 * 512 * 512
_LARGEST_CPU_BATCH = 16


class Job(NamedTuple):
    """One image to make."""

    prompt_id: str
    sample: int
    text: str
    seed: int


class LoadGenerator:
    """Loads the planned generator, here or on another machine; the last one of a process is kept.

    Args:
        source, loras: as found where the plan was made. A machine that does not have those files
            finds its own, which must be the same.
    """

    def __init__(self, source: ModelSource, variant: str | None, dtype: str, loras: Loras) -> None:
        self._asked = (source, variant, dtype, loras)
        self._loaded: tuple[str, Generator] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_asked": self._asked, "_loaded": None}

    def __call__(self, device: str) -> Generator:
        """The generator on a device.

        Raises:
            ModelLoadError: it is not there, or another one is.
        """
        if self._loaded is None or self._loaded[0] != device:
            self.forget()
            source, variant, dtype, loras = self._asked
            source = _model_here(source, variant)
            loras = tuple((_lora_here(lora), scale) for lora, scale in loras)
            self._loaded = (device, load_from(source, variant, dtype, device, loras))
        return self._loaded[1]

    def forget(self) -> None:
        """Let go of the generator and its memory."""
        if self._loaded is not None:
            device, self._loaded = self._loaded[0], None
            free(device)


def _model_here(source: ModelSource, variant: str | None) -> ModelSource:
    if source.folder.exists():
        return source
    revision = None if is_local(source.name) else source.revision
    found = resolve_model(source.name, revision=revision, variant=variant)
    _require_same(source.name, found.revision, source.revision)
    return found


def _lora_here(lora: LoraSource) -> LoraSource:
    if lora.file.exists():
        return lora
    found = resolve_lora(lora.name)
    _require_same(lora.name, found.digest, lora.digest)
    return found


def _require_same(name: str, found: str, planned: str) -> None:
    if found != planned:
        raise ModelLoadError(f"{name} is another model here ({found}) than planned ({planned})")


class Facts(NamedTuple):
    """What a plan must know of the loaded model."""

    sampling: Sampling
    dtype: str
    device: str
    described: dict[str, Any]
    batch_size: int
    threads: int


@dataclass(frozen=True)
class FirstLook:
    """Loads the model where the workers will, checks that texts reach it, and says what it is.

    Attributes:
        batch_size: as planned before, or wanted; `None` is what fits.
    """

    load: LoadGenerator
    sampling: Sampling
    texts: Sequence[str]
    batch_size: int | None

    def __call__(self, device: str) -> Facts:
        """The facts, on a device.

        Raises:
            InputError: settings that the model does not have.
            T2ISpatialError: it makes the same image of different texts.
        """
        generator = self.load(device)
        sampling = generator.resolved(self.sampling)
        size = self.batch_size or _fitting(generator, sampling, self.texts[0])
        check_text_matters(generator, self.texts, sampling)
        threads = require("torch", "generate").get_num_threads()
        return Facts(
            sampling, generator.dtype, generator.device, generator.describe(), size, threads
        )


def _fitting(generator: Generator, sampling: Sampling, text: str) -> int:
    if not generator.device.startswith("cuda"):
        pixels = (sampling.width or 1024) * (sampling.height or 1024)
        return max(1, min(_LARGEST_CPU_BATCH, _CPU_PIXELS // pixels))
    brief = dataclasses.replace(sampling, steps=min(2, sampling.steps or 2))

    def work(count: int) -> None:
        generator([text] * count, [0] * count, brief)

    try:
        size = automatic_batch_size(generator.device, work)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        size = 1
    free(generator.device)
    note(f"batch size {size}")
    return size


def free(device: str) -> None:
    """Give the memory of what is no longer used back to a GPU."""
    if device.startswith("cuda"):
        import gc

        import torch

        gc.collect()
        torch.cuda.empty_cache()


@dataclass(frozen=True)
class GenerateWorkers:
    """Makes the worker of one device.

    Attributes:
        folder: of the run, where images go.
        model: as it is written into image files.
        many: whether the run has so many images that they are spread over folders.
    """

    load: LoadGenerator
    folder: Path
    sampling: Sampling
    model: str
    many: bool = False

    def __call__(self, device: str) -> GenerateWorker:
        """Load the model on `device`."""
        generator = self.load(device)
        return GenerateWorker(generator, self.folder, self.sampling, self.model, many=self.many)

    def lost(self, items: Sequence[Job], reason: str) -> pl.DataFrame:
        """Rows of images over which workers died."""
        return pl.DataFrame([_row(job, IMAGE_MISSING, reason) for job in items], schema=IMAGES)


def _row(job: Job, status: str, reason: str | None) -> dict[str, Any]:
    return {
        "prompt_id": job.prompt_id,
        "sample": job.sample,
        "seed": job.seed,
        "status": status,
        "reason": reason,
    }


class GenerateWorker:
    """Turns one planned batch into files and rows."""

    def __init__(
        self,
        generator: Generator,
        folder: Path,
        sampling: Sampling,
        model: str,
        *,
        many: bool = False,
    ) -> None:
        self.generator = generator
        self.folder = folder
        self.sampling = sampling
        self.model = model
        self.many = many
        self.limit: int | None = None
        self.looked = False
        self.pool = ThreadPoolExecutor(4, thread_name_prefix="png")

    def __call__(self, batch: Sequence[Job]) -> pl.DataFrame:
        """The rows of one batch, whose images are files then."""
        results = list(self._generate(batch))
        if all(result.image is None for result in results):
            raise T2ISpatialError(
                f"{results[0].reason}, for every image of the batch with prompt "
                f"{batch[0].prompt_id!r}; with --dtype float16 try bfloat16 or float32"
            )
        if not self.looked:
            check_pictures(results, f"the batch with prompt {batch[0].prompt_id!r}")
            self.looked = True
        saved = [self.pool.submit(self._save, *item) for item in zip(batch, results, strict=True)]
        wait(saved)
        return pl.DataFrame([future.result() for future in saved], schema=IMAGES)

    def _generate(self, jobs: Sequence[Job]) -> Iterator[Generated]:
        """Images of a batch, in halves (remembered for later batches) when memory runs out."""
        size = self.limit or len(jobs)
        start = 0
        while start < len(jobs):
            part = jobs[start : start + size]
            try:
                results = self.generator(
                    [job.text for job in part], [job.seed for job in part], self.sampling
                )
            except Exception as error:
                if not is_out_of_memory(error) or len(part) == 1:
                    raise
                results = None
            if results is None:
                free(self.generator.device)
                size = self.limit = len(part) // 2
                note(f"out of memory: going on with {size} images at a time")
                continue
            for result in results:
                remark = f"made {size} at a time (out of memory)" if self.limit else None
                yield result if result.reason or not remark else result._replace(reason=remark)
            start += len(part)

    def _save(self, job: Job, result: Generated) -> dict[str, Any]:
        row = _row(job, SCORED if result.image else IMAGE_MISSING, result.reason)
        if result.image is not None:
            name = image_place(job.prompt_id, job.sample, many=self.many)
            metadata = {
                "prompt_id": job.prompt_id,
                "sample": job.sample,
                "seed": job.seed,
                "model": self.model,
                "prompt": job.text,
            }
            try:
                write_png(self.folder / name, result.image, metadata)
            except T2ISpatialError as error:
                if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.ENOSPC:
                    raise T2ISpatialError(
                        f"{error}; finished batches are kept, the same command goes on when there "
                        "is space"
                    ) from None
                raise
            row |= {"image": name, "width": result.image.width, "height": result.image.height}
        return row
