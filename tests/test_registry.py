from __future__ import annotations

import abc
import importlib
import sys

import pytest

from t2i_spatial.curation.exporter import EXPORTERS
from t2i_spatial.curation.filter import FILTERS
from t2i_spatial.detectors import DETECTORS
from t2i_spatial.errors import InputError
from t2i_spatial.interchange.readers import FORMATS as DETECTIONS
from t2i_spatial.interchange.vqa import VQA_SETS
from t2i_spatial.judges import JUDGES
from t2i_spatial.metrics.base import PROTOCOLS
from t2i_spatial.prompts.readers import FORMATS as PROMPTS
from t2i_spatial.registry import Registry
from t2i_spatial.relations import RELATION_TABLE


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


class Base(abc.ABC):
    @abc.abstractmethod
    def do(self): ...


class Whole(Base):
    def do(self): ...


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("made = 3", "thing 'made' must be a subclass of Base, got 3"),
        ("def made(): ...", "thing 'made' must be a subclass of Base, got <function made"),
        ("class made: ...", "must be a subclass of Base, got <class 'good_plugin.made'>"),
        ("from tests.test_registry import Whole\nmade = Whole()", "a subclass of Base, got <tests"),
        ("from tests.test_registry import Base\nclass made(Base): ...", "does not define do"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_plugin_of_the_wrong_kind_is_left_out_and_named(room, capsys, code, said):
    (room / "good_plugin.py").write_text(code)
    registry = Registry("thing", "a_room", classes=(Base,))
    registry.register("own")(Whole)
    assert list(registry) == ["own"]
    told = capsys.readouterr().err
    assert "the thing 'made' of good is left out" in told and said in told


def test_a_registry_of_objects_refuses_their_class(room, capsys):
    (room / "good_plugin.py").write_text("from tests.test_registry import Whole as made")
    registry = Registry("thing", "a_room", instance=Whole)
    registry.register("own")(Whole())
    assert list(registry) == ["own"]
    assert "must be a Whole, got <class" in capsys.readouterr().err


def test_a_plugin_that_takes_a_name_of_ours_is_told(room, capsys):
    registry = Registry("thing", "a_room")
    own = registry.register("made")(lambda: None)
    assert registry["made"] is own
    assert "thing 'made' is registered twice" in capsys.readouterr().err


def test_every_registry_says_what_its_entries_are():
    for registry in (PROTOCOLS, DETECTORS, FILTERS, EXPORTERS, JUDGES, PROMPTS, DETECTIONS,
                     RELATION_TABLE, VQA_SETS):  # fmt: skip
        before = list(registry)
        for odd in (3, object, lambda: None):
            with pytest.raises(InputError, match=f"{registry.kind} 'odd' must be"):
                registry.register("odd")(odd)
        assert list(registry) == before
