"""Changes of streams over PostgreSQL, other than appends: links and deletions."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from psycopg.types.numeric import Int4, Int8

from eventstore.model.errors import (
    DuplicateEventError,
    EventNotFoundError,
    OutcomeUnknownError,
    StreamDeletedError,
    StreamNotFoundError,
    WrongExpectedVersionError,
)
from eventstore.model.events import LinkResult, named_version
from eventstore.ports.changes import Deletion, Link
from eventstore.storages.postgres import arrays
from eventstore.storages.postgres.connecting.connection import GuardedConnection, Row
from eventstore.storages.postgres.moments import lock_wait, utc_or_none
from eventstore.storages.postgres.statements import Statements

__all__ = [
    "StreamChanges",
    "deletion_arguments",
    "link_arguments",
    "link_result",
    "subscriptions_of_deleted",
]


class _Status(IntEnum):
    """Status of a change, as its function returns it."""

    DONE = 0
    REPEATED = 1
    WRONG_VERSION = 2
    STREAM_DELETED = 3
    IN_THE_STREAM = 4
    EVENT_MISSING = 7
    STREAM_MISSING = 8


class StreamChanges:
    """Links events and deletes streams of one store, on a given connection. Stateless."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def link(self, connection: GuardedConnection, link: Link, deadline: float) -> LinkResult:
        """Link events to a stream; see `Storage.link`. Idempotent."""
        arguments = link_arguments(link, deadline)
        rows = connection.execute(self._statements.link, arguments, deadline)
        _check_durable(connection)
        return link_result(link, rows)

    def delete(
        self, connection: GuardedConnection, deletion: Deletion, deadline: float, *, again: bool
    ) -> list[int]:
        """Delete a stream; see `Storage.delete_stream`.

        Args:
            connection: Used for one statement.
            deletion: What to delete.
            deadline: When to give up.
            again: Whether an earlier attempt, whose answer was lost, may have done it.

        Returns:
            Ids of the subscriptions that start over.
        """
        arguments = deletion_arguments(deletion, deadline)
        rows = connection.execute(self._statements.delete_stream, arguments, deadline)
        _check_durable(connection)
        return subscriptions_of_deleted(deletion, rows, again=again)


def _check_durable(connection: GuardedConnection) -> None:
    if connection.doubtful:
        raise OutcomeUnknownError("stored here, but a standby may not have it")


def link_arguments(link: Link, deadline: float) -> tuple[object, ...]:
    """Return the arguments of ``link_events``."""
    ids = arrays.uuid_array(link.event_ids)
    return Int4(lock_wait(deadline)), link.stream_id, Int8(link.expected_version), ids


def link_result(link: Link, rows: Sequence[Row]) -> LinkResult:
    """Return the result that ``link_events`` answered.

    Raises:
        EventStoreError: It refused; as `Storage.link` documents it.
    """
    [(status, first_version, version, used_id)] = rows
    match status:
        case _Status.DONE | _Status.REPEATED:
            return LinkResult(
                stream_id=link.stream_id,
                first_version=first_version,
                last_version=first_version + len(link.event_ids) - 1,
                repeated=status == _Status.REPEATED,
            )
        case _Status.IN_THE_STREAM:
            raise DuplicateEventError(used_id, f"in stream {link.stream_id!r}")
        case _Status.EVENT_MISSING:
            raise EventNotFoundError(used_id)
        case _Status.STREAM_DELETED:
            raise StreamDeletedError(link.stream_id)
        case _:
            raise _wrong_version(link.stream_id, link.expected_version, version)


def deletion_arguments(deletion: Deletion, deadline: float) -> tuple[object, ...]:
    """Return the arguments of ``delete_stream``."""
    stream_id, expected_version, hard = deletion
    return Int4(lock_wait(deadline)), stream_id, Int8(expected_version), hard


def subscriptions_of_deleted(
    deletion: Deletion, rows: Sequence[Row], *, again: bool = False
) -> list[int]:
    """Return the subscriptions that start over, as ``delete_stream`` answered.

    Raises:
        EventStoreError: It refused; as `Storage.delete_stream` documents it.
    """
    stream_id, expected_version, hard = deletion
    [(status, version, deleted_at, subscriptions)] = rows
    match status:
        case _Status.DONE:
            return subscriptions or []
        case _Status.STREAM_DELETED if again and not hard:
            return []
        case _Status.STREAM_MISSING if again and hard:
            return []
        case _Status.STREAM_DELETED:
            raise StreamDeletedError(stream_id, utc_or_none(deleted_at))
        case _Status.STREAM_MISSING:
            raise StreamNotFoundError(stream_id)
        case _:
            raise _wrong_version(stream_id, expected_version, version)


def _wrong_version(stream_id: str, expected: int, version: int) -> WrongExpectedVersionError:
    return WrongExpectedVersionError(stream_id, named_version(expected), version)
