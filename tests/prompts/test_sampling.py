from collections import Counter

import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.prompts import (
    SceneOptions,
    load_prompts,
    parse_prompt,
    sample_scenes,
    split_prompts,
    sr2d,
    write_prompts,
)
from t2i_spatial.prompts.sampling import DIFFICULTIES, options_for, read_vocabulary
from t2i_spatial.prompts.witness_layout import HOLDS
from t2i_spatial.relation_algebra import canonical_key, contradictions


def test_balanced_over_relations_and_object_order():
    prompts = sample_scenes(320, seed=5)
    assert set(Counter(p.tag for p in prompts).values()) == {80}
    for place in (0, 1):
        uses = Counter(p.scene.objects[place].name for p in prompts)
        assert len(uses) == 80
        assert max(uses.values()) - min(uses.values()) <= 3
    assert len({canonical_key(p.scene) for p in prompts}) == 320


@pytest.mark.parametrize("difficulty", sorted(DIFFICULTIES))
def test_every_scene_is_satisfiable_and_reads_back(difficulty):
    options = options_for(difficulty, relations=tuple(HOLDS))
    prompts = sample_scenes(44, options, seed=2)
    for prompt in prompts:
        scene = prompt.scene
        assert contradictions(scene.relations) == ()
        assert canonical_key(parse_prompt(prompt.text)) == canonical_key(scene)
        hulls = {}
        for entry in prompt.metadata["layout"]:
            box = hulls.setdefault(entry["object"], entry["box"])
            hulls[entry["object"]] = [
                *map(min, box[:2], entry["box"][:2]),
                *map(max, box[2:], entry["box"][2:]),
            ]
            assert entry["name"] == scene.objects[entry["object"]].name
        for relation in scene.relations:
            if scene.objects[relation.subject].count == scene.objects[relation.object].count == 1:
                assert HOLDS[relation.relation](hulls[relation.subject], hulls[relation.object])
    used = Counter(r.relation for p in prompts for r in p.scene.relations)
    assert max(used.values()) - min(used.values()) <= 4


def test_wordings_of_one_scene_mean_the_same():
    prompts = sample_scenes(10, DIFFICULTIES["medium"], seed=1, wordings=3)
    assert len(prompts) == 30
    assert len({p.text for p in prompts}) == 30
    for group in (prompts[k : k + 3] for k in range(0, 30, 3)):
        assert len({p.metadata["scene_id"] for p in group}) == 1
        assert len({canonical_key(p.scene) for p in group}) == 1
        assert group[0].metadata["layout"] == group[1].metadata["layout"]


def test_the_second_wording_names_the_other_object_first():
    first, second = sample_scenes(1, seed=9, wordings=2)
    a, b = parse_prompt(first.text), parse_prompt(second.text)
    assert a.names == b.names[::-1]
    assert first.scene.relations[0].subject == second.scene.relations[0].object
    assert second.tag == second.scene.relations[0].relation != first.tag


def test_seeded_and_written(tmp_path):
    prompts = sample_scenes(12, DIFFICULTIES["hard"], seed=4)
    assert prompts == sample_scenes(12, DIFFICULTIES["hard"], seed=4)
    assert prompts != sample_scenes(12, DIFFICULTIES["hard"], seed=5)
    write_prompts(prompts, tmp_path / "p.jsonl")
    again = load_prompts(tmp_path / "p.jsonl")
    assert [p.to_dict() for p in again] == [
        {**p.to_dict(), "metadata": {**p.metadata, "layout": list(p.metadata["layout"])}}
        for p in prompts
    ]


def test_no_object_pair_is_in_both_parts():
    prompts = sr2d()[:2000]
    train, test = split_prompts(prompts, 0.25, seed=1)
    assert len(train) + len(test) == len(prompts)
    assert 0.2 < len(test) / len(prompts) < 0.3
    pairs = [{tuple(sorted(p.scene.names)) for p in part} for part in (train, test)]
    assert not pairs[0] & pairs[1]
    assert split_prompts(prompts, 0.25, seed=1) == (train, test)


def test_wordings_of_a_scene_stay_in_one_part():
    prompts = sample_scenes(30, seed=3, wordings=2)
    train, test = split_prompts(prompts, 0.3, by="scene")
    ids = [{p.metadata["scene_id"] for p in part} for part in (train, test)]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (SceneOptions(vocabulary=["cat"]), "need as many nouns"),
        (SceneOptions(vocabulary=["red cat", "dog"]), "does not read 'red cat'"),
        (SceneOptions(vocabulary=["cats", "dog"]), "does not read 'cats'"),
        (SceneOptions(n_relations=2), "only 1 pairs"),
        (SceneOptions(n_relations=-1), "cannot have -1 relations"),
        (SceneOptions(relations=["lef of"]), "unknown relation 'lef of'"),
        (SceneOptions(relations=[]), "no relations"),
        (SceneOptions(counts=(0,)), "counts must be"),
        (SceneOptions(vocabulary=["cat", "dog"], relations=["near"]), "found only 1 different"),
    ],
)
def test_impossible_wishes_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        sample_scenes(2, options)


def test_more_wordings_than_there_are():
    with pytest.raises(InputError, match="only 7 wordings"):
        sample_scenes(1, wordings=8)


def test_bad_splits_are_refused():
    with pytest.raises(InputError, match="between 0 and 1"):
        split_prompts(sr2d()[:20], 1.0)
    with pytest.raises(InputError, match="at least two"):
        split_prompts(sr2d()[:5], 0.5)
    with pytest.raises(InputError, match="unknown split"):
        split_prompts(sr2d()[:20], 0.5, by="noun")


def test_a_vocabulary_file(tmp_path):
    (tmp_path / "nouns.txt").write_text("cat\n\n wine glass \n")
    assert read_vocabulary(tmp_path / "nouns.txt") == ["cat", "wine glass"]
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(InputError, match="no nouns"):
        read_vocabulary(tmp_path / "empty.txt")
