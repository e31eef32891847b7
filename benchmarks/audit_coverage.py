"""How often audited intervals hold the truth, what labels are worth, and what goes wrong without.

    python benchmarks/audit_coverage.py [--runs 500] [--seed 0] [--only rates few clusters ...]
    python benchmarks/audit_coverage.py --only bundled
    python benchmarks/audit_coverage.py --only spatialbench --spatialbench audit.csv

`rates` ... `naive` are simulations, 95 % intervals. `bundled` renders scenes whose truth is known,
scores them by a detector that is made to miss objects, and audits the scores by labels from the
truth. `spatialbench` takes the public audit of SpatialBench-UC (one row per image: sample_id,
method, checker_verdict, stratum_size, stratum_labelled, human_verdict).
"""

from __future__ import annotations

import argparse
import csv
import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from t2i_spatial.labels.picking import draw, probabilities
from t2i_spatial.statistics.audit import anchor, difference, interval
from t2i_spatial.statistics.intervals import quantile

IMAGES = 2000
Rng = np.random.Generator


def scored(rng: Rng, rate: float, accuracy: float, n: int = IMAGES) -> tuple[np.ndarray, ...]:
    y = (rng.random(n) < rate) * 1.0
    return y, np.where(rng.random(n) < accuracy, y, 1 - y)


def label(y: np.ndarray, at: np.ndarray) -> np.ndarray:
    known = np.full(len(y), np.nan)
    known[at] = y[at]
    return known


def repeat(runs: int, seed: int, one: Callable[[Rng], list[float]]) -> np.ndarray:
    return np.mean([one(np.random.default_rng([seed, k])) for k in range(runs)], axis=0)


def rates(runs: int, seed: int) -> None:
    print("\none score, 2,000 images; width relative to labels only, coverage")
    print(f"{'rate':>5}{'acc':>6}{'n':>5}{'width':>8}{'worth':>7}{'cover':>7}{'images':>8}"
          f"{'weight 1: width':>17}")  # fmt: skip
    for rate, accuracy, n in itertools.product((0.5, 0.8), (0.8, 0.9, 0.95), (100, 200)):

        def one(rng: Rng, rate=rate, accuracy=accuracy, n=n) -> list[float]:
            y, f = scored(rng, rate, accuracy)
            known, pi = label(y, rng.choice(IMAGES, n, replace=False)), np.full(IMAGES, n / IMAGES)
            prompts = np.arange(IMAGES)
            model = interval(anchor(known, f, pi, prompts), pi, prompts)
            found = anchor(known, f, pi, prompts)
            here = interval(found, pi, prompts, target="images")
            alone = interval(anchor(known, f, pi, prompts, weight=0), pi, prompts)
            fixed = interval(anchor(known, f, pi, prompts, weight=1), pi, prompts)
            # without the guard, which only matters where errors are few
            bare = [np.sqrt(x.error**2 - found.floor) for x in (model, alone, fixed)]
            return [
                bare[0] / bare[1],
                model.worth / n,
                model.low <= rate <= model.high,
                here.low <= y.mean() <= here.high,
                bare[2] / bare[1],
            ]

        w, worth, cover, here, fixed = repeat(runs, seed, one)
        print(f"{rate:5.2f}{accuracy:6.2f}{n:5d}{w:8.2f}{worth:6.1f}x{cover:7.3f}{here:8.3f}"
              f"{fixed:17.2f}")  # fmt: skip


def few(runs: int, seed: int) -> None:
    print("\nfew errors, rate .9: coverage of the plain interval, and with the guard")
    for accuracy, n in itertools.product((0.97, 0.99), (50, 100, 200)):

        def one(rng: Rng, accuracy=accuracy, n=n) -> list[float]:
            y, f = scored(rng, 0.9, accuracy)
            known, pi = label(y, rng.choice(IMAGES, n, replace=False)), np.full(IMAGES, n / IMAGES)
            prompts = np.arange(IMAGES)
            found = anchor(known, f, pi, prompts)
            guarded = interval(found, pi, prompts, target="images")
            plain = quantile(0.975, n - 2) * np.sqrt(max(guarded.error**2 - found.floor, 0))
            truth = y.mean()
            return [abs(found.value - truth) <= plain, guarded.low <= truth <= guarded.high]

        print(f"  accuracy {accuracy}, {n:3d} labels: {repeat(runs, seed, one).round(3)}")


