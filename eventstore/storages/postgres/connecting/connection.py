"""A connection to the server whose calls end by their deadlines."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from eventstore.model.errors import StorageUnavailableError
from eventstore.model.log import get_logger
from eventstore.storages.postgres.connecting.sqlstates import Reaction, reaction_to, unanswered
from eventstore.storages.postgres.connecting.watchdog import Guard

__all__ = [
    "GuardedConnection",
    "PlainConnection",
    "PooledConnection",
    "Row",
    "Take",
    "in_chunks",
    "leaves_unconfirmed",
]

Row = tuple[Any, ...]

T = TypeVar("T")

Take = Callable[[psycopg.Cursor[Row]], T]
"""Makes something of the rows that a statement found."""

_FRESH = 0.02
"""Seconds after its last use in which a connection counts as alive without a check."""

_CHUNK = 100
"""Rows."""

_log = get_logger()


class GuardedConnection:
    """A connection in autocommit. Each call ends by its deadline.

    Used by one thread at a time; only `interrupt` may be called from another one.
    """

    def __init__(
        self, raw: psycopg.Connection[Any], guard: Guard, never_prepare: Callable[[], None]
    ) -> None:
        """Take over a new connection.

        Args:
            raw: The connection. Its `prepare_threshold` is None if nothing is to be prepared.
            guard: Watches its socket.
            never_prepare: Called when a pooler turns out to mix up prepared statements.
        """
        self.raw = raw
        self._guard = guard
        self._never_prepare = never_prepare
        self._doubtful = False
        # One for all statements: a new one looks up again how each value is converted, which costs
        # a fifth of a short read.
        self._cursor: psycopg.Cursor[Any] | None = None
        self._used_at = -math.inf
        self.pooled = False
        """Whether a pooler is in between, which may run each statement in another session."""
        self._hear()

    @property
    def lost(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._guard.expired or self.raw.closed

    @property
    def doubtful(self) -> bool:
        """Whether the last statement warned that it may not have reached the standbys."""
        return self._doubtful

    def execute(self, statement: bytes, parameters: Sequence[object], deadline: float) -> list[Row]:
        """Run one prepared statement and return its rows, in binary format; see `fetch`."""
        return self.fetch(statement, parameters, deadline, _all_rows)

    def fetch(
        self,
        statement: bytes,
        parameters: Sequence[object],
        deadline: float,
        take: Take[T],
    ) -> T:
        """Run one prepared statement and return what *take* makes of its rows, in binary format.

        Raises:
            psycopg.Error: As the driver raises it; see `lost`.
            StorageUnavailableError: The deadline had passed, or the connection was lost before;
                nothing was sent.
        """
        if time.monotonic() >= deadline:
            raise StorageUnavailableError("the deadline passed before the statement was sent")
        if self.lost:
            raise StorageUnavailableError("the connection was lost before the statement was sent")
        self._doubtful = False
        try:
            return self._run(statement, parameters, deadline, take)
        except psycopg.Error as error:
            if self._guard.late and error.sqlstate is None:
                self.close()
                raise unanswered() from error
            match reaction_to(error):
                case Reaction.UNPREPARED if self.raw.prepare_threshold is not None:
                    self._stop_preparing(error)
                    return self._run(statement, parameters, deadline, take)
                case Reaction.LOST | Reaction.RECONNECT:
                    self.close()
                case _:
                    pass
            raise

    @contextlib.contextmanager
    def transaction(self, deadline: float) -> Iterator[psycopg.Connection[Any]]:
        """Run several statements in one transaction, which must end by *deadline*."""
        self._guard.arm(deadline)
        try:
            with self.raw.transaction():
                yield self.raw
        except psycopg.Error as error:
            if self._guard.late and error.sqlstate is None:
                raise unanswered() from error
            raise
        finally:
            self._guard.disarm()

    def forget_result(self) -> None:
        """Let go of the last result, which is else held until the next statement."""
        self._cursor = None

    def is_stale(self) -> bool:
        """Return whether a connection that is not in use must not be used again."""
        if self.lost or self.raw.pgconn.transaction_status != TransactionStatus.IDLE:
            return True
        return time.monotonic() > self._used_at + _FRESH and self._guard.has_news()

    def interrupt(self) -> None:
        """Make the running call fail, from any thread. The connection is lost."""
        self._guard.interrupt()

    def unguard(self) -> None:
        """Release the socket, because the connection is being closed."""
        self._guard.close()

    def close(self) -> None:
        self.unguard()
        with contextlib.suppress(psycopg.Error):
            self.raw.close()

    def _hear(self) -> None:
        self.raw.add_notice_handler(self._notice)
        self.raw.add_notify_handler(_ignore)

    def _run(
        self,
        statement: bytes,
        parameters: Sequence[object],
        deadline: float,
        take: Take[T],
    ) -> T:
        self._guard.arm(deadline)
        try:
            cursor = self._cursor = self._cursor or self.raw.cursor(binary=True)
            cursor.execute(statement, parameters, prepare=True)
            return take(cursor)
        finally:
            self._guard.disarm()
            self._used_at = time.monotonic()

    def _stop_preparing(self, error: psycopg.Error) -> None:
        """Prepare nothing any more: a pooler lends the session to others in between."""
        self.raw.prepare_threshold = None
        if error.sqlstate != "0A000":
            self._never_prepare()

    def _notice(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        self._doubtful = self._doubtful or leaves_unconfirmed(diagnostic)
        _log.debug("notice from the server", text=diagnostic.message_primary)


class PooledConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection in a pool of psycopg's, created by a function of ours."""

    guarded: GuardedConnection
    """The same connection with deadlines; set before the pool gets it."""

    @classmethod
    def connect(cls, conninfo: str = "", **kwargs: Any) -> Self:
        """Call the argument *made_by* of our pools. Without it, connect as psycopg does."""
        made_by: Callable[[], Self] | None = kwargs.pop("made_by", None)
        return super().connect(conninfo, **kwargs) if made_by is None else made_by()

    def close(self) -> None:
        guarded = getattr(self, "guarded", None)
        if guarded is not None:
            guarded.unguard()
        super().close()


class PlainConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection for the application. Another object may take over what it leads to."""

    def __del__(self, *_: Any) -> None:
        """Do not warn that it is open: whoever took it over closes it."""


def leaves_unconfirmed(notice: psycopg.errors.Diagnostic) -> bool:
    """Return whether *notice* says that a commit was not confirmed by the standbys that had to.

    A cancelled wait for a synchronous standby looks like a success, but for this warning. Its code
    is that of every warning, and its text is translated.
    """
    return notice.source_function == "SyncRepWaitForLSN"


def in_chunks(made_of: Callable[[list[Row]], list[T]], cursor: psycopg.Cursor[Row]) -> list[T]:
    """Return what is made of the rows of *cursor*, a few at a time.

    All at once, they would live long enough to be a tenth of a catch-up's work for the garbage
    collector.
    """
    made: list[T] = []
    while rows := cursor.fetchmany(_CHUNK):
        made += made_of(rows)
    return made


def _all_rows(cursor: psycopg.Cursor[Row]) -> list[Row]:
    # `description` would cost 10 us: it builds an object for each column.
    return cursor.fetchall() if cursor.rownumber is not None else []


def _ignore(_notify: psycopg.Notify) -> None:
    """Drop notifications for others behind a pooler; without a handler psycopg collects them."""
