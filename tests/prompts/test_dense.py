"""Dense prompts: what a reply must be, what is written, and the command against a server."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from click.testing import CliRunner

from t2i_spatial.cli.main import main
from t2i_spatial.errors import InputError
from t2i_spatial.judges import Judge, Reply
from t2i_spatial.metrics.asked.spatialgeneval import SpatialGenEval, SpatialGenEvalStrict
from t2i_spatial.prompts import load_prompts
from t2i_spatial.prompts.dense import (
    SCENES,
    Distinct,
    checking_question,
    dense_schema,
    read_reply,
    records,
    scene_order,
    writing_question,
)
from t2i_spatial.prompts.readers.spatialgeneval import DOMAINS, read_options
from t2i_spatial.questions import ANSWERED
from t2i_spatial.stages import dense_prompts
from t2i_spatial.stages.ask_settings import DenseSettings
from t2i_spatial.tables import prompts_to_table
from tests.judges.replaying_server import ReplayingServer, failure, said

FILLER = "A red cat sits to the left of a wooden chair and looks at a bird on the table."


def replied(number=0, **changes):
    own = " ".join(f"Box {number}{letter} is near door {number}{letter}." for letter in "klmnopq")
    reply = {
        "prompt": f"{FILLER} {own}",
        "questions": [
            {
                "type": domain,
                "question": f"What is right about the {domain} {number}?",
                "options": [f"{domain} wrong {k}" for k in range(3)] + [f"{domain} right"],
                "answer": f"{domain} right",
            }
            for domain in reversed(DOMAINS)
        ],
    }
    return reply | changes


def changed(**question):
    """A reply whose first question has something else in it."""
    reply = replied()
    reply["questions"][0] |= question
    return reply


def test_what_is_asked_names_scene_schema_and_all_types():
    text = writing_question("a quiet harbour", 3, 0).text
    assert "a quiet harbour" in text and json.dumps(dense_schema(), separators=(",", ":")) in text
    assert all(f"- {domain}: " in text for domain in DOMAINS)
    assert text == writing_question("a quiet harbour", 3, 0).text
    ideas = {writing_question("a quiet harbour", k, 0).text for k in range(20)}
    assert len(ideas) > 10
    assert "because of this" in writing_question("x", 3, 0, "because of this").text


@pytest.mark.parametrize("around", ["{}", "<think>{{}}</think>\n```json\n{}\n```"])
def test_a_reply_is_sorted_by_type_with_the_right_option_first(around):
    made = read_reply(around.format(json.dumps(replied())), "park")
    assert [question.domain for question in made.questions] == list(DOMAINS)
    assert made.questions[0].options[0] == "object right"
    assert made.scene == "park"


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ("I cannot", "no JSON object"),
        (json.dumps(replied())[:300], "JSON object|must have the keys"),
        (replied(prompt="A cat."), "2 words, 40 to 130"),
        (replied(prompt="cat " * 200), "200 words"),
        (replied(prompt=5), "the prompt must be a text"),
        (replied(prompt="der die das und " * 12), "no thing can be read"),
        (replied(more=1), "keys prompt, questions and no others"),
        (replied(questions={}), "must be a list"),
        (replied(questions=replied()["questions"][1:]), "9 questions.*missing: causal"),
        (changed(type="object"), "missing: causal"),
        (changed(type="smell"), "unknown type of question 'smell'"),
        (changed(question="What is right about the motion 0?"), "asked twice"),
        (changed(question="Say it."), "question mark"),
        (changed(question="What? Options: A: x?"), "question mark"),
        (changed(options=["a", "b", "causal right"]), "needs 4 options"),
        (changed(options=["a", "A.", "b", "causal right"]), "the same"),
        (changed(options=["a", "", "b", "causal right"]), "must be a text"),
        (changed(options=["none of these", "a", "b", "causal right"]), "is 'none'"),
        (changed(answer="D"), "none of its options"),
        (changed(options=["a, B: b", "c", "d", "causal right"]), "cannot be written"),
        (changed(why="so"), "no others"),
    ],
)
def test_a_reply_that_is_not_what_was_asked_for_is_refused(reply, message):
    with pytest.raises(InputError, match=message):
        read_reply(reply if isinstance(reply, str) else json.dumps(reply), "park")


def test_each_letter_is_right_equally_often_in_every_sub_domain():
    made = [read_reply(json.dumps(replied(k)), "park") for k in range(8)]
    lines = list(records(made, 5))
    for column in range(10):
        assert Counter(line["answers"][column] for line in lines) == dict.fromkeys("ABCD", 2)
    for line in lines:
        for domain, question, letter in zip(
            DOMAINS, line["questions"], line["answers"], strict=True
        ):
            _, options = read_options(question)
            assert options[letter] == f"{domain} right" and options["E"] == "None"
            assert sorted(options) == list("ABCDE")
    assert list(records(made[:3], 5)) == lines[:3]
    assert list(records(made, 6)) != lines


def test_prompts_that_say_the_same_are_one():
    known = Distinct()
    first = read_reply(json.dumps(replied(1)), "park")
    assert known.add(first)
    assert not known.add(first)
    assert known.add(read_reply(json.dumps(replied(1)), "yard"))


def test_scenes_are_drawn_equally_often_and_by_seed():
    assert set(Counter(scene_order(SCENES, 3 * len(SCENES), 1)).values()) == {3}
    assert scene_order(SCENES, 50, 1) == scene_order(SCENES, 80, 1)[:50]
    assert scene_order(SCENES, 50, 1) != scene_order(SCENES, 50, 2)


def number_of(body):
    """Which prompt a request is for: its seed."""
    return body["seed"]


def write(server, tmp_path, *more, count=4):
    arguments = ["prompts", "dense", "-o", str(tmp_path / "dense.jsonl"), "--judge", server.url]
    options = ["--judge-model", "m", "--count", str(count), "--option", "patience=5", *more]
    return CliRunner().invoke(main, [*arguments, *options])


def written(tmp_path):
    lines = (tmp_path / "dense.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_our_reader_and_protocols_take_what_was_written(tmp_path):
    scenes = tmp_path / "scenes.txt"
    scenes.write_text("# mine\nan old mill\n\na tram\n")
    with ReplayingServer(lambda b, n: said(json.dumps(replied(number_of(b))))) as server:
        result = write(server, tmp_path, "--scenes", str(scenes))
    assert result.exit_code == 0, result.output
    assert "4 prompts with ten questions each" in result.stderr
    assert "25.0 % right" in result.stderr
    lines = written(tmp_path)
    assert list(lines[0]) == ["id", "scene", "prompt", "question_type", "questions", "answers"]
    assert [line["id"] for line in lines] == ["000001", "000002", "000003", "000004"]
    assert Counter(line["scene"] for line in lines) == {"an old mill": 2, "a tram": 2}
    prompts = load_prompts(tmp_path / "dense.jsonl")
    assert [prompt.text for prompt in prompts] == [line["prompt"] for line in lines]
    table = prompts_to_table(prompts)
    assert len(SpatialGenEval().questions(table)) == 4
    strict = SpatialGenEvalStrict().questions(table)
    assert len(strict) == 40 and strict["gold"].null_count() == 0
    record = json.loads((tmp_path / "dense.jsonl.json").read_text())
    assert record["seed"] == 0 and record["judge"]["model"] == "m"
    assert "dense_prompt/1" in record["templates"]
    assert {b["temperature"] for b in server.bodies} == {1.0}


def test_invalid_replies_are_asked_again_once_then_left_out_and_counted(tmp_path):
    def answer(body, number):
        again = "could not be used" in body["messages"][-1]["content"]
        if number_of(body) == 1 or (number_of(body) == 2 and not again):
            return said(json.dumps(replied(prompt="A cat.")))
        if number_of(body) == 3:
            return failure(422, "too hot")
        return said(json.dumps(replied(number_of(body))))

    with ReplayingServer(answer) as server:
        result = write(server, tmp_path)
        assert len(server.bodies) == 6
    assert result.exit_code == 0
    assert re.search(r"1 left out: error\n\s+1 left out: off_format", result.stderr)
    assert len(written(tmp_path)) == 2
    asked = [b["messages"][-1]["content"] for b in server.bodies]
    assert any("could not be used: the prompt has 2 words" in text for text in asked)
    left = json.loads((tmp_path / "dense.jsonl.json").read_text())["left_out"]
    assert [(one["number"], one["problem"]) for one in left] == [(1, "off_format"), (3, "error")]
    assert "422: too hot" in left[1]["reason"]


def test_the_same_prompt_twice_is_asked_again_then_left_out(tmp_path):
    scenes = tmp_path / "scenes.txt"
    scenes.write_text("a tram\n")
    with ReplayingServer(lambda b, n: said(json.dumps(replied(1)))) as server:
        result = write(server, tmp_path, "--scenes", str(scenes), count=2)
    assert "1 left out: duplicate" in result.stderr
    assert len(server.bodies) == 3 and len(written(tmp_path)) == 1


def test_questions_that_the_prompt_does_not_answer_are_left_out(tmp_path):
    def answer(body, number):
        text = body["messages"][-1]["content"]
        if "A picture is described so" not in text:
            return said(json.dumps(replied(number_of(body))))
        shown = re.findall(r"\d+\. (.*?)  Options: (.*)", text)
        letters = [re.search(r"([A-D]): \w+ right", options)[1] for _, options in shown]
        if "the object 2?" in text:
            letters[5] = "ABCD"["ABCD".index(letters[5]) - 1]
        return said("\n".join(letters))

    with ReplayingServer(answer) as server:
        result = write(server, tmp_path, "--check")
    assert "1 left out: not_answerable" in result.stderr
    assert len(written(tmp_path)) == 3
    asked = [b["messages"][-1]["content"] for b in server.bodies]
    assert any("does not say the answer of comparison" in text for text in asked)


def test_the_check_shuffles_options_and_knows_the_right_letters():
    prompt = read_reply(json.dumps(replied()), "park")
    question, gold = checking_question(prompt, 0, 0)
    shown = re.findall(r"Options: (.*)", question.text)
    assert len(shown) == 10 and len(set(gold)) > 1
    for options, letter in zip(shown, gold, strict=True):
        assert re.search(rf"{letter}: \w+ right", options)


def test_an_interrupted_call_goes_on_without_asking_twice_and_ends_the_same(tmp_path):
    gone = [True]

    def answer(body, number):
        if gone[0] and number >= 2:
            return failure(403, "quota")
        return said(json.dumps(replied(number_of(body))))

    one = ["--option", "concurrency=1", "--option", "max_concurrency=1"]
    with ReplayingServer(answer) as server:
        first = write(server, tmp_path, *one)
        assert first.exit_code == 1 and "quota" in first.stderr
        assert not (tmp_path / "dense.jsonl").exists()
        before = len(server.bodies)
        gone[0] = False
        assert write(server, tmp_path, *one).exit_code == 0
        put = [number_of(body) for body in server.bodies[:2] + server.bodies[before:]]
        assert sorted(put) == [0, 1, 2, 3]
        content = (tmp_path / "dense.jsonl").read_bytes()
        other = tmp_path / "other"
        other.mkdir()
        assert write(server, other, *one).exit_code == 0
    assert (other / "dense.jsonl").read_bytes() == content


def test_a_limit_of_requests_and_a_dry_run(tmp_path):
    with ReplayingServer(lambda b, n: said(json.dumps(replied(number_of(b))))) as server:
        dry = write(server, tmp_path, "--dry-run", "--check")
        assert dry.stdout.startswith("8 requests, about 9,600 tokens; 16 and")
        assert not server.bodies
        first = write(server, tmp_path, "--max-requests", "3")
        assert "1 still to be asked for" in first.stderr and len(written(tmp_path)) == 3
        second = write(server, tmp_path, "--max-requests", "3")
        assert "still" not in second.stderr and len(server.bodies) == 4
    assert len(written(tmp_path)) == 4


class Scribe(Judge):
    """A model in this process, which keeps no replies of its own."""

    asked = 0

    def ask(self, picture, asked):
        raise AssertionError("there is no picture")

    def say(self, asked):
        Scribe.asked += len(asked)
        replies = [json.dumps(replied(one.rollout)) for one in asked]
        return [Reply(ANSWERED, answer=text, raw=text) for text in replies]


def test_replies_of_a_local_model_are_kept_too(tmp_path, monkeypatch):
    monkeypatch.setattr(dense_prompts, "load_unseeing", lambda spec, device: Scribe(spec))
    settings = DenseSettings(judge="transformers:some/model", count=3)
    for _ in range(2):
        made = dense_prompts.write_dense_prompts(settings, tmp_path / "dense.jsonl")
        assert (made.written, Scribe.asked) == (3, 3)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--judge", "bundled"], "picks among answers and writes no texts"),
        (["--scenes", "none.txt"], "none.txt"),
        (["--count", "0"], "0 is not in the range"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, more, message):
    arguments = ["prompts", "dense", "-o", str(tmp_path / "x"), "--judge", "http://127.0.0.1:1/v1"]
    result = CliRunner().invoke(main, [*arguments, *more])
    assert result.exit_code != 0 and message in result.stderr


def test_nothing_usable_is_an_error(tmp_path):
    with ReplayingServer(lambda b, n: said("no")) as server:
        result = write(server, tmp_path)
    assert result.exit_code == 1 and "no prompt could be written: 4 off_format" in result.stderr


def test_a_file_of_scenes_without_scenes_or_with_one_twice(tmp_path):
    scenes = tmp_path / "scenes.txt"
    for text, message in (("\n# x\n", "names no scene"), ("a\nb\na\n", "'a' twice")):
        scenes.write_text(text)
        arguments = ["prompts", "dense", "-o", str(tmp_path / "x"), "--scenes", str(scenes)]
        result = CliRunner().invoke(main, [*arguments, "--judge", "http://127.0.0.1:1/v1"])
        assert result.exit_code == 1 and message in result.stderr
