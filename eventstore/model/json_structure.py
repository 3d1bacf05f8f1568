"""The structure of JSON text: how deep it is nested, how many members it has. Pure.

It is found by whole passes over the bytes, without a stack and without building values.
"""

from __future__ import annotations

import re

__all__ = ["is_deeper", "members"]

_NO_BRACKET = bytes(set(range(256)) - set(b'[]{}"'))
_NO_COLON = bytes(set(range(256)) - set(b':"'))
_AS_ARRAYS = bytes.maketrans(b"{}", b"[]")
_STRING = re.compile(rb'"[^"]*"')


def is_deeper(text: bytes, levels: int) -> bool:
    """Tell whether arrays and objects are nested more than *levels* deep in valid JSON."""
    if text.count(b"[") + text.count(b"{") <= levels:
        return False
    nested = _outside_strings(text, _NO_BRACKET)
    for _ in range(levels):
        if not nested:
            return False
        # Each pass removes what has nothing within it, and so the innermost level.
        nested = nested.replace(b"[]", b"")
    return bool(nested)


def members(text: bytes) -> int:
    """Return the number of members of all objects in valid JSON; a repeated name counts again."""
    return len(_outside_strings(text, _NO_COLON))


def _outside_strings(text: bytes, ignored: bytes) -> bytes:
    """Return what is outside of strings, without the *ignored* bytes; objects look like arrays."""
    unescaped = text.replace(rb"\\", b"").replace(rb"\"", b"")
    # Most strings are empty after this, and two quotes side by side never separate anything.
    bare = unescaped.translate(_AS_ARRAYS, ignored).replace(b'""', b"")
    return _STRING.sub(b"", bare)
