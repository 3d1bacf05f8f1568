"""Connections for reads and catch-ups: a `psycopg_pool.ConnectionPool` with deadlines.

The pool connects in threads of its own, which start with the first read. It grows by one connection
at a time, so a connect without an answer delays the next one. The first attempts are short for that
reason.
"""

from __future__ import annotations

import threading
import time

import psycopg
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from eventstore.model.errors import StorageError, StorageUnavailableError
from eventstore.storages.postgres.connecting.connection import PooledConnection
from eventstore.storages.postgres.connecting.connector import Connector
from eventstore.storages.postgres.connecting.lender import Lender, Result, Work
from eventstore.storages.postgres.connecting.pool_log import POOL_NAME, take_over_log
from eventstore.storages.postgres.connecting.precedence import Precedence

__all__ = ["Pool"]

_MAX_IDLE = 10.0
"""Seconds; the pool closes one connection that was not needed for that long, then the next."""

_RECONNECT_TIMEOUT = 0.1
"""Seconds after which a failed connect is given up. Another begins while somebody waits."""

_WORKERS = 2
"""Threads that connect: one grows the pool, one replaces lost connections meanwhile."""

_AT_ONCE = 0.01
"""Seconds to take an idle connection; with 0 the pool always refuses."""

_Connections = ConnectionPool[PooledConnection]


class Pool(Lender):
    """At most *size* connections for short calls that can be retried. Used from any thread."""

    def __init__(
        self, connector: Connector, size: int, precedence: Precedence, connect_timeout: float
    ) -> None:
        """Prepare; the first call starts the pool's threads.

        Args:
            connector: Connects.
            size: Maximum number of connections.
            precedence: Says when other connections come first.
            connect_timeout: See `Config`.
        """
        super().__init__()
        self._connector = connector
        self._size = size
        self._precedence = precedence
        self._patience = connector.patience(connect_timeout)
        self._lock = threading.Lock()
        self._lent: set[PooledConnection] = set()
        self._failure: StorageError | None = None
        take_over_log()
        self._pool = self._new_pool()
        precedence.readers(self.give_back)

    def run_once(self, work: Work[Result], deadline: float) -> Result:
        """Return what *work* returns, given a connection. Without retries.

        Raises:
            psycopg.Error: From *work*, as it is.
            StorageUnavailableError: There is no connection. *work* was not called.
        """
        pool, raw = self._borrow(deadline)
        try:
            return work(raw.guarded)
        finally:
            self._lent.discard(raw)
            pool.putconn(raw)

    def give_back(self) -> None:
        """Close idle connections, because the server has none left for others that come first."""
        pool = self._pool
        for _ in range(self._size):
            if pool.closed or not pool.get_stats()["pool_available"]:
                return
            try:
                raw = pool.getconn(_AT_ONCE)
            except (PoolTimeout, PoolClosed):
                return
            raw.close()
            pool.putconn(raw)

    def replace_if_dead(self) -> str | None:
        """Replace the pool if one of its threads is dead: it would connect no more.

        Returns:
            The name of that thread; None if all are alive.
        """
        pool = self._pool
        dead = next((thread for thread in _threads_of(pool) if not thread.is_alive()), None)
        if dead is None:
            return None
        self._abandon(pool)
        return dead.name

    def close(self) -> None:
        """Close idle connections, and interrupt those in use."""
        with self._lock:
            self._closed.set()
        for raw in tuple(self._lent):
            raw.guarded.interrupt()
        self._pool.close()

    # ── lending ──────────────────────────────────────────────────────────────────────────────────

    def _borrow(self, deadline: float) -> tuple[_Connections, PooledConnection]:
        while True:
            pool = self._pool
            try:
                raw = pool.getconn(deadline - time.monotonic())
            except PoolClosed:
                # It is not open yet, was abandoned, or was closed with the storage.
                self._open()
                continue
            except PoolTimeout as error:
                raise self._unserved() from error
            except Exception:
                raise
            except BaseException:
                self._abandon(pool)
                raise
            # This order needs no lock: either `close` finds the connection, or we see it closed.
            self._lent.add(raw)
            if not (self._closed.is_set() or raw.guarded.is_stale()):
                return pool, raw
            self._lent.discard(raw)
            raw.close()
            pool.putconn(raw)

    def _open(self) -> None:
        with self._lock:
            if self._closed.is_set():
                raise StorageUnavailableError("the storage is closed")
            self._pool.open()

    def _abandon(self, pool: _Connections) -> None:
        """Replace the pool; its connections are closed, also those in use once they are given back.

        After its waiter was interrupted, for instance by Ctrl-C, it would hand a connection to that
        waiter, who is gone, and count it as lent for ever.
        """
        with self._lock:
            if pool is not self._pool or self._closed.is_set():
                return
            self._pool = self._new_pool()
        threading.Thread(target=pool.close, name="eventstore-abandoned-pool", daemon=True).start()

    def _new_pool(self) -> _Connections:
        return ConnectionPool(
            connection_class=PooledConnection,
            kwargs={"made_by": self._connect},
            min_size=0,
            max_size=self._size,
            open=False,
            name=POOL_NAME,
            max_idle=_MAX_IDLE,
            reconnect_timeout=_RECONNECT_TIMEOUT,
            reconnect_failed=_grow_again,
            num_workers=_WORKERS,
        )

    def _unserved(self) -> StorageError:
        """Return why there was no connection in time: the failure since the last success."""
        failure = self._failure
        if failure is not None:
            return type(failure)(str(failure))
        if len(self._lent) < self._size:
            return StorageUnavailableError("no connection was opened before the deadline")
        return StorageUnavailableError(f"all {self._size} connections are in use")

    # ── connecting, in the pool's threads ────────────────────────────────────────────────────────

    def _connect(self) -> PooledConnection:
        """Connect.

        Raises:
            psycopg.OperationalError: Other connections come first.
            StorageError: As the connector raises it.
        """
        if self._precedence.scarce and not self._waiting:
            raise psycopg.OperationalError("nobody waits for a connection")
        if self._precedence.others_first:
            raise psycopg.OperationalError("writer, keeper and listener connect first")
        self._closed.wait(self._patience.pause)
        began = time.monotonic()
        try:
            raw = self._connector.connect_pooled(began + self._patience.seconds)
        except StorageError as error:
            self._failure = error
            self._patience.failed(time.monotonic() - began)
            raise
        self._failure = None
        self._patience.succeeded()
        return raw

    @property
    def _waiting(self) -> int:
        return self._pool.get_stats()["requests_waiting"]


def _grow_again(pool: _Connections) -> None:
    """Connect again for those who wait; the pool itself does so only for the next caller."""
    if pool.get_stats()["requests_waiting"]:
        pool.check()


def _threads_of(pool: _Connections) -> list[threading.Thread]:
    """Return the threads of an open pool; they are not public, so none may be found."""
    workers = getattr(pool, "_workers", ())
    return [each for each in (*workers, getattr(pool, "_sched_runner", None)) if each is not None]
