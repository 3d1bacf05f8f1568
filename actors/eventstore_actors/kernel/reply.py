"""Answer the futures that messages carry; whoever answers second changes nothing."""

from __future__ import annotations

import queue
from contextlib import suppress
from typing import Any, TypeVar

import pykka

__all__ = ["answer", "refuse"]

_T = TypeVar("_T")


def answer(reply: pykka.ThreadingFuture[_T], value: _T) -> None:
    """Let whoever waits for *reply* have *value*."""
    with suppress(queue.Full):
        reply.set(value)


def refuse(reply: pykka.ThreadingFuture[Any], error: BaseException) -> None:
    """Raise *error* in whoever waits for *reply*."""
    with suppress(queue.Full):
        reply.set_exception((type(error), error, error.__traceback__))
