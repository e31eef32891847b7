"""The page in a real browser: what is clicked, typed and seen."""

from __future__ import annotations

import json
import re
import time

import pytest

from t2i_spatial.labels import read_labels
from t2i_spatial.view.labelling import Desk, items_to_label
from t2i_spatial.view.offline import write_label_page
from tests.view.browsing import chromium, needs_browser, serving, violations
from tests.view.drawn import add_answers, drawn_run

pytestmark = needs_browser
PATIENCE = 60_000
"""Milliseconds: a busy machine is no bug."""


def eventually(page, expression):
    """Asked again and again from here: Playwright's own way of waiting needs eval in the page."""
    deadline = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        time.sleep(0.05)


def another_question(page, before):
    eventually(page, f"document.querySelector('.asked').textContent !== {json.dumps(before)}")


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    first = drawn_run(folder / "first", prompts=30, right=tuple(range(0, 60, 3)))
    add_answers(first)
    return first, drawn_run(folder / "second", prompts=30, right=tuple(range(0, 60, 2)))


@pytest.fixture(scope="module")
def address(runs):
    with serving(*(run.path for run in runs)) as address:
        yield address


@pytest.fixture
def tab(browser):
    """A fresh tab; what it logs as an error fails the test."""
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    context.set_default_timeout(PATIENCE)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if "Content Security" in said.text
            else None)  # fmt: skip
    yield page
    context.close()
    assert not errors


def count(page, text):
    page.locator("#count", has_text=re.compile(f"^{text}$")).wait_for()


def test_open_filter_search_zoom_and_go_back(tab, address):
    tab.goto(address + "?protocol=visor")
    count(tab, "60 images")
    eventually(tab, "document.querySelector('.item img')?.naturalWidth === 64")
    tab.locator(".boxes").first.wait_for()
    tab.get_by_role("checkbox", name="wrong").check()
    count(tab, "39 of 60 images")
    assert "verdict=wrong" in tab.url
    tab.get_by_label("Search").fill("horse")
    count(tab, "10 of 60 images")
    tab.reload()  # the address holds the view
    count(tab, "10 of 60 images")
    assert tab.get_by_label("Search").input_value() == "horse"
    tab.locator("button.open").first.click()
    dialog = tab.get_by_role("dialog")
    dialog.get_by_text("relations").wait_for()
    assert dialog.locator("article").count() == 2
    before = dialog.locator(".picture").first.bounding_box()["width"]
    dialog.get_by_role("button", name="Zoom").first.click()
    assert dialog.locator(".picture").first.bounding_box()["width"] > 2 * before
    tab.go_back()
    dialog.wait_for(state="hidden")
    tab.go_back()
    count(tab, "60 images")


def test_answers_of_judges_are_shown(tab, address):
    tab.goto(address + "?open=p0")
    tab.get_by_text("answers of judge (1)").click()
    tab.get_by_text("Is there a cat in the image?").wait_for()
    tab.get_by_text("as asked for").wait_for()


def test_the_keyboard_alone_does_it(tab, address):
    tab.goto(address + "?protocol=visor")
    count(tab, "60 images")
    tab.locator("button.open").first.wait_for()
    press = tab.keyboard.press
    press("ArrowRight")  # to the first image
    press("ArrowRight")
    press("ArrowDown")
    label = tab.evaluate("document.activeElement.getAttribute('aria-label')")
    press("End")
    eventually(tab, "document.activeElement.ariaLabel?.includes('image missing')")
    press("Home")
    eventually(tab, "document.activeElement.ariaLabel?.startsWith('a cat')")
    assert label and "sample" in label
    press("Enter")
    tab.get_by_role("dialog").wait_for()
    press("Escape")
    tab.get_by_role("dialog").wait_for(state="hidden")
    eventually(tab, "document.activeElement.classList.contains('open')")
    press("b")
    assert tab.locator(".boxes").first.is_hidden()
    press("/")
    tab.keyboard.type("dog")
    count(tab, "16 of 60 images")
    press("Escape")
    press("?")
    tab.get_by_role("heading", name="Keys").wait_for()
    press("Escape")
    press("t")
    tab.locator(".line").first.wait_for()
    press("d")
    assert tab.evaluate("document.documentElement.dataset.theme") in ("dark", "light")


