"""Accuracy and speed of the prompt parser on benchmark files, both halves of each file apart.

    python benchmarks/parsing.py DIR

DIR holds `geneval_evaluation_metadata.jsonl` and `t2i_compbench/*.txt` as the peers publish them
(`t2i-spatial prompts fetch --help` says where). Even lines were read while the parser was written,
odd lines were not. SR2D is built in and needs no file.

Where `DIR/../golden/parser_cases.jsonl` exists (or `--labelled FILE`), a second table compares the
scenes with hand-labelled ones, by source and by length.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from golden_scenes import rates, score

from t2i_spatial.prompts import sr2d
from t2i_spatial.prompts.inflection import plural
from t2i_spatial.prompts.parser import parse_prompt
from t2i_spatial.prompts.parser.function_words import NUMBERS
from t2i_spatial.prompts.readers.geneval_metadata import geneval_scene
from t2i_spatial.scene import RELATION_ALIASES, RELATIONS, SceneSpec, canonical_relation

Check = Callable[[SceneSpec], str | None]
Case = tuple[str, Check]
KINDS = ("objects", "relations")

_PHRASES = "|".join(sorted([*RELATIONS, *RELATION_ALIASES], key=len, reverse=True))
_TEMPLATE = re.compile(rf"(?:an?|the) (.+?) (?:(?:is|are|was|were) )?({_PHRASES}) (?:an?|the) (.+)")


def meaning(scene: SceneSpec) -> tuple[Counter[object], Counter[object]]:
    objects = Counter((o.name, o.count, o.color) for o in scene.objects)
    names = [o.name for o in scene.objects]
    relations = Counter((names[r.subject], r.relation, names[r.object]) for r in scene.relations)
    return Counter(objects), Counter(relations)


def same_as(truth: SceneSpec) -> Check:
    def check(scene: SceneSpec) -> str | None:
        if scene.unparsed:
            return "not fully read"
        for what, want, got in zip(
            ("objects", "relations"), meaning(truth), meaning(scene), strict=True
        ):
            if want != got:
                return f"other {what}"
        return None

    return check


def template(text: str) -> Check:
    """Relation and both nouns of a two-object sentence, by what stands around the phrase."""
    match = _TEMPLATE.fullmatch(text.lower().rstrip("."))
    assert match, text
    first, phrase, second = match.groups()

    def check(scene: SceneSpec) -> str | None:
        if len(scene.objects) != 2:
            return f"{len(scene.objects)} objects instead of 2"
        for noun, spec in zip((first, second), scene.objects, strict=True):
            want = noun.split(" of ")[0]  # "a glass of water" is a glass
            if not (want.endswith(spec.name) or want.endswith(plural(spec.name))):
                return "other noun"
        if len(scene.relations) != 1:
            return f"{len(scene.relations)} relations instead of 1"
        relation = scene.relations[0]
        if (relation.subject, relation.object) != (0, 1):
            return "relation between other objects"
        if relation.relation != canonical_relation(phrase):
            return "other relation"
        return "not fully read" if scene.unparsed else None

    return check


def numeracy(known: dict[str, str]) -> Callable[[str], Check]:
    """Every number word (or "a") with its noun, and no other noun of the benchmark's list."""
    numbers = NUMBERS | dict.fromkeys(("a", "an", "the"), 1)

    def of(text: str) -> Check:
        words = re.findall(r"[a-z]+", text.lower())
        want = Counter(
            (known[noun], numbers[number])
            for number, noun in itertools.pairwise(words)
            if number in numbers and noun in known
        )

        def check(scene: SceneSpec) -> str | None:
            got = Counter((o.name, o.count) for o in scene.objects)
            if missing := want - got:
                return f"missing or other count: {next(iter(missing))}"
            extra = [name for name, _ in got - want if name in known.values()]
            return f"extra object: {extra[0]}" if extra else None

        return check

    return of


