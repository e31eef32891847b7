"""The judge in this process, with tiny random models of six families."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from t2i_spatial.errors import InputError, ModelLoadError
from t2i_spatial.judges import Asked, Picture, load_judge
from t2i_spatial.questions import ANSWERED, ERROR, OFF_FORMAT, TEMPLATES, Question, Template
from t2i_spatial.tables import IMAGE_UNREADABLE
from tests.judges.tiny_vlms import FAMILIES, tiny_vlm

TEXT_FIRST = TEMPLATES.setdefault(
    "test_text_first/1", Template("test_text_first/1", image_first=False, max_tokens=4)
)
SYSTEM = TEMPLATES.setdefault(
    "test_system/1", Template("test_system/1", system="You look at pictures.", max_tokens=4)
)
QUESTIONS = [
    Question("Is there a cat in the image?"),
    Question("Is there a dog to the left of the cat in the image?"),
    Question("Which is true?", "choice", ("the cat", "the dog", "no"), template="letter/1"),
    Question("How many dogs are in the image?", "count", template="number/1"),
    Question("Yes?"),
]


@pytest.fixture(scope="module")
def judges():
    torch.set_num_threads(1)
    made = {}

    def judge(family):
        if family not in made:
            made[family] = load_judge(f"transformers:{tiny_vlm(family)}")
        return made[family]

    return judge


def picture(folder, seed=0, size=(80, 60)):
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3))
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    path = folder / f"{seed}.png"
    path.write_bytes(buffer.getvalue())
    return Picture(str(path), buffer.getvalue())


def logits_one_by_one(judge, image, questions):
    """Each conversation on its own, whole, as the processor of the model makes it."""
    rows = []
    for question in questions:
        template = TEMPLATES[question.template]
        parts = [{"type": "image", "image": image}, {"type": "text", "text": question.shown()}]
        messages = [{"role": "user", "content": parts if template.image_first else parts[::-1]}]
        if template.system:
            system = [{"type": "text", "text": template.system}]
            messages.insert(0, {"role": "system", "content": system})
        inputs = judge.processor.apply_chat_template(
            messages,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            rows.append(judge.model(**inputs).logits[0, -1])
    return torch.stack(rows)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("template", [None, TEXT_FIRST.name, SYSTEM.name])
def test_shared_and_batched_is_the_same_as_one_by_one(family, template, judges, tmp_path):
    judge = judges(family)
    questions = QUESTIONS
    if template is not None:
        questions = [Question(q.text, template=template) for q in QUESTIONS]
    image = picture(tmp_path).decoded()
    alone = logits_one_by_one(judge, image, questions).log_softmax(-1)
    for size in (1, 2, 16):
        found = judge.logits(image, [Asked(q) for q in questions], size).log_softmax(-1)
        assert float((found - alone).abs().max()) < 1e-5
    assert float((alone[0] - alone[1]).abs().max()) > 1e-3, "questions matter"
    other = logits_one_by_one(judge, picture(tmp_path, 1).decoded(), questions[:1])
    assert float((other.log_softmax(-1) - alone[0]).abs().max()) > 1e-3, "pictures matter"


def test_an_image_that_comes_first_is_encoded_once(judges, tmp_path, monkeypatch):
    judge = judges("llava")
    seen = []
    tower = judge.model.model.vision_tower
    handle = tower.register_forward_hook(lambda *_: seen.append(1))
    try:
        judge.ask(picture(tmp_path), [Asked(q) for q in QUESTIONS])
    finally:
        handle.remove()
    # yes/no, letter and number are one conversation up to the question
    assert len(seen) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_probabilities_are_those_of_the_allowed_answers(family, judges, tmp_path):
    judge = judges(family)
    shown = picture(tmp_path)
    replies = judge.ask(shown, [Asked(q) for q in QUESTIONS])
    chances = logits_one_by_one(judge, shown.decoded(), QUESTIONS).softmax(-1)
    yes = judge.tokenizer("Yes", add_special_tokens=False)["input_ids"]
    assert len(yes) == 1
    for reply, question, row in zip(replies, QUESTIONS, chances, strict=True):
        found = reply.probabilities
        assert reply.status in (ANSWERED, OFF_FORMAT)
        assert reply.status == (ANSWERED if found.mass >= 0.5 else OFF_FORMAT)
        assert sum(found.options.values()) == pytest.approx(1)
        assert 0 < found.p_raw <= found.mass <= 1
        if question.kind == "yes/no":
            assert found.p_raw >= float(row[yes[0]]) * (1 - 1e-4)
            assert found.p == pytest.approx(found.p_raw / found.mass)


def test_options_shown_in_another_order_come_back_as_listed(judges, tmp_path):
    judge = judges("llava")
    question = QUESTIONS[2]
    plain, turned = judge.ask(
        picture(tmp_path), [Asked(question), Asked(question, order=(2, 0, 1))]
    )
    assert set(plain.probabilities.options) == set(turned.probabilities.options) == set("ABC")
    shown = question.shown((2, 0, 1))
    assert "A. no\nB. the cat\nC. the dog" in shown


def test_texts_are_generated_and_samples_follow_their_seed(judges, tmp_path):
    judge = judges("qwen2_5_vl")
    TEMPLATES.setdefault("test_hot/1", Template("test_hot/1", max_tokens=6, temperature=1.0))
    question = Question("What is there?", "text", template="test_hot/1")
    asked = [Asked(question, rollout=r, seed=1) for r in (0, 1, 0)]
    before = torch.random.get_rng_state()
    first, second, again = judge.ask(picture(tmp_path), asked)
    assert torch.equal(before, torch.random.get_rng_state())
    assert first.raw == again.raw != second.raw
    assert first.tokens > 6


def test_a_file_that_is_no_image_and_numbers_that_are_none(judges, tmp_path, monkeypatch):
    judge = judges("llava")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    (reply,) = judge.ask(Picture(str(broken), b"no image"), [Asked(QUESTIONS[0])])
    assert reply.status == IMAGE_UNREADABLE
    monkeypatch.setattr(type(judge), "logits", lambda *_: torch.full((1, 600), float("nan")))
    (reply,) = judge.ask(picture(tmp_path), [Asked(QUESTIONS[0])])
    assert (reply.status, reply.answer) == (ERROR, None)
    assert "not finite" in reply.reason


def test_what_does_not_fit_into_memory_is_done_in_halves(judges, tmp_path, monkeypatch):
    judge = judges("llava")
    whole = judge.ask(picture(tmp_path), [Asked(q) for q in QUESTIONS])
    logits = type(judge).logits

    def little(self, image, asked, size):
        if len(asked) > 2:
            raise MemoryError
        return logits(self, image, asked, size)

    monkeypatch.setattr(type(judge), "logits", little)
    halves = judge.ask(picture(tmp_path), [Asked(q) for q in QUESTIONS])
    assert [r.probabilities.p for r in halves] == pytest.approx(
        [r.probabilities.p for r in whole], abs=1e-5
    )


def test_models_that_answer_no_questions_are_refused(tmp_path):
    folder = tmp_path / "mute"
    shutil.copytree(tiny_vlm("llava"), folder)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelLoadError, match="has no chat template"):
        load_judge(f"transformers:{folder}")
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(ModelLoadError, match="'llama' model, which answers no questions"):
        load_judge(f"transformers:{folder}")
    with pytest.raises(ModelLoadError):
        load_judge(f"transformers:{tmp_path / 'nowhere'}")
    with pytest.raises(InputError, match="name the model"):
        load_judge("transformers:")


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_picture_the_model_reads_the_text_alone(judges, family):
    judge = judges(family)
    asked = [Asked(Question(text, "text", template=SYSTEM.name)) for text in ("cat?", "two dogs?")]
    replies = judge.say(asked)
    for one, reply in zip(asked, replies, strict=True):
        system = {"role": "system", "content": [{"type": "text", "text": SYSTEM.system}]}
        user = {"role": "user", "content": [{"type": "text", "text": one.text}]}
        text = judge.processor.apply_chat_template([system, user], add_generation_prompt=True)
        inputs = judge.processor(text=[text], return_tensors="pt")
        made = judge.model.generate(**inputs, do_sample=False, max_new_tokens=4)
        own = made[0, inputs["input_ids"].shape[1] :]
        said = judge.tokenizer.decode(own, skip_special_tokens=True)
        assert (reply.answer or "") == said.strip() and reply.status in (ANSWERED, OFF_FORMAT)
        assert reply.tokens == made.shape[1]
