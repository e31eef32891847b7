"""Dense prompts with ten questions each, in SpatialGenEval's form: what a writer is asked, and how
its replies are checked and written.

After SpatialGenEval (arXiv 2601.20354), whose prompts cross scenes with ten sub-domains. Scenes,
wording of the request and checks are ours. Their right letters were never shuffled, so that always
answering "C" scores 46 %; here each letter is right equally often in every sub-domain.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from t2i_spatial.errors import InputError
from t2i_spatial.prompts.parser import parse_prompt
from t2i_spatial.prompts.readers.spatialgeneval import DOMAINS, read_options
from t2i_spatial.prompts.second_reading import last_object
from t2i_spatial.questions import LETTERS, Question, Template, template

SCENES: tuple[str, ...] = (
    "airport gate", "allotment garden", "bakery", "beach", "bus stop", "camp site", "coral reef",
    "construction site", "desert track", "dining table", "farmyard", "fishing harbour",
    "fun fair", "greenhouse", "hospital ward", "hotel lobby", "kitchen", "laboratory",
    "living room", "mountain pass", "museum hall", "office desk", "park pond", "playground",
    "railway platform", "river bank", "rooftop terrace", "sewing room", "space station",
    "stable", "stage of a concert", "street market", "swimming pool", "toy shop",
    "vegetable stall", "village square", "winter forest", "workshop",
)  # fmt: skip
"""Our own; others come from a file."""

ASKS: Mapping[str, str] = {
    "object": "which things are there, or how many",
    "attribute": "the colour, material, pattern or state of a thing",
    "position": "where a thing stands in the picture or to another thing",
    "orientation": "which way a thing or being faces, points or leans",
    "layout": "how three or more things are arranged together",
    "comparison": "which of several is larger, taller, longer or more numerous",
    "proximity": "which things are close together, touching or far apart",
    "occlusion": "what hides a part of what",
    "motion": "who or what moves, and how or whereto",
    "causal": "what one thing brings about in another",
}
"""Sub-domain -> what its question is about."""

VIEWS = ("eye level", "a low point of view", "from above", "close by", "from some distance")
LIGHTS = ("morning", "noon", "late afternoon", "night", "an overcast day", "artificial light")
THINGS = (4, 5, 6, 7)
SHORTEST, LONGEST = 40, 130
"""Words of a prompt; SpatialGenEval's have 46 to 97."""
CHOICES = 4
LONGEST_TEXT = 300
NONE = "None"

WRITE = template(
    Template(
        "dense_prompt/1",
        system="You write prompts for text-to-image models, and exams about the pictures, in JSON.",
        max_tokens=4096,
        temperature=1.0,
    )
)
ANSWER = template(
    Template(
        "dense_prompt_check/1",
        max_tokens=128,
        suffix="\nWrite ten lines: the n-th is the letter that answers question n, nothing else.",
    )
)


@dataclass(frozen=True)
class DenseQuestion:
    """One question with its options, the right one first."""

    domain: str
    text: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class DensePrompt:
    """A long prompt and its ten questions, one per sub-domain in the order of `DOMAINS`."""

    scene: str
    text: str
    questions: tuple[DenseQuestion, ...]


# -- what is asked --------------------------------------------------------------------------------


def dense_schema() -> dict[str, Any]:
    """The JSON Schema of a reply."""
    text = {"type": "string"}
    question = {
        "type": "object",
        "properties": {
            "type": {"enum": list(DOMAINS)},
            "question": text,
            "options": {
                "type": "array",
                "items": text,
                "minItems": CHOICES,
                "maxItems": CHOICES,
                "uniqueItems": True,
            },
            "answer": text,
        },
        "required": ["type", "question", "options", "answer"],
        "additionalProperties": False,
    }
    count = len(DOMAINS)
    return {
        "type": "object",
        "properties": {
            "prompt": text,
            "questions": {
                "type": "array",
                "items": question,
                "minItems": count,
                "maxItems": count,
            },
        },
        "required": ["prompt", "questions"],
        "additionalProperties": False,
    }


