from __future__ import annotations

import pytest

from t2i_spatial.detectors import resolve_detector
from t2i_spatial.devices import automatic_batch_size, check_device, is_out_of_memory
from t2i_spatial.errors import InputError, ModelLoadError


def test_a_device_that_is_not_there_is_named():
    check_device("cpu")
    with pytest.raises(InputError, match="'tpu:7' cannot be used"):
        check_device("tpu:7")


def test_on_the_cpu_nothing_is_tried_out():
    def never(_count):
        raise AssertionError("worked")

    assert automatic_batch_size("cpu", never) >= 1


def test_memory_errors_are_told_from_others():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate"))
    assert not is_out_of_memory(RuntimeError("shapes differ"))


def test_a_misspelt_detector_is_not_looked_for_on_the_hub():
    with pytest.raises(ModelLoadError, match="no detector 'bundeld'; did you mean 'bundled'"):
        resolve_detector("bundeld")
