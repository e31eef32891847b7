"""`curate --caption judge` against a server that replays replies."""

from __future__ import annotations

import json

import polars as pl
import pytest
from click.testing import CliRunner
from datasets import load_dataset

from t2i_spatial.cli.main import main
from t2i_spatial.curation.claim_checks import CANNOT_TELL, CONTRADICTED, SUPPORTED
from t2i_spatial.errors import IncompleteRunError, InputError, PlanMismatchError
from t2i_spatial.judges.sending import JudgeError
from t2i_spatial.questions import ANSWERED, ERROR, OFF_FORMAT, REFUSED
from t2i_spatial.run import Run
from t2i_spatial.stages import captioning
from t2i_spatial.stages.ask_settings import CaptionerSettings
from t2i_spatial.stages.caption_drafts import NOTHING_LEFT
from t2i_spatial.stages.curate import (
    CurateSettings,
    TooFewImagesError,
    check_names,
    curate_run,
)
from t2i_spatial.tables import DETECTIONS, SCORED
from tests.curation.runs import LEFT, RIGHT, make_run, verdict
from tests.judges.replaying_server import ReplayingServer, failure, image_of, said, text_of

PROMPT = "a cat left of a dog"
RIGHT_CLAIM = "A cat is to the left of a dog."
WRONG = "The dog is to the left of the cat."
UNCHECKABLE = "The dog is in front of a wooden fence."


def with_boxes(path, prompts=3):
    """A run of right images with a cat to the left of a dog in each."""
    run = make_run(path, [verdict(str(k), 0) for k in range(prompts)])
    boxes = [
        {"label": name, "score": 0.9, "box": list(box), "color": None, "depth": None}
        for name, box in (("cat", LEFT), ("dog", RIGHT))
    ]
    rows = [
        {**row, "status": SCORED, "detections": boxes}
        for row in run.images().select("prompt_id", "sample", "image", "width", "height").to_dicts()
    ]
    run.write_detections(pl.DataFrame(rows, schema=DETECTIONS))
    return run


@pytest.fixture
def run(tmp_path):
    return with_boxes(tmp_path / "run")


def settings(server, captioner=None, **more):
    options = {"probe": False, "patience": 5.0, "timeout": 5.0}
    judge = CaptionerSettings(
        judge=server.url, judge_model="m", options=options, **(captioner or {})
    )
    return CurateSettings(caption="judge", captioner=judge, duplicate_distance=-1, **more)


def again(body):
    return "You have written this" in text_of(body)


def captions(run):
    table = pl.read_parquet(run.path / "captions" / "m.parquet")
    return {row["prompt_id"]: row for row in table.to_dicts()}


def claims(run):
    return pl.read_parquet(run.path / "captions" / "m.claims.parquet")


def exported(folder):
    lines = (folder / "train" / "metadata.jsonl").read_text().splitlines()
    return [json.loads(line)["text"] for line in lines]


def test_right_claims_stay_wrong_ones_are_asked_again_and_struck_out(run):
    caption = f"{RIGHT_CLAIM} {WRONG} {UNCHECKABLE}"
    with ReplayingServer(lambda body, number: said(caption)) as server:
        curated = curate_run(run, settings(server))
    assert len(server.bodies) == 6
    first, second = (next(b for b in server.bodies if again(b) is turn) for turn in (False, True))
    assert json.dumps(PROMPT) in text_of(first) and "- cat (0.10, 0.42, 0.42, 0.83)" in text_of(
        first
    )
    assert image_of(first).startswith("data:image/png;base64,")
    assert first["messages"][0]["content"].startswith("You write captions")
    assert "- dog left of cat (" in text_of(second) and json.dumps(caption) in text_of(second)
    assert exported(curated.folder) == [f"{RIGHT_CLAIM} {UNCHECKABLE}"] * 3
    assert (
        pl.read_parquet(run.path / "selection.parquet")["caption"].to_list()
        == [f"{RIGHT_CLAIM} {UNCHECKABLE}"] * 3
    )
    row = captions(run)["0"]
    assert (row["status"], row["replies"], row["struck"], row["cut"]) == (ANSWERED, 2, 1, 0)
    assert (row[CONTRADICTED], row[CANNOT_TELL]) == (2, 1)
    told = claims(run).filter(pl.col("prompt_id") == "0", pl.col("reply") == 2)
    fates = {r["claim"]: (r["fate"], r["kept"]) for r in told.to_dicts()}
    assert fates["cat left of dog"] == (SUPPORTED, True)
    assert fates["dog left of cat"] == (CONTRADICTED, False)
    assert fates["dog in front of fence"] == (CANNOT_TELL, True)
    counts = curated.as_dict()["captions"]
    assert counts["claims"][CONTRADICTED] == 6 and counts["struck_sentences"] == 3
    assert "6 contradicted" in (curated.folder / "README.md").read_text()
    assert "3 of 3 images" in curated.as_text()


