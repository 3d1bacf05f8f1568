"""The end of a store: at exit the forgotten ones are closed, and a signal closes a joined one."""

from __future__ import annotations

import atexit
import math
import os
import signal
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

__all__ = ["closing_on_signals", "forget", "remember", "wait_awake"]


class Closable(Protocol):
    """What has an end."""

    def close(self) -> None: ...


_open: weakref.WeakSet[Closable] = weakref.WeakSet()


def remember(store: Closable) -> None:
    """Close *store* at the exit of the process if nobody did."""
    _open.add(store)


def forget(store: Closable) -> None:
    """*store* is closed."""
    _open.discard(store)


@atexit.register
def _close_forgotten() -> None:
    for store in list(_open):
        warnings.warn(f"{store!r} was not closed", ResourceWarning, stacklevel=1)
        store.close()


# A child of a fork owns no store of its parent.
os.register_at_fork(after_in_child=_open.clear)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_NAP = 0.25
"""Seconds until the main thread sees a signal that the system gave to another thread."""


@contextmanager
def closing_on_signals(store: Closable) -> Iterator[None]:
    """Close *store* on the first SIGTERM or SIGINT while the block runs in the main thread.

    The handlers of before come back with the first signal, so that a second one interrupts a
    close that takes too long.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def close(_number: int, _frame: FrameType | None) -> None:
        restore()
        # Not here: the main thread may hold a lock that closing needs.
        threading.Thread(target=store.close, name="eventstore-close", daemon=True).start()

    for number in _SIGNALS:
        signal.signal(number, close)
    try:
        yield
    finally:
        restore()


def wait_awake(wait: Callable[[float], bool], timeout: float | None) -> bool:
    """Call *wait* for short times until it is true or *timeout* is over; what it said last.

    Python handles signals in the main thread alone, but the system may give one to any thread (it
    does when SIGCONT is still on its way to the main one), and that wakes nobody who waits.
    """
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > _NAP:
        if wait(_NAP):
            return True
    return wait(max(0.0, left))
