"""What a reply says: text and token probabilities to a normalised answer, or why there is none."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from t2i_spatial.questions import ANSWERED, LETTERS, NUMBERS, OFF_FORMAT, REFUSED, Question

HALF = 0.5
"""An answer with less than this probability on all allowed answers together is off format."""

_REFUSAL = re.compile(
    r"\b(i(?:'| a)m (?:sorry|unable|not able)|i (?:can(?:no|')t|cannot|won't|will not) "
    r"(?:help|assist|answer|comply|view|see|identify|provide)|as an ai)\b",
    re.IGNORECASE,
)
_YES = frozenset({"yes", "true", "yeah", "yep", "correct", "ja", "oui", "sí", "si", "sì", "是"})
_NO = frozenset({"no", "false", "nope", "incorrect", "nein", "non", "否", "不是"})
_LETTER = re.compile(r"^[\s*_`>#\-(\[]*(?:\d{1,2}\s*[.):]\s*)?[*_`(\[\s]*([A-Ja-j])(?![A-Za-z'])")
_MARKED = re.compile(r"(?:answer|option|choice)\W{1,4}(?:is\W{1,4})?([A-J])\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A reply, understood: `answer` is null unless the status is `answered`."""

    status: str
    answer: str | None = None
    reason: str | None = None


def parse(text: str, question: Question, *, finished: bool = True) -> Parsed:
    """The normalised answer in a reply; letters are those that were shown.

    Args:
        finished: `False` when the reply was cut by its token limit.

    >>> parse("**B)** the dog", Question("?", "choice", ("cat", "dog"), template="letter/1"))
    Parsed(status='answered', answer='B', reason=None)
    """
    stripped = text.strip()
    if not stripped:
        return Parsed(OFF_FORMAT, reason="the reply is empty")
    answer = _READ[question.kind](stripped, question)
    if answer is not None:
        return Parsed(ANSWERED, answer)
    if is_refusal(stripped):
        return Parsed(REFUSED, reason=f"the judge refused: {_short(stripped)}")
    cut = "" if finished else ", cut by its length limit"
    return Parsed(OFF_FORMAT, reason=f"not a {question.kind} answer{cut}: {_short(stripped)}")


def is_refusal(text: str) -> bool:
    """Whether a text says that its writer will not, or cannot, do what was asked.

    >>> is_refusal("Sorry, I can't help with that."), is_refusal("A cat sits.")
    (True, False)
    """
    return _REFUSAL.search(text) is not None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= 60 else f"{line[:57]}...")


def _yes_no(text: str, question: Question) -> str | None:
    words = re.findall(r"[^\W_]+", text.lower())
    for word in words[:1] or ():
        if word in _YES:
            return "yes"
        if word in _NO:
            return "no"
    said = {"yes" if w in ("yes",) else "no" for w in words if w in ("yes", "no")}
    marked = re.search(r"answer\W{1,4}(?:is\W{1,4})?(yes|no)\b", text, re.IGNORECASE)
    if marked:
        return marked[1].lower()
    return said.pop() if len(said) == 1 and len(words) <= 12 else None


def _choice(text: str, question: Question) -> str | None:
    allowed = LETTERS[: len(question.options)]
    for pattern in (_LETTER, _MARKED):
        found = pattern.search(text)
        if found and found[1].upper() in allowed:
            return found[1].upper()
    said = " ".join(text.lower().rstrip(".").split())
    same = [k for k, option in enumerate(question.options) if option.lower() == said]
    return None if len(same) != 1 else "=" + LETTERS[same[0]]


def _count(text: str, question: Question) -> str | None:
    words = re.findall(r"\d+|[a-z]+", text.lower())
    numbers = [w if w.isdigit() else str(NUMBERS.index(w)) for w in words if _is_number(w)]
    distinct = set(numbers)
    if words and _is_number(words[0]):
        return numbers[0]
    return distinct.pop() if len(distinct) == 1 else None


