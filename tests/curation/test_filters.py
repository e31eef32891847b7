from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageFilter
from pydantic import ValidationError

from t2i_spatial.bundled.scenes import render, sample_scene
from t2i_spatial.curation.filters.balance import Balance, rake
from t2i_spatial.curation.filters.gors import THRESHOLDS, Gors
from t2i_spatial.curation.filters.quality import bars, blur, contrast
from t2i_spatial.curation.selection import select
from t2i_spatial.errors import InputError
from tests.curation.runs import drawing


def rows(n, **columns):
    base = {
        "prompt_id": [str(i) for i in range(n)],
        "sample": pl.Series([0] * n, dtype=pl.Int32),
        "image": [f"{i}.png" for i in range(n)],
        "text": ["a cat to the left of a dog"] * n,
        "subject": ["cat"] * n,
        "relation": ["left of"] * n,
        "object": ["dog"] * n,
    }
    return pl.LazyFrame(base | columns)


@pytest.fixture
def kept(tmp_path):
    def run(candidates, *filters):
        return select(candidates, filters, tmp_path / "s.parquet").frame()

    return run


def test_best_of_takes_the_best_of_what_is_left_and_the_first_of_equals(kept):
    table = kept(
        rows(
            6,
            prompt_id=["a", "a", "a", "b", "b", "b"],
            sample=pl.Series([0, 1, 2, 0, 1, 2], dtype=pl.Int32),
            margin=[0.9, 0.5, 0.5, 0.1, None, 0.3],
            correct=[False, True, True, True, True, True],
            verdict=["wrong"] * 6,
        ),
        "correct",
        "best_of",
    )
    assert table["kept"].to_list() == [False, True, False, False, False, True]
    assert table["reason"].to_list()[2:5] == [
        "number 2 of its prompt by margin",
        "number 2 of its prompt by margin",
        "number 3 of its prompt by margin",
    ]


def test_size_names_the_size(kept):
    table = kept(rows(4, width=[256, 255, 512, None], height=[512, 512, 256, None]), "size")
    assert table["kept"].to_list() == [True, False, True, False]
    assert table["reason"][1].startswith("255 x 512 pixels")
    assert table["reason"][3] == "the size is unknown"
    wide = kept(rows(1, width=[513], height=[256]), "size")
    assert wide["kept"].to_list() == [False]


def test_object_size_looks_at_the_smaller_box(kept):
    boxes = {
        "a_w": [10.0, 10.0, None],
        "a_h": [10.0, 5.0, None],
        "b_w": [50.0] * 3,
        "b_h": [50.0] * 3,
    }
    table = kept(rows(3, width=[100] * 3, height=[100] * 3, **boxes), "object_size")
    assert table["kept"].to_list() == [True, False, False]
    assert table["reason"][1] == "the smaller box covers 0.005 of the image < 0.01"


def test_more_than_eighteen_objects_is_strict(kept):
    table = kept(rows(3, n_objects=[19, 18, None]), "many_objects")
    assert table["kept"].to_list() == [True, False, False]


@pytest.mark.parametrize("category", list(THRESHOLDS))
@pytest.mark.parametrize("natural", [False, True])
def test_gors_thresholds_are_exceeded_strictly_and_rewards_are_weights(kept, category, natural):
    limit = THRESHOLDS[category][natural]
    rule = Gors(category=category, natural=natural)
    table = kept(rows(3, value=[limit, limit + 0.01, None]), rule)
    assert table["kept"].to_list() == [False, True, False]
    assert table["weight"].to_list() == [None, limit + 0.01, None]


def test_gors_thresholds_are_the_published_ones():
    assert THRESHOLDS == {
        "color": (0.92, 0.70), "shape": (0.85, 0.60), "texture": (0.90, 0.65),
        "spatial": (0.80, 0.80), "non_spatial": (0.75, 0.75), "complex": (0.40, 0.40),
    }  # fmt: skip


def test_a_second_detector_must_agree(kept):
    second = {"second_correct": [True, False, None], "second_verdict": ["", "no dog found", None]}
    table = kept(rows(3, correct=[True] * 3, **second), "agreement")
    assert table["kept"].to_list() == [True, False, False]
    assert table["reason"].to_list()[1:] == [
        "the second detector disagrees: no dog found",
        "the second detector gave no verdict",
    ]


def test_a_column_of_ones_own_has_limits(kept):
    scores = rows(4, aesthetic=[5.0, 4.9, None, float("nan")])
    rule = {"filter": "column", "column": "aesthetic", "minimum": 5, "maximum": 9}
    table = kept(scores, rule)
    assert table["kept"].to_list() == [True, False, False, False]
    assert table["reason"][1] == "4.9 is not 5 <= aesthetic <= 9"
    clip = kept(rows(2, clip_score=[0.3, 0.2]), "clip_score")
    assert clip["kept"].to_list() == [True, False]


