"""G28: values of JSON come back unchanged; all else is converted as documented or refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore import JsonSerializer

JSON = JsonSerializer()

_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner),
)


@given(_VALUES)
def test_every_json_value_comes_back_unchanged(value: Any) -> None:
    """G28."""
    again = JSON.deserialize(JSON.serialize(value), None)
    assert again == value
    assert repr(again) == repr(value)


class Color(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ((1, 2), [1, 2]),
        ({"a"}, ["a"]),
        (Decimal("1.50"), "1.50"),
        (b"x", "eA=="),
        (Color.RED, "red"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "2026-01-02T03:04:05.000006Z"),
    ],
)
def test_other_values_are_converted_as_documented(value: Any, stored: Any) -> None:
    """G28."""
    assert JSON.deserialize(JSON.serialize({"v": value}), None) == {"v": stored}


@dataclass
class Line:
    price: float | None
    by_size: dict[int, str]


class Order(msgspec.Struct):
    lines: list[Line]
    note: str = ""


def test_dataclasses_and_structs_come_back_typed() -> None:
    order = Order([Line(None, {1: "S"})], "\\u0000 is text")
    assert JSON.deserialize(JSON.serialize(order), Order) == order
    assert JSON.deserialize(b'{"lines":[],"more":1}', Order) == Order([])


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), r"nan at \$ is not a JSON number"),
        ({"a": [1.0, float("-inf")]}, r"-inf at \$\.a\[1\] is not a JSON number"),
        (Order([Line(float("nan"), {})]), r"nan at \$\.lines\[0\]\.price is not a JSON number"),
        ({"a": "\ud800"}, "lone surrogate"),
        ({"\udfff": 1}, "lone surrogate"),
        ({"a": {"b": "x\x00"}}, r"text contains NUL at \$\.a\.b"),
        ({"x\x00": 1}, "contains NUL"),
        (Order([], "\x00"), r"text contains NUL at \$\.note"),
        ({"a": {1: "x"}}, r"key 1 at \$\.a is not a string"),
        ({None: "x"}, r"key None at \$ is not a string"),
        (object(), "a value of type object cannot be JSON"),
        ({"a": print}, "a value of type builtin_function_or_method cannot be JSON"),
        (endless(), "nested too deeply, or contains itself"),
    ],
)
def test_what_json_cannot_hold_is_refused_and_named(value: Any, message: str) -> None:
    """G28."""
    with pytest.raises((ValueError, TypeError), match=message):
        JSON.serialize(value)


@pytest.mark.parametrize("payload", [b"", b"{", b'{"price":"x","by_size":{}}', b"\xff"])
def test_bytes_that_are_not_of_the_type_are_an_error(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        JSON.deserialize(payload, Line)
