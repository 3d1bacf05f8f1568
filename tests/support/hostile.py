"""Exceptions of user code whose text raises, blocks, is too long, or is no text at all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["LONG_TEXT", "HostileError", "hostile_texts"]

LONG_TEXT = 20_000_000
"""Characters of a text that must not be kept, sent or stored."""


class HostileError(Exception):
    """An exception whose repr and message are made by a function of the test."""

    def __init__(self, text: Callable[[], Any]) -> None:
        super().__init__()
        self._text = text

    def __repr__(self) -> Any:
        return self._text()

    def __str__(self) -> Any:
        return self._text()


def _raises() -> str:
    raise RuntimeError("no repr")


def _exits() -> str:
    raise SystemExit(3)


def hostile_texts(released: threading.Event) -> dict[str, Callable[[], Any]]:
    """Return functions that make texts, by what is wrong with them.

    Args:
        released: Set by the test when the text that blocks may return.
    """

    def sleeps() -> str:
        released.wait(60)
        return "late"

    return {
        "raises": _raises,
        "exits": _exits,
        "sleeps": sleeps,
        "is long": lambda: "x" * LONG_TEXT,
        "is no text": lambda: 7,
        "is not storable": lambda: "NUL \x00, surrogate \ud800",
    }
