"""JSON objects as dataclasses, each value checked against the annotation of its field.

What a later version adds does not matter: fields that a class does not have are ignored, and a
`Literal` takes any text. Fields that are missing have their defaults.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from functools import cache
from types import NoneType
from typing import Any, Literal, NoReturn, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

__all__ = ["load_object", "read_fields"]

T = TypeVar("T")
_Reader: TypeAlias = Callable[[Any], Any]


def load_object(text: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: the text is none, holds NaN or an infinity, or is nested too deeply.
    """
    try:
        body = json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return _object(body)


def read_fields(cls: type[T], body: Mapping[str, Any]) -> T:
    """An instance of a dataclass.

    Its fields may be texts, numbers, truths, mappings, dataclasses, tuples of these (arrays in
    JSON), and None where the annotation says so.

    Raises:
        ValueError: a value is not of its field's kind, or one without a default is missing.
    """
    values = {}
    for name, (read, required) in _readers(cls).items():  # type: ignore[arg-type]
        if name in body:
            try:
                values[name] = read(body[name])
            except (ValueError, OverflowError, RecursionError) as error:
                raise ValueError(f"{name}: {error}") from None
        elif required:
            raise ValueError(f"{name} is missing")
    return cls(**values)


@cache
def _readers(cls: Any) -> dict[str, tuple[_Reader, bool]]:
    """Of each field: what reads it, and whether it has to be there."""
    hints = get_type_hints(cls)
    return {
        field.name: (
            _reader(hints[field.name]),
            field.default is field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(cls)
    }


def _reader(kind: Any) -> _Reader:
    inner = get_args(kind)
    if kind is str or get_origin(kind) is Literal:
        return _text
    if kind is float:
        return _number
    if kind in (int, bool):
        return lambda value: _instance(value, kind)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return lambda value: read_fields(kind, _object(value))
    if get_origin(kind) is Mapping:
        return _plain_object
    if get_origin(kind) is tuple and inner[1:] == (...,):
        read = _reader(inner[0])
        return lambda value: tuple(read(each) for each in _instance(value, list))
    if len(inner) == 2 and NoneType in inner:
        read = _reader(inner[inner[0] is NoneType])
        return lambda value: None if value is None else read(value)
    raise TypeError(f"{kind} has no form in JSON")


def _instance(value: Any, kind: type[T]) -> T:
    if type(value) is not kind:  # not isinstance: True is an int
        raise ValueError(f"{type(value).__name__} instead of {kind.__name__}")
    return value


def _object(value: Any) -> dict[str, Any]:
    return _instance(value, dict)


def _plain_object(value: Any) -> dict[str, Any]:
    json.dumps(_object(value), ensure_ascii=False, allow_nan=False).encode()
    return _object(value)


def _text(value: Any) -> str:
    text = _instance(value, str)
    text.encode()  # half of a character, which JSON can write, can be sent nowhere
    return text


def _number(value: Any) -> float:
    number = float(value if type(value) is int else _instance(value, float))
    return number if math.isfinite(number) else _refuse(str(value))


def _refuse(value: str) -> NoReturn:
    raise ValueError(f"{value} is no number")
