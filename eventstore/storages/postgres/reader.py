"""Reads over PostgreSQL, on a given connection. Pages go by key, never by offset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from eventstore.ports.listening import KnownEvent, LinkedStream
from eventstore.ports.reads import ReadDirection
from eventstore.ports.stored_events import StoredEvent, payload_bytes
from eventstore.storages.postgres.connecting.connection import GuardedConnection, Row, in_chunks
from eventstore.storages.postgres.moments import utc, utc_or_none
from eventstore.storages.postgres.statements import Statements

__all__ = [
    "LINKED",
    "OF_ALL",
    "OF_STREAM",
    "OWN",
    "PLACE_IN_ALL",
    "Look",
    "Reader",
    "all_page",
    "compiled",
    "events_of_stream",
    "int8",
    "parked_events",
    "stream_page",
]


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
        key = direction, max_bytes is not None
        plain, linked = self._statements.read_stream[key], self._statements.read_linked_stream[key]

        def take_plain(cursor: psycopg.Cursor[Row]) -> list[StoredEvent] | None:
            first = cursor.fetchmany(1)
            if not first:
                raise StreamNotFoundError(stream_id)
            is_other, position = first[0][:2]
            if is_other:
                return None
            if position is None:
                return []
            made_of = partial(_in_plain_stream, stream_id)
            return made_of(first) + in_chunks(made_of, cursor)

        def take(cursor: psycopg.Cursor[Row]) -> list[StoredEvent]:
            first = events_of_stream(stream_id, cursor.fetchmany(1))
            return first + in_chunks(partial(_in_stream_or_deleted, stream_id), cursor)

        page = (stream_id, *_page(all_page(start, count), max_bytes))
        events = connection.fetch(plain, page, deadline, take_plain)
        if events is None:
            page = (stream_id, *_page(stream_page(start, count), max_bytes))
            events = connection.fetch(linked, page, deadline, take)
        return _page_of(connection, events)

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
        page = _page(all_page(start, count), max_bytes)
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
        name: tuple[str, ...] = ()
        if stream_id == ALL_STREAMS:
            statement, made_of = self._statements.read_all_after, _in_all
            page = all_page(after, count)
        else:
            statement, made_of = self._statements.read_stream_after, _in_stream
            page, name = stream_page(after, count), (stream_id,)
        arguments = (*name, *_page(page, max_bytes))
        take = partial(in_chunks, partial(made_of, stream_id))
        return _page_of(connection, connection.fetch(statement, arguments, deadline, take))

    def end_after(
        self, connection: GuardedConnection, stream_id: str, after: int, deadline: float
    ) -> int:
        """Find out whether all after a position was deleted; see `Storage.end_after`."""
        if stream_id == ALL_STREAMS:
            statement, arguments = self._statements.end_of_all, all_page(after, 1)
            rows = connection.execute(statement, arguments, deadline)
        else:
            place = (stream_id, *stream_page(after, 1))
            rows = connection.execute(self._statements.end_of_stream, place, deadline)
        ends: list[int] = [after, *(end for (end,) in rows if end is not None)]
        return max(ends)

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
        page = (start, listing.prefix, listing.end, listing.search, int8(count))
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
        arguments = (int8(position), event_id)
        row = connection.execute(self._statements.newest, arguments, deadline)[0]
        seen = Look(*row)
        return seen if known is not None else seen._replace(holds=True)

    def besides(self, connection: GuardedConnection, deadline: float) -> tuple[bool, int]:
        """Read whether anything is to be erased, and the number of the newest link."""
        ((unerased, link_no),) = connection.execute(self._statements.besides, (), deadline)
        return unerased, link_no

    def linked(
        self, connection: GuardedConnection, after: int, count: int, deadline: float
    ) -> list[LinkedStream]:
        """Read what was linked; see `HeadListener.linked`."""
        rows = connection.execute(self._statements.linked, (int8(after), int8(count)), deadline)
        return [LinkedStream(*row) for row in rows]

    def history_holds(
        self,
        connection: GuardedConnection,
        global_position: int,
        event_id: UUID,
        deadline: float,
    ) -> bool:
        """Return whether an event is still at its position, or was deleted there."""
        arguments = (int8(global_position), event_id)
        holds: bool = connection.execute(self._statements.history_holds, arguments, deadline)[0][0]
        return holds


def events_of_stream(stream_id: str, rows: list[Row]) -> list[StoredEvent]:
    """Return the events in the rows of `Statements.read_stream`.

    Raises:
        StreamNotFoundError, StreamDeletedError: There is nothing to read from.
    """
    if not rows:
        raise StreamNotFoundError(stream_id)
    deleted_at, _, _, position = rows[0][:4]
    if deleted_at is not None:
        raise StreamDeletedError(stream_id, utc(deleted_at))
    return [] if position is None else _in_stream_or_deleted(stream_id, rows)


def parked_events(rows: list[Row]) -> list[StoredEvent]:
    """Return the events in the rows of `Statements.read_parked`."""
    return _parked("", rows)


def int8(value: int) -> Int8:
    """Return *value* as int8, always the same type, so that a statement is prepared once."""
    return Int8(min(value, MAX_POSITION))


def all_page(start: int, count: int) -> tuple[Int8, ...]:
    """Return the parameters of a page of ``$all``; see `Statements`."""
    return int8(start), int8(count)


def stream_page(start: int, count: int) -> tuple[Int8, ...]:
    """Return the parameters of a page of a stream, after the stream's name; see `Statements`."""
    first, most = int8(start), int8(count)
    return first, most, first, most, most


