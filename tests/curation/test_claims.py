"""What a text claims about space, and what boxes say to it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from t2i_spatial.curation.box_captions import long_caption, mirror_caption
from t2i_spatial.curation.claim_checks import (
    CANNOT_TELL,
    CONTRADICTED,
    SUPPORTED,
    UNDETECTED,
    check,
)
from t2i_spatial.curation.claims import claims_of
from t2i_spatial.curation.dense_captions import split_sentences
from tests.curation.seen_boxes import BIRDS, CAT, DOG, NAMES, found, seen


def fates(text, *boxes, kinds=("relations", "counts", "frame", "unread"), **more):
    [findings] = check([split_sentences(text)], [seen(*boxes, **more)])
    return [f.fate for f in findings if f.claim.kind in kinds]


def test_a_claim_belongs_to_the_sentence_that_makes_it():
    text = "A cat is left of a dog. It sits on a mat. Two birds are above the dog."
    claims = [(c.sentence, c.said) for c in claims_of(split_sentences(text))]
    assert (0, "cat left of dog") in claims
    assert (1, "cat on mat") in claims
    assert (2, "bird above dog") in claims and (2, "2 bird") in claims
    assert len([c for c in claims if " of " in c[1] or " on " in c[1] or "above" in c[1]]) == 3


@pytest.mark.parametrize(
    ("text", "fate"),
    [
        ("A cat is to the left of a dog.", SUPPORTED),
        ("A cat is to the right of a dog.", CONTRADICTED),
        ("The dog is not to the left of the cat.", SUPPORTED),
        ("The dog is not to the right of the cat.", CONTRADICTED),
        ("A cat is to the left of a tree.", UNDETECTED),
        ("A cat is to the left of a lamp.", CANNOT_TELL),
        ("A cat is in front of a dog.", CANNOT_TELL),
        ("A tabby cat is to the left of a small dog.", SUPPORTED),
        ("A tabby cat is to the right of a small dog.", CONTRADICTED),
        ("A hot dog is to the left of a cat.", CANNOT_TELL),
        ("The dog is on the right side of the picture.", SUPPORTED),
        ("The dog is in the top left corner of the picture.", CONTRADICTED),
        ("The cat stands three steps to the left and somewhat behind of it all.", CANNOT_TELL),
    ],
)
def test_boxes_support_contradict_or_cannot_tell(text, fate):
    assert fate in fates(text, CAT, DOG)
    if fate != CONTRADICTED:
        assert CONTRADICTED not in fates(text, CAT, DOG)


@pytest.mark.parametrize(
    ("text", "fate"),
    [
        ("Two birds fly.", SUPPORTED),
        ("Three birds fly.", CONTRADICTED),
        ("There is exactly one bird.", CONTRADICTED),
        ("There are no birds.", CONTRADICTED),
        ("There is no dog.", SUPPORTED),
        ("There is no bird on the tree.", CANNOT_TELL),
        ("Two white birds fly.", SUPPORTED),
    ],
)
def test_numbers(text, fate):
    assert fates(text, CAT, *BIRDS, kinds=("counts", "unread"))[:1] == [fate]


def test_further_mentions_may_mean_the_same_things_or_others():
    text = "Two birds fly. A white bird sings."
    assert set(fates(text, *BIRDS, kinds=("counts",))) == {SUPPORTED}
    third = found("bird", 40, 5, 50, 15)
    assert set(fates(text, *BIRDS, third, kinds=("counts",))) == {SUPPORTED}
    assert CONTRADICTED in fates(text, BIRDS[0], kinds=("counts",))


def test_a_doubtful_box_makes_a_number_doubtful_and_decides_nothing_else():
    doubtful = found("bird", 40, 5, 50, 15, score=0.2)
    assert fates("Two birds fly.", *BIRDS, doubtful) == [CANNOT_TELL]
    assert fates("Three birds fly.", *BIRDS, doubtful) == [CANNOT_TELL]
    assert fates("There is no tree.", found("tree", 1, 1, 9, 9, score=0.2)) == [CANNOT_TELL]
    assert fates("A tree is left of a cat.", CAT, found("tree", 50, 40, 60, 70, 0.2)) == [
        UNDETECTED
    ]


def test_words_that_no_box_shows_pick_one_of_several():
    chairs = found("chair", 5, 40, 20, 60), found("chair", 75, 40, 95, 60)
    middle = found("dog", 40, 40, 55, 60)
    assert fates("The wooden chair is to the left of the dog.", *chairs, middle) == [CANNOT_TELL]
    assert fates("A chair is to the left of the dog.", *chairs, middle) == [SUPPORTED]
    low = found("dog", 40, 80, 55, 99)
    assert fates("The wooden chair is below the dog.", *chairs, low) == [CONTRADICTED]
    both = found("dog", 96, 40, 99, 60)
    assert fates("The wooden chair is to the left of the dog.", *chairs, both) == [SUPPORTED]


def test_colours_that_boxes_have_pick():
    red, blue = found("chair", 5, 40, 20, 60, color="red"), found("chair", 75, 40, 95, 60)
    blue["color"] = "blue"
    middle = found("dog", 40, 40, 55, 60)
    text = "The {} chair is to the left of the dog."
    assert fates(text.format("red"), red, blue, middle) == [SUPPORTED]
    assert fates(text.format("blue"), red, blue, middle) == [CONTRADICTED]


def test_a_picture_without_boxes_tells_nothing():
    assert fates("A cat is left of a dog.", status="detector_failed") == [CANNOT_TELL]


def test_what_is_there_is_said_of_asked_things_only():
    [findings] = check([["A cat and a tree and a lamp."]], [seen(CAT)])
    assert [(f.claim.said, f.fate) for f in findings] == [
        ("a cat", SUPPORTED),
        ("a tree", UNDETECTED),
    ]


def test_true_captions_of_random_boxes_are_never_contradicted_and_mirrored_ones_always():
    rng = np.random.default_rng(0)
    pictures = []
    while len(pictures) < 60:
        corners = rng.uniform(0, 70, (4, 2)).tolist()
        sizes = rng.uniform(8, 30, (4, 2)).tolist()
        labels = rng.choice(NAMES, 4).tolist()
        boxes = [
            found(label, x, y, x + w, y + h)
            for label, (x, y), (w, h) in zip(labels, corners, sizes, strict=True)
        ]
        caption = long_caption(labels, [box["box"] for box in boxes])
        if caption is not None:
            pictures.append((seen(*boxes), caption))
    boxes = [picture for picture, _ in pictures]
    true = check([split_sentences(caption) for _, caption in pictures], boxes)
    fates_of = [f.fate for of_picture in true for f in of_picture]
    assert set(fates_of) == {SUPPORTED} and len(fates_of) > 200
    mirrored = [split_sentences(mirror_caption(caption) or "") for _, caption in pictures]
    wrong = check(mirrored, boxes)
    sided = [f for of in wrong for f in of if re.search("left of|right of", f.claim.said)]
    assert {f.fate for f in sided} == {CONTRADICTED} and len(sided) > 50
