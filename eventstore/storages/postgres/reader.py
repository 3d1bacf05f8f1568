"""Reads over PostgreSQL, on a given connection. Pages go by key, never by offset."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

import psycopg
from psycopg.types.numeric import Int8

from eventstore.model.errors import StreamDeletedError, StreamNotFoundError
from eventstore.model.events import StreamInfo
from eventstore.model.names import ALL_STREAMS, MAX_POSITION
from eventstore.model.stream_listing import StreamListing, StreamOrder
from eventstore.ports.storage import KnownEvent, ReadDirection
from eventstore.ports.stored_events import StoredEvent, payload_bytes
from eventstore.storages.postgres.connecting.connection import GuardedConnection, Row, in_chunks
from eventstore.storages.postgres.moments import utc, utc_or_none
from eventstore.storages.postgres.statements import Statements

__all__ = ["Look", "Reader"]


_NO_EVENT = UUID(int=0)

_LARGE_RESULT = 256 * 1024
"""Bytes."""


class Look(NamedTuple):
    """What a look at the head finds; see `Heard`."""

    head: int
    newest: UUID | None
    deletion_no: int
    holds: bool


class Reader:
    """Reads events and streams of one store. Stateless."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def stream(
        self,
        connection: GuardedConnection,
        stream_id: str,
        start: int,
        count: int,
        direction: ReadDirection,
        deadline: float,
        max_bytes: int | None,
    ) -> list[StoredEvent]:
        """Read a page of a stream; see `Storage.read_stream`."""
        statement = self._statements.read_stream[direction, max_bytes is not None]
        page = (stream_id, *_page(start, count, max_bytes))

        def take(cursor: psycopg.Cursor[Row]) -> list[StoredEvent]:
            first = cursor.fetchmany(1)
            if not first:
                raise StreamNotFoundError(stream_id)
            deleted_at, position = first[0][:2]
            if deleted_at is not None:
                raise StreamDeletedError(stream_id, utc(deleted_at))
            if position is None:
                return []
            made_of = partial(_in_stream_or_deleted, stream_id)
            return made_of(first) + in_chunks(made_of, cursor)

        return _page_of(connection, connection.fetch(statement, page, deadline, take))

    def all(
        self,
        connection: GuardedConnection,
        start: int,
        count: int,
        direction: ReadDirection,
        deadline: float,
        max_bytes: int | None,
    ) -> list[StoredEvent]:
        """Read a page of all streams; see `Storage.read_all`."""
        statement = self._statements.read_all[direction, max_bytes is not None]
        page = _page(start, count, max_bytes)
        take = partial(in_chunks, partial(_in_all, ""))
        return _page_of(connection, connection.fetch(statement, page, deadline, take))

    def after(
        self,
        connection: GuardedConnection,
        stream_id: str,
        after: int,
        count: int,
        max_bytes: int,
        deadline: float,
    ) -> list[StoredEvent]:
        """Read the next events of a subscription; see `Storage.read_after`."""
        statement, made_of = self._statements.read_all_after, _in_all
        name: tuple[str, ...] = ()
        if stream_id != ALL_STREAMS:
            statement, made_of = self._statements.read_stream_after, _in_stream
            name = (stream_id,)
        page, size = (*name, _int8(after), _int8(count)), _int8(max_bytes)
        arguments = (*page, *page, size, *page, size)
        take = partial(in_chunks, partial(made_of, stream_id))
        return _page_of(connection, connection.fetch(statement, arguments, deadline, take))

    def stream_info(
        self, connection: GuardedConnection, stream_id: str, deadline: float
    ) -> StreamInfo:
        """Return the state of a stream, or of the store."""
        if stream_id == ALL_STREAMS:
            head = self.head(connection, deadline)
            return StreamInfo(
                stream_id=stream_id, stream_version=head, created_at=None, deleted_at=None
            )
        rows = connection.execute(self._statements.stream_info, (stream_id,), deadline)
        if not rows:
            raise StreamNotFoundError(stream_id)
        return _info(stream_id, *rows[0])

    def streams(
        self,
        connection: GuardedConnection,
        listing: StreamListing,
        after: str | None,
        count: int,
        deadline: float,
    ) -> list[StreamInfo]:
        """Read a page of the streams; see `Storage.streams`."""
        statement = self._statements.streams[listing.order, listing.descending]
        start = self._start(connection, listing, after, deadline)
        page = (start, listing.prefix, listing.end, listing.search, _int8(count))
        rows = connection.execute(statement, page, deadline)
        connection.forget_result()
        return [_info(*row) for row in rows]

    def _start(
        self,
        connection: GuardedConnection,
        listing: StreamListing,
        after: str | None,
        deadline: float,
    ) -> str | Int8:
        """Return what a page of *listing* begins behind."""
        if listing.order is StreamOrder.STREAM_ID:
            return after or (StreamListing().end if listing.descending else "")
        if after is None:
            return Int8(MAX_POSITION if listing.descending else 0)
        rows = connection.execute(self._statements.stream_no, (after,), deadline)
        if not rows:
            raise StreamNotFoundError(after)
        return Int8(rows[0][0])

    def event(
        self, connection: GuardedConnection, event_id: UUID, deadline: float
    ) -> StoredEvent | None:
        """Read one event; see `Storage.find_event`."""
        rows = connection.execute(self._statements.find_event, (event_id,), deadline)
        connection.forget_result()
        return _in_all("", rows)[0] if rows else None

    def stream_count(self, connection: GuardedConnection, deadline: float) -> int:
        """Return the number of streams that are not deleted."""
        count: int = connection.execute(self._statements.stream_count, (), deadline)[0][0]
        return count

    def head(self, connection: GuardedConnection, deadline: float) -> int:
        """Return the newest global position that was ever assigned."""
        head: int = connection.execute(self._statements.head, (), deadline)[0][0]
        return head

    def look(
        self, connection: GuardedConnection, known: KnownEvent | None, deadline: float
    ) -> Look:
        """Read the head, and whether the event *known* is still at its position."""
        position, event_id = known or (0, _NO_EVENT)
        arguments = (_int8(position), event_id)
        row = connection.execute(self._statements.newest, arguments, deadline)[0]
        head, newest, deletion_no, holds = row
        return Look(head, newest, deletion_no, holds or known is None)

    def history_holds(
        self,
        connection: GuardedConnection,
        global_position: int,
        event_id: UUID,
        deadline: float,
    ) -> bool:
        """Return whether an event is still at its position, or was deleted there."""
        arguments = (_int8(global_position), event_id)
        holds: bool = connection.execute(self._statements.history_holds, arguments, deadline)[0][0]
        return holds