def _page(page: tuple[Int8, ...], max_bytes: int | None) -> tuple[Int8, ...]:
    """Return the parameters of *page*, with those of its end by bytes if bytes can end it."""
    if max_bytes is None:
        return page
    ended = (*page, int8(max_bytes))
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


_REST = StoredEvent.__struct_fields__[4:]
"""The fields after the four that say where an event is; the last one is its time."""

_Made = Callable[[str, list[Row]], list[StoredEvent]]


def compiled(columns: Sequence[str], place: str, linked: str | None = None) -> _Made:
    """Return a function that makes events of rows with *columns* and those of `_REST`.

    Its first argument is the name of the stream that is read. *place* gives the first four fields
    of an event, and *linked* those of one that has a `source_id`.

    It is compiled from the columns, with the body of `moments.utc`: a loop over names takes half
    the time of one over slices of rows, and this is most of a read.
    """
    *rest, time = _REST
    values = ", ".join([*rest, f"combine({time}, {time}.time(), UTC)"])
    made_of_row = f"StoredEvent({place}, {values})"
    if linked is not None:
        made_of_row += f" if source_id is None else StoredEvent({linked}, {values})"
    source = f"lambda name, rows: [{made_of_row} for {', '.join([*columns, *_REST])} in rows]"
    names = {"StoredEvent": StoredEvent, "combine": datetime.combine, "UTC": UTC}
    made: _Made = eval(source, names)  # noqa: S307 - names of fields
    return made


OF_ALL = ["global_position", "stream_id", "stream_version"]
PLACE_IN_ALL = "global_position, global_position, stream_id, stream_version"
OF_STREAM = ["source_id", "source_version", "global_position", "place"]
OWN = "place, global_position, name, place"
LINKED = "place, global_position, source_id, source_version"

_in_all = compiled(OF_ALL, PLACE_IN_ALL)
_parked = compiled(["position", *OF_ALL], "position, global_position, stream_id, stream_version")
_in_plain_stream = compiled(["_is_other", "global_position", "place"], OWN)
_in_stream = compiled(OF_STREAM, OWN, LINKED)
_in_stream_or_deleted = compiled(["_deleted_at", *OF_STREAM], OWN, LINKED)
