from __future__ import annotations

import base64
import json
import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from t2i_spatial.rewards import Client, LocalScorer
from t2i_spatial.rewards.client import _asked
from t2i_spatial.scene import ObjectSpec, Prompt, SceneSpec
from tests.rewards.conftest import encoded, item, scene_image
from tests.rewards.drawing_detector import RECORD
from tests.rewards.pickles import attacks

GOOD = encoded(scene_image("cat", "left of", "dog"))
WRONG = encoded(scene_image("cat", "right of", "dog"))


def bomb(width: int, height: int) -> bytes:
    """A small PNG that says it has many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(100_000)))
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")


def test_json_is_scored_as_in_process(http):
    page = http.post("/score", json={"items": [item(GOOD), item(WRONG, id="second")]})
    assert page.status_code == 200
    answer = page.json()
    images = [scene_image("cat", "left of", "dog"), scene_image("cat", "right of", "dog")]
    local = LocalScorer("bundled", device="cpu")(images, ["a cat to the left of a dog"] * 2)
    assert answer["rewards"] == pytest.approx([i.reward for i in local], abs=1e-6)
    assert answer["rewards"][0] > 0.5 > answer["rewards"][1]
    assert answer["items"][1]["id"] == "second"
    verdict = answer["items"][0]["verdicts"]["spatial"]
    assert verdict["correct"] is True and len(verdict["evidence"]) == 2
    assert answer["errors"] == 0


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_multipart_takes_every_format(http, kind):
    image = scene_image("cat", "left of", "dog")
    page = http.post(
        "/score",
        data={
            "items": json.dumps([{"geneval": RECORD}]),
            "reward": json.dumps({"geneval_reward_fixed": 1.0, "spatial": 0.5}),
            "protocols": json.dumps(["visor"]),
        },
        files=[("images", ("0", encoded(image, kind)))],
    )
    assert page.status_code == 200, page.text
    answer = page.json()["items"][0]
    assert set(answer["parts"]) == {"geneval_reward_fixed", "spatial"}
    assert set(answer["verdicts"]) == {"geneval_reward_fixed", "spatial", "visor"}


def nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


def test_a_client_is_asked_what_a_local_scorer_is(server):
    images = [scene_image("cat", "left of", "dog")] * 4
    one_cat = SceneSpec((ObjectSpec("cat"),))
    asked = [
        Prompt("0", "one cat", "counting", one_cat),
        {"text": "one cat", "tag": "counting", "scene": one_cat.to_dict()},
        one_cat,
        json.dumps(RECORD),
    ]
    reward = {"spatial": 1.0, "geneval_reward_fixed": 1.0}
    local = LocalScorer("bundled", reward, device="cpu")(images, asked)
    with Client(server.url, reward=reward) as client:
        remote = client(images, asked)
    assert [i.reward for i in remote] == pytest.approx([i.reward for i in local], abs=1e-6)
    assert [_asked(a) for a in asked[:3]] == [
        {"scene": one_cat.to_dict(), "prompt": "one cat", "tag": "counting"},
        {"scene": one_cat.to_dict(), "prompt": "one cat", "tag": "counting"},
        {"scene": one_cat.to_dict()},
    ]


def bad_items_between_good_ones(http, bad):
    """Statuses and reasons of the bad items; the good ones around them are scored."""
    items = [item(GOOD), *bad, item(WRONG)]
    body = json.dumps({"items": items}).encode()  # httpx itself refuses to write half a character
    page = http.post("/score", content=body, headers={"content-type": "application/json"})
    assert page.status_code == 422
    answer = page.json()
    assert answer["errors"] == len(bad)
    assert answer["rewards"][0] > 0.5 > answer["rewards"][-1] is not None
    assert answer["rewards"][1:-1] == [None] * len(bad)
    answers = answer["items"][1:-1]
    return {a["status"] for a in answers}, [a["reason"] for a in answers]


def test_bad_pictures_do_not_cost_the_good_ones(http):
    bad = [
        item(GOOD[: len(GOOD) // 2]),
        item(bomb(30_000, 30_000)),
        item(b"text"),
        item(encoded(Image.new("RGB", (8, 8)), "GIF")),
    ]
    statuses, reasons = bad_items_between_good_ones(http, bad)
    assert statuses == {"image_unreadable"}
    assert "cannot be decoded" in reasons[0]
    assert "limit of" in reasons[1]
    assert "not a picture" in reasons[2] and "not a picture" in reasons[3]


def test_bad_questions_do_not_cost_the_good_ones(http):
    image = base64.b64encode(GOOD).decode()
    bad = [
        {"image": "no base64!", "prompt": "a cat"},
        {"image": image},
        item(GOOD, geneval=RECORD),
        item(GOOD, tag="colors"),
        {"image": image, "geneval": {"include": [{"class": "cat"}], "x": nested(500)}},
        item(GOOD, prompt=""),
        5,
        {**item(GOOD), "surprise": 1},
        {"image": 7, "prompt": "a cat"},
        {"image": image, "scene": {"objects": 1e308}},
        {"image": image, "scene": {"objects": [{"name": "cat"}], "unparsed": [True]}},
        {"image": image, "geneval": {"tag": "\ud800", "include": [{"class": "x"}]}},
        item(GOOD, id="\ud800"),
    ]
    statuses, reasons = bad_items_between_good_ones(http, bad)
    assert statuses == {"bad_request"}
    assert reasons[0] == "image: not base64"
    assert "exactly one of" in reasons[1] and "exactly one of" in reasons[2]
    assert reasons[3] == "a tag belongs to a scene"
    assert "nested more than 20 deep" in reasons[4]
    assert reasons[6] == "an item must be a JSON object"


def test_what_a_protocol_does_not_judge_is_no_fault(http):
    asked = {"items": [item(GOOD, "a cat")], "reward": {"visor": 1.0}}
    page = http.post("/score", json=asked)
    assert page.status_code == 200
    assert page.json()["items"][0]["status"] == "not_applicable"
    assert page.json()["rewards"] == [None]


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"", 422, "not JSON"),
        (b"{", 422, "not JSON"),
        (b"\xff\xfe\x00", 422, "not JSON"),
        (b"[" * 100_000, 422, "not JSON"),
        (b'{"items": []}', 422, "items"),
        (b'{"items": 5}', 422, "items"),
        (b"[]", 422, "the body"),
        (b'{"items": [NaN]}', 422, "NaN"),
        (b'{"items": [{}], "reward": {"spacial": 1}}', 422, "did you mean 'spatial'"),
        (b'{"items": [{}], "reward": {"spatial": 1e999}}', 422, "finite"),
        (b'{"items": [{}], "protocols": ["nothing"]}', 422, "unknown protocol"),
        (b'{"items": [{}], "more": 1}', 422, "more"),
        (b'{"items": [' + b"{}," * 16 + b"{}]}", 422, "at most 16"),
        (b'{"items": [' + b"[]," * 300_000 + b"[]]}", 422, "at most 200,000"),
        (b'{"items": [{}], "\\ud800": 1}', 422, "the body"),
    ],
)
def test_a_body_that_cannot_be_read_says_why(http, body, code, message):
    page = http.post("/score", content=body, headers={"content-type": "application/json"})
    assert page.status_code == code
    assert message in page.json()["error"]


@pytest.mark.parametrize(
    ("files", "data", "message"),
    [
        ([("images", ("0", GOOD))], {"items": "[]"}, "items"),
        (
            [("images", ("0", GOOD))],
            {"items": '[{"prompt": "a cat"}, {"prompt": "x"}]'},
            "1 images",
        ),
        ([("other", ("0", GOOD))], {"items": '[{"prompt": "a cat"}]'}, "files go into"),
        ([("images", ("0", GOOD))], {"items": "{"}, "not JSON"),
        ([("images", ("0", GOOD))] * 20, {"items": "[5]"}, "Too many files"),
    ],
)
def test_a_form_that_cannot_be_read_says_why(http, files, data, message):
    page = http.post("/score", data=data, files=files)
    assert page.status_code in (400, 422)
    assert message in page.json()["error"]


@pytest.mark.parametrize("charset", ["undefined", "unicode_escape", "punycode", "nonsense"])
def test_a_charset_of_the_clients_choice_breaks_nothing(http, charset):
    body = (
        b'--B\r\nContent-Disposition: form-data; name="items"\r\n\r\n[{"prompt": "\\ud800"}]\r\n'
        b'--B\r\nContent-Disposition: form-data; name="images"; filename="0"\r\n\r\nx\r\n--B--\r\n'
    )
    kind = {"content-type": f"multipart/form-data; boundary=B; charset={charset}"}
    page = http.post("/score", content=body, headers=kind)
    assert page.status_code == 422 and page.json()


def test_limits_of_bytes_and_kinds(http):
    too_long = http.post(
        "/score", content=b" " * 3_000_001, headers={"content-type": "application/json"}
    )
    assert too_long.status_code == 413

    def pieces():
        for _ in range(40):
            yield b" " * 100_000

    chunked = http.post("/score", content=pieces(), headers={"content-type": "application/json"})
    assert chunked.status_code == 413
    assert http.post("/score", content=b"x", headers={"content-type": "text/x"}).status_code == 415
    assert http.get("/score").status_code == 405
    assert http.get("/nothing").status_code == 404
    broken = {"content-type": "multipart/form-data"}
    assert http.post("/score", content=b"x", headers=broken).status_code == 400


def test_health_version_and_metrics(http):
    health = http.get("/health").json()
    assert health["status"] == "ok" and health["workers"] == 1
    version = http.get("/version").json()
    assert version["detector"]["detector"] == "bundled"
    assert version["detector"]["weights"] and "spatial" in version["protocols"]
    assert version["limits"]["max_images"] == 16
    http.post("/score", json={"items": [item(GOOD)]})
    text = http.get("/metrics").text
    assert 't2i_spatial_images_total{status="scored"}' in text
    assert 't2i_spatial_requests_total{code="200",path="/score"}' in text


def test_other_host_names_are_not_answered(http):
    assert http.get("/health", headers={"host": "evil.example"}).status_code == 421
    for name in ("localhost.evil.example:80", "127.0.0.1.evil.example", "", "localhost@evil"):
        assert http.get("/health", headers={"host": name}).status_code == 421
    for name in ("localhost:1", "LOCALHOST", "127.0.0.2:80", "[::1]:80"):
        assert http.get("/health", headers={"host": name}).status_code == 200


def test_flow_factory_is_answered(http):
    texts = ["a cat to the left of a dog"] * 2
    images = [base64.b64encode(data).decode() for data in (GOOD, WRONG)]
    page = http.post("/compute", json={"prompts": texts, "images": images, "extra": None})
    assert page.status_code == 200
    assert page.json()["rewards"][0] > 0.5 > page.json()["rewards"][1]
    by_record = http.post(
        "/compute",
        json={
            "prompt": ["x"],
            "image": images[:1],
            "video": None,
            "condition_images": None,
            "kwargs": {"metadata": [json.dumps(RECORD)]},
        },
    )
    assert by_record.json()["rewards"][0] > 0.5
    column = {
        "prompt": ["x"],
        "image": images[:1],
        "extra": {"geneval_metadata": [json.dumps(RECORD)]},
    }
    assert http.post("/compute", json=column).json()["rewards"] == by_record.json()["rewards"]
    assert http.post("/compute", json={"prompt": ["x"], "image": []}).status_code == 422
    wrong = {"prompt": ["x"], "image": images[:1], "kwargs": {"metadata": {"a": 1}}}
    assert "list of records" in http.post("/compute", json=wrong).json()["error"]
    bad = http.post("/compute", json={"prompt": ["a cat"], "image": ["AAAA"]})
    assert bad.status_code == 422 and "image 0" in bad.json()["error"]


def flow_grpo_request(http, images, records, only_strict=False):
    """What flow_grpo's client puts on the wire, and how it reads the answer."""
    data = {"images": images, "meta_datas": records, "only_strict": only_strict}
    return http.post("/", content=pickle.dumps(data))


