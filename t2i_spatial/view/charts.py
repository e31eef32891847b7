"""Numbers behind the plots: values by verdict, and stated chance against what people saw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from t2i_spatial.statistics.intervals import wilson
from t2i_spatial.view.index import VERDICT_NAMES, Floats, Index, Rows, align, key_of

BINS = 40
RELIABILITY_BINS = 10


def histogram(index: Index, rows: Rows, what: str = "value") -> dict[str, Any]:
    """Counts of `value` or `margin` in equal bins, one list per verdict.

    Bins span [0, 1] for values that lie there, and otherwise what there is; without any number
    there are no bins.
    """
    numbers: Floats = getattr(index, what)[rows]
    there = np.isfinite(numbers)
    codes, numbers = index.columns["verdict"].codes[rows][there], numbers[there]
    if not len(numbers):
        return {"what": what, "edges": [], "counts": {}, "without": len(rows)}
    low, high = float(numbers.min()), float(numbers.max())
    if what == "value" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1)
    counts = {
        name: np.histogram(numbers[codes == code], edges)[0].tolist()
        for code, name in enumerate(VERDICT_NAMES)
        if (codes == code).any()
    }
    return {
        "what": what,
        "edges": edges.tolist(),
        "counts": counts,
        "without": int((~there).sum()),
    }


def reliability(stated: Floats, seen: NDArray[np.bool_]) -> list[dict[str, float | int]]:
    """For each tenth of values: their mean, and how many of its images people call right.

    Args:
        stated: values in [0, 1], one per labelled image.
        seen: whether people call it right.

    Returns:
        One record per tenth that has any, with a Wilson interval of 95 %. The shares are of the
        labelled images, whichever way they were picked.
    """
    bins = np.minimum((stated * RELIABILITY_BINS).astype(np.int64), RELIABILITY_BINS - 1)
    found = []
    for k in np.unique(bins):
        inside = bins == k
        n, right = int(inside.sum()), int(seen[inside].sum())
        low, high = wilson(right / n, n)
        found.append(
            {
                "stated": float(stated[inside].mean()),
                "seen": right / n,
                "low": low,
                "high": high,
                "n": n,
            }
        )
    return found


def reliability_of(index: Index, people: Mapping[tuple[str, int], str]) -> dict[str, Any]:
    """`reliability` of the images that people were sure of, and a sentence on what it rests on.

    Args:
        people: prompt and sample -> "yes", "no" or "unsure".
    """
    if not people:
        return {"bins": [], "said": "Nobody has labelled images of this run yet: press l to begin."}
    table = pl.DataFrame(
        [(*key, said == "yes") for key, said in people.items() if said != "unsure"],
        schema={"prompt_id": pl.String, "sample": pl.Int32, "seen": pl.Boolean},
        orient="row",
    )
    ids = pl.DataFrame({"prompt_id": index.prompts.ids}).with_row_index("prompt")
    known = table.join(ids.unique("prompt_id"), on="prompt_id")
    keys = key_of(known["prompt"].cast(pl.Int32).to_numpy(), known["sample"].to_numpy())
    rows = align(keys, index.keys)
    stated = np.append(index.value, np.nan)[rows]
    usable = np.isfinite(stated) & (stated >= 0) & (stated <= 1)
    if not usable.any():
        return {"bins": [], "said": "No labelled image has a value between 0 and 1 here."}
    bins = reliability(stated[usable], known["seen"].to_numpy()[usable])
    unsure = sum(said == "unsure" for said in people.values())
    said = f"{int(usable.sum()):,} labelled images; {unsure:,} unsure ones are left out"
    return {"bins": bins, "said": said}
