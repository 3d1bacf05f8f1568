"""Close stores that were left open at exit, and close a joined store on a signal."""

from __future__ import annotations

import atexit
import math
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

__all__ = ["closing_on_signals", "forget", "remember", "wait_awake"]


class Closable(Protocol):
    """Anything that can be closed."""

    def close(self) -> None: ...


_open: dict[Closable, None] = {}
"""Stores that run, oldest first. Held here, so that a store runs until it is closed."""


def remember(store: Closable) -> None:
    """Hold *store*, and close it when the process exits, unless it is closed before."""
    _open[store] = None
    # Exit handlers run newest first: the store is closed before the embedded server that it uses.
    atexit.unregister(_close_forgotten)
    atexit.register(_close_forgotten)


def forget(store: Closable) -> None:
    """Let go of *store*: it is closed already."""
    _open.pop(store, None)


def _close_forgotten() -> None:
    for store in reversed(list(_open)):
        warnings.warn(f"{store!r} was not closed", ResourceWarning, stacklevel=1)
        store.close()


# A forked child does not own the stores of its parent.
os.register_at_fork(after_in_child=_open.clear)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_NAP = 0.25
"""Longest time in seconds until the main thread handles a signal sent to another thread."""


@contextmanager
def closing_on_signals(store: Closable) -> Iterator[None]:
    """Close *store* on the first SIGTERM or SIGINT while the block runs in the main thread.

    The first signal restores the previous handlers, so that a second one interrupts a close that
    takes too long.
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
        # In a thread of its own: the main thread may hold a lock that closing needs.
        threading.Thread(target=store.close, name="eventstore-close", daemon=True).start()

    for number in _SIGNALS:
        signal.signal(number, close)
    try:
        yield
    finally:
        restore()


def wait_awake(wait: Callable[[float], bool], timeout: float | None) -> bool:
    """Call *wait* in short slices until it returns True or *timeout* seconds have passed.

    Python handles signals in the main thread alone, but the system may deliver one to any thread
    (it does while a SIGCONT to the main thread is pending), and that does not end a wait.

    Returns:
        The last result of *wait*.
    """
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > _NAP:
        if wait(_NAP):
            return True
    return wait(max(0.0, left))
