"""Options made from the fields of a settings class, and what all commands share."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import click
from click.core import ParameterSource
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from t2i_spatial.locations import is_remote, is_url, locate
from t2i_spatial.progress import note, set_quiet, set_verbose
from t2i_spatial.settings import Anywhere, Option, dtype_name

Model = TypeVar("Model", bound=BaseModel)
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_SENTENCE_END = re.compile(r"(?<!e\.g)\.(?=\s|$)")


class Place(click.Path):
    """A path of this machine or, unless it must be `local`, the URL of a store."""

    def __init__(self, *, local: bool = False, **checks: bool) -> None:
        super().__init__(path_type=Path, **checks)
        self.local = local

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The place, if it may be one and is there where it must."""
        if not is_url(value):
            return super().convert(value, param, ctx)
        if self.local:
            self.fail(f"{value} must be on this machine; copy it here first", param, ctx)
        place = locate(str(value))
        if not is_remote(place):
            return super().convert(place, param, ctx)
        if self.exists and not place.exists():
            self.fail(f"{value} does not exist", param, ctx)
        return place


FILE = Place(exists=True, dir_okay=False)
FOLDER = Place(exists=True, file_okay=False)
NEW_FILE = Place(dir_okay=False, allow_dash=True)
NEW_FOLDER = Place(file_okay=False)
PLACE = Place()
LOCAL_FOLDER = Place(local=True, file_okay=False)
"""A new folder of this machine, for what keeps files open or renames them."""

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print results as JSON.")
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Make anew what other settings have made."
)


def settings_options(
    model: type[BaseModel],
    *,
    only: Iterable[str] = (),
    without: Iterable[str] = (),
    prefix: str = "",
) -> Decorator:
    """Add one option per field, with its default, bounds and description.

    The command receives every value under the name of its field; `given` picks those that the
    user named, so that the class itself fills in the rest.

    Args:
        only, without: fields to add, by default all; fields to leave out.
        prefix: put before every help text, such as "With --images: ".
    """
    only, without = tuple(only), set(without)
    names = [name for name in only or model.model_fields if name not in without]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(names):
            command = _option(name, model.model_fields[name], prefix)(command)
        return command

    return decorate


def given(model: type[Model], values: Mapping[str, Any], **others: Any) -> Model:
    """The settings that the options mean; fields that nobody named keep the class's default."""
    context = click.get_current_context()
    named = {
        name: value
        for name, value in values.items()
        if name in model.model_fields and was_given(context, name)
    }
    return model(**{**named, **others})


def was_given(context: click.Context, name: str) -> bool:
    """Whether an option was on the command line or in the environment."""
    return context.get_parameter_source(name) not in (
        None,
        ParameterSource.DEFAULT,
        ParameterSource.DEFAULT_MAP,
    )


def refuse_given(names: Iterable[str], reason: str) -> None:
    """Refuse options that would have no effect.

    Raises:
        click.UsageError: one of them was given.
    """
    context = click.get_current_context()
    for parameter in context.command.params:
        if parameter.name in names and was_given(context, str(parameter.name)):
            flag = max(parameter.opts, key=len)
            raise click.UsageError(f"{flag} has no effect here: {reason}")


class Command(click.Command):
    """A command that takes -q and -v anywhere, and its former spellings with a line of warning."""

    def __init__(
        self, *arguments: Any, renamed: Mapping[str, str] | None = None, **settings: Any
    ) -> None:
        super().__init__(*arguments, **settings)
        self.renamed = dict(renamed or {})
        self.params += [
            click.Option(
                ["-q", "--quiet"],
                is_flag=True,
                expose_value=False,
                callback=_set(set_quiet),
                help="No progress and notes on stderr.",
            ),
            click.Option(
                ["-v", "--verbose"],
                is_flag=True,
                expose_value=False,
                callback=_set(set_verbose),
                help="Messages of the libraries, and where an error came from.",
            ),
        ]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put today's spelling in place of a former one."""
        end = args.index("--") if "--" in args else len(args)
        return super().parse_args(ctx, [*map(self._today, args[:end]), *args[end:]])

    def _today(self, argument: str) -> str:
        flag, equals, value = argument.partition("=")
        if flag not in self.renamed:
            return argument
        note(f"{flag} is now called {self.renamed[flag]}")
        return f"{self.renamed[flag]}{equals}{value}"


