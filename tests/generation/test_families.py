"""How checkpoints of each family are run: what is guided, and how; sizes; what is recommended."""

from __future__ import annotations

import functools
import inspect

import diffusers
import numpy as np
import pytest

from t2i_spatial.errors import InputError, ModelLoadError
from t2i_spatial.generation import load_generator
from t2i_spatial.generation.families import RECIPES
from t2i_spatial.generation.first_look import check_text_matters
from t2i_spatial.generation.generator import Generator, Sampling
from t2i_spatial.generation.resolve import ModelSource
from tests.tiny_models import RECENT, SIZE, tiny_model

TEXT = "a cat left of a dog"
STEPS = {"lumina2": 4}  # it is guided in the first quarter of the steps


@functools.cache
def generator(family) -> Generator:
    return load_generator(str(tiny_model(family)), device="cpu")


def small(family, **options) -> Sampling:
    return Sampling(**{"steps": STEPS.get(family, 2), "width": SIZE, "height": SIZE, **options})


def image(family, text=TEXT, **options):
    return np.asarray(generator(family)([text], [1], small(family, **options))[0].image)


@pytest.mark.parametrize("family", RECENT)
def test_guidance_guides_and_a_negative_prompt_is_read(family):
    guidance = generator(family).guidance
    strong = image(family, guidance_scale=9.0)
    assert strong.shape == (SIZE, SIZE, 3)
    assert strong.std() > 5
    assert not np.array_equal(strong, image(family, guidance_scale=2.0))
    if guidance.negative:
        other = image(family, guidance_scale=9.0, negative_prompt="a red bus in the night")
        assert not np.array_equal(strong, other)
        with pytest.raises(InputError, match="no effect, as guidance is off"):
            image(family, guidance_scale=guidance.off, negative_prompt="a bus")
    check_text_matters(generator(family), [TEXT, "a bus"], small(family, guidance_scale=9.0))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: f"{recipe.family}-{recipe.steps}")
def test_the_pipelines_of_the_table_exist_and_know_its_options(recipe):
    for name in recipe.pipelines:
        parameters = inspect.signature(getattr(diffusers, name).__call__).parameters
        assert "num_inference_steps" in parameters or not parameters.keys() - {"args", "kwargs"}
        assert set(recipe.options) <= set(parameters)


@pytest.mark.parametrize(
    ("family", "name", "recommended"),
    [
        ("sd1", "stabilityai/sd-turbo", Sampling(1, 0.0, None, SIZE, SIZE)),
        ("sdxl", "stabilityai/sdxl-turbo", Sampling(1, 0.0, None, 512, 512)),
        (
            "sdxl",
            "/x/models--stabilityai--sdxl-turbo/snapshots/ab",
            Sampling(1, 0.0, None, 512, 512),
        ),
        ("sdxl", "mine/turbo/other", Sampling(50, 5.0, None, SIZE, SIZE)),
        ("sd3", "stabilityai/stable-diffusion-3.5-large-turbo", Sampling(4, 0.0, None, SIZE, SIZE)),
        ("sd3", "a", Sampling(28, 7.0, None, SIZE, SIZE)),
        ("flux", "black-forest-labs/FLUX.1-dev", Sampling(50, 3.5, None, 256, 256)),
        ("qwen_image", "a", Sampling(50, 4.0, " ", 1328, 1328)),
        ("z_image", "Tongyi-MAI/Z-Image-Turbo", Sampling(9, 0.0, None, 1024, 1024)),
        ("z_image", "a", Sampling(50, 4.0, None, 1024, 1024)),
        ("sana", "a", Sampling(20, 4.5, None, SIZE, SIZE)),
        ("flux2_klein", "a", Sampling(50, 4.0, None, 256, 256)),
        ("hunyuan_image", "a", Sampling(50, 3.5, None, 128, 128)),
        ("wan", "a", Sampling(50, 5.0, None, 832, 480)),
    ],
)
def test_a_checkpoint_is_run_as_it_was_published(family, name, recommended):
    loaded = generator(family)
    source = ModelSource(name, loaded.source.folder, "0")
    renamed = Generator(loaded.pipe, source, "cpu", "fp32")
    assert renamed.resolved(Sampling()) == recommended
    assert renamed.resolved(renamed.resolved(Sampling())) == recommended


def test_a_distilled_model_has_no_guidance_to_set():
    loaded = generator("flux2_klein")
    config = {**loaded.pipe.config, "is_distilled": True}
    kind = type(loaded.pipe)
    distilled = type(kind.__name__, (kind,), {"config": config, "__call__": kind.__call__})
    pipe = object.__new__(distilled)
    pipe.__dict__.update(loaded.pipe.__dict__)
    turbo = Generator(pipe, loaded.source, "cpu", "fp32")
    assert turbo.resolved(Sampling()) == Sampling(4, None, None, 256, 256)
    with pytest.raises(InputError, match="klein\\) has no guidance that could be set"):
        turbo.resolved(Sampling(guidance_scale=4.0))
    with pytest.raises(InputError, match="no effect, as it does not read one"):
        turbo.resolved(Sampling(negative_prompt="a bus"))


def test_a_run_records_what_was_really_used():
    told = generator("qwen_image").describe()
    assert (told["family"], told["guidance"]) == ("Qwen-Image", "true_cfg_scale")
    told = generator("lumina2").describe()
    assert told["options"] == {"cfg_trunc_ratio": 0.25, "cfg_normalization": True}
    assert "guidance" not in told


def test_a_guider_keeps_the_scale_it_came_with():
    plain = image("hunyuan_image")
    assert not np.array_equal(plain, image("hunyuan_image", guidance_scale=7.0))
    assert generator("hunyuan_image").pipe.guider.guidance_scale == 3.5
    assert np.array_equal(plain, image("hunyuan_image", guidance_scale=3.5))


def test_sizes_are_made_or_refused():
    assert image("pixart", width=48).shape == (SIZE, 48, 3)  # not stretched from a size of a list
    assert image("wan", width=48).shape == (SIZE, 48, 3)
    assert image("kontext", width=48).shape == (SIZE, 48, 3)  # else always a megapixel
    with pytest.raises(InputError, match="makes 40x32 where 36x32 is asked"):
        image("krea2", width=36)


def test_what_is_missing_is_named(monkeypatch):
    hollow = type("KolorsPipeline", (), {"_backends": ["torch", "sentencepiece"]})
    monkeypatch.setattr(diffusers, "SanaPipeline", hollow)
    monkeypatch.setattr(
        "t2i_spatial.generation.loading.is_installed", lambda module: module == "torch"
    )
    with pytest.raises(ModelLoadError, match=r"not installed: pip install sentencepiece$"):
        load_generator(str(tiny_model("sana")), device="cpu")
    with pytest.raises(ModelLoadError, match=r"WanPipeline.*pip install ftfy$"):
        load_generator(str(tiny_model("wan")), device="cpu")


def test_sd3_saved_without_t5_is_loaded_and_its_captions_are_encoded(tmp_path):
    from t2i_spatial.training.families import find_family

    whole = diffusers.StableDiffusion3Pipeline.from_pretrained(
        tiny_model("sd3"), text_encoder_3=None, tokenizer_3=None
    )
    whole.save_pretrained(tmp_path)
    loaded = load_generator(str(tmp_path), device="cpu")
    assert loaded([TEXT], [1], small("sd3"))[0].image.size == (SIZE, SIZE)
    family = find_family(loaded.pipe)
    assert family.longest_caption() == (loaded.pipe.tokenizer, 77)
    assert not family.encode([TEXT])["text"][:, 77:].any()  # zeros stand for T5
