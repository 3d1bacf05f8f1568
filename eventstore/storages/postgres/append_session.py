"""Appends over PostgreSQL: turns appends into the arrays of one call, and rows into outcomes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any, NamedTuple, get_args
from uuid import UUID

import msgspec
import psycopg
from psycopg.types.numeric import Int4

from eventstore.model.errors import (
    DuplicateEventError,
    OutcomeUnknownError,
    StorageError,
    StorageUnavailableError,
    StreamDeletedError,
    WrongExpectedVersionError,
)
from eventstore.model.events import AppendResult, named_version
from eventstore.ports.stored_events import (
    Append,
    Committed,
    EncodedEvent,
    Outcome,
    Refusal,
    StoredOtherwiseError,
    StreamAppend,
    WatchedAppend,
    only_checked,
    placed,
)
from eventstore.storages.postgres import arrays
from eventstore.storages.postgres.announce_session import Audience, send_news
from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.connecting.kept_connection import KeptConnection
from eventstore.storages.postgres.connecting.sqlstates import (
    LOCK_NOT_AVAILABLE,
    Reaction,
    reaction_to,
    translated,
)
from eventstore.storages.postgres.moments import lock_wait, utc
from eventstore.storages.postgres.statements import Statements
from eventstore.storages.postgres.write_lock import held_by

__all__ = ["PostgresAppendSession", "append_arguments", "outcomes"]

_LOOKS = 100
"""Number of commits, after one with a duplicate id, that look up the event ids first.

