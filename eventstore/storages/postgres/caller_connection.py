"""The connection of a caller's transaction: found in what the caller gives, and refused if unfit.

Nothing is sent here. Only attributes that their makers document are used, so that neither Django
nor SQLAlchemy is imported.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import IsolationLevel
from psycopg.pq import PipelineStatus, TransactionStatus

from eventstore.model.checks import shown

__all__ = ["DriverConnection", "check_open", "check_writable", "driver_connection"]

DriverConnection = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]

_MOST_STEPS = 4
"""From a session of SQLAlchemy to its connection, to the pool's, to the driver's."""

_WRITABLE = {None, IsolationLevel.READ_COMMITTED}


def driver_connection(given: object, *, blocking: bool) -> DriverConnection:
    """Return the psycopg connection that *given* is, or leads to.

    Args:
        given: The argument *connection* of a caller.
        blocking: Whether it is for a thread, not for a coroutine.

    Raises:
        TypeError: It leads to no connection of psycopg, or to one of the other kind.
        ValueError: SQLAlchemy has not begun a transaction, and so would not commit it.
    """
    found: object = given
    for _ in range(_MOST_STEPS):
        if isinstance(found, psycopg.Connection | psycopg.AsyncConnection):
            return _of_its_kind(found, blocking=blocking)
        if _has_not_begun(found):
            raise ValueError(f"connection has not begun a transaction, begin it: {shown(given)}")
        found = _next(found)
    raise TypeError(
        "connection must be a connection or a cursor of psycopg, a cursor of Django, or a Session"
        " or connection of SQLAlchemy, over psycopg (with an AsyncSession: await"
        f" session.connection()), not {type(given).__name__}: {shown(given)}"
    )


def check_writable(connection: DriverConnection) -> None:
    """Return if something can be written in the transaction of *connection*, as far as it knows.

    Raises:
        ValueError: Something forbids it; the message says what to do.
    """
    check_open(connection)
    _refuse_if(connection, _NOT_READ_COMMITTED)


def check_open(connection: DriverConnection) -> None:
    """Do what `check_writable` does, under any isolation level."""
    for problem in _PROBLEMS:
        _refuse_if(connection, problem)


def _refuse_if(connection: DriverConnection, problem: _Problem) -> None:
    is_so, text = problem
    if is_so(connection):
        raise ValueError(f"connection {text}: {shown(connection)}")


def _of_its_kind(connection: DriverConnection, *, blocking: bool) -> DriverConnection:
    if isinstance(connection, psycopg.Connection) is blocking:
        return connection
    kind, store = ("", "EventStore") if blocking else ("Async", "AsyncEventStore")
    raise TypeError(
        f"connection must be a psycopg.{kind}Connection for {store},"
        f" not {type(connection).__name__}"
    )


def _has_not_begun(candidate: object) -> bool:
    """Return whether it is of SQLAlchemy, whose commit does nothing unless it has begun."""
    in_transaction = getattr(candidate, "in_transaction", None)
    return callable(in_transaction) and in_transaction() is False


def _next(candidate: object) -> object:
    """Return what *candidate* works over; None if it is nothing known."""
    for name in ("driver_connection", "sync_connection", "connection"):
        step = getattr(candidate, name, None)
        if inspect.ismethod(step):
            # Of a session of SQLAlchemy. That of its AsyncSession would have to be awaited.
            is_known = hasattr(candidate, "in_transaction") and not inspect.iscoroutinefunction(
                step
            )
            return step() if is_known else None
        if step is not None:
            return step
    return None


def _has_status(status: TransactionStatus) -> Callable[[DriverConnection], bool]:
    return lambda connection: connection.info.transaction_status == status


_Problem = tuple[Callable[[DriverConnection], bool], str]

_NOT_READ_COMMITTED: _Problem = (
    lambda c: c.isolation_level not in _WRITABLE,
    "has an isolation_level under which nothing can be appended: use READ_COMMITTED",
)

_PROBLEMS: list[_Problem] = [
    (lambda c: c.closed, "is closed"),
    (_has_status(TransactionStatus.UNKNOWN), "is broken"),
    (
        lambda c: c.info.pipeline_status != PipelineStatus.OFF,
        "is in pipeline mode: append after the pipeline",
    ),
    (
        _has_status(TransactionStatus.INERROR),
        "has a transaction that failed: roll it back, and begin another one",
    ),
    (
        _has_status(TransactionStatus.ACTIVE),
        "runs another statement: end its stream, COPY or server-side cursor first",
    ),
    (
        lambda c: c.autocommit and c.info.transaction_status == TransactionStatus.IDLE,
        "is in autocommit, outside of a transaction: append within transaction() or atomic()",
    ),
    (
        lambda c: c.info.parameter_status("client_encoding") != "UTF8",
        "has a client_encoding that is not UTF8",
    ),
]
