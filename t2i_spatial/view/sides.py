"""What several tables say of the same image: two runs, or several protocols."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from t2i_spatial.view.index import Codes, Column, Index, Rows, align, key_of

FLIP_NAMES = ("lost", "gained", "both wrong", "both right", "undecided", "only here")
"""`lost`: right here and wrong in the other run. In the order in which they are shown."""
WITNESS_NAMES = ("disagree", "agree", "one witness")
_RIGHT, _WRONG, _UNSCORED = 0, 1, 3


def partners(here: Index, there: Index) -> Rows:
    """Row of the other run with the same prompt (id and text) and sample; -1 without one."""
    mine = pl.DataFrame({"id": here.prompts.ids, "text": here.prompts.texts})
    mine = mine.with_row_index("mine").unique(["id", "text"])
    both = (
        pl.DataFrame({"id": there.prompts.ids, "text": there.prompts.texts})
        .join(mine, on=["id", "text"], how="left", maintain_order="left")["mine"]
        .cast(pl.Int32)
        .fill_null(-2)
        .to_numpy()
    )
    place = np.append(both, np.int32(-2))[there.prompt]
    return align(here.keys, key_of(place.astype(np.int32), there.sample))


def flips(here: Index, there: Index, rows: Rows) -> Column:
    """How the verdicts of two runs differ; `rows` are the `partners`."""
    a = here.columns["verdict"].codes
    b = np.append(there.columns["verdict"].codes, np.int32(_UNSCORED))[rows]
    code = np.full(len(a), FLIP_NAMES.index("undecided"), dtype=np.int32)
    for mine, other, name in (
        (_RIGHT, _WRONG, "lost"),
        (_WRONG, _RIGHT, "gained"),
        (_WRONG, _WRONG, "both wrong"),
        (_RIGHT, _RIGHT, "both right"),
    ):
        code[(a == mine) & (b == other)] = FLIP_NAMES.index(name)
    code[rows < 0] = FLIP_NAMES.index("only here")
    return Column(FLIP_NAMES, code)


def witnesses(index: Index, others: Sequence[Index], ambiguous: str = "ambiguous") -> Column:
    """Whether all that say right or wrong of an image say the same.

    An image of which detectors disagree (status `ambiguous`) counts as one where they do.
    """
    rights = np.zeros(len(index), dtype=np.int32)
    wrongs = np.zeros(len(index), dtype=np.int32)
    torn = np.zeros(len(index), dtype=bool)
    for other in (index, *others):
        rows = align(index.keys, other.keys)
        said = np.append(other.columns["verdict"].codes, np.int32(_UNSCORED))[rows]
        rights += said == _RIGHT
        wrongs += said == _WRONG
        status = other.columns["status"]
        if ambiguous in status.names:
            codes: Codes = np.append(status.codes, np.int32(-1))[rows]
            torn |= codes == status.names.index(ambiguous)
    code = np.where(torn | ((rights > 0) & (wrongs > 0)), 0, np.where(rights + wrongs > 1, 1, 2))
    code[(rights + wrongs == 0) & ~torn] = -1
    return Column(WITNESS_NAMES, code.astype(np.int32))