def _int8(value: int) -> Int8:
    """Return *value* as int8, always the same type, so that a statement is prepared once."""
    return Int8(min(value, MAX_POSITION))


def _page(start: int, count: int, max_bytes: int | None) -> tuple[Int8, ...]:
    """Return the parameters of a page; see `Statements.read_all`."""
    page = (_int8(start), _int8(count))
    if max_bytes is None:
        return page
    ended = (*page, _int8(max_bytes))
    return (*page, *ended, *ended)


def _page_of(connection: GuardedConnection, events: list[StoredEvent]) -> list[StoredEvent]:
    """Return *events*; an idle connection does not hold the result that they were made of."""
    if payload_bytes(events) > _LARGE_RESULT:
        connection.forget_result()
    return events


def _info(
    stream_id: str, created_at: datetime, deleted_at: datetime | None, version: int
) -> StreamInfo:
    return StreamInfo(
        stream_id=stream_id,
        stream_version=version,
        created_at=utc(created_at),
        deleted_at=utc_or_none(deleted_at),
    )


_POSITION, *_REST = StoredEvent.__struct_fields__
_REST_IN_STREAM = [column for column in _REST if column != "stream_id"]


def _compiled(*columns: str, position: str) -> Callable[[str, list[Row]], list[StoredEvent]]:
    """Return a function that makes events of rows with *columns*; *position* names their place.

    Its first argument is the stream's name, where that is not among the columns.

    It is compiled from the columns, of which `created_at` is the last, with the body of
    `moments.utc`: a loop over names takes half the time of one over slices of rows, and this is
    most of a read.
    """
    *rest, time = _REST
    values = ", ".join([position, *rest, f"combine({time}, {time}.time(), UTC)"])
    made_of_row = f"StoredEvent({values}) for {', '.join(columns)} in rows"
    source = f"lambda stream_id, rows: [{made_of_row}]"
    names = {"StoredEvent": StoredEvent, "combine": datetime.combine, "UTC": UTC}
    made: Callable[[str, list[Row]], list[StoredEvent]] = eval(source, names)  # noqa: S307 - names of fields
    return made


_in_stream = _compiled(*_REST_IN_STREAM, position="stream_version")
_in_stream_or_deleted = _compiled("_deleted_at", *_REST_IN_STREAM, position="stream_version")
_in_all = _compiled(*_REST, position="global_position")
