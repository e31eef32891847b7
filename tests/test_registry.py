from __future__ import annotations

import importlib
import sys

import pytest

from t2i_spatial.errors import InputError
from t2i_spatial.registry import Registry


def distribution(folder, name, entry_points):
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[a_room]\n{entry_points}\n")


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A room of one module, and two distributions of others: the first is broken."""
    (tmp_path / "a_room").mkdir()
    (tmp_path / "a_room" / "__init__.py").write_text("")
    (tmp_path / "a_room" / "within.py").write_text("")
    (tmp_path / "good_plugin.py").write_text("def made(): ...\n")
    distribution(tmp_path, "a-broken", "zz = nope_pkg:Z\nyy = good_plugin:nothing")
    distribution(tmp_path, "good", "made = good_plugin:made")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("a_room", "a_room.within", "good_plugin"):
        sys.modules.pop(name, None)


def test_a_broken_entry_point_costs_its_own_entry_only_and_is_told_once(room, capsys):
    registry = Registry("thing", "a_room")
    assert list(registry) == ["made"]
    assert "zz" not in registry and "made" in registry
    first, second = sorted(capsys.readouterr().err.splitlines())
    assert first.startswith("warning: the thing 'yy' of a-broken is left out")
    assert "'zz' of a-broken" in second and "'nope_pkg:Z'" in second
    assert "No module named 'nope_pkg'" in second


def test_a_module_of_the_room_that_fails_fails_each_time(room):
    (room / "a_room" / "within.py").write_text("import nope_pkg")
    importlib.invalidate_caches()
    registry = Registry("thing", "a_room")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            list(registry)


def test_a_class_gets_the_name_it_is_registered_by():
    registry = Registry("thing", "a_room")

    @registry.register("first")
    class First: ...

    @registry.register("second")
    class Second(First): ...

    assert (First.name, Second.name) == ("first", "second")


def test_a_class_that_states_another_name_is_refused():
    registry = Registry("thing", "a_room")

    class Named:
        name = "other"

    with pytest.raises(InputError, match=r"thing 'mine': .*Named says that its name is 'other'"):
        registry.register("mine")(Named)
    registry.register("other")(Named)
    with pytest.raises(InputError, match="says that its name is 'other'"):
        registry.register("again")(Named)


def test_an_entry_point_of_another_name_than_its_class_is_left_out(room, capsys):
    (room / "good_plugin.py").write_text("class made:\n    name = 'other'\n")
    registry = Registry("thing", "a_room")
    assert list(registry) == []
    assert "says that its name is 'other'" in capsys.readouterr().err
