"""VISOR: the order of the centres."""

from __future__ import annotations

import numpy as np

from t2i_spatial.metrics.geometry import Bools, Floats
from t2i_spatial.metrics.relations import Pairs, relation_rule


@relation_rule("visor", "left of")
def _visor_left(pairs: Pairs) -> Floats:
    return _number(pairs.subject.centre_x < pairs.object.centre_x)


@relation_rule("visor", "right of")
def _visor_right(pairs: Pairs) -> Floats:
    return _number(pairs.subject.centre_x > pairs.object.centre_x)


@relation_rule("visor", "above")
def _visor_above(pairs: Pairs) -> Floats:
    return _number(pairs.subject.centre_y < pairs.object.centre_y)


@relation_rule("visor", "below")
def _visor_below(pairs: Pairs) -> Floats:
    return _number(pairs.subject.centre_y > pairs.object.centre_y)


def _number(holds: Bools) -> Floats:
    return holds.astype(np.float64)
