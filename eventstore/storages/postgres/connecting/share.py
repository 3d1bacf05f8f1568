"""What one store uses of connections that several share."""

from __future__ import annotations

import threading

from eventstore.model.errors import StorageUnavailableError
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.lender import Lender, Result, Work

__all__ = ["Share"]


class Share(Lender):
    """Passes calls on to another lender. Closing it ends these calls, and no others."""

    def __init__(self, lender: Lender) -> None:
        super().__init__()
        self._lender = lender
        self._lent: set[GuardedConnection] = set()
        self._lock = threading.Lock()

    def run_once(self, work: Work[Result], deadline: float) -> Result:
        """Return what *work* returns, given a connection. Without retries.

        Raises:
            psycopg.Error: From *work*, as it is.
            StorageUnavailableError: There is no connection. *work* was not called.
        """

        def call(connection: GuardedConnection) -> Result:
            with self._lock:
                self._check_open()
                self._lent.add(connection)
            try:
                return work(connection)
            finally:
                with self._lock:
                    self._lent.discard(connection)

        self._check_open()
        return self._lender.run_once(call, deadline)

    def close(self) -> None:
        """Interrupt the running calls, whose connections are lost. The lender stays open."""
        with self._lock:
            self._closed.set()
            for connection in self._lent:
                connection.interrupt()

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise StorageUnavailableError("the storage is closed")
