"""No test reaches for a model hub; the switch must be set before huggingface_hub is imported."""

from __future__ import annotations

import os
import uuid

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
from hypothesis import settings

from t2i_spatial.progress import set_quiet

# a package of its own, which tests install elsewhere: reading it here would register its rules
collect_ignore = ["plugin_package"]

settings.register_profile("t2i-spatial", deadline=None)  # a busy machine is no bug
settings.load_profile("t2i-spatial")


@pytest.fixture(autouse=True)
def _data_of_nobody(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What a command keeps for its user stays within one test."""
    folder = tmp_path_factory.getbasetemp() / "data" / uuid.uuid4().hex
    monkeypatch.setenv("T2I_SPATIAL_DATA", str(folder))


@pytest.fixture(autouse=True)
def _notes_are_on() -> None:
    """`-q` of a command that a test called must not silence the next test."""
    set_quiet(False)
