"""Connections that are lent for one call, and one that stays with its user.

Both connect in the calling thread and only when needed: no thread of their own, no connection that
nobody uses, and nothing that has to notice the return of a database that was away.

Not `psycopg_pool`: it connects in threads of its own, one connection after the other while it
grows. There a connect that hangs holds up every call that needs a new connection, also when the
network is back, and the error of a connect does not reach the caller who waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg

from eventstore.model.errors import StorageUnavailableError
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.connector import Connector
from eventstore.storages.postgres.connecting.fair_limit import FairLimit
from eventstore.storages.postgres.connecting.sqlstates import (
    LOCK_NOT_AVAILABLE,
    Reaction,
    reaction_to,
    translated,
)

__all__ = ["KeptConnection", "Pool"]

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.5

_PASSING = {Reaction.LOST, Reaction.RETRY, Reaction.RECONNECT}

Result = TypeVar("Result")
Work = Callable[[GuardedConnection], Result]


class Pool:
    """At most *size* connections, for short calls that may be repeated, from any thread."""

    def __init__(self, connector: Connector, size: int) -> None:
        self._connector = connector
        self._size = size
        self._places = FairLimit(size)
        self._lock = threading.Lock()
        self._idle: list[GuardedConnection] = []
        self._lent: set[GuardedConnection] = set()
        self._closed = threading.Event()

    def run(self, work: Work[Result], deadline: float, doing: str) -> Result:
        """Return what *work* returns, given a connection; repeated while the database is away.

        Raises:
            StorageUnavailableError: Not done before *deadline*.
            StorageError: The database refused.
        """
        if not self._places.acquire(deadline - time.monotonic()):
            raise StorageUnavailableError(f"{doing}: all {self._size} connections are in use")
        try:
            return _repeated(lambda: self._lend(work, deadline), deadline, doing, self._closed)
        finally:
            self._places.release()

    def run_once(self, work: Work[Result], deadline: float) -> Result:
        """Return what *work* returns, given a connection; not repeated.

        Raises:
            psycopg.Error: From *work*, as it is.
            StorageUnavailableError: There is no connection; *work* was not called.
        """
        return self._lend(work, deadline)

    def close(self) -> None:
        """Close what is idle, and cut off what is in use."""
        self._closed.set()
        with self._lock:
            idle, self._idle = self._idle, []
            for connection in self._lent:
                connection.interrupt()
        for connection in idle:
            connection.close()

    def _lend(self, work: Work[Result], deadline: float) -> Result:
        connection = self._borrow(deadline)
        try:
            return work(connection)
        finally:
            self._give_back(connection)

    def _borrow(self, deadline: float) -> GuardedConnection:
        if self._closed.is_set():
            raise StorageUnavailableError("the storage is closed")
        connection = self._fresh_idle() or self._connector.connect(deadline)
        with self._lock:
            if not self._closed.is_set():
                self._lent.add(connection)
                return connection
        connection.close()
        raise StorageUnavailableError("the storage was closed")

    def _fresh_idle(self) -> GuardedConnection | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if not connection.is_stale():
                return connection
            connection.close()

    def _give_back(self, connection: GuardedConnection) -> None:
        with self._lock:
            self._lent.discard(connection)
            if not self._closed.is_set():
                self._idle.append(connection)
                return
        connection.close()


class KeptConnection:
    """One connection for one user at a time, made anew when it was lost. Closed from any thread."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._in_use = threading.Lock()
        self._connection: GuardedConnection | None = None
        self._closed = threading.Event()

    def run_once(self, work: Work[Result], deadline: float) -> Result:
        """Return what *work* returns, given the connection.

        Raises:
            psycopg.Error: From *work*, as it is.
            StorageUnavailableError: There is no connection; *work* was not called.
        """
        with self._in_use:
            return work(self._connected(deadline))

    def run(self, work: Work[Result], deadline: float, doing: str) -> Result:
        """Do as `run_once`, repeated while the database is away.

        Raises:
            StorageUnavailableError: Not done before *deadline*.
            StorageError: The database refused.
        """
        return _repeated(lambda: self.run_once(work, deadline), deadline, doing, self._closed)

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def close(self) -> None:
        """Cut off the call under way, if any, and close."""
        self._closed.set()
        connection = self._connection
        if connection is not None:
            connection.interrupt()
        with self._in_use:
            self._drop()

    def _connected(self, deadline: float) -> GuardedConnection:
        if self._connection is None or self._connection.is_stale():
            self._drop()
            if not self._closed.is_set():
                self._connection = self._connector.connect(deadline)
        # Looked at after connecting: a close() meanwhile found nothing to interrupt.
        if self._connection is None or self._closed.is_set():
            self._drop()
            raise StorageUnavailableError("the connection was closed")
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _repeated(
    attempt: Callable[[], Result], deadline: float, doing: str, closed: threading.Event
) -> Result:
    """Call *attempt* until it gets through, the database refuses, or *deadline* passes."""
    pause = _FIRST_PAUSE
    while True:
        reason: Exception
        try:
            return attempt()
        except psycopg.Error as error:
            # The wait for a lock was as long as the deadline allowed.
            if reaction_to(error) not in _PASSING or error.sqlstate == LOCK_NOT_AVAILABLE:
                raise translated(error, doing) from error
            reason = error
        except StorageUnavailableError as error:
            reason = error
        if time.monotonic() + pause >= deadline or closed.wait(pause):
            raise _given_up(reason, doing)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _given_up(reason: Exception, doing: str) -> Exception:
    if not isinstance(reason, psycopg.Error):
        return reason
    error = translated(reason, doing)
    error.__cause__ = reason
    return error
