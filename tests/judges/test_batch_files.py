"""Requests to a file and replies from a file give the answers that asking directly gives."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from t2i_spatial.cli.main import main
from t2i_spatial.errors import InputError
from t2i_spatial.judges import resolve_judge
from t2i_spatial.judges.batch_files import NO_REPLY, BatchFileJudge, read_replies
from t2i_spatial.metrics.spatial_vqa import SpatialVQA
from t2i_spatial.questions import ANSWERED, ERROR
from t2i_spatial.stages.ask import AskSettings, ask_run
from tests.judges.replaying_server import ReplayingServer, said
from tests.stages.asked_run import make_run

URL = "https://nowhere.example/v1"
SETTINGS = AskSettings(judge=URL, judge_model="m")


def exported(run, path, **more):
    ask_run(run, [SpatialVQA()], SETTINGS, export_requests=path, **more)
    return [json.loads(line) for line in path.read_text().splitlines()]


def reply_to(request):
    body = json.loads(said("Yes", {"Yes": 0.9, "A": 0.05, "B": 0.05})[2])
    if "A. " in request["body"]["messages"][-1]["content"][-1]["text"]:
        body = json.loads(said("A", {"A": 0.7, "B": 0.3})[2])
    return {"custom_id": request["custom_id"], "response": {"status_code": 200, "body": body}}


def test_requests_go_out_and_replies_come_in(tmp_path):
    run = make_run(tmp_path / "run", prompts=1, samples=2)
    requests = exported(run, tmp_path / "requests.jsonl")
    assert len({r["custom_id"] for r in requests}) == len(requests) == 16
    assert {(r["method"], r["url"]) for r in requests} == {("POST", "/v1/chat/completions")}
    assert requests[0]["body"]["messages"][0]["content"][0]["image_url"]["url"].startswith("data:")
    assert not run.plan("ask-m"), "nothing is asked yet"
    replies = [reply_to(request) for request in reversed(requests)]
    replies[0] = {"custom_id": replies[0]["custom_id"], "error": {"message": "expired"}}
    (tmp_path / "replies.jsonl").write_text("\n".join(map(json.dumps, replies[:-1])) + "\n\n")
    result = ask_run(run, [SpatialVQA()], SETTINGS, import_replies=tmp_path / "replies.jsonl")
    assert result.statuses == {ANSWERED: 14, ERROR: 2}
    failed = run.answers("m").filter(status=ERROR)
    assert sorted(failed["reason"]) == ["expired", NO_REPLY]
    assert len(exported(run, tmp_path / "rest.jsonl")) == 2


def test_a_server_gives_the_same_answers_to_the_same_keys(tmp_path):
    files, direct = (make_run(tmp_path / name, prompts=1, samples=1) for name in ("a", "b"))

    def answer(body, _):
        reply = reply_to({"custom_id": "", "body": body})
        return 200, {}, json.dumps(reply["response"]["body"]).encode()

    with ReplayingServer(answer) as server:
        settings = AskSettings(judge=server.url, judge_model="m", options={"probe": False})
        ask_run(direct, [SpatialVQA()], settings)
        path = tmp_path / "requests.jsonl"
        ask_run(files, [SpatialVQA()], settings, export_requests=path)
        sent = [json.loads(line) for line in path.read_text().splitlines()]
        assert sorted(map(str, server.bodies)) == sorted(str(r["body"]) for r in sent)
    replies = tmp_path / "replies.jsonl"
    replies.write_text("\n".join(json.dumps(reply_to(request)) for request in sent))
    ask_run(files, [SpatialVQA()], settings, import_replies=replies)
    assert files.answers("m").drop("seconds").equals(direct.answers("m").drop("seconds"))
    assert files.plan("ask-m") == direct.plan("ask-m")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1: no reply of a batch"),
        ("[1]", "line 1: no reply of a batch"),
        ('{"custom_id": "a", "method": "POST"}', "holds requests, not replies"),
        ("\n", "holds no replies"),
    ],
)
def test_files_of_something_else(tmp_path, text, message):
    path = tmp_path / "replies.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_replies(path)


def test_the_command(tmp_path):
    run = make_run(tmp_path / "run", prompts=1, samples=1)
    path = tmp_path / "requests.jsonl"
    arguments = ["ask", str(run.path), "--judge", URL]
    lacking = CliRunner().invoke(main, [*arguments, "--export-requests", str(path)])
    assert "with --judge-model" in lacking.stderr
    model = ["--judge-model", "m"]
    said = CliRunner().invoke(main, [*arguments, *model, "--export-requests", str(path)])
    assert "8 requests" in said.stderr
    assert len(path.read_text().splitlines()) == 8
    foreign = tmp_path / "replies.jsonl"
    foreign.write_text('{"custom_id": "of another run", "error": "x"}')
    said = CliRunner().invoke(main, [*arguments, *model, "--import-replies", str(foreign)])
    assert said.exit_code != 0
    assert "answers none of these questions" in said.stderr


def test_another_interface_than_chat_completions_has_no_files():
    spec = resolve_judge("http://127.0.0.1:1/v1", model="m", options={"systemone": True})
    with pytest.raises(InputError, match="leave out systemone"):
        BatchFileJudge(spec)
