"""The bundled judge, asked through the class of any local judge, is as good as the card says."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from t2i_spatial import bundled
from t2i_spatial.bundled import NOUNS, render, sample_scene
from t2i_spatial.bundled.scenes import COLOURS, TINTABLE
from t2i_spatial.judges import Asked, Picture, load_judge
from t2i_spatial.metrics.spatial_vqa import parts_of
from t2i_spatial.questions import Question
from t2i_spatial.scene import ObjectSpec, RelationSpec, SceneSpec

pytest.importorskip("torch")
pytest.importorskip("transformers")
SIDES = {"left": "left of", "right": "right of", "above": "above", "below": "below"}


@pytest.fixture(scope="module")
def judge():
    return load_judge("bundled")


def test_it_is_small():
    files = [path for path in bundled.judge_path().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 12e6
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".jinja"}


def test_it_answers_about_fresh_scenes(judge, tmp_path):
    rng = np.random.default_rng(7)
    right: dict[str, list[bool]] = {"exists": [], "absent": [], "relation": [], "choice": []}
    for k in range(60):
        nouns = tuple(NOUNS[i] for i in rng.permutation(len(NOUNS))[:3])
        side = list(SIDES)[k % 4]
        pixels, _ = render(sample_scene(rng, nouns=nouns[:2], relation=side), 64)
        path = tmp_path / f"{k}.png"
        Image.fromarray(pixels).save(path)
        relation = RelationSpec(0, SIDES[side], 1)
        scene = SceneSpec((ObjectSpec(nouns[0]), ObjectSpec(nouns[1])), (relation,))
        absent = SceneSpec((ObjectSpec(nouns[2]),))
        way = f"to the {side} of" if side in ("left", "right") else side
        asked = [
            ("exists", parts_of(scene)[0].questions[0]),
            ("absent", Question(parts_of(absent)[0].questions[0].text, gold="no")),
            ("relation", Question(f"Is the {nouns[0]} {way} the {nouns[1]}?", gold="yes")),
            ("relation", Question(f"Is the {nouns[1]} {way} the {nouns[0]}?", gold="no")),
            ("choice", parts_of(scene)[2].questions[k % 2]),
        ]
        orders = [(1, 0) if q.options and k % 3 else None for _, q in asked]
        replies = judge.ask(
            Picture(str(path), path.read_bytes()),
            [Asked(q, order=order) for (_, q), order in zip(asked, orders, strict=True)],
        )
        for (kind, question), reply in zip(asked, replies, strict=True):
            right[kind].append(reply.answer == question.gold)
    shares = {kind: np.mean(answers) for kind, answers in right.items()}
    # the card says 100, 99.2 and 96.0 %; many standard errors below
    assert min(shares["exists"], shares["absent"]) >= 0.95
    assert shares["relation"] >= 0.95
    assert shares["choice"] >= 0.9


def test_what_it_was_not_taught_gets_an_answer_all_the_same(judge, tmp_path):
    path = tmp_path / "grey.png"
    Image.new("RGB", (50, 90), "grey").save(path)
    question = Question("Was this photographed by a Spaniard?")
    (reply,) = judge.ask(Picture(str(path), path.read_bytes()), [Asked(question)])
    assert reply.status in ("answered", "off_format")
    assert 0 <= reply.probabilities.p <= 1


def test_it_tells_colours(judge, tmp_path):
    rng = np.random.default_rng(11)
    right = []
    for k in range(30):
        noun, other = (str(n) for n in rng.permutation(sorted(TINTABLE))[:2])
        tint, wrong = (str(c) for c in rng.permutation(list(COLOURS))[:2])
        scene = sample_scene(rng, nouns=(noun, other), relation="left", colours=(tint, None))
        path = tmp_path / f"{k}.png"
        Image.fromarray(render(scene, 64)[0]).save(path)
        asked = [Question(f"Is the {noun} {c}?", gold=g) for c, g in ((tint, "yes"), (wrong, "no"))]
        replies = judge.ask(Picture(str(path), path.read_bytes()), [Asked(q) for q in asked])
        right += [r.answer == q.gold for r, q in zip(replies, asked, strict=True)]
    # the card's share, some standard errors below; one half is guessing
    assert np.mean(right) >= 0.7
