"""Reads with a filter over PostgreSQL, on a given connection."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec

from eventstore.model.errors import StreamDeletedError, StreamNotFoundError
from eventstore.model.event_filter import EventFilter
from eventstore.model.names import ALL_STREAMS, MAX_POSITION
from eventstore.ports.reads import MOST_POSITIONS, Examined, ReadDirection, positions_at_once
from eventstore.ports.stored_events import StoredEvent
from eventstore.storages.postgres import arrays
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.matching_statements import Shape
from eventstore.storages.postgres.moments import utc
from eventstore.storages.postgres.reader import (
    LINKED,
    OF_ALL,
    OF_STREAM,
    OWN,
    PLACE_IN_ALL,
    compiled,
    int8,
)
from eventstore.storages.postgres.statements import Statements

__all__ = ["MatchingReader"]

_LAST_START = MAX_POSITION - MOST_POSITIONS


class _Found(NamedTuple):
    examined: Examined
    deleted_at: datetime | None
    """When the stream was deleted."""


class MatchingReader:
    """Reads the events of one store that match a filter. Stateless."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def read(
        self,
        connection: GuardedConnection,
        stream_id: str,
        start: int,
        count: int,
        direction: ReadDirection,
        event_filter: EventFilter,
        deadline: float,
        max_bytes: int | None,
    ) -> Examined:
        """Read a page of what matches; see `Storage.read_matching`."""
        limits = count, MAX_POSITION if max_bytes is None else max_bytes
        found = self._find(connection, stream_id, start, limits, direction, event_filter, deadline)
        if found is None:
            raise StreamNotFoundError(stream_id)
        if found.deleted_at is not None:
            raise StreamDeletedError(stream_id, utc(found.deleted_at))
        return found.examined

    def after(
        self,
        connection: GuardedConnection,
        stream_id: str,
        after: int,
        count: int,
        max_bytes: int,
        event_filter: EventFilter,
        deadline: float,
    ) -> Examined:
        """Read a page for a subscription; see `Storage.read_matching_after`."""
        start, limits, forward = after + 1, (count, max_bytes), ReadDirection.FORWARD
        found = self._find(connection, stream_id, start, limits, forward, event_filter, deadline)
        return Examined([], after, at_end=True) if found is None else found.examined

    def _find(
        self,
        connection: GuardedConnection,
        stream_id: str,
        start: int,
        limits: tuple[int, int],
        direction: ReadDirection,
        event_filter: EventFilter,
        deadline: float,
    ) -> _Found | None:
        """Read a page of at most so many events and bytes; None if there is no such stream."""
        count, max_bytes = map(int8, limits)
        span = int8(positions_at_once(event_filter) - 1), int8(min(start, _LAST_START))
        own = *_values(event_filter), count
        if stream_id == ALL_STREAMS:
            source, made_of = (*span, *own), _in_all
        else:
            source, made_of = (*span, stream_id, *own, *own, count), _in_stream
        statement = self._statements.matching(
            direction, Shape.of(event_filter), in_all=stream_id == ALL_STREAMS
        )
        rows = connection.execute(statement, (*source, max_bytes, count), deadline)
        connection.forget_result()
        if not rows:
            return None
        up_to, head, deleted_at, *_, created_at = rows[0]
        events = [] if created_at is None else made_of(stream_id, rows)
        at_end = up_to >= head if direction is ReadDirection.FORWARD else up_to <= 1
        return _Found(Examined(_decided(events, event_filter), up_to, at_end), deleted_at)


def _values(event_filter: EventFilter) -> list[object]:
    """Return the parameters of `Shape.condition`."""
    values: list[object] = []
    if event_filter.event_types:
        values.append(arrays.text_array(event_filter.event_types))
    if event_filter.stream_prefix:
        values.append(event_filter.stream_prefix)
    for key, wanted in event_filter.metadata:
        values += [key, msgspec.json.encode(wanted).decode()]
    return values


def _decided(events: list[StoredEvent], event_filter: EventFilter) -> list[StoredEvent]:
    """Leave out what the database could not read, and we can."""
    if not event_filter.metadata:
        return events
    return [event for event in events if event_filter.decide(event) is not False]


_SEEN = ["_up_to", "_head", "_deleted_at"]
_in_all = compiled([*_SEEN, *OF_ALL], PLACE_IN_ALL)
_in_stream = compiled([*_SEEN, *OF_STREAM], OWN, LINKED)
