"""The judge at a URL, against a server that replays replies and errors of real ones."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from t2i_spatial.errors import InputError
from t2i_spatial.judges import Asked, Picture, load_judge, resolve_judge
from t2i_spatial.judges.sending import JudgeError
from t2i_spatial.questions import ANSWERED, ERROR, LETTER, OFF_FORMAT, REFUSED, Question
from tests.judges.replaying_server import ReplayingServer, failure, image_of, said, text_of

CAT = Question("Is there a cat?")
QUICK = {"patience": 5.0, "timeout": 5.0}


def picture(color="green", kind="PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(buffer, kind)
    return Picture("a.png", buffer.getvalue(), ("p", 0))


def probing(answer):
    """Answers the two test questions as a model that sees colours, then hands over."""

    def first(body, number):
        if number < 2:
            return said("AB"[number], {"AB"[number]: 0.9, "BA"[number]: 0.05})
        return answer(body, number - 2)

    return first


def ask(server, questions, **options):
    judge = load_judge(server.url, options={**QUICK, **options})
    try:
        return judge, judge.ask(picture(), [Asked(q) for q in questions])
    finally:
        judge.close()


def test_probabilities_come_from_the_first_token():
    with ReplayingServer(probing(lambda b, n: said("Yes", {"Yes": 0.6, "No": 0.2}))) as server:
        judge, (reply,) = ask(server, [CAT])
    assert (reply.status, reply.answer, reply.tokens) == (ANSWERED, "yes", 7)
    assert reply.probabilities.p == pytest.approx(0.75)
    assert judge.found_out()["served_model"] == "seen-model"
    body = server.bodies[-1]
    assert (body["model"], body["top_logprobs"], body["temperature"]) == ("seen-model", 20, 0.0)
    assert text_of(body) == "Is there a cat? Answer Yes or No."
    assert body["messages"][0]["content"][0]["type"] == "image_url"


def test_the_bytes_of_the_file_are_sent_with_their_own_type():
    with ReplayingServer(probing(lambda b, n: said("No", {"No": 0.9}))) as server:
        judge = load_judge(server.url, options=QUICK)
        jpeg = picture(kind="JPEG")
        judge.ask(jpeg, [Asked(CAT)])
        judge.close()
    kind, _, data = image_of(server.bodies[-1]).partition(";base64,")
    assert kind == "data:image/jpeg"
    assert base64.b64decode(data) == jpeg.data


def test_without_token_probabilities_the_text_is_read():
    with ReplayingServer(lambda b, n: said(["red", "blue", "Ja", "Hm"][n])) as server:
        judge, replies = ask(server, [CAT, CAT])
    assert judge.gives_probabilities is False
    assert sorted(r.status for r in replies) == [ANSWERED, OFF_FORMAT]
    assert all(r.probabilities is None for r in replies)
    assert "logprobs" not in server.bodies[-1]


def test_an_endpoint_that_ignores_pictures_is_found_out():
    with (
        ReplayingServer(lambda b, n: said("A", {"A": 0.9, "B": 0.05})) as server,
        pytest.raises(JudgeError, match="does not look at images"),
    ):
        load_judge(server.url, options=QUICK)
    with ReplayingServer(lambda b, n: said("Yes", {"Yes": 0.9})) as server:
        _, (reply,) = ask(server, [CAT], probe=False)
    assert reply.answer == "yes"


def test_a_busy_server_is_waited_for_and_asked_less():
    def answer(body, number):
        return failure(429, retry_after="0") if number < 3 else said("Yes", {"Yes": 0.9})

    with ReplayingServer(probing(answer)) as server:
        judge, replies = ask(server, [CAT] * 6)
    assert [r.answer for r in replies] == ["yes"] * 6
    assert judge.limit.now < 8


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (failure(500, "Traceback: cannot identify image"), "500: Traceback: cannot identify image"),
        (failure(422, '{"detail": "unknown field"}'), "422: unknown field"),
        (failure(400, '{"error": {"message": "image too large"}}'), "400: image too large"),
        ((200, {}, b'{"choices": [{"mess'), "the reply is no JSON"),
        ((200, {}, b"[]"), "the reply is no JSON object"),
        ((200, {}, b'{"choices": []}'), "the reply is no chat completion"),
    ],
)
def test_what_one_request_cannot_get_is_its_own_error(answer, reason):
    def chosen(body, number):
        return said("Yes", {"Yes": 0.9}) if "dog" in text_of(body) else answer

    with ReplayingServer(probing(chosen)) as server:
        _, (bad, good) = ask(server, [CAT, Question("Is there a dog?")])
    assert bad.status == ERROR
    assert reason in bad.reason
    assert good.answer == "yes"


@pytest.mark.parametrize(("status", "word"), [(401, "401"), (404, "404"), (403, "403")])
def test_a_server_that_refuses_everything_is_one_error(status, word):
    with (
        ReplayingServer(lambda b, n: failure(status, "no")) as server,
        pytest.raises(JudgeError, match=word),
    ):
        load_judge(server.url, options=QUICK)


def test_a_model_that_the_server_has_not_is_named_with_those_that_it_has():
    with (
        ReplayingServer(lambda b, n: failure(404, "no such model")) as server,
        pytest.raises(JudgeError) as raised,
    ):
        load_judge(server.url, model="seen-modl", options=QUICK)
    assert str(raised.value) == (
        f"{server.url}/chat/completions refuses: 404: no such model (it has no model 'seen-modl'; "
        "did you mean 'seen-model'? known: seen-model)"
    )


def test_nobody_there_is_one_error():
    with ReplayingServer(lambda b, n: said("A")) as server:
        url = server.url
    with pytest.raises(JudgeError, match="does not list its models"):
        load_judge(url, options={"patience": 0.1, "timeout": 1.0})
    with pytest.raises(JudgeError, match="does not answer"):
        load_judge(url, model="m", options={"patience": 0.1, "timeout": 1.0})


def test_refusals_and_cut_replies_are_told_apart():
    answers = [
        said("I'm sorry, I can't help with that."),
        said("", finish_reason="content_filter"),
        said("", message={"content": None, "refusal": "not this one"}),
        said("Well, looking at", finish_reason="length"),
    ]
    with ReplayingServer(
        lambda b, n: said(["red", "blue"][n]) if n < 2 else answers[n - 2]
    ) as server:
        judge = load_judge(server.url, options=QUICK)
        replies = [judge.ask(picture(), [Asked(CAT)])[0] for _ in answers]
        judge.close()
    assert [r.status for r in replies] == [REFUSED, REFUSED, REFUSED, OFF_FORMAT]


def test_what_was_asked_before_is_not_asked_again(tmp_path):
    answers = [said("Yes", {"Yes": 0.9, "No": 0.1}), said("I'm sorry, I can't help.")]
    with ReplayingServer(probing(lambda b, n: answers[min(n, 1)])) as server:
        judge = load_judge(server.url, options={**QUICK, "cache": str(tmp_path)})
        first = judge.ask(picture(), [Asked(CAT)])[0]
        again = judge.ask(picture(), [Asked(CAT)])[0]
        assert (first.answer, again.answer, len(server.bodies)) == ("yes", "yes", 3)
        assert judge.ask(picture("blue"), [Asked(CAT)])[0].status == REFUSED
        judge.ask(picture("blue"), [Asked(CAT)])
        assert len(server.bodies) == 5  # a refusal is asked again
        judge.ask(picture(), [Asked(CAT, rollout=1)])
        assert len(server.bodies) == 6
        assert judge.found_out()["cache_hits"] == 1
        judge.close()


def test_the_key_is_sent_and_recorded_nowhere(monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    with ReplayingServer(probing(lambda b, n: said("A"))) as server:
        judge = load_judge(server.url, options={**QUICK, "key_env": "MY_KEY"})
        judge.close()
    assert server.headers[0]["Authorization"] == "Bearer sk-very-secret"
    assert "secret" not in repr(judge.spec.plan())


def test_samples_differ_by_their_seed():
    question = Question("Which?", "choice", ("cat", "dog"), template=LETTER.name)
    with ReplayingServer(probing(lambda b, n: said("A"))) as server:
        judge = load_judge(server.url, options={**QUICK, "temperature": 1.0})
        judge.ask(picture(), [Asked(question, rollout=r, seed=3) for r in range(3)])
        judge.close()
    assert len({body["seed"] for body in server.bodies[2:]}) == 3


def test_options_and_names_that_are_none():
    with pytest.raises(InputError, match="did you mean 'timeout'"):
        resolve_judge("http://127.0.0.1:1/v1", options={"timout": 3})
    with pytest.raises(InputError, match="no judge 'bundeld'; did you mean 'bundled'"):
        resolve_judge("bundeld")
    with pytest.raises(InputError, match="belongs to a judge at a URL"):
        resolve_judge("transformers:m", model="m")
    with pytest.raises(InputError, match=r"option timeout of a judge at a URL.*greater than 0"):
        resolve_judge("http://127.0.0.1:1/v1", options={"timeout": "-3"})
    with pytest.raises(InputError, match="no judge 'http:x'"):
        resolve_judge("http:x")


def test_options_of_the_command_line_are_texts():
    texts = {"concurrency": "16", "probe": "false", "extra": '{"top_k": 1}'}
    options = resolve_judge("http://127.0.0.1:1/v1", options=texts).options
    assert (options["concurrency"], options["probe"]) == (16, False)
    assert options["extra"] == {"top_k": 1}


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "https://u:secret@h/v1",
        "http://h/v1?key=secret",
        "http://h:x/v1",
        "http://a b/v1",
    ],
)
def test_addresses_that_are_none_or_hold_secrets(url):
    with pytest.raises(InputError) as caught:
        resolve_judge(url)
    assert "URL" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_without_a_key_the_variable_is_named(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with (
        ReplayingServer(lambda b, n: failure(401, "who are you")) as server,
        pytest.raises(JudgeError, match=r"401: who are you \(no key: \$OPENAI_API_KEY"),
    ):
        load_judge(server.url, options=QUICK)


@pytest.mark.parametrize(
    "logprobs",
    [
        [1, 2],
        {"content": 3},
        {"content": [{"token": "Yes", "top_logprobs": [{"token": "Yes", "logprob": "high"}]}]},
        {"content": [{"token": "Yes", "top_logprobs": [{"token": "Yes", "logprob": 1e9}]}]},
        {"tokens": ["Yes"], "token_logprobs": [-0.1]},
    ],
)
def test_lists_of_another_form_count_as_none(logprobs):
    answer = probing(lambda b, n: said("Yes", logprobs=logprobs))
    with ReplayingServer(answer) as server:
        _, (reply,) = ask(server, [CAT])
    assert (reply.status, reply.answer, reply.probabilities) == (ANSWERED, "yes", None)


def test_certainty_that_a_server_rounded_up_is_certainty():
    with ReplayingServer(probing(lambda b, n: said("Yes", {"Yes": 1.0000001}))) as server:
        _, (reply,) = ask(server, [CAT])
    assert reply.probabilities.p == 1.0
    assert reply.probabilities.mass == 1.0


def test_a_connection_that_breaks_each_time_is_the_error_of_its_question():
    def breaking(body, number):
        raise ConnectionResetError

    with ReplayingServer(probing(breaking)) as server:
        _, (reply,) = ask(server, [CAT])
        assert len(server.bodies) == 2 + 3
    assert reply.status == ERROR
    assert reply.reason.startswith("no reply: ")
