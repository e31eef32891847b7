"""A judge as the second reader of a prompt, against a server that replays replies."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from t2i_spatial.cli.main import main
from t2i_spatial.errors import InputError
from t2i_spatial.judges import Judge, JudgeSpec
from t2i_spatial.prompts import parse_prompt
from t2i_spatial.prompts.second_reading import disagreements, reading_question, scene_of_reply
from t2i_spatial.relations import RELATIONS
from t2i_spatial.scene import ObjectSpec, SceneSpec
from t2i_spatial.stages.second_reader import read_by_judge
from tests.judges.replaying_server import ReplayingServer, failure, said

TEXT = "two red mice to the left of a sign that says 'STOP'"
SCENE = {
    "objects": [
        {"name": "mouse", "count": 2, "color": "red"},
        {"name": "sign"},
        {"name": "text", "text": "STOP"},
    ],
    "relations": [
        {"subject": 0, "relation": "left of", "object": 1},
        {"subject": 2, "relation": "on", "object": 1},
    ],
}


def without(**changes):
    return json.dumps({**SCENE, **changes})


def parse(server, *more, text=TEXT):
    arguments = ["prompts", "parse", text, "--reader", "judge", "--judge", server.url, *more]
    return CliRunner().invoke(main, arguments)


def test_the_question_holds_the_text_and_every_relation():
    asked = reading_question('a "cat"').text
    assert asked.endswith(r'Prompt: "a \"cat\""')
    assert all(json.dumps(relation) in asked for relation in RELATIONS)


@pytest.mark.parametrize(
    "around", ["{}", "```json\n{}\n```", 'The set {{a}} is {{"a": 1}}. So:\n{}']
)
def test_a_scene_is_found_in_a_reply(around):
    scene = scene_of_reply(around.format(json.dumps(SCENE, indent=1)), TEXT)
    assert scene == SceneSpec.from_dict(SCENE)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ("two mice", "holds no JSON object: 'two mice'"),
        ("[1, 2]", "holds no JSON object"),
        ('{"things": []}', "unknown key 'things'"),
        (without(objects=[{"name": "cat"}], relations=[]), "'cat' does not stand in the prompt"),
        (without(objects=[{"name": "red bus"}], relations=[]), "'bus' does not stand"),
        (without(objects=[{"name": "sign", "color": "blue"}], relations=[]), "'blue' does not"),
        (without(objects=[{"name": "text", "text": "GO"}], relations=[]), "'go' does not stand"),
        (without(objects=[{"name": "sign"}]), "names object 1"),
        (without(relations=[{"subject": 0, "relation": "eats", "object": 1}]), "eats"),
    ],
)
def test_a_reply_that_is_no_scene_about_the_text_is_refused(reply, message):
    with pytest.raises(InputError, match=message):
        scene_of_reply(reply, TEXT)


def test_readers_that_say_the_same_from_other_sides_agree():
    rules = parse_prompt("a cat to the left of a dog, and a bird between a tree and a bus")
    judge = {
        "objects": [{"name": n} for n in ("dog", "cat", "bus", "bird", "tree")],
        "relations": [
            {"subject": 0, "relation": "right of", "object": 1},
            {"subject": 3, "relation": "between", "object": 2, "second": 4},
        ],
    }
    assert disagreements(rules, SceneSpec.from_dict(judge)) == []


def test_what_only_one_reads_is_told():
    two = SceneSpec((ObjectSpec("cat", 2), ObjectSpec("dog", 0)))
    other = SceneSpec((ObjectSpec("cat"), ObjectSpec("dog", 0), ObjectSpec("cat")))
    assert disagreements(two, other) == [
        "only the rules: two cats",
        "only the judge: a cat",
        "only the judge: a cat",
    ]


def test_the_scene_of_the_judge_is_shown_and_told_from_that_of_the_rules():
    reply = json.dumps(SCENE)
    with ReplayingServer(lambda body, number: said(f"```json\n{reply}\n```")) as server:
        result = parse(server, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == SceneSpec.from_dict(json.loads(reply)).to_dict()
    assert "only the judge: text on sign" in result.stderr
    assert len(server.bodies) == 1  # no test question about pictures
    (system, message) = server.bodies[0]["messages"]
    assert "JSON" in system["content"]
    assert isinstance(message["content"], str) and TEXT in message["content"]
    assert server.bodies[0]["temperature"] == 0 and "logprobs" not in server.bodies[0]


def test_readers_that_agree_are_said_to():
    reply = without(relations=SCENE["relations"][:1])
    with ReplayingServer(lambda body, number: said(reply)) as server:
        result = parse(server)
    assert "rules and judge agree" in result.stderr
    assert "left of" in result.stdout


def test_what_was_read_before_is_not_asked_again_and_bad_replies_are_not_kept(tmp_path):
    replies = ["no idea", json.dumps(SCENE)]
    with ReplayingServer(lambda body, number: said(replies[number])) as server:
        first = parse(server, "--cache", str(tmp_path))
        again = [parse(server, "--cache", str(tmp_path)) for _ in range(2)]
    assert first.exit_code == 1 and "holds no JSON object: 'no idea'" in first.stderr
    assert [result.exit_code for result in again] == [0, 0]
    assert again[0].stdout == again[1].stdout
    assert len(server.bodies) == 2


def test_a_server_that_refuses_is_told_in_one_line():
    with ReplayingServer(lambda body, number: failure(400, "too long")) as server:
        result = parse(server)
    assert result.exit_code == 1
    assert "did not read the prompt: 400: too long" in result.stderr


def test_rules_take_no_judge():
    result = CliRunner().invoke(main, ["prompts", "parse", "a cat", "--judge", "bundled"])
    assert result.exit_code == 2
    assert "--judge has no effect here: only a judge takes it" in result.stderr


class OfPictures(Judge):
    def ask(self, picture, asked):
        raise AssertionError("there is no picture")


def test_a_judge_of_pictures_only_says_so():
    with pytest.raises(InputError, match="'eye' answers questions about pictures only"):
        read_by_judge(TEXT, OfPictures(JudgeSpec("eye", "eye")))