def cases(directory: Path) -> Iterator[tuple[str, list[Case]]]:
    records = [
        json.loads(line)
        for line in (directory / "geneval_evaluation_metadata.jsonl").read_text().splitlines()
    ]
    yield "geneval", [(r["prompt"], same_as(geneval_scene({**r, "exclude": []}))) for r in records]
    folder = directory / "t2i_compbench"
    pairs = [
        line.split(" - ") for line in (folder / "new_objects.txt").read_text().splitlines() if line
    ]
    known = {form: pair[0] for pair in pairs for form in pair}
    for name, check in (
        ("spatial_train", template),
        ("3d_spatial_train", template),
        ("numeracy_train", numeracy(known)),
        ("complex_train_spatial", template),
    ):
        lines = (folder / f"{name}.txt").read_text().splitlines()
        yield name, [(line, check(line)) for line in lines if line.strip()]
    yield "sr2d", [(p.text, same_as(p.scene)) for p in sr2d() if p.scene is not None]


def labelled(path: Path, show: int) -> None:
    """The table of hand-labelled cases."""
    cases = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]
    start = time.process_time()
    scenes = [parse_prompt(case["text"]) for case in cases]
    rate = len(cases) / (time.process_time() - start)
    scores = [score(scene, case) for scene, case in zip(scenes, cases, strict=True)]
    groups: dict[str, list[int]] = {}
    for index, case in enumerate(cases):
        groups.setdefault(case["source"], []).append(index)
    lengths = [len(case["text"].split()) for case in cases]
    groups["up to 25 words"] = [i for i, length in enumerate(lengths) if length <= 25]
    groups["more than 25 words"] = [i for i, length in enumerate(lengths) if length > 25]
    groups["even lines"] = list(range(0, len(cases), 2))
    groups["odd lines"] = list(range(1, len(cases), 2))
    groups["all"] = list(range(len(cases)))
    print(f"\n{'labelled by hand':34}{'cases':>6}{'whole':>8}{'objects':>16}{'relations':>16}")
    print(f"{'':48}{'recall/precision':>16}{'recall/precision':>16}")
    for name, indices in groups.items():
        share = rates([scores[i] for i in indices])
        pairs = [f"{share[f'{k} recall']:.3f}/{share[f'{k} precision']:.3f}" for k in KINDS]
        print(f"{name:34}{len(indices):6}{share['whole']:8.1%}{pairs[0]:>16}{pairs[1]:>16}")
    print(f"{rate:,.0f} prompts/s, {sum(lengths) * rate / len(cases):,.0f} words/s")
    for case, found in list(zip(cases, scores, strict=True))[::2]:
        if found.wrong and show:
            print(f"    {case['text']!r}: {'; '.join(found.wrong)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--show", type=int, default=0, help="failing examples shown per half")
    parser.add_argument("--labelled", type=Path, help="cases labelled by hand (JSON lines)")
    parser.add_argument("--half", choices=["read", "held out", "both"], default="both")
    arguments = parser.parse_args()
    print(f"{'file':24}{'prompts':>8}{'read half':>11}{'held out':>10}{'all':>9}{'prompts/s':>11}")
    parse_prompt("a cat on a mat")  # the first call makes the table of phrases
    for name, items in cases(arguments.directory):
        start = time.process_time()
        scenes = [parse_prompt(text) for text, _ in items]
        rate = len(items) / (time.process_time() - start)
        verdicts = [check(scene) for (_, check), scene in zip(items, scenes, strict=True)]
        right = [verdict is None for verdict in verdicts]
        shares = [sum(part) / len(part) for part in (right[::2], right[1::2], right)]
        print(
            f"{name:24}{len(items):8}{shares[0]:11.2%}{shares[1]:10.2%}{shares[2]:9.2%}{rate:11,.0f}"
        )
        for half, offset in (("read", 0), ("held out", 1)):
            if arguments.half not in (half, "both"):
                continue
            wrong = [(v, items[i][0]) for i, v in enumerate(verdicts) if v and i % 2 == offset]
            for kind, count in Counter(v for v, _ in wrong).most_common():
                print(f"    {half}: {count} x {kind}")
            for verdict, text in wrong[: arguments.show]:
                print(f"        {text!r}: {verdict}")
    path = arguments.labelled or arguments.directory.parent / "golden" / "parser_cases.jsonl"
    if path.is_file():
        labelled(path, arguments.show)


if __name__ == "__main__":
    main()