def test_a_flow_grpo_client_is_answered(http):
    jpegs = [encoded(scene_image("cat", r, "dog"), "JPEG") for r in ("left of", "right of")]
    colored = {"tag": "colors", "include": [{"class": "cat", "count": 1, "color": "yellow"}]}
    page = flow_grpo_request(http, [*jpegs, jpegs[0]], [RECORD, RECORD, colored])
    assert page.status_code == 200, page.text
    answer = pickle.loads(page.content)  # noqa: S301 - what that client does
    assert set(answer) == {
        "scores",
        "rewards",
        "strict_rewards",
        "group_rewards",
        "group_strict_rewards",
    }
    assert answer["scores"][0] > answer["scores"][1]
    assert answer["rewards"][:2] == [1.0, 0.0]
    assert answer["group_rewards"]["position"] == [1.0, 0.0, -10.0]
    assert answer["group_strict_rewards"]["colors"][:2] == [-10.0, -10.0]
    strict = flow_grpo_request(http, jpegs, [RECORD] * 2, True)
    strict = pickle.loads(strict.content)  # noqa: S301 - what that client does
    assert strict["rewards"] == [0.0, 0.0] and strict["strict_rewards"][0] == 1.0


def test_a_flow_grpo_client_with_numpy_values_and_an_old_protocol_is_answered(http):
    jpeg = encoded(scene_image("cat", "left of", "dog"), "JPEG")
    include = [{**clause, "count": np.int64(clause["count"])} for clause in RECORD["include"]]
    data = {"images": [jpeg], "meta_datas": [{**RECORD, "include": include}]}
    for protocol in (2, 5):
        body = pickle.dumps(data | {"only_strict": np.bool_(False)}, protocol=protocol)
        page = http.post("/", content=body)
        assert page.status_code == 200, page.text
        assert pickle.loads(page.content)["rewards"] == [1.0]  # noqa: S301 - as that client does


