"""G28: values of JSON come back unchanged; all else is converted as documented or refused."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore import Config, JsonSerializer
from eventstore.model.serializer import MAX_DEPTH

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


def arrays(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@dataclass
class Deep:
    inner: Any


@pytest.mark.parametrize(
    "deep",
    [
        arrays,
        lambda levels: {"text": "]" * 1_000, "deep": arrays(levels - 1)},
        lambda levels: [arrays(levels - 1), arrays(levels - 1), "[" * 1_000],
        lambda levels: Deep(arrays(levels - 1)),
        lambda levels: (frozenset({1}), (arrays(levels - 1),)[0]),
    ],
)
def test_the_limit_of_nesting_is_a_constant(deep: Any) -> None:
    """F25, G28: whatever else is in the payload, and whatever it is made of."""
    payload = JSON.serialize(deep(MAX_DEPTH))
    assert JSON.deserialize(payload, None)
    for levels in (MAX_DEPTH + 1, 984, 5_000):
        with pytest.raises(ValueError, match=r"nested (more than 200 levels deep|too deeply)"):
            JSON.serialize(deep(levels))


def test_a_number_that_msgspec_cannot_read_is_refused_though_python_would_write_it() -> None:
    """F25, G28: a process may raise its own limit of digits, not that of every reader."""
    longest, too_long = 10**4_299, 10**4_300
    assert JSON.deserialize(JSON.serialize({"n": longest}), None) == {"n": longest}
    with pytest.raises(ValueError, match="4300 digits"):
        JSON.serialize({"n": too_long})
    before = sys.get_int_max_str_digits()
    try:
        for limit in (0, 10_000):
            sys.set_int_max_str_digits(limit)
            with pytest.raises(ValueError, match="more than 4,300 digits"):
                JSON.serialize({"n": [too_long]})
            with pytest.raises(ValueError, match="more than 4,300 digits"):
                JSON.serialize(-too_long)
            assert JSON.serialize({"n": longest})
    finally:
        sys.set_int_max_str_digits(before)


class Timed(msgspec.Struct):
    at: datetime
    by_time: dict[datetime, int] = {}
    daily: time = time(1)


def zone(seconds: float) -> timezone:
    return timezone(timedelta(seconds=seconds))


SHIFTED = datetime(1900, 1, 1, tzinfo=zone(1172))


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (SHIFTED, "$"),
        ({"at": SHIFTED}, "$.at"),
        ({"at": [1, {"x": (SHIFTED,)}]}, "$.at[1].x[0]"),
        ({"at": datetime(1900, 1, 1, tzinfo=ZoneInfo("Europe/Amsterdam"))}, "$.at"),
        ({"at": datetime(2020, 1, 1, tzinfo=zone(29))}, "$.at"),
        ({"at": datetime(2020, 1, 1, tzinfo=zone(-0.5))}, "$.at"),
        ({"at": datetime(2020, 1, 1, tzinfo=zone(-31)), "id": UUID(int=1)}, "$.at"),
        ({"daily": time(1, 2, 3, 4, tzinfo=zone(45))}, "$.daily"),
        (Timed(SHIFTED), "$.at"),
        (Timed(SHIFTED.astimezone(UTC), daily=time(1, tzinfo=zone(20))), "$.daily"),
        (Timed(SHIFTED.astimezone(UTC), {SHIFTED: 1}), "$.by_time"),
    ],
)
def test_a_time_whose_offset_json_would_round_is_refused_by_name(value: Any, place: str) -> None:
    """F28, G28: rounded, it would be another instant."""
    with pytest.raises(ValueError, match=re.escape(f"at {place} has seconds")):
        JSON.serialize(value)


@pytest.mark.parametrize(
    "value",
    [
        {"at": "1900-01-01T00:00:00+00:19:32", "text": '+00:20"', "more": "-00:20"},
        {"at": "2020-01-01T00:00:00Z"},
        [time(1, tzinfo=zone(-3_600)), time(1)],
        Timed(datetime(2020, 1, 1, tzinfo=zone(5 * 3_600 + 2_700)), {datetime(2020, 1, 1): 1}),  # noqa: DTZ001
    ],
)
def test_other_times_are_written_as_ever(value: Any) -> None:
    """F28, G28."""
    assert JSON.serialize(value) == msgspec.json.encode(value)


def test_the_keys_of_a_typed_mapping_are_checked_as_its_values_are() -> None:
    """F28, G28: they may be numbers or times, and no NaN is a number."""
    numbers = Numbers({1.5: None})
    assert JSON.deserialize(JSON.serialize(numbers), Numbers) == numbers
    with pytest.raises(ValueError, match=r"contains NUL at \$\.by_key\[1\.5\]"):
        JSON.serialize(Numbers({1.5: "\x00"}))


class Numbers(msgspec.Struct):
    by_key: dict[float, str | None]


def test_a_serializer_has_two_methods_and_a_format() -> None:
    """G28: what is none is refused by the settings, by name."""

    class Half:
        def serialize(self, value: Any) -> bytes:
            return b""

    class Long(JsonSerializer):
        format = "x" * 101

    class Numbered(JsonSerializer):
        format = 7  # type: ignore[assignment]

    for serializer, error, message in (
        (Half(), TypeError, "serializer must have a method deserialize: <"),
        (JsonSerializer, TypeError, "serializer must be an instance: <class"),
        (Long(), ValueError, r"serializer\.format is 101 bytes"),
        (Numbered(), TypeError, r"serializer\.format must be a str, not int: 7"),
    ):
        with pytest.raises(error, match=message):
            Config("memory:", serializer=serializer)  # type: ignore[arg-type]
