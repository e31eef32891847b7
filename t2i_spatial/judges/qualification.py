"""A judge measured on questions that others have published, with their own numbers.

Every question stays in the denominator: what was refused, could not be read or has no picture is
wrong, and told. Beside the numbers stand those of somebody who looks at no picture and always says
the same.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import polars as pl

from t2i_spatial.images import ImageUnreadableError
from t2i_spatial.interchange.vqa import Item, VqaSet
from t2i_spatial.interchange.vqa.marks import share, shares_by
from t2i_spatial.judges.base import Asked, Judge, Picture, Reply
from t2i_spatial.progress import progress_bar
from t2i_spatial.questions import ANSWERED, LETTERS, REFUSED, Question, option_order
from t2i_spatial.statistics.intervals import Interval
from t2i_spatial.tables import IMAGE_MISSING, IMAGE_UNREADABLE

PICTURES = 16
"""Pictures of one batch; the next one is under way while a batch is awaited."""
MOST_SKILLS = 12
"""Relations or categories that are told to a person; the file has all."""


@dataclass(frozen=True)
class Qualification:
    """What a judge is worth on one set.

    Attributes:
        name, title, rule: of the set.
        questions: how many there are; all are counted.
        missing: names of pictures that are not there.
        accuracy: share right, options in the order first shown.
        at_most: the same if all that is unusable were right.
        every_order: share right in every order of the options, where several were shown.
        numbers: those of the set, by its own rule; the first is its headline.
        skills: relation or category -> share right.
        said: what was answered ("A" is the first option shown) -> its share of usable answers.
        always: the same -> accuracy and headline of who always says that.
        chance: expected of guessing.
        unusable, refused: shares of questions.
        because: why most of the unusable ones are.
        seconds: per question.
    """

    name: str
    title: str
    rule: str
    questions: int
    missing: tuple[str, ...]
    accuracy: Interval
    at_most: float
    every_order: Interval | None
    numbers: dict[str, Interval]
    skills: dict[str, Interval]
    said: dict[str, float]
    always: dict[str, tuple[float | None, float | None]]
    chance: float
    unusable: float
    refused: float
    because: str | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """For `--json`, and to be stored."""
        found = dict(vars(self))
        found["missing"] = list(self.missing)
        for name in ("accuracy", "every_order"):
            found[name] = _as_dict(found[name])
        for name in ("numbers", "skills"):
            found[name] = {key: _as_dict(i) for key, i in found[name].items()}
        found["always"] = {
            key: {"accuracy": accuracy, "headline": headline}
            for key, (accuracy, headline) in self.always.items()
        }
        return found


def qualify(
    judge: Judge,
    source: VqaSet,
    items: Sequence[Item],
    *,
    circular: bool = False,
    votes: int = 1,
    seed: int = 0,
) -> Qualification:
    """Put the questions of a set to a judge.

    Args:
        circular: show the options of every choice in all their rotations; a question then counts
            by the rule of the set only when all are right.
        votes: sampled replies per question of a judge without probabilities; most decide.
    """
    times = 1 if judge.gives_probabilities else votes
    orders = {item.id: _orders(item, source.shuffled, circular, seed) for item in items}
    begun = time.monotonic()
    replies: dict[str, list[list[Reply]]] = {}
    with progress_bar(len(items), f"asking {source.title}", unit="question") as bar:
        waiting: tuple[list[list[Item]], list[Reply | None], Any] | None = None
        for batch in (*_batches(items), None):
            started = None if batch is None else _start(judge, batch, orders, times, seed)
            if waiting is not None:
                for item, given in _collected(judge, waiting, orders, times):
                    replies[item.id] = given
                    bar.update()
            waiting = started
    seconds = time.monotonic() - begun
    return _told(source, items, orders, replies, seconds)


def sampled(items: Sequence[Item], limit: int | None, seed: int) -> list[Item]:
    """At most about `limit` items, with all variants of those that are taken, in their order."""
    if limit is None or len(items) <= limit:
        return list(items)
    size = Counter(map(_together, items))
    wholes = list(size)
    kept: set[str] = set()
    count = 0
    for k in np.random.default_rng(seed).permutation(len(wholes)):
        if count >= limit:
            break
        kept.add(wholes[k])
        count += size[wholes[k]]
    return [item for item in items if _together(item) in kept]


def _together(item: Item) -> str:
    """What is taken whole: variants of a question, and what counts as a pair or set."""
    return item.facts.get("set") or item.facts.get("pair") or item.whole


Order = tuple[int, ...] | None


def _orders(item: Item, shuffled: bool, circular: bool, seed: int) -> list[Order]:
    count = len(item.question.options)
    if not count:
        return [None]
    first = tuple(range(count))
    if shuffled:
        first = option_order(item.question, 0, seed, item.id) or first
    return [first[k:] + first[:k] for k in range(count if circular else 1)]


def _batches(items: Sequence[Item]) -> Iterator[list[list[Item]]]:
    """Items by picture, a few pictures at a time."""
    by_picture: dict[Any, list[Item]] = {}
    for item in items:
        by_picture.setdefault(item.picture, []).append(item)
    rest = iter(by_picture.values())
    while batch := list(islice(rest, PICTURES)):
        yield batch


def _start(
    judge: Judge,
    batch: list[list[Item]],
    orders: dict[str, list[Order]],
    times: int,
    seed: int,
) -> tuple[list[list[Item]], list[Reply | None], Any]:
    put, lost = [], []
    for of_picture in batch:
        picture = _picture(of_picture[0])
        lost.append(picture if isinstance(picture, Reply) else None)
        if isinstance(picture, Picture):
            asked = [
                Asked(item.question, vote * len(orders[item.id]) + k, order, seed)
                for item in of_picture
                for k, order in enumerate(orders[item.id])
                for vote in range(times)
            ]
            put.append((picture, asked))
    return batch, lost, judge.submit(put)


def _collected(
    judge: Judge,
    waiting: tuple[list[list[Item]], list[Reply | None], Any],
    orders: dict[str, list[Order]],
    times: int,
) -> Iterator[tuple[Item, list[list[Reply]]]]:
    """Items with the replies to each of their orders."""
    batch, lost, started = waiting
    answered = iter(judge.collect(started))
    for of_picture, failed in zip(batch, lost, strict=True):
        replies = iter([] if failed is not None else next(answered))
        for item in of_picture:
            yield (
                item,
                [
                    [failed] if failed is not None else list(islice(replies, times))
                    for _ in orders[item.id]
                ],
            )


def _picture(item: Item) -> Picture | Reply:
    try:
        if isinstance(item.picture, bytes):
            picture = Picture("", item.picture, (item.id, 0))
        else:
            picture = Picture(str(item.picture), item.picture.read_bytes(), (item.id, 0))
        picture.decoded()  # what no decoder reads, no judge should be asked about
    except FileNotFoundError:
        return Reply.failed(f"{item.image}: no such file", status=IMAGE_MISSING)
    except (OSError, ImageUnreadableError) as error:
        return Reply.failed(str(error), status=IMAGE_UNREADABLE)
    return picture


def _told(
    source: VqaSet,
    items: Sequence[Item],
    orders: dict[str, list[Order]],
    replies: dict[str, list[list[Reply]]],
    seconds: float,
) -> Qualification:
    answers = {item.id: [_most(given) for given in replies[item.id]] for item in items}
    right = {
        item.id: [_is_right(said, item.question) for said in answers[item.id]] for item in items
    }
    marks = _marks(source, items, {key: (r[0], all(r)) for key, r in right.items()})
    firsts = [(item, answers[item.id][0], replies[item.id][0]) for item in items]
    unusable = [said is None for _, said, _ in firsts]
    shown = Counter(
        word
        for item, said, _ in firsts
        if (word := _shown(said, orders[item.id][0], item.question)) is not None
    )
    missing = {
        item.image: None
        for item, _, given in firsts
        if any(reply.status == IMAGE_MISSING for reply in given)
    }
    put = sum(len(given) for of_item in replies.values() for given in of_item)
    several = any(len(of_item) > 1 for of_item in orders.values())
    accuracy = share(marks)
    return Qualification(
        source.name,
        source.title,
        source.rule,
        len(items),
        tuple(missing),
        accuracy,
        (accuracy.value or 0.0) + float(np.mean(unusable)),
        share(marks, "every") if several else None,
        source.numbers(marks),
        shares_by(marks, "skill"),
        {word: count / max(1, shown.total()) for word, count in sorted(shown.items())},
        {word: _always(source, items, orders, word) for word in _words(items)},
        float(np.mean([_chance(item.question) for item in items])),
        float(np.mean(unusable)),
        float(np.mean([any(r.status == REFUSED for r in given) for _, _, given in firsts])),
        _because(given for _, _, given in firsts),
        seconds / max(1, put),
    )


def _because(given: Iterable[Sequence[Reply]]) -> str | None:
    reasons = Counter(
        reply.reason
        for replies in given
        for reply in replies
        if reply.status not in (ANSWERED, IMAGE_MISSING) and reply.reason is not None
    )
    return reasons.most_common(1)[0][0] if reasons else None


def _marks(
    source: VqaSet, items: Sequence[Item], right: dict[str, tuple[bool, bool]]
) -> pl.DataFrame:
    rows = [
        {
            "id": item.id,
            "image": item.image,
            "whole": item.whole,
            "skill": item.question.skill,
            "right": int(right[item.id][0]),
            "every": int(right[item.id][1]),
            **{name: item.facts.get(name) for name in source.facts},
        }
        for item in items
    ]
    texts = dict.fromkeys(("id", "image", "whole", "skill", *source.facts), pl.String)
    return pl.DataFrame(rows, schema_overrides={**texts, "right": pl.Int8, "every": pl.Int8})


def _most(given: Sequence[Reply]) -> str | None:
    """The answer of most votes, the earlier one if two have as many."""
    usable = [r.answer for r in given if r.status == ANSWERED and r.answer is not None]
    return Counter(usable).most_common(1)[0][0] if usable else None


def _is_right(said: str | None, question: Question) -> bool:
    if said is None or question.gold is None:
        return False
    return question.gold in said if question.kind == "text" else said == question.gold


def _shown(said: str | None, order: Order, question: Question) -> str | None:
    """An answer as it stood on the screen: a letter of the order shown, or yes and no."""
    if said is None or question.kind not in ("choice", "yes/no"):
        return None
    return said if order is None else LETTERS[order.index(LETTERS.index(said))]


def _words(items: Sequence[Item]) -> list[str]:
    kinds = {item.question.kind for item in items}
    most = max(len(item.question.options) for item in items)
    return [*LETTERS[:most], *(("yes", "no") if "yes/no" in kinds else ())]


def _always(
    source: VqaSet, items: Sequence[Item], orders: dict[str, list[Order]], word: str
) -> tuple[float | None, float | None]:
    """Accuracy and headline of who always says `word`."""
    right = {}
    for item in items:
        gold, question = item.question.gold or "", item.question
        met = [_shown(gold, order, question) == word for order in orders[item.id]]
        right[item.id] = (met[0], all(met))
    marks = _marks(source, items, right)
    return share(marks).value, next(iter(source.numbers(marks).values())).value


def _chance(question: Question) -> float:
    if question.kind == "yes/no":
        return 0.5
    return 1 / len(question.options) if question.options else 0.0


def _as_dict(found: Interval | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "pictures": found.n_clusters,
        "questions": found.n,
    }


def as_text(found: Qualification) -> str:
    """For a person, one fact per line."""
    several = len(found.missing)
    lines = [f"set        {found.title}: {found.questions:,} questions; {found.rule}"]
    if several:
        are = "picture is" if several == 1 else "pictures are"
        lines.append(
            f"           {several:,} {are} not there (first: {found.missing[0]}); questions about "
            "what is not there count as wrong"
        )
    lines += [f"           {_line(name, i)}" for name, i in found.numbers.items()]
    lines.append(
        f"           {_line('right', found.accuracy)}; guessing gives {100 * found.chance:.1f}"
    )
    if found.every_order is not None:
        lines.append(f"           {_line('in every order', found.every_order)}")
    for word, (accuracy, headline) in found.always.items():
        share_said = 100 * found.said.get(word, 0.0)
        lines.append(
            f"           always {word!r}: {_percent(accuracy)} right, headline "
            f"{_percent(headline)}; the judge says it {share_said:.1f} % of the time"
        )
    skills = list(found.skills.items())
    if skills and [i.n for i in found.skills.values()] != [found.questions]:
        lines += [f"             {_line(name, i)}" for name, i in skills[:MOST_SKILLS]]
        if len(skills) > MOST_SKILLS:
            lines.append(f"             and {len(skills) - MOST_SKILLS:,} more")
    lines.append(
        f"           {100 * found.refused:.1f} % refused, {100 * found.unusable:.1f} % without a "
        f"usable answer (at most {100 * found.at_most:.1f} % right), {found.seconds:.3g} s per "
        "question"
    )
    if found.because is not None:
        lines.append(f"           most of the unusable answers: {found.because}")
    return "\n".join(lines)


def _line(name: str, found: Interval) -> str:
    if found.value is None or found.low is None or found.high is None:
        return f"{name:<22} undefined: questions that it is made of are lacking"
    low, high = 100 * found.low, 100 * found.high
    return f"{name:<22} {100 * found.value:5.1f} % ({low:.1f} to {high:.1f}) of {found.n:,}"


def _percent(value: float | None) -> str:
    return "undefined" if value is None else f"{100 * value:.1f} %"
