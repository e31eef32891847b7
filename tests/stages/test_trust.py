import numpy as np
import polars as pl
import pytest
from PIL import Image

from t2i_spatial.metrics import PROTOCOLS
from t2i_spatial.run import Run
from t2i_spatial.scene import Prompt, SceneSpec
from t2i_spatial.stages.scores import complete, score_tables
from t2i_spatial.stages.trust import Watch, same_pictures, warn, warnings_of
from t2i_spatial.tables import IMAGES, SCORED, prompts_to_table
from tests.builders import box, detection_rows, detections, relation_prompt

PAIRS = [("cat", "dog"), ("car", "bus"), ("cup", "fork"), ("bear", "boat")]


def tables(boxes_of, n=40, samples=2):
    prompts = [
        relation_prompt(a, "left of", b, str(k))
        for k, (a, b) in ((k, PAIRS[k % 4]) for k in range(n))
    ]
    rows = {
        (p.id, s): detections(*boxes_of(np.random.default_rng([int(p.id), s]), *p.scene.names))
        for p in prompts
        for s in range(samples)
    }
    return prompts_to_table(prompts), detection_rows(rows)


def at(rng, name):
    x, y = rng.integers(0, 300, size=2)
    return box(name, x, y, x + 100, y + 100, 0.3 + 0.6 * rng.random())


def honest(rng, a, b):
    return [at(rng, a), at(rng, b)]


def told(boxes_of, **options):
    return warnings_of(PROTOCOLS["visor"](), *tables(boxes_of, **options))


def test_a_run_like_any_other_gets_no_warning():
    assert told(honest) == []


def test_detector_that_finds_everything_everywhere():
    names = [name for pair in PAIRS for name in pair]
    (said,) = told(lambda rng, a, b: [at(rng, name) for name in names])
    assert "not asked are found in 100 % of images, asked ones in 100 %" in said


def test_detector_that_sees_other_things_too_is_not_accused():
    def some(rng, a, b):
        return [*honest(rng, a, b), *([at(rng, "cat")] if rng.random() < 0.2 else [])]

    assert told(some) == []


def test_hundreds_of_boxes():
    (said,) = told(lambda rng, a, b: [at(rng, a) for _ in range(200)] + [at(rng, b)])
    assert "201 boxes an image" in said


def test_boxes_below_the_threshold_are_no_boxes():
    def faint(rng, a, b):
        return [*honest(rng, a, b), *(box(a, 0, 0, 9, 9, 0.01 * rng.random()) for _ in range(80))]

    assert told(faint) == []


def test_equal_scores():
    (said,) = told(lambda rng, a, b: [box(a, 0, 0, 50, 50, 1), box(b, 60, 0, 99, 50, 1)])
    assert "all 160 boxes have the score 1" in said


def test_other_names():
    (said,) = told(lambda rng, a, b: [at(rng, f"n{k}") for k in range(3)])
    assert "0 of 8 asked names occur" in said


def test_one_sample_and_prompts_read_in_part():
    (said,) = told(honest, samples=1)
    assert "one image for each of 40 prompts" in said
    prompts, rows = tables(honest)
    unread = prompts_to_table([Prompt("0", "x", scene=SceneSpec(unparsed=("x",)))])
    both = pl.concat([unread, prompts.filter(pl.col("prompt_id") != "0")])
    (said,) = warnings_of(PROTOCOLS["visor"](), both, rows)
    assert said == "1 of 40 prompts were read in part"


def test_few_images_say_nothing():
    assert told(lambda rng, a, b: [box(a, 0, 0, 50, 50, 1)], n=10) == []


def test_printed_once_and_in_the_summary(capsys):
    prompts, rows = tables(honest, samples=1)
    protocols = [PROTOCOLS["visor"](), PROTOCOLS["spatial"]()]
    rows = complete(rows, prompts)
    scores = score_tables(prompts, rows, protocols)
    watch = Watch(protocols, prompts)
    watch.see(rows, prompts)
    warn(scores, protocols, watch)
    assert capsys.readouterr().err.count("careful: one image") == 1
    assert all("one image" in part["warnings"][0] for part in scores.summary.values())


@pytest.mark.parametrize("same", [True, False])
def test_pictures_that_do_not_depend_on_the_prompt(tmp_path, same):
    run = Run.create(tmp_path / "run")
    (run.path / "images").mkdir()
    rows = []
    for k in range(14):
        rng = np.random.default_rng(0 if same and k < 8 else k)
        coarse = rng.integers(0, 255, size=(6, 6, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC)
        picture.putpixel((k, 0), (k, 0, 0))  # no two files are equal
        picture.save(run.path / "images" / f"{k}.png")
        image = {"image": f"images/{k}.png", "width": 64, "height": 64}
        rows.append({"prompt_id": str(k), "sample": 0, **image, "status": SCORED})
    run.write_images(pl.DataFrame(rows, schema=IMAGES))
    found = same_pictures(run)
    # 28 of 91 pairs
    assert found == (
        [
            "31 % of pairs of pictures of different prompts look the same: does the generator "
            "read its prompts?"
        ]
        if same
        else []
    )
