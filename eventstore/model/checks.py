"""Checks of arguments: each returns the value, or raises an error that names and shows it. Pure.

The wrong kind is a `TypeError`, a value out of range a `ValueError`. Of a subclass of int, str,
UUID or datetime only the plain value is returned: no code of the subclass runs after the check.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import TypeGuard, TypeVar
from uuid import UUID

from eventstore.model.safe_text import name_of, text_of

__all__ = [
    "LONGEST",
    "SHORTEST",
    "check_bool",
    "check_choice",
    "check_duration",
    "check_factor",
    "check_int",
    "check_moment",
    "check_text",
    "check_timeout",
    "check_uuid",
    "check_within",
    "is_int",
    "shown",
]

SHORTEST = 0.01
"""Lower bound for every duration of the settings, in seconds."""

LONGEST = 1e6
"""Upper bound for every wait, in seconds; lock timeouts overflow above it."""

_SHOWN = 60

_Choice = TypeVar("_Choice", bound=StrEnum)


def shown(value: object) -> str:
    """Return *value* as error messages show it: its repr on one line, at most 60 characters."""
    return text_of(value, _SHOWN)


def is_int(value: object) -> TypeGuard[int]:
    """Tell whether *value* is an int; True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def check_int(argument: str, value: object, *, least: int, most: int | None = None) -> int:
    """Return *value* if it is an int from *least* to *most*; True and False are not."""
    if not is_int(value):
        raise _wrong_kind(argument, "an int", value)
    value = int.__int__(value)
    if value < least or (most is not None and value > most):
        limits = f"at least {least}" if most is None else f"{least} to {most:,}"
        raise ValueError(f"{argument} must be {limits}: {shown(value)}")
    return value


def check_within(argument: str, position: int, stream_id: str, head: int) -> int:
    """Return *position* if it is from 0 to the head of a stream, or of ``$all``."""
    if not 0 <= position <= head:
        raise ValueError(f"{argument} must be 0 to the head of {stream_id!r}, {head}: {position}")
    return position


def check_bool(argument: str, value: object) -> bool:
    """Return *value* if it is True or False."""
    if not isinstance(value, bool):
        raise _wrong_kind(argument, "a bool", value)
    return value


def check_duration(argument: str, value: object, *, least: float = SHORTEST) -> float:
    """Return *value* if it is a number of seconds from *least* to `LONGEST`."""
    seconds = _number(argument, "seconds", value)
    if not least <= seconds <= LONGEST:
        raise ValueError(f"{argument} must be {least} to {LONGEST:,.0f} seconds: {shown(value)}")
    return seconds


def check_timeout(argument: str, value: object) -> float:
    """Return *value* if it is more than 0 seconds, reduced to `LONGEST`; infinity is allowed."""
    seconds = _number(argument, "seconds", value)
    if not seconds > 0:
        raise ValueError(f"{argument} must be more than 0 seconds: {shown(value)}")
    return min(seconds, LONGEST)


def check_patience(argument: str, value: object) -> float:
    """Return *value* if it is 0 seconds or more, reduced to `LONGEST`; infinity is allowed."""
    seconds = _number(argument, "seconds", value)
    if not seconds >= 0:
        raise ValueError(f"{argument} must be at least 0 seconds: {shown(value)}")
    return min(seconds, LONGEST)


def check_factor(argument: str, value: object) -> float:
    """Return *value* if it is a number of 1 or more."""
    factor = _number(argument, "a number", value)
    if not factor >= 1:
        raise ValueError(f"{argument} must be at least 1: {shown(value)}")
    return factor


def check_text(argument: str, value: object, *, most_bytes: int) -> str:
    """Return *value* if it is a str of 1 to *most_bytes* bytes of UTF-8 without NUL."""
    if not isinstance(value, str):
        raise _wrong_kind(argument, "a str", value)
    if type(value) is not str:
        value = str.__str__(value)
    if not value:
        raise ValueError(f"{argument} must not be empty")
    if "\x00" in value:
        raise ValueError(f"{argument} must not contain NUL: {shown(value)}")
    size = len(value) if value.isascii() else _utf8_size(argument, value)
    if size > most_bytes:
        raise ValueError(
            f"{argument} is {size} bytes of UTF-8, at most {most_bytes} are possible:"
            f" {shown(value)}"
        )
    return value


def check_uuid(argument: str, value: object) -> UUID:
    """Return *value* if it is a `uuid.UUID`."""
    if not isinstance(value, UUID):
        raise _wrong_kind(argument, "a uuid.UUID", value)
    return value if type(value) is UUID else UUID(int=value.int)


def check_moment(argument: str, value: object) -> datetime:
    """Return *value* in UTC if it is a datetime with a time zone that UTC can express."""
    if not isinstance(value, datetime):
        raise _wrong_kind(argument, "a datetime", value)
    local, offset = _local_time(argument, value)
    if offset is None:
        raise ValueError(f"{argument} must have a time zone: {local.isoformat()}")
    try:
        return (local - offset).replace(tzinfo=UTC)
    except OverflowError:
        zoned = local.replace(tzinfo=timezone(offset))
        raise ValueError(f"{argument} is out of range in UTC: {zoned.isoformat()}") from None


def check_choice(argument: str, choices: type[_Choice], value: object) -> _Choice:
    """Return the member of *choices* that *value* is or names."""
    for choice in choices:
        if value == choice:
            return choice
    wanted = ", ".join(repr(choice.value) for choice in choices)
    raise ValueError(f"{argument} must be one of {wanted}: {shown(value)}")


def _local_time(argument: str, value: datetime) -> tuple[datetime, timedelta | None]:
    """Return the plain time of *value*, and its offset from UTC."""
    try:
        day = value.year, value.month, value.day
        time = value.hour, value.minute, value.second, value.microsecond
        return datetime(*day, *time), datetime.utcoffset(value)  # noqa: DTZ001 - see its offset
    except Exception as error:
        raise ValueError(
            f"{argument} has no usable time or time zone: {shown(value)} ({shown(error)})"
        ) from error


def _number(argument: str, wanted: str, value: object) -> float:
    if not isinstance(value, float) and not is_int(value):
        raise _wrong_kind(argument, wanted, value)
    return value


def _utf8_size(argument: str, value: str) -> int:
    try:
        return len(value.encode())
    except UnicodeEncodeError:
        raise ValueError(
            f"{argument} must be valid Unicode without lone surrogates: {shown(value)}"
        ) from None


def _wrong_kind(argument: str, wanted: str, value: object) -> TypeError:
    return TypeError(f"{argument} must be {wanted}, not {name_of(type(value))}: {shown(value)}")