def test_a_set_with_a_card_loads_as_one_without(run):
    with ReplayingServer(lambda b, n: said(RIGHT_CLAIM)) as server:
        folder = curate_run(run, settings(server)).folder
    assert (folder / "README.md").exists()
    loaded = load_dataset("imagefolder", data_dir=str(folder), split="train")
    assert loaded["text"] == [RIGHT_CLAIM] * 3


def test_nothing_is_asked_when_too_few_images_are_kept(run):
    with (
        ReplayingServer(lambda b, n: said(RIGHT_CLAIM)) as server,
        pytest.raises(TooFewImagesError, match="3 images were kept, 9 are needed"),
    ):
        curate_run(run, settings(server, min_images=9))
    assert not server.bodies


def test_what_is_put_right_is_kept(run):
    with ReplayingServer(lambda b, n: said(RIGHT_CLAIM if again(b) else WRONG)) as server:
        curated = curate_run(run, settings(server))
    assert exported(curated.folder) == [RIGHT_CLAIM] * 3
    assert captions(run)["1"]["struck"] == 0
    assert claims(run).filter("kept")["fate"].unique().to_list() == [SUPPORTED]


def test_a_second_reply_that_is_none_leaves_the_first_without_its_errors(run):
    first = f"{RIGHT_CLAIM} {WRONG}"
    with ReplayingServer(
        lambda b, n: said("I'm sorry, I can't help with that.") if again(b) else said(first)
    ) as server:
        curated = curate_run(run, settings(server))
    assert exported(curated.folder) == [RIGHT_CLAIM] * 3
    assert {row["status"] for row in captions(run).values()} == {ANSWERED}


def test_whatever_fails_keeps_the_prompt_and_is_counted(tmp_path):
    run = with_boxes(tmp_path / "run", prompts=7)
    replies = [
        said(RIGHT_CLAIM),
        said("Sorry, I can't help with that image."),
        said('{"caption": "A cat is to the le'),
        failure(422, "no"),
        (200, {}, b'{"choices": [{"message": {"content": "A ca'),
        said(WRONG),
        said("", refusal="x", message={"role": "assistant", "content": None, "refusal": "no"}),
    ]
    order = list(range(7))

    def answer(body, number):
        return said(WRONG) if again(body) else replies[order.pop(0)]

    with ReplayingServer(answer) as server:
        one = {"options": {"probe": False, "concurrency": 1, "max_concurrency": 1}}
        chosen = settings(server)
        judge = chosen.captioner.model_copy(update=one)
        curated = curate_run(run, chosen.model_copy(update={"captioner": judge}))
    found = captions(run)
    statuses = sorted(row["status"] for row in found.values())
    assert statuses == sorted([ANSWERED, REFUSED, OFF_FORMAT, ERROR, ERROR, NOTHING_LEFT, REFUSED])
    assert all(row["reason"] for row in found.values() if row["status"] != ANSWERED)
    assert sorted(exported(curated.folder)) == sorted([RIGHT_CLAIM] + [PROMPT] * 6)
    assert "2 refused: they keep their prompt" in curated.as_text()


