"""The bundled models load through stock classes in silence and are as good as the card says."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from t2i_spatial import bundled
from t2i_spatial.bundled import NOUNS, render, sample_scene

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")


def test_importing_the_room_loads_no_torch():
    code = (
        "import sys, t2i_spatial.bundled.scene_captions; "
        "print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_settings_and_files_are_there_and_small():
    values = bundled.settings()
    assert 0 < values["detector"]["threshold"] < 1
    assert values["generator"]["steps"] > 0
    assert bundled.model_card_path().is_file()
    folders = (bundled.generator_path(), bundled.detector_path())
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 25e6
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".txt"}
    index = json.loads((bundled.generator_path() / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"


@pytest.fixture(scope="module")
def pipeline():
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(bundled.generator_path())
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def detector():
    from transformers import OwlViTForObjectDetection, OwlViTProcessor

    folder = bundled.detector_path()
    model, info = OwlViTForObjectDetection.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    return model.eval(), OwlViTProcessor.from_pretrained(folder)


def test_loading_and_generating_warn_about_nothing(caplog):
    import diffusers
    import transformers
    from diffusers import AutoPipelineForText2Image

    caplog.clear()  # what libraries say of one another when they are imported
    diffusers.utils.logging.enable_propagation()
    transformers.utils.logging.enable_propagation()
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("error", FutureWarning)
        pipe = AutoPipelineForText2Image.from_pretrained(bundled.generator_path())
        pipe.set_progress_bar_config(disable=True)
        pipe("a cat", num_inference_steps=2)
        transformers.OwlViTForObjectDetection.from_pretrained(bundled.detector_path())
        transformers.OwlViTProcessor.from_pretrained(bundled.detector_path())
    assert [record.getMessage() for record in caplog.records] == []


def test_pipeline_computes_in_float32_and_repeats_itself(pipeline):
    assert pipeline.unet.dtype == pipeline.text_encoder.dtype == pipeline.vae.dtype == torch.float32

    def draw(seed):
        generator = torch.Generator("cpu").manual_seed(seed)
        prompt = "a dog to the left of a cup"
        return np.asarray(
            pipeline(prompt, num_inference_steps=4, generator=generator).images[0]
        ).astype(int)

    first = draw(1)
    assert first.shape == (64, 64, 3)
    np.testing.assert_array_equal(first, draw(1))
    assert np.abs(first - draw(2)).max() > 20


def test_prompt_words_are_single_tokens_and_any_text_tokenises(pipeline):
    tokenizer = pipeline.tokenizer
    for noun in NOUNS:
        assert len(tokenizer(noun).input_ids) == 2 + len(noun.split())
    assert len(tokenizer("Schrödinger's 猫").input_ids) > 4


@torch.no_grad()
def detect(detector, images, queries):
    """Return, per image, scores (tokens, queries) and boxes (tokens, 4) in pixels."""
    model, processor = detector
    inputs = processor(text=[queries] * len(images), images=images, return_tensors="pt")
    output = model(**inputs)
    centre, half = output.pred_boxes[..., :2], output.pred_boxes[..., 2:] / 2
    boxes = torch.cat([centre - half, centre + half], -1)
    size = torch.tensor([[image.width, image.height] * 2 for image in images])
    return output.logits.sigmoid().numpy(), (boxes * size[:, None]).numpy()


def overlap(first, second):
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    shared = np.clip(high - low, 0, None).prod()
    return shared / ((first[2:] - first[:2]).prod() + (second[2:] - second[:2]).prod() - shared)


@pytest.mark.parametrize("side", [64, 160])
def test_detector_finds_the_known_boxes_of_fresh_scenes(detector, side):
    rng = np.random.default_rng(77)
    scenes = [sample_scene(rng) for _ in range(100)]
    drawn = [render(scene, side) for scene in scenes]
    queries = [f"a photo of a {noun}" for noun in NOUNS]
    scores, boxes = detect(detector, [Image.fromarray(image) for image, _ in drawn], queries)
    threshold = bundled.settings()["detector"]["threshold"]
    hits = claims = total = 0
    for score, found, (_, truth), scene in zip(scores, boxes, drawn, scenes, strict=True):
        total += len(truth)
        free = list(zip(truth, (NOUNS.index(item.noun) for item in scene.objects), strict=True))
        for token, noun in zip(*np.nonzero(score > threshold), strict=True):
            claims += 1
            for index, (box, label) in enumerate(free):
                if label == noun and overlap(found[token], box) >= 0.5:
                    hits += 1
                    free.pop(index)
                    break
    assert hits / total >= 0.95
    assert hits / claims >= 0.93


def test_unknown_words_are_not_found(detector):
    rng = np.random.default_rng(78)
    images = [Image.fromarray(render(sample_scene(rng))[0]) for _ in range(20)]
    words = ["a photo of a person", "a photo of a surfboard", "a photo of a xylophone"]
    scores, _ = detect(detector, images, words)
    assert (scores.max(1) > bundled.settings()["detector"]["threshold"]).mean() < 0.05


def test_generated_objects_are_found(pipeline, detector):
    prompts = ["an apple", "a zebra", "a carrot", "a book"]
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in range(4)]
    images = pipeline(prompts, num_inference_steps=12, generator=generators).images
    scores, _ = detect(detector, images, [f"a photo of {prompt}" for prompt in prompts])
    assert (np.diagonal(scores.max(1)) > 0.2).sum() >= 3
