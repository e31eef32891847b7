"""Registries: one decorator in one new file adds a protocol, detector, filter or exporter.

The name stands in one place: a class that registers gets it as its `name`.

In-tree entries are found by importing the modules of the registry's room and of the rooms in it;
out-of-tree ones by an entry-point group of the same name (`t2i_spatial.metrics`,
`t2i_spatial.detectors`, ...), whose entry points name a module that registers on import, or the
object itself. One that cannot be loaded is left out with a warning.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Generic, TypeVar

from t2i_spatial.errors import InputError, nearest

T = TypeVar("T")


class Registry(Generic[T]):
    """Named entries of one kind.

    Args:
        kind: the word used in messages ("protocol").
        package: the room whose modules register entries; also the entry-point group.
        classes: entries are finished subclasses of one of these.
        instance: entries are objects of this class.
    """

    def __init__(
        self, kind: str, package: str, *, classes: tuple[type, ...] = (), instance: type = object
    ) -> None:
        self.kind = kind
        self.package = package
        self._classes = classes
        self._instance = instance
        self._entries: dict[str, T] = {}
        self._loaded = self._loading = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that adds an entry and gives a class its `name`.

        Raises:
            InputError: the object is of another kind than this registry's, another entry has this
                name, or the class states another one than this: its results would be published
                under a name that it is not found by.
        """

        def add(entry: T) -> T:
            self._check_kind(name, entry)
            if name in self._entries and self._entries[name] is not entry:
                raise InputError(f"{self.kind} {name!r} is registered twice")
            if isinstance(entry, type):
                own = vars(entry).get("name", name)
                if own != name:
                    raise InputError(
                        f"{self.kind} {name!r}: {entry.__qualname__} says that its name is "
                        f"{own!r}; leave `name` out of the class, registering sets it"
                    )
                entry.name = name  # type: ignore[attr-defined]
            self._entries[name] = entry
            return entry

        return add

    def _check_kind(self, name: str, entry: object) -> None:
        if not self._classes:
            fits, wanted = isinstance(entry, self._instance), f"a {self._instance.__name__}"
        else:
            fits = isinstance(entry, type) and issubclass(entry, self._classes)
            wanted = " or ".join(f"a subclass of {base.__name__}" for base in self._classes)
        if not fits:
            raise InputError(f"{self.kind} {name!r} must be {wanted}, got {entry!r}")
        if lacking := sorted(getattr(entry, "__abstractmethods__", ())):
            raise InputError(f"{self.kind} {name!r} does not define {', '.join(lacking)}")

    def __getitem__(self, name: str) -> T:
        self._load()
        if name not in self._entries:
            raise InputError(f"unknown {self.kind} {name!r}; {nearest(name, self._entries)}")
        return self._entries[name]

    def __contains__(self, name: str) -> bool:
        self._load()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._entries))

    def _load(self) -> None:
        if self._loaded or self._loading:
            return
        self._loading = True
        try:
            room = importlib.import_module(self.package)
            within = getattr(room, "__path__", ())
            for module in pkgutil.walk_packages(within, f"{self.package}."):
                importlib.import_module(module.name)
            for point in entry_points(group=self.package):
                self._load_point(point)
            self._loaded = True
        finally:
            self._loading = False

    def _load_point(self, point: EntryPoint) -> None:
        try:
            loaded = point.load()
            if not isinstance(loaded, ModuleType):
                self.register(point.name)(loaded)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - code of others; what they break is their own
            owner = f" of {point.dist.name}" if point.dist else ""
            told = f"{type(error).__name__}: {error}"
            print(
                f"warning: the {self.kind} {point.name!r}{owner} is left out, its entry point "
                f"{point.value!r} cannot be loaded ({told})",
                file=sys.stderr,
            )
