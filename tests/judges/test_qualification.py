"""Judges measured on published sets: what is asked, counted and told."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from t2i_spatial.cli.main import main
from t2i_spatial.interchange.vqa import VQA_SETS
from t2i_spatial.judges import Judge, JudgeSpec
from t2i_spatial.judges.base import Reply, understood
from t2i_spatial.judges.qualification import as_text, qualify, sampled
from t2i_spatial.judges.replies import from_raw
from t2i_spatial.questions import REFUSED
from tests.interchange.vqa.making import png, put
from tests.judges.replaying_server import ReplayingServer, said, text_of


class Answering(Judge):
    """Says what a function of the question as put says; `None` refuses."""

    def __init__(self, answer, probabilities=True):
        super().__init__(JudgeSpec("test", "test"))
        self.answer = answer
        self.gives_probabilities = probabilities
        self.asked = []

    def ask(self, picture, asked):
        self.asked += [(picture.key[0], one.order) for one in asked]
        return [self._reply(one) for one in asked]

    def _reply(self, one):
        shown = self.answer(one)
        if shown is None:
            return Reply.failed("no", status=REFUSED)
        return understood(one, None, from_raw({"yes": 0.0, shown: 1.0}, one.question))


def truth(one):
    gold = one.question.gold
    return gold if one.order is None else "ABCD"[one.order.index("ABCD".index(gold))]


@pytest.fixture
def choices(tmp_path):
    """Three questions about two pictures, one of which is missing; the right ones are A, B, B."""
    put(tmp_path / "images" / "1.png", png())
    ways = ["left", "right", "above"]
    put(
        tmp_path / "mine.json",
        [
            {"id": k, "image": image, "question": "Where?", "options": ways, "answer": answer}
            for k, (image, answer) in enumerate(
                [("1.png", "left"), ("1.png", "right"), ("2.png", "right")]
            )
        ],
    )
    source = VQA_SETS["choices"]()
    return source, source.read(tmp_path)


def test_a_missing_picture_is_counted_wrong_and_named(choices):
    found = qualify(Answering(truth), *choices)
    assert found.accuracy.value == pytest.approx(2 / 3)
    assert found.at_most == pytest.approx(1.0)
    assert found.missing == ("2.png",)
    assert found.unusable == pytest.approx(1 / 3)
    assert "1 picture is not there (first: 2.png)" in as_text(found)
    assert json.loads(json.dumps(found.to_dict()))["missing"] == ["2.png"]


def test_who_always_says_one_letter_stands_beside(choices):
    found = qualify(Answering(lambda one: "B"), *choices)
    assert found.said == {"B": 1.0}
    assert found.always["A"] == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert found.always["B"][0] == pytest.approx(2 / 3)
    assert found.always["C"][0] == 0.0
    assert found.accuracy.value == pytest.approx(1 / 3)  # the other B has no picture
    assert found.chance == pytest.approx(1 / 3)


def test_circular_evaluation_shows_every_rotation(choices):
    judge = Answering(truth)
    found = qualify(judge, *choices, circular=True)
    assert [order for _, order in judge.asked] == [(0, 1, 2), (1, 2, 0), (2, 0, 1)] * 2
    assert found.every_order.value == found.accuracy.value
    liking = qualify(Answering(lambda one: "A"), *choices, circular=True)
    assert liking.accuracy.value == pytest.approx(1 / 3)
    assert liking.every_order.value == 0.0
    assert liking.always["A"][0] == pytest.approx(1 / 3)


def test_sets_that_list_the_right_option_first_are_shuffled(tmp_path):
    records = [
        {"image_path": f"controlled_images/mug{k}_on_table.jpeg", "caption_options": list("wxyz")}
        for k in range(12)
    ]
    put(tmp_path / "controlled_images_dataset.json", records)
    for record in records:
        put(tmp_path / record["image_path"], png())
    source = VQA_SETS["whatsup"]()
    items = source.read(tmp_path)
    judge = Answering(lambda one: "A")
    found = qualify(judge, source, items)
    assert len({order for _, order in judge.asked}) > 3
    assert found.accuracy.value == found.always["A"][0] < 0.7
    assert qualify(Answering(truth), source, items).accuracy.value == 1.0


def test_refusals_are_wrong_and_most_votes_decide(choices):
    found = qualify(Answering(lambda _: None), *choices)
    assert (found.accuracy.value, found.refused) == (0.0, pytest.approx(2 / 3))
    assert "most of the unusable answers: no" in as_text(found)
    replies = iter(["A", "B", "B"] * 2)
    voting = Answering(lambda _: next(replies), probabilities=False)
    assert qualify(voting, *choices, votes=3).said == {"B": 1.0}


def test_a_limit_keeps_all_variants_of_what_it_takes(tmp_path):
    put(
        tmp_path / "3dsrbench_v1.csv",
        "qid,question,A,B,answer,category,image_path\n"
        + "".join(
            f"Q{k:07}{variant},Which?,x,y,A,height_higher,{k}.png\n"
            for k in range(6)
            for variant in ("", "-flip")
        ),
    )
    items = VQA_SETS["3dsrbench"]().read(tmp_path)
    taken = sampled(items, 4, seed=1)
    assert len(taken) == 4
    assert len({item.whole for item in taken}) == 2
    assert sampled(items, 4, seed=1) == taken
    assert sampled(items, None, seed=1) == items


def test_the_command_measures_and_exits_by_missing_pictures(choices, tmp_path):
    def answer(body, number):
        word = "No" if "Is there" in text_of(body) else "B"
        return said(word, {word: 0.9})

    with ReplayingServer(answer) as server:
        arguments = ["doctor", "--judge", server.url, "--judge-model", "m", "--pairs", "1"]
        options = ["--option", "probe=false", "--option", "logprobs=off", "--votes", "1"]
        sets = ["--benchmark", f"choices={tmp_path}"]
        ended = CliRunner().invoke(main, [*arguments, *options, *sets])
        assert ended.exit_code == 1
        assert "set        multiple choice: 3 questions" in ended.stdout
        whole = CliRunner().invoke(main, [*arguments, *options, *sets, "--limit", "1", "--json"])
    assert json.loads(whole.stdout)["sets"]["choices"]["questions"] == 1
    wrong = CliRunner().invoke(main, [*arguments, "--benchmark", f"choises={tmp_path}"])
    assert "unknown set of questions 'choises'; did you mean 'choices'" in wrong.stderr
    idle = CliRunner().invoke(main, [*arguments, "--circular"])
    assert "--circular has no effect here: they belong to a --benchmark" in idle.stderr
