"""Grounding DINO: labels by token span, passes by token limit, two backends with one answer."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from t2i_spatial.detections import Detections
from t2i_spatial.detectors import load_detector, resolve_detector
from t2i_spatial.detectors.groundingdino_py import read_python_config
from t2i_spatial.detectors.phrase_grounding import (
    Caption,
    CaptionBuilder,
    clean_phrase,
    span_scores,
)
from t2i_spatial.errors import InputError, ModelLoadError
from tests.detectors import tiny
from tests.detectors.convert import to_groundingdino_py

NAMES = [("cat", "dog"), ("teddy bear",), ("dog", "traffic light", "bus")]


def noise(*sizes: tuple[int, int], seed: int = 0) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8)) for w, h in sizes]


def words(text: str) -> list[int]:
    return [len(word) for word in text.split()]


def builder(most: int = 256, template: str = "{name}") -> CaptionBuilder:
    return CaptionBuilder(
        words, start=101, stop=1012, end=102, unknown=13, most=most, template=template
    )


@pytest.fixture(scope="module", params=["grounding-dino", "mm-grounding-dino"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.grounding_dino(tmp_path_factory.mktemp("gdino"), request.param))


@pytest.fixture(scope="module")
def gdino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.grounding_dino(tmp_path_factory.mktemp("gdino"))


def same_boxes(a: Detections, b: Detections, tolerance: float, size: float) -> float:
    """Equal as sets, for near-tied queries may swap places; the largest relative difference."""
    assert len(a) == len(b) > 0
    scores = np.abs(a.scores[:, None] - b.scores[None])
    places = np.abs(a.boxes[:, None] - b.boxes[None]).max(axis=2) / size
    labels = np.array(a.labels)[:, None] != np.array(b.labels)[None]
    apart = np.maximum(scores, places) + labels
    worst = max(float(apart.min(axis=axis).max()) for axis in (0, 1))
    assert worst < tolerance
    return worst


def test_spans_name_the_asked_phrase() -> None:
    (caption,) = builder().captions(["cat", "Traffic  Light", "st. bernard"])
    assert caption.text == "cat. traffic light. st bernard."
    assert caption.ids == (101, 3, 1012, 7, 5, 1012, 2, 7, 1012, 102)
    assert caption.spans == ((1, 2), (3, 5), (6, 8))
    assert builder(template="a {name}").captions(["cat"])[0].text == "a cat."


def test_token_limit_splits_into_passes() -> None:
    names = [f"name {i}" for i in range(10)]
    captions = builder(most=12).captions(names)
    assert [caption.phrases for caption in captions] == [(0, 1, 2), (3, 4, 5), (6, 7, 8), (9,)]
    assert all(len(caption.ids) <= 12 for caption in captions)
    assert [c.phrases for c in builder().captions(names, each=True)] == [(i,) for i in range(10)]
    assert builder().captions([]) == []


def test_names_that_cannot_be_asked() -> None:
    assert "empty" in str(builder().refuse(" . ? "))
    assert "tokens" in str(builder(most=8).refuse("one two three four five six"))
    assert "vocabulary" in str(builder().refuse("x" * 13))
    assert builder().refuse("cat") is None


def test_box_belongs_to_the_phrase_whose_tokens_light_up() -> None:
    caption = Caption("a b. c.", (1, 2, 3, 4, 5, 6), (0, 1), ((1, 3), (4, 5)))
    tokens = torch.tensor([[[0.9, 0.1, 0.6, 0.9, 0.5, 0.9], [0.0, 0.2, 0.2, 0.0, 0.3, 0.0]]])
    scores, labels = span_scores(tokens, [caption])
    torch.testing.assert_close(scores, torch.tensor([[0.6, 0.3]]))
    assert labels.tolist() == [[0, 1]]
    scores, labels = span_scores(tokens, [caption], mean=True)
    torch.testing.assert_close(scores, torch.tensor([[0.5, 0.3]]))
    assert labels.tolist() == [[1, 1]]


def test_clean_phrase_keeps_other_scripts() -> None:
    assert clean_phrase("Ein  Käse?") == "ein käse"
    assert clean_phrase("猫.") == "猫"


@pytest.mark.parametrize("size", [(140, 190), (200, 128), (300, 100)])
def test_boxes_are_those_of_the_library(folder: str, size: tuple[int, int]) -> None:
    from transformers import AutoProcessor

    (image,) = noise(size)
    detector = load_detector(folder, threshold=0.0, device="cpu")
    (found,) = detector([image], [("cat", "dog")])
    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    inputs = processor(images=[image], text=[["cat", "dog"]], return_tensors="pt")
    with torch.no_grad():
        outputs = detector.model(**inputs)  # type: ignore[attr-defined]
    span = torch.sigmoid(outputs.logits[0])[:, [1, 3]]
    best = span.max(dim=-1)
    order = torch.argsort(best.values, descending=True, stable=True)
    theirs = processor.post_process_grounded_object_detection(
        outputs, threshold=-1.0, target_sizes=[size[::-1]]
    )[0]["boxes"]
    limit = torch.tensor([*size, *size])
    expected = theirs.clamp(min=0).minimum(limit)[order]
    inside = (expected[:, 2:] > expected[:, :2]).all(dim=1)
    np.testing.assert_allclose(found.boxes, expected[inside], atol=1e-2)
    np.testing.assert_allclose(found.scores, best.values[order][inside], atol=1e-5)
    labels = [("cat", "dog")[k] for k in best.indices[order][inside]]
    assert list(found.labels) == labels


def test_alone_or_in_a_batch(folder: str) -> None:
    detector = load_detector(folder, threshold=0.0, device="cpu")
    images = noise((140, 190), (140, 190), (140, 190))
    together = detector(images, NAMES)
    for image, names, found in zip(images, NAMES, together, strict=True):
        (alone,) = detector([image], [names])
        assert set(found.labels) <= set(names)
        same_boxes(alone, found, 1e-4, 190)


def test_long_lists_of_names_take_several_passes(gdino: Path) -> None:
    (image,) = noise((140, 140))
    names = (
        tuple(f"{colour} {noun}" for colour in ("red", "blue") for noun in NAMES[2] + ("cat",)) * 1
    )
    many = names + tuple(f"{name} bat" for name in names) + ("cat", "dog", "bus", "bear")
    detector = load_detector(str(gdino), threshold=0.0, device="cpu")
    passes = detector.builder.captions(many)  # type: ignore[attr-defined]
    assert len(passes) > 1
    (found,) = detector([image], [many])
    queries = [detector([image], [[many[k] for k in p.phrases]])[0] for p in passes]
    assert len(found) == sum(len(one) for one in queries)
    np.testing.assert_allclose(
        np.sort(found.scores), np.sort(np.concatenate([q.scores for q in queries])), atol=1e-5
    )
    each = load_detector(str(gdino), threshold=0.0, query_mode="each", device="cpu")
    (apart,) = each([image], [("cat", "dog")])
    assert {label: apart.labels.count(label) for label in ("cat", "dog")} == {"cat": 30, "dog": 30}


def test_images_with_different_numbers_of_passes_in_one_batch(gdino: Path) -> None:
    images = noise((140, 140), (140, 140))
    each = load_detector(str(gdino), threshold=0.0, query_mode="each", device="cpu")
    both = each(images, [("cat",), ("dog", "cat", "bus")])
    assert set(both[0].labels) == {"cat"}
    assert len(both[0]) == 30
    assert len(both[1]) == 90


def test_bfloat16_stays_close(gdino: Path) -> None:
    (image,) = noise((140, 140))
    exact, fast = (
        load_detector(str(gdino), threshold=0.0, dtype=dtype, device="cpu")([image], [("cat",)])[0]
        for dtype in ("float32", "bfloat16")
    )
    assert len(exact) == len(fast)
    assert np.abs(np.sort(exact.scores) - np.sort(fast.scores)).mean() < 0.05


def test_options(gdino: Path) -> None:
    resolved = resolve_detector(str(gdino), options={"phrase_score": "mean"})
    assert resolved.plan()["options"] == {"phrase_score": "mean"}
    assert resolved.threshold == 0.35
    with pytest.raises(InputError, match="phrase_score"):
        resolve_detector(str(gdino), options={"phrase_score": "median"})


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package has the model width 256 built into its text positions."""
    return tiny.grounding_dino(tmp_path_factory.mktemp("wide"), width=256)