def test_balance_by_leaving_out_makes_groups_equal_and_is_repeatable(kept):
    relation = ["left of"] * 50 + ["above"] * 10 + ["below"] * 20
    candidates = rows(80, relation=relation)
    table = kept(candidates, "balance")
    counts = table.with_columns(pl.Series("relation", relation)).filter("kept")["relation"]
    assert dict(counts.value_counts().iter_rows()) == {"left of": 10, "above": 10, "below": 10}
    assert kept(candidates, "balance").equals(table)
    other = kept(candidates, {"filter": "balance", "seed": 1})
    assert not other["kept"].equals(table["kept"])
    loose = kept(candidates, {"filter": "balance", "ratio": 2, "at_most": 15})
    assert loose["kept"].sum() == 10 + 15 + 15


def test_balance_of_one_row_does_not_depend_on_the_others(kept):
    rule = {"filter": "balance", "at_most": 10, "ratio": 100}
    first = set(kept(rows(50), rule).filter("kept")["prompt_id"])
    second = set(kept(rows(51), rule).filter("kept")["prompt_id"])
    assert len(first - second) <= 1


def test_the_order_of_mention_can_be_balanced(kept):
    subject, target = ["cat"] * 6 + ["dog"] * 2, ["dog"] * 6 + ["cat"] * 2
    table = kept(rows(8, subject=subject, object=target), {"filter": "balance", "over": ["order"]})
    chosen = table.with_columns(pl.Series("subject", subject)).filter("kept")["subject"]
    assert sorted(chosen) == ["cat", "cat", "dog", "dog"]
    pairs = kept(rows(8, subject=subject, object=target), {"filter": "balance", "over": ["pair"]})
    assert pairs["kept"].all()


def test_weights_balance_several_traits_at_once(kept):
    rng = np.random.default_rng(0)
    relation = rng.choice(["left of", "right of", "above"], 300, p=[0.7, 0.2, 0.1]).tolist()
    subject = rng.choice(["cat", "dog"], 300, p=[0.8, 0.2]).tolist()
    rule = Balance(over=("relation", "subject"), mode="weight", largest=100)
    table = kept(rows(300, relation=relation, subject=subject), rule)
    assert table["kept"].all()
    weighed = table.with_columns(pl.Series("relation", relation), pl.Series("subject", subject))
    for trait in ("relation", "subject"):
        totals = weighed.group_by(trait).agg(pl.col("weight").sum())["weight"]
        assert np.allclose(totals, 300 / len(totals), rtol=1e-6)


def test_raking_bounds_weights_and_accepts_nothing():
    code = np.array([0] * 99 + [1])
    weights = rake([code], 5.0)
    assert weights.mean() == pytest.approx(1)
    assert weights.max() / weights.min() == pytest.approx(5 / (50 / 99))
    assert rake([np.array([], np.int64)], 5.0).shape == (0,)


def test_balance_refuses_an_unknown_trait():
    with pytest.raises(ValidationError):
        Balance(over=("colour",))


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("text", [False, True, True, True]),
        ("scene", [False, False, True, True]),
        ("pair", [False, False, False, True]),
    ],
)
def test_nothing_of_the_evaluation_leaks_in(kept, tmp_path, level, expected):
    evaluation = tmp_path / "evaluation.txt"
    evaluation.write_text("A cat, to the left of a dog.\n")
    table = kept(
        rows(
            4,
            text=["a cat to the left of a dog", "a dog right of a cat", "a dog above a cat", "x"],
            subject=["cat", "dog", "dog", None],
            relation=["left of", "right of", "above", None],
            object=["dog", "cat", "cat", None],
        ),
        {"filter": "leakage", "prompts": str(evaluation), "level": level},
    )
    assert table["kept"].to_list() == expected
    assert table["reason"][0] == f"the evaluation set has the same {level}"


def test_leaks_hide_in_further_relations_other_names_and_other_sides(kept, tmp_path):
    evaluation = tmp_path / "evaluation.txt"
    evaluation.write_text(
        "a cat to the left of a dog\na cat and a bird\na computer mouse above a car"
    )
    texts = [
        "a tree above a car, a cat to the left of a dog",
        "a mouse above a car",
        "a dog and a cat",
        "a cat to the left of a bird",
        "a bird above a dog",
    ]
    first = {"subject": "tree", "relation": "above", "object": "car"}
    more = {role: [name, None, None, None, None] for role, name in first.items()}
    for level, expected in (
        ("scene", [False, False, True, True, True]),
        ("pair", [False, False, False, False, True]),
    ):
        rule = {"filter": "leakage", "prompts": str(evaluation), "level": level}
        assert kept(rows(5, text=texts, **more), rule)["kept"].to_list() == expected
    pairs = rows(2, subject=["dog", "cup"], relation=["to the right of and above", "above"],
                 object=["cat", "dog"]).drop("text")  # fmt: skip
    rule = {"filter": "leakage", "prompts": str(evaluation)}
    assert kept(pairs, rule)["kept"].to_list() == [False, True]
    with pytest.raises(InputError, match="leakage needs a column `text`"):
        kept(pairs.drop("subject"), rule)


