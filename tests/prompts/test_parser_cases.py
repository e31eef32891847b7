"""Sentences of many makers' styles, with what they ask for.

A case in `parser_cases.txt` is a text, its objects ("2 red dog @left", "?" for an open count, a
string in the picture behind its object) and, where it has some, its relations.
"""

from pathlib import Path

import pytest

from t2i_spatial.prompts import parse_prompt


def read_cases():
    cases = []
    for line in Path(__file__).with_name("parser_cases.txt").read_text("utf-8").splitlines():
        if line.startswith("    "):
            cases[-1].append(line.strip())
        elif not line.startswith("#"):
            cases.append([line])
    return [(case[0], case[1], case[2] if len(case) > 2 else "") for case in cases]


def objects(scene):
    said = []
    for spec in scene.objects:
        count = "?" if spec.count is None else str(spec.count)
        words = [count if spec.count_rule == "exactly" else f"{spec.count_rule} {count}"]
        words += [spec.color] if spec.color else []
        words.append(spec.name)
        words += [repr(spec.text)] if spec.text is not None else []
        words += [f"@{spec.frame_position}"] if spec.frame_position else []
        said.append(" ".join(words))
    return ", ".join(said)


def relations(scene):
    said = []
    for r in scene.relations:
        negation = "not " if r.negated else ""
        words = f"{scene.objects[r.subject].name} {negation}{r.relation}"
        words += f" {scene.objects[r.object].name}"
        words += f" and {scene.objects[r.second].name}" if r.second is not None else ""
        said.append(words)
    return "; ".join(said)


CASES = read_cases()


def test_there_are_many_kinds_of_cases():
    assert len(CASES) >= 200


@pytest.mark.parametrize(
    ("text", "expected", "related"), CASES, ids=[case[0][:60] for case in CASES]
)
def test_what_a_sentence_asks_for(text, expected, related):
    scene = parse_prompt(text)
    assert objects(scene) == expected
    assert relations(scene) == related


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("ein roter Hund neben einer Katze", "German"),
        ("un chat sur la table", "French"),
        ("un perro al lado de un gato", "Spanish"),
        ("een hond naast een kat", "Dutch"),
        ("猫在桌子上", "Chinese"),
        ("犬の左に猫がいる", "Japanese"),
        ("кошка на столе", "Cyrillic"),
    ],
)
def test_another_language_is_not_read_as_english(text, language):
    scene = parse_prompt(text)
    assert scene.objects == ()
    assert scene.reading == "not read"
    assert language in scene.unparsed[0]


@pytest.mark.parametrize(
    "text",
    [
        "(a cat:1.3) on a [mat] <lora:fur:0.8>",
        "<b>a cat</b> on a&nbsp;mat",
        "a cat \U0001f431 on a mat",
        "a c\u200bat on\u00a0a mat\x00",
        "a cat on a mat --ar 16:9 --v 5",
        "ａ cat on a ｍat",
    ],
)
def test_markup_and_strange_characters_change_nothing(text):
    scene = parse_prompt(text)
    assert [spec.name for spec in scene.objects] == ["cat", "mat"]
    assert [r.relation for r in scene.relations] == ["on"]
    assert scene.unparsed == ()


def test_what_boxes_cannot_show_stays_in_the_scene():
    scene = parse_prompt("a dog facing a cat")
    assert [(r.subject, r.relation, r.object) for r in scene.relations] == [(0, "facing", 1)]


@pytest.mark.parametrize(
    "text",
    [
        "a cat left of " * 2500 + "a dog",
        "a cat of " * 3000,
        "a " + "red " * 9000 + "cat",
        "a cat, " * 4000 + "and a dog on a mat",
        "(" * 5000 + "cat" + ")" * 5000,
    ],
    ids=["chain", "of", "adjectives", "list", "brackets"],
)
def test_ten_thousand_words_are_read(text):
    parse_prompt(text)
