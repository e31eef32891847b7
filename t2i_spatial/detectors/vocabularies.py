"""Lists of names to ask of every image, whatever its prompt says."""

from __future__ import annotations

from pathlib import Path

from t2i_spatial.errors import InputError
from t2i_spatial.incoming import read_text

GENEVAL_NAMES = {"mouse": "computer mouse", "remote": "tv remote", "keyboard": "computer keyboard"}
"""GenEval's own spelling of three COCO classes (prompts/object_names.txt); the rest are COCO's."""


def coco_names() -> tuple[str, ...]:
    """The 80 COCO classes in COCO order.

    >>> coco_names()[0], len(coco_names())
    ('person', 80)
    """
    from t2i_spatial.prompts.sr2d import COCO_NAMES

    return COCO_NAMES


def read_vocabulary(text: str) -> tuple[str, ...]:
    """Distinct names from "coco", a file with one per line, or a comma-separated list.

    >>> read_vocabulary("cat, dog,cat")
    ('cat', 'dog')

    Raises:
        InputError: there are none, or no such file.
    """
    if text == "coco":
        return coco_names()
    path = Path(text)
    named = "," not in text and (path.suffix in (".txt", ".csv", ".lst") or path.name != text)
    if path.is_file() or named:  # a missing file must not become a noun that nothing is
        parts = read_text(path, "vocabulary file").splitlines()
    else:
        parts = text.split(",")
    names = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if not names:
        raise InputError(f"the vocabulary {text!r} has no names")
    return names