CONFIG = """
modelname = "groundingdino"
backbone = "swin_T_224_1k"
position_embedding = "sine"
pe_temperatureH = 20
pe_temperatureW = 20
return_interm_indices = [1, 2, 3]
backbone_freeze_keywords = None
enc_layers = 1
dec_layers = 2
pre_norm = False
dim_feedforward = 32
hidden_dim = 256
dropout = 0.0
nheads = 2
num_queries = 30
query_dim = 4
num_patterns = 0
num_feature_levels = 4
enc_n_points = 4
dec_n_points = 4
two_stage_type = "standard"
two_stage_bbox_embed_share = False
two_stage_class_embed_share = False
transformer_activation = "relu"
dec_pred_bbox_embed_share = True
dn_box_noise_scale = 1.0
dn_label_noise_ratio = 0.5
dn_labelbook_size = 2000
embed_init_tgt = True
max_text_len = 64
text_encoder_type = "bert-base-uncased"
use_text_enhancer = True
use_fusion_layer = True
use_checkpoint = True
use_transformer_ckpt = True
use_text_cross_attention = True
text_dropout = 0.0
fusion_dropout = 0.0
fusion_droppath = 0.1
sub_sentence_present = True
"""


@pytest.fixture
def official(wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The same random weights in groundingdino-py's layout, as its own `.pth`."""
    from groundingdino.models.GroundingDINO.backbone import backbone
    from safetensors.torch import load_file

    small = functools.partial(
        backbone.build_swin_transformer,
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 4],
        window_size=4,
    )
    monkeypatch.setattr(backbone, "build_swin_transformer", small)
    state = to_groundingdino_py(load_file(wide / "model.safetensors"), decoder_layers=2)
    state["label_enc.weight"] = torch.zeros(3, 3)
    torch.save({"model": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "official.pth")
    (tmp_path / "config.py").write_text(CONFIG)
    bert = tmp_path / "bert"
    tiny.bert_tokenizer(bert)
    from transformers import AutoConfig

    AutoConfig.from_pretrained(wide).text_config.save_pretrained(bert)
    return {
        "checkpoint": str(tmp_path / "official.pth"),
        "config": str(tmp_path / "config.py"),
        "text_encoder": str(bert),
    }


def own(official: dict[str, str], **options: object) -> dict[str, object]:
    kept = {key: official[key] for key in ("config", "text_encoder")}
    return {**kept, "short_side": 128, "long_side": 256, **options}


@pytest.mark.parametrize("size", [(128, 128), (140, 190), (250, 140)])
def test_both_backends_give_the_same_boxes(
    wide: Path, official: dict[str, str], size: tuple[int, int]
) -> None:
    images = noise(size, size, size)
    ported = load_detector(str(wide), threshold=0.0, device="cpu")
    original = load_detector(
        f"groundingdino_py:{official['checkpoint']}",
        threshold=0.0,
        device="cpu",
        options=own(official),
    )
    np.testing.assert_array_equal(ported.prepare(images[0]), original.prepare(images[0]))
    for left, right in zip(ported(images, NAMES), original(images, NAMES), strict=True):
        same_boxes(left, right, 1e-3, max(size))
        assert sorted(left.labels) == sorted(right.labels)


def test_original_backend_refuses_what_it_cannot_trust(
    official: dict[str, str], tmp_path: Path
) -> None:
    spec = f"groundingdino_py:{official['checkpoint']}"
    digest = resolve_detector(spec, options=own(official)).weights
    load_detector(spec, device="cpu", options=own(official, sha256=digest))
    with pytest.raises(ModelLoadError, match="has sha256"):
        load_detector(spec, device="cpu", options=own(official, sha256="0" * 64))
    with pytest.raises(ModelLoadError, match="does not exist"):
        load_detector("groundingdino_py:/no/where.pth", device="cpu", options=own(official))
    with pytest.raises(ModelLoadError, match="HF_HUB_OFFLINE"):
        load_detector(spec, device="cpu", options={"config": official["config"]})
    state = torch.load(official["checkpoint"], weights_only=True)
    del state["model"]["module.feat_map.weight"]
    torch.save(state, tmp_path / "broken.pth")
    with pytest.raises(ModelLoadError, match=r"lacks weights.*feat_map\.weight"):
        load_detector(
            f"groundingdino_py:{tmp_path / 'broken.pth'}", device="cpu", options=own(official)
        )
    torch.save({"model": Path("/")}, tmp_path / "code.pth")
    with pytest.raises(ModelLoadError, match="plain weights"):
        load_detector(
            f"groundingdino_py:{tmp_path / 'code.pth'}", device="cpu", options=own(official)
        )


def test_configs_are_parsed_not_executed(tmp_path: Path) -> None:
    assert read_python_config("swin_t")["num_queries"] == 900
    assert read_python_config("swin_b")["backbone"] == "swin_B_384_22k"
    (tmp_path / "evil.py").write_text("num_queries = __import__('os').getpid()\n")
    with pytest.raises(InputError, match="not a plain"):
        read_python_config(str(tmp_path / "evil.py"))
    with pytest.raises(InputError, match="swin_t"):
        read_python_config("swin_x")
    with pytest.raises(InputError, match="short_side"):
        resolve_detector("groundingdino_py:x.pth", options={"short_side": "tall"})
