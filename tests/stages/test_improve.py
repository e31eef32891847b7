from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from t2i_spatial.errors import InputError, PlanMismatchError
from t2i_spatial.files import read_json_lines
from t2i_spatial.images import read_image
from t2i_spatial.prompts import parse_prompt, read_scenes, sr2d
from t2i_spatial.relation_algebra import canonical_key
from t2i_spatial.run import LOCK, Run
from t2i_spatial.scene import Prompt
from t2i_spatial.stages.demo import improve_settings
from t2i_spatial.stages.drift import pixel_drift, rephrased
from t2i_spatial.stages.improve import (
    _claim,
    best_round,
    candidate_settings,
    format_rounds,
    improve,
    join_sets,
    plan_questions,
)
from t2i_spatial.stages.pipeline import PromptSettings
from t2i_spatial.stages.rendered import rendered_set
from t2i_spatial.tables import IMAGES, empty, prompts_to_table


def _folder(path, text):
    train = path / "train"
    train.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(train / "000000.png")
    (train / "metadata.jsonl").write_text(
        json.dumps({"file_name": "000000.png", "text": text}, ensure_ascii=False)
    )
    return path


def test_joined_sets_keep_every_image_and_caption(tmp_path):
    odd = "a line separator of Unicode: \u2028"
    joined = join_sets([_folder(tmp_path / "a", "x"), _folder(tmp_path / "b", odd)], tmp_path / "c")
    lines = read_json_lines(joined / "train" / "metadata.jsonl")
    assert [line["text"] for line in lines] == ["x", odd]
    assert all((joined / "train" / line["file_name"]).exists() for line in lines)
    with pytest.raises(InputError, match="not an imagefolder"):
        join_sets([tmp_path], tmp_path / "d")


def test_rendered_captions_are_true_of_their_boxes(tmp_path):
    curated = rendered_set(tmp_path, [("cat", "dog"), ("car", "apple")], 60, seed=3)
    assert 5 < curated.images < 60
    boxes = {}
    for line in (tmp_path / "rendered" / "detections.jsonl").read_text().splitlines():
        record = json.loads(line)
        boxes[record["prompt_id"]] = {d["label"]: d["box"] for d in record["detections"]}
    checked = 0
    for line in (tmp_path / "curated" / "train" / "metadata.jsonl").read_text().splitlines():
        record = json.loads(line)
        found = boxes[record["prompt_id"].rsplit("_", 1)[0]]
        for word, axis, sign in (
            ("to the left of", 0, 1), ("to the right of", 0, -1), ("above", 1, 1), ("below", 1, -1)
        ):  # fmt: skip
            if f" {word} " in record["text"] and " and " not in record["text"]:
                first, second = (
                    next(n for n in found if n in part) for part in record["text"].split(word)
                )
                a, b = (found[n][axis] + found[n][axis + 2] for n in (first, second))
                assert sign * (b - a) > 0, record["text"]
                checked += 1
    assert checked > 3


