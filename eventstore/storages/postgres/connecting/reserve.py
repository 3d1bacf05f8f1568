"""A few connections that several stores share, for calls that must not wait for one another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from eventstore.model.errors import StorageUnavailableError
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.connector import Connector
from eventstore.storages.postgres.connecting.lender import Lender, Result, Work

__all__ = ["Reserve"]

_FEW = 2
"""Connections that are lent without a wait, and connects at once."""

_HANGING = 0.1
"""Seconds without a loan, while somebody waits, after which there is one more connection."""


class Reserve(Lender):
    """Lends a connection for each call, the one used last first. Used from any thread.

    A few connections serve all stores, because the calls are short. A call that hangs keeps its
    connection until its deadline. If all of them hang, there is soon one more; if the calls are
    only many, they take turns.
    """

    def __init__(self, connector: Connector, lost: Callable[[], object] = lambda: None) -> None:
        """Prepare; the first call connects.

        Args:
            connector: Connects.
            lost: Called from any thread when a connection turned out to be lost.
        """
        super().__init__()
        self._connector = connector
        self._lost = lost
        self._changed = threading.Condition()
        self._lent: set[GuardedConnection] = set()
        self._connecting = 0
        self._lent_at = 0.0
        """When there was a loan last."""
        self._idle: list[tuple[float, GuardedConnection]] = []
        """When each was given back, oldest first."""

    def run_once(self, work: Work[Result], deadline: float) -> Result:
        """Return what *work* returns, given a connection. Without retries.

        Raises:
            psycopg.Error: From *work*, as it is.
            StorageUnavailableError: There is no connection. *work* was not called.
        """
        connection = self._borrow(deadline)
        try:
            return work(connection)
        finally:
            self._give_back(connection)

    def close_unused(self, since: float) -> None:
        """Close what has not been used since a moment; see `KeptConnection.close_unused`."""
        with self._changed:
            unused = [each for given_back, each in self._idle if given_back < since]
            del self._idle[: len(unused)]
        for connection in unused:
            connection.close()

    def close(self) -> None:
        """Interrupt the running calls, and close every connection once it is given back."""
        with self._changed:
            self._closed.set()
            self._changed.notify_all()
            for connection in self._lent:
                connection.interrupt()
            while self._lent or self._connecting:
                self._changed.wait()
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    # ── lending ──────────────────────────────────────────────────────────────────────────────────

    def _borrow(self, deadline: float) -> GuardedConnection:
        patience = min(_HANGING, (deadline - time.monotonic()) / 4)
        with self._changed:
            while (connection := self._take()) is None and not self._may_connect(patience):
                self._await_change(patience, deadline)
            if connection is not None:
                return connection
            self._connecting += 1
        try:
            connection = self._connector.connect(deadline)
        finally:
            with self._changed:
                self._connecting -= 1
                if connection is not None:
                    self._lend(connection)
                self._changed.notify_all()
        if self._closed.is_set():
            self._give_back(connection)
            raise StorageUnavailableError("the storage was closed")
        return connection

    def _take(self) -> GuardedConnection | None:
        """Lend the connection that was given back last."""
        if self._closed.is_set():
            raise StorageUnavailableError("the storage is closed")
        while self._idle:
            _, connection = self._idle.pop()
            if not connection.is_stale():
                self._lend(connection)
                return connection
            connection.close()
            self._lost()
        return None

    def _lend(self, connection: GuardedConnection) -> None:
        self._lent.add(connection)
        self._lent_at = time.monotonic()

    def _may_connect(self, patience: float) -> bool:
        if self._connecting >= _FEW:
            return False
        few = len(self._lent) + self._connecting < _FEW
        return few or time.monotonic() >= self._lent_at + patience

    def _await_change(self, patience: float, deadline: float) -> None:
        now = time.monotonic()
        if now >= deadline:
            raise StorageUnavailableError("no connection was free before the deadline")
        hangs_at = self._lent_at + patience
        self._changed.wait((min(hangs_at, deadline) if now < hangs_at else deadline) - now)

    def _give_back(self, connection: GuardedConnection) -> None:
        lost = connection.is_stale()
        if lost:
            connection.close()
            self._lost()
        with self._changed:
            self._lent.discard(connection)
            if not lost:
                self._idle.append((time.monotonic(), connection))
            if self._closed.is_set():
                self._changed.notify_all()
            else:
                self._changed.notify()
