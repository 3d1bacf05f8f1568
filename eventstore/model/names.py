"""Names of streams and subscriptions, and the range of positions. Pure."""

from __future__ import annotations

from eventstore.model.checks import check_text, shown

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
"""Longest name in bytes of UTF-8: an index row holds about 2,700 bytes."""

MAX_POSITION = 2**63 - 1
"""Highest position, and highest version, that the database can hold."""


def check_name(argument: str, value: object) -> str:
    """Return *value* if it can name a stream, a subscription or a type of event.

    Raises:
        TypeError: *value* is not a `str`; the message names *argument*.
        ValueError: It is empty, longer than 1,000 bytes of UTF-8, contains NUL or a lone surrogate.
    """
    return check_text(argument, value, most_bytes=MAX_NAME_BYTES)


def check_stream_id(value: str, argument: str = "stream_id") -> str:
    """Return *value* if events can be appended under it; names that start with ``$`` are reserved.

    Raises:
        TypeError, ValueError: They cannot; the message names *argument*.
    """
    name = check_name(argument, value)
    if name.startswith("$"):
        raise ValueError(f"{argument} must not start with '$': {shown(name)}")
    return name


def check_subscribable(value: str) -> str:
    """Return *value* if it is a stream id or ``$all``.

    Raises:
        TypeError, ValueError: It is neither; the message names ``stream_id``.
    """
    name = check_name("stream_id", value)
    return name if name == ALL_STREAMS else check_stream_id(name)