def test_pixel_drift_sees_blur_and_sameness(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    drifts = []
    for name, pictures in (("sharp", noise), ("same", np.stack([noise[0] // 2 + 64] * 2))):
        run = Run.create(tmp_path / name)
        rows = []
        for sample, pixels in enumerate(pictures):
            Image.fromarray(pixels).save(run.path / f"{sample}.png")
            rows.append(
                {"prompt_id": "0", "sample": sample, "image": f"{sample}.png", "status": "scored"}
            )
        run.write_images(empty(IMAGES, rows))
        drifts.append(pixel_drift(run))
    assert drifts[1]["diversity"] == 0 < drifts[0]["diversity"]
    assert drifts[1]["contrast"] < drifts[0]["contrast"]


def test_other_wordings_ask_for_the_same_scenes():
    prompts = sr2d(relations_only=True)[:40]
    told = rephrased(prompts, 30)
    assert len(told) == 30 and len({p.text.split(prompts[0].scene.names[0])[0] for p in told}) > 2
    for prompt, other in zip(prompts, told, strict=False):
        assert other.id == prompt.id and other.text != prompt.text
        read = parse_prompt(other.text)
        assert canonical_key(read) == canonical_key(prompt.scene)


@pytest.mark.timeout(900)
def test_one_small_round_ends_with_paired_numbers_and_is_not_mixed_with_another(
    tmp_path, monkeypatch
):
    def interrupted(path):
        raise KeyboardInterrupt

    settings = improve_settings(
        steps=2, data="mixture", train_prompts=6, train_samples=2, eval_prompts=3, rendered=30,
        rephrased_prompts=2,
    ).model_copy(update={"eval_samples": 1, "drift_prompts": 2})  # fmt: skip
    result = improve(tmp_path, settings)
    for title in ("numbers", "rephrased"):
        numbers = result["rounds"][0][title]["VISOR_uncond"]
        assert numbers["low"] <= numbers["after"] - numbers["before"] <= numbers["high"]
    assert set(result["rounds"][0]["drift"]) == {
        "sharpness", "contrast", "diversity", "single_object_accuracy"
    }  # fmt: skip
    assert json.loads((tmp_path / "improve.json").read_text()) == result
    assert read_image(tmp_path / "improve.png").height > 300
    held_out = set(Run.open(tmp_path / "before").prompts()["text"])
    trained = set(Run.open(tmp_path / "round-1" / "candidates").prompts()["text"])
    assert not held_out & trained
    assert "in other words" in format_rounds(result)
    again = improve(tmp_path, settings)
    assert again == result
    other = settings.model_copy(update={"seed": 1})
    with pytest.raises(PlanMismatchError, match="seed: 0 there, 1 now"):
        improve(tmp_path, other)
    assert (tmp_path / "before").exists()
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(shutil, "rmtree", interrupted)
        _claim(Run.create(tmp_path), other, None, overwrite=True)
    with pytest.raises(PlanMismatchError, match="seed: 0 there, 1 now"):
        improve(tmp_path, other)
    _claim(Run.create(tmp_path), other, None, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} - {LOCK} == {"run.json"}


def test_every_round_has_candidates_of_its_own_seeds_and_of_the_last_lora(tmp_path):
    settings = improve_settings(train_samples=3)
    rounds = [candidate_settings(settings, tmp_path if n > 1 else None, n) for n in (1, 2, 3)]
    assert len({made.seed for made in rounds}) == 3
    seeds = {seed for made in rounds for seed in range(made.seed, made.seed + 500)}
    assert len(seeds) == 1500  # far apart, so that no two images share one
    assert [made.lora for made in rounds] == [(), (str(tmp_path),), (str(tmp_path),)]
    assert {made.samples for made in rounds} == {3}


def test_two_loops_do_not_write_into_one_folder(tmp_path):
    Run.create(tmp_path)
    with (
        FileLock(tmp_path / LOCK),
        pytest.raises(InputError, match="another t2i-spatial command is writing"),
    ):
        improve(tmp_path, improve_settings(steps=2))
    assert not (tmp_path / "before").exists()


def test_a_base_run_decides_what_is_held_out(tmp_path):
    settings = improve_settings(train_prompts=50)
    prompts = settings.prompts.load()
    base = Run.create(tmp_path)
    base.write_prompts(prompts_to_table(prompts[:20]))
    train, questions = plan_questions(settings, base)
    assert [p.text for p in questions.held_out] == [p.text for p in prompts[:20]]
    asked = {frozenset(p.scene.names) for p in prompts[:20]}
    assert len(train) == 50 and not asked & {frozenset(p.scene.names) for p in train}
    base.write_prompts(prompts_to_table(prompts))
    with pytest.raises(InputError, match="every pair of objects"):
        plan_questions(settings, base)
    base.begin("generate", {"seed": 0, "samples": 2})
    with pytest.raises(InputError, match="made with samples 2, not 4"):
        plan_questions(settings, base)


def test_pairs_hidden_among_three_objects_are_held_out_too(tmp_path):
    base = Run.create(tmp_path / "base")
    base.write_prompts(prompts_to_table(read_scenes([Prompt("0", "a cat to the left of a dog")])))
    asked = tmp_path / "prompts.txt"
    asked.write_text("a cat to the left of a dog and a dog above a bird\na cat above a bird\n")
    settings = improve_settings(data="rendered")
    settings = settings.model_copy(update={"prompts": PromptSettings(source=str(asked))})
    train, _ = plan_questions(settings, base)
    assert [p.text for p in train] == ["a cat above a bird"]
    asked.write_text("a person above a bird\n")
    with pytest.raises(InputError, match="no drawings of person; rendered scenes need"):
        plan_questions(settings, base)


def test_the_best_round_is_named_even_when_a_later_one_is_worse():
    def rounds(*reached):
        return [
            {"round": k, "numbers": {"VISOR_uncond": {"before": 0.3, "after": value}}}
            for k, value in enumerate(reached, 1)
        ]

    assert best_round(rounds(0.5, 0.6, 0.4)) == 2
    assert best_round(rounds(0.2)) is None
    assert best_round(rounds(0.3, None)) is None
    assert best_round(rounds(0.5, 0.5)) == 1
