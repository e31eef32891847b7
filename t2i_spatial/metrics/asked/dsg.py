"""DSG: yes/no questions about a scene graph, where what depends on a "no" counts as "no".

Source: j-min/DSG @ 7330119, dsg/vqa_utils.py and scripts/t2i_eval_dsg1k.py. `dsg_strict` is ours:
gated by all ancestors, and for any prompt, from its scene where it brings no questions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

import polars as pl

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.asked.brought import (
    BroughtQuestions,
    Replies,
    Reply,
    once_per_prompt,
    share_bounds,
)
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.metrics.numbers import Numbers, Rate
from t2i_spatial.metrics.spatial_vqa import parts_of
from t2i_spatial.questions import Question, Template, template
from t2i_spatial.scene import Prompt, SceneSpec
from t2i_spatial.tables import table_to_prompts

CATEGORIES = ("entity", "attribute", "relation", "global", "action", "other")
PARTS = ("score", "ungated", "score_at_most", *CATEGORIES, *(f"{c} asked" for c in CATEGORIES))
HALF = 0.5
PEER = template(Template("dsg/1", image_first=False, max_tokens=20))
_ASKED = "Answer with 'yes' or 'no' only, without punctuation marks. Question: {}"


@dataclass(frozen=True)
class Node:
    """One question of a graph, or several that are one thing asked in several ways.

    Attributes:
        key: its number in the graph.
        category: entity, attribute, relation ...
        words: what it is about.
        questions: the mean of their answers is the node's.
        parents: keys of the nodes that it depends on.
    """

    key: str
    category: str
    words: str
    questions: tuple[Question, ...]
    parents: tuple[str, ...] = ()


@PROTOCOLS.register("dsg")
@dataclass(kw_only=True)
class DSG(BroughtQuestions):
    """As published: a question counts as "no" when a direct parent was answered "no".

    Parents' own answers decide, gated or not, so that a grandchild survives. Whatever is not "yes"
    to the letter is "no", refusals and errors too.
    """

    title: ClassVar[str] = "DSG"
    record: ClassVar[str] = "dsg"
    parts: ClassVar[tuple[str, ...]] = PARTS
    counts_questions: ClassVar[bool] = True
    numbers: ClassVar[Numbers] = {
        "dsg": Rate("score", meaning="mean over images of the questions answered yes, gated"),
        "dsg_ungated": Rate("ungated", meaning="the same without dependencies"),
        "dsg_at_most": Rate("score_at_most", meaning="unusable answers counted as yes"),
        **{
            name: Rate(name, f"{name} asked", meaning=f"all {name} questions, gated")
            for name in CATEGORIES
        },
    }
    groups: ClassVar[Mapping[str, Sequence[str]]] = {"tag": ("dsg", "dsg_ungated")}

    def nodes(self, prompt: Prompt) -> tuple[Node, ...]:
        """The graph of a prompt."""
        return _brought(prompt)

    def asked(self, prompt: Prompt) -> Iterator[Question]:
        """One question per node, in the peer's words or ours."""
        for node in self.nodes(prompt):
            yield from node.questions

    def yes(self, node: Node, replies: Replies) -> tuple[bool, bool]:
        """Whether a node is true: at least, at most."""
        rows = [row for q in node.questions for row in replies.get(q.id, ())]
        said = [peer_says_yes(row) for row in rows]
        unusable = any(row["answer"] is None for row in rows)
        right = 2 * sum(said) > len(said)
        return right, right or unusable

    def gated(self, nodes: Sequence[Node], yes: Mapping[str, bool]) -> dict[str, bool]:
        """What is left of the answers after looking at parents."""
        return {n.key: yes[n.key] and all(yes[p] for p in n.parents) for n in nodes}

    def verdict(self, prompt: Prompt, replies: Replies) -> Mapping[str, Any]:
        """See `BroughtQuestions.verdict`."""
        nodes = self.nodes(prompt)
        bounds = {node.key: self.yes(node, replies) for node in nodes}
        low = {key: least for key, (least, _) in bounds.items()}
        kept = self.gated(nodes, low)
        possible = self.gated(nodes, {key: most for key, (_, most) in bounds.items()})
        score = sum(kept.values()) / len(nodes)
        components = {
            "score": score,
            "ungated": sum(low.values()) / len(nodes),
            "score_at_most": sum(possible.values()) / len(nodes),
        }
        for node in nodes:
            name = node.category if node.category in CATEGORIES else "other"
            components[name] = components.get(name, 0.0) + kept[node.key]
            components[f"{name} asked"] = components.get(f"{name} asked", 0.0) + 1
        wrong = [node.words for node in nodes if not possible[node.key]]
        open_ = [node.words for node in nodes if possible[node.key] and not kept[node.key]]
        return {
            "value": score,
            "correct": False if wrong else (None if open_ else True),
            "margin": HALF / len(nodes) - (1 - score),
            "reason": f"{sum(kept.values())} of {len(nodes)} yes"
            + (f"; no: {', '.join(wrong[:5])}" if wrong else ""),
            "components": components,
            "unjudged": open_,
        }


