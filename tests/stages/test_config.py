"""Config files and `--set`: whatever people write is settings or one line."""

from __future__ import annotations

import itertools

import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.stages.config import load_config
from t2i_spatial.yaml_text import MOST_VALUES, read_yaml


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("output: x\n")
    return file


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("x={", "'x={' is not YAML"),
        ("x=!!python/object:os.system ls", "could not determine a constructor"),
        ("x=!tag 1", "could not determine a constructor"),
        ("x=2024-13-45", "is not YAML: month"),
        ("x=" + "[" * 3000, "nested too deeply"),
        ("x=&a [*a]", "contains itself"),
        ("x=\x00", "is not YAML"),
        ("x=\ud800", "is not YAML"),
        ("=1", "not of the form"),
        ("a..b=1", "not of the form"),
        ("generate", "not of the form"),
        ("output.x=1", "'output' is not a section"),
        ("generate.samples=1e9", "generate.samples"),
        ("generate.samples=1000000000", "less than or equal to 100000"),
        ("generate.width=100000", "less than or equal to 16384"),
        ("generate.guidance_scale=.inf", "finite"),
        ("score.resamples=10000000", "less than or equal to 1000000"),
        ("detect.name=../x", "letters, digits, - and _ only"),
        ("detect.batch_size=0", "above 0"),
        ("score.protocols=visor", "score.protocols"),
    ],
)
def test_a_bad_override_is_one_line_a_fault(path, override, message):
    with pytest.raises(InputError) as caught:
        load_config(path, [override])
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400


def test_an_override_makes_the_section_it_needs(path):
    path.write_text("output: x\ngenerate: null\n")
    assert load_config(path, ["generate.samples=2"]).generate.samples == 2
    assert load_config(path, ["curate.export=none"]).curate.export is None


def test_aliases_that_stand_for_gigabytes_are_refused_before_anything_reads_them():
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{c}: &{c} [{','.join([f'*{p}'] * 10)}]\n" for p, c in itertools.pairwise("abcdefghi")
    )
    assert len(bomb) < 500
    with pytest.raises(InputError, match="more than 100,000 values"):
        read_yaml(bomb, "the file")
    shared = "base: &base {samples: 2}\none: *base\ntwo: {<<: *base, steps: 3}\n"
    assert read_yaml(shared, "the file")["two"] == {"samples": 2, "steps": 3}
    assert len(read_yaml(f"[{'1,' * (MOST_VALUES - 1)}]", "the file")) == MOST_VALUES - 1


def test_a_wrong_value_that_is_long_is_not_repeated_whole(path):
    path.write_text(f"output: x\nprompts: {{limit: {'y' * 10_000}}}\n")
    with pytest.raises(InputError, match=r"prompts\.limit") as caught:
        load_config(path)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", ["missing.yaml", "", "."])
def test_a_config_that_is_no_file(tmp_path, name):
    with pytest.raises(InputError, match=r"no such config file|cannot read"):
        load_config(tmp_path / name)


def test_a_vocabulary_and_nouns_may_be_named_in_a_file_too(tmp_path, path):
    nouns = tmp_path / "nouns.txt"
    nouns.write_text("cat\ndog\n")
    settings = load_config(
        path, [f"prompts.nouns={nouns}", "detect.vocabulary=coco", "detect.dtype=bf16"]
    )
    assert settings.prompts.nouns == ("cat", "dog")
    assert len(settings.detect.vocabulary) == 80
    assert settings.detect.dtype == "bfloat16"
    assert len(load_config(path, ["prompts.nouns=bundled"]).prompts.nouns) == 24
