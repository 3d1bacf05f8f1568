"""Serialize payloads as JSON with msgspec; refuse values that JSON cannot hold. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Protocol

import msgspec

__all__ = ["JsonSerializer", "Serializer", "Types", "reader"]

Types = Mapping[str, type] | Iterable[type]
"""Payload classes by event type, or a list of classes whose own names are the event types."""


class Serializer(Protocol):
    """Turns payloads into bytes and back. All threads of a store share it.

    An attribute `format`, 1 to 100 bytes, names the encoding. It is stored with each event, and an
    event of another format is not read. Defaults to the name of the class.
    """

    def serialize(self, value: Any) -> bytes:
        """Return *value* as bytes.

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
    surrogates, NUL in text and keys that are not strings are refused.
    """

    format = "json"

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder(enc_hook=_refuse).encode

    def __repr__(self) -> str:
        return "JsonSerializer()"

    def serialize(self, value: Any) -> bytes:
        """Return *value* as compact UTF-8."""
        try:
            payload = self._encoded(value)
            # Most payloads are a dict with str keys and no nested object. Their bytes show all
            # that must be refused, at a fifth of the cost of checking each value.
            if (
                type(value) is not dict
                or payload.count(b"{") != 1
                or not _STR.issuperset(map(type, value))
            ):
                _check(value)
            # msgspec writes NaN as null, and NUL as an escape. `find` is twice as fast as `in`.
            if payload.find(b"null") >= 0 or payload.find(b"\\u0000") >= 0:
                _check(msgspec.to_builtins(value, str_keys=True))
        except RecursionError:
            raise ValueError("the value is nested too deeply, or contains itself") from None
        except UnicodeEncodeError:
            raise ValueError("text contains a lone surrogate") from None
        return payload

    def _encoded(self, value: Any) -> bytes:
        try:
            return self._encode(value)
        except (TypeError, ValueError):
            # Its message says where the bad value is.
            _check(value)
            raise

    def deserialize(self, payload: bytes, payload_type: type | None) -> Any:
        """Return the value of *payload*; unknown fields are ignored, missing ones defaulted."""
        return _decoder(payload_type or Any)(payload)


def reader(serializer: Serializer, payload_type: type | None) -> Callable[[bytes], Any]:
    """Return a function that deserializes payloads of one type.

    Plain JSON goes straight to msgspec, without a call in between.
    """
    if payload_type is None and type(serializer) is JsonSerializer:
        return _decoder(Any)
    return lambda payload: serializer.deserialize(payload, payload_type)


@cache
def _decoder(payload_type: Any) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(payload_type).decode


_ATOMS = frozenset({int, bool, type(None)})
_STR = frozenset({str})

_Path = tuple[Any, str] | None
"""Path to a value: the path of its parent, and its own key or index. Rendered for errors only."""


def _refuse(value: Any) -> None:
    """Refuse a value of a type that msgspec does not know."""
    raise TypeError(f"a value of type {type(value).__name__} cannot be JSON")


def _check(value: Any, path: _Path = None) -> None:
    """Refuse NaN, infinities, NUL in text, and keys that are not strings."""
    kind = type(value)
    if kind is str:
        if "\x00" in value:
            raise ValueError(f"text contains NUL at {_written(path)}")
    elif kind in _ATOMS:
        return
    elif kind is float:
        if not math.isfinite(value):
            raise ValueError(f"{value} at {_written(path)} is not a JSON number")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _check_key(key, path)
            _check(item, (path, f".{key}"))
    elif isinstance(value, list | tuple | set | frozenset):
        for index, item in enumerate(value):
            _check(item, (path, f"[{index}]"))


def _check_key(key: Any, path: _Path) -> None:
    if not isinstance(key, str):
        raise TypeError(f"key {key!r} at {_written(path)} is not a string")
    if "\x00" in key:
        raise ValueError(f"key {key!r} at {_written(path)} contains NUL")


def _written(path: _Path) -> str:
    parts = []
    while path is not None:
        path, part = path
        parts.append(part)
    return "$" + "".join(reversed(parts))