def test_the_scorer_client_of_verl_omni_is_answered(http):
    """Its payload and what it reads of the answer; it posts to the bare URL of the server."""
    jpegs = [encoded(scene_image("cat", r, "dog"), "JPEG") for r in ("left of", "right of")]
    asked = "a cat to the left of a dog"
    for jpeg, low, high in zip(jpegs, (0.5, 0.0), (1.0, 0.5), strict=True):
        data = {"images": [jpeg], "prompts": [asked], "metadata": {}}
        page = http.post("/", content=pickle.dumps(data))
        assert page.status_code == 200, page.text
        (score,) = pickle.loads(page.content)["scores"]  # noqa: S301 - as that client does
        assert low <= score <= high
    by_record = {"images": jpegs, "prompts": [json.dumps(RECORD)] * 2, "metadata": {}}
    page = http.post("/", content=pickle.dumps(by_record))
    assert len(pickle.loads(page.content)["scores"]) == 2  # noqa: S301
    for wrong in (
        {"images": jpegs, "prompts": [asked]},
        {"images": jpegs[:1], "prompts": ["in the style of impressionism"]},
        {"images": jpegs[:1]},
        {"images": [], "prompts": []},
    ):
        assert http.post("/", content=pickle.dumps(wrong)).status_code == 400


@pytest.mark.parametrize("name", attacks(""))
def test_an_attack_is_answered_400_and_does_nothing(http, name, tmp_path):
    page = http.post("/", content=attacks(str(tmp_path / "owned"))[name])
    assert page.status_code == 400
    assert not (tmp_path / "owned").exists()


def test_a_flow_grpo_request_that_can_never_work_is_not_retried(http):
    jpeg = encoded(scene_image("cat", "left of", "dog"), "JPEG")
    for images, records in (
        ([], []),
        ([jpeg], []),
        ([b"no jpeg"], [RECORD]),
        (["text"], [RECORD]),
        ([jpeg], ["text"]),
        ([jpeg], [{"tag": "position"}]),
        ([jpeg] * 17, [RECORD] * 17),
    ):
        assert flow_grpo_request(http, images, records).status_code == 400
    assert http.post("/", content=pickle.dumps([1])).status_code == 400
