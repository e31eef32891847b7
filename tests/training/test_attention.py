from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from t2i_spatial.errors import InputError
from t2i_spatial.generation.loading import load_pipeline
from t2i_spatial.generation.parts import Parts
from t2i_spatial.generation.resolve import resolve_model
from t2i_spatial.training import finetune
from t2i_spatial.training.attention import (
    Grounder,
    collect_maps,
    grounding_losses,
    use_explicit_attention,
)
from t2i_spatial.training.data import fit_mask
from t2i_spatial.training.families import find_family
from t2i_spatial.training.phrases import phrase_positions
from t2i_spatial.training.processes import Processes
from t2i_spatial.training.sets.imagefolder import read_imagefolder
from tests.tiny_models import clip_tokenizer, tiny_model
from tests.training.lora_runs import LORA, settings

LEFT = torch.tensor([[1.0, 0.0], [1.0, 0.0]])


def unet(family="sd1"):
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_pretrained(tiny_model(family), subfolder="unet")


def test_explicit_attention_is_the_stock_one():
    model = unet()
    inputs = (torch.randn(2, 4, 16, 16), torch.tensor([5, 900]), torch.randn(2, 7, 32))
    with torch.no_grad():
        stock = model(*inputs).sample
        use_explicit_attention(model)
        assert torch.allclose(model(*inputs).sample, stock, atol=1e-5)


def test_maps_come_from_the_middle_and_the_way_up():
    model = unet()
    maps = collect_maps(model)
    inputs = (torch.randn(2, 4, 16, 16), 5, torch.randn(2, 7, 32))
    with torch.no_grad():
        model(*inputs)
    assert maps == []  # only where gradients are wanted
    model(*inputs)
    assert [tuple(item.shape[2:]) for item in maps] == [(64, 7), (64, 7), (64, 7)]
    assert all(torch.allclose(item.sum(-1), torch.ones(())) for item in maps)


def maps_of(*pixels):
    """One image, one head, 2x2 pixels, of which token 1 gets the given attention."""
    token = torch.tensor(pixels)
    return torch.stack([1 - token, token], -1)[None, None]


def test_losses_of_attention_that_is_where_it_should_be():
    token, pixel = grounding_losses([maps_of(1.0, 0.0, 1.0, 0.0)], [(0, [1], LEFT)], 1)
    assert float(token) == 0.0
    assert float(pixel) == 0.0
    token, _ = grounding_losses([maps_of(0.0, 1.0, 0.0, 1.0)], [(0, [1], LEFT)], 1)
    assert float(token) == 1.0


def test_losses_by_hand():
    """A quarter of the attention outside: (1 - 3/4)^2, in two layers; cross-entropy by pixel."""
    item = maps_of(0.6, 0.1, 0.3, 0.2)
    token, pixel = grounding_losses([item, item], [(0, [1], LEFT)], 1)
    assert float(token) == pytest.approx(2 * 0.25**2)
    expected = -(math.log(0.6) + math.log(0.9) + math.log(0.3) + math.log(0.8)) / 4
    assert float(pixel) == pytest.approx(expected)


def test_losses_are_averaged_over_objects_and_images():
    good, bad = maps_of(1.0, 0.0, 1.0, 0.0), maps_of(0.0, 1.0, 0.0, 1.0)
    both = torch.cat([good, bad])
    assert float(grounding_losses([both], [(0, [1], LEFT), (1, [1], LEFT)], 2)[0]) == 0.5
    assert float(grounding_losses([both], [(1, [1], LEFT)], 1)[0]) == 1.0
    assert float(grounding_losses([both], [(0, [1], LEFT), (0, [1], 1 - LEFT)], 1)[0]) == 0.5
    assert grounding_losses([both], [], 0) == (0.0, 0.0)


def test_masks_are_shrunk_so_that_small_objects_stay():
    fine = torch.zeros(64, 64)
    fine[0, 63] = 1
    token, _ = grounding_losses([maps_of(0.0, 1.0, 0.0, 0.0)], [(0, [1], fine)], 1)
    assert float(token) == 0.0


