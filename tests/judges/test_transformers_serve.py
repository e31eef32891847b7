"""The judge at a URL against a real server: `transformers serve` with a tiny model, on loopback."""

from __future__ import annotations

import io
import json
import socket
import time

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from t2i_spatial.judges import Asked, Picture, load_judge
from t2i_spatial.judges.sending import JudgeError
from t2i_spatial.questions import ANSWER_STATUSES, ANSWERED, ERROR, Question
from tests.judges.replaying_server import ReplayingServer, failure
from tests.judges.tiny_vlms import tiny_vlm

CAT = Question("Is there a cat in the image?")
QUICK = {"probe": False, "timeout": 60.0, "patience": 60.0, "logprobs": "off"}


@pytest.fixture(scope="module")
def server():
    from transformers.cli.serve import Serve

    torch.set_num_threads(1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model = str(tiny_vlm("qwen3_vl"))
    served = Serve(
        force_model=model, device="cpu", dtype="float32", port=port, host="127.0.0.1",
        non_blocking=True,
    )  # fmt: skip
    try:
        for _ in range(600):
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1", model
    finally:
        served.kill_server()


def picture(data=None):
    pixels = np.random.default_rng(0).integers(0, 255, (60, 60, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return Picture("a.png", buffer.getvalue() if data is None else data)


def ask(server, asked, shown=None, **options):
    url, model = server
    judge = load_judge(url, model=model, options={**QUICK, **options})
    try:
        return judge, judge.ask(shown or picture(), asked)
    finally:
        judge.close()


def test_texts_come_back_and_no_probabilities(server):
    judge, replies = ask(server, [Asked(CAT, rollout=r) for r in range(2)])
    assert judge.gives_probabilities is False
    assert all(r.status in ANSWER_STATUSES and r.status != ERROR for r in replies)
    assert all(r.probabilities is None and r.tokens > 4 for r in replies)


def test_it_is_found_out_that_log_probabilities_are_ignored(server):
    url, model = server
    with pytest.raises(JudgeError, match="gives no token probabilities"):
        load_judge(url, model=model, options={**QUICK, "probe": True, "logprobs": "on"})


def test_a_field_that_it_does_not_know_is_the_error_of_the_question(server):
    _, (reply,) = ask(server, [Asked(CAT)], extra={"guided_choice": ["Yes", "No"]})
    assert (reply.status, reply.reason[:5]) == (ERROR, "422: ")


def test_a_picture_that_it_cannot_read_ends_after_three_tries(server):
    broken = picture(b"\x89PNG\r\n\x1a\n" + bytes(40))
    broken.__dict__["media_type"] = "image/png"
    _, (reply,) = ask(server, [Asked(CAT)], broken)
    _, (good,) = ask(server, [Asked(CAT)])
    assert reply.status == ERROR
    assert reply.reason.startswith("500: ")
    assert good.status != ERROR


def test_another_model_than_the_served_one_is_refused(server):
    url, _ = server
    with pytest.raises(JudgeError, match="refuses a test question: 400"):
        load_judge(url, model="gpt", options={**QUICK, "probe": True})


THREE = Question("Which is true?", "choice", ("a cat", "a dog", "a cup"), template="letter/1")
MANY = Question("How many dogs are in the image?", "count", template="number/1")


def test_systemone_gives_probabilities_of_every_allowed_answer(server):
    asked = [Asked(CAT), Asked(THREE), Asked(MANY), Asked(THREE, order=(2, 0, 1))]
    judge, replies = ask(server, asked, systemone=True)
    assert judge.gives_probabilities and judge.plan()["interface"] == "systemone"
    assert [r.status for r in replies] == [ANSWERED] * 4
    assert [set(r.probabilities.options) for r in replies[:2]] == [{"yes", "no"}, set("ABC")]
    assert len(replies[2].probabilities.options) == 21
    for reply in replies:
        assert sum(reply.probabilities.options.values()) == pytest.approx(1)
        assert reply.probabilities.mass == pytest.approx(1) and reply.tokens > 4
    assert judge.plan()["options"] == ask(server, asked[:1])[0].plan()["options"]


def test_systemone_asks_only_what_has_listed_answers_and_keeps_replies(server, tmp_path):
    said = Question("What is to be seen?", "text", template="say/1")
    cached = {"cache": str(tmp_path), "systemone": True, "max_tokens": 4}
    _, first = ask(server, [Asked(CAT), Asked(said)], **cached)
    _, again = ask(server, [Asked(CAT), Asked(said)], **cached)
    assert first[1].probabilities is None
    assert again[0].cached and again[0].probabilities == first[0].probabilities


def test_a_server_without_systemone_is_told_in_one_line():
    with (
        ReplayingServer(lambda body, number: failure(404, "no such place")) as plain,
        pytest.raises(JudgeError, match="systemone refuses: 404: no such place"),
    ):
        load_judge(plain.url, model="m", options={"systemone": True})


def test_a_reply_of_systemone_that_is_none_is_an_error():
    pages = [{"answers": {}}, {"answers": {"asked": {"noul": 1.5}}}, {"answers": {"asked": "yes"}}]
    with ReplayingServer(lambda body, number: (200, {}, json.dumps(pages[number]).encode())) as bad:
        for reason in ("no answer of", "no probabilities", "no answer of"):
            _, (reply,) = ask((bad.url, "m"), [Asked(CAT)], systemone=True)
            assert reply.status == ERROR and reason in reply.reason
    assert bad.bodies[0]["questions"] == {"asked": {"type": "noul", "instructions": CAT.text}}
