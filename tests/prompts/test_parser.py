import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_spatial.errors import InputError
from t2i_spatial.prompts import parse_prompt, sr2d


def objects(text):
    """Readable: "2 red cat (small) @top left"."""
    said = []
    for spec in parse_prompt(text).objects:
        words = ["?" if spec.count is None else str(spec.count), spec.color, spec.name]
        words.append(f"({' '.join(spec.attributes)})" if spec.attributes else None)
        words.append(f"@{spec.frame_position}" if spec.frame_position else None)
        said.append(" ".join(word for word in words if word))
    return said


def relations(text):
    scene = parse_prompt(text)
    return [
        f"{scene.objects[r.subject].name} {r.relation} {scene.objects[r.object].name}"
        for r in scene.relations
    ]


@pytest.mark.parametrize(
    ("phrase", "relation"),
    [
        ("to the left of", "left of"),
        ("on the left of", "left of"),
        ("left of", "left of"),
        ("on the left-hand side of", "left of"),
        ("at the right side of", "right of"),
        ("to the immediate right of", "right of"),
        ("above", "above"),
        ("over", "above"),
        ("directly above", "above"),
        ("on the top of", "above"),
        ("on top of", "on"),
        ("atop", "on"),
        ("on", "on"),
        ("below", "below"),
        ("on the bottom of", "below"),
        ("beneath", "under"),
        ("under", "under"),
        ("underneath", "under"),
        ("next to", "next to"),
        ("right next to", "next to"),
        ("beside", "next to"),
        ("on side of", "next to"),
        ("adjacent to", "next to"),
        ("near", "near"),
        ("close to", "near"),
        ("in", "in"),
        ("inside", "in"),
        ("inside of", "in"),
        ("in front of", "in front of"),
        ("behind", "behind"),
        ("hidden by", "behind"),
    ],
)
def test_every_spelling_of_a_relation(phrase, relation):
    for verb in ("", "is ", "is sitting ", "sits "):
        scene = parse_prompt(f"a cat {verb}{phrase} a dog")
        assert [(r.subject, r.relation, r.object) for r in scene.relations] == [(0, relation, 1)]
        assert [spec.name for spec in scene.objects] == ["cat", "dog"]
        assert scene.unparsed == ()


def test_the_phrase_of_the_prompt_is_kept():
    assert parse_prompt("a cat beside a dog").relations[0].phrase == "beside"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a traffic light", ["1 traffic light"]),
        ("two wine glasses and a cell phone", ["2 wine glass", "1 cell phone"]),
        ("three people, 2 mice and twelve knives", ["3 person", "2 mouse", "12 knife"]),
        ("a dozen sheep", ["12 sheep"]),
        ("several dogs", ["? dog"]),
        ("dogs", ["? dog"]),
        ("the brown shoes", ["? brown shoe"]),
        ("a pair of scissors", ["1 scissors"]),
        ("a couple of cows", ["2 cow"]),
        ("a group of people", ["? person"]),
        ("a glass of water", ["1 glass (of water)"]),
        ("a small red wooden chair", ["1 red chair (small wooden)"]),
        ("a big, fluffy cat", ["1 cat (big fluffy)"]),
        ("a red and white umbrella", ["1 red umbrella (white)"]),
        ("a grey cat", ["1 gray cat"]),
        ("a photo of an orange", ["1 orange"]),
        ("an orange cat and an orange", ["1 orange cat", "1 orange"]),
        ("a hot dog", ["1 hot dog"]),
        ("a potted plant", ["1 potted plant"]),
        ("a glass shelf", ["1 shelf (glass)"]),
        ("a zorblat next to a flimmering quux", ["1 zorblat", "1 quux (flimmering)"]),
        ("a vase is red and the table is blue", ["1 red vase", "1 blue table"]),
        ("a room without a chair", ["1 room", "0 chair"]),
        ("no dogs", ["0 dog"]),
        ("forty-two dogs", ["42 dog"]),
        ("dull gray thorns", ["? gray thorn (dull)"]),
        ("a bathroom has a toilet", ["1 bathroom", "1 toilet"]),
    ],
)
def test_noun_phrases(text, expected):
    assert objects(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a cat and a dog on a bench", ["cat on bench", "dog on bench"]),
        ("a cup on a table to the left of a lamp", ["cup on table", "cup left of lamp"]),
        ("the cup on the table is next to the lamp", ["cup on table", "cup next to lamp"]),
        ("a dog is sitting under the table", ["dog under table"]),
        ("there are two birds above the boat", ["bird above boat"]),
        ("a dog left of and above a cat", ["dog left of cat", "dog above cat"]),
        ("a cat left of a dog and above a bird", ["cat left of dog", "cat above bird"]),
        ("a cat on a mat and a dog on a sofa", ["cat on mat", "dog on sofa"]),
        ("a cat on a mat and a dog", ["cat on mat"]),
        ("To the left of the dog is a cat.", ["cat left of dog"]),
        ("on a table, there are two cups and a plate", ["cup on table", "plate on table"]),
        (
            "a cat between a dog and a bird",
            ["cat next to dog", "cat next to bird", "cat between dog"],
        ),
        ("a table with a lamp on it", ["lamp on table"]),
        ("a dog with a ball to its left", ["ball left of dog"]),
        ("The cat is on the mat. The dog is next to the cat.", ["cat on mat", "dog next to cat"]),
        ("a microwave in front of a microwave", ["microwave in front of microwave"]),
        ("a book to the upper left of a cup", ["book above cup", "book left of cup"]),
        ("a dog with a ball, and a cat on a chair", ["cat on chair"]),
        ("a table with a lamp and a cup on it", ["lamp on table", "cup on table"]),
        ("A dog on the sofa, a cat under it.", ["dog on sofa", "cat under sofa"]),
        ("on the table is a cup, and under it is a dog", ["cup on table", "dog under table"]),
        (
            "a dog and a cat side by side on a sofa",
            ["dog next to cat", "dog on sofa", "cat on sofa"],
        ),
        ("a dog and a cat next to each other", ["dog next to cat"]),
        ("an elephant between two trees", ["elephant next to tree", "elephant between tree"]),
        ("soft clouds float above the mountains", ["cloud above mountain"]),
        (
            "a cat that is left of a dog which is left of a bird",
            ["cat left of dog", "dog left of bird"],
        ),
        ("two birds swam near one boat in the pond", ["bird near boat", "bird in pond"]),
    ],
)
def test_who_stands_where(text, expected):
    assert relations(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a cat in the top left corner", ["1 cat @top left"]),
        ("a bus in the background centre", ["1 bus @background center"]),
        ("a cat on the left, a dog on the right", ["1 cat @left", "1 dog @right"]),
        ("On the left is a dog and on the right is a cat", ["1 dog @left", "1 cat @right"]),
        ("a cat at the bottom of the image", ["1 cat @bottom"]),
        ("a cat in the upper-right corner and a dog", ["1 cat @top right", "1 dog"]),
    ],
)
def test_places_in_the_picture(text, expected):
    assert objects(text) == expected
    assert parse_prompt(text).unparsed == ()


