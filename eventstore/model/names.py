"""What may be the name of a stream, a subscription or a type of event, or a position. Pure."""

from __future__ import annotations

__all__ = [
    "ALL_STREAMS",
    "MAX_NAME_BYTES",
    "MAX_POSITION",
    "check_name",
    "check_stream_id",
    "check_subscribable",
]

ALL_STREAMS = "$all"
"""The name under which all streams are read and subscribed to."""

MAX_NAME_BYTES = 1_000
"""Bytes of UTF-8: rows of an index are limited to about 2,700 bytes."""

MAX_POSITION = 2**63 - 1
"""The last position, and the last version, that a database can hold."""

_SHOWN = 60


def check_name(argument: str, value: str) -> str:
    """Return *value* if it can name something, else raise, naming *argument*.

    Raises:
        TypeError: *value* is no `str`.
        ValueError: It is empty, longer than 1,000 bytes of UTF-8, contains NUL or a lone surrogate.
    """
    if type(value) is not str and not isinstance(value, str):
        raise TypeError(f"{argument} must be a str, not {type(value).__name__}: {shown(value)}")
    if not value:
        raise ValueError(f"{argument} must not be empty")
    if "\x00" in value:
        raise ValueError(f"{argument} must not contain NUL: {shown(value)}")
    if value.isascii():
        size = len(value)
    else:
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise ValueError(
                f"{argument} must be valid Unicode without lone surrogates: {shown(value)}"
            ) from None
    if size > MAX_NAME_BYTES:
        raise ValueError(
            f"{argument} is {size} bytes of UTF-8, at most {MAX_NAME_BYTES} are possible:"
            f" {shown(value)}"
        )
    return value


def check_stream_id(value: str, argument: str = "stream_id") -> str:
    """Return *value* if events can be appended under it; names that start with ``$`` are ours."""
    check_name(argument, value)
    if value.startswith("$"):
        raise ValueError(f"{argument} must not start with '$': {shown(value)}")
    return value


def check_subscribable(value: str) -> str:
    """Return *value* if it is a stream id or ``$all``."""
    return value if value == ALL_STREAMS else check_stream_id(value)


def shown(value: object) -> str:
    """Return *value* as it goes into an error message: one line, bounded."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
