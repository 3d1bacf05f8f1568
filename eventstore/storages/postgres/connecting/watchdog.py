"""The watchdog that ends calls at their deadline by shutting down the socket below them.

Nothing else bounds a commit or a black-holed socket: not psycopg, not TCP, not `statement_timeout`.
A statement is never cancelled: one that waits for a synchronous standby would look like a success.
Knows sockets and the clock; no SQL, no driver.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
import socket
import threading
import time

__all__ = ["Guard", "Watchdog"]


class Guard:
    """Watches one socket. Armed around each call, which costs less than a microsecond."""

    __slots__ = ("_deadline", "_lock", "_scheduled", "_socket", "_watchdog", "expired")

    def __init__(self, watchdog: Watchdog, fileno: int) -> None:
        self._watchdog = watchdog
        self._socket = _duplicate(fileno)
        self._lock = threading.Lock()
        self._deadline: float | None = None
        self._scheduled = math.inf
        self.expired = False
        """The socket was shut down."""

    def arm(self, deadline: float) -> None:
        """Shut the socket down at *deadline* unless `disarm` comes first."""
        self._deadline = deadline
        # The watchdog looks again by itself at a moment it has scheduled already.
        if deadline < self._scheduled:
            self._watchdog.schedule(self, deadline)

    def disarm(self) -> bool:
        """Return whether the call ended in time; after that it is safe from this deadline."""
        with self._lock:
            self._deadline = None
            return not self.expired

    def interrupt(self) -> None:
        """Shut the socket down now; whoever waits on it gets an error. From any thread."""
        with self._lock:
            self._shut_down()

    def has_news(self) -> bool:
        """Tell whether an idle connection has something to read: its end, or its last words."""
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
        """Enforce the deadline if it has passed; return when to look again, or infinity."""
        with self._lock:
            if self._deadline is None:
                return math.inf
            if now < self._deadline:
                return self._deadline
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
    """Return the same socket under a number that no other connection can get meanwhile."""
    theirs = socket.socket(fileno=fileno)
    ours = socket.fromfd(fileno, theirs.family, theirs.type)
    theirs.detach()
    # As the driver has it: both numbers share this, and it must not be changed below the driver.
    ours.setblocking(False)
    return ours


class Watchdog:
    """One daemon thread for all guards of a storage, started when first needed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._moments: list[tuple[float, int, Guard]] = []
        self._tie = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False

    def guard(self, fileno: int) -> Guard:
        return Guard(self, fileno)

    def schedule(self, guard: Guard, moment: float) -> None:
        """Look at *guard* at *moment*."""
        with self._changed:
            if self._closed:
                return
            self._push(guard, moment)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="eventstore-deadlines", daemon=True
                )
                self._thread.start()
            elif self._moments[0][2] is guard:
                self._changed.notify()

    def close(self) -> None:
        """Stop watching, and wait for the thread's end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                self._changed.wait(self._check_due(time.monotonic()))

    def _check_due(self, now: float) -> float | None:
        """Look at every guard whose moment has come; return the seconds until the next one."""
        while self._moments and self._moments[0][0] <= now:
            guard = heapq.heappop(self._moments)[2]
            # In this order: a call that arms the guard meanwhile sees that nothing is scheduled.
            guard.scheduled_at(math.inf)
            again = guard.check(now)
            if again < math.inf:
                self._push(guard, again)
        if not self._moments:
            return None
        return min(self._moments[0][0] - now, threading.TIMEOUT_MAX)

    def _push(self, guard: Guard, moment: float) -> None:
        guard.scheduled_at(moment)
        heapq.heappush(self._moments, (moment, next(self._tie), guard))
