"""The relation "level with": the middles of both objects at the same height."""

from __future__ import annotations

import numpy as np

from t2i_spatial.metrics import relation_rule
from t2i_spatial.metrics.geometry import Floats
from t2i_spatial.metrics.relations import Pairs
from t2i_spatial.relations import Relation

LEVEL = Relation(
    "level with",
    aliases=("at the same height as", "on a level with"),
    inverse="level with",
    axis=("y", 0),
    drawn=lambda one, other: (
        one[2] < other[0] and abs(one[1] + one[3] - other[1] - other[3]) < 0.02
    ),
)


@relation_rule("spatial", "level with")
def level(pairs: Pairs) -> Floats:
    """1 at the same height, 0.5 where the middles differ by a quarter of the mean height."""
    one, other = pairs.subject, pairs.object
    apart = np.abs((one.y1 + one.y2) - (other.y1 + other.y2)) / 2
    height = np.maximum((one.y2 - one.y1 + other.y2 - other.y1) / 2, 1e-9)
    return np.clip(1 - 2 * apart / height, 0, 1)
