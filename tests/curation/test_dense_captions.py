"""What a judge is asked for a caption, what its reply says, and how that is made to fit."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, T5TokenizerFast

from t2i_spatial.curation.box_captions import load_tokenizer
from t2i_spatial.curation.caption_length import Limit, count_t5_tokens, usual_tokens
from t2i_spatial.curation.claim_checks import check
from t2i_spatial.curation.dense_captions import (
    caption_question,
    sentences_of_reply,
    shortened,
    split_sentences,
    without_contradicted,
)
from t2i_spatial.errors import InputError
from tests.curation.seen_boxes import CAT, DOG, found, seen

CAPTION = (
    "A lamp glows. A cat is to the left of a dog. The cat is striped. The dog is to the right of "
    "the cat. It wears a collar."
)


def checked(sentences):
    return check([sentences], [seen(CAT, DOG)])[0]


def test_the_judge_sees_the_prompt_and_the_boxes_as_shares_of_the_picture():
    again = found("cat", 6, 41, 30, 70, score=0.5)
    text = caption_question('a "cat"', [CAT, DOG, again], (100, 200), Limit(77)).text
    assert r"about it: \"a" not in text and r'"a \"cat\""' in text
    assert text.count("- cat (") == 1
    assert "- cat (0.05, 0.20, 0.30, 0.35)\n- dog (0.60, 0.20, 0.90, 0.35)" in text
    assert "52 words at most" in text
    assert "detector" not in caption_question("a cat", [], (100, 200), Limit(77)).text


@pytest.mark.parametrize(
    ("reply", "sentences"),
    [
        ("A cat. A dog.", ["A cat.", "A dog."]),
        ("  A cat\nsits.\n\nA dog  runs! ", ["A cat sits.", "A dog runs!"]),
        ("a cat on a mat", ["a cat on a mat."]),
        ("A cat on a mat. A dog is to the", ["A cat on a mat."]),
        ("Caption: A cat.", ["A cat."]),
        ("Here is the caption you asked for:\n\n**A cat.** A dog.", ["A cat.", "A dog."]),
        ("<think>A cat? No.</think>\nA dog.", ["A dog."]),
        ("- A cat.\n- A dog.", ["A cat.", "A dog."]),
        ("1. A cat.\n2. A dog.", ["A cat.", "A dog."]),
        ('"A cat [0.10, 0.20, 0.30, 0.40] sits. A dog (0.1, 0.9)."', ["A cat sits.", "A dog."]),
        ('```json\n{"caption": "A cat. A dog."}\n```', ["A cat.", "A dog."]),
        ("A cup (5), e.g. Earl Grey.", ["A cup (5), e.g. Earl Grey."]),
    ],
)
def test_the_caption_in_a_reply(reply, sentences):
    assert sentences_of_reply(reply) == sentences


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ('{"caption": "A cat is to the le', "broken JSON"),
        ('{"text": "A cat."}', "JSON without a caption"),
        ("[1, 2]", "JSON without a caption"),
        ("...", "no thing can be read"),
        ("", "no thing can be read"),
        ("猫在狗的左边。", "no thing can be read"),
        ("A cat. " * 4000, "28,000 letters"),
    ],
)
def test_a_reply_without_a_caption_is_refused(reply, message):
    with pytest.raises(InputError, match=message):
        sentences_of_reply(reply)


def test_contradicted_sentences_go_with_those_that_lean_on_them():
    sentences = split_sentences("A cat is right of a dog. It sleeps. They play. A dog barks.")
    assert without_contradicted(sentences, checked(sentences)) == ["A dog barks."]
    fine = split_sentences("A cat is left of a dog. It sleeps.")
    assert without_contradicted(fine, checked(fine)) == fine


def test_what_the_boxes_support_is_kept_first_in_the_order_of_the_text():
    sentences = split_sentences(CAPTION)
    findings = checked(sentences)
    words = [Limit(n) for n in (15, 19, 28, 77)]
    cut = [shortened(sentences, findings, ("cat", "dog"), limit) for limit in words]
    assert cut[0] == [sentences[1]]
    assert cut[1] == sentences[1:3]
    assert cut[2] == sentences[1:4]
    assert cut[3] == sentences
    assert shortened(sentences, findings, (), Limit(5)) == []


def test_a_sentence_that_leans_on_another_is_not_kept_without_it():
    sentences = ["A lamp with a very long description stands there.", "It is left of a dog."]
    assert shortened(sentences, checked(sentences), ("dog",), Limit(12)) == []


def test_limits_by_family():
    assert usual_tokens() == 77
    assert usual_tokens(pipeline="StableDiffusion3Pipeline") == 256
    assert Limit(77).count("a cat") == 4
    assert Limit(512).count("a cat") == count_t5_tokens("a cat") == 3
    assert Limit(512).words > 300


def test_of_several_tokenizers_the_one_of_t5_is_taken(tmp_path):
    words = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0)], unk_id=0))
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(tmp_path / "tokenizer")
    T5TokenizerFast().save_pretrained(tmp_path / "tokenizer_2")
    tokenizer = load_tokenizer(str(tmp_path))
    assert "T5" in type(tokenizer).__name__
    assert usual_tokens(tokenizer) == 512
