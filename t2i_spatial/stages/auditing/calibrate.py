"""Thresholds that agree best with people, as a named file that `score` reads when told to."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from t2i_spatial.detectors.score_levels import SETTINGS
from t2i_spatial.errors import InputError
from t2i_spatial.files import read_json, write_json
from t2i_spatial.incoming import read_bytes
from t2i_spatial.labels.records import NO, YES, labels_hash
from t2i_spatial.metrics.base import PROTOCOLS, Metric
from t2i_spatial.provenance import prompt_set_hash
from t2i_spatial.run import Run
from t2i_spatial.stages.auditing.labelled import FEWEST, Labelled, read_labelled
from t2i_spatial.stages.scores import complete
from t2i_spatial.statistics.audit import FOLDS
from t2i_spatial.statistics.intervals import Floats, Ints, cluster_codes
from t2i_spatial.tables import KEY

FORM = "t2i-spatial settings"
GRID = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What was fitted, and what it is worth.

    Attributes:
        settings: "protocol.key=value", as `--set` takes them.
        before: weighted agreement with people by the settings of the run.
        cross_validated: of the way of fitting, on prompts that it was not fitted on.
        facts: labels, prompts and detector that it was fitted on.
    """

    settings: tuple[str, ...]
    before: float
    cross_validated: float
    facts: dict[str, Any]

    @property
    def better(self) -> bool:
        """Whether it can be expected to agree better with people on other prompts."""
        return self.cross_validated > self.before


def calibrate_run(run: Run, protocol: str, files: Sequence[Path] = ()) -> Calibration:
    """Fit the thresholds of a protocol to the labels of a run, cross-validated over prompts.

    Every combination of grid values is judged on the labelled images. What is chosen on four fifths
    of the prompts is looked at on the rest, five times over.

    Raises:
        InputError: not scored by the protocol, no threshold to fit, or fewer than 50 labels.
    """
    if protocol not in run.plan("score"):
        raise InputError(f"{run.path} was not scored by {protocol!r}")
    labelled = read_labelled(run, files)
    known = labelled.truths.filter(pl.col("image").is_in([YES, NO]))
    if len(known) < FEWEST:
        raise InputError(f"{len(known)} images have a label yes or no, {FEWEST} are needed")
    settings = dict(run.plan("score")[protocol]["settings"])
    current = PROTOCOLS[protocol](**settings)
    keys = [key for key in settings if key in SETTINGS]
    if not keys or current.evidence != "boxes":
        raise InputError(f"{protocol} has no threshold to fit; those are {', '.join(SETTINGS)}")
    prompts, rows = _labelled_rows(run, known)
    candidates = [current, *_candidates(current, keys)]
    truth = (known["image"] == YES).to_numpy()
    weight = 1 / known["pi"].to_numpy()
    agrees = np.stack([_right(c, prompts, rows) == truth for c in candidates]) * weight
    codes, count = cluster_codes(known["prompt_id"])
    folds = np.random.default_rng(0).permutation(count)[codes] % FOLDS
    chosen = candidates[int(agrees.sum(axis=1).argmax())]
    said = tuple(
        f"{protocol}.{key}={value}" for key in keys if (value := getattr(chosen, key)) is not None
    )
    return Calibration(
        said,
        float(agrees[0].sum() / weight.sum()),
        _cross_validated(agrees, weight, folds),
        _facts(run, protocol, labelled, len(known)),
    )


def write_settings(calibration: Calibration, path: Path) -> None:
    """Write a settings file for `score --set-file`.

    Raises:
        InputError: it would not agree better with people than the settings of the run.
    """
    if not calibration.better:
        raise InputError(
            f"fitted thresholds agree with people on {100 * calibration.cross_validated:.1f} % of "
            f"images of other prompts, those of the run on {100 * calibration.before:.1f} %: keep "
            "them"
        )
    content = {"form": FORM, "name": path.stem, **dataclasses.asdict(calibration)}
    write_json(path, content | {"settings": list(calibration.settings)})


def read_settings(path: Path, protocols: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """The settings of a file for some protocols, and what their summaries say of it, by protocol.

    Raises:
        InputError: not such a file, or nothing in it for these protocols.
    """
    content = read_json(path)
    if not (isinstance(content, dict) and content.get("form") == FORM):
        raise InputError(f"{path} is no settings file of `t2i-spatial audit calibrate`")
    settings = [str(s) for s in content.get("settings", [])]
    used = [s for s in settings if s.partition(".")[0] in protocols]
    if not used:
        raise InputError(f"{path} sets nothing of {', '.join(protocols)}: {', '.join(settings)}")
    digest = hashlib.sha256(read_bytes(path)).hexdigest()
    facts = {"name": content.get("name"), "sha256": digest, "settings": used}
    facts["cross_validated"] = content.get("cross_validated")
    return used, {s.partition(".")[0]: facts for s in used}


def _candidates(current: Metric, keys: Sequence[str]) -> list[Metric]:
    """Every combination of grid values of the thresholds."""
    grids = np.stack(np.meshgrid(*[GRID] * len(keys)), axis=-1).reshape(-1, len(keys))
    changes: list[dict[str, Any]] = [
        dict(zip(keys, map(float, values), strict=True)) for values in grids
    ]
    return [dataclasses.replace(current, **change) for change in changes]


def _labelled_rows(run: Run, known: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    prompts = run.prompts()
    images = run.images() if run.has("images.parquet") else None
    rows = complete(run.detections(), prompts, images=images)
    rows = known.select(*KEY).join(rows, on=KEY, how="left", maintain_order="left")
    return prompts.join(known, on="prompt_id", how="semi", maintain_order="left"), rows


def _right(metric: Metric, prompts: pl.DataFrame, rows: pl.DataFrame) -> Any:
    return metric.judge(prompts, rows)["correct"].fill_null(False).to_numpy()


def _cross_validated(agrees: Floats, weight: Floats, folds: Ints) -> float:
    total = 0.0
    for fold in range(FOLDS):
        held = folds == fold
        best = int(agrees[:, ~held].sum(axis=1).argmax())
        total += float(agrees[best, held].sum())
    return total / float(weight.sum())


def _facts(run: Run, protocol: str, labelled: Labelled, n: int) -> dict[str, Any]:
    prompts = run.prompts().select("prompt_id", "text").rows()
    return {
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "protocol": protocol,
        "labels": n,
        "labels_sha256": labels_hash(labelled.files),
        "prompts_sha256": prompt_set_hash(prompts),
        "detector": {
            k: v for k, v in run.plan("detect").items() if k in ("detector", "backend", "revision")
        },
        "folds": FOLDS,
    }