@pytest.mark.parametrize(
    ("text", "unparsed"),
    [
        ("a man washing a horse", "washing"),
        ("five giraffes roamed the safari", "roamed"),
        ("a dog chased by a cat", "chased by"),
        ("a cat taller than a dog", "taller than"),
        ("a cat in the", "in"),
        ("a cat underneath and a dog", "underneath"),
        ("there is no cat on the sofa", "on"),
        ("a dog next to each other", "next to each other"),
        ("a dog running around a table", "around"),
    ],
)
def test_what_is_not_read_is_listed_and_gives_no_relation(text, unparsed):
    scene = parse_prompt(text)
    assert unparsed in scene.unparsed
    assert scene.relations == ()


def test_a_contradiction_is_named():
    scene = parse_prompt("a cat left of a dog and right of the dog")
    assert scene.unparsed == ("contradiction: cat left of dog, cat right of dog",)


@pytest.mark.parametrize(
    "prefix", ["a photo of ", "A photo of ", "an oil painting of ", "this is a picture showing "]
)
def test_what_kind_of_picture_it_is_does_not_matter(prefix):
    assert parse_prompt(prefix + "a cat above a dog") == parse_prompt("a cat above a dog")


def test_an_empty_prompt_is_refused():
    with pytest.raises(InputError, match="empty prompt"):
        parse_prompt(" \n")


def test_every_sr2d_prompt_is_read_as_it_was_built():
    for prompt in sr2d()[::7]:
        scene = parse_prompt(prompt.text)
        assert scene == prompt.scene, prompt.text


WORDS = """a the two red cat dogs on left of to and , . with is sitting it not in top corner between
there glass pair orange 7 running of image without next which"""


@settings(deadline=None)
@given(st.lists(st.sampled_from(WORDS.split()), min_size=1, max_size=14))
def test_no_order_of_words_breaks_it(words):
    text = " ".join(words)
    assert parse_prompt(text) == parse_prompt(text)


@settings(deadline=None)
@given(st.text(min_size=1).filter(lambda text: any(c.isalnum() for c in text)))
def test_no_text_breaks_it(text):
    parse_prompt(text)


@pytest.mark.parametrize(
    ("text", "unread"),
    [
        ("a chair upside down", "upside down"),
        ("an upside-down car on a road", "upside-down"),
        ("two chairs back to back", "back to back"),
        ("two rams face-to-face", "face-to-face"),
        ("geese in formation above a lake", "in formation"),
        ("a cup diagonally left of a plate", "diagonally"),
        ("a house with trees on all four sides", "on all four sides"),
        ("one lamp on either side of a bed", "one lamp on either side"),
        ("the second cat from the left is black", "the second cat from the left"),
        ("three balls with the middle one red", "with the middle one"),
        ("all but one of the cups are red", "all but one"),
        ("only one of the two cats is on the sofa", "only one of"),
        ("between three and five birds on a wire", "between three and five birds"),
        ("three to five birds on a wire", "three to five birds"),
        ("2 or 3 apples on a plate", "2 or 3 apples"),
        ("a park with no dog anywhere", "no dog anywhere"),
        ("hardly any birds above the house", "hardly any"),
        ("a cat nowhere near a dog", "nowhere near"),
        ("a cat nearly touching a dog", "nearly touching"),
        ("a dog within a foot of a cat", "within a foot of"),
        ("a dog facing away from the camera", "facing away from the camera"),
    ],
)
def test_how_things_lie_is_never_left_out_silently(text, unread):
    assert unread in parse_prompt(text).unparsed


@pytest.mark.parametrize(
    "text",
    [
        "a cat between two dogs",
        "a ball between a cup and a plate",
        "one dog to the left of a cat",
        "a man on the other side of the road",
        "a fork on one side of a plate",
        "two lamps on either side of a bed",
        "a bottle and two cups",
    ],
)
def test_what_is_read_is_not_said_to_be_unread(text):
    assert parse_prompt(text).unparsed == ()
