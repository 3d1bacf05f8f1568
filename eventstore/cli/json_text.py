"""Read JSON from people and files strictly; refuse it in one line. Pure."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

__all__ = ["decode_as", "decode_json"]

_T = TypeVar("_T")


def decode_json(text: bytes) -> Any:
    """Return the value of *text*.

    Raises:
        ValueError: It is not JSON; the message says why.
    """
    return decode_as(_ANY, text)


def decode_as(decoder: msgspec.json.Decoder[_T], text: bytes) -> _T:
    """Return the value of *text* as the type of *decoder*.

    Raises:
        ValueError: It is not JSON, or not of that type; the message says why.
    """
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise ValueError(_readable(str(error))) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: {error.reason}") from None
    except msgspec.DecodeError as error:
        raise ValueError(f"not JSON: {_why(str(error), text)}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


_ANY = msgspec.json.Decoder()


def _readable(reason: str) -> str:
    """Return msgspec's *reason* in lower case and with plain quotes."""
    return f"{reason[0].lower()}{reason[1:]}".replace("`", "'").replace(" - at '$'", "")


def _why(reason: str, text: bytes) -> str:
    if not text.strip():
        return "there is nothing"
    if b"NaN" in text or b"Infinity" in text:
        return "NaN and Infinity are not JSON numbers"
    if b"\\ud" in text.lower() and "truncated" in reason:
        return "a lone surrogate, or it ends too early"
    if "truncated" in reason:
        return "it ends too early"
    return reason.removeprefix("JSON is malformed: ")
