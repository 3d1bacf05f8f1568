"""JSON by msgspec: payloads to bytes and back, and the refusal of what JSON cannot hold. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Protocol

import msgspec

__all__ = ["JsonSerializer", "Serializer", "Types", "reader"]

Types = Mapping[str, type] | Iterable[type]
"""Classes of payloads: by event type, or as a list of classes that are named after themselves."""


class Serializer(Protocol):
    """Turns payloads into bytes and back; shared by all threads of a store."""

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
    """JSON: values of JSON come back unchanged, other values as follows.

    Dataclasses and msgspec Structs become objects and come back typed if they are registered.
    Tuples and sets become lists; `datetime`, `UUID`, `Decimal` and `bytes` become strings (ISO
    8601, hex with dashes, digits, base64); enums become their values. NaN and infinities, lone
    surrogates, NUL in text and keys that are not strings are refused.
    """

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder(enc_hook=_refuse).encode

    def __repr__(self) -> str:
        return "JsonSerializer()"

    def serialize(self, value: Any) -> bytes:
        """Return *value* as compact UTF-8."""
        try:
            payload = self._encoded(value)
            # A dict with text as keys and no other object in it, as most are: its bytes show all
            # that is to refuse, at a fifth of the cost of looking at each value.
            if (
                type(value) is not dict
                or payload.count(b"{") != 1
                or not _STR.issuperset(map(type, value))
            ):
                _check(value)
            # NaN was written as null, and NUL as its escape. `find` takes half the time of `in`.
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
            # Says where it is, if it is something of JSON that is not to be written.
            _check(value)
            raise

    def deserialize(self, payload: bytes, payload_type: type | None) -> Any:
        """Return the value of *payload*; unknown fields are ignored, missing ones defaulted."""
        return _decoder(payload_type or Any)(payload)


def reader(serializer: Serializer, payload_type: type | None) -> Callable[[bytes], Any]:
    """Return what reads payloads of one type: plain values of JSON without a call in between."""
    if payload_type is None and type(serializer) is JsonSerializer:
        return _decoder(Any)
    return lambda payload: serializer.deserialize(payload, payload_type)


@cache
def _decoder(payload_type: Any) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(payload_type).decode


_ATOMS = frozenset({int, bool, type(None)})
_STR = frozenset({str})

_Path = tuple[Any, str] | None
"""The way to a value: the path of its parent, and its own key or index; written out if needed."""


def _refuse(value: Any) -> None:
    """Refuse a value of a type that msgspec does not know."""
    raise TypeError(f"a value of type {type(value).__name__} is no JSON")


def _check(value: Any, path: _Path = None) -> None:
    """Refuse what msgspec would write as something else: NaN, NUL, keys that are not strings."""
    kind = type(value)
    if kind is str:
        if "\x00" in value:
            raise ValueError(f"text contains NUL at {_written(path)}")
    elif kind in _ATOMS:
        return
    elif kind is float:
        if not math.isfinite(value):
            raise ValueError(f"{value} at {_written(path)} is no JSON number")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _check_key(key, path)
            _check(item, (path, f".{key}"))
    elif isinstance(value, list | tuple | set | frozenset):
        for index, item in enumerate(value):
            _check(item, (path, f"[{index}]"))


def _check_key(key: Any, path: _Path) -> None:
    if not isinstance(key, str):
        raise TypeError(f"key {key!r} at {_written(path)} is no string")
    if "\x00" in key:
        raise ValueError(f"key {key!r} at {_written(path)} contains NUL")


def _written(path: _Path) -> str:
    parts = []
    while path is not None:
        path, part = path
        parts.append(part)
    return "$" + "".join(reversed(parts))