def test_errors_are_asked_again_by_the_next_call_and_nothing_else(run):
    with ReplayingServer(
        lambda b, n: failure(422, "no") if n == 1 else said(RIGHT_CLAIM)
    ) as server:
        curate_run(run, settings(server))
        assert len(server.bodies) == 3
        curated = curate_run(run, settings(server))
        assert len(server.bodies) == 4
        curate_run(run, settings(server))
        assert len(server.bodies) == 4
    assert exported(curated.folder) == [RIGHT_CLAIM] * 3


def test_a_killed_call_goes_on_without_asking_twice(run, monkeypatch):
    monkeypatch.setattr(captioning, "BATCH", 1)
    gone = [True]

    def answer(body, number):
        if gone[0] and number >= 2:
            return failure(403, "quota")
        return said(f"{RIGHT_CLAIM} {WRONG}")

    with ReplayingServer(answer) as server:
        chosen = settings(server)
        one = {"options": {"probe": False, "concurrency": 1, "max_concurrency": 1}}
        chosen = chosen.model_copy(update={"captioner": chosen.captioner.model_copy(update=one)})
        with pytest.raises(JudgeError, match="quota"):
            curate_run(run, chosen)
        assert not (run.path / "curated").exists()
        asked = len(server.bodies)
        gone[0] = False
        curate_run(Run.open(run.path), chosen)
        put = [(text_of(body), image_of(body)) for body in server.bodies]
        answered = put[:2] + put[asked:]
    assert len(answered) == len(set(answered)) == 6


def test_the_cache_answers_another_run(tmp_path, run):
    cache = {"cache": tmp_path / "cache"}
    with ReplayingServer(lambda b, n: said(RIGHT_CLAIM)) as server:
        curate_run(run, settings(server, cache))
        other = with_boxes(tmp_path / "other")
        curate_run(other, settings(server, cache))
        assert len(server.bodies) == 3
    assert captions(other)["2"]["caption"] == RIGHT_CLAIM


def test_other_boxes_and_limits_are_other_questions(run):
    with ReplayingServer(lambda b, n: said(RIGHT_CLAIM)) as server:
        curate_run(run, settings(server))
        curate_run(run, settings(server, caption_tokens=200))
        assert len(server.bodies) == 6
        assert "138 words" in text_of(server.bodies[-1])
        boxes = run.detections()
        run.write_detections(boxes.with_columns(pl.col("detections").list.head(1)))
        curate_run(run, settings(server))
        assert len(server.bodies) == 9


def test_long_captions_are_cut_to_whole_sentences(run):
    rest = " ".join(f"There is something nice in row {k} of the old market." for k in range(9))
    with ReplayingServer(lambda b, n: said(f"{rest} {RIGHT_CLAIM}")) as server:
        curated = curate_run(run, settings(server))
        [text] = set(exported(curated.folder))
        assert text.endswith(RIGHT_CLAIM) and text.count(".") < 7
        row = captions(run)["0"]
        assert row["tokens"] <= 77 and row["cut"] == 10 - text.count(".")
        assert curated.long_captions == 0
        longer = curate_run(run, settings(server, caption_tokens=512))
        assert exported(longer.folder) == [f"{rest} {RIGHT_CLAIM}"] * 3


@pytest.mark.parametrize("form", ["kohya", "webdataset", "parquet"])
def test_every_format_takes_the_captions(run, form):
    with ReplayingServer(lambda b, n: said(f"{RIGHT_CLAIM}\n\nThe dog sleeps.")) as server:
        folder = curate_run(run, settings(server, export=form)).folder
    card = (folder / "README.md").read_text()
    assert "template `dense_caption/1`" in card
    if form == "kohya":
        text = (folder / "images" / "000001.txt").read_text()
        assert text == f"{RIGHT_CLAIM} The dog sleeps.\n"


def test_a_share_of_the_images_is_asked_about(run):
    with ReplayingServer(lambda b, n: said(RIGHT_CLAIM)) as server:
        curated = curate_run(run, settings(server, caption_percent=34))
    assert len(server.bodies) == 1
    assert sorted(exported(curated.folder)) == sorted([RIGHT_CLAIM, PROMPT, PROMPT])


