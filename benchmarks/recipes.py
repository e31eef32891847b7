"""What one round of fine-tuning gains, by what it is trained on, at equal optimiser steps.

    python benchmarks/recipes.py -o recipes                 # all, one after the other
    python benchmarks/recipes.py -o recipes own-correct     # some
    python benchmarks/recipes.py -o recipes --table         # what is there, as Markdown

Every recipe starts from the bundled generator and answers the same held-out prompts (pairs of
objects that nobody was trained on) with the same seeds. Candidates are made once and shared.
Processes may share the folder if the candidates exist already.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from t2i_spatial.files import write_json
from t2i_spatial.run import Run
from t2i_spatial.stages.curate import CurateSettings, curate_run
from t2i_spatial.stages.demo import improve_settings
from t2i_spatial.stages.finetune import finetune_folder
from t2i_spatial.stages.improve import (
    Evaluation,
    ImproveSettings,
    changes,
    evaluate,
    join_sets,
    plan_questions,
    scored_run,
)
from t2i_spatial.stages.rendered import rendered_set

EVERYTHING = CurateSettings(pipeline=("scored",))
CORRECT = CurateSettings()
BALANCED = CurateSettings(filters=({"filter": "balance", "over": ["relation"]},))
BEST_OF_4 = CurateSettings(pipeline=("scored", "best_of"))


@dataclass(frozen=True)
class Recipe:
    """What to train on, and how."""

    data: Callable[[Pool], Path]
    says: str
    tuned: dict[str, Any] = field(default_factory=dict)


class Pool:
    """Training sets, each made once in a folder of its own."""

    def __init__(self, folder: Path, settings: ImproveSettings) -> None:
        self.folder, self.settings = folder, settings
        self.train, self.questions = plan_questions(settings)

    def candidates(self, samples: int = 4, guidance: float | None = None) -> Run:
        """Images of the training prompts by the untrained model, scored."""
        name = f"candidates-{samples}" + (f"-guidance-{guidance}" if guidance else "")
        made = self.settings.generate.model_copy(
            update={"samples": samples, "seed": 1000, "guidance_scale": guidance}
        )
        return scored_run(self.folder / name, self.train, made, self.settings)

    def curated(self, curate: CurateSettings, name: str, **made: Any) -> Path:
        """The candidates that `curate` keeps, as an imagefolder."""
        place = self.folder / f"set-{name}"
        if not place.exists():
            run = self.candidates(**made)
            curate_run(run, curate)
            (run.path / "curated").rename(place)
        return place

    def random(self) -> Path:
        """As many candidates as are correct, whatever they show."""
        place = self.folder / "set-random"
        if not place.exists():
            everything = self.curated(EVERYTHING, "everything")
            count = len(_lines(self.curated(CORRECT, "correct")))
            join_sets([everything], place)
            chosen = random.Random(0).sample(_lines(place), count)
            (place / "train" / "metadata.jsonl").write_text("\n".join(chosen) + "\n", "utf-8")
        return place

    def rendered(self) -> Path:
        """Rendered scenes that SCOP keeps, with captions from their boxes."""
        place = self.folder / "set-rendered"
        if not place.exists():
            pairs = sorted({tuple(p.scene.names) for p in self.train if p.scene})
            rendered_set(place, [(p[0], p[1]) for p in pairs], self.settings.rendered, seed=1)
        return place / "curated"

    def mixture(self) -> Path:
        """Own correct images and rendered scenes together."""
        place = self.folder / "set-mixture"
        if not place.exists():
            join_sets([self.curated(CORRECT, "correct"), self.rendered()], place)
        return place


def _lines(folder: Path) -> list[str]:
    return (folder / "train" / "metadata.jsonl").read_text("utf-8").splitlines()


SLOW = {"learning_rate": 5e-4}
CORRECT_SET = partial(Pool.curated, curate=CORRECT, name="correct")
RECIPES: dict[str, Recipe] = {
    "own-random": Recipe(Pool.random, "own images, random"),
    "own-correct": Recipe(CORRECT_SET, "own, correct and clear"),
    "own-balanced": Recipe(
        partial(Pool.curated, curate=BALANCED, name="balanced"), "own, correct, relations balanced"
    ),
    "own-best": Recipe(
        partial(Pool.curated, curate=BEST_OF_4, name="best"), "own, best of 4 per prompt"
    ),
    "own-3x": Recipe(
        partial(Pool.curated, curate=CORRECT, name="correct-3x", samples=12),
        "own, correct, 3x candidates",
    ),
    "own-low-guidance": Recipe(
        partial(Pool.curated, curate=CORRECT, name="correct-low", guidance=1.5),
        "own, correct, candidates at guidance 1.5",
    ),
    "rendered": Recipe(Pool.rendered, "rendered, SCOP"),
    "mixture": Recipe(Pool.mixture, "own correct + rendered"),
    "own-correct-tenor": Recipe(CORRECT_SET, "own, correct; TENOR", {"tenor": True}),
    "rendered-tenor": Recipe(Pool.rendered, "rendered, SCOP; TENOR", {"tenor": True}),
    "own-correct-slow": Recipe(CORRECT_SET, "own, correct; rate 5e-4", SLOW),
    "rendered-slow": Recipe(Pool.rendered, "rendered, SCOP; rate 5e-4", SLOW),
    "own-random-again": Recipe(Pool.random, "own images, random; again", {"seed": 1}),
    "own-correct-again": Recipe(CORRECT_SET, "own, correct and clear; again", {"seed": 1}),
    "rendered-again": Recipe(Pool.rendered, "rendered, SCOP; again", {"seed": 1}),
}
"""`again` is another seed of the training: how much of a difference is chance."""


def measure(name: str, pool: Pool, before: Evaluation) -> dict[str, Any]:
    """Train one recipe and compare it with the base model; done ones are read back."""
    folder = pool.folder / "recipes" / name
    result = folder / "result.json"
    if result.exists():
        return dict(json.loads(result.read_text("utf-8")))
    recipe = RECIPES[name]
    data = recipe.data(pool)
    begun = time.monotonic()
    tuned = pool.settings.finetune.model_copy(update=recipe.tuned)
    finetune_folder(data, folder / "lora", tuned, resume=(folder / "lora").exists())
    trained = time.monotonic() - begun
    after = evaluate(folder / "after", pool.questions, pool.settings, folder / "lora")
    found = {"images": len(_lines(data)), "train_s": trained, **changes(before, after)}
    write_json(result, found)
    return found


def table(results: dict[str, dict[str, Any]]) -> str:
    """All results as Markdown; differences with 95 % intervals, in points."""
    lines = [
        "| trained on | images | VISOR_uncond | VISOR_cond | OA | in other words | sharpness |"
        " diversity | single objects |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, entry in results.items():
        cells = [f"{RECIPES[name].says} | {entry['images']:,}"]
        for number in ("VISOR_uncond", "VISOR_cond", "OA"):
            cells.append(_change(entry["numbers"][number]))
        cells.append(_change(entry["rephrased"]["VISOR_uncond"]))
        for key in ("sharpness", "diversity", "single_object_accuracy"):
            drift = entry["drift"][key]
            cells.append(f"{100 * (drift['after'] - drift['before']):+.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _change(d: dict[str, Any]) -> str:
    value, low, high = (100 * d[key] for key in ("difference", "low", "high"))
    return f"{100 * d['after']:.1f} ({value:+.1f} [{low:+.1f}, {high:+.1f}])"


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("recipes"))
    parser.add_argument("names", nargs="*", metavar="RECIPE", help=", ".join(RECIPES))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--prompts", type=int, default=100, help="held-out ones, 4 images each")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    options = parser.parse_args()
    if unknown := set(options.names) - set(RECIPES):
        parser.error(f"unknown recipes {sorted(unknown)}; known: {', '.join(RECIPES)}")
    names = options.names or list(RECIPES)
    if not options.table:
        settings = improve_settings(steps=options.steps, eval_prompts=options.prompts)
        pool = Pool(options.output, settings)
        before = evaluate(options.output / "before", pool.questions, settings, None)
        for name in names:
            measure(name, pool, before)
    done = options.output / "recipes"
    results = {
        name: json.loads((done / name / "result.json").read_text("utf-8"))
        for name in RECIPES
        if (done / name / "result.json").exists()
    }
    print(table(results))


if __name__ == "__main__":
    main()
