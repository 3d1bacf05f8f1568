"""A connection of one user that stays open: of the writer, the keeper or the announcer."""

from __future__ import annotations

import threading
import time

from eventstore.model.errors import StorageUnavailableError
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.connector import Connector
from eventstore.storages.postgres.connecting.lender import Lender, Result, Work

__all__ = ["KeptConnection"]


class KeptConnection(Lender):
    """A connection for one user at a time. Reconnects when it was lost. Closed from any thread."""

    def __init__(self, connector: Connector) -> None:
        super().__init__()
        self._connector = connector
        self._in_use = threading.Lock()
        self._connection: GuardedConnection | None = None
        self._used_at = 0.0

    def run_once(self, work: Work[Result], deadline: float) -> Result:
        """Return what *work* returns, given the connection.

        Raises:
            psycopg.Error: From *work*, as it is.
            StorageUnavailableError: There is no connection. *work* was not called.
        """
        with self._in_use:
            return work(self._connected(deadline))

    @property
    def connected(self) -> bool:
        """Whether `run_once` would not connect first."""
        connection = self._connection
        return connection is not None and not connection.is_stale()

    def connect(self, deadline: float) -> None:
        """Connect unless connected; see `run_once`."""
        with self._in_use:
            self._connected(deadline)

    def close_unused(self, since: float) -> None:
        """Close the connection if it has not been used since a moment. The next call reconnects.

        From any thread. Never blocks.
        """
        if self._used_at < since and self._in_use.acquire(blocking=False):
            try:
                if self._used_at < since:
                    self._drop()
            finally:
                self._in_use.release()

    def close(self) -> None:
        """Interrupt the running call, if any, and close."""
        self._closed.set()
        connection = self._connection
        if connection is not None:
            connection.interrupt()
        with self._in_use:
            self._drop()

    def _connected(self, deadline: float) -> GuardedConnection:
        self._used_at = time.monotonic()
        if self._connection is None or self._connection.is_stale():
            self._drop()
            if not self._closed.is_set():
                self._connection = self._connector.connect(deadline)
        # Checked after connecting: a concurrent close() found nothing to interrupt.
        if self._connection is None or self._closed.is_set():
            self._drop()
            raise StorageUnavailableError("the connection was closed")
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
