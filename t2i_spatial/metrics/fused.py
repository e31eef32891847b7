"""`fused`: boxes and answers as two witnesses of every part of a scene. Ours, for any prompt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.answers import WEIGHED, shares_right
from t2i_spatial.metrics.base import PROTOCOLS, share
from t2i_spatial.metrics.numbers import Numbers, Rate
from t2i_spatial.metrics.spatial import Spatial
from t2i_spatial.metrics.spatial_vqa import Part, SpatialVQA, parts_of
from t2i_spatial.scene import ObjectSpec, Prompt, SceneSpec
from t2i_spatial.tables import (
    AMBIGUOUS,
    DETECTIONS,
    KEY,
    SCORED,
    prompts_to_table,
    table_to_prompts,
)

HALF = 0.5
LEAST = 0.01
"""Probabilities are held this far from 0 and 1: no witness is beyond doubt."""
KINDS = {"exists": "objects", "count": "counts", "color": "colors", "relation": "relations"}
"""Kind of a part -> the component of `spatial` that judges it."""
PARTS = ("boxes", "answers", "agreement", "clauses", "disputed")
Evidence = Mapping[tuple[str, int], Mapping[int, float]]
"""(prompt id, sample) -> number of a part -> probability that it holds."""


@PROTOCOLS.register("fused")
@dataclass(kw_only=True)
class Fused(SpatialVQA):
    """One probability per part of the scene, from `spatial`'s rules and from a judge's answers.

    The log-odds of a part are `bias` + `box_weight` · those by boxes + `answer_weight` · those by
    answers; one witness alone speaks where the other cannot. `value` is the weakest part's. Where
    both are sure (above `sure`, below 1 - `sure`) and say opposite things of a part, the image is
    ambiguous, unless another part is wrong by what both say together.

    Attributes:
        box_weight, answer_weight, bias: 1, 1 and 0 are those of witnesses that are calibrated and
            independent given the truth. See `fit_weights` for others.
        sure: probability from which a witness is sure.
        min_score: of boxes, as for `spatial`.
    """

    title: ClassVar[str] = "Boxes and answers"
    evidence: ClassVar[str] = "both"
    parts: ClassVar[tuple[str, ...]] = PARTS
    numbers: ClassVar[Numbers] = {
        "probability": Rate("value", meaning="mean probability that the picture shows the scene"),
        "accuracy": Rate("correct", meaning="images whose every part is likelier than not"),
        "probability_at_most": Rate(
            "value", meaning="the same if what neither witness says were right", if_right=True
        ),
        "agreement": Rate("agreement", meaning="1 - mean distance of the witnesses", optional=True),
    }
    groups: ClassVar[Mapping[str, Sequence[str]]] = {
        "relation": ("probability", "accuracy", "agreement")
    }

    box_weight: float = 1.0
    answer_weight: float = 1.0
    bias: float = 0.0
    sure: float = share(0.65)
    min_score: float = share(0.1)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("box_weight", "answer_weight", "bias"):
            value = getattr(self, name)
            if not math.isfinite(value) or (name != "bias" and value < 0):
                raise InputError(f"fused.{name} must be a number, a weight not negative: {value!r}")

    def weigh_both(
        self,
        prompts: pl.DataFrame,
        images: pl.DataFrame,
        answers: pl.DataFrame,
        detections: pl.DataFrame,
    ) -> pl.DataFrame:
        """See `AnswerMetric.weigh_both`."""
        asked = images.select(*KEY).join(answers.select(*KEY).unique(), on=KEY, how="semi")
        rules = Spatial(min_score=self.min_score)
        by_boxes = box_evidence(prompts, detections.join(asked, on=KEY, how="semi"), rules)
        by_answers = answer_evidence(prompts, answers.join(asked, on=KEY, how="semi"))
        scenes = {p.id: parts_of(p.scene or SceneSpec()) for p in table_to_prompts(prompts)}
        rows = [
            {"prompt_id": key[0], "sample": key[1]}
            | self._weighed(scenes[key[0]], by_boxes.get(key, {}), by_answers.get(key, {}))
            for key in asked.iter_rows()
        ]
        return pl.DataFrame(rows, schema=WEIGHED)

    def judge_answers(
        self,
        prompts: pl.DataFrame,
        images: pl.DataFrame,
        answers: pl.DataFrame,
        detections: pl.DataFrame | None = None,
    ) -> pl.DataFrame:
        """See `AnswerMetric.judge_answers`; images whose witnesses contradict are ambiguous."""
        verdicts = super().judge_answers(prompts, images, answers, detections)
        disputed = (pl.col("status") == SCORED) & pl.col("correct").is_null()
        return verdicts.with_columns(
            pl.when(disputed).then(pl.lit(AMBIGUOUS)).otherwise("status").alias("status"),
            *[pl.when(~disputed).then(name).alias(name) for name in ("value", "margin")],
        )

    def probability(self, boxes: float | None, answers: float | None) -> float | None:
        """Of a part, from what the witnesses say of it; `None` when neither says anything.

        >>> Fused().probability(0.8, None), Fused().probability(0.8, 0.2)
        (0.8, 0.5)
        """
        known = [
            weight * log_odds(p)
            for weight, p in ((self.box_weight, boxes), (self.answer_weight, answers))
            if p is not None
        ]
        if not known:
            return None
        return round(1 / (1 + math.exp(-(self.bias + sum(known)))), 12)

    def _disputed(self, boxes: float | None, answers: float | None) -> bool:
        if boxes is None or answers is None:
            return False
        low, high = sorted((boxes, answers))
        return low < 1 - self.sure and high > self.sure

    def _weighed(
        self, parts: Sequence[Part], boxes: Mapping[int, float], answers: Mapping[int, float]
    ) -> dict[str, Any]:
        known: list[tuple[float, str]] = []
        disputed: list[str] = []
        open_: list[str] = []
        distances: list[float] = []
        unseen: set[int] = set()
        for number, part in enumerate(parts):
            if unseen & set(part.objects):
                continue  # what is not there has no colour and no place
            pair = boxes.get(number), answers.get(number)
            p = self.probability(*pair)
            if p is None:
                open_.append(part.words)
                continue
            if pair[0] is not None and pair[1] is not None:
                distances.append(abs(pair[0] - pair[1]))
            said = f"{part.words}: {p:.2f} (boxes {_shown(pair[0])}, judge {_shown(pair[1])})"
            if self._disputed(*pair):
                disputed.append(said)
            else:
                known.append((p, said))
            if part.kind == "exists" and p <= HALF:
                unseen |= set(part.objects)
        value, weakest = min(known, default=(None, ""))
        wrong = value is not None and value <= HALF
        ambiguous = bool(disputed) and not wrong
        reason = "; ".join(disputed) if ambiguous else weakest or "neither witness says anything"
        return {
            "value": value,
            "correct": None if ambiguous or value is None else value > HALF,
            "margin": None if value is None else value - HALF,
            "reason": f"boxes and judge disagree on {reason}" if ambiguous else reason,
            "components": [
                {"name": name, "value": part}
                for name, part in {
                    "boxes": min(boxes.values(), default=None),
                    "answers": min(answers.values(), default=None),
                    "agreement": 1 - sum(distances) / len(distances) if distances else None,
                    "clauses": float(len(parts)),
                    "disputed": float(len(disputed)),
                }.items()
            ],
            "unjudged": open_,
        }


def log_odds(p: float) -> float:
    """Of a probability, held `LEAST` from 0 and 1."""
    p = min(max(p, LEAST), 1 - LEAST)
    return math.log(p / (1 - p))


def answer_evidence(prompts: pl.DataFrame, answers: pl.DataFrame) -> Evidence:
    """What a judge says of every part: the mean over the questions that ask for it."""
    shares = shares_right(answers)
    right: dict[tuple[str, int], dict[str, float]] = {}
    for prompt_id, sample, question_id, p in (
        shares.drop_nulls("right").select(*KEY, "question_id", "right").iter_rows()
    ):
        right.setdefault((prompt_id, sample), {})[question_id] = p
    scenes = {p.id: parts_of(p.scene or SceneSpec()) for p in table_to_prompts(prompts)}
    found: dict[tuple[str, int], dict[int, float]] = {}
    for key, said in right.items():
        for number, part in enumerate(scenes[key[0]]):
            known = [said[q.id] for q in part.questions if q.id in said]
            if known:
                found.setdefault(key, {})[number] = sum(known) / len(known)
    return found


def box_evidence(
    prompts: pl.DataFrame, detections: pl.DataFrame, rules: Spatial | None = None
) -> Evidence:
    """What boxes say of every part: `spatial`, asked for that part alone."""
    asked, kinds, rows = [], {}, []
    for prompt in table_to_prompts(prompts):
        for number, kind, scene in _alone(prompt):
            name = f"{prompt.id}\x1f{number}"
            asked.append(Prompt(name, prompt.text, scene=scene))
            kinds[name] = (prompt.id, number, kind)
            rows.append({"prompt_id": prompt.id, "part": name})
    if not asked:
        return {}
    parts = pl.DataFrame(rows, schema={"prompt_id": pl.String, "part": pl.String})
    images = detections.join(parts, on="prompt_id").with_columns(prompt_id=pl.col("part"))
    rules = rules or Spatial()
    verdicts = rules.judge(prompts_to_table(asked), images.select(list(DETECTIONS)))
    found: dict[tuple[str, int], dict[int, float]] = {}
    for name, sample, components in (
        verdicts.filter(pl.col("status") == SCORED)
        .select("prompt_id", "sample", "components")
        .iter_rows()
    ):
        prompt_id, number, kind = kinds[name]
        value = next((c["value"] for c in components or () if c["name"] == kind), None)
        if value is not None:
            found.setdefault((prompt_id, sample), {})[number] = value
    return found


def _alone(prompt: Prompt) -> Iterator[tuple[int, str, SceneSpec]]:
    """Number, component of `spatial` and scene of every part that boxes may decide."""
    scene = prompt.scene or SceneSpec()
    for number, part in enumerate(parts_of(scene)):
        kind = KINDS[part.kind]
        if part.relation is not None:
            ends = dict.fromkeys(part.relation.indices)
            place = {index: k for k, index in enumerate(ends)}
            moved = replace(
                part.relation,
                subject=place[part.relation.subject],
                object=place[part.relation.object],
                second=None if part.relation.second is None else place[part.relation.second],
            )
            yield number, kind, SceneSpec(tuple(scene.objects[k] for k in ends), (moved,))
        elif not part.objects:  # what must not be there
            absent = ObjectSpec(part.words.removeprefix("no "), 0)
            yield number, "objects", SceneSpec((absent,))
        else:
            spec = scene.objects[part.objects[0]]
            alone = ObjectSpec(spec.name)
            if part.kind == "count":
                alone = replace(alone, count=spec.count, count_rule=spec.count_rule)
            elif part.kind == "color":
                alone = replace(alone, color=spec.color)
            yield number, kind, SceneSpec((alone,))


def fit_weights(
    boxes: Sequence[float], answers: Sequence[float], truth: Sequence[bool], ridge: float = 1.0
) -> dict[str, float]:
    """Settings of `fused` from parts of which people said whether they hold.

    Logistic regression on the log-odds of both witnesses, drawn by `ridge` to the defaults; weights
    are not negative.

    Args:
        boxes, answers: probabilities of the same parts by each witness.
        truth: what people say.
        ridge: how strongly the defaults are kept; as many labels as this hardly move them.

    Raises:
        InputError: lengths differ, or there are no labels.
    """
    if not len(truth) or not len(boxes) == len(answers) == len(truth):
        raise InputError(f"{len(truth)} labels of {len(boxes)} and {len(answers)} probabilities")
    x = np.array([[log_odds(b), log_odds(a), 1.0] for b, a in zip(boxes, answers, strict=True)])
    y = np.asarray(truth, dtype=np.float64)
    prior = np.array([1.0, 1.0, 0.0])
    weights = prior.copy()
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        slope = x.T @ (y - p) - ridge * (weights - prior)
        curvature = (x * (p * (1 - p))[:, None]).T @ x + ridge * np.eye(3)
        step = np.linalg.solve(curvature, slope)
        weights = weights + step / max(1.0, float(np.abs(step).max()))
        weights[:2] = np.maximum(weights[:2], 0.0)
        if np.abs(step).max() < 1e-9:
            break
    return dict(zip(("box_weight", "answer_weight", "bias"), map(float, weights), strict=True))


def _shown(p: float | None) -> str:
    return "cannot tell" if p is None else f"{p:.2f}"
