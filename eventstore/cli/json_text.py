"""Read JSON from people and files strictly; refuse it in one line. Pure."""

from __future__ import annotations

import json
import math
import re
from typing import Any, TypeVar

import msgspec

from eventstore.model.checks import shown

__all__ = ["decode_as", "decode_json"]

_T = TypeVar("_T")


def decode_json(text: bytes) -> Any:
    """Return the value of *text*.

    Raises:
        ValueError: It is not JSON; the message says why.
    """
    try:
        return decode_as(_ANY, text)
    except msgspec.ValidationError:
        raise ValueError(f"not JSON: {_why(text.decode())}") from None


def decode_as(decoder: msgspec.json.Decoder[_T], text: bytes) -> _T:
    """Return the value of *text* as the type of *decoder*.

    Raises:
        msgspec.ValidationError: It is of another shape; a `ValueError` without a message for users.
        ValueError: It is not JSON; the message says why.
    """
    try:
        characters = text.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: byte {error.start + 1}") from None
    try:
        return decoder.decode(text)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        raise ValueError(f"not JSON: {_why(characters)}") from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


_ANY = msgspec.json.Decoder()
_TOO_DEEP = "nested too deeply"
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def _why(text: str) -> str:
    """Say why *text* is not JSON: the standard library accepts more, and tells where it stopped."""
    if not text.strip():
        return "there is nothing"
    try:
        json.loads(text, parse_constant=_constant, parse_float=_number, parse_int=_number)
    except json.JSONDecodeError as error:
        rest = text[error.pos :].strip()
        if not rest or (rest[0] == '"' and not _STRING.match(rest)):
            return "it ends too early"
        return f"unexpected {rest[0]!r} at character {error.pos + 1}"
    except _NoNumberError as error:
        return str(error)
    except RecursionError:
        return _TOO_DEEP
    return "it holds a lone surrogate"


class _NoNumberError(Exception):
    """A number that JSON does not know, or that no float can hold."""


def _constant(_name: str) -> None:
    raise _NoNumberError("NaN and Infinity are not JSON numbers")


def _number(digits: str) -> None:
    if math.isinf(float(digits)):
        raise _NoNumberError(f"number {shown(digits)} is out of range")