Without the look-up a duplicate id costs a second call; with it every commit costs a tenth more.
"""

_LOOKED_UP = {"events_event_id_key", "streams_pkey"}
"""Constraints that a call without look may violate: an id is used, or a sequence is behind."""

_ANSWER = 1.0
"""Upper bound in seconds for an announcement."""


class PostgresAppendSession:
    """A connection for appends. Each call is one statement and one commit."""

    def __init__(
        self, connection: KeptConnection, statements: Statements, audience: Audience
    ) -> None:
        self._connection = connection
        self._statements = statements
        self._audience = audience
        self._looks = 0
        self._holder = ""
        """Who held the write lock, for which the last append waited in vain."""

    @property
    def connected(self) -> bool:
        return self._connection.connected

    def connect(self, deadline: float) -> None:
        """Connect; see `AppendSession.connect`."""
        self._connection.connect(deadline)

    def append(self, appends: Sequence[Append], deadline: float) -> list[Outcome]:
        """Store *appends* in one commit; see `AppendSession.append`."""
        arguments = append_arguments(appends)
        for append in appends:
            if isinstance(append, WatchedAppend):
                append.note_sending()

        def send(connection: GuardedConnection) -> list[tuple[Any, ...]]:
            try:
                return self._call(connection, arguments, deadline, look=self._looks > 0)
            except psycopg.errors.UniqueViolation as error:
                if self._looks or error.diag.constraint_name not in _LOOKED_UP:
                    raise
            self._looks = _LOOKS
            return self._call(connection, arguments, deadline, look=True)

        try:
            rows = self._connection.run_once(send, deadline)
        except psycopg.Error as error:
            if reaction_to(error) is Reaction.LOST:
                raise OutcomeUnknownError(_lost(error, deadline)) from error
            raise translated(
                error, f"the append failed{self._for_lock(error, deadline)}"
            ) from error
        self._looks = max(0, self._looks - 1)
        self._holder = ""
        return list(outcomes(appends, rows))

    def announce(self, wait: float) -> None:
        """Notify all listeners; see `AppendSession.announce`."""

        def send(connection: GuardedConnection) -> None:
            if self._audience.listens(connection, deadline):
                send_news(connection, self._statements, "e", deadline, wait)

        deadline = time.monotonic() + _ANSWER
        with contextlib.suppress(psycopg.Error, StorageUnavailableError):
            self._connection.run_once(send, deadline)

    def _call(
        self,
        connection: GuardedConnection,
        arguments: tuple[arrays.BinaryArray, ...],
        deadline: float,
        *,
        look: bool,
    ) -> list[tuple[Any, ...]]:
        wait = Int4(lock_wait(deadline))
        rows = connection.execute(self._statements.append, (wait, look, *arguments), deadline)
        if connection.doubtful:
            raise OutcomeUnknownError("stored here, but a standby may not have it")
        return rows

    def _for_lock(self, error: psycopg.Error, deadline: float) -> str:
        """Return who holds the write lock, if *error* says that a lock was not free in time."""
        if error.sqlstate != LOCK_NOT_AVAILABLE:
            return ""
        found = held_by(self._connection, self._statements, deadline)
        # The last attempt may be too short for a look.
        self._holder = self._holder if found is None else found
        return self._holder

    @property
    def closed(self) -> bool:
        return self._connection.closed

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _lost(error: psycopg.Error, deadline: float) -> str:
    if time.monotonic() >= deadline:
        return "no answer before the deadline; retry with the same event ids"
    return f"the connection was lost after sending: {error.diag.message_primary or 'no answer'}"


# ── sending ──────────────────────────────────────────────────────────────────────────────────────


def append_arguments(appends: Sequence[Append]) -> tuple[arrays.BinaryArray, ...]:
    """Return the arguments of ``append_events`` after the first two; see `schema.sql`.

    Raises:
        StorageError: They cannot be sent.
    """
    try:
        return _arguments(appends)
    except Exception as error:
        # Not sent: without this, a runtime could not tell, and the outcome would be unknown.
        raise StorageError(f"the append cannot be sent: {error!r}") from error


def _arguments(appends: Sequence[Append]) -> tuple[arrays.BinaryArray, ...]:
    parts = [part for append in appends for part in append]
    events = [event for part in parts for event in part.events]
    counts = [len(part.events) for part in parts]
    return (
        arrays.repeated([len(append) for append in appends]),
        arrays.text_array([part.stream_id for part in parts]),
        arrays.int8_array([part.expected_version for part in parts]),
        arrays.int4_array(counts),
        arrays.timestamp_array(_created([_first_created(part) for part in parts])),
        arrays.repeated(counts),
        arrays.ascending(counts),
        *_event_arrays(events),
    )


def _event_arrays(events: Sequence[EncodedEvent]) -> Iterator[arrays.BinaryArray]:
    """Yield an array per column of an event, in the order of the fields of `EncodedEvent`."""
    for column, values in zip(_COLUMNS, _values(events), strict=True):
        is_default = column.has_default and values.count(column.default) == len(values)
        yield column.empty if is_default else column.array(values)


class _Column(NamedTuple):
    """How a field of `EncodedEvent` is sent."""

    array: Callable[[list[Any]], arrays.BinaryArray]
    empty: arrays.BinaryArray
    """Stands for a column whose values are all the default."""
    has_default: bool
    default: Any

    @classmethod
    def of(cls, field: msgspec.structs.FieldInfo) -> _Column:
        has_default = field.default is not msgspec.NODEFAULT
        kind = next(kind for kind in (*get_args(field.type), field.type) if kind in _ARRAYS)
        array = _ARRAYS[kind]
        return cls(array, array([]), has_default, field.default)


_ARRAYS: dict[type, Callable[[list[Any]], arrays.BinaryArray]] = {
    UUID: arrays.uuid_array,
    str: arrays.text_array,
    bytes: arrays.bytes_array,
    datetime: arrays.timestamp_array,
}

_COLUMNS = tuple(_Column.of(field) for field in msgspec.structs.fields(EncodedEvent))


def _compiled() -> Callable[[Sequence[EncodedEvent]], tuple[list[Any], ...]]:
    """Return a function that makes columns of events: a list of values per field.

    It is compiled from the list of fields: attributes by name take half the time of getters.
    """
    columns = [f"[event.{name} for event in events]" for name in EncodedEvent.__struct_fields__]
    made: Callable[[Sequence[EncodedEvent]], tuple[list[Any], ...]]
    made = eval(f"lambda events: ({', '.join(columns)})")  # noqa: S307 - names of fields
    return made


_values = _compiled()


def _created(moments: list[datetime | None]) -> list[datetime | None]:
    """Return *moments*, or an empty list if the server sets all of them."""
    return moments if any(moments) else []


def _first_created(part: StreamAppend) -> datetime | None:
    return part.events[0].created_at if part.events else None


# ── understanding ────────────────────────────────────────────────────────────────────────────────


class Status(IntEnum):
    """Status of one stream of an append."""

    STORED = 0
    REPEATED = 1
    WRONG_VERSION = 2
    STREAM_DELETED = 3
    ID_USED = 4
    NEIGHBOUR_REFUSED = 5
    STORED_OTHERWISE = 6


class Row(NamedTuple):
    """A row of ``append_events``: the result of one stream of an append."""

    status: int
    first_version: int | None
    first_position: int | None
    version: int
    used_id: UUID | None
    stored_at: datetime


def outcomes(appends: Sequence[Append], rows: Iterable[tuple[Any, ...]]) -> Iterator[Outcome]:
    """Yield the outcome of each append, from the rows of ``append_events``."""
    remaining = map(Row._make, rows)
    for append in appends:
        yield _outcome(list(zip(append, remaining, strict=False)))


def _outcome(parts: list[tuple[StreamAppend, Row]]) -> Outcome:
    for part, row in parts:
        refusal = _refusal(part, row) if row.status > Status.REPEATED else None
        if refusal is not None:
            return refusal
    _, first = parts[0]
    repeated = first.status != Status.STORED
    results = tuple([_result(part, row, repeated=repeated) for part, row in parts])
    if repeated:
        for _, row in parts:
            if row.status == Status.STORED_OTHERWISE:
                assert row.used_id is not None
                return StoredOtherwiseError(row.used_id, results)
    return Committed(results, created_at=utc(first.stored_at))


def _refusal(part: StreamAppend, row: Row) -> Refusal | None:
    match row.status:
        case Status.WRONG_VERSION:
            expected = named_version(part.expected_version)
            return WrongExpectedVersionError(part.stream_id, expected, row.version)
        case Status.STREAM_DELETED:
            return StreamDeletedError(part.stream_id)
        case Status.ID_USED:
            assert row.used_id is not None
            return DuplicateEventError(row.used_id)
        case _:
            return None


def _result(part: StreamAppend, row: Row, *, repeated: bool) -> AppendResult:
    if row.first_version is None or row.first_position is None or not part.events:
        return only_checked(part, row.version, repeated=repeated)
    return placed(part, row.first_version, row.first_position, repeated=repeated)