def population(rng: Rng, accuracy: float, shift: float = 0.0, prompts: int = 500) -> tuple:
    """Four images per prompt; difficulty of a prompt is shared by its images."""
    effect = np.repeat(rng.normal(0.3 + shift, 1.2, prompts), 4)
    y = (rng.random(prompts * 4) < 1 / (1 + np.exp(-effect))) * 1.0
    return y, np.where(rng.random(prompts * 4) < accuracy, y, 1 - y)


def true_rate(shift: float = 0.0) -> float:
    effect = np.random.default_rng(0).normal(0.3 + shift, 1.2, 2_000_000)
    return float(np.mean(1 / (1 + np.exp(-effect))))


def clusters(runs: int, seed: int) -> None:
    print("\n500 prompts x 4 images, 200 labels, accuracy .9: width, coverage, coverage if images "
          "counted as independent")  # fmt: skip
    truth, ids = true_rate(), np.repeat(np.arange(500), 4)

    def pick(rng: Rng, how: str) -> np.ndarray:
        if how == "random images":
            return rng.choice(2000, 200, replace=False)
        if how == "one of each of 200 prompts":
            return rng.choice(500, 200, replace=False) * 4 + rng.integers(4, size=200)
        return (rng.choice(500, 50, replace=False)[:, None] * 4 + np.arange(4)).ravel()

    for how in ("random images", "one of each of 200 prompts", "all four of 50 prompts"):

        def one(rng: Rng, how=how) -> list[float]:
            y, f = population(rng, 0.9)
            known, pi = label(y, pick(rng, how)), np.full(2000, 0.1)
            found = [interval(anchor(known, f, pi, by), pi, by) for by in (ids, np.arange(2000))]
            held = [x.low <= truth <= x.high for x in found]
            return [(found[0].high - found[0].low), *held]

        print(f"  {how:28s}{repeat(runs, seed, one).round(3)}")


def paired(runs: int, seed: int) -> None:
    print("\npaired difference of two models: half-width, coverage (same images labelled; others)")
    ids = np.repeat(np.arange(500), 4)
    truth = true_rate(0.4) - true_rate()
    for accuracy, n in itertools.product((0.85, 0.95), (100, 200)):

        def one(rng: Rng, accuracy=accuracy, n=n) -> list[float]:
            pi = np.full(2000, n / 2000)
            shared = np.repeat(rng.normal(0.3, 1.2, 500), 4)
            found = []
            strata = np.zeros(2000, dtype=np.int64)
            first = draw(pi, strata, ids, int(rng.integers(2**32)))
            for same in (True, False):
                anchors = []
                for k, shift in enumerate((0.0, 0.4)):
                    y = (rng.random(2000) < 1 / (1 + np.exp(-shared - shift))) * 1.0
                    f = np.where(rng.random(2000) < accuracy, y, 1 - y)
                    other = draw(pi, strata, ids, int(rng.integers(2**32)))
                    at = first if same or k == 0 else other
                    anchors.append(anchor(label(y, at), f, pi, ids))
                x = difference(anchors[0], ids, anchors[1], ids)
                found += [(x.high - x.low) / 2, x.low <= truth <= x.high]
            return found

        print(f"  accuracy {accuracy}, {n} labels each: {repeat(runs, seed, one).round(3)}")


def pickers(runs: int, seed: int) -> None:
    print("\npickers, 100 labels, scores that know how sure they are: half-width, coverage")
    for picker in ("uniform", "stratified", "active"):

        def one(rng: Rng, picker=picker) -> list[float]:
            p = rng.beta(0.4, 0.4, IMAGES)
            y = (rng.random(IMAGES) < p) * 1.0
            prompts = np.arange(IMAGES)
            pi, strata = probabilities(picker, 100, p, IMAGES)
            known = label(y, draw(pi, strata, prompts, int(rng.integers(2**32))))
            x = interval(anchor(known, p, pi, prompts), pi, prompts, target="images")
            return [(x.high - x.low) / 2, x.low <= y.mean() <= x.high]

        print(f"  {picker:12s}{repeat(runs, seed, one).round(3)}")


