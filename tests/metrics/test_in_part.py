"""A part of a prompt that was not read, or that a protocol has no rule for, is never satisfied."""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl
import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.metrics import PROTOCOLS
from t2i_spatial.metrics.base import Metric
from t2i_spatial.metrics.numbers import Intervals
from t2i_spatial.metrics.tabular import join_prompts, verdict_table
from t2i_spatial.prompts import parse_prompt
from t2i_spatial.prompts.readers import find_format
from t2i_spatial.rewards import RewardSpec
from t2i_spatial.scene import ObjectSpec, Prompt, RelationSpec, SceneSpec
from t2i_spatial.scoring.core import judge_batch
from t2i_spatial.stages.score import format_table, make_protocols, score_tables
from t2i_spatial.tables import IN_PART, VERDICTS, prompts_to_table
from tests.builders import box, detection_rows, detections

RIGHT = detections(box("cat", 0, 200, 100, 300), box("dog", 400, 200, 500, 300))
WRONG = detections(box("dog", 0, 200, 100, 300), box("cat", 400, 200, 500, 300))
TWO = (ObjectSpec("cat"), ObjectSpec("dog"))
LEFT = RelationSpec(0, "left of", 1)
ALL = ("visor", "geneval", "geneval_reward", "geneval_reward_fixed", "t2i_compbench_2d",
       "t2i_compbench_2d_fixed", "t2i_compbench_numeracy", "t2i_compbench_numeracy_fixed",
       "spatial")  # fmt: skip
POSITIONAL = tuple(name for name in ALL if "numeracy" not in name)


def asked(scene, id="0", **more):
    return Prompt(id, "a cat to the left of a dog", None, scene, **more)


def judge(name, prompt, found, **settings):
    table = PROTOCOLS[name](**settings).judge(
        prompts_to_table([prompt]), detection_rows({(prompt.id, 0): found})
    )
    assert table.schema == VERDICTS
    return table.row(0, named=True)


@pytest.mark.parametrize("name", ALL)
def test_an_unread_part_is_never_satisfied(name):
    scene = SceneSpec(TWO, () if "numeracy" in name else (LEFT,))
    whole = judge(name, asked(scene), RIGHT)
    assert whole["correct"] and whole["unjudged"] == [] and whole["status"] == "scored"
    for part in ("facing each other", "bigger than", "un chat"):
        verdict = judge(name, asked(replace(scene, unparsed=(part,))), RIGHT)
        assert verdict["status"] == IN_PART
        assert verdict["value"] is verdict["correct"] is verdict["margin"] is None
        assert verdict["unjudged"] == [part]
        assert verdict["reason"] == f"{whole['reason']}; not judged: {part}"
        assert verdict["evidence"] == whole["evidence"]


@pytest.mark.parametrize("name", POSITIONAL)
def test_a_picture_that_is_wrong_by_what_was_read_stays_wrong(name):
    scene = SceneSpec(TWO, (LEFT,), ("facing",))
    whole = judge(name, asked(SceneSpec(TWO, (LEFT,))), WRONG)
    verdict = judge(name, asked(scene), WRONG)
    for column in ("status", "value", "correct", "margin", "components"):
        assert verdict[column] == whole[column], column
    assert verdict["correct"] is False
    assert verdict["reason"].endswith("; not judged: facing")


