"""Names the transaction that holds the write lock, for an append that waited for it in vain."""

from __future__ import annotations

import time
from datetime import datetime

import psycopg

from eventstore.model.errors import StorageError
from eventstore.storages.postgres.connecting.lender import Lender
from eventstore.storages.postgres.moments import utc
from eventstore.storages.postgres.statements import Statements

__all__ = ["held_by"]

_LEAST = 0.02
"""Seconds that the look may take, also if less is left of the append's time."""


def held_by(lender: Lender, statements: Statements, deadline: float) -> str | None:
    """Return who holds the write lock now, as a clause of a message; empty if nobody does any more.

    None if the database does not answer before *deadline*.
    """
    until = max(deadline, time.monotonic() + _LEAST)
    try:
        rows = lender.run_once(lambda c: c.execute(statements.write_lock_holder, (), until), until)
    except (psycopg.Error, StorageError):
        return None
    return "".join(_clause(*row) for row in rows)


def _clause(pid: int, application: str | None, state: str | None, began_at: datetime | None) -> str:
    # Another role's sessions show their process alone.
    known = [repr(application)] if application else []
    known += [state] if state else []
    details = f" ({', '.join(known)})" if known else ""
    since = f" in a transaction since {utc(began_at).isoformat()}" if began_at is not None else ""
    return f", for process {pid}{details} holds the write lock{since}"
