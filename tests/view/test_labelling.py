"""Labelling: what is asked, that every answer is on disk, and how people share the work."""

from __future__ import annotations

import hashlib
import json

import polars as pl
import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.labels import read_labels
from t2i_spatial.labels.picking import PICKS
from t2i_spatial.stages.auditing.labelled import PICKED
from t2i_spatial.view import labelling
from t2i_spatial.view.app import create_app
from t2i_spatial.view.labelling import Desk, items_to_label, people_say
from t2i_spatial.view.offline import write_label_page
from tests.view.client import browser
from tests.view.drawn import drawn_run


@pytest.fixture
def run(tmp_path):
    return drawn_run(tmp_path / "run")


def desk_of(run):
    return Desk(run, items_to_label(run))


def lines(run, annotator="anna"):
    path = run.path / "labels" / f"{annotator}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def finish(desk, annotator, say="yes"):
    """Answer everything; the (prompt, question) pairs in the order in which they were asked."""
    asked, told = [], desk.next(annotator)
    while told["task"]:
        task = told["task"]
        asked.append((task["item"], task["question"]))
        told = desk.answer(annotator, task["item"], task["question_id"], say)
    assert told["done"] == told["all"]
    return asked


def test_objects_are_asked_first_and_then_the_relation_of_what_is_there(run):
    asked = finish(desk_of(run), "anna")
    assert len({item for item, _ in asked}) == 7  # the missing image cannot be labelled
    for k in range(0, len(asked), 3):
        items, texts = zip(*asked[k : k + 3], strict=True)
        assert len(set(items)) == 1
        assert "Is there a" in texts[0] and "ball" in texts[1] and "Is this so" in texts[2]


def test_a_relation_of_what_is_not_there_is_not_asked(run):
    asked = finish(desk_of(run), "anna", "no")
    assert len(asked) == 14 and not any("Is this so" in text for _, text in asked)


def test_every_answer_is_a_line_on_disk_before_the_next_question(run):
    desk = desk_of(run)
    task = desk.next("anna")["task"]
    desk.answer("anna", task["item"], task["question_id"], "unsure")
    (line,) = lines(run)
    image = run.path / line["image"]
    assert line["label"] == "unsure" and line["question"] == task["question"]
    assert line["image_sha256"] == hashlib.sha256(image.read_bytes()).hexdigest()
    assert len(read_labels([run.path / "labels" / "anna.jsonl"])) == 1


def test_an_answer_that_is_not_on_disk_brings_no_next_question(run, monkeypatch):
    desk = desk_of(run)
    task = desk.next("anna")["task"]

    def full(*_):
        raise InputError("the disk is full")

    monkeypatch.setattr(labelling, "append_label", full)
    with pytest.raises(InputError, match="full"):
        desk.answer("anna", task["item"], task["question_id"], "yes")
    assert desk.next("anna")["task"] == task and desk.next("anna")["can_undo"] is False


def test_nothing_tells_what_a_machine_said(run):
    told = json.dumps(desk_of(run).next("anna"))
    assert not any(word in told for word in ("right", "wrong", "visor", "margin", "p0", "images/"))


def test_labelling_goes_on_where_it_stopped(run):
    desk = desk_of(run)
    for _ in range(4):
        task = desk.next("anna")["task"]
        told = desk.answer("anna", task["item"], task["question_id"], "yes")
    assert desk_of(run).next("anna") == told and told["done"] == 1


def test_a_line_that_was_cut_off_is_asked_again(run):
    desk = desk_of(run)
    for _ in range(2):
        task = desk.next("anna")["task"]
        desk.answer("anna", task["item"], task["question_id"], "yes")
    path = run.path / "labels" / "anna.jsonl"
    path.write_text(path.read_text()[:-30])
    assert desk_of(run).next("anna")["task"] == task
    desk_of(run).answer("anna", task["item"], task["question_id"], "no")
    assert read_labels([path])["label"].to_list() == ["yes", "no"]


def test_undo_goes_back_step_by_step_and_keeps_every_line(run):
    desk = desk_of(run)
    tasks = []
    for _ in range(4):
        task = desk.next("anna")["task"]
        tasks.append(task)
        desk.answer("anna", task["item"], task["question_id"], "yes")
    assert desk.undo("anna")["task"] == tasks[3]
    assert desk.undo("anna")["task"] == tasks[2]
    again = desk.answer("anna", tasks[2]["item"], tasks[2]["question_id"], "no")
    assert again["task"] == tasks[3]
    said = [line["label"] for line in lines(run)]
    assert said == ["yes"] * 4 + ["withdrawn", "withdrawn", "no"]
    assert desk_of(run).next("anna")["task"] == tasks[3]
    for _ in range(5):
        told = desk.undo("anna")
    assert told["can_undo"] is False and told["done"] == 0


