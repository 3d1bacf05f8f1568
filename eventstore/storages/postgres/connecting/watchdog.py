"""The watchdog that ends calls at their deadlines by shutting down their sockets.

Nothing else limits a commit or a black-holed socket: not psycopg, TCP or `statement_timeout`. It
never cancels a statement: a cancelled wait for a synchronous standby would look like a success.
It knows sockets and the clock, but no SQL and no driver.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
import socket
import threading
import time
from collections.abc import Callable
from typing import Protocol

from eventstore.model.log import get_logger

__all__ = ["Guard", "Watchdog", "Watched"]

_log = get_logger()


class Watched(Protocol):
    """What the watchdog checks at a moment, in its thread."""

    def check(self, now: float) -> float:
        """Do what is due; never block. Return when to check again, or infinity."""

    def scheduled_at(self, moment: float) -> None:
        """Note when the next check is."""


class Guard:
    """Watches one socket. It is armed around each call, for less than a microsecond."""

    __slots__ = ("_deadline", "_lock", "_scheduled", "_socket", "_watchdog", "expired", "late")

    def __init__(self, watchdog: Watchdog, fileno: int) -> None:
        self._watchdog = watchdog
        self._socket = _duplicate(fileno)
        self._lock = threading.Lock()
        self._deadline: float | None = None
        self._scheduled = math.inf
        self.expired = False
        """Whether the socket was shut down."""
        self.late = False
        """Whether it was shut down because a call had not ended by its deadline."""

    def arm(self, deadline: float) -> None:
        """Shut down the socket at *deadline* unless `disarm` is called before."""
        self._deadline = deadline
        # A later deadline needs no schedule: the watchdog checks at the scheduled moment.
        if deadline < self._scheduled:
            self._watchdog.schedule(self, deadline)

    def disarm(self) -> bool:
        """Cancel the deadline. Return whether the call ended in time."""
        with self._lock:
            self._deadline = None
            return not self.expired

    def interrupt(self) -> None:
        """Shut down the socket now, from any thread. Whoever waits on it gets an error."""
        with self._lock:
            self._shut_down()

    def has_news(self) -> bool:
        """Return whether an idle connection has something to read, for instance its end."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def close(self) -> None:
        with self._lock:
            self._deadline = None
            self.expired = True
            self._socket.close()

    def check(self, now: float) -> float:
        """Enforce the deadline if it has passed. Return when to check again, or infinity."""
        with self._lock:
            if self._deadline is None:
                return math.inf
            if now < self._deadline:
                return self._deadline
            self.late = not self.expired
            self._shut_down()
            return math.inf

    def scheduled_at(self, moment: float) -> None:
        self._scheduled = moment

    def _shut_down(self) -> None:
        if not self.expired:
            self.expired = True
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def _duplicate(fileno: int) -> socket.socket:
    """Duplicate the file number, so that it cannot pass to another connection meanwhile."""
    theirs = socket.socket(fileno=fileno)
    ours = socket.fromfd(fileno, theirs.family, theirs.type)
    theirs.detach()
    # Both numbers share this flag, and the driver needs it set so.
    ours.setblocking(False)
    return ours


def _log_crash(error: BaseException) -> None:
    _log.error("thread crashed", thread="watchdog", error=repr(error))


class Watchdog:
    """One daemon thread for all guards of a storage. It starts when it is first needed.

    An exception in it is reported, and it goes on: without it, calls have no deadline.
    """

    def __init__(self) -> None:
        self.crashed: Callable[[BaseException], object] = _log_crash
        """Called in its thread, with an exception of that."""
        self._changed = threading.Condition()
        self._moments: list[tuple[float, int, Watched]] = []
        self._tie = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False

    def guard(self, fileno: int) -> Guard:
        return Guard(self, fileno)

    def schedule(self, watched: Watched, moment: float) -> None:
        """Check *watched* at *moment*."""
        with self._changed:
            if self._closed:
                return
            self._push(watched, moment)
            if self._thread is None:
                self._start()
            elif self._moments[0][2] is watched:
                self._changed.notify()

    def overdue(self) -> float:
        """Return for how many seconds the oldest deadline has not been enforced; 0 if it was."""
        # Without the lock, which a thread that does not go on may hold.
        oldest = next(iter(self._moments), None)
        return 0.0 if oldest is None else max(0.0, time.monotonic() - oldest[0])

    def replace_if_dead(self) -> bool:
        """Start the thread again if it is dead; return whether it was."""
        if self._thread is None or self._thread.is_alive() or self._closed:
            return False
        self._start()
        return True

    def close(self) -> None:
        """Stop watching, and wait until the thread has ended."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="eventstore-deadlines", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closed:
            try:
                with self._changed:
                    while not self._closed:
                        self._changed.wait(self._check_due(time.monotonic()))
            except BaseException as error:  # noqa: BLE001 - reported; nothing else ends calls
                self.crashed(error)

    def _check_due(self, now: float) -> float | None:
        """Check all that is due. Return the seconds until the next check."""
        while self._moments and self._moments[0][0] <= now:
            watched = self._moments[0][2]
            # First unscheduled, then checked: a concurrent `arm` then schedules it again.
            watched.scheduled_at(math.inf)
            again = watched.check(now)
            # Not before the check: an exception leaves it to the next turn.
            heapq.heappop(self._moments)
            if again < math.inf:
                self._push(watched, again)
        if not self._moments:
            return None
        return min(self._moments[0][0] - now, threading.TIMEOUT_MAX)

    def _push(self, watched: Watched, moment: float) -> None:
        watched.scheduled_at(moment)
        heapq.heappush(self._moments, (moment, next(self._tie), watched))