def test_two_runs_side_by_side_flips_first(tab, address):
    tab.goto(address + "?protocol=visor")
    tab.get_by_role("link", name="Compare").click()
    tab.locator(".pair img").nth(1).wait_for()
    sides = tab.locator(".item[aria-posinset='1'] .badge").all_inner_texts()
    assert sides == ["right", "wrong"]
    tab.get_by_role("checkbox", name="gained").check()
    count(tab, "20 of 60 images")
    tab.locator(".item[aria-posinset='1'] .badge").nth(1).wait_for()
    assert tab.locator(".item[aria-posinset='1'] .badge").all_inner_texts() == ["wrong", "right"]
    tab.locator("button.open").first.click()
    tab.get_by_role("heading", name="second").wait_for()


def test_labelling_survives_a_reload_undo_and_a_second_tab(tab, browser, tmp_path):
    run = drawn_run(tmp_path / "run")
    with serving(run.path) as address:
        tab.goto(address + "?view=label")
        tab.get_by_label("Your id").fill("anna")
        tab.keyboard.press("Enter")
        question = tab.locator(".asked")
        asked = []
        for key in "ynu":
            question.wait_for()
            asked.append(question.inner_text())
            tab.keyboard.press(key)
            another_question(tab, asked[-1])
        assert tab.locator("img").count() == 1 and tab.locator(".boxes, .badge").count() == 0
        path = run.path / "labels" / "anna.jsonl"
        said = [json.loads(line) for line in path.read_text().splitlines()]
        assert [line["label"] for line in said] == ["yes", "no", "unsure"]
        assert [line["question"] for line in said] == asked
        now = question.inner_text()
        tab.keyboard.press("z")
        another_question(tab, now)
        assert question.inner_text() == asked[-1]
        assert json.loads(path.read_text().splitlines()[-1])["label"] == "withdrawn"
        tab.reload()
        question.wait_for()
        assert question.inner_text() == asked[-1]
        context = browser.new_context()
        other = context.new_page()  # another person at the same time
        other.goto(address + "?view=label&annotator=bert")
        other.locator(".asked").wait_for(timeout=PATIENCE)
        other.keyboard.press("y")
        other.get_by_role("button", name="Undo (z)").and_(other.locator(":enabled")).wait_for()
        assert len((run.path / "labels" / "bert.jsonl").read_text().splitlines()) == 1
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(tab, address, scheme):
    tab.emulate_media(color_scheme=scheme)
    views = ("", "?view=table", "?view=compare&other=1", "?view=charts", "?open=p0")
    for view in (*views, "?view=label&annotator=anna", "?view=label"):
        tab.goto(address + view)
        tab.locator(".boxes, .chart, .asked, .label form").first.wait_for()
        tab.wait_for_timeout(200)
        assert violations(tab) == [], view


def test_a_phone_needs_no_scrolling_sideways(tab, address):
    tab.set_viewport_size({"width": 420, "height": 800})
    for view in ("", "?view=table", "?view=compare&other=1", "?view=charts", "?open=p0"):
        tab.goto(address + view)
        tab.locator(".boxes, .chart").first.wait_for()
        assert tab.evaluate("document.documentElement.scrollWidth") == 420, view
    tab.goto(address + "?protocol=visor")
    tab.get_by_role("button", name="Filters").click()
    tab.get_by_role("checkbox", name="wrong").check()
    count(tab, "39 of 60 images")


