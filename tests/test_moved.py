"""Old import paths work for one release, and say where things are now."""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import t2i_spatial
from t2i_spatial._moved import MOVED, RENAMED

PACKAGE = Path(t2i_spatial.__file__).parent


@pytest.fixture
def fresh():
    """No old module is imported, before and after."""
    for name in MOVED:
        sys.modules.pop(f"t2i_spatial.{name}", None)
    yield
    for name in MOVED:
        sys.modules.pop(f"t2i_spatial.{name}", None)


@pytest.mark.parametrize(
    "old", ["api", "metrics.protocol", "metrics.statistics", "rewards.core", "curation.pipeline"]
)
def test_an_old_module_hands_out_what_the_new_one_has(fresh, old):
    with pytest.warns(DeprecationWarning, match=rf"t2i_spatial\.{old} is now t2i_spatial\."):
        module = importlib.import_module(f"t2i_spatial.{old}")
    new = importlib.import_module(f"t2i_spatial.{MOVED[old]}")
    public = [name for name in vars(new) if not name.startswith("_")]
    assert public
    assert all(getattr(module, name) is getattr(new, name) for name in public)


def test_a_class_that_was_renamed_is_the_same_class_and_pickles(fresh):
    with pytest.warns(DeprecationWarning):
        from t2i_spatial.metrics.protocol import Protocol  # type: ignore[import-not-found]
    from t2i_spatial.metrics.base import Metric

    assert Protocol is Metric
    assert pickle.loads(pickle.dumps(Protocol)) is Metric  # noqa: S301


def test_the_warning_points_at_the_importing_line_and_comes_once():
    lines = "import t2i_spatial\n\nfrom t2i_spatial.api import score\nimport t2i_spatial.api\n"
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", lines],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.count("DeprecationWarning") == 1
    assert "<string>:3: DeprecationWarning: t2i_spatial.api is now" in done.stderr


def test_a_misspelt_name_is_still_an_error(fresh):
    with pytest.warns(DeprecationWarning):
        module = importlib.import_module("t2i_spatial.api")
    with pytest.raises(AttributeError, match="scores"):
        module.scores  # noqa: B018
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("t2i_spatial.apis")


def test_every_old_place_is_empty_and_every_new_one_is_there():
    for old, new in MOVED.items():
        assert not (PACKAGE / f"{old.replace('.', '/')}.py").exists(), old
        assert importlib.util.find_spec(f"t2i_spatial.{new}"), new
        parent = old.rpartition(".")[0]
        assert not parent or importlib.util.find_spec(f"t2i_spatial.{parent}"), old
    for old, names in RENAMED.items():
        new = importlib.import_module(f"t2i_spatial.{MOVED[old]}")
        assert [name for name in names.values() if not hasattr(new, name)] == []
