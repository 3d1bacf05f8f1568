"""Serialize payloads as JSON with msgspec; refuse values that JSON cannot hold. Pure."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, time, timedelta
from functools import cache
from typing import Any, Protocol

import msgspec

from eventstore.model.checks import check_text, shown
from eventstore.model.fresh_stack import on_fresh_stack
from eventstore.model.json_structure import is_deeper

__all__ = [
    "MAX_DEPTH",
    "JsonSerializer",
    "Serializer",
    "Types",
    "check_serializer",
    "format_of",
    "reader",
    "reads_json",
]


MAX_DEPTH = 200
"""Most levels of arrays and objects in a payload.

Constant: what a decoder manages depends on Python's version, on its recursion limit and on the
stack that is left, and a payload must be readable wherever it may be read.
"""

MAX_DIGITS = 4_300
"""Most digits of a whole number; a process may allow itself to write more, but not to read them."""

MAX_FORMAT_BYTES = 100

Types = Mapping[str, type] | Iterable[type]
"""Payload classes by event type, or a list of classes whose own names are the event types."""


class Serializer(Protocol):
    """Turns payloads into bytes and back. All threads of a store share it.

    An attribute `format`, 1 to 100 bytes, names the encoding. It is stored with each event, and an
    event of another format is not read. Defaults to the name of the class.
    """

    def serialize(self, value: Any) -> bytes:
        """Return *value* as bytes that `deserialize` can read.

        Raises:
            ValueError, TypeError: It cannot be stored; the message says what and where.
        """

    def deserialize(self, payload: bytes, payload_type: type | None) -> Any:
        """Return the value of *payload*, as *payload_type* or, if None, as plain values.

        Raises:
            ValueError, TypeError: The bytes are not of that type.
        """


class JsonSerializer:
    """Serializes as JSON. JSON values come back unchanged, other values as follows.

    Dataclasses and msgspec Structs become objects and come back typed if they are registered.
    Tuples and sets become lists; `datetime`, `UUID`, `Decimal` and `bytes` become strings (ISO
    8601, hex with dashes, digits, base64); enums become their values. NaN and infinities, lone
    surrogates, NUL in text, keys that are not strings, offsets from UTC with seconds, whole numbers
    of more than 4,300 digits, and more than 200 levels of arrays and objects are refused.
    """

    format = "json"

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder(enc_hook=_refuse).encode

    def __repr__(self) -> str:
        return "JsonSerializer()"

    def serialize(self, value: Any) -> bytes:
        """Return *value* as compact UTF-8."""
        payload: bytes | None
        try:
            payload = self._encode(value)
            # This runs for every event appended, and most payloads are so: a small dict with str
            # keys and no nested object, whose values are no times, which have colons. Its bytes
            # show all that must be refused. `find` is twice as fast as `in`.
            if (
                type(value) is dict
                and len(payload) <= _SMALL
                and payload.count(b"{") == 1
                and payload.count(b":") == len(value)
                and payload.find(b"null") < 0
                and payload.find(b"\\u0000") < 0
                and _STR.issuperset(map(type, value))
            ):
                return payload
        except (RecursionError, TypeError, ValueError):
            payload = None
        try:
            # Without a payload once more, to say what is wrong with the value.
            return _written(self._encode, value) if payload is None else _proved(payload, value)
        except RecursionError:
            return _written_on_fresh_stack(self._encode, value)

    def deserialize(self, payload: bytes, payload_type: type | None) -> Any:
        """Return the value of *payload*; unknown fields are ignored, missing ones defaulted."""
        return _decoder(payload_type or Any)(payload)


def _written_on_fresh_stack(encode: Callable[[Any], bytes], value: Any) -> bytes:
    """Write what the stack that is left is too short for; the limit is a constant."""
    try:
        return on_fresh_stack(_written, encode, value)
    except RecursionError:
        raise ValueError("the value is nested too deeply, or contains itself") from None


def _written(encode: Callable[[Any], bytes], value: Any) -> bytes:
    """Return *value* as JSON from which it can be read again."""
    try:
        payload = encode(value)
    except UnicodeEncodeError:
        _check(value)
        raise ValueError("text contains a lone surrogate") from None
    except (TypeError, ValueError):
        # Its message says where the bad value is.
        _check(value)
        raise
    return _proved(payload, value)


def _proved(payload: bytes, value: Any) -> bytes:
    """Return *payload* if *value* can be read from it again."""
    if len(payload) > _SMALL:
        _check_size(payload)
    # The bytes of a dict with str keys and no nested object show all that must be refused, at a
    # fifth of the cost of checking each value.
    is_flat = type(value) is dict and payload.count(b"{") == 1 and _STR.issuperset(map(type, value))
    if not is_flat:
        _check(value)
    # msgspec writes NaN as null, NUL as an escape, and offsets from UTC without their seconds.
    if (
        payload.find(b"null") >= 0
        or payload.find(b"\\u0000") >= 0
        or (not (is_flat and _has_no_time(value, payload)) and _may_have_zone(payload))
    ):
        _check(msgspec.to_builtins(value, builtin_types=_TIMES), check_key=_check_any_key)
    return payload


def _has_no_time(flat: dict[str, Any], payload: bytes) -> bool:
    """Tell whether no value of a *flat* dict is a time: times have colons, as few texts do."""
    return payload.count(b":") == len(flat) or _PLAIN.issuperset(map(type, flat.values()))


def _may_have_zone(payload: bytes) -> bool:
    """Tell whether *payload* may hold a time with a zone."""
    return payload.find(b'Z"') >= 0 or _OFFSET.search(payload) is not None


def _check_size(payload: bytes) -> None:
    if is_deeper(payload, MAX_DEPTH):
        raise ValueError(f"the value is nested more than {MAX_DEPTH} levels deep")
    if not 0 < sys.get_int_max_str_digits() <= MAX_DIGITS and _LONG_NUMBER.search(payload):
        raise ValueError(f"a whole number has more than {MAX_DIGITS:,} digits")


def reader(serializer: Serializer, payload_type: type | None) -> Callable[[bytes], Any]:
    """Return a function that deserializes payloads of one type.

    JSON goes straight to msgspec, without a call in between.
    """
    if reads_json(serializer):
        return _decoder(payload_type or Any)
    return lambda payload: serializer.deserialize(payload, payload_type)


def reads_json(serializer: Serializer) -> bool:
    """Tell whether *serializer* deserializes as `JsonSerializer` does."""
    read = getattr(serializer.deserialize, "__func__", None)
    return isinstance(serializer, JsonSerializer) and read is JsonSerializer.deserialize


def format_of(serializer: Serializer) -> str:
    """Return the name of the encoding of *serializer*."""
    given = getattr(serializer, "format", type(serializer).__name__)
    return check_text("serializer.format", given, most_bytes=MAX_FORMAT_BYTES)


def check_serializer(serializer: Serializer) -> None:
    """Refuse what is no serializer.

    Raises:
        TypeError, ValueError: A method is missing, or the format is no name; the message says so.
    """
    if isinstance(serializer, type):
        raise TypeError(f"serializer must be an instance: {shown(serializer)}")
    for method in ("serialize", "deserialize"):
        if not callable(getattr(serializer, method, None)):
            raise TypeError(f"serializer must have a method {method}: {shown(serializer)}")
    format_of(serializer)


@cache
def _decoder(payload_type: Any) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(payload_type).decode


_ATOMS = frozenset({int, bool, type(None)})
_STR = frozenset({str})
_PLAIN = frozenset({str, float}) | _ATOMS
_TIMES = (datetime, time)
_MINUTE = timedelta(minutes=1)
_SMALL = 2 * MAX_DEPTH
"""Bytes of JSON that cannot be nested deeper than allowed."""

_OFFSET = re.compile(rb'[+-]\d\d:\d\d"')
_LONG_NUMBER = re.compile(rb"(?<![.\d])\d{%d}" % (MAX_DIGITS + 1))

_Path = tuple[Any, Any] | None
"""Path to a value: the path of its parent, and its own key or index. Rendered for errors only."""

_KeyCheck = Callable[[Any, _Path], None]


def _refuse(value: Any) -> None:
    """Refuse a value of a type that msgspec does not know."""
    raise TypeError(f"a value of type {type(value).__name__} cannot be JSON")


def _check_key(key: Any, path: _Path) -> None:
    if not isinstance(key, str):
        raise TypeError(f"key {key!r} at {_place(path)} is not a string")
    if "\x00" in key:
        raise ValueError(f"key {key!r} at {_place(path)} contains NUL")


def _check_any_key(key: Any, path: _Path) -> None:
    """Check the key of a mapping in a typed value: it may be a number or a time."""
    if isinstance(key, str):
        _check_key(key, path)
    else:
        _check(key, path)


def _check(  # noqa: C901 - a branch per kind of value
    value: Any, path: _Path = None, check_key: _KeyCheck = _check_key
) -> None:
    """Refuse NaN, infinities, NUL in text, keys that are not strings, and offsets with seconds."""
    kind = type(value)
    if kind is str:
        if "\x00" in value:
            raise ValueError(f"text contains NUL at {_place(path)}")
    elif kind in _ATOMS:
        return
    elif kind is float:
        if not math.isfinite(value):
            raise ValueError(f"{value} at {_place(path)} is not a JSON number")
    elif kind in _TIMES:
        _check_offset(value, path)
    elif kind is dict or isinstance(value, Mapping):
        for key, item in value.items():
            check_key(key, path)
            _check(item, (path, key), check_key)
    elif kind is list or isinstance(value, list | tuple | set | frozenset):
        for index, item in enumerate(value):
            _check(item, (path, index), check_key)


def _check_offset(value: datetime | time, path: _Path) -> None:
    offset = value.utcoffset()
    if offset is not None and offset % _MINUTE:
        raise ValueError(
            f"the offset from UTC of {value} at {_place(path)} has seconds,"
            " which JSON times cannot have: convert it to UTC"
        )


def _place(path: _Path) -> str:
    parts = []
    while path is not None:
        path, part = path
        parts.append(f".{part}" if isinstance(part, str) else f"[{part}]")
    return "$" + "".join(reversed(parts))
