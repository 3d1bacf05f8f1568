"""Snapshots over PostgreSQL, on a given connection."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg.types.numeric import Int4, Int8

from eventstore.model.checks import check_within
from eventstore.model.errors import StreamDeletedError, StreamNotFoundError
from eventstore.ports.reads import ReadDirection
from eventstore.ports.stored_events import StoredEvent
from eventstore.ports.stored_snapshots import EncodedSnapshot, StoredSnapshot
from eventstore.storages.postgres.connecting.connection import GuardedConnection, Row
from eventstore.storages.postgres.moments import lock_wait, utc
from eventstore.storages.postgres.reader import Reader
from eventstore.storages.postgres.statements import Statements

__all__ = ["SnapshotRows", "deletion_of_snapshot", "is_recorded", "record_arguments"]


class SnapshotRows:
    """The rows of the snapshots of one store. Stateless."""

    def __init__(self, statements: Statements, reader: Reader) -> None:
        self._statements = statements
        self._reader = reader

    def record(
        self,
        connection: GuardedConnection,
        stream_id: str,
        stream_version: int,
        snapshot: EncodedSnapshot,
        deadline: float,
    ) -> bool:
        """Record a snapshot; see `SnapshotStorage.record_snapshot`."""
        arguments = record_arguments(stream_id, stream_version, snapshot, deadline)
        try:
            rows = connection.execute(self._statements.record_snapshot, arguments, deadline)
        except psycopg.errors.ForeignKeyViolation:
            rows = []  # the stream was there, and was deleted for good meanwhile
        finally:
            connection.forget_result()
        return is_recorded(stream_id, stream_version, rows)

    def read(
        self, connection: GuardedConnection, stream_id: str, snapshot_type: str, deadline: float
    ) -> StoredSnapshot | None:
        """Return a snapshot; see `SnapshotStorage.read_snapshot`."""
        _, snapshot = self._read(connection, stream_id, snapshot_type, deadline)
        return snapshot

    def read_from(
        self,
        connection: GuardedConnection,
        stream_id: str,
        snapshot_type: str,
        count: int,
        deadline: float,
    ) -> tuple[StoredSnapshot | None, list[StoredEvent]]:
        """Return snapshot and events after it; see `SnapshotStorage.read_from_snapshot`.

        Between two statements the stream may be deleted for good and created again. A number is
        never given to another incarnation: if it is still the same, so were the events.
        """
        page = count, ReadDirection.FORWARD, deadline, None
        while True:
            number, snapshot = self._read(connection, stream_id, snapshot_type, deadline)
            start = 1 if snapshot is None else snapshot.stream_version + 1
            events = self._reader.stream(connection, stream_id, start, *page)
            if snapshot is None or self._number(connection, stream_id, deadline) == number:
                return snapshot, events

    def delete(
        self, connection: GuardedConnection, stream_id: str, snapshot_type: str, deadline: float
    ) -> bool:
        """Delete a snapshot; see `SnapshotStorage.delete_snapshot`."""
        arguments = deletion_of_snapshot(stream_id, snapshot_type, deadline)
        rows = connection.execute(self._statements.delete_snapshot, arguments, deadline)
        return bool(rows[0][0])

    def _read(
        self, connection: GuardedConnection, stream_id: str, snapshot_type: str, deadline: float
    ) -> tuple[int, StoredSnapshot | None]:
        """Return the number of a stream, and its snapshot."""
        names = (stream_id, snapshot_type)
        rows = connection.execute(self._statements.read_snapshot, names, deadline)
        connection.forget_result()
        if not rows:
            raise StreamNotFoundError(stream_id)
        deleted_at, number, version, created_at, *columns = rows[0]
        if deleted_at is not None:
            raise StreamDeletedError(stream_id, utc(deleted_at))
        if version is None:
            return number, None
        return number, StoredSnapshot(stream_id, version, utc(created_at), *columns)

    def _number(self, connection: GuardedConnection, stream_id: str, deadline: float) -> int | None:
        """Return the number of a stream; None: it does not exist."""
        rows = connection.execute(self._statements.stream_no, (stream_id,), deadline)
        number: int | None = rows[0][0] if rows else None
        return number


def record_arguments(
    stream_id: str, stream_version: int, snapshot: EncodedSnapshot, deadline: float
) -> tuple[object, ...]:
    """Return the arguments of the function ``record_snapshot``."""
    return (
        Int4(lock_wait(deadline)),
        stream_id,
        snapshot.snapshot_type,
        Int8(stream_version),
        snapshot.format,
        snapshot.data,
        snapshot.metadata,
    )


def is_recorded(stream_id: str, stream_version: int, rows: Sequence[Row]) -> bool:
    """Return whether the snapshot is of this version, as ``record_snapshot`` answered.

    Raises:
        StreamNotFoundError, StreamDeletedError, ValueError: As `SnapshotStorage.record_snapshot`
            documents them.
    """
    if not rows:
        raise StreamNotFoundError(stream_id)
    deleted_at, head, newest = rows[0]
    if deleted_at is not None:
        raise StreamDeletedError(stream_id, utc(deleted_at))
    check_within("stream_version", stream_version, stream_id, head)
    return bool(newest == stream_version)


def deletion_of_snapshot(stream_id: str, snapshot_type: str, deadline: float) -> tuple[object, ...]:
    """Return the arguments of the function ``delete_snapshot``."""
    return Int4(lock_wait(deadline)), stream_id, snapshot_type
