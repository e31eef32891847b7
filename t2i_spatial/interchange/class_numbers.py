"""What class numbers mean: COCO's 80 or 91 classes, or a list that the user names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from t2i_spatial.errors import InputError

_UNUSED_OF_91 = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
"""Numbers of COCO's 91 classes that no published annotation has."""


def coco_classes(kind: int) -> dict[int, str]:
    """COCO's names by number: 80 classes from 0 without gaps, or 91 from 1 with ten gaps.

    >>> coco_classes(80)[79], coco_classes(91)[90], len(coco_classes(91))
    ('toothbrush', 'toothbrush', 80)
    """
    from t2i_spatial.prompts.sr2d import COCO_NAMES as names

    if kind == 80:
        return dict(enumerate(names))
    numbers = (number for number in range(1, 91) if number not in _UNUSED_OF_91)
    return dict(zip(numbers, names, strict=True))


def classes_of(numbers: Iterable[int], what: str) -> Mapping[int, str]:
    """COCO's classes for the numbers of a file that names none, where only one numbering fits.

    Raises:
        InputError: the numbers fit both numberings, or neither.
    """
    seen = set(numbers)
    fitting = [kind for kind in (80, 91) if seen <= set(coco_classes(kind))]
    if len(fitting) == 1:
        return coco_classes(fitting[0])
    shown = ", ".join(map(str, sorted(seen, key=str)[:5]))
    why = "both COCO's 80 and its 91 classes" if fitting else "no list of COCO's classes"
    raise InputError(
        f"{what}: the classes are numbers ({shown}) that fit {why}; say what they mean: --classes "
        "coco80 (from 0), coco91 (from 1, with gaps), or a file with one name per line, the first "
        "being number 0"
    )


def read_classes(text: str) -> dict[int, str]:
    """Classes by number from "coco80", "coco91" or a file with one name per line, from 0.

    Raises:
        InputError: no such file, or one without names.
    """
    if text in ("coco80", "coco91"):
        return coco_classes(int(text[4:]))
    from t2i_spatial.incoming import read_text

    names = [line.strip() for line in read_text(text, "file of classes").splitlines()]
    if not any(names):
        raise InputError(f"{text} has no names of classes")
    return dict(enumerate(names))