def test_another_judge_of_the_name_is_refused_unless_told(run):
    with ReplayingServer(lambda b, n: said(RIGHT_CLAIM)) as server:
        curate_run(run, settings(server))
    with ReplayingServer(lambda b, n: said("A dog. A cat.")) as server:
        with pytest.raises(PlanMismatchError, match="judge"):
            curate_run(run, settings(server))
        curated = curate_run(run, settings(server), overwrite=True)
    assert exported(curated.folder) == ["A dog. A cat."] * 3


def test_other_pictures_are_asked_about_anew(run):
    with ReplayingServer(lambda b, n: said(RIGHT_CLAIM)) as server:
        curate_run(run, settings(server))
        names = [run.path / "images" / f"{k}_0.png" for k in range(2)]
        names[0].write_bytes(names[1].read_bytes())
        curate_run(run, settings(server))
        assert len(server.bodies) == 4


def test_a_judge_that_never_answers_makes_no_set(run):
    with (
        ReplayingServer(lambda b, n: failure(422, "no eyes")) as server,
        pytest.raises(IncompleteRunError, match=r"none of the 3 images .* no eyes"),
    ):
        curate_run(run, settings(server))
    assert not (run.path / "curated").exists()


def curate(run, server, *more):
    options = ["--option", "probe=false", "--duplicate-distance", "-1"]
    judge = ["--judge", server.url, "--judge-model", "m"]
    return CliRunner().invoke(
        main, ["curate", str(run.path), "--caption", "judge", *judge, *options, *more]
    )


def test_a_dry_run_asks_and_writes_nothing(run):
    before = sorted(str(p) for p in run.path.rglob("*"))
    with ReplayingServer(lambda b, n: said(RIGHT_CLAIM)) as server:
        result = curate(run, server, "--dry-run")
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("3 requests about 3 images, about ")
        assert sorted(str(p) for p in run.path.rglob("*")) == before
        assert not server.bodies
        curate(run, server)
        assert "0 requests" in curate(run, server, "--dry-run").stdout


def test_a_limit_of_requests_goes_on_next_time_and_exports_when_all_is_there(run):
    with ReplayingServer(lambda b, n: said(RIGHT_CLAIM)) as server:
        first = curate(run, server, "--max-requests", "2")
        assert first.exit_code == 0 and "1 images still to be asked about" in first.stdout
        assert not (run.path / "curated").exists()
        second = curate(run, server, "--max-requests", "2", "--json")
        assert len(server.bodies) == 3
    assert json.loads(second.stdout)["captions"]["left"] == 0
    assert exported(run.path / "curated") == [RIGHT_CLAIM] * 3
    plan = Run.open(run.path).plan("caption-m")
    assert plan["model"] == "m" and "dense_caption/1" in plan["templates"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"captioner": CaptionerSettings()}, "no judge is named"),
        ({"captioner": CaptionerSettings(judge="bundled")}, "'bundled' picks among answers"),
        ({"captioner": CaptionerSettings(judge="boxes")}, "'boxes' picks among answers"),
        ({"caption": "long"}, "no effect without --caption judge"),
        ({"pairs": True}, "captions of whole images"),
        ({"crop": True}, "captions of whole images"),
    ],
)
def test_what_cannot_be_is_one_line(changes, message):
    known = {"caption": "judge", "captioner": CaptionerSettings(judge="http://localhost:1/v1")}
    with pytest.raises(InputError, match=message):
        check_names(CurateSettings(**(known | changes)))


def test_a_run_without_boxes_says_so(tmp_path):
    run = make_run(tmp_path / "run", [verdict("0", 0)])
    with (
        ReplayingServer(lambda b, n: said(RIGHT_CLAIM)) as server,
        pytest.raises(InputError, match="are checked against boxes"),
    ):
        curate_run(run, settings(server))


def test_options_of_a_judge_without_one_are_refused(run):
    result = CliRunner().invoke(main, ["curate", str(run.path), "--dry-run"])
    assert result.exit_code == 2 and "no judge is asked" in result.stderr