def _is_number(word: str) -> bool:
    return (word.isdigit() and len(word) <= 4) or word in NUMBERS


def _letters(text: str, question: Question) -> str | None:
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) != question.lines:
        return None
    found = [_LETTER.search(line) for line in lines]
    return "".join(m[1].upper() for m in found if m) if all(found) else None


def _text(text: str, question: Question) -> str | None:
    return None if _REFUSAL.match(text) else text


_READ = {
    "yes/no": _yes_no,
    "choice": _choice,
    "count": _count,
    "letters": _letters,
    "text": _text,
}


@dataclass(frozen=True, slots=True)
class Probabilities:
    """Of the allowed answers at the answer position.

    Attributes:
        answer: the most probable allowed answer.
        p: probability of "yes" (of `answer` for other kinds) among the allowed answers.
        p_raw: the same among all tokens.
        mass: of all allowed answers together; under one half the reply is off format.
        options: allowed answer -> probability among the allowed ones.
    """

    answer: str
    p: float
    p_raw: float
    mass: float
    options: Mapping[str, float]


def spellings(question: Question) -> dict[str, tuple[str, ...]]:
    """Allowed answer -> ways to write it; the case and a leading blank are the caller's.

    >>> spellings(Question("Is it?"))["yes"]
    ('Yes', 'yes')
    """
    if question.kind == "yes/no":
        return {"yes": ("Yes", "yes"), "no": ("No", "no")}
    if question.kind == "choice":
        return {letter: (letter,) for letter in LETTERS[: len(question.options)]}
    if question.kind == "count":
        return {str(n): (str(n), word, word.capitalize()) for n, word in enumerate(NUMBERS)}
    return {}


def from_raw(raw: Mapping[str, float], question: Question) -> Probabilities | None:
    """Probabilities of the allowed answers from their raw ones; `None` when all are zero."""
    mass = math.fsum(raw.values())
    if not mass > 0:
        return None
    options = {answer: value / mass for answer, value in raw.items()}
    answer = max(options, key=lambda a: options[a])
    shown = "yes" if question.kind == "yes/no" else answer
    return Probabilities(answer, options[shown], raw[shown], min(mass, 1.0), options)


def from_top_tokens(
    top: Iterable[tuple[str, float]], question: Question
) -> tuple[Probabilities | None, tuple[float, float] | None]:
    """Probabilities from the (token, log-probability) pairs that an API lists at one position.

    Tokens are compared without blanks around them and regardless of case, except letters of a
    choice, which count in capitals only.

    Returns:
        The probabilities (`None` when no allowed answer is listed), and the interval in which
        P(yes) lies when the other word is not listed (else `None`): what is not listed may all
        belong to it.
    """
    raw = dict.fromkeys(spellings(question), 0.0)
    known = {
        spelling if question.kind == "choice" else spelling.lower(): answer
        for answer, ways in spellings(question).items()
        for spelling in ways
    }
    listed = 0.0
    seen: set[str] = set()
    for token, log_probability in top:
        probability = math.exp(log_probability)
        listed += probability
        text = token.strip()
        answer = known.get(text if question.kind == "choice" else text.lower())
        if answer is not None:
            raw[answer] += probability
            seen.add(answer)
    if not seen:
        return None, None
    found = from_raw(raw, question)
    bracket = None
    if question.kind == "yes/no" and len(seen) == 1 and found is not None:
        rest = max(0.0, 1.0 - listed)
        low, high = raw["yes"] / (raw["yes"] + raw["no"] + rest), 1.0
        if "yes" not in seen:
            low, high = 0.0, rest / (rest + raw["no"])
        bracket = (low, high)
    return found, bracket


def back(answer: str, order: Sequence[int] | None) -> str:
    """The letter of the options as listed, of a letter as shown in `order`.

    An answer "=B" quotes the text of the second listed option, whatever letter it was shown under.
    """
    if answer.startswith("="):
        return answer[1:]
    if order is None or len(answer) != 1:
        return answer
    return LETTERS[order[LETTERS.index(answer)]]