def _set(switch: Callable[[bool], None]) -> Callable[..., None]:
    def apply(_context: click.Context, _parameter: click.Parameter, value: bool) -> None:
        if value:  # `t2i-spatial -q detect` has set it already
            switch(True)

    return apply


def _option(name: str, field: FieldInfo, prefix: str) -> Decorator:
    spelt = next((m for m in field.metadata if isinstance(m, Option)), Option())
    kind = _plain(field.annotation)
    flag = "--" + name.replace("_", "-")
    extra: dict[str, Any] = {}
    if kind is bool:
        if field.default is None:
            flag = f"{flag}/--no-{flag[2:]}"
        else:
            extra["is_flag"] = True
    elif get_origin(kind) in (tuple, dict) and spelt.repeatable:
        flag = flag.removesuffix("s")
        extra |= {"multiple": True, "metavar": spelt.metavar}
        if get_origin(kind) is dict:
            extra |= {"metavar": "KEY=VALUE", "callback": mapping_of}
    else:
        extra |= {"type": _type(kind, field, spelt), "metavar": spelt.metavar}
    text = f"{prefix}{field.description or ''}"
    if extra.get("multiple"):
        text = _SENTENCE_END.sub("; may be repeated.", text, count=1)
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    if default not in (None, "", {}) and (default != () or extra.get("multiple")):
        extra["default"] = list(default) if isinstance(default, tuple) else default
    elif kind is bool:
        extra["default"] = None
    if "default" not in extra and "is_flag" not in extra and "[default" not in text:
        text += "  [default: none]"
    return click.option(*(spelt.flags or (flag,)), name, help=text, **extra)


def _plain(annotation: Any) -> Any:
    """The kind of value without `None` and notes; a union is kept only if it is a real one."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        options = [a for a in get_args(annotation) if a is not type(None)]
        return _plain(options[0]) if len(options) == 1 else annotation
    return annotation


def _type(kind: Any, field: FieldInfo, spelt: Option) -> Any:
    if get_origin(kind) is Literal:
        return _Choice([str(value) for value in get_args(kind)])
    if kind in (int, float):
        return _range(kind, field)
    if isinstance(kind, type) and issubclass(kind, Path):
        return Place(local=not _anywhere(field))
    return str


def _anywhere(field: FieldInfo) -> bool:
    """Whether a field is a `Location`, or one and nothing."""
    inner = [mark for part in get_args(field.annotation) for mark in get_args(part)]
    return any(isinstance(mark, Anywhere) for mark in (*field.metadata, *inner))


def _range(kind: type, field: FieldInfo) -> Any:
    """A number within the bounds of a field; those of a union stand in its first alternative."""
    bounds: dict[str, Any] = {}
    for entry in field.metadata:
        for end, side, is_open in (
            ("ge", "min", False),
            ("gt", "min", True),
            ("le", "max", False),
            ("lt", "max", True),
        ):
            if (value := getattr(entry, end, None)) is not None:
                # a seed below 2**63 reads better as at most 2**63 - 1
                closed = is_open and kind is int
                bounds[side] = value + (1 if side == "min" else -1) * closed
                if kind is float:
                    bounds[f"{side}_open"] = is_open
    if not bounds:
        return kind
    return click.IntRange(**bounds) if kind is int else click.FloatRange(**bounds)


class _Choice(click.Choice):  # type: ignore[type-arg,unused-ignore]
    """A choice that also takes the short names of number formats."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(dtype_name(value), param, ctx)


def mapping_of(
    _context: click.Context, _parameter: click.Parameter, entries: Sequence[str]
) -> dict[str, str]:
    """The entries KEY=VALUE of an option that may be repeated."""
    if wrong := [entry for entry in entries if "=" not in entry]:
        raise click.BadParameter(f"{wrong[0]!r} is not KEY=VALUE")
    return dict(entry.split("=", 1) for entry in entries)
