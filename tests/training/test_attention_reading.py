"""Attention maps of transformers: what is read is what is computed, and it can be learnt from."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from t2i_spatial.errors import InputError
from t2i_spatial.generation.loading import load_pipeline
from t2i_spatial.generation.resolve import resolve_model
from t2i_spatial.training import finetune
from t2i_spatial.training.attention import collect_maps
from t2i_spatial.training.attention_reading import READINGS, attention
from t2i_spatial.training.families import find_family
from t2i_spatial.training.families.text import join, split
from t2i_spatial.training.phrases import phrase_places
from tests.tiny_models import SIZE, tiny_model
from tests.training.lora_runs import LORA, settings, weights

CROSS = ("sana", "pixart", "wan")
JOINT = ("sd3", "flux", "flux2_klein", "chroma", "qwen_image", "aura_flow")


def family_of(name):
    return find_family(load_pipeline(resolve_model(str(tiny_model(name))), None, "fp32"))


@pytest.mark.parametrize("mask", ["none", "bool", "float"])
@pytest.mark.parametrize("groups", [1, 2])
def test_explicit_attention_is_the_stock_one(mask, groups):
    torch.manual_seed(0)
    query = torch.randn(2, 4, 5, 8)
    key, value = torch.randn(2, 2, 4 // groups, 7, 8)
    given = {"none": None, "bool": torch.ones(2, 1, 5, 7).bool(), "float": torch.randn(2, 1, 1, 7)}
    if mask == "bool":
        given["bool"][:, :, :, 5:] = False
    options = {"attn_mask": given[mask], "enable_gqa": groups > 1}
    output, weights = attention(query, key, value, scale=0.3, **options)
    stock = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, scale=0.3, **options
    )
    assert torch.allclose(output, stock, atol=1e-6)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 4, 5))
    with pytest.raises(InputError, match="dropout or a causal mask"):
        attention(query, key, value, is_causal=True)


@pytest.mark.parametrize("name", [*CROSS, *JOINT])
def test_maps_are_of_image_and_text_and_pass_gradients_on(name):
    family = family_of(name)
    family.denoiser.requires_grad_(False)
    with torch.no_grad():
        text = join(split(family.encode(["a cat left of a dog", "a dog"])))
        side = SIZE // family.pixels_per_latent
        noisy = torch.randn(2, family.latents(torch.zeros(1, 3, SIZE, SIZE)).shape[1], side, side)
        time = torch.tensor([500.0, 300.0])
        stock = family.predict(noisy, time, text)
        maps = collect_maps(family.denoiser)
        assert torch.allclose(family.predict(noisy, time, text), stock, atol=1e-5)
    assert maps == []  # only where gradients are wanted
    noisy.requires_grad_(True)
    family.predict(noisy, time, text)
    assert maps
    for item in maps:
        assert item.shape[0] == 2
        assert item.shape[2] == (side // family.patch) ** 2
        shares = item.sum(-1)
        if name in CROSS:
            assert torch.allclose(shares, torch.ones_like(shares), atol=1e-5)
        else:  # the rest is attention to the image itself
            assert ((shares > 0) & (shares < 1)).all()
    assert {item.shape[3] for item in maps} == {maps[0].shape[3]}
    maps[-1].square().sum().backward()
    assert noisy.grad.abs().sum() > 0


def test_text_and_image_are_not_confused():
    """What is done to one text token changes the map at its place first of all."""
    for name in ("sd3", "flux"):
        family = family_of(name)
        with torch.no_grad():
            text = family.encode(["a cat"])
        maps = collect_maps(family.denoiser)
        side = SIZE // family.pixels_per_latent
        channels = family.denoiser.config.in_channels
        noisy = torch.randn(1, channels // 4 if name == "flux" else channels, side, side)
        place = 3
        before = text["text"].clone()
        family.predict(noisy, torch.tensor([500.0]), text)
        text["text"] = before
        text["text"][:, place] += 3 * torch.randn_like(text["text"][:, place])
        half = len(maps)
        family.predict(noisy, torch.tensor([500.0]), text)
        change = (maps[half] - maps[0]).abs().mean((0, 1, 2))
        assert change.argmax() == place


# -- where phrases are ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*CROSS, *(n for n in JOINT if n != "sd3")])
def test_phrases_are_found_among_the_tokens_that_are_kept(name):
    family = family_of(name)
    phrases = ["dog", "hot dog"]
    text = "a hot dog left of a dog"
    places = phrase_places(family, text, "dog", phrases)
    longer = phrase_places(family, text, "hot dog", phrases)
    assert places and longer and max(longer) < min(places)
    assert places == list(range(places[0], places[-1] + 1))
    assert phrase_places(family, text, "cat", phrases) is None
    assert phrase_places(family, "dogs", "dog") is None


def test_sd3_has_them_twice():
    family = family_of("sd3")
    places = phrase_places(family, "a cat", "cat")
    length = family.pipe.tokenizer.model_max_length
    assert [p for p in places if p < length] == [2, 3, 4]
    after = [p - length for p in places if p >= length]
    assert after
    assert max(after) < 10


def test_template_words_are_dropped_as_the_family_drops_them():
    family = family_of("qwen_image")
    read = family.as_read("a cat")
    ids = family.pipe.tokenizer(read).input_ids
    dropped = family.pipe.prompt_template_encode_start_idx
    places = phrase_places(family, "a cat", "cat")
    assert family.pipe.tokenizer.decode([ids[dropped + k] for k in places]).strip() == "cat"


# -- training -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["flux", "pixart"])
def test_attention_is_drawn_into_the_mask(name, tmp_path, capsys):
    data = tmp_path / "data"
    data.mkdir()
    lines = []
    for k in range(4):
        Image.new("RGB", (SIZE, SIZE), (60 * k, 0, 0)).save(data / f"{k}.png")
        objects = [{"phrase": "cat", "box": [0, 0, SIZE // 2, SIZE]}]
        lines.append(json.dumps({"file_name": f"{k}.png", "text": "a cat", "objects": objects}))
    (data / "metadata.jsonl").write_text("\n".join(lines))
    options = {"steps": 20, "learning_rate": 2e-2, "caption_dropout": 0.0, "max_grad_norm": 100.0}
    options["resolution"] = SIZE
    finetune(data, tmp_path / "with", settings(name, **options, token_loss=1e3))
    assert "attention losses on 4 of 4 images" in capsys.readouterr().err
    with pytest.raises(InputError, match="--compile exclude each other"):
        finetune(data, tmp_path / "b", settings(name, **options, token_loss=1e3, compile=True))
    log = (tmp_path / "with/log.jsonl").read_text().splitlines()
    first, last = (json.loads(line)["loss"] for line in (log[0], log[-1]))
    assert last < 0.98 * first
    assert (tmp_path / "with" / LORA).exists()
    assert all(v.isfinite().all() for v in weights(tmp_path / "with").values())


def test_every_reading_is_of_a_class_of_diffusers():
    import diffusers

    assert all(hasattr(diffusers, kind) for kind in READINGS)