def naive(runs: int, seed: int) -> None:
    print("\nactively picked labels, true rate about .8: bias and coverage, plain mean; audited")
    for n in (100, 300):

        def one(rng: Rng, n=n) -> list[float]:
            p = rng.beta(2.0, 0.5, IMAGES)
            y = (rng.random(IMAGES) < p) * 1.0
            prompts, truth = np.arange(IMAGES), y.mean()
            pi, strata = probabilities("active", n, p, IMAGES)
            at = draw(pi, strata, prompts, int(rng.integers(2**32)))
            mean = y[at].mean()
            half = 1.96 * np.sqrt(mean * (1 - mean) / n)
            x = interval(anchor(label(y, at), p, pi, prompts), pi, prompts, target="images")
            return [mean - truth, abs(mean - truth) <= half, x.value - truth,
                    x.low <= truth <= x.high]  # fmt: skip

        print(f"  {n} labels: {repeat(runs, seed, one).round(3)}")


def spatialbench(path: Path) -> None:
    print("\nSpatialBench-UC: checker, plain mean of labels, labels weighted, audited (per cent)")
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for method in sorted({row["method"] for row in rows}):
        part = [row for row in rows if row["method"] == method]
        f = np.array([row["checker_verdict"] == "PASS" for row in part]) * 1.0
        y = np.array([np.nan if not row["human_verdict"] else row["human_verdict"] == "PASS"
                      for row in part], dtype=float)  # fmt: skip
        pi = np.array([int(row["stratum_labelled"]) / int(row["stratum_size"]) for row in part])
        prompts = np.array([row["sample_id"].rpartition("_")[0] for row in part])
        found = [interval(anchor(y, f, pi, prompts, **way), pi, prompts)
                 for way in ({"weight": 0}, {})]  # fmt: skip
        said = "  ".join(f"{100 * x.value:5.1f} ± {50 * (x.high - x.low):4.1f}" for x in found)
        bare = anchor(y, f, pi, prompts)
        plain = quantile(0.975, bare.n - 2) * np.sqrt(found[1].error ** 2 - bare.floor)
        print(f"  {method:18s}{100 * f.mean():6.1f}{100 * np.nanmean(y):7.1f}   {said}"
              f"   {found[1].n} labels (± {100 * plain:.1f} without the guard)")  # fmt: skip


