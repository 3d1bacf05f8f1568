"""A connection to the server, guarded in every call."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import psycopg
from psycopg.pq import TransactionStatus

from eventstore.model.errors import StorageUnavailableError
from eventstore.model.log import get_logger
from eventstore.storages.postgres.connecting.sqlstates import Reaction, reaction_to
from eventstore.storages.postgres.connecting.watchdog import Guard

__all__ = ["GuardedConnection", "PooledConnection"]

_FRESH = 0.02
"""Seconds after its last use for which nobody looks whether a connection still lives."""

_log = get_logger()


class GuardedConnection:
    """A connection in autocommit, each call of which ends by its deadline.

    Used by one thread at a time; `interrupt` alone may come from another.
    """

    def __init__(
        self, raw: psycopg.Connection[Any], guard: Guard, never_prepare: Callable[[], None]
    ) -> None:
        """Take over a new connection.

        Args:
            raw: The connection; its `prepare_threshold` is None if nothing shall be prepared.
            guard: Watches its socket.
            never_prepare: Called when a pooler turns out to mix up prepared statements.
        """
        self.raw = raw
        self._guard = guard
        self._never_prepare = never_prepare
        self._doubtful = False
        self._used_at = -math.inf
        self.pooled = False
        """A pooler is in between, which may give each statement another session."""
        self._hear()

    @property
    def lost(self) -> bool:
        """Nothing can be sent any more."""
        return self._guard.expired or self.raw.closed

    @property
    def doubtful(self) -> bool:
        """The last statement warned that it may not have reached the standbys."""
        return self._doubtful

    def execute(
        self, statement: bytes, parameters: Sequence[object], deadline: float
    ) -> list[tuple[Any, ...]]:
        """Run one prepared statement and return its rows, in binary format.

        Raises:
            psycopg.Error: As the driver raises it; look at `lost`.
            StorageUnavailableError: The deadline has passed already; nothing was sent.
        """
        if time.monotonic() >= deadline:
            raise StorageUnavailableError("the deadline passed before the statement was sent")
        self._doubtful = False
        try:
            return self._run(statement, parameters, deadline)
        except psycopg.Error as error:
            match reaction_to(error):
                case Reaction.UNPREPARED if self.raw.prepare_threshold is not None:
                    self._stop_preparing(error)
                    return self._run(statement, parameters, deadline)
                case Reaction.LOST | Reaction.RECONNECT:
                    self.close()
                case _:
                    pass
            raise

    @contextlib.contextmanager
    def transaction(self, deadline: float) -> Iterator[psycopg.Connection[Any]]:
        """Run several statements in one transaction, which must be over at *deadline*."""
        self._guard.arm(deadline)
        try:
            with self.raw.transaction():
                yield self.raw
        finally:
            self._guard.disarm()

    def is_stale(self) -> bool:
        """Tell of a connection not in use that it is not to be used again."""
        if self.lost or self.raw.pgconn.transaction_status != TransactionStatus.IDLE:
            return True
        return time.monotonic() > self._used_at + _FRESH and self._guard.has_news()

    def interrupt(self) -> None:
        """Make the call under way fail, from any thread. The connection is lost."""
        self._guard.interrupt()

    def unguard(self) -> None:
        """Let go of the socket; the connection is being closed."""
        self._guard.close()

    def close(self) -> None:
        self.unguard()
        with contextlib.suppress(psycopg.Error):
            self.raw.close()

    def _hear(self) -> None:
        self.raw.add_notice_handler(self._notice)
        self.raw.add_notify_handler(_ignore)

    def _run(
        self, statement: bytes, parameters: Sequence[object], deadline: float
    ) -> list[tuple[Any, ...]]:
        self._guard.arm(deadline)
        try:
            cursor = self.raw.cursor(binary=True)
            cursor.execute(statement, parameters, prepare=True)
            # What `description` says costs 10 us: it makes a column of each field.
            return cursor.fetchall() if cursor.rownumber is not None else []
        finally:
            self._guard.disarm()
            self._used_at = time.monotonic()

    def _stop_preparing(self, error: psycopg.Error) -> None:
        """A pooler hands the session to others between our statements: prepare none any more."""
        self.raw.prepare_threshold = None
        if error.sqlstate != "0A000":
            self._never_prepare()

    def _notice(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        # A wait for a synchronous standby that was cancelled ends like a success.
        if diagnostic.sqlstate == "01000":
            self._doubtful = True
        _log.debug("notice from the server", text=diagnostic.message_primary)


class PooledConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection in a pool of psycopg's, made by a function of ours."""

    guarded: GuardedConnection
    """The same connection, to be used by; set before the pool gets it."""

    @classmethod
    def connect(cls, conninfo: str = "", **kwargs: Any) -> Self:
        """Call *made_by*, what a pool is told to pass; without it connect as psycopg does."""
        made_by: Callable[[], Self] | None = kwargs.pop("made_by", None)
        return super().connect(conninfo, **kwargs) if made_by is None else made_by()

    def close(self) -> None:
        guarded = getattr(self, "guarded", None)
        if guarded is not None:
            guarded.unguard()
        super().close()


def _ignore(_notify: psycopg.Notify) -> None:
    """Drop what a session of a pooler hears for others; without a handler psycopg keeps it all."""
