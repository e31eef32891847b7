"""Does a colour expert's word for a box answer the colour that a prompt asks for?

The experts know GenEval's ten words, `color_pixels` gray too. People ask for more: what the expert
cannot have seen is neither right nor wrong.
"""

from __future__ import annotations

import functools

from t2i_spatial.prompts.words import word_set
from t2i_spatial.scene import COLORS

_SPELLINGS = {"grey": "gray"}
_TONES = word_set(
    "dark light bright pale deep vivid pastel neon hot soft muted dull rich baby sky navy royal "
    "forest lime olive mint blood cherry cream lemon ruby rose midnight electric"
)
"""Words before a colour that make it a shade of it."""

_NEIGHBOURS = {
    "gray": frozenset({"black", "white", "blue", "brown"}),
    "red": frozenset({"pink", "brown", "orange", "black"}),
    "orange": frozenset({"red", "yellow", "brown"}),
    "yellow": frozenset({"orange", "green", "white", "brown"}),
    "green": frozenset({"yellow", "blue", "black", "white"}),
    "blue": frozenset({"purple", "green", "black", "white"}),
    "purple": frozenset({"pink", "blue", "black", "red"}),
    "pink": frozenset({"red", "purple", "white", "orange"}),
    "brown": frozenset({"red", "orange", "black", "yellow"}),
    "black": frozenset({"gray", "brown", "blue"}),
    "white": frozenset({"gray", "yellow"}),
}
"""What an expert may call a shade of a colour, or a colour that it has no word for."""


@functools.cache
def plain_color(word: str) -> str:
    """A colour word in its one spelling.

    >>> plain_color("Grey"), plain_color("dark-red colored")
    ('gray', 'dark red')
    """
    words = word.lower().replace("-", " ").replace("_", " ").split()
    kept = [w for w in words if w not in ("colored", "coloured", "color", "colour")]
    return " ".join(_SPELLINGS.get(w, w) for w in kept)


@functools.cache
def color_fit(asked: str, seen: str) -> bool | None:
    """Whether a box that an expert calls `seen` has the colour `asked`; `None`: it cannot tell.

    One of the ten words is judged as it is. A shade ("dark red") cannot be confirmed, but another
    colour than it may pass for is wrong; so is gray, which not every expert has a word for. Of
    several colours, and of words that no expert knows ("silver", "beige"), nothing is said.

    >>> color_fit("Red", "red"), color_fit("red", "pink"), color_fit("dark red", "red")
    (True, False, None)
    >>> color_fit("dark red", "green"), color_fit("grey", "gray"), color_fit("gold", "yellow")
    (False, True, None)
    """
    wanted, found = plain_color(asked), plain_color(seen)
    if wanted == found:
        return True
    if wanted in COLORS:
        return False
    *tones, base = wanted.split() or [""]
    if base not in _NEIGHBOURS or not _TONES.issuperset(tones):
        return None
    if found not in _NEIGHBOURS or found == base or found in _NEIGHBOURS[base]:
        return None
    return False