def test_phrases_are_found_by_token():
    tokenizer = clip_tokenizer(12)  # a token per letter
    assert phrase_positions(tokenizer, "a cat", "cat") == [2, 3, 4]
    assert phrase_positions(tokenizer, "cats", "cat") is None
    assert phrase_positions(tokenizer, "a red cat", "red cat") == [2, 3, 4, 5, 6, 7]
    assert phrase_positions(tokenizer, "a dog", "cat") is None
    assert phrase_positions(tokenizer, "a very long cat", "cat") is None  # cut off


def test_phrases_inside_longer_ones_are_other_objects():
    tokenizer = clip_tokenizer(40)
    text, both = "a hot dog left of a dog", ["dog", "hot dog"]
    assert phrase_positions(tokenizer, text, "dog") == [5, 6, 7]
    assert phrase_positions(tokenizer, text, "dog", both) == [15, 16, 17]
    assert phrase_positions(tokenizer, text, "hot dog", both) == [2, 3, 4, 5, 6, 7]
    assert phrase_positions(tokenizer, "a dog and a hot dog", "dog", both) == [2, 3, 4]
    assert phrase_positions(tokenizer, "a hot dog", "dog", both) is None
    assert phrase_positions(tokenizer, "a hot dog", "dog", ["dog", "dog house"]) == [5, 6, 7]


def test_an_object_is_not_looked_for_in_the_name_of_another(folder):
    box = [0, 0, 9, 9]
    path = folder([{"phrase": phrase, "box": box} for phrase in ("cat", "cat food")])
    line = json.loads((path / "metadata.jsonl").read_text().splitlines()[0])
    line["text"] = "a cat food left of a cat"
    (path / "metadata.jsonl").write_text(4 * (json.dumps(line) + "\n"))
    family = find_family(load_pipeline(resolve_model(str(tiny_model("sd1"))), None, "fp32"))
    grounder = Grounder(family, read_imagefolder(path), 32, token=1.0, pixel=1.0)
    (cat, _), (food, _) = grounder.objects[0]
    assert food == [2, 3, 4, 5, 6, 7, 8]
    assert cat == [16, 17, 18]


@pytest.fixture
def folder(tmp_path):
    """Images 40 x 20 with an object on the left, given by box or mask."""
    mask = np.zeros((20, 40), np.uint8)
    mask[:, :10] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    lines = []
    for k in range(4):
        Image.new("RGB", (40, 20), (k, 0, 0)).save(tmp_path / f"{k}.png")
        place = {"mask": "mask.png"} if k % 2 else {"box": [0, 0, 10, 20]}
        objects = [{"phrase": "cat", **place}]
        lines.append({"file_name": f"{k}.png", "text": "a cat", "objects": objects})

    def write(change=None):
        if change is not None:
            lines[0]["objects"] = change
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / "metadata.jsonl").write_text(text)
        return tmp_path

    return write


def test_boxes_and_masks_follow_the_image(folder):
    examples = read_imagefolder(folder())
    for example in examples[:2]:
        mask = fit_mask(example, example.objects[0], 32)
        assert mask.shape == (32, 32)
        inside = np.argwhere(mask)
        assert inside.min(0).tolist() == [8, 0]  # 16 of 32 rows are image, 8 above them padding
        assert inside.max(0).tolist() == [23, 7]


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ([0, 4, 16, 20], (4, 19), (0, 15)),  # x2 and y2 are edges, as everywhere
        ([0.5, 4.9, 15.1, 19.1], (4, 19), (0, 15)),
        ([-9, -1e999, 1e999, 99], (0, 19), (0, 39)),
    ],
)
def test_boxes_end_where_their_edges_are(folder, box, rows, columns):
    example = read_imagefolder(folder([{"phrase": "cat", "box": box}]))[0]
    inside = np.argwhere(fit_mask(example, example.objects[0], 40)) - (10, 0)  # padding above
    assert [*zip(inside.min(0).tolist(), inside.max(0).tolist(), strict=True)] == [rows, columns]


