"""A refused argument is named, and its value is shown."""

from __future__ import annotations

import ast
from datetime import UTC, datetime, timedelta, timezone
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import eventstore
from eventstore.model.checks import (
    LONGEST,
    check_bool,
    check_choice,
    check_duration,
    check_factor,
    check_int,
    check_moment,
    check_text,
    check_timeout,
    check_uuid,
    shown,
)
from eventstore.model.subscription import BatchBy

NAN, INFINITY = float("nan"), float("inf")
FIRST_HOUR = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))

at_least_1 = partial(check_int, least=1)
one_to_9999 = partial(check_int, least=1, most=9_999)
four_bytes = partial(check_text, most_bytes=4)
choice = partial(check_choice, choices=BatchBy)


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (at_least_1, True, "x must be an int, not bool: True"),
        (at_least_1, 1.0, "x must be an int, not float: 1.0"),
        (at_least_1, 0, "x must be at least 1: 0"),
        (one_to_9999, 10_000, "x must be 1 to 9,999: 10000"),
        (at_least_1, -(10**70), f"x must be at least 1: -1{'0' * 58}…"),
        (check_bool, 1, "x must be a bool, not int: 1"),
        (check_duration, True, "x must be seconds, not bool: True"),
        (check_duration, "1", "x must be seconds, not str: '1'"),
        (check_duration, 0, "x must be 0.01 to 1,000,000 seconds: 0"),
        (check_duration, NAN, "x must be 0.01 to 1,000,000 seconds: nan"),
        (check_duration, INFINITY, "x must be 0.01 to 1,000,000 seconds: inf"),
        (check_timeout, False, "x must be seconds, not bool: False"),
        (check_timeout, 0, "x must be more than 0 seconds: 0"),
        (check_timeout, NAN, "x must be more than 0 seconds: nan"),
        (check_factor, "2", "x must be a number, not str: '2'"),
        (check_factor, NAN, "x must be at least 1: nan"),
        (check_factor, 0.5, "x must be at least 1: 0.5"),
        (four_bytes, b"a", "x must be a str, not bytes: b'a'"),
        (four_bytes, "", "x must not be empty"),
        (four_bytes, "a\0", r"x must not contain NUL: 'a\x00'"),
        (four_bytes, "\ud800", r"x must be valid Unicode without lone surrogates: '\ud800'"),
        (four_bytes, "漢字", "x is 6 bytes of UTF-8, at most 4 are possible: '漢字'"),
        (check_uuid, "7", "x must be a uuid.UUID, not str: '7'"),
        (check_moment, 7, "x must be a datetime, not int: 7"),
        (check_moment, datetime(2020, 1, 1), "x must have a time zone: 2020-01-01T00:00:00"),  # noqa: DTZ001
        (check_moment, FIRST_HOUR, "x is out of range in UTC: 0001-01-01T00:00:00+01:00"),
    ],
)
def test_a_bad_value_is_named_and_shown(check: Any, value: object, message: str) -> None:
    with pytest.raises((ValueError, TypeError)) as refusal:
        check("x", value)
    assert str(refusal.value) == message
    assert isinstance(refusal.value, TypeError) == (", not " in message)


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (at_least_1, 10**70),
        (one_to_9999, 9_999),
        (check_bool, False),
        (check_duration, LONGEST),
        (check_timeout, 1e-9),
        (check_factor, 1),
        (four_bytes, "é\u00e9"),
        (check_uuid, UUID(int=7)),
        (check_moment, datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_a_good_value_is_returned(check: Any, value: object) -> None:
    assert check("x", value) == value


class Loud(str):
    """Of the application: it does as it likes."""

    __slots__ = ()

    def __str__(self) -> str:
        return "loud"

    def __contains__(self, key: object) -> bool:
        raise NotImplementedError


class Size(IntEnum):
    SMALL = 1


class Key(UUID):
    pass


class Moment(datetime):
    pass


@pytest.mark.parametrize(
    ("check", "value", "plain"),
    [
        (four_bytes, Loud("abc"), "abc"),
        (at_least_1, Size.SMALL, 1),
        (check_uuid, Key(int=7), UUID(int=7)),
        (check_moment, Moment(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)),
        (check_moment, FIRST_HOUR.replace(hour=1), datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_of_a_subclass_the_plain_value_is_returned(check: Any, value: Any, plain: Any) -> None:
    """F27."""
    returned = check("x", value)
    assert returned == plain
    assert type(returned) is type(plain)


def test_a_timeout_is_reduced_to_what_a_lock_takes() -> None:
    assert check_timeout("x", INFINITY) == LONGEST


def test_a_choice_is_a_member_or_its_name() -> None:
    assert check_choice("x", BatchBy, "any") is BatchBy.ANY
    assert check_choice("x", BatchBy, BatchBy.ANY) is BatchBy.ANY
    with pytest.raises(ValueError, match="x must be one of 'stream', 'any': 'both'"):
        check_choice("x", BatchBy, "both")


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("s" * 58, f"'{'s' * 58}'"),
        ("s" * 59, f"'{'s' * 59}…"),
        (Unshowable(), "<Unshowable without a repr>"),
        pytest.param(10**5_000, "<int without a repr>", id="an int of 5,000 digits"),
    ],
)
def test_a_value_is_shown_in_a_bounded_line_whatever_it_is(value: object, text: str) -> None:
    assert shown(value) == text


def test_nobody_else_tells_an_int_from_a_bool() -> None:
    """The check of a kind of value stands in one place."""
    root = Path(eventstore.__file__).parent
    again = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in root.rglob("*.py")
        if path.name != "checks.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node).startswith("isinstance(")
        if ast.unparse(node.args[1]) == "bool"
    ]
    assert not again
