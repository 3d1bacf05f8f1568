"""A connection that is made in the background, so that nobody waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from eventstore.model.errors import StorageError
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.connector import Connector

__all__ = ["BackgroundConnection"]

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 10.0
_SHORT_LIFE = 1.0
"""Seconds; a connection that was lost that soon is made again after a pause."""


class BackgroundConnection:
    """Connects again and again, with growing pauses, until there is a connection.

    Used by one thread; closed from any.
    """

    def __init__(self, connector: Connector, timeout: float, ring: Callable[[], object]) -> None:
        """Prepare; `advance` begins to connect.

        Args:
            connector: Used by nothing else: it is closed with the connection.
            timeout: Longest time in seconds for one attempt.
            ring: Called by another thread when an attempt has succeeded or failed.
        """
        self._connector = connector
        self._timeout = timeout
        self._ring = ring
        self._attempts: _Attempts | None = None
        self._made_at = 0.0
        self._pause = 0.0
        self.current: GuardedConnection | None = None
        """The connection, while there is one."""
        self.failure: StorageError | None = None
        """Why the last attempt failed; None while there is a connection or no attempt ended."""

    @property
    def settled(self) -> bool:
        """Whether there is a connection, or an attempt to make one has failed."""
        return self.current is not None or self.failure is not None

    def advance(self) -> bool:
        """Begin to connect, or take over what has come of it. Never blocks.

        Returns:
            Whether there is something new: a connection, or the first failure without one.
        """
        if self.current is not None:
            if not self.current.lost:
                return False
            self.drop()
        if self._attempts is None:
            self._attempts = _Attempts(self._connect, self._ring, self._pause)
            self._attempts.start()
            return False
        failed_before = self.failure is not None
        try:
            self.current, self.failure = self._attempts.outcome()
        except BaseException:
            self._attempts = None
            raise
        if self.current is not None:
            self._attempts, self._made_at = None, time.monotonic()
        return self.settled and not (failed_before and self.current is None)

    def hurry(self) -> None:
        """Try again now if an attempt failed: the server can be reached again."""
        if self._attempts is not None:
            self._attempts.hurry()

    def drop(self) -> None:
        """Close the connection, which was lost. `advance` makes another one."""
        if self.current is not None:
            self.current.close()
            early = time.monotonic() < self._made_at + _SHORT_LIFE
            self._pause = _grown(self._pause) if early else 0.0
        self.current = self.failure = None

    def interrupt(self) -> None:
        """Make a running call on the connection fail, and end the attempts. From any thread."""
        self._connector.close()
        current = self.current
        if current is not None:
            current.interrupt()

    def close(self) -> None:
        """Close the connection for ever, after `interrupt`."""
        if self._attempts is not None:
            self._attempts.end()
        self.drop()

    def _connect(self) -> GuardedConnection:
        return self._connector.connect(time.monotonic() + self._timeout)


class _Attempts(threading.Thread):
    """Attempts to connect until one succeeds."""

    def __init__(
        self,
        connect: Callable[[], GuardedConnection],
        ring: Callable[[], object],
        pause: float,
    ) -> None:
        super().__init__(name="eventstore-listen", daemon=True)
        self._connect = connect
        self._ring = ring
        self._pause = pause
        self._made: GuardedConnection | None = None
        self._failure: BaseException | None = None
        self._hurried = threading.Event()
        self._ended = False

    def run(self) -> None:
        while not self._ended:
            hurried = self._hurried.wait(self._pause)
            self._hurried.clear()
            try:
                self._made = self._connect()
            except BaseException as error:  # noqa: BLE001 - raised by `outcome` in the user's thread
                self._failure = error
            self._ring()
            if self._made is not None or not isinstance(self._failure, StorageError):
                return
            self._pause = _FIRST_PAUSE if hurried else _grown(self._pause)

    def outcome(self) -> tuple[GuardedConnection | None, StorageError | None]:
        """Return the connection, or why the last attempt failed; neither during the first one."""
        made, failure = self._made, self._failure
        if made is not None:
            return made, None
        if failure is None or isinstance(failure, StorageError):
            return None, failure
        raise failure

    def hurry(self) -> None:
        self._hurried.set()

    def end(self) -> None:
        """Wait for the end, which an interrupted attempt is near, and close what was made."""
        self._ended = True
        self._hurried.set()
        self.join()
        if self._made is not None:
            self._made.close()


def _grown(pause: float) -> float:
    return min(2 * pause or _FIRST_PAUSE, _LONGEST_PAUSE)
