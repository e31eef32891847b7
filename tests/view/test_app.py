"""The data that the page asks for, over HTTP."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from t2i_spatial.view.app import create_app
from tests.view.client import browser
from tests.view.drawn import add_answers, drawn_run

TOKEN = "a token of enough letters"


@pytest.fixture
def run(tmp_path):
    return drawn_run(tmp_path / "run")


@pytest.fixture
def client(run, tmp_path):
    other = drawn_run(tmp_path / "other", right=(0, 1, 5))
    return browser(create_app([run, other]))


def keys(reply):
    return [(row["prompt_id"], row["sample"]) for row in reply.json()["rows"]]


def facet(reply, name):
    members = next(f for f in reply.json()["facets"] if f["name"] == name)["members"]
    return {member["name"]: member["count"] for member in members}


def test_the_runs_are_told(client):
    first, second = client.get("/api/runs").json()["runs"]
    assert (first["name"], second["name"]) == ("run", "other")
    assert (first["images"], first["prompts"], first["warnings"]) == (8, 4, [])
    assert [p["name"] for p in first["protocols"]] == ["spatial", "visor"]


def test_counts_are_those_of_the_other_filters(client):
    everything = client.get("/api/found", params={"protocol": "visor"})
    assert everything.json()["matched"] == everything.json()["total"] == 8
    assert facet(everything, "verdict") == {"wrong": 4, "right": 3, "unscored": 1}
    assert facet(everything, "status") == {"scored": 7, "image_missing": 1}
    assert facet(everything, "kept") == {"dropped": 5, "kept": 3}
    assert facet(everything, "relation") == {"above": 4, "left of": 4}
    assert facet(everything, "object")["cat"] == 2
    chosen = client.get("/api/found?protocol=visor&verdict=right&relation=above")
    assert chosen.json()["matched"] == 2
    # a facet counts as if it were not chosen itself, so that another member can be taken
    assert facet(chosen, "verdict") == {"right": 2, "wrong": 2}
    assert facet(chosen, "relation") == {"above": 2, "left of": 1}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("verdict=right&verdict=unscored", [("p0", 0), ("p1", 1), ("p2", 0), ("p3", 1)]),
        ("q=HORSE ball", [("p2", 0), ("p2", 1)]),
        ("q=p3", [("p3", 0), ("p3", 1)]),
        ("margin=0.02..&sort=-margin", [("p2", 0), ("p1", 1)]),
        ("object=dog&object=bird", [("p1", 0), ("p1", 1), ("p3", 0), ("p3", 1)]),
        ("kept=kept&sort=closest", [("p0", 0), ("p1", 1), ("p2", 0)]),
        ("filter=correct&limit=1&offset=1", [("p1", 0)]),
        ("witnesses=disagree", [("p0", 1)]),
        ("sort=disagreement&limit=2", [("p0", 1), ("p0", 0)]),
        ("verdict=nothing of the kind", []),
    ],
)
def test_images_are_found_and_ordered(client, asked, expected):
    assert keys(client.get(f"/api/page?protocol=visor&{asked}")) == expected


def test_images_without_a_margin_come_last(client):
    for sort in ("margin", "-margin", "closest"):
        assert keys(client.get(f"/api/page?protocol=visor&sort={sort}"))[-1] == ("p3", 1)


def test_random_order_is_the_same_for_everybody_and_loses_nothing(client):
    orders = [keys(client.get("/api/page?sort=random")) for _ in range(2)]
    assert orders[0] == orders[1] and len(set(orders[0])) == 8


def test_flips_come_first_in_a_comparison(client):
    reply = client.get("/api/page?protocol=visor&run=0&other=1&sort=flips").json()
    pairs = [
        (a["verdict"], b["verdict"]) for a, b in zip(reply["rows"], reply["others"], strict=True)
    ]
    assert pairs[:4] == [
        ("right", "wrong"),
        ("right", "wrong"),
        ("wrong", "right"),
        ("wrong", "right"),
    ]
    assert pairs.count(("right", "right")) == 1
    found = client.get("/api/found?protocol=visor&run=0&other=1")
    assert facet(found, "flip") == {
        "lost": 2, "gained": 2, "both wrong": 2, "both right": 1, "undecided": 1
    }  # fmt: skip


def test_prompts_of_another_text_are_no_pair(run, tmp_path):
    other = drawn_run(tmp_path / "other", text="one {} left of a ball")
    found = browser(create_app([run, other])).get("/api/found?run=0&other=1")
    assert facet(found, "flip") == {"only here": 8}


def test_boxes_and_reasons_are_read_for_the_rows_that_are_asked(client):
    told = client.get("/api/evidence?protocol=visor&rows=3,0,7").json()["evidence"]
    assert [entry["row"] for entry in told] == [3, 0, 7]
    assert told[0]["reason"] == "off by 3 px" and told[0]["width"] == 64
    assert [(b["role"], b["label"]) for b in told[1]["boxes"]] == [
        ("subject", "cat"), ("object", "ball")
    ]  # fmt: skip
    assert told[1]["found"] == [] and told[2]["boxes"] == []
    wide = client.get("/api/evidence?protocol=visor&rows=0&boxes=all").json()["evidence"][0]
    assert [b["role"] for b in wide["found"]] == ["found", "found"]


def test_scattered_rows_and_tables_in_another_order_give_the_same(run, monkeypatch):
    import t2i_spatial.view.evidence as evidence

    before = browser(create_app([run])).get("/api/evidence?rows=0,2,5&boxes=all").json()
    run.write_detections(run.detections().reverse())
    run.write_images(run.images().reverse())
    monkeypatch.setattr(evidence, "MOST_SLICES", 1)
    assert browser(create_app([run])).get("/api/evidence?rows=0,2,5&boxes=all").json() == before


def test_a_prompt_shows_all_evidence_of_all_samples(run):
    add_answers(run)
    page = browser(create_app([run])).get("/api/prompt?prompt=p0").json()["pages"][0]
    first = page["samples"][0]
    assert page["relations"][0] == {
        "subject": "cat", "relation": "above", "object": "ball",
        "second": None, "negated": False, "known": True,
    }  # fmt: skip
    assert first["image"]["seed"] == str(2**62)  # a browser would round the number
    assert {v["protocol"] for v in first["verdicts"]} == {"visor", "spatial"}
    assert len(first["detections"]["main"]["detections"]) == 2
    answer = first["answers"]["judge"][0]
    assert (answer["text"], answer["p"]) == ("Is there a cat in the image?", 0.75)
    assert first["selection"]["kept"] is True and len(page["samples"]) == 2


def test_histograms_count_by_verdict(client):
    told = client.get("/api/histogram?protocol=visor&what=value").json()
    assert told["edges"][0] == 0 and told["edges"][-1] == 1 and told["without"] == 1
    assert sum(told["counts"]["right"]) == told["counts"]["right"][-1] == 3
    assert sum(told["counts"]["wrong"]) == told["counts"]["wrong"][0] == 4
    assert client.get("/api/histogram?q=nothing").json()["edges"] == []


def test_tables_that_change_are_read_again(run):
    client = browser(create_app([run]))
    assert facet(client.get("/api/found?protocol=visor"), "verdict")["right"] == 3
    import polars as pl

    flipped = run.verdicts("visor").with_columns(~pl.col("correct"))
    run.write_verdicts(flipped, "visor")
    assert facet(client.get("/api/found?protocol=visor"), "verdict")["right"] == 4


def test_a_run_that_was_not_judged_shows_its_images(run):
    import shutil

    shutil.rmtree(run.path / "verdicts")
    client = browser(create_app([run]))
    assert client.get("/api/runs").json()["runs"][0]["protocols"] == []
    assert client.get("/api/found").json()["matched"] == 8
    told = client.get("/api/evidence?rows=0").json()["evidence"][0]
    assert len(told["found"]) == 2


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("/api/found?run=7", "there is no run 7"),
        ("/api/found?run=x", "run must be a number"),
        ("/api/found?protocol=visr", "not judged by 'visr'"),
        ("/api/found?protocol=../../secret", "not judged by"),
        ("/api/found?sort=size", "unknown order 'size'"),
        ("/api/found?margin=wide", "margin must be bounds"),
        ("/api/found?flip=lost", "there is no flip to choose from here"),
        ("/api/histogram?what=images", "what must be value or margin"),
        ("/image/0/99", "there is no image 99"),
    ],
)
def test_a_wrong_question_is_one_line(client, asked, said):
    reply = client.get(asked)
    assert reply.status_code == 400 and said in reply.json()["error"]


def test_a_damaged_table_is_one_line(run):
    (run.path / "verdicts" / "visor.parquet").write_bytes(b"PAR1 nothing")
    reply = browser(create_app([run])).get("/api/found?protocol=visor")
    assert reply.status_code == 400 and "cannot be read as Parquet" in reply.json()["error"]


def test_pictures_are_sent_once(client):
    reply = client.get("/image/0/0?size=320")
    assert reply.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(reply.content)).size == (64, 64)
    again = client.get("/image/0/0?size=320", headers={"if-none-match": reply.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/image/0/7").status_code == 404


def test_large_pictures_are_shrunk_where_a_small_one_will_do(run):
    import numpy as np

    noise = np.random.default_rng(0).integers(0, 255, (600, 900, 3), dtype=np.uint8)
    Image.fromarray(noise).save(run.path / "images" / "0.png")
    client = browser(create_app([run]))
    small = client.get("/image/0/0?size=320")
    assert Image.open(io.BytesIO(small.content)).size == (320, 213)
    assert client.get("/image/0/0?size=320").content == small.content
    assert Image.open(io.BytesIO(client.get("/image/0/0").content)).size == (900, 600)


@pytest.mark.parametrize(
    "content", [b"<svg onload=alert(1)>", b"root:x:0:0", b"", b"GIF89a<script>"]
)
def test_only_pictures_are_sent(run, content):
    """Whatever a hostile table names: never as a type that a browser would run."""
    (run.path / "images" / "0.png").write_bytes(content)
    reply = browser(create_app([run])).get("/image/0/0")
    kind = reply.headers["content-type"]
    assert reply.status_code == 404 or kind == "image/gif"
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_every_answer_forbids_scripts_and_frames_from_elsewhere(client):
    for path in ("/", "/static/main.js", "/api/runs", "/nothing", "/image/0/0"):
        policy = client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy
        assert "unsafe" not in policy and "frame-ancestors 'none'" in policy


def test_the_page_has_no_inline_script_and_no_foreign_address(client):
    import re
    from importlib.resources import files

    page = client.get("/").text
    assert re.findall(r"<script(?![^>]*src=)", page) == [] and " style=" not in page
    for entry in (files("t2i_spatial.view") / "static").iterdir():
        text = entry.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|innerHTML|insertAdjacentHTML|document\.write|eval\(", text)
        assert client.get(f"/static/{entry.name}").status_code == 200
    assert client.get("/static/..%2Fapp.py").status_code == 404


def test_another_host_name_is_refused(run):
    reply = browser(create_app([run]), "evil.example").get("/api/runs")
    assert reply.status_code == 421


def test_a_token_is_brought_once_in_the_address(run):
    client = browser(create_app([run], token=TOKEN, local_only=False), "box.example:8000")
    assert client.get("/").status_code == client.get("/api/runs").status_code == 401
    assert client.get("/", params={"token": "another"}).status_code == 401
    welcome = client.get("/", params={"token": TOKEN})
    assert (welcome.status_code, welcome.headers["location"]) == (303, "/")
    assert "HttpOnly" in welcome.headers["set-cookie"] and TOKEN not in str(welcome.headers)
    assert client.get("/api/runs").status_code == 200
    client.cookies.clear()
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert client.get("/api/runs", headers=bearer).status_code == 200
    assert client.get("/api/runs", headers={"cookie": b"t2i-spatial-view=\xe4"}).status_code == 401


def test_what_is_known_of_a_judge_is_told_of_its_protocols(tmp_path):
    run = drawn_run(tmp_path / "run")
    known = {"said": "on drawings left 50.0 % [30.0, 70.0]", "careful": ["guesses"]}
    run.write_summary({"spatial": {"measured": known}})
    protocols = browser(create_app([run])).get("/api/runs").json()["runs"][0]["protocols"]
    assert {p["name"]: p["measured"] for p in protocols} == {"spatial": known, "visor": None}
