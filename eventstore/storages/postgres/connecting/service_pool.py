"""The service's pool, lent to the store for reads and catch-ups. The store never closes it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from eventstore.model.errors import StorageError, StorageUnavailableError
from eventstore.storages.postgres.connecting.borrowed_connection import BorrowedConnection
from eventstore.storages.postgres.connecting.lender import Lender, Result, Work
from eventstore.storages.postgres.connecting.sqlstates import translated
from eventstore.storages.postgres.connecting.watchdog import Watchdog

__all__ = ["ServicePool"]


class ServicePool(Lender):
    """Reads over connections of a `psycopg_pool.ConnectionPool`, with deadlines."""

    def __init__(self, pool: object, watchdog: Watchdog) -> None:
        """Use *pool*.

        Raises:
            TypeError: It is not a `psycopg_pool.ConnectionPool`.
        """
        super().__init__()
        if not isinstance(pool, ConnectionPool):
            raise TypeError(
                f"pool must be a psycopg_pool.ConnectionPool, not {type(pool).__name__}"
            )
        self._pool: ConnectionPool[psycopg.Connection[Any]] = pool
        self._watchdog = watchdog
        self._lock = threading.Lock()
        self._lent: set[BorrowedConnection] = set()

    def run_once(self, work: Work[Result], deadline: float) -> Result:
        """Return what *work* returns, given a connection. Without retries.

        Raises:
            psycopg.Error: From *work*, as it is.
            StorageUnavailableError: There is no connection. *work* was not called.
            StorageError: The connection is not in UTF-8.
        """
        raw = self._getconn(deadline)
        try:
            _check_encoding(raw)
            with self._borrowed(raw) as connection:
                return work(connection)
        finally:
            self._pool.putconn(raw)

    def close(self) -> None:
        """Interrupt the running calls. The pool stays open."""
        with self._lock:
            self._closed.set()
            for connection in self._lent:
                connection.interrupt()

    def _getconn(self, deadline: float) -> psycopg.Connection[Any]:
        if self._closed.is_set():
            raise StorageUnavailableError("the storage is closed")
        try:
            return self._pool.getconn(deadline - time.monotonic())
        except PoolTimeout as error:
            raise StorageUnavailableError(
                f"the service's pool {self._pool.name!r} had no connection before the deadline"
            ) from error
        except PoolClosed as error:
            raise StorageUnavailableError(f"the service's pool cannot be used: {error}") from error
        except psycopg.Error as error:
            raise translated(error, "the service's pool refused") from error

    @contextlib.contextmanager
    def _borrowed(self, raw: psycopg.Connection[Any]) -> Iterator[BorrowedConnection]:
        connection = BorrowedConnection(raw, self._watchdog.guard(raw.fileno()))
        with self._lock:
            self._lent.add(connection)
        try:
            # Checked after joining: a concurrent close() found nothing to interrupt.
            if self._closed.is_set():
                raise StorageUnavailableError("the storage was closed")
            yield connection
        finally:
            with self._lock:
                self._lent.discard(connection)
            connection.unguard()


def _check_encoding(raw: psycopg.Connection[Any]) -> None:
    encoding = raw.pgconn.parameter_status(b"client_encoding") or b"unknown"
    if encoding != b"UTF8":
        raise StorageError(
            f"client_encoding of the service's pool is {encoding.decode()}, it must be UTF8"
        )
