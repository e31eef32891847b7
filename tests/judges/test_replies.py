"""Replies of every shape that judges were seen to give."""

from __future__ import annotations

import math

import pytest

from t2i_spatial.judges.base import Asked, understood
from t2i_spatial.judges.replies import from_raw, from_top_tokens, parse
from t2i_spatial.questions import (
    ANSWERED,
    LETTER,
    NUMBER,
    OFF_FORMAT,
    REFUSED,
    SAY,
    Question,
    option_order,
)

YES_NO = Question("Is there a cat?")
CHOICE = Question("Which?", "choice", ("cat", "dog", "None"), template=LETTER.name)
COUNT = Question("How many?", "count", template=NUMBER.name)
TEN = Question("All ten.", "letters", template=SAY.name, lines=10)


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("Yes", "yes"),
        ("yes.", "yes"),
        ("**Yes**", "yes"),
        ("Yes, there is no doubt", "yes"),
        ("No", "no"),
        ("no, there isn't", "no"),
        ("Ja", "yes"),
        ("Nein.", "no"),
        ("The answer is: no", "no"),
        ("Answer: **Yes**", "yes"),
        ("There is a cat, so yes", "yes"),
        ("Yes and no", "yes"),
        ("It depends: yes here, no there", None),
        ("Maybe", None),
        ("Yesterday", None),
        ("nothing", None),
    ],
)
def test_yes_and_no(reply, answer):
    parsed = parse(reply, YES_NO)
    assert (parsed.answer, parsed.status) == (answer, ANSWERED if answer else OFF_FORMAT)


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("A", "A"),
        ("b", "B"),
        ("**B", "B"),
        ("(B) the dog", "B"),
        ("1. C", "C"),
        ("B: because it barks", "B"),
        ("The answer is B.", "B"),
        ("Option C", "C"),
        ("dog", "=B"),
        ("D", None),
        ("A dog", "A"),
        ("All of them", None),
        ("I see a dog", None),
    ],
)
def test_letters_of_a_choice(reply, answer):
    assert parse(reply, CHOICE).answer == answer


@pytest.mark.parametrize(
    ("reply", "answer"),
    [("3", "3"), ("Three.", "3"), ("There are two cats", "2"), ("2 or 3?", "2"), ("many", None)],
)
def test_numbers(reply, answer):
    assert parse(reply, COUNT).answer == answer


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("\n".join(f"{letter} - because" for letter in "ABCABCABCA"), "ABCABCABCA"),
        (
            "\n\n".join(f"{k}. **{letter}**" for k, letter in enumerate("ABCABCABCA", 1)),
            "ABCABCABCA",
        ),
        ("\n".join("ABCABCABC"), None),
        ("\n".join("ABCABCABCAB"), None),
        ("Here you are:\n" + "\n".join("ABCABCABC"), None),
    ],
)
def test_ten_letters_on_ten_lines(reply, answer):
    assert parse(reply, TEN).answer == answer


@pytest.mark.parametrize(
    "reply", ["I'm sorry, I can't help with that.", "I cannot assist with this", "As an AI model"]
)
def test_refusals_are_no_answers(reply):
    assert [parse(reply, q).status for q in (YES_NO, CHOICE, COUNT, TEN)] == [REFUSED] * 4


def test_an_empty_and_a_cut_reply_say_so():
    assert parse(" \n", YES_NO).status == OFF_FORMAT
    assert "cut by its length limit" in str(parse("Looking at the", COUNT, finished=False).reason)


def test_the_order_of_options_is_undone():
    order = (2, 0, 1)  # A. None  B. cat  C. dog
    asked = Asked(CHOICE, order=order)
    assert asked.text.splitlines()[1:] == ["A. None", "B. cat", "C. dog Answer with one letter."]
    assert understood(asked, "C").answer == "B"
    assert understood(asked, "cat").answer == "A"  # quoted, not lettered
    found = from_raw({"A": 0.1, "B": 0.6, "C": 0.1}, CHOICE)
    reply = understood(asked, None, found)
    assert reply.answer == "A"
    assert reply.probabilities.options == pytest.approx({"C": 0.125, "A": 0.75, "B": 0.125})


def test_every_option_comes_under_every_letter():
    orders = [option_order(CHOICE, r, 0, "42_0") for r in range(3)]
    assert {tuple(order[k] for order in orders) for k in range(3)}
    assert all(sorted(order[k] for order in orders) == [0, 1, 2] for k in range(3))
    assert option_order(CHOICE, 0, 0, "42_0") == option_order(CHOICE, 0, 0, "42_0")
    firsts = [option_order(CHOICE, 0, 0, f"{k}_0")[0] for k in range(60)]
    assert {firsts.count(k) > 5 for k in range(3)} == {True}


def test_probability_of_yes_among_the_listed_tokens():
    top = [("Yes", math.log(0.5)), (" yes", math.log(0.1)), ("No", math.log(0.2)), ("The", -3.0)]
    found, bracket = from_top_tokens(top, YES_NO)
    assert found.p == pytest.approx(0.75)
    assert found.p_raw == pytest.approx(0.6)
    assert found.mass == pytest.approx(0.8)
    assert bracket is None


def test_a_word_that_is_not_listed_leaves_a_bracket():
    found, (low, high) = from_top_tokens([("No", math.log(0.7)), ("Cat", math.log(0.1))], YES_NO)
    assert found.p == 0
    assert (low, high) == (0, pytest.approx(0.2 / 0.9))
    _, (low, high) = from_top_tokens([("Yes", math.log(0.7))], YES_NO)
    assert (low, high) == (pytest.approx(0.7), 1)


def test_little_mass_on_the_allowed_words_is_off_format_and_not_zero():
    found, _ = from_top_tokens([("The", math.log(0.9)), ("Yes", math.log(0.05))], YES_NO)
    reply = understood(Asked(YES_NO), "The", found)
    assert (reply.status, reply.answer) == (OFF_FORMAT, None)
    assert reply.probabilities.p == 1
    assert from_top_tokens([("The", -0.1)], YES_NO) == (None, None)


def test_counts_are_summed_over_words_and_digits():
    top = [
        ("2", math.log(0.4)),
        ("two", math.log(0.2)),
        ("Two", math.log(0.1)),
        ("3", math.log(0.2)),
    ]
    found, _ = from_top_tokens(top, COUNT)
    assert (found.answer, round(found.p, 4)) == ("2", round(0.7 / 0.9, 4))
