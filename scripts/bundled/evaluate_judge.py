"""Measure the bundled judge on fresh scenes, through the class that any local judge is asked by.

`python scripts/bundled/evaluate_judge.py [--judge FOLDER] [--scenes 300]`; a scene is asked once
of every kind of question, in the wordings of `spatial_vqa`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from common import BUNDLED, SIDE
from judge_questions import OPPOSITE, Facts, scene_to_ask
from PIL import Image

from t2i_spatial.bundled.scene_captions import plural
from t2i_spatial.bundled.scenes import COLOURS, NOUNS, render
from t2i_spatial.judges import Asked, Picture, load_judge
from t2i_spatial.metrics.spatial_vqa import parts_of
from t2i_spatial.questions import NUMBER, Question
from t2i_spatial.scene import ObjectSpec, RelationSpec, SceneSpec


def asked_of(facts: Facts, k: int, rng: np.random.Generator) -> list[tuple[str, Asked]]:
    """(kind, question) pairs about picture k, the true answer as the question's `gold`."""
    counts, scene = facts.counts(k), facts.scenes[k]
    there, absent = list(counts), [n for n in NOUNS if n not in counts]
    made: list[tuple[str, Question]] = []
    for noun, gold in ((there[rng.integers(len(there))], "yes"), (rng.choice(absent), "no")):
        made += [("exists", q) for q in questions(ObjectSpec(str(noun)), gold)]
    noun = max(counts, key=lambda name: counts[name])
    made.append(
        (
            "count",
            Question(
                f"How many {plural(noun)} are in the image?",
                "count",
                gold=str(counts[noun]),
                template=NUMBER.name,
            ),
        )
    )
    tinted = [o for o in scene.objects if o.colour and counts[o.noun] == 1]
    if tinted:
        item = tinted[0]
        for colour in (item.colour, rng.choice([c for c in COLOURS if c != item.colour])):
            gold = "yes" if colour == item.colour else "no"
            made.append(("colour", Question(f"Is the {item.noun} {colour}?", gold=gold)))
    for (i, j, relation), holds in facts.holds[k].items():
        if relation not in OPPOSITE or not holds or i > j:
            continue
        pair = SceneSpec(
            (ObjectSpec(scene.objects[i].noun), ObjectSpec(scene.objects[j].noun)),
            (RelationSpec(0, relation, 1),),
        )
        made += [("choice", q) for p in parts_of(pair) if p.kind == "relation" for q in p.questions]
        for word, gold in ((relation, "yes"), (OPPOSITE[relation], "no")):
            words = f"to the {word}" if word in ("left of", "right of") else word
            names = (scene.objects[i].noun, scene.objects[j].noun)
            made.append(
                ("relation", Question(f"Is the {names[0]} {words} the {names[1]}?", gold=gold))
            )
    return [
        (kind, Asked(q, order=tuple(map(int, rng.permutation(len(q.options)))) or None))
        for kind, q in made
    ]


def questions(spec: ObjectSpec, gold: str) -> list[Question]:
    """The question after an object, as `spatial_vqa` puts it."""
    (part, *_) = parts_of(SceneSpec((spec,)))
    return [Question(part.questions[0].text, gold=gold)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--judge", type=Path, default=BUNDLED / "judge")
    parser.add_argument("--scenes", type=int, default=300)
    arguments = parser.parse_args()
    judge = load_judge(f"transformers:{arguments.judge}")
    rng = np.random.default_rng(90_000)
    scenes = [scene_to_ask(rng) for _ in range(arguments.scenes)]
    drawn = [render(scene, SIDE) for scene in scenes]
    facts = Facts(scenes, [boxes for _, boxes in drawn], SIDE)
    right: dict[str, list[bool]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for k, (pixels, _) in enumerate(drawn):
            path = Path(folder) / f"{k}.png"
            Image.fromarray(pixels).save(path)
            asked = asked_of(facts, k, rng)
            picture = Picture(str(path), path.read_bytes())
            replies = judge.ask(picture, [question for _, question in asked])
            for (kind, one), reply in zip(asked, replies, strict=True):
                right[kind].append(reply.answer == one.question.gold)
    for kind, results in right.items():
        print(f"{kind:10} {100 * np.mean(results):5.1f} % of {len(results)}")


if __name__ == "__main__":
    main()
