"""From which score on a box of a detector is a thing: one table, by family.

Scores of different families are not comparable: 0.9 is common for Mask2Former and unheard of for
OWL. Our own protocols (`spatial`, `layout`, the `_fixed` ones) take the levels of the detector that
made the boxes; a peer's protocol keeps its published thresholds whatever made them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from t2i_spatial.metrics.base import Metric, Published
from t2i_spatial.tables import SCORED


@dataclass(frozen=True)
class Levels:
    """Scores above which a box is a thing: to be there, and to be counted."""

    found: float
    counted: float


LEVELS = {
    "owl": Levels(0.1, 0.1),
    "grounding_dino": Levels(0.35, 0.35),
    "groundingdino_py": Levels(0.35, 0.35),
    "mask2former": Levels(0.3, 0.9),
}
"""Backend -> levels. Mask2Former's are GenEval's; the others are the thresholds that their makers
publish, for counting too, because no other is published."""

SETTINGS = {"min_score": "found", "threshold": "found", "counting_threshold": "counted"}
"""Settings of protocols that are scores of boxes -> which level they are."""

FEW = 0.01
ENOUGH = 50
"""Of at least so many boxes, the share above a threshold below which it does not fit them."""


def fitted(protocol: Metric, backend: str | None) -> Metric:
    """The protocol with the levels of a detector, where it is ours and nobody set another.

    >>> from t2i_spatial.metrics import PROTOCOLS
    >>> fitted(PROTOCOLS["geneval_reward_fixed"](), "owl").settings["counting_threshold"]
    0.1
    >>> fitted(PROTOCOLS["geneval"](), "owl").settings["counting_threshold"]
    0.9
    """
    levels = LEVELS.get(backend or "")
    if levels is None or isinstance(protocol, Published):
        return protocol
    changes = {
        f.name: getattr(levels, SETTINGS[f.name])
        for f in dataclasses.fields(protocol)
        if f.name in SETTINGS and getattr(protocol, f.name) == f.default
    }
    return dataclasses.replace(protocol, **changes)


def reached(
    protocol: Metric, prompts: pl.DataFrame, detections: pl.DataFrame
) -> dict[str, tuple[int, int]]:
    """Of every level among the settings of a protocol: boxes, and those above it.

    Counts of parts of a run add up; `misfits` says what they mean.
    """
    found = {}
    counting = prompts.filter(pl.col("tag") == "counting")
    for name, value in protocol.settings.items():
        if name not in SETTINGS:
            continue
        rows = detections.filter(pl.col("status") == SCORED)
        if SETTINGS[name] == "counted":
            rows = rows.join(counting, on="prompt_id", how="semi")
        scores = rows["detections"].explode().drop_nulls().struct.field("score")
        found[name] = len(scores), int((scores > value).sum())
    return found


def misfits(protocol: Metric, counts: Mapping[str, tuple[int, int]]) -> list[str]:
    """What to say of thresholds of a protocol that next to no box of a run reaches.

    Args:
        counts: those of `reached` for the whole run.
    """
    told = []
    for name, (boxes, above) in counts.items():
        if boxes >= ENOUGH and above < FEW * boxes:
            whose = "published" if isinstance(protocol, Published) else "own"
            told.append(
                f"{protocol.name}: {above:,} of {boxes:,} boxes have a score above its "
                f"{whose} {name} {protocol.settings[name]}, which belongs to another detector; see "
                f"--set {protocol.name}.{name}="
            )
    return told
