"""Which words name the same kind of object: an open alias table for matching labels.

The peers compare label strings; a prompt about a "sofa" then never matches a detector that says
"couch". `spatial` and the `_fixed` variants compare names through this table.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

from t2i_spatial.errors import InputError

_GROUPS: tuple[tuple[str, ...], ...] = (
    ("airplane", "aeroplane", "plane", "jet"),
    ("bag", "handbag", "purse"),
    ("bicycle", "bike"),
    ("boat", "ship"),
    ("car", "automobile"),
    ("cell phone", "cellphone", "mobile phone", "phone", "smartphone", "telephone"),
    ("computer", "desktop computer", "pc"),
    ("couch", "sofa", "loveseat"),
    ("cow", "cattle", "bull"),
    ("cup", "mug"),
    ("dining table", "table"),
    ("donut", "doughnut"),
    ("hair drier", "hair dryer", "blow dryer"),
    ("keyboard", "computer keyboard"),
    ("motorcycle", "motorbike"),
    ("mouse", "computer mouse"),
    ("person", "man", "woman", "boy", "girl", "people", "human"),
    ("picture", "painting", "picture frame", "frame"),
    ("potted plant", "houseplant", "plant"),
    ("refrigerator", "fridge"),
    ("remote", "tv remote", "remote control"),
    ("sneakers", "sneaker", "shoe"),
    ("sports ball", "ball"),
    ("stove", "gas stove"),
    ("suitcase", "luggage"),
    ("teddy bear", "teddy"),
    ("tie", "necktie"),
    ("tv", "television", "tv monitor", "telivision"),
    ("wallet", "billfold"),
)
PEER_WORDS = {
    "boy": "person",
    "girl": "person",
    "man": "person",
    "woman": "person",
    "ship": "boat",
    "telivision": "tv",
    "television": "tv",
    "goldfish": "fish",
    "painting": "picture",
}
"""T2I-CompBench's nouns -> the labels of its detector. A detector of ours is asked for the noun
itself and answers by it, so boxes of either name are meant: see `peer_names`."""

PEOPLE = frozenset(noun for noun, label in PEER_WORDS.items() if label == "person")

_CANONICAL = {name: group[0] for group in _GROUPS for name in group}


def add_aliases(*names: str) -> None:
    """Declare names of one kind of object; the first is the one the others are read as.

    Raises:
        InputError: fewer than two names, or one that already means something else.
    """
    words = [_plain(name) for name in names]
    if len(words) < 2:
        raise InputError("an alias needs at least two names")
    kind = _CANONICAL.get(words[0], words[0])
    for word in words:
        if _CANONICAL.get(word, kind) != kind:
            raise InputError(f"{word!r} already means {_CANONICAL[word]!r}")
    for word in words:
        _CANONICAL[word] = kind
    canonical_label.cache_clear()


@functools.cache
def canonical_label(label: str) -> str:
    """The name that all aliases share; an unknown label is its own.

    >>> canonical_label("Sofa"), canonical_label("traffic light")
    ('couch', 'traffic light')
    """
    word = _plain(label)
    return _CANONICAL.get(word, word)


def label_names(label: str) -> set[str]:
    """Everything a detector's label stands for: comma-joined synonyms, each canonical.

    >>> sorted(label_names("cattle, cow"))
    ['cow']
    """
    parts = (part.strip().rstrip("0123456789") for part in label.split(","))
    return {canonical_label(part) for part in parts if part}


def peer_names(noun: str, seen: set[str], words: Mapping[str, str] = PEER_WORDS) -> str:
    """The label by which T2I-CompBench's protocols look for a noun among those `seen` in an image.

    Its own detector says "person" for a man, and ours, asked for a man, "man". People are told
    apart where the detector tells them apart; of the other nouns the peer's label goes first.

    >>> peer_names("man", {"person"}), peer_names("man", {"man", "woman"})
    ('person', 'man')
    """
    label = words.get(noun, noun)
    if noun in seen and (noun in PEOPLE or label not in seen):
        return noun
    return label


def _plain(label: str) -> str:
    return " ".join(label.lower().replace("_", " ").split())