def writing_question(scene: str, number: int, seed: int, refused: str | None = None) -> Question:
    """What is asked for the n-th prompt; point of view, light and number of things vary by seed.

    Args:
        refused: why the first reply could not be used.
    """
    random = _random(seed, "idea", number)
    view, light, things = (random.choice(ways) for ways in (VIEWS, LIGHTS, THINGS))
    asked = [
        f"Write one prompt for a picture of this scene: {scene}; {light}, seen from {view}, with "
        f"{things} main things or beings.".replace("seen from from", "seen from"),
        f"It is one paragraph of 60 to 90 words ({SHORTEST} to {LONGEST} are allowed) in plain "
        "English, full of facts about where things stand, how they are turned, sized, near, hidden "
        "and moving, each said so that a picture can be right or wrong about it.",
        f"Then write {len(DOMAINS)} questions about the picture, one of each type:",
        *(f"- {domain}: {meaning}" for domain, meaning in ASKS.items()),
        f"Each question ends with a question mark and has {CHOICES} different options of a few "
        "words, of about one length. Exactly one is right, and the prompt alone says which; answer "
        "is the text of that option. No option is 'none', and no question gives away another.",
        "Answer with one JSON object of this schema, nothing else.",
        json.dumps(dense_schema(), separators=(",", ":")),
    ]
    if refused is not None:
        asked.append(f"An earlier reply of yours could not be used: {refused}. Write another one.")
    return Question("\n".join(asked), "text", template=WRITE.name)


def checking_question(prompt: DensePrompt, number: int, seed: int) -> tuple[Question, str]:
    """All ten questions to one who has the prompt and no picture, and the right letters."""
    lines, golds = [], []
    for k, question in enumerate(prompt.questions):
        order = _random(seed, "check", number, k).permutation(CHOICES).tolist()
        options = ", ".join(
            f"{LETTERS[place]}: {question.options[which]}" for place, which in enumerate(order)
        )
        lines.append(f"{k + 1}. {question.text}  Options: {options}")
        golds.append(LETTERS[order.index(0)])
    text = "\n".join(
        [f"A picture is described so: {json.dumps(prompt.text, ensure_ascii=False)}", *lines]
    )
    gold = "".join(golds)
    return Question(text, "letters", gold=gold, template=ANSWER.name, lines=len(golds)), gold


