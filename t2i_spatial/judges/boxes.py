"""Answers from the boxes of a run: no model, no network, the same answer every time.

    t2i-spatial ask run --judge boxes            # detections/main.parquet; boxes:NAME for others

A question is read as a statement by the parser and judged by the rules of `spatial`. What the
parser does not read, what no rule decides and what the detector was never asked for it cannot
tell: such questions are refused, with the reason. A second opinion on every model that answers.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.judges import JUDGES
from t2i_spatial.judges.base import Asked, Judge, JudgeSpec, Picture, Reply
from t2i_spatial.judges.replies import HALF, Probabilities
from t2i_spatial.metrics.spatial import Spatial
from t2i_spatial.prompts import parse_prompt
from t2i_spatial.questions import ANSWERED, LETTERS, NUMBERS, REFUSED, Question
from t2i_spatial.run import Run, detect_stage
from t2i_spatial.scene import Prompt, SceneSpec
from t2i_spatial.tables import DETECTIONS, KEY, SCORED, prompts_to_table, table_to_prompts

PLACE = r"(?: in (?:the|this) (?:image|picture|photo|figure))?"
THERE = re.compile(rf"(?:is|are) there (.+?){PLACE}\s*\?", re.IGNORECASE)
HOLDS = re.compile(rf"(is|are) (.+?){PLACE}\s*\?", re.IGNORECASE)
SHOWS = re.compile(
    r"(?:does|do) (?:the|this) (?:image|picture|photo|figure) show [\"“](.+)[\"”]", re.IGNORECASE
)
HOW_MANY = re.compile(rf"how many (.+?)(?: are(?: there)?)?{PLACE}\s*\?", re.IGNORECASE)
WHICH = re.compile(r"\bwhich\b.*\b(true|correct|right|describes|shows|matches)\b", re.IGNORECASE)


class CannotTellError(Exception):
    """Why boxes do not answer a question."""


@JUDGES.register("boxes")
class BoxesJudge(Judge):
    """Reads questions and looks at the stored boxes of the run that it is asked about.

    Raises:
        InputError: no run is given, or it has no boxes of that name.
    """

    needs_pixels: ClassVar[bool] = False
    samples: ClassVar[bool] = False

    def __init__(self, spec: JudgeSpec, device: str = "cpu") -> None:
        super().__init__(spec, device)
        if "run" not in spec.options:
            raise InputError("the judge 'boxes' answers from boxes of a run; there is none here")
        run = Run.open(spec.options["run"])
        name = spec.source or "main"
        table = run.detections(name)
        vocabulary = run.plan(detect_stage(name)).get("vocabulary") or None
        self._rows = {key: k for k, key in enumerate(table.select(*KEY).iter_rows())}
        self._table = table
        self._names: dict[str, frozenset[str]] = {
            prompt.id: frozenset(vocabulary or (prompt.scene.names if prompt.scene else ()))
            for prompt in table_to_prompts(run.prompts())
        }
        path = run.path / "detections" / f"{name}.parquet"
        self._hash = hashlib.sha256(path.read_bytes()).hexdigest()
        self.gives_probabilities = True

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """`run`, which the ask stage fills in."""
        for name in options:
            if name != "run":
                raise InputError(f"the judge 'boxes' has no option {name!r}")
        return dict(options)

    def plan(self) -> dict[str, Any]:
        """The boxes by their content, wherever the run lies."""
        return {**super().plan(), "options": {}, "weights": self._hash}

    def ask(self, picture: Picture, asked: Sequence[Asked]) -> list[Reply]:
        """See `Judge.ask`."""
        return self.collect([(picture, asked)])[0]

    def collect(self, started: Any) -> list[list[Reply]]:
        """All questions of a batch at once."""
        begun = time.monotonic()
        made: list[list[Reply | list[int]]] = []
        prompts: list[Prompt] = []
        rows: list[pl.DataFrame] = []
        for picture, asked in started:
            made.append([])
            for one in asked:
                try:
                    scenes = self._scenes(picture, one.question)
                except CannotTellError as error:
                    made[-1].append(Reply.failed(f"boxes cannot tell: {error}", status=REFUSED))
                    continue
                except LookupError as error:
                    made[-1].append(Reply.failed(str(error.args[0])))
                    continue
                made[-1].append(list(range(len(prompts), len(prompts) + len(scenes))))
                row = self._table[self._rows[picture.key]]
                for scene in scenes:
                    prompts.append(Prompt(f"q{len(prompts)}", "", scene=scene))
                    rows.append(row.with_columns(pl.lit(prompts[-1].id).alias("prompt_id")))
        verdicts: list[dict[str, Any]] = []
        if prompts:
            table = pl.concat(rows).select(list(DETECTIONS))
            verdicts = Spatial().judge(prompts_to_table(prompts), table).to_dicts()
        seconds = (time.monotonic() - begun) / max(1, sum(map(len, made)))
        return [
            [
                entry
                if isinstance(entry, Reply)
                else _reply(one.question, [verdicts[k] for k in entry], seconds)
                for one, entry in zip(asked, entries, strict=True)
            ]
            for (_, asked), entries in zip(started, made, strict=True)
        ]

    def _scenes(self, picture: Picture, question: Question) -> list[SceneSpec]:
        if picture.key not in self._rows:
            raise LookupError("the image has no row in the table of boxes")
        row = self._table.row(self._rows[picture.key], named=True)
        if row["status"] != SCORED:
            raise LookupError(row["reason"] or f"the image has no boxes: {row['status']}")
        return scenes_of(question, self._names.get(picture.key[0], frozenset()))


def scenes_of(question: Question, names: frozenset[str]) -> list[SceneSpec]:
    """What must be in the picture for each possible answer: yes; every option; at least 1, 2, 3 …

    Args:
        names: what the detector was asked for.

    Raises:
        CannotTellError: the question cannot be read, or is about something else.

    >>> [scene] = scenes_of(Question("Is the cat left of the dog?"), frozenset(("cat", "dog")))
    >>> scene.relations[0].relation
    'left of'
    """
    text = question.text.strip()
    if question.kind == "yes/no":
        return [_scene(list(_statements(text)), names)]
    if question.kind == "choice":
        if not WHICH.search(text):
            raise CannotTellError(f"{text!r} is no choice between statements")
        return [_scene([option], names) for option in question.options]
    if question.kind == "count" and (match := HOW_MANY.match(text)):
        scene = _scene([match[1]], names)
        if len(scene.objects) == 1 and not scene.relations:
            return [
                SceneSpec((dataclasses.replace(scene.objects[0], count=k, count_rule="at least"),))
                for k in range(1, len(NUMBERS))
            ]
    raise CannotTellError(f"{text!r} is not about objects, numbers, colours or places")


def _statements(text: str) -> Iterator[str]:
    """Ways to turn a yes/no question into a statement."""
    if match := SHOWS.match(text) or THERE.match(text):
        yield match[1]
    elif match := HOLDS.match(text):
        verb, words = match[1].lower(), match[2].split()
        # where the subject ends is for the parser to find out
        for k in range(2, len(words)):
            yield " ".join([*words[:k], verb, *words[k:]])


def _scene(statements: Sequence[str], names: frozenset[str]) -> SceneSpec:
    problem = "the question is of a form that is not read"
    for statement in statements:
        scene = parse_prompt(statement)
        unknown = [spec.name for spec in scene.objects if spec.name not in names]
        if scene.unparsed or not scene.objects:
            problem = f"{statement!r} is not read"
        elif unknown:
            problem = f"the detector was not asked for {unknown[0]!r}"
        elif any(spec.attributes for spec in scene.objects):
            problem = f"no box shows whether something is {scene.objects[0].attributes[:1]}"
        else:
            return _loose(scene)
    raise CannotTellError(problem)


def _loose(scene: SceneSpec) -> SceneSpec:
    """One thing of a name is enough: "is there a cat" is true of two cats."""
    objects = tuple(
        dataclasses.replace(spec, count=1, count_rule="at least") if spec.count == 1 else spec
        for spec in scene.objects
    )
    return dataclasses.replace(scene, objects=objects)


def _reply(question: Question, verdicts: Sequence[Mapping[str, Any]], seconds: float) -> Reply:
    for verdict in verdicts:
        if verdict["unjudged"] or verdict["value"] is None:
            told = ", ".join(verdict["unjudged"] or [verdict["reason"]])
            return Reply.failed(f"boxes cannot tell: {told}", status=REFUSED)
    values = [float(verdict["value"]) for verdict in verdicts]
    if question.kind == "yes/no":
        options = {"yes": values[0], "no": 1 - values[0]}
        shown, mass = "yes", 1.0
    else:
        if question.kind == "count":  # what holds of "at least 2" and not of "at least 3" is 2
            values = [max(0.0, a - b) for a, b in pairwise([1.0, *values, 0.0])]
        named = LETTERS if question.kind == "choice" else [str(k) for k in range(len(values))]
        total = sum(values)
        if total < HALF:
            told = "; ".join(dict.fromkeys(str(verdict["reason"]) for verdict in verdicts))
            return Reply.failed(f"boxes cannot tell: no option holds ({told})", status=REFUSED)
        options = {name: value / total for name, value in zip(named, values, strict=False)}
        shown, mass = max(options, key=lambda name: options[name]), min(1.0, total)
    answer = max(options, key=lambda name: options[name])
    p = options[shown]
    found = Probabilities(answer, p, p * mass, mass, options)
    said = "; ".join(dict.fromkeys(str(verdict["reason"]) for verdict in verdicts[:2]))
    return Reply(ANSWERED, answer, found, raw=said, seconds=seconds)