def test_a_verdict_without_boxes_passes_the_score_filter_when_it_need_not_have_some(kept):
    table = rows(3, a_label=[None, "cat", "cat"], score=[None, 0.1, 0.9])
    assert kept(table, "score")["kept"].to_list() == [False, False, True]
    rule = {"filter": "score", "needs_boxes": False}
    assert kept(table, rule)["kept"].to_list() == [True, False, True]


def test_nan_is_no_value(kept):
    nan = float("nan")
    table = rows(3, prompt_id=["a"] * 3, sample=pl.Series([0, 1, 2], dtype=pl.Int32),
                 margin=[0.2, nan, 0.3], score=[0.9, nan, 0.9], value=[0.9, nan, 0.95])  # fmt: skip
    for rule in ("margin", "score", "unsure_band", "gors", {"filter": "column", "column": "value"}):
        found = kept(table, rule)
        assert found["kept"].to_list() == [True, False, True], rule
        assert found["weight"].is_not_nan().all()
    assert kept(table, "best_of")["kept"].to_list() == [False, False, True]


def test_a_column_of_the_wrong_kind_is_one_line(kept):
    table = rows(2, grade=["good", "bad"])
    for rule in (
        {"filter": "column", "column": "grade", "minimum": 1},
        {"filter": "best_of", "by": "grade"},
    ):
        with pytest.raises(InputError, match="filters cannot be applied"):
            kept(table, rule)


def test_rows_without_a_relation_do_not_decide_how_many_of_the_others_stay(kept):
    relation = ["left of"] * 5 + ["above"] * 4 + [None]
    table = kept(rows(10, relation=relation), "balance")
    counted = dict(table.filter("kept").with_columns(
        pl.Series("r", [r for r, k in zip(relation, table["kept"], strict=True) if k])
    ).group_by("r").len().iter_rows())  # fmt: skip
    assert counted == {"left of": 4, "above": 4, None: 1}
    one_more = kept(rows(11, relation=[*relation, "above"]), "balance")
    assert set(table.filter("kept")["prompt_id"]) <= set(one_more.filter("kept")["prompt_id"])


def scenes(n):
    rng = np.random.default_rng(7)
    return [Image.fromarray(render(sample_scene(rng))[0]) for _ in range(n)]


def pictures(folder, images):
    paths = []
    for number, image in enumerate(images):
        image.save(folder / f"{number}.png")
        paths.append(str(folder / f"{number}.png"))
    return rows(len(images), path=paths)


def test_quality_filters_keep_drawings_and_refuse_what_was_done_to_them(kept, tmp_path):
    good = scenes(10)
    everything = ("exposure", "flat", "blur", "border")
    assert kept(pictures(tmp_path, good), *everything)["kept"].all()
    framed = Image.new("RGB", (64, 84))
    framed.paste(good[0], (0, 10))
    spoilt = [
        good[0].filter(ImageFilter.GaussianBlur(4)),
        good[1].point(lambda v: v // 20),
        Image.new("RGB", (64, 64), (120, 130, 90)),
        framed,
    ]
    table = kept(pictures(tmp_path, spoilt), *everything)
    assert table["filter"].to_list() == ["blur", "exposure", "flat", "border"]
    assert table["reason"][3] == "bars take 0.238 of the image > 0.05"


def test_an_image_is_decoded_once_for_all_filters(kept, tmp_path, monkeypatch):
    from t2i_spatial.curation import pixels

    opened = []
    read = pixels.read_image
    monkeypatch.setattr(pixels, "read_image", lambda path: opened.append(path) or read(path))
    kept(pictures(tmp_path, scenes(3)), "flat", "blur", "near_duplicates", "exact_duplicates")
    assert len(opened) == 3


def test_only_survivors_are_opened(kept, tmp_path):
    candidates = pictures(tmp_path, [drawing(0), drawing(1)]).with_columns(
        score=pl.Series([0.9, 0.1])
    )
    (tmp_path / "1.png").write_bytes(b"broken")
    table = kept(candidates, "score", "flat")
    assert table["filter"].to_list() == [None, "score"]


def test_measures_of_extreme_images():
    assert blur(Image.new("RGB", (4, 4))) == 0.0
    assert blur(Image.new("RGB", (64, 64))) >= 0.0
    assert contrast(Image.new("RGB", (8, 8))) == 0.0
    assert bars(Image.new("RGB", (8, 8))) == (1.0, 1.0)
    assert bars(Image.new("RGB", (8, 8), "white")) == (0.0, 1.0)
    one_side = Image.new("RGB", (40, 40), "white")
    one_side.paste(drawing(1, (40, 30)), (0, 10))
    assert bars(one_side)[0] == 0.0


def test_a_missing_file_is_refused_with_its_name(kept, tmp_path):
    candidates = pictures(tmp_path, [drawing(0), drawing(1)])
    (tmp_path / "1.png").unlink()
    table = kept(candidates, "present")
    assert table["reason"].to_list() == [None, "no such file: 1.png"]
