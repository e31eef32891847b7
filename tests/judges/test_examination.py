"""Examining a judge: perfect, stubborn, contrary and silent ones are told apart."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner

from t2i_spatial.cli.main import main
from t2i_spatial.judges import Judge, JudgeSpec
from t2i_spatial.judges.base import Reply, understood
from t2i_spatial.judges.examination import as_text, cases, examine
from t2i_spatial.judges.replies import from_raw
from t2i_spatial.judges.sending import JudgeError
from t2i_spatial.questions import REFUSED
from t2i_spatial.run import Run
from tests.judges.replaying_server import ReplayingServer, said, text_of


class Answering(Judge):
    """Answers by a function of the case; letters are those that are shown."""

    def __init__(self, answer):
        super().__init__(JudgeSpec("test", "test"))
        self.answer = answer
        self.gives_probabilities = True
        self.put = cases(4)

    def ask(self, picture, asked):
        case = self.put[int(picture.key[0])]
        replies = []
        for one in asked:
            shown = self.answer(case, one)
            if shown is None:
                replies.append(Reply.failed("no", status=REFUSED))
            else:
                replies.append(
                    understood(one, None, from_raw({"yes": 0.0, shown: 1.0}, one.question))
                )
        return replies


def truth(case, one):
    gold = case.question.gold
    return gold if one.order is None else "AB"[one.order.index("AB".index(gold))]


def examined(answer, tmp_path):
    return examine(Answering(answer), tmp_path, pairs=4)


def test_a_perfect_judge(tmp_path):
    found = examined(truth, tmp_path)
    assert {kind: i.value for kind, i in found.accuracy.items()} == dict.fromkeys(
        ("left", "above", "larger", "in front", "exists", "count", "colour"), 1.0
    )
    assert (found.first_letter, found.order_bias, found.mirror_consistency) == (0.5, 0.0, 1.0)
    assert all(i.low < 1 for i in found.accuracy.values())
    assert found.questions == 4 * (4 * 2 * 2 + 2 + 6 + 2)


def test_a_judge_that_likes_a_letter(tmp_path):
    liking = examined(lambda case, one: truth(case, one) if one.order is None else "A", tmp_path)
    assert liking.accuracy["left"].value == 0.5
    assert (liking.first_letter, liking.order_bias, liking.mirror_consistency) == (1.0, 1.0, 0.0)


def test_a_judge_that_does_not_see_the_difference(tmp_path):
    def says(case, one):
        return truth(case, one) if one.order is None else "AB"[one.order.index(0)]

    blind = examined(says, tmp_path)
    assert blind.accuracy["in front"].value == 0.5
    assert (blind.order_bias, blind.mirror_consistency) == (0.0, 0.0)


def test_refusals_are_wrong_and_told(tmp_path):
    found = examined(lambda *_: None, tmp_path)
    assert found.accuracy["count"].value == 0.0
    assert (found.refused, found.unusable["left"]) == (1.0, 1.0)
    assert found.first_letter is found.order_bias is found.mirror_consistency is None
    assert "100% no usable answer" in as_text("x", found)


def test_a_judge_who_cannot_be_asked_is_not_measured(tmp_path):
    class Failing(Answering):
        def ask(self, picture, asked):
            return [Reply.failed("413: too large")] * len(asked)

    with pytest.raises(JudgeError, match=r"answered none of 52 questions \(most: 413: too large"):
        examine(Failing(truth), tmp_path, pairs=2)


def test_why_answers_are_unusable_is_told(tmp_path):
    found = examined(lambda case, one: truth(case, one) if one.order is None else None, tmp_path)
    assert found.because == "no"
    assert "most of the unusable answers: no" in as_text("x", found)


def test_pairs_differ_in_the_picture_and_not_in_the_question():
    by_pair = {}
    for case in cases(3):
        if case.question.kind == "choice":
            by_pair.setdefault((case.kind, case.pair), []).append(case)
    for first, second in by_pair.values():
        assert first.question.options == second.question.options
        assert {first.question.gold, second.question.gold} == {"A", "B"}
        assert first.scene != second.scene
    assert [case.question.gold for case in cases(1) if case.kind == "count"] == list("123456")


def test_colours_are_asked_where_the_other_object_has_the_other_one():
    yes, no = (case for case in cases(1) if case.kind == "colour")
    assert yes.question.text == no.question.text
    assert (yes.question.gold, no.question.gold) == ("yes", "no")
    colours = [item.colour for item in yes.scene.objects]
    assert [item.colour for item in no.scene.objects] == colours[::-1]
    assert yes.question.text.endswith(f" {colours[0]}?")


def test_the_command_keeps_what_it_found_with_a_run(tmp_path):
    run = Run.create(tmp_path / "run")

    def answer(body, number):
        text = text_of(body)
        if "How many" in text:
            return said("3", {"3": 0.9})
        word = "Yes" if re.match("Is there", text) else "A"
        return said(word, {word: 0.9})

    with ReplayingServer(answer) as server:
        arguments = ["doctor", "--judge", server.url, "--judge-model", "m", "--pairs", "2"]
        options = ["--option", "probe=false", "--option", "logprobs=off", "--votes", "1"]
        plain = CliRunner().invoke(main, [*arguments, *options])
        assert "left       50.0 % right" in plain.stdout
        assert "100.0 % answers that are the first letter shown" in plain.stdout
        kept = CliRunner().invoke(main, [*arguments, *options, "--run", str(run.path), "--json"])
    assert json.loads(kept.stdout)["accuracy"]["exists"]["value"] == 0.5
    page = json.loads((run.path / "judges" / "m.json").read_text())
    assert page == json.loads(kept.stdout)
    assert (page["judge"]["model"], page["templates"][0]) == ("m", "yes_no/1")


@pytest.mark.parametrize("arguments", [["--pairs", "3"], ["--judge", "boxes", "--nms", "0.5"]])
def test_options_without_effect_are_refused(arguments):
    said = CliRunner().invoke(main, ["doctor", *arguments])
    assert said.exit_code == 2
    assert "has no effect here" in said.stderr
