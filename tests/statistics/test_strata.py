"""Weighted sums of separate groups."""

from __future__ import annotations

import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.statistics.intervals import Interval, ratio_interval
from t2i_spatial.statistics.strata import weighted_sum

NONE = Interval(None, None, None, 0, 0)


def test_one_part_keeps_its_interval():
    part = ratio_interval([1, 0, 1, 1], [1] * 4, range(4))
    found = weighted_sum([part], [1.0])
    assert (found.value, found.low, found.high) == pytest.approx((part.value, part.low, part.high))


def test_two_parts_are_surer_than_one_and_counts_add_up():
    part = Interval(0.9, 0.8, 0.95, 10, 20)
    found = weighted_sum([part, part], [0.5, 0.5])
    assert found.value == pytest.approx(0.9)
    assert found.value - found.low == pytest.approx(0.1 / 2**0.5)
    assert found.high - found.value == pytest.approx(0.05 / 2**0.5)
    assert (found.n_clusters, found.n) == (20, 40)


def test_a_part_that_is_undefined_makes_the_sum_undefined():
    assert weighted_sum([Interval(0.5, 0.4, 0.6, 3, 3), NONE], [0.5, 0.5]).value is None
    assert weighted_sum([], []).value is None
    for weights in ([0.5], [1.0, -1.0]):
        with pytest.raises(InputError, match="need as many weights"):
            weighted_sum([NONE, NONE], weights)
