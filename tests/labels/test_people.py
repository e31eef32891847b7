import pytest

from t2i_spatial.labels import Truth, questions_for, truth_of
from t2i_spatial.labels.people import asks, whole_question
from t2i_spatial.metrics import PROTOCOLS
from t2i_spatial.prompts import parse_prompt
from t2i_spatial.scene import ObjectSpec, Prompt, SceneSpec

CAT_DOG = Prompt(
    "0", "a cat to the left of a dog", scene=parse_prompt("a cat to the left of a dog")
)


def answers(prompt, *words):
    return {a.question.id: w for a, w in zip(questions_for(prompt), words, strict=True) if w}


@pytest.mark.parametrize(
    ("words", "truth"),
    [
        (("yes", "yes", "yes"), Truth("yes", "yes", "yes", "yes", "yes")),
        (("yes", "no", None), Truth("no", "no", "yes", "no", None)),
        (("yes", "unsure", "yes"), Truth("unsure", "unsure", "yes", "unsure", "yes")),
        (("yes", "yes", None), Truth(None, "yes", "yes", "yes", None)),
        (("yes", "yes", "no"), Truth("no", "yes", "yes", "yes", "no")),
        (("no", None, None), Truth(None, None, "no", None, None)),
        ((None, None, None), Truth()),
    ],
)
def test_parts_make_the_image(words, truth):
    assert truth_of(CAT_DOG, answers(CAT_DOG, *words)) == truth


def test_whole_answer_decides():
    whole = whole_question(CAT_DOG).id
    assert truth_of(CAT_DOG, {whole: "no"}).image == "no"
    assert truth_of(CAT_DOG, answers(CAT_DOG, "yes", "yes", "yes") | {whole: "no"}).image == "no"


def test_what_parts_do_not_say_is_asked_as_a_whole():
    scene = SceneSpec((ObjectSpec("cat"),), (), ("reminiscent of",))
    prompt = Prompt("0", "a cat reminiscent of", scene=scene)
    assert [a.part for a in questions_for(prompt)] == ["exists", "whole"]
    assert truth_of(prompt, answers(prompt, "yes", None)).image is None
    assert truth_of(prompt, answers(prompt, "no", None)).image == "no"
    assert [a.part for a in questions_for(Prompt("0", "misty"))] == ["whole"]


def test_absence_and_negation_are_right_when_answered_no():
    scene = parse_prompt("a dog not on a table")
    prompt = Prompt("0", "a dog not on a table", scene=scene)
    assert truth_of(prompt, answers(prompt, "yes", "yes", "no")).image == "yes"
    none = Prompt("0", "no dog", scene=SceneSpec((ObjectSpec("dog", 0),)))
    assert truth_of(none, answers(none, "no")).image == "yes"


def test_all_questions_are_yes_or_no():
    for text in ("two red cups under a lamp", "a frog facing a wall", "a cup between two plates"):
        prompt = Prompt("0", text, scene=parse_prompt(text))
        assert {a.question.kind for a in questions_for(prompt)} == {"yes/no"}


def test_which_numbers_people_answer():
    def kinds(name):
        return {k: asks(rate) for k, rate in PROTOCOLS[name].numbers.items()}

    visor = kinds("visor")
    assert visor["VISOR_cond"] == ("image", "objects")
    assert (visor["OA"], visor["OA_B"]) == (("objects", None), ("object", None))
    assert "all images" in visor["VISOR_2"]
    assert "share" in kinds("t2i_compbench_2d")["score"]
    assert kinds("t2i_compbench_2d")["correct"] == ("image", None)
    assert kinds("spatial")["accuracy"] == kinds("spatial")["probability"] == ("image", None)
    assert "share" in kinds("spatial")["unsure"]
    assert "not asked" in kinds("t2i_compbench_numeracy")["counted"]
    for name in PROTOCOLS:
        for found in kinds(name).values():
            assert isinstance(found, (str, tuple))
