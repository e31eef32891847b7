"""The judge that reads questions and looks at stored boxes."""

from __future__ import annotations

import re

import polars as pl
import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.judges import Asked, Picture, load_judge, resolve_judge
from t2i_spatial.metrics.spatial_vqa import SpatialVQA
from t2i_spatial.questions import ANSWERED, ERROR, REFUSED, Question
from t2i_spatial.stages.ask import AskSettings, ask_run
from t2i_spatial.tables import DETECTIONS
from tests.stages.asked_run import make_run

CAT_LEFT = [("cat", 0.0, 2.0, 2.0, 6.0), ("dog", 5.0, 2.0, 8.0, 6.0)]
TWO_DOGS = [("dog", 0.0, 0.0, 2.0, 2.0), ("dog", 5.0, 2.0, 8.0, 6.0), ("cat", 3.0, 6.0, 5.0, 8.0)]


def with_boxes(run, *of_images, status="scored"):
    """Boxes of the first images; all others have none."""
    rows = []
    for k, image in enumerate(run.images().drop("seed").iter_rows(named=True)):
        found = of_images[k] if k < len(of_images) else []
        boxes = [
            {"label": n, "score": 0.9, "box": list(b), "color": None, "depth": None}
            for n, *b in found
        ]
        rows.append({**image, "status": status, "detections": boxes})
    run.begin("detect", {"detector": "given", "vocabulary": []})
    run.write_detections(pl.DataFrame(rows, schema=DETECTIONS), "main")
    run.finish("detect")
    return run


@pytest.fixture
def judge(tmp_path):
    run = with_boxes(make_run(tmp_path / "run"), CAT_LEFT, TWO_DOGS)
    return load_judge("boxes", options={"run": str(run.path)})


def ask(judge, question, sample=0):
    return judge.ask(Picture("", b"", ("p0", sample)), [Asked(question)])[0]


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("Is there a cat in the image?", ("yes", "yes")),
        ("Are there at least 2 dogs in the image?", ("no", "yes")),
        ("Is there no dog in this picture?", ("no", "no")),
        ("Is the cat to the left of the dog?", ("yes", None)),
        ("Is the cat right of the dog?", ("no", None)),
        ('Does this figure show "a cat to the left of a dog"? Please answer yes or no.',
         ("yes", None)),
    ],
)  # fmt: skip
def test_yes_and_no(judge, text, answers):
    for sample, answer in enumerate(answers):
        if answer is not None:
            reply = ask(judge, Question(text), sample)
            assert (reply.status, reply.answer) == (ANSWERED, answer)
            assert (reply.probabilities.p > 0.5) == (answer == "yes")


def test_counts(judge):
    question = Question("How many dogs are in the image?", "count", template="number/1")
    assert [ask(judge, question, sample).answer for sample in (0, 1)] == ["1", "2"]


def test_choices_are_between_statements(judge):
    statements = tuple(f"the cat is {way} the dog" for way in ("to the right of", "to the left of"))
    question = Question("Which is true of the image?", "choice", statements, template="letter/1")
    reply = ask(judge, question)
    assert (reply.answer, set(reply.probabilities.options)) == ("B", {"A", "B"})
    assert reply.probabilities.p > 0.8
    missing = judge.ask(Picture("", b"", ("p1", 0)), [Asked(question)])[0]
    assert missing.status == REFUSED
    assert "no option holds" in missing.reason


@pytest.mark.parametrize(
    ("question", "why"),
    [
        (Question("Is the cat facing the dog?"), "facing"),
        (Question("Is there a unicorn in the image?"), "was not asked for 'unicorn'"),
        (Question("Is it raining?"), "not read|was not asked"),
        (Question("What is the mood?", "text", template="say/1"), "not about objects"),
        (Question("Where is it?", "choice", ("left", "right"), template="letter/1"), "no choice"),
        (Question("Is the cat red?"), "red cat"),
        (Question("How many?", "count", template="number/1"), "not about objects"),
    ],
)
def test_what_boxes_cannot_tell_is_refused_with_the_reason(judge, question, why):
    reply = ask(judge, question)
    assert (reply.status, reply.answer) == (REFUSED, None)
    assert re.search(why, reply.reason), reply.reason


def test_an_image_without_boxes_of_its_own_is_an_error(tmp_path):
    run = with_boxes(make_run(tmp_path / "run"), status="detector_failed")
    judge = load_judge("boxes", options={"run": str(run.path)})
    assert ask(judge, Question("Is there a cat?")).status == ERROR
    assert judge.ask(Picture("", b"", ("?", 0)), [Asked(Question("Is there a cat?"))])[0].reason


def test_a_run_is_asked_and_judged_as_by_spatial(tmp_path):
    run = with_boxes(make_run(tmp_path / "run"), CAT_LEFT)
    result = ask_run(run, [SpatialVQA()], AskSettings(judge="boxes"))
    assert result.left == 0
    verdicts = SpatialVQA().judge_answers(run.prompts(), run.images(), run.answers("boxes"))
    assert verdicts["correct"].to_list() == [True, False, False, False, False, False]
    assert str(tmp_path) not in str(run.plan("ask-boxes"))
    again = ask_run(run, [SpatialVQA()], AskSettings(judge="boxes"))
    assert (again.pending, again.asked) == (0, 0)


def test_names_and_options_that_are_none(tmp_path):
    with pytest.raises(InputError, match="there is none here"):
        load_judge("boxes")
    with pytest.raises(InputError, match="has no option 'x'"):
        resolve_judge("boxes", options={"x": 1})
    run = make_run(tmp_path / "run")
    with pytest.raises(InputError, match=r"detections/main\.parquet"):
        load_judge("boxes", options={"run": str(run.path)})