def _random(seed: int, *what: object) -> np.random.Generator:
    digest = hashlib.sha256("/".join(map(str, (seed, *what))).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def scene_order(scenes: Sequence[str], count: int, seed: int) -> list[str]:
    """Which scene each of `count` prompts is of: all equally often, in an order by seed.

    >>> sorted(scene_order(["a", "b"], 4, 0))
    ['a', 'a', 'b', 'b']
    """
    rounds = -(-count // len(scenes))
    orders = (_random(seed, "scenes", k).permutation(len(scenes)) for k in range(rounds))
    return [scenes[which] for order in orders for which in order.tolist()][:count]


# -- what comes back ------------------------------------------------------------------------------


def read_reply(reply: str, scene: str) -> DensePrompt:
    """The prompt and its questions in a reply.

    Raises:
        InputError: no JSON object, one of another form, or one that is not what was asked for.
    """
    record = last_object(reply)
    _require_keys(record, ("prompt", "questions"), "the reply")
    text = _text(record["prompt"], "prompt", 10 * LONGEST_TEXT)
    words = len(text.split())
    if not SHORTEST <= words <= LONGEST:
        raise InputError(f"the prompt has {words} words, {SHORTEST} to {LONGEST} are wanted")
    if not parse_prompt(text).objects:
        raise InputError("no thing can be read in the prompt")
    entries = record["questions"]
    if not isinstance(entries, list):
        raise InputError("questions must be a list")
    questions = [_question(entry) for entry in entries]
    domains = [question.domain for question in questions]
    if sorted(domains) != sorted(DOMAINS):
        missing = [domain for domain in DOMAINS if domain not in domains] or ["none"]
        raise InputError(
            f"{len(questions)} questions, wanted one of each of {len(DOMAINS)} types "
            f"(missing: {', '.join(missing)})"
        )
    if len({_plain(question.text) for question in questions}) < len(questions):
        raise InputError("a question is asked twice")
    questions.sort(key=lambda question: DOMAINS.index(question.domain))
    return DensePrompt(scene, text, tuple(questions))


def _question(entry: Any) -> DenseQuestion:
    _require_keys(entry, ("type", "question", "options", "answer"), "a question")
    domain = entry["type"]
    if domain not in DOMAINS:
        raise InputError(f"unknown type of question {str(domain)[:40]!r}")
    text = _text(entry["question"], f"question of {domain}")
    if not text.endswith("?") or "Options" in text:
        raise InputError(f"the question of {domain} must end with a question mark: {text[:60]!r}")
    listed = entry["options"]
    if not isinstance(listed, list) or len(listed) != CHOICES:
        raise InputError(f"the question of {domain} needs {CHOICES} options")
    options = [_text(option, f"option of {domain}").rstrip(".,; ") for option in listed]
    plain = [_plain(option) for option in options]
    if len(set(plain)) < CHOICES or not all(plain):
        raise InputError(f"two options of {domain} are the same")
    if any(option.startswith("none") for option in plain):
        raise InputError(f"an option of {domain} is 'none'")
    right = [k for k, option in enumerate(plain) if option == _plain(str(entry["answer"]))]
    if not right:
        raise InputError(f"the answer of {domain} is none of its options")
    first = options.pop(right[0])
    made = DenseQuestion(domain, text, (first, *options))
    for place in range(CHOICES):  # options such as "in C: major" would be read as two
        shown = [*options[:place], first, *options[place:]]
        if list(read_options(_written(made.text, shown))[1].values()) != [*shown, NONE]:
            raise InputError(f"the options of {domain} cannot be written in one line: {shown}")
    return made


def _require_keys(entry: Any, keys: Sequence[str], what: str) -> None:
    if not isinstance(entry, Mapping) or sorted(entry) != sorted(keys):
        raise InputError(f"{what} must have the keys {', '.join(keys)} and no others")


def _text(value: Any, what: str, most: int = LONGEST_TEXT) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > most:
        raise InputError(f"the {what} must be a text of 1 to {most} letters")
    return " ".join(value.split())


def _plain(text: str) -> str:
    """The words of a text alone, for comparing."""
    return " ".join(re.findall(r"\w+", text.lower()))


class Distinct:
    """Tells prompts that say what another one of their scene said: eight in ten words are its."""

    def __init__(self) -> None:
        self._known: dict[str, list[frozenset[str]]] = {}

    def add(self, prompt: DensePrompt) -> bool:
        """Whether the prompt says something new; it is remembered then."""
        words = frozenset(_plain(prompt.text).split())
        known = self._known.setdefault(prompt.scene, [])
        if any(len(words & other) >= 0.8 * len(words | other) for other in known):
            return False
        known.append(words)
        return True


# -- what is written ------------------------------------------------------------------------------


def records(prompts: Sequence[DensePrompt], seed: int) -> Iterator[dict[str, Any]]:
    """The lines of SpatialGenEval's file, with the right letters spread evenly.

    Of any four prompts in a row each letter from A to D is right once in every sub-domain, in an
    order by seed. E is "None" and never right, as in the peer's file.
    """
    for number, prompt in enumerate(prompts):
        questions, answers = [], []
        for column, question in enumerate(prompt.questions):
            block, place = divmod(number, CHOICES)
            letter = int(_random(seed, "letters", column, block).permutation(CHOICES)[place])
            others = question.options[1:]
            order = _random(seed, "options", column, number).permutation(len(others)).tolist()
            shown = [others[k] for k in order]
            shown.insert(letter, question.options[0])
            questions.append(_written(question.text, shown))
            answers.append(LETTERS[letter])
        yield {
            "id": f"{number + 1:06}",
            "scene": prompt.scene,
            "prompt": prompt.text,
            "question_type": [domain.capitalize() for domain in DOMAINS],
            "questions": questions,
            "answers": answers,
        }


def _written(question: str, options: Sequence[str]) -> str:
    listed = zip(LETTERS, [*options, NONE], strict=False)
    return f"{question}  Options: " + ", ".join(f"{letter}: {text}" for letter, text in listed)
