import pytest

from t2i_spatial.prompts.inflection import article, is_plural, plural, rare_singular, singular
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


def test_own_rules_agree_with_inflect():
    import inflect

    engine = inflect.engine()
    for name in COCO_NAMES:
        if name not in ("skis", "scissors", "person", "broccoli"):
            assert plural(name) == engine.plural_noun(name), name
        assert article(name) == engine.a(name).split()[0], name


def test_rare_plurals_are_left_to_inflect():
    assert rare_singular("alumni") == "alumnus"
    assert rare_singular("table") is None
