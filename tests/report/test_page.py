from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import polars as pl
import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.files import write_json
from t2i_spatial.report import render_report
from t2i_spatial.run import Run
from t2i_spatial.tables import VERDICTS
from tests.report.drawn_run import drawn_run


class Tags(HTMLParser):
    """Every start tag with its attributes; fails on a tag that is never closed."""

    VOID = ("meta", "img", "input", "br", "line", "rect", "path")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def named(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        wanted = {key.replace("_", "-").rstrip("-"): value for key, value in attributes.items()}
        return [
            found
            for name, found in self.tags
            if name == tag and all(found.get(key) == value for key, value in wanted.items())
        ]


def visible(html: str) -> str:
    body = re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def test_counts_numbers_and_reasons_are_on_the_page(tmp_path):
    html = render_report(drawn_run(tmp_path / "run"))
    text = visible(html)
    assert "3 of 4 images scored" in text
    assert "1 missing." in text
    assert "75.0" in text and "95 % interval 50.0&thinsp;–&thinsp;100.0" in text
    assert "cup is 1 px off" in text
    assert "2 of 4 images kept" in text and "visor says wrong" in text
    assert '"seed": 7' in html.replace("&#34;", '"')


def test_every_image_is_a_card_with_its_verdict(tmp_path):
    page = Tags(render_report(drawn_run(tmp_path / "run")))
    assert len(page.named("article", class_="card")) == 4
    verdicts = page.named("div", data_protocol="visor")
    assert [v["data-kind"] for v in verdicts] == ["correct", "wrong", "correct", "unscored"]
    assert [v["data-margin"] for v in verdicts] == ["0.01", "-0.02", "0.03", ""]
    assert all(image["src"].startswith("data:image/webp;base64,") for image in page.named("img"))
    assert len(page.named("img")) == 3


def test_subject_and_object_boxes_keep_their_place_and_colour(tmp_path):
    page = Tags(render_report(drawn_run(tmp_path / "run", 2, missing=0)))
    assert len(page.named("svg", class_="boxes", viewbox="0 0 96 96")) == 2
    assert page.named("rect", class_="subject", x="8.0", y="30.0", width="32.0", height="40.0")
    assert page.named("rect", class_="object", x="8.0", y="30.0", width="32.0", height="40.0")
    assert len(page.named("span", class_="subject")) == 3  # two prompts and the legend


ATTACK = "</script></style><img src=x onerror=alert(1)><b a=\"'{{ 7 * 7 }}"


@pytest.mark.parametrize("field", ["subject", "text", "prompt_id"])
def test_no_text_of_a_table_becomes_markup(tmp_path, field):
    value = ATTACK + "-{}" if field == "prompt_id" else ATTACK
    run = drawn_run(tmp_path / "run", **{field: value})
    plain = Tags(render_report(drawn_run(tmp_path / "plain")))
    attacked = Tags(render_report(run))
    roles = {"subject", "object"}

    def skeleton(page: Tags) -> list[tuple[str, list[str]]]:
        return [
            (tag, sorted(found))
            for tag, found in page.tags
            if not (tag == "span" and found.get("class") in roles)
        ]

    assert skeleton(attacked) == skeleton(plain)
    assert " 7 * 7 }" in visible(render_report(run))


def test_markup_in_the_summary_and_manifest_is_text(tmp_path):
    run = drawn_run(tmp_path / "run")
    run.begin("detect", {"detector": ATTACK})
    summary = json.loads((run.path / "summary.json").read_text())
    summary[ATTACK] = {ATTACK: {"value": 0.5}, "by_relation": {ATTACK: {"value": 0.5}}}
    write_json(run.path / "summary.json", summary)
    html = render_report(run)
    assert "<img src=x" not in html
    assert html.count("</script>") == 1 and html.count("</style>") == 1


def test_the_page_names_no_outside_address(tmp_path):
    html = render_report(drawn_run(tmp_path / "run"))
    assert not re.search(r"https?://|url\(|@import|src=\"(?!data:)", html)
    assert "default-src 'none'" in html


def test_unknown_protocols_and_undefined_numbers_are_shown(tmp_path):
    text = visible(render_report(drawn_run(tmp_path / "run")))
    assert "Homemade" in text and "cosiness" in text and "12.5" in text
    assert "VISOR cond –" in text


def test_the_cap_takes_all_outcomes_and_is_stated(tmp_path):
    run = drawn_run(tmp_path / "run", 40, missing=2)
    html = render_report(run, max_images=6)
    kinds = [v["data-kind"] for v in Tags(html).named("div", data_protocol="visor")]
    assert sorted(kinds) == ["correct", "correct", "unscored", "unscored", "wrong", "wrong"]
    assert "Shows 6 of 40 images" in visible(html)
    assert render_report(run, max_images=6) == html


def test_no_gallery_when_none_is_wanted(tmp_path):
    html = render_report(drawn_run(tmp_path / "run"), max_images=0)
    assert Tags(html).named("article") == []
    assert "Shows 0 of 4 images" in visible(html)


def test_too_many_bytes_of_pictures_are_cut_and_stated(tmp_path, monkeypatch):
    monkeypatch.setattr("t2i_spatial.report.gallery.BUDGET_BYTES", 700)
    html = render_report(drawn_run(tmp_path / "run", 8, missing=0))
    shown = len(Tags(html).named("article"))
    assert 0 < shown < 8
    assert f"Shows {shown} of 8 images" in visible(html)


def test_an_image_that_cannot_be_read_any_more_says_so(tmp_path):
    run = drawn_run(tmp_path / "run")
    (run.path / "images" / "0.png").write_bytes(b"not a picture")
    assert "0.png: not an image that Pillow reads" in visible(render_report(run))


def test_ten_thousand_boxes_are_counted_not_drawn(tmp_path):
    run = drawn_run(tmp_path / "run", 1, missing=0)
    one = {"label": "cup", "score": 0.5, "box": [1.0, 1.0, 5.0, 5.0]}
    run.write_detections(run.detections().with_columns(detections=pl.lit([one] * 10_000)))
    html = render_report(run)
    assert "9976 more boxes" in visible(html)
    assert len(html) < 200_000


def test_verdicts_alone_are_enough(tmp_path):
    run = Run.create(tmp_path / "run")
    row = {"prompt_id": "a", "sample": 0, "protocol": "visor", "status": "scored", "value": 0.4}
    run.write_verdicts(pl.DataFrame([row], schema=VERDICTS), "visor")
    html = render_report(run)
    assert "1 of 1 images scored" in visible(html)
    assert Tags(html).named("div", data_kind="graded")


def test_a_summary_alone_is_enough(tmp_path):
    run = Run.create(tmp_path / "run")
    write_json(run.path / "summary.json", {"geneval": {"overall": {"value": 0.5}}})
    assert "GenEval" in visible(render_report(run))


def test_an_unscored_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no verdicts yet"):
        render_report(Run.create(tmp_path / "run"))


def test_a_broken_summary_is_refused(tmp_path):
    run = drawn_run(tmp_path / "run")
    (run.path / "summary.json").write_text("{")
    with pytest.raises(InputError, match=r"summary\.json cannot be read"):
        render_report(run)
