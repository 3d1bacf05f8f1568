"""Text of foreign values: bounded, on one line, and no error whatever their own code does. Pure.

Call it in the thread that the value comes from: a ``__repr__`` of a user may block for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

__all__ = ["error_text", "message_of", "name_of", "text_of"]

MOST_ERROR = 2_000
"""Characters of an error in rows, log entries, health and messages."""

_DEEPEST = 8
"""Levels of containers that are shown."""

_MOST_NAME = 200


def text_of(value: object, most: int) -> str:
    """Return the repr of *value*: at most *most* characters, and an ellipsis if it was longer."""
    return _guarded(value, lambda: _joined(_pieces(value, most, _DEEPEST), most))


def error_text(error: BaseException) -> str:
    """Return the repr of *error* as rows, log entries, health and messages show it."""
    return text_of(error, MOST_ERROR)


def message_of(value: object, most: int = MOST_ERROR) -> str:
    """Return what `str` says of *value*, bounded as `text_of` bounds a repr; line ends are kept."""
    return _guarded(value, lambda: _lines(_start(str(value), most), most))


def name_of(kind: type) -> str:
    """Return the name of a class, whatever its metaclass says."""
    # The descriptor of `type` itself: a metaclass may have a ``__name__`` that raises.
    return _joined([type.__dict__["__name__"].__get__(kind)], _MOST_NAME)


def _guarded(value: object, make: Callable[[], str]) -> str:
    try:
        return make()
    except BaseException:  # noqa: BLE001 - the error that shows the value must not be lost
        return f"<{name_of(type(value))} without a repr>"


def _pieces(value: object, most: int, levels: int) -> Iterable[str]:
    """Return the repr of *value* in pieces, so that no more of it is made than is wanted."""
    kind = type(value)
    if (kind is str or kind is bytes) and isinstance(value, str | bytes):
        return [repr(value[:most])]
    if levels == 0:
        return ["..."]
    if kind is list and isinstance(value, list):
        return _within("[", (_pieces(item, most, levels - 1) for item in value), "]")
    if kind is tuple and isinstance(value, tuple):
        closing = ",)" if len(value) == 1 else ")"
        return _within("(", (_pieces(item, most, levels - 1) for item in value), closing)
    if kind is dict and isinstance(value, dict):
        pairs = value.items()
        return _within("{", (_pair(pair, most, levels - 1) for pair in pairs), "}")
    if isinstance(value, BaseException) and kind.__repr__ is BaseException.__repr__:
        arguments = (_pieces(item, most, levels - 1) for item in value.args)
        return _within(f"{name_of(kind)}(", arguments, ")")
    return [_guarded(value, lambda: _start(repr(value), most))]


def _pair(pair: tuple[object, object], most: int, levels: int) -> Iterable[str]:
    key, value = pair
    return chain(_pieces(key, most, levels), [": "], _pieces(value, most, levels))


def _within(opening: str, items: Iterable[Iterable[str]], closing: str) -> Iterator[str]:
    yield opening
    for number, item in enumerate(items):
        if number:
            yield ", "
        yield from item
    yield closing


def _joined(pieces: Iterable[str], most: int) -> str:
    """Return as much of *pieces* as fits, on one line."""
    text = ""
    for piece in pieces:
        text += _printable(_start(piece, most))
        if len(text) > most:
            break
    return _cut(text, most)


def _lines(text: str, most: int) -> str:
    return _cut("\n".join(map(_printable, text.split("\n"))), most)


def _start(text: str, most: int) -> str:
    """Return one character more than is shown, to see that there is more; surely a plain str."""
    # The slice of `str` itself: a ``__repr__`` may return an instance of a subclass.
    return str.__getitem__(text, slice(most + 1))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _printable(text: str) -> str:
    """Escape control characters, line ends, lone surrogates and what hides or reorders text."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
