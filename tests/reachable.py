"""How much hangs on an object: every container that can be reached from it, by name."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np

__all__ = ["reachable"]

_LEAVES = (
    *(type(None), bool, int, float, str, bytes, type, types.ModuleType, types.FunctionType),
    *(types.BuiltinFunctionType, asyncio.AbstractEventLoop),
)
_OURS = ("streaming", "sources", "sinks", "policies", "asyncio", "_asyncio")
"""Packages whose objects are looked into."""


def reachable(roots: Iterable[object]) -> tuple[dict[str, int], dict[str, int]]:
    """Follow attributes, items, bound methods, and the variables of coroutines that wait.

    A container is called after the class and the attribute that hold it, one that lies in
    another as that with "[]" behind it. What the tests themselves hold is left out.

    Returns:
        Items of the largest container of each name, all objects being "everything", and bytes of
        the largest array.
    """
    items: dict[str, int] = {}
    arrays: dict[str, int] = {}
    seen: dict[int, Any] = {}
    todo: list[tuple[str, Any]] = [("", root) for root in roots]
    while todo:
        name, thing = todo.pop()
        if isinstance(thing, _LEAVES) or id(thing) in seen:
            continue
        seen[id(thing)] = thing
        if isinstance(thing, np.ndarray):
            arrays[name] = max(arrays.get(name, 0), thing.nbytes)
        elif isinstance(thing, Mapping | Sequence | Set):
            items[name] = max(items.get(name, 0), len(thing))
            inside = thing.values() if isinstance(thing, Mapping) else thing
            todo += [(f"{name}[]", each) for each in inside]
        else:
            todo += [(f"{_name(thing)}.{field}", value) for field, value in _fields(thing)]
    items["everything"] = len(seen)
    return items, arrays


def _name(thing: object) -> str:
    return getattr(thing, "__qualname__", type(thing).__qualname__)


def _fields(thing: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(thing, types.MethodType):
        yield "self", thing.__self__
    elif isinstance(thing, types.AsyncGeneratorType):
        yield from _variables(thing.ag_frame)
    elif isinstance(thing, types.GeneratorType):
        yield from _variables(thing.gi_frame)
    elif isinstance(thing, types.CoroutineType):
        yield from _variables(thing.cr_frame)
    elif isinstance(thing, asyncio.Task):
        yield "coroutine", thing.get_coro()
    elif type(thing).__module__.partition(".")[0] in _OURS:
        yield from getattr(thing, "__dict__", {}).items()
        for kind in type(thing).__mro__:
            slots = getattr(kind, "__slots__", ())
            for slot in (slots,) if isinstance(slots, str) else slots:
                yield slot, getattr(thing, slot, None)


def _variables(frame: types.FrameType | None) -> Iterable[tuple[str, Any]]:
    return () if frame is None else list(frame.f_locals.items())