@PROTOCOLS.register("dsg_strict")
@dataclass(kw_only=True)
class DSGStrict(DSG):
    """Gated by every ancestor, unusable answers as bounds, and for any prompt.

    A prompt without questions of its own gets them from its scene: objects first, then their
    counts and colours, then relations, each depending on the objects that it speaks of.
    """

    title: ClassVar[str] = "DSG, strict"
    looks_at_scenes: ClassVar[bool] = True

    def nodes(self, prompt: Prompt) -> tuple[Node, ...]:
        """The graph of a prompt, in our template."""
        return _nodes(prompt)

    def yes(self, node: Node, replies: Replies) -> tuple[bool, bool]:
        """Whether a node is likelier true than not: at least, at most."""
        bounds = [share_bounds(replies.get(q.id, ()), q.gold or "yes") for q in node.questions]
        low, high = (sum(side) / len(bounds) for side in zip(*bounds, strict=True))
        return low > HALF, high > HALF

    def gated(self, nodes: Sequence[Node], yes: Mapping[str, bool]) -> dict[str, bool]:
        """What is left of the answers after looking at all ancestors."""
        known = {node.key: node for node in nodes}

        @cache
        def holds(key: str) -> bool:
            return yes[key] and all(holds(parent) for parent in known[key].parents)

        return {node.key: holds(node.key) for node in nodes}

    def holding(self, prompts: pl.DataFrame) -> Iterator[Prompt]:
        """Prompts with questions of their own or a scene."""
        for prompt in table_to_prompts(prompts):
            if self.record in prompt.metadata or (prompt.scene and prompt.scene.objects):
                yield prompt

    def unjudged(self, prompt: Prompt) -> tuple[str, ...]:
        """What was not read of a scene; questions that a prompt brings are the measure."""
        if self.record in prompt.metadata or prompt.scene is None:
            return ()
        return prompt.scene.unparsed


def peer_says_yes(reply: Reply) -> bool:
    """Whether the peer takes a reply for yes: the word alone, without case and punctuation.

    >>> [peer_says_yes({"raw": text, "answer": None}) for text in ("Yes.", "Yes, it is", "Ja")]
    [True, False, False]
    """
    if reply["raw"] is None:
        return bool(reply["answer"] == "yes")
    return re.sub(r"[.,?!]", "", reply["raw"].lower().strip()) == "yes"


def peer_question(text: str) -> str:
    """A question as `dsg` puts it."""
    return _ASKED.format(text.strip())


@once_per_prompt
def _nodes(prompt: Prompt) -> tuple[Node, ...]:
    """The graph that a prompt brings, in our template, or that of its scene."""
    if DSG.record not in prompt.metadata:
        return _of_scene(prompt.scene or SceneSpec())
    plain = [
        replace(n, questions=(Question(n.words, gold="yes", skill=n.category),))
        for n in _brought(prompt)
    ]
    return tuple(plain)


@once_per_prompt
def _brought(prompt: Prompt) -> tuple[Node, ...]:
    rows = prompt.metadata["dsg"]
    rows = [rows] if isinstance(rows, Mapping) else rows
    nodes = []
    for row in rows:
        text, parents = row["question_natural_language"], str(row["dependency"])
        category = str(row["category_broad"]).strip().lower()
        if not isinstance(text, str) or not re.fullmatch(r"\s*\d+\s*(,\s*\d+\s*)*", parents):
            raise InputError(f"not a DSG question: {text!r} with dependency {parents!r}")
        question = Question(peer_question(text), gold="yes", skill=category, template=PEER.name)
        above = tuple(p.strip() for p in parents.split(",") if p.strip() != "0")
        key = str(row["proposition_id"]).strip()
        nodes.append(Node(key, category, text.strip(), (question,), above))
    _check(nodes)
    return tuple(nodes)


def _check(nodes: Sequence[Node]) -> None:
    known = {node.key: node for node in nodes}
    if len(known) != len(nodes):
        raise InputError("a proposition_id occurs twice")
    for node in nodes:
        for parent in node.parents:
            if parent not in known:
                raise InputError(f"question {node.key} depends on {parent}, which is not there")
    done: set[str] = set()
    left = list(nodes)
    while left:
        free = [node for node in left if done.issuperset(node.parents)]
        if not free:
            raise InputError(f"question {left[0].key} depends on itself")
        done |= {node.key for node in free}
        left = [node for node in left if node.key not in done]


_OF_PARTS = {"exists": "entity", "count": "attribute", "color": "attribute"}


def _of_scene(scene: SceneSpec) -> tuple[Node, ...]:
    """Objects, then what is said of them, then how they stand to each other."""
    nodes: list[Node] = []
    exists: dict[int, str] = {}
    for number, part in enumerate(parts_of(scene), 1):
        key = str(number)
        if part.kind == "exists":
            exists[part.objects[0]] = key
            parents: tuple[str, ...] = ()
        else:
            parents = tuple(exists[index] for index in part.objects if index in exists)
        category = _OF_PARTS.get(part.kind, part.kind)
        nodes.append(Node(key, category, part.words, part.questions, parents))
    return tuple(nodes)