def test_people_share_the_images_and_see_a_tenth_twice(tmp_path):
    run = drawn_run(tmp_path / "run", prompts=60)
    desk = desk_of(run)
    anna = {item for item, _ in finish(desk, "anna")}
    bert = {item for item, _ in finish(desk, "bert")}
    twice = {n for n, item in desk.items.items() if item.twice}
    assert len(anna) == 119 and bert == twice and 0.03 < len(twice) / 119 < 0.2
    assert desk.next("cleo")["all"] == 0


def test_orders_are_random_and_others(run):
    orders = [desk_of(run)._order(name) for name in ("anna", "anna", "bert")]
    assert orders[0] == orders[1] != orders[2] and sorted(orders[0]) != orders[0]


def test_two_people_at_a_time_do_not_get_the_same_image(run):
    """Who has begun an image has it, also where another process serves the other."""
    first, second = desk_of(run), desk_of(run)
    for desk, name in ((first, "anna"), (second, "bert")):
        desk.next(name)
    task = first.next("anna")["task"]
    first.answer("anna", task["item"], task["question_id"], "yes")
    if not first.items[task["item"]].twice:
        assert task["item"] not in {item for item, _ in finish(second, "bert")}


def test_picked_images_carry_how_they_were_picked(run):
    row = {"place": 0, "prompt_id": "p1", "sample": 1, "image": "images/3.png", "picker": "active",
           "pi": 0.25, "batch": 1, "seed": 7, "twice": True}  # fmt: skip
    (run.path / "labels").mkdir()
    pl.DataFrame([row], schema=PICKS).write_parquet(run.path / PICKED)
    desk = desk_of(run)
    assert {item for item, _ in finish(desk, "anna")} == {0}
    assert len(finish(desk, "bert")) == 3
    line = lines(run)[0]
    assert [line[k] for k in ("picker", "pi", "batch", "seed")] == ["active", 0.25, 1, 7]


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\\b", "x" * 41, "<script>", "a b"])
def test_ids_that_are_no_file_names_are_refused(run, name):
    with pytest.raises(InputError, match="an annotator's id"):
        desk_of(run).next(name)


@pytest.mark.parametrize("answer", [("0", "yes"), (99, "yes"), (0, "perhaps"), (0, "withdrawn")])
def test_wrong_answers_are_refused_over_http(run, answer):
    client = browser(create_app([run]))
    item, said = answer
    body = {"run": 0, "annotator": "anna", "item": item, "question_id": "x", "answer": said}
    assert client.post("/api/label/answer", json=body).status_code == 400
    assert not (run.path / "labels").exists()


def test_other_sites_cannot_label(run):
    client = browser(create_app([run]))
    body = {"run": 0, "annotator": "anna"}
    assert client.post("/api/label/next", json=body).status_code == 200
    foreign = [{"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}]
    for headers in foreign:
        assert client.post("/api/label/next", json=body, headers=headers).status_code == 403
    plain = client.post("/api/label/next", content=json.dumps(body))
    assert plain.status_code == 400 and "application/json" in plain.json()["error"]


def test_labels_give_a_reliability_plot(run):
    client = browser(create_app([run]))
    assert client.get("/api/reliability?protocol=visor").json()["bins"] == []
    finish(desk_of(run), "anna")
    assert set(people_say(run).values()) == {"yes"}
    bins = client.get("/api/reliability?protocol=visor").json()["bins"]
    assert [(b["stated"], b["seen"], b["n"]) for b in bins] == [(0, 1, 4), (1, 1, 3)]
    assert bins[0]["low"] < 1 == bins[0]["high"]


def test_people_who_contradict_each_other_are_unsure(run):
    desk = desk_of(run)
    twice = next((n for n, item in desk.items.items() if item.twice), None)
    desk.items = {0: desk.items[0 if twice is None else twice]}
    desk._number = {desk.items[0].key: 0}
    object.__setattr__(desk.items[0], "twice", True)
    finish(desk, "anna", "yes")
    finish(desk, "bert", "no")
    assert people_say(run) == {desk.items[0].key: "unsure"}


def test_the_page_without_a_server_holds_no_verdict(run, tmp_path):
    path = tmp_path / "page.html"
    assert write_label_page(run, path, limit=5) == 5
    text = path.read_text()
    assert "Content-Security-Policy" in text and "http:" not in text.replace("http-equiv", "")
    assert not any(word in text for word in ("visor", 'margin"', "off by", 'kept"'))


def test_a_run_without_pictures_gives_no_page(run, tmp_path):
    for image in (run.path / "images").iterdir():
        image.unlink()
    with pytest.raises(InputError, match="no image that can be labelled"):
        write_label_page(run, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
