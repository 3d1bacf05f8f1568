"""Read JSON from people and files strictly; refuse it in one line. Pure."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import msgspec

from eventstore.model.checks import shown
from eventstore.model.json_structure import members

__all__ = ["decode_json"]


def decode_json(text: bytes) -> Any:
    """Return the value of *text*.

    Raises:
        ValueError: It is not JSON, or gives a key twice in one object; the message says which.
    """
    try:
        characters = text.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: byte {error.start + 1}") from None
    try:
        value = _decode(text)
        # A value has each key once, so it has fewer members than a text that repeats one.
        is_whole = members(text) == members(_encode(value))
    except msgspec.DecodeError:
        raise ValueError(f"not JSON: {_why(characters)}") from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if not is_whole:
        raise ValueError(_why(characters))
    return value


_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_TOO_DEEP = "nested too deeply"
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def _why(text: str) -> str:
    """Say why *text* is refused: the standard library accepts more, and tells where it stopped."""
    if not text.strip():
        return "there is nothing"
    try:
        json.loads(
            text,
            parse_constant=_constant,
            parse_float=_number,
            parse_int=_number,
            object_pairs_hook=_distinct,
        )
    except json.JSONDecodeError as error:
        rest = text[error.pos :].strip()
        if not rest or (rest[0] == '"' and not _STRING.match(rest)):
            return "it ends too early"
        return f"unexpected {rest[0]!r} at character {error.pos + 1}"
    except _RefusedPartError as error:
        return str(error)
    except RecursionError:
        return _TOO_DEEP
    return "it holds a lone surrogate"


class _RefusedPartError(Exception):
    """A number that no float can hold, or a key that is given twice."""


def _constant(_name: str) -> None:
    raise _RefusedPartError("NaN and Infinity are not JSON numbers")


def _number(digits: str) -> None:
    if math.isinf(float(digits)):
        raise _RefusedPartError(f"number {shown(digits)} is out of range")


def _distinct(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise _RefusedPartError(f"key {shown(key)} is given twice in one object")
        seen.add(key)
