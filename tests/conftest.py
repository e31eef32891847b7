"""No test reaches for a model hub; the switch must be set before huggingface_hub is imported."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest

from t2i_spatial.progress import set_quiet


@pytest.fixture(autouse=True)
def _notes_are_on() -> None:
    """`-q` of a command that a test called must not silence the next test."""
    set_quiet(False)
