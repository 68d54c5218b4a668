from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from streaming.json_fields import load_object, read_fields


@dataclass(frozen=True)
class Inner:
    name: str


@dataclass(frozen=True)
class Outer:
    count: int = 0
    share: float = 0.0
    sure: bool = False
    kind: Literal["a", "b"] = "a"
    limit_s: float | None = 1.0
    inner: tuple[Inner, ...] = ()
    rest: Mapping[str, Any] | None = None


def test_fields_are_read_by_their_kind_and_others_are_ignored() -> None:
    body = load_object(
        '{"count": 3, "share": 1, "sure": true, "kind": "newer", "limit_s": null, '
        '"inner": [{"name": "x", "age": 3}], "rest": {"a": [1, {}]}, "unknown": {}}'
    )
    read = read_fields(Outer, body)
    assert read == Outer(3, 1.0, True, "newer", None, (Inner("x"),), {"a": [1, {}]})  # type: ignore[arg-type]
    assert isinstance(read.share, float)


def test_what_is_missing_has_its_default() -> None:
    assert read_fields(Outer, {}) == Outer()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "list instead of dict"),
        ("nothing", "Expecting value"),
        ("[" * 100_000, "nested"),
        ('{"count": NaN}', "NaN is no number"),
        ('{"count": true}', "count: bool instead of int"),
        ('{"count": 1.0}', "count: float instead of int"),
        ('{"share": "1"}', "share: str instead of float"),
        ('{"share": 1e999}', "share: inf is no number"),
        ('{"share": ' + "9" * 4000 + "}", "share: "),
        ('{"sure": 1}', "sure: int instead of bool"),
        ('{"kind": null}', "kind: NoneType instead of str"),
        ('{"inner": {}}', "inner: dict instead of list"),
        ('{"inner": [{}]}', "inner: name is missing"),
        ('{"inner": [{"name": "\\ud800"}]}', "inner: name: "),
        ('{"rest": {"a": "\\udfff"}}', "rest: "),
        ('{"rest": {"a": 1e999}}', "rest: "),
    ],
)
def test_what_cannot_be_is_a_value_error_that_says_where(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_fields(Outer, load_object(text))
