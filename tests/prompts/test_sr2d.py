import hashlib
import json
from collections import Counter

import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.prompts import load_prompts, sample_prompts, sr2d


@pytest.mark.parametrize(
    ("relations_only", "count", "sha256"),
    [
        (False, 31_680, "954003f2c544de5d1f8cb853aee4428b4145ad38a785ac390c6a873752ecdd6c"),
        (True, 25_280, "644467b650cd210f90cb77289905e407531746ea67daef8ff4980e1fee393996"),
    ],
)
def test_texts_and_ids_are_those_of_the_published_set(relations_only, count, sha256):
    prompts = sr2d(relations_only)
    assert len(prompts) == count
    lines = "\n".join(f"{prompt.id}\t{prompt.text}" for prompt in prompts)
    assert hashlib.sha256(lines.encode()).hexdigest() == sha256


def test_scene_and_tag_follow_the_text():
    by_id = {prompt.id: prompt for prompt in sr2d()}
    left = by_id["1"]
    assert left.text == "a bicycle to the left of a person"
    assert left.tag == "left of"
    assert left.scene.names == ("bicycle", "person")
    (relation,) = left.scene.relations
    assert (relation.subject, relation.relation, relation.object) == (0, "left of", 1)
    assert relation.phrase == "to the left of"
    assert by_id["8"].tag == "and"
    assert by_id["8"].scene.relations == ()
    assert by_id["31600"].tag == "single"
    assert Counter(prompt.tag for prompt in by_id.values()) == {
        "left of": 6320,
        "right of": 6320,
        "above": 6320,
        "below": 6320,
        "and": 6320,
        "single": 80,
    }


def test_a_text_in_place_of_a_list_is_refused(tmp_path):
    record = {"unique_id": 1, "rel_type": "and", "text": "a cat and a dog",
              "obj_1_attributes": "cat", "obj_2_attributes": ["dog"]}  # fmt: skip
    path = tmp_path / "sr2d.json"
    path.write_text(json.dumps([record]))
    with pytest.raises(InputError, match="must be a list of texts, got 'cat'"):
        load_prompts(str(path))


def test_sample_is_seeded_balanced_and_in_order():
    prompts = sr2d(relations_only=True)
    sample = sample_prompts(prompts, 240, seed=3)
    assert sample == sample_prompts(prompts, 240, seed=3)
    assert sample != sample_prompts(prompts, 240, seed=4)
    numbers = [int(prompt.id) for prompt in sample]
    assert numbers == sorted(set(numbers))
    assert set(Counter(prompt.tag for prompt in sample).values()) == {60}
    for role in (0, 1):
        uses = Counter(prompt.scene.objects[role].name for prompt in sample)
        assert len(uses) == 80
        assert max(uses.values()) <= 5


def test_a_small_stratum_gives_all_it_has():
    sample = sample_prompts(sr2d(), 600, seed=0)
    tags = Counter(prompt.tag for prompt in sample)
    assert tags["single"] == 80
    assert len({tags[tag] for tag in ("left of", "right of", "above", "below", "and")}) == 1


def test_a_limit_above_the_size_gives_everything():
    prompts = sr2d()[:7]
    assert sample_prompts(prompts, 100) == prompts
    assert sample_prompts([], 5) == []


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(InputError, match="at least 1"):
        sample_prompts(sr2d(), 0)