def test_a_box_beside_the_image_has_no_pixels(folder):
    for box in ([-9, 0, -3, 20], [0, 20, 40, 30], [50, 0, 60, 20]):
        example = read_imagefolder(folder([{"phrase": "cat", "box": box}]))[0]
        assert not fit_mask(example, example.objects[0], 40).any()


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ("cat", "must be a list"),
        (["cat"], "needs a phrase"),
        ([{"phrase": "cat"}], "needs a box"),
        ([{"phrase": "cat", "box": [5, 0, 5, 9]}], "needs a box"),
        ([{"phrase": "cat", "mask": "nowhere.png"}], "'nowhere.png' is missing"),
        ([{"phrase": "cat", "mask": "../../x.png"}], "is outside"),
    ],
)
def test_broken_objects_are_named(folder, objects, message):
    with pytest.raises(InputError, match=f"line 1: .*{message}"):
        read_imagefolder(folder(objects))


def test_a_mask_of_another_size(folder, tmp_path):
    Image.new("L", (3, 3)).save(tmp_path / "small.png")
    example = read_imagefolder(folder([{"phrase": "cat", "mask": "small.png"}]))[0]
    with pytest.raises(InputError, match="3x3, its image 40x20"):
        fit_mask(example, example.objects[0], 32)


def test_the_losses_take_part_in_training(folder, tmp_path, capsys):
    data = folder([{"phrase": "dog", "box": [0, 0, 9, 9]}])
    finetune(data, tmp_path / "without", settings(steps=2, tenor=True))
    losing = settings(steps=2, tenor=True, token_loss=1.0, pixel_loss=1.0, validate_every=1)
    finetune(data, tmp_path / "with", losing)
    assert "attention losses on 3 of 4 images" in capsys.readouterr().err
    first, second = (load_file(tmp_path / name / LORA) for name in ("without", "with"))
    assert any(not torch.allclose(first[key], second[key]) for key in first)


def test_processes_share_the_losses_of_a_batch(folder):
    """The first process has two images with objects, the second has one, and one is dropped."""
    examples = read_imagefolder(folder([{"phrase": "dog", "box": [0, 0, 9, 9]}])) * 2
    examples[4] = replace(examples[4], objects=())
    family = find_family(load_pipeline(resolve_model(str(tiny_model("sd1"))), None, "fp32"))
    grounder = Grounder(family, examples, 32, token=1.0, pixel=1.0)
    chosen, dropped = [1, 0, 2, 3, 4, 5], [False, False, False, False, False, True]
    maps = torch.randn(6, 2, 64, 77).softmax(-1)

    def loss(rank, count):
        processes = Processes("cpu")
        processes.rank, processes.count = rank, count
        grounder.maps.append(maps[processes.rows])
        return float(grounder(chosen, dropped, processes))

    assert (loss(0, 2) + loss(1, 2)) / 2 == pytest.approx(loss(0, 1))
    assert (loss(0, 3) + loss(1, 3) + loss(2, 3)) / 3 == pytest.approx(loss(0, 1))


def test_where_the_losses_make_no_sense(folder, tmp_path, monkeypatch):
    def never(self, names):
        raise AssertionError("refused only after work was done")

    monkeypatch.setattr(Parts, "load", never)
    data = folder()
    with pytest.raises(InputError, match="exclude each other"):
        finetune(data, tmp_path / "a", settings(token_loss=1.0, gradient_checkpointing=True))
    with pytest.raises(InputError, match="cannot read ZImageTransformer2DModel: its text tokens"):
        finetune(data, tmp_path / "b", settings("z_image", token_loss=1.0))
    bare = tmp_path / "bare"
    bare.mkdir()
    for k in range(4):
        Image.new("RGB", (8, 8)).save(bare / f"{k}.png")
    lines = [{"file_name": f"{k}.png", "text": "a cat"} for k in range(4)]
    (bare / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(InputError, match="need `objects`"):
        finetune(bare, tmp_path / "c", settings(token_loss=1.0))