@pytest.mark.parametrize(
    ("spec", "part", "judged_by"),
    [
        (ObjectSpec("cat", attributes=("in a row",)), "in a row cat", ()),
        (ObjectSpec("cat", attributes=("smaller",)), "smaller cat", ()),
        (ObjectSpec("cat", frame_position="left"), "cat in the left of the picture", ("spatial",)),
        (ObjectSpec("cat", 2), "2 cat", ("spatial", "geneval", "geneval_reward",
                                         "geneval_reward_fixed")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", POSITIONAL)
def test_what_a_protocol_has_no_rule_for_is_not_satisfied(name, spec, part, judged_by):
    verdict = judge(name, asked(SceneSpec((spec, TWO[1]), (LEFT,))), RIGHT)
    assert (part in verdict["unjudged"]) == (name not in judged_by)
    if name not in judged_by:
        assert not verdict["correct"] and verdict["value"] != 1


@pytest.mark.parametrize("ends", [(0, 0, None), (0, 1, 1)])
@pytest.mark.parametrize("name", ["spatial", "geneval_reward_fixed", "geneval"])
def test_a_relation_of_a_thing_to_itself_is_not_satisfied(name, ends):
    subject, target, second = ends
    row = RelationSpec(subject, "left of" if second is None else "between", target, second=second)
    verdict = judge(name, asked(SceneSpec(TWO, (row,))), RIGHT)
    assert not verdict["correct"]
    assert verdict["unjudged"] or verdict["status"] in ("scored", "not_applicable")


@pytest.mark.parametrize("column", ["prompt", "text", "caption", "Sentence"])
def test_clauses_are_read_whatever_the_column_of_the_prompt_is_called(column):
    record = {column: "some cats", "include": [{"class": "cat", "count": 2, "size": "large"}]}
    prompt = find_format(record).read(record, 0)
    assert prompt.text == "some cats" and prompt.scene.objects == (ObjectSpec("cat", 2),)
    assert prompt.scene.unparsed == ("size large of the cat",)


def test_a_scene_beside_a_prompt_is_taken_and_checked():
    record = {"prompt": "x", "scene": {"objects": [{"name": "cat", "count": 2}]}}
    assert find_format(record).read(record, 0).scene.objects == (ObjectSpec("cat", 2),)
    record["scene"]["objects"][0]["size"] = "large"
    with pytest.raises(InputError, match="unknown key 'size'"):
        find_format(record).read(record, 0)


@pytest.mark.parametrize(
    ("clause", "said"),
    [({"color": ["red", "blue"]}, "color of 'cat' must be text"),
     ({"position": ["left of", 0]}, "clause 0 names itself")],
)  # fmt: skip
def test_clauses_that_cannot_be_are_refused(clause, said):
    record = {"prompt": "a cat", "include": [{"class": "cat", "count": 1, **clause}]}
    with pytest.raises(InputError, match=said):
        find_format(record).read(record, 0)


@pytest.mark.parametrize("name", POSITIONAL)
def test_adjectives_of_looks_are_told_and_void_nothing(name):
    plain = SceneSpec(TWO, (LEFT,))
    wooden = replace(plain, objects=(TWO[0], ObjectSpec("dog", attributes=("small", "wooden"))))
    for found in (RIGHT, WRONG):
        with_them, without = judge(name, asked(wooden), found), judge(name, asked(plain), found)
        told = "; adjectives not judged: small dog, wooden dog"
        assert with_them == without | {"reason": without["reason"] + told}
    # whatever is judged in part for other reasons says both
    verdict = judge(name, asked(replace(wooden, unparsed=("facing",))), RIGHT)
    assert verdict["unjudged"] == ["facing"]
    assert verdict["reason"].endswith(f"; not judged: facing{told}")
    prompts = prompts_to_table([asked(plain, "0"), asked(wooden, "1")])
    rows = detection_rows({("0", 0): RIGHT, ("1", 0): RIGHT})
    summary = score_tables(prompts, rows, make_protocols([name])).summary
    assert summary[name]["images"] == {
        "expected": 2, "scored": 2, "prompts": 2, "prompts_with_adjectives": 1
    }  # fmt: skip
    assert "adjectives are not judged in 1 of 2 prompts" in format_table(summary)
    (only,) = make_protocols([name], only_read=True)
    assert score_tables(prompts, rows, [only]).verdicts[name]["status"].to_list() == ["scored"] * 2


def test_a_protocol_can_void_adjectives():
    class Strict(PROTOCOLS["spatial"]):
        scope = replace(PROTOCOLS["spatial"].scope, attributes=False)

    scene = SceneSpec((TWO[0], ObjectSpec("dog", attributes=("small", "wooden"))), (LEFT,))
    prompts, rows = prompts_to_table([asked(scene)]), detection_rows({("0", 0): RIGHT})
    verdict = Strict().judge(prompts, rows).row(0, named=True)
    assert verdict["status"] == IN_PART and verdict["unjudged"] == ["small dog", "wooden dog"]
    assert verdict["reason"].count("wooden") == 1


def test_a_reward_is_given_to_prompts_with_adjectives():
    scene = SceneSpec((TWO[0], ObjectSpec("dog", attributes=("wooden",))), (LEFT,))
    (result,) = judge_batch([RIGHT], [asked(scene)], RewardSpec({"spatial": 1.0}))
    assert result.reward is not None and result.status == "scored"


def test_absent_objects_are_judged_where_there_is_a_rule():
    scene = SceneSpec((*TWO, ObjectSpec("bird", 0)), (LEFT,))
    bird = detections(*zip(RIGHT.labels, RIGHT.scores, map(tuple, RIGHT.boxes), strict=True),
                      box("bird", 200, 0, 250, 50))  # fmt: skip
    for name in ("spatial", "geneval"):
        assert judge(name, asked(scene), RIGHT)["correct"]
        assert judge(name, asked(scene), bird)["correct"] is False
    # the rewards do not look at exclusions
    verdict = judge("geneval_reward_fixed", asked(scene), RIGHT)
    assert verdict["status"] == IN_PART and verdict["unjudged"] == ["no bird"]


def test_numbers_alone_do_not_make_a_relation_right():
    verdict = judge("t2i_compbench_numeracy", asked(SceneSpec(TWO, (LEFT,))), WRONG)
    assert verdict["status"] == IN_PART and verdict["unjudged"] == ["cat left of dog"]


@pytest.mark.parametrize("name", [n for n in ALL if "fixed" not in n and n != "spatial"])
def test_the_peers_own_verdict_can_be_asked_for(name):
    scene = SceneSpec(TWO, (LEFT,), ("facing",))
    assert judge(name, asked(scene), RIGHT)["correct"] is None
    verdict = judge(name, asked(scene), RIGHT, as_published=True)
    assert verdict["correct"] and verdict["value"] == pytest.approx(
        0.95 if name == "t2i_compbench_2d" else 1
    )
    (made,) = make_protocols([name], [f"{name}.as_published=true"])
    assert made.settings["as_published"] is True


@pytest.mark.parametrize(
    "extra",
    [{"size": "large"}, {"region": [0, 0, 0.5, 1]}, {"orientation": "left"}, {"text": "STOP"},
     {"facing": ["dog"]}, {"material": "wood"}],
)  # fmt: skip
@pytest.mark.parametrize("name", ["geneval", "geneval_reward", "geneval_reward_fixed", "spatial"])
def test_keys_that_geneval_does_not_have_are_not_satisfied(name, extra):
    record = {
        "prompt": "a cat left of a dog",
        "tag": "position",
        "include": [
            {"class": "dog", "count": 1},
            {"class": "cat", "count": 1, "position": ["left of", 0], **extra},
        ],
    }
    prompt = find_format(record).read(record, 0)
    ((key, value),) = extra.items()
    part = f"{key} {value} of the cat"
    assert prompt.scene.unparsed == (part,)
    for kept in (prompt, Prompt("0", "t", "position", prompt.scene, {"geneval": record})):
        assert judge(name, kept, RIGHT)["status"] == IN_PART
        assert judge(name, kept, RIGHT)["unjudged"] == [part]
        assert judge(name, kept, WRONG)["correct"] is False
    # a scene that was read before such keys were looked at
    old = Prompt("0", "t", "position", SceneSpec(TWO, (LEFT,)), {"geneval": record})
    if name != "spatial":
        assert judge(name, old, RIGHT)["unjudged"] == [part]


def test_labels_beside_the_clauses_ask_nothing_but_lists_do():
    record = {"prompt": "a cat", "tag": "single_object", "include": [{"class": "cat", "count": 1}],
              "difficulty": "hard", "id": 7}  # fmt: skip
    assert find_format(record).read(record, 0).scene.unparsed == ()
    record["relations"] = [["cat", "facing", "dog"]]
    assert find_format(record).read(record, 0).scene.unparsed == (
        'relations [["cat", "facing", "dog"]]',
    )


def test_limits_that_a_scene_cannot_say_are_not_read():
    def unread(include, exclude):
        record = {"prompt": "t", "include": [{"class": "cat", "count": include}],
                  "exclude": [exclude]}  # fmt: skip
        return find_format(record).read(record, 0).scene.unparsed

    assert unread(2, {"class": "cat", "count": 3}) == ()
    assert unread(1, {"class": "dog", "count": 1}) == ()
    assert unread(1, {"class": "cat", "count": 2}) == ("fewer than 2 cat",)
    assert unread(2, {"class": "cat", "count": 5}) == ("fewer than 5 cat",)
    assert unread(1, {"class": "dog", "count": 3}) == ("fewer than 3 dog",)
    assert unread(1, {"class": "dog", "count": 1, "color": "red"}) == (
        "color red of the dog that is excluded",
    )


def three_prompts():
    """Read, read in part, and read in part with a wrong picture; two samples each."""
    read, part = SceneSpec(TWO, (LEFT,)), SceneSpec(TWO, (LEFT,), ("facing",))
    prompts = [asked(read, "0"), asked(part, "1"), asked(part, "2")]
    found = {("0", k): RIGHT for k in (0, 1)} | {("1", k): RIGHT for k in (0, 1)}
    return prompts_to_table(prompts), detection_rows(found | {("2", k): WRONG for k in (0, 1)})


@pytest.mark.parametrize("name", POSITIONAL)
@pytest.mark.parametrize("allow_missing", [False, True])
def test_the_summary_counts_prompts_in_part_and_only_read_leaves_them_out(name, allow_missing):
    prompts, rows = three_prompts()
    protocol = make_protocols([name])[0]
    summary = score_tables(
        prompts, rows, [protocol], Intervals(allow_missing=allow_missing)
    ).summary[name]
    images = summary["images"]
    assert (images["expected"], images["scored"], images[IN_PART]) == (6, 4, 2)
    assert (images["prompts"], images["prompts_in_part"]) == (3, 2)
    assert "2 of 3 prompts judged in part" in format_table({name: summary})
    (only,) = make_protocols([name], only_read=True)
    scores = score_tables(prompts, rows, [only], Intervals(allow_missing=allow_missing))
    summary = scores.summary[name]
    assert (summary["images"]["expected"], summary["images"]["prompts_left_out"]) == (2, 2)
    assert scores.verdicts[name]["status"].to_list() == ["scored"] * 2 + ["not_applicable"] * 4
    assert "2 of 3 prompts not judged whole, and left out" in format_table({name: summary})


def test_images_judged_in_part_are_not_right_and_not_missing():
    prompts, rows = three_prompts()
    for allow_missing in (False, True):
        scores = score_tables(
            prompts, rows, make_protocols(["visor"]), Intervals(allow_missing=allow_missing)
        )
        scores.require_complete()  # they have been looked at
        assert scores.summary["visor"]["VISOR_uncond"]["value"] == pytest.approx(2 / 6)
    only = make_protocols(["visor"], only_read=True)
    assert score_tables(prompts, rows, only).summary["visor"]["VISOR_uncond"]["value"] == 1


def test_visor_says_which_prompts_it_drops_unread():
    prompts = prompts_to_table(
        [asked(SceneSpec(TWO, (LEFT,)), "0"),
         Prompt("1", "un chat", None, SceneSpec((ObjectSpec("un chat"),), (), ("un chat",))),
         Prompt("2", "a cat", None, SceneSpec((ObjectSpec("cat"),)))]
    )  # fmt: skip
    rows = detection_rows({(id, 0): RIGHT for id in "012"})
    scores = score_tables(prompts, rows, make_protocols(["visor"]))
    images = scores.summary["visor"]["images"]
    assert images["prompts_left_out"] == 1 and images["not_applicable"] == 2
    assert scores.verdicts["visor"]["unjudged"].to_list() == [[], ["un chat"], []]
    assert "1 of 3 prompts not judged whole, and left out" in format_table(scores.summary)


@pytest.mark.parametrize("found", [RIGHT, WRONG], ids=["right", "wrong"])
@pytest.mark.parametrize("name", ["spatial", "visor", "geneval", "geneval_reward_fixed"])
def test_no_image_of_a_prompt_in_part_has_a_reward(name, found):
    whole, part = SceneSpec(TWO, (LEFT,)), SceneSpec(TWO, (LEFT,), ("facing",))
    prompts = [asked(whole, "0"), asked(part, "1")]
    read, unread = judge_batch([found, found], prompts, RewardSpec({name: 1.0}))
    assert read.reward is not None and read.status == "scored"
    assert unread.reward is None and unread.status == IN_PART
    assert unread.reason.endswith("; not judged: facing")


def test_settling_twice_changes_nothing_and_mirrors_no_verdict_into_right():
    prompts, rows = three_prompts()
    protocol = PROTOCOLS["spatial"]()
    once = protocol.judge(prompts, rows)

    @dataclass(kw_only=True)
    class Again(Metric):
        name = "again"
        parts = protocol.parts

        def judge(self, prompts, detections):
            return once

        def summarize(self, verdicts, prompts, **options):
            return {}

    assert Again().judge(prompts, rows).equals(once)


def test_a_protocol_of_anybody_is_settled():
    @dataclass(kw_only=True)
    class Lenient(Metric):
        name = "lenient"
        parts = ()

        def judge(self, prompts, detections):
            images = join_prompts(detections, prompts.select("prompt_id", "tag"))
            true = pl.col("prompt_id").is_not_null()
            return verdict_table(images, self.name, applicable=true, why_not="", value=true,
                                 correct=true, margin=true, reason=pl.lit("fine"),
                                 components={"x": true})  # fmt: skip

        def summarize(self, verdicts, prompts, **options):
            return {}

    prompts, rows = three_prompts()
    assert Lenient().judge(prompts, rows)["correct"].to_list() == [True, True, *[None] * 4]


@pytest.mark.parametrize("text", ["a cat to the left of a dog", "a red cat above a dog"])
def test_what_the_parser_reads_whole_is_judged_whole_by_spatial(text):
    colored = replace(RIGHT, colors=("red", "black"))
    verdict = judge("spatial", Prompt("0", text, scene=parse_prompt(text)), colored)
    assert verdict["unjudged"] == [] and verdict["status"] == "scored"


@pytest.mark.parametrize("name", ALL)
def test_what_stands_to_each_other_is_judged_by_spatial_and_passed_by_nobody(name):
    scene = SceneSpec((ObjectSpec("cat", 2),), (RelationSpec(0, "left of", 0),))
    found = detections(box("cat", 0, 200, 100, 300), box("cat", 400, 200, 500, 300))
    verdict = judge(name, asked(scene), found)
    if name == "spatial":
        assert verdict["correct"] and verdict["unjudged"] == []
    else:
        assert verdict["status"] in (IN_PART, "not_applicable")
        assert verdict["correct"] is None and verdict["value"] is None
    if verdict["status"] == IN_PART:
        assert "cat left of each other" in verdict["unjudged"]
