"""Where verdicts come from when prompts are judged a few at a time: stored boxes, or fresh ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import polars as pl

from t2i_spatial.detectors.score_levels import fitted
from t2i_spatial.locations import locate_listed
from t2i_spatial.metrics.base import Metric
from t2i_spatial.run import Run
from t2i_spatial.stages.score import complete
from t2i_spatial.tables import DETECTIONS, IMAGES, PROMPTS, table_to_prompts

if TYPE_CHECKING:
    from t2i_spatial.stages.stage_settings import DetectSettings, GenerateSettings


class Look(Protocol):
    """Judges all images of some prompts; the costly part of an early-stopping run."""

    @property
    def samples(self) -> int:
        """Images expected per prompt."""
        ...

    def __call__(self, prompt_ids: Sequence[str]) -> pl.DataFrame:
        """VERDICTS of every expected image of these prompts."""
        ...


class StoredLook:
    """Judges detections that are there already.

    Args:
        prompts: PROMPTS, the whole set.
        detections: DETECTIONS of all or some of its images.
        metric: the protocol.
        samples, images: see `complete`.

    Raises:
        InputError: what `complete` refuses.
    """

    def __init__(
        self,
        prompts: pl.DataFrame,
        detections: pl.DataFrame,
        metric: Metric,
        *,
        samples: int | None = None,
        images: pl.DataFrame | None = None,
    ) -> None:
        self._prompts = prompts
        self._rows = complete(detections, prompts, samples=samples, images=images)
        self._metric = metric
        self.samples = int(self._rows.group_by("prompt_id").len()["len"].max() or 1)  # type: ignore[arg-type]

    def __call__(self, prompt_ids: Sequence[str]) -> pl.DataFrame:
        """VERDICTS of these prompts."""
        return self._metric.judge(
            self._prompts, self._rows.filter(pl.col("prompt_id").is_in(list(prompt_ids)))
        )


@dataclass
class RoundsLook:
    """Generates (or takes from a run) and detects the images of a few prompts at a time.

    Every round is a run of its own in `output/rounds/NNN`, so a finished one is not repeated and
    an interrupted one goes on. An image depends on the seed, prompt and sample alone, so it is the
    one that a whole run would make. `collect` joins the rounds to one run.

    Attributes:
        output: the run directory to make.
        prompts: PROMPTS, the whole set.
        metric: the protocol.
        detect: settings of the detector.
        generate: settings of the generator, or
        source: a run that has images.
        overwrite: make rounds anew that other settings have made.
    """

    output: Run
    prompts: pl.DataFrame
    metric: Metric
    detect: DetectSettings
    generate: GenerateSettings | None = None
    source: Run | None = None
    overwrite: bool = False
    rounds: list[Run] = field(default_factory=list, init=False)

    @property
    def samples(self) -> int:
        """Images expected per prompt."""
        if self.generate is not None:
            return self.generate.samples
        assert self.source is not None
        counts = self.source.images().group_by("prompt_id").len()["len"]
        return int(counts.max() or 1)  # type: ignore[arg-type]

    def __call__(self, prompt_ids: Sequence[str]) -> pl.DataFrame:
        """VERDICTS of these prompts, after making what is missing."""
        from t2i_spatial.stages.detect import detect_run

        chosen = self.prompts.filter(pl.col("prompt_id").is_in(list(prompt_ids)))
        run = Run.create(self.output.path / "rounds" / f"{len(self.rounds):03d}")
        if self.generate is not None:
            from t2i_spatial.stages.generate import generate_run

            generate_run(run, table_to_prompts(chosen), self.generate, overwrite=self.overwrite)
        else:
            self._take_images(run, chosen)
        detect_run(run, self.detect, overwrite=self.overwrite)
        self.rounds.append(run)
        metric = fitted(self.metric, run.plan("detect").get("backend"))
        return metric.judge(chosen, complete(run.detections(), chosen, images=run.images()))

    def collect(self) -> Run:
        """Write prompts, images, detections and stages of all rounds as one run."""
        taken = pl.concat([run.prompts() for run in self.rounds])
        whole = self.prompts.join(taken.select("prompt_id"), on="prompt_id", how="semi")
        self.output.write_prompts(whole.select(list(PROMPTS)))
        self.output.write_images(pl.concat([self._local(r, r.images()) for r in self.rounds]))
        self.output.write_detections(
            pl.concat([self._local(r, r.detections()) for r in self.rounds])
        )
        for stage, entry in self.rounds[0].manifest["stages"].items():
            self.output.begin(stage, entry["plan"], record=entry["record"], overwrite=True)
            self.output.finish(stage, rounds=len(self.rounds))
        return self.output

    def _local(self, run: Run, table: pl.DataFrame) -> pl.DataFrame:
        """Image paths of a round as seen from the run that collects them."""
        folder = run.path.relative_to(self.output.path)
        schema = IMAGES if "seed" in table.columns else DETECTIONS
        paths = [None if p is None else str(locate_listed(p, folder)) for p in table["image"]]
        return table.with_columns(
            pl.coalesce(pl.Series(paths, dtype=pl.String), "image").alias("image")
        ).select(list(schema))

    def _take_images(self, run: Run, chosen: pl.DataFrame) -> None:
        assert self.source is not None
        images = self.source.images().join(chosen.select("prompt_id"), on="prompt_id", how="semi")
        folder = self.source.path.resolve()
        plan = {"from": str(folder), "prompts": chosen["prompt_id"].to_list()}
        run.begin("take", plan, overwrite=self.overwrite)
        run.write_prompts(chosen)
        run.write_images(
            images.with_columns(
                pl.when(pl.col("image").is_not_null()).then(
                    pl.col("image").map_elements(
                        lambda name: str(folder / name), return_dtype=pl.String
                    )
                )
            )
        )
        run.finish("take")
