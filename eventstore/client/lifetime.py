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
from functools import partial
from types import FrameType
from typing import Any, Protocol
from weakref import WeakKeyDictionary, ref

__all__ = ["Closable", "closer_of", "forget", "forks", "join", "remember", "runs"]


class Closable(Protocol):
    """Anything that can be closed."""

    def close(self, timeout: float | None = None) -> None: ...


_open: dict[Closable, None] = {}
"""Stores that run, oldest first. Held here, so that a store runs until it is closed."""

_running: WeakKeyDictionary[object, ref[Closable]] = WeakKeyDictionary()
"""The store that runs a subscription."""


def remember(store: Closable) -> None:
    """Hold *store*, and close it when the process exits, unless it is closed before."""
    _open[store] = None
    # Exit handlers run newest first: the store is closed before the embedded server that it uses.
    atexit.unregister(_close_forgotten)
    atexit.register(_close_forgotten)


def forget(store: Closable) -> None:
    """Let go of *store*: it is closed already."""
    _open.pop(store, None)


def runs(store: Closable, subscription: object) -> None:
    """Note that *store* runs *subscription*."""
    _running[subscription] = ref(store)


def closer_of(subscription: object) -> Closable | None:
    """Return the store that runs *subscription*; None if there is none."""
    found = _running.get(subscription)
    return None if found is None else found()


def _close_forgotten() -> None:
    for store in reversed(list(_open)):
        warnings.warn(f"{store!r} was not closed", ResourceWarning, stacklevel=1)
        store.close()


# A forked child does not own the stores of its parent.
os.register_at_fork(after_in_child=_open.clear)

_forks: list[None] = []
os.register_at_fork(after_in_child=lambda: _forks.append(None))


def forks() -> int:
    """Return the number of forks behind this process; its id would cost a system call."""
    return len(_forks)


_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_NAP = 0.25
"""Longest time in seconds until the main thread handles a signal sent to another thread."""


def join(store: Closable | None, wait: Callable[[float], bool], timeout: float | None) -> bool:
    """Call *wait* until it returns True or *timeout* seconds have passed.

    In the main thread, the first SIGTERM or SIGINT closes *store* meanwhile, and the end of that is
    waited for. The second one finds the handlers of before. If its handler raises, as that of
    SIGINT does, the close waits for nothing any more.

    Returns:
        The last result of *wait*.
    """
    if store is None or threading.current_thread() is not threading.main_thread():
        return _wait_awake(wait, timeout)
    with _closing_on_signals(store) as closing:
        ended = _wait_awake(wait, timeout)
        for thread in closing if ended else ():
            _wait_awake(partial(_has_ended, thread), None)
        return ended


@contextmanager
def _closing_on_signals(store: Closable) -> Iterator[list[threading.Thread]]:
    """Yield the thread that closes *store*, once there was a signal; else nothing."""
    closing: list[threading.Thread] = []
    before = _replaceable_handlers()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def close(_number: int, _frame: FrameType | None) -> None:
        if not closing:
            # In a thread of its own: the main thread may hold a lock that closing needs.
            thread = threading.Thread(target=store.close, name="eventstore-close", daemon=True)
            closing.append(thread)
            thread.start()
        restore()

    for number in before:
        signal.signal(number, close)
    try:
        yield closing
    except BaseException:
        if closing:
            store.close(timeout=0.0)
        raise
    finally:
        restore()


def _replaceable_handlers() -> dict[signal.Signals, Any]:
    """Return the handlers that can be put back: not those that C code has installed."""
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    return {number: handler for number, handler in handlers.items() if handler is not None}


def _has_ended(thread: threading.Thread, timeout: float) -> bool:
    thread.join(timeout)
    return not thread.is_alive()


def _wait_awake(wait: Callable[[float], bool], timeout: float | None) -> bool:
    """Call *wait* in short slices until it returns True or *timeout* seconds have passed.

    Python handles signals in the main thread alone, but the system may deliver one to any thread
    (it does while a SIGCONT to the main thread is pending), and that does not end a wait.
    """
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > _NAP:
        if wait(_NAP):
            return True
    return wait(max(0.0, left))
