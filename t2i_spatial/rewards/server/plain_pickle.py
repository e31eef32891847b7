"""Reads pickles that hold nothing but data, without the pickle machine.

A pickle is a program; `pickle.loads` runs it. This reader knows only the opcodes that build plain
containers, numbers, text and bytes. Names and calls are read where they spell bytes (protocol 2) or
a numpy scalar (`pickled_values`) and refused everywhere else; nothing is imported or called, so no
code of the sender can run.
"""

from __future__ import annotations

import io
import pickletools
from dataclasses import dataclass
from typing import Any

from t2i_spatial.errors import InputError
from t2i_spatial.rewards.server.pickled_values import Callee, Calls, Dtype, callee, set_order

MAX_OPCODES = 200_000
MAX_DEPTH = 16
MAX_TEXT = 1_000_000

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINUNICODE", "BINUNICODE8", "SHORT_BINUNICODE"),
    *("BINBYTES", "BINBYTES8", "SHORT_BINBYTES"),
}
_EMPTY: dict[str, type] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()


def loads_plain(data: bytes, *, max_opcodes: int = MAX_OPCODES, max_depth: int = MAX_DEPTH) -> Any:
    """The value of a binary pickle (protocol 2 to 5) of plain data.

    Args:
        max_opcodes: longest program, and most values in what it builds (shared ones count each
            time they are reached, so that nested sharing cannot blow up).
        max_depth: deepest nesting; also what ends self-containing lists.

    Scalars of numpy come back as Python's. Texts have at most a million characters together, shared
    ones counted each time, and keys are texts: keys of the sender's choice that are numbers could
    all fall into one place of a dict.

    >>> import pickle
    >>> loads_plain(pickle.dumps({"a": [1, 2.5, None, True, "x", b"y"]}))
    {'a': [1, 2.5, None, True, 'x', b'y']}

    Raises:
        InputError: any other opcode, a broken program, or a limit exceeded.
    """
    try:
        value = _run(data, max_opcodes)
    except (ValueError, IndexError, TypeError, KeyError, UnicodeDecodeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"not a readable pickle of plain data ({error})") from None
    return _copy(value, max_depth, _Left(max_opcodes, MAX_TEXT))


def _run(data: bytes, max_opcodes: int) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    calls = Calls(2 * len(data))
    program = pickletools.genops(io.BytesIO(data))
    for count, (opcode, argument, _) in enumerate(program):
        name = opcode.name
        if count >= max_opcodes:
            raise InputError(f"a pickle of more than {max_opcodes:,} steps")
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            stack[-_TUPLES[name] :] = [tuple(_top(stack, _TUPLES[name]))]
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "TUPLE":
            items = _to_mark(stack)
            stack.append(tuple(items))
        elif name in ("APPEND", "APPENDS"):
            items = [_pop(stack)] if name == "APPEND" else _to_mark(stack)
            _target(stack, list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [_pop(stack), _pop(stack)][::-1] if name == "SETITEM" else _to_mark(stack)
            if len(items) % 2 or not all(isinstance(k, str) for k in items[::2]):
                raise InputError("a pickle whose mapping has keys that are no texts")
            _target(stack, dict).update(zip(items[::2], items[1::2], strict=True))
        elif name == "MEMOIZE":
            memo[len(memo)] = _top(stack, 1)[0]
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[_index(argument)] = _top(stack, 1)[0]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[_index(argument)])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            stack.append(callee(*_named(stack, argument)))
        elif name == "REDUCE":
            arguments, called = _pop(stack), _pop(stack)
            stack.append(calls.value(called, arguments))
        elif name == "BUILD":
            state = _pop(stack)
            set_order(_top(stack, 1)[0], state)
        elif name == "STOP":
            value = _pop(stack)
            if stack:
                raise InputError("a pickle that leaves values behind")
            return value
        elif name not in ("PROTO", "FRAME"):
            raise InputError(f"a pickle with the step {name}; only plain data is read, never code")
    raise InputError("a pickle without an end")


def _named(stack: list[Any], argument: Any) -> tuple[Any, Any]:
    """Module and name: those of GLOBAL, or what STACK_GLOBAL takes from the stack."""
    if argument is not None:
        module, _, name = argument.partition(" ")
        return module, name
    name, module = _pop(stack), _pop(stack)
    return module, name


def _index(argument: Any) -> int:
    return int(argument)


def _top(stack: list[Any], count: int) -> list[Any]:
    if len(stack) < count or any(item is _MARK for item in stack[-count:]):
        raise InputError("a pickle that takes more than it has")
    return stack[-count:]


def _pop(stack: list[Any]) -> Any:
    _top(stack, 1)
    return stack.pop()


def _to_mark(stack: list[Any]) -> list[Any]:
    for start in range(len(stack) - 1, -1, -1):
        if stack[start] is _MARK:
            items = stack[start + 1 :]
            del stack[start:]
            return items
    raise InputError("a pickle that takes more than it has")


def _target(stack: list[Any], kind: type) -> Any:
    target = _top(stack, 1)[0]
    if type(target) is not kind:
        raise InputError(f"a pickle that fills a {type(target).__name__} as a {kind.__name__}")
    return target


@dataclass
class _Left:
    values: int
    text: int


def _copy(value: Any, depth: int, left: _Left) -> Any:
    left.values -= 1
    if isinstance(value, str):
        left.text -= len(value)
    if left.values < 0 or left.text < 0:
        raise InputError("a pickle of too many values, or of too much text")
    if isinstance(value, Callee | Dtype):
        raise InputError("a pickle with a name that is no value; only plain data is read")
    if not isinstance(value, list | tuple | dict):
        return value
    if depth == 0:
        raise InputError("a pickle that nests too deeply")
    if isinstance(value, dict):
        left.text -= sum(map(len, value))
        return {key: _copy(item, depth - 1, left) for key, item in value.items()}
    return type(value)(_copy(item, depth - 1, left) for item in value)
