"""A connection of one user that stays open: of the writer, the keeper or the announcer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from eventstore.model.errors import StorageUnavailableError
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.connector import Connector
from eventstore.storages.postgres.connecting.repeating import repeated

__all__ = ["KeptConnection"]

Result = TypeVar("Result")
Work = Callable[[GuardedConnection], Result]


class KeptConnection:
    """A connection for one user at a time. Reconnects when it was lost. Closed from any thread."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._in_use = threading.Lock()
        self._connection: GuardedConnection | None = None
        self._closed = threading.Event()

    def run_once(self, work: Work[Result], deadline: float) -> Result:
        """Return what *work* returns, given the connection.

        Raises:
            psycopg.Error: From *work*, as it is.
            StorageUnavailableError: There is no connection. *work* was not called.
        """
        with self._in_use:
            return work(self._connected(deadline))

    def run(self, work: Work[Result], deadline: float, doing: str) -> Result:
        """Do what `run_once` does, and retry while the database is away.

        Raises:
            StorageUnavailableError: Not done before *deadline*.
            StorageError: The database refused.
        """
        return repeated(lambda: self.run_once(work, deadline), deadline, doing, self._closed)

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def close(self) -> None:
        """Interrupt the running call, if any, and close."""
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
        # Checked after connecting: a concurrent close() found nothing to interrupt.
        if self._connection is None or self._closed.is_set():
            self._drop()
            raise StorageUnavailableError("the connection was closed")
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
