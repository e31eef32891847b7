import subprocess
import sys

import pytest

from t2i_spatial.prompts.inflection import is_plural, plural, singular
from t2i_spatial.prompts.sr2d import COCO_NAMES

PAIRS = """person people, man men, woman women, snowman snowmen, child children, mouse mice,
foot feet,
knife knives, shelf shelves, leaf leaves, wolf wolves, sheep sheep, fish fish, goldfish goldfish,
deer deer, bus buses, glass glasses, box boxes, bench benches, brush brushes, vase vases,
horse horses, house houses, rose roses, shoe shoes, tomato tomatoes, potato potatoes, photo photos,
butterfly butterflies, toy toys, tie ties, cookie cookies, glove gloves, olive olives,
octopus octopuses, lens lenses, cactus cacti, canoe canoes, scissors scissors, skis skis"""


@pytest.mark.parametrize("pair", [tuple(p.split()) for p in PAIRS.replace("\n", " ").split(",")])
def test_singular_and_plural(pair):
    one, more = pair
    assert singular(more) == one
    assert singular(one) == one
    assert plural(one) == more
    assert is_plural(more)
    assert one == more or not is_plural(one)


@pytest.mark.parametrize(
    ("careless", "noun"),
    [("knifes", "knife"), ("sheeps", "sheep"), ("persons", "person"), ("benchs", "bench"),
     ("skises", "skis"), ("scissorses", "scissors"), ("broccolis", "broccoli"),
     ("computer mouses", "computer mouse")],
)  # fmt: skip
def test_naive_plurals_of_generators_are_understood(careless, noun):
    assert singular(careless) == noun


def test_every_coco_name_survives_a_round_trip():
    for name in COCO_NAMES:
        assert singular(plural(name)) == name
        assert singular(name) == name


@pytest.mark.parametrize(
    ("rare", "noun"),
    [("alumni", "alumnus"), ("octopi", "octopus"), ("larvae", "larva"), ("vertices", "vertex"),
     ("phenomena", "phenomenon"), ("chateaux", "chateau"), ("oases", "oasis"), ("table", "table")],
)  # fmt: skip
def test_rare_plurals(rare, noun):
    assert singular(rare) == noun


def test_nothing_is_imported_for_a_rare_word():
    code = (
        "import sys; from t2i_spatial.prompts import parse_prompt; before = set(sys.modules);"
        "parse_prompt('seven alumni and four zorblati next to a flimmering quux');"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