def bundled(picks: int, seed: int) -> None:
    """The whole way: pictures, a detector, scores, picks, a label file, audited numbers."""
    from PIL import Image

    from t2i_spatial.bundled.scenes import Scene, render, sample_scene
    from t2i_spatial.labels import Label, append_label, questions_for
    from t2i_spatial.metrics import PROTOCOLS
    from t2i_spatial.run import Run
    from t2i_spatial.scene import ObjectSpec, Prompt, RelationSpec, SceneSpec
    from t2i_spatial.stages.auditing.audit import audit_run
    from t2i_spatial.stages.auditing.pick import pick_run
    from t2i_spatial.stages.auditing.settings import AuditSettings, PickSettings
    from t2i_spatial.stages.detect import detect_run
    from t2i_spatial.stages.import_images import import_images
    from t2i_spatial.stages.score import import_detections, score_run
    from t2i_spatial.stages.stage_settings import DetectSettings

    rng = np.random.default_rng(seed)
    nouns = ("cat", "dog", "car", "bus", "apple", "banana")
    turned = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
    print("\nrendered scenes, bundled detector that misses small things, 100 labels, these images")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "images"
        folder.mkdir()
        prompts, truth = [], {}
        for k in range(100):
            a, b = rng.choice(nouns, 2, replace=False)
            asked = str(rng.choice(list(turned)))
            scene = SceneSpec(
                (ObjectSpec(str(a)), ObjectSpec(str(b))), (RelationSpec(0, asked, 1),)
            )
            prompts.append(Prompt(f"p{k:03d}", f"a {a} {asked} a {b}", asked, scene))
            ease = rng.beta(3, 2)
            for sample in range(4):
                holds, both = bool(rng.random() < ease), bool(rng.random() < 0.93)
                drawn = sample_scene(
                    rng,
                    nouns=(str(a), str(b)),
                    relation=(asked if holds else turned[asked]).removesuffix(" of"),
                )
                shown = drawn if both else Scene(drawn.objects[:1], drawn.background)
                Image.fromarray(render(shown)[0]).save(folder / f"p{k:03d}_{sample}.png")
                truth[f"p{k:03d}", sample] = (both, holds)
        rate = float(np.mean([both and holds for both, holds in truth.values()]))
        print(f"{'misses':>14}{'true':>7}{'visor':>8}{'audited':>9}{'95 %':>16}{'worth':>7}"
              f"{'held':>6} of {picks} picks")  # fmt: skip
        seen = Run.create(Path(place) / "seen")
        import_images(seen, folder, prompts)
        detect_run(seen, DetectSettings(detector="bundled"))
        for smallest in (0, 16, 18):
            output = Path(place) / f"run-{smallest}"
            run, held, first = Run.create(output), 0, None
            boxes = pl.col("detections").list.eval(
                pl.element().filter(_side(pl.element()) >= smallest)
            )
            import_detections(
                run, seen.prompts(), seen.detections().with_columns(boxes), "degraded"
            )
            score_run(run, [PROTOCOLS["visor"]()])
            by_id = {p.id: p for p in prompts}
            for turn in range(picks):
                for file in (output / "labels").glob("*"):
                    file.unlink()
                chosen = pick_run(run, PickSettings(number=100, seed=turn))
                labels = []
                for row in chosen.iter_rows(named=True):
                    both, holds = truth[row["prompt_id"], row["sample"]]
                    for number, asked_of in enumerate(questions_for(by_id[row["prompt_id"]])):
                        says = {0: True, 1: both, 2: both and holds}[number]
                        kept = ("image", "image_sha256", "prompt_id", "sample", "picker", "pi")
                        labels.append(Label(
                            **{key: row[key] for key in kept},
                            question_id=asked_of.question.id, annotator="renderer",
                            label="yes" if says else "no", batch=1, seed=turn,
                        ))  # fmt: skip
                append_label(output / "labels" / "renderer.jsonl", *labels)
                report = audit_run(run, AuditSettings(target="images"), save=False)
                entry = report.protocols["visor"]["numbers"]["VISOR_uncond"]
                first = first or entry
                held += entry["low"] <= rate <= entry["high"]
            bounds = f"[{100 * first['low']:.1f}, {100 * first['high']:.1f}]"
            print(f"{f'under {smallest} px':>14}{100 * rate:7.1f}{100 * first['automatic']:8.1f}"
                  f"{100 * first['value']:9.1f}{bounds:>16}{first['worth']:7.0f}"
                  f"{held:6d}")  # fmt: skip


def _side(box: pl.Expr) -> pl.Expr:
    """Shorter side of a box."""
    x1, y1, x2, y2 = (box.struct.field("box").list.get(k) for k in range(4))
    return pl.min_horizontal(x2 - x1, y2 - y1)


def main() -> None:
    parts = {f.__name__: f for f in (rates, few, clusters, paired, pickers, naive)}
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--picks", type=int, default=20, help="Of `bundled`.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--spatialbench", type=Path)
    parser.add_argument("--only", nargs="+", choices=[*parts, "bundled", "spatialbench"])
    args = parser.parse_args()
    begun = time.perf_counter()
    for name in args.only or parts:
        if name in parts:
            parts[name](args.runs, args.seed)
    if args.spatialbench:
        spatialbench(args.spatialbench)
    if "bundled" in (args.only or ()):
        bundled(args.picks, args.seed)
    print(f"\n{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
