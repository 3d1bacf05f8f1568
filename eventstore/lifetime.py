"""The end of a store: at exit the forgotten ones are closed, and a signal closes a joined one."""

from __future__ import annotations

import atexit
import os
import signal
import threading
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

__all__ = ["closing_on_signals", "forget", "remember"]


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
