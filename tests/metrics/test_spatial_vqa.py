"""`spatial_vqa`: which questions a scene becomes, and what verdicts answers become."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.metrics.spatial_vqa import SpatialVQA, parts_of
from t2i_spatial.questions import ANSWERS
from t2i_spatial.scene import ObjectSpec, Prompt, RelationSpec, SceneSpec
from t2i_spatial.tables import DETECTOR_FAILED, IMAGE_MISSING, IN_PART, SCORED, prompts_to_table

CAT, DOG = ObjectSpec("cat"), ObjectSpec("dog", 2, "red")
SCENE = SceneSpec((CAT, DOG), (RelationSpec(0, "left of", 1),))
PROMPTS = prompts_to_table([Prompt("p", "a cat to the left of two red dogs", scene=SCENE)])
METRIC = SpatialVQA()
IMAGES = pl.DataFrame(
    {"prompt_id": ["p"], "sample": [0], "status": [SCORED], "reason": [None]},
    schema={"prompt_id": pl.String, "sample": pl.Int32, "status": pl.String, "reason": pl.String},
)


def answers(how, rollouts=2):
    """ANSWERS in which `how(text, options shown)` gives P(right) or a status."""
    rows = []
    for row in METRIC.questions(PROMPTS).iter_rows(named=True):
        said = how(row)
        for rollout in range(rollouts):
            chances = None
            if isinstance(said, float):
                others = [o for o in ("yes", "no", "A", "B", "2", "3") if o != row["gold"]][:1]
                chances = [
                    {"answer": row["gold"], "p": said},
                    {"answer": others[0], "p": 1 - said},
                ]
            rows.append(
                {
                    "prompt_id": "p",
                    "sample": 0,
                    "question_id": row["question_id"],
                    "rollout": rollout,
                    "status": said if isinstance(said, str) else "answered",
                    "answer": row["gold"] if isinstance(said, float) and said > 0.5 else "?",
                    "chances": chances,
                }
            )
    return pl.DataFrame(rows, schema=ANSWERS)


def verdict(how, images=IMAGES):
    return METRIC.judge_answers(PROMPTS, images, answers(how)).row(0, named=True)


def components(row):
    return {c["name"]: c["value"] for c in row["components"]}


def test_a_relation_is_asked_from_both_sides():
    texts = [q.shown() for part in parts_of(SCENE) for q in part.questions]
    assert texts == [
        "Is there a cat in the image? Answer Yes or No.",
        "Is there a dog in the image? Answer Yes or No.",
        "How many dogs are in the image? Answer with a number.",
        "Are the dogs red? Answer Yes or No.",
        "Which is true of the image?\nA. the cat is to the left of the dogs\n"
        "B. the cat is to the right of the dogs Answer with one letter.",
        "Which is true of the image?\nA. the dogs are to the right of the cat\n"
        "B. the dogs are to the left of the cat Answer with one letter.",
    ]


def test_what_must_not_be_is_right_when_it_is_not():
    scene = SceneSpec(
        (CAT, ObjectSpec("hat", 0), ObjectSpec("table")),
        (RelationSpec(0, "on", 2, negated=True),),
    )
    golds = {q.text: q.gold for part in parts_of(scene) for q in part.questions}
    assert golds["Is there a hat in the image?"] == "no"
    assert golds["Is the cat on the table?"] == "no"


def test_between_is_asked_once_with_both_ends():
    scene = SceneSpec(
        (CAT, ObjectSpec("dog"), ObjectSpec("bird")),
        (
            RelationSpec(0, "between", 1, "between", second=2),
            RelationSpec(0, "next to", 1, "between"),
            RelationSpec(0, "next to", 2, "between"),
        ),
    )
    asked = [q.text for part in parts_of(scene) if part.kind == "relation" for q in part.questions]
    assert asked == ["Is the cat between the dog and the bird?"]


def test_the_weakest_part_decides():
    row = verdict(lambda q: 0.7 if q["kind"] == "choice" else 0.9)
    assert (row["status"], row["correct"], row["value"]) == (SCORED, True, pytest.approx(0.7))
    assert row["reason"] == "the cat to the left of the dogs: 0.70"
    wrong = verdict(lambda q: 0.3 if q["kind"] == "count" else 0.9)
    assert (wrong["correct"], components(wrong)["count"]) == (False, pytest.approx(0.3))


def test_a_judge_that_contradicts_itself_is_seen():
    row = verdict(lambda q: 0.9)
    turned = verdict(
        lambda q: 0.1 if q["options"] and q["options"][0].startswith("the dogs") else 0.9
    )
    assert components(row)["consistency"] == pytest.approx(1.0)
    assert components(turned)["consistency"] == pytest.approx(0.2)
    assert turned["value"] == pytest.approx(0.5)
    assert turned["correct"] is False


def test_what_is_not_there_has_no_colour_and_no_place():
    row = verdict(lambda q: 0.2 if "Is there a dog" in q["text"] else 0.9)
    assert row["correct"] is False
    assert row["reason"] == "a dog: 0.20"
    assert components(row)["color"] is None
    assert components(row)["relation"] is None


@pytest.mark.parametrize("status", ["refused", "off_format", "error"])
def test_a_part_without_an_answer_is_open_and_never_right(status):
    row = verdict(lambda q: status if q["kind"] == "choice" else 0.9)
    assert (row["status"], row["value"], row["correct"]) == (IN_PART, None, None)
    assert row["unjudged"] == ["the cat to the left of the dogs"]
    wrong = verdict(lambda q: status if q["kind"] == "choice" else 0.2)
    assert (wrong["status"], wrong["correct"]) == (SCORED, False)
    nothing = verdict(lambda q: status)
    assert (nothing["status"], nothing["value"]) == (IN_PART, None)


def test_an_image_keeps_its_status_and_one_that_was_not_asked_about_has_one():
    images = pl.concat([IMAGES, IMAGES.with_columns(sample=pl.lit(1, pl.Int32))])
    images = images.with_columns(status=pl.Series([IMAGE_MISSING, SCORED]))
    rows = METRIC.judge_answers(PROMPTS, images, answers(lambda q: 0.9))
    assert rows["status"].to_list() == [IMAGE_MISSING, DETECTOR_FAILED]
    assert rows["value"].to_list() == [None, None]


def test_votes_stand_in_for_probabilities():
    votes = answers(lambda q: 0.9).with_columns(
        chances=pl.lit(None, ANSWERS["chances"]),
        answer=pl.when(pl.col("rollout") == 0).then(pl.lit("?")).otherwise("answer"),
    )
    row = METRIC.judge_answers(PROMPTS, IMAGES, votes).row(0, named=True)
    assert row["value"] == pytest.approx(0.5)


def test_boxes_and_questions_that_were_not_asked_are_errors():
    with pytest.raises(InputError, match="not from boxes"):
        METRIC.judge(PROMPTS, IMAGES)
    some = answers(lambda q: 0.9).head(2)
    with pytest.raises(InputError, match="5 of 6 questions of spatial_vqa were not asked"):
        METRIC.judge_answers(PROMPTS, IMAGES, some)


def test_what_stands_to_each_other_is_asked_so():
    scene = SceneSpec((ObjectSpec("cup", 2),), (RelationSpec(0, "on", 0),))
    part = parts_of(scene)[-1]
    assert [q.text for q in part.questions] == ["Are the cups on top of each other?"]
    assert (part.words, part.objects) == ("the cups on top of each other", (0,))
    beside = SceneSpec((ObjectSpec("cup", 2),), (RelationSpec(0, "left of", 0, negated=True),))
    (asked,) = parts_of(beside)[-1].questions
    assert (asked.text, asked.gold) == ("Are the cups to the left of each other?", "no")


def test_images_judged_together_get_the_verdicts_they_get_alone():
    rng = np.random.default_rng(0)
    things = [ObjectSpec(name) for name in ("cat", "dog", "cup")]
    chain = tuple(
        RelationSpec(k, word, (k + 1) % 3) for k, word in enumerate(("above", "near", "left of"))
    )
    scenes = [
        SCENE,
        SceneSpec(tuple(things), chain),
        SceneSpec((things[0], ObjectSpec("hat", 0), ObjectSpec("car", 3, "blue"))),
        SCENE,
    ]
    prompts = prompts_to_table([Prompt(f"p{k}", "", scene=s) for k, s in enumerate(scenes)])
    rows = []
    for question in METRIC.questions(prompts).iter_rows(named=True):
        for sample in range(6):
            for rollout in range(2):
                p = float(rng.random())
                chances = [{"answer": question["gold"], "p": p}, {"answer": "?", "p": 1 - p}]
                rows.append(
                    {
                        "prompt_id": question["prompt_id"],
                        "sample": sample,
                        "question_id": question["question_id"],
                        "rollout": rollout,
                        "status": "refused" if rng.random() < 0.3 else "answered",
                        "answer": question["gold"] if rng.random() < 0.6 else "?",
                        "chances": chances if rng.random() < 0.5 else None,
                    }
                )
    given = pl.DataFrame(rows, schema=ANSWERS)
    images = given.select("prompt_id", "sample").unique(maintain_order=True)
    images = images.with_columns(status=pl.lit(SCORED), reason=pl.lit(None, pl.String))
    together = METRIC.judge_answers(prompts, images, given)
    alone = [METRIC.judge_answers(prompts, images[k], given) for k in range(len(images))]
    assert together.equals(pl.concat(alone))
    assert together["value"].n_unique() > 10 and together["status"].n_unique() > 1