def test_a_hostile_run_runs_nothing(tab, tmp_path):
    evil = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
    run = drawn_run(
        tmp_path / "<script>window.hacked=1<", text=f"{evil} {{}}", name=f'{{}}"{evil}',
        prompt_id=f"p{{}}{evil}", file='images/{}"onerror=hacked=1 x=.png',
    )  # fmt: skip
    (run.path / "images" / '0"onerror=hacked=1 x=.png').write_text(f"<svg>{evil}</svg>")
    add_answers(run, evil)
    with serving(run.path) as address:
        for view in ("", "?view=table", "?view=charts", "?view=label&annotator=anna"):
            tab.goto(address + view)
            tab.locator(".item .prompt, .chart, .asked").first.wait_for()
            tab.wait_for_timeout(300)
            assert tab.evaluate("window.hacked") is None
        tab.goto(address)
        tab.locator("button.open").first.click()
        tab.get_by_role("dialog").get_by_text("relations").wait_for()
        tab.get_by_text("answers of judge (1)").click()
        assert evil in tab.get_by_role("dialog").inner_text()
        assert tab.evaluate("window.hacked") is None


def test_the_page_without_a_server_saves_a_label_file(tab, tmp_path):
    evil = "</script><script>window.hacked=1</script>"
    run = drawn_run(tmp_path / "run", prompts=2, text=f"a {{}} left of a ball{evil}")
    page = tmp_path / "page.html"
    assert write_label_page(run, page) == 3
    tab.goto(page.as_uri())
    tab.get_by_label("Your id").fill("anna")
    tab.keyboard.press("Enter")
    for done in range(3):
        tab.locator(".foot", has_text=f"{done} of 3 images").wait_for()
        eventually(tab, "document.querySelector('.stage img').naturalWidth === 64")
        while tab.locator(".foot", has_text=f"{done} of 3 images").count():
            tab.keyboard.press("y")
    tab.keyboard.press("z")
    tab.locator(".asked").wait_for()
    tab.reload()  # the browser has kept everything
    tab.get_by_label("Your id").fill("anna")
    tab.keyboard.press("Enter")
    tab.locator(".asked").wait_for()
    assert violations(tab) == [] and tab.evaluate("window.hacked") is None
    tab.keyboard.press("n")
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Save the file").click()
    path = run.path / "labels" / download.value.suggested_filename
    path.parent.mkdir()
    download.value.save_as(path)
    labels = read_labels([path])
    assert labels["label"].to_list().count("withdrawn") == 1
    assert set(labels["annotator"]) == {"anna"} and labels["image_sha256"].null_count() == 0
    # the app goes on where the page stopped: everything is labelled
    assert Desk(run, items_to_label(run)).next("anna")["done"] == 3


def test_a_million_rows_scroll_to_the_end_and_back(tab, address):
    """Taller than a browser lets an element be: the last image can still be reached."""
    tab.goto(address)
    tab.locator(".item").first.wait_for()
    told = tab.evaluate(
        """async () => {
        const { Scroller } = await import("/static/scroller.js");
        const place = document.createElement("div");
        Object.assign(place.style, { height: "500px", overflowY: "auto" });
        document.body.append(place);
        const make = () => document.createElement("div");
        const render = (index) => Object.assign(make(), { textContent: index });
        const seen = [];
        const moved = (first, last) => { seen[0] = first; seen[1] = last; };
        const scroller = new Scroller(place, { render, moved });
        scroller.set({ total: 1_000_003, columns: 1, rowHeight: 70 });
        const pause = (ms) => new Promise((done) => setTimeout(done, ms));
        place.scrollTop = 1e9;
        await pause(400);
        const end = [...seen];
        place.scrollTop -= 70;
        await pause(60);
        const back = [...seen];
        await pause(400);
        const rest = [...seen];
        scroller.goTo(500_000);
        await pause(400);
        const nodes = place.querySelectorAll("[role=listitem]").length;
        return { end, back, rest, middle: [...seen], nodes };
        }"""
    )
    assert told["end"][1] == 1_000_003
    # one row's height is one row, not the thousands that the scale would make of it
    assert told["back"][0] in (told["end"][0], told["end"][0] - 1) and told["rest"] == told["back"]
    assert told["middle"][0] == 499_999 and told["nodes"] < 20
