"""Erases the events of streams that were deleted for good, a few at a time."""

from __future__ import annotations

import time

import psycopg
from psycopg.types.numeric import Int4

from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.statements import Statements

__all__ = ["Eraser"]

_FIRST = 200
_MOST = 5_000
"""Rows of a batch."""

_SHORT, _LONG = 0.01, 0.02
"""Seconds that a batch should take. An append that uses an id anew waits for the batch with it."""

_PATIENCE = Int4(100)
"""Milliseconds to wait for somebody who has a row locked."""


class Eraser:
    """Erases batch after batch. One that took long is followed by a smaller one."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._rows = _FIRST

    def erase(self, connection: GuardedConnection, deadline: float) -> bool:
        """Erase a batch.

        Returns:
            Whether to go on. False also if somebody else erases, or has a row locked: try later.
        """
        began = time.monotonic()
        try:
            ((erased, more),) = connection.execute(
                self._statements.erase, (_PATIENCE, Int4(self._rows)), deadline
            )
        except psycopg.errors.LockNotAvailable:
            return False
        took = time.monotonic() - began
        if took > _LONG:
            self._rows = max(1, self._rows // 2)
        elif took < _SHORT and erased == self._rows:
            self._rows = min(2 * self._rows, _MOST)
        return bool(more)
