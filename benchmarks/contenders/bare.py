"""The limit: the store's own statements, run by psycopg in one loop without actors.

It does nothing beyond what the API returns. A read builds the same events with the same decoding.
An append only generates event ids; its payloads are already encoded.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from importlib.metadata import version
from itertools import cycle, islice
from typing import Any, ClassVar, Self
from uuid import uuid4

import msgspec
import psycopg
from psycopg.types.numeric import Int4
from uuid_utils.compat import uuid7

from benchmarks.contenders.contender import InOneLoop, Load, Operation, Place
from benchmarks.contenders.load import ALL, EVENT_TYPE, EXISTING, new_stream, payload
from benchmarks.measuring.measure import timed
from benchmarks.measuring.workload import Measurement
from eventstore import Config, EventStore, ExpectedVersion, RecordedEvent
from eventstore.ports.ownership import Claim, Claimed
from eventstore.ports.reads import ReadDirection
from eventstore.ports.stored_events import Append, EncodedEvent, StreamAppend
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.append_session import append_arguments
from eventstore.storages.postgres.arrays import register_arrays
from eventstore.storages.postgres.moments import utc
from eventstore.storages.postgres.reader import all_page
from eventstore.storages.postgres.statements import Statements

__all__ = ["Bare"]

_FORWARD = ReadDirection.FORWARD, False
_PAGE = 1_000
_WAIT = Int4(10_000)
_LEASE = 60.0

_decode = msgspec.json.Decoder().decode


class Bare(InOneLoop):
    """One connection, one thread, the statements of the store."""

    name: ClassVar = "bare"

    def __init__(self, dsn: str) -> None:
        config = Config(dsn)
        self.address = dsn
        self.statements = Statements(config.schema)
        self.connection = psycopg.connect(dsn, autocommit=True)
        register_arrays(self.connection.adapters)
        self._storage = PostgresStorage(config)
        self._keeper = self._storage.keeper_session()

    @classmethod
    def missing(cls) -> str | None:
        return None

    @classmethod
    def version(cls) -> str:
        return f"psycopg {version('psycopg')}"

    @classmethod
    def start(cls, place: Place) -> Self:
        EventStore.connect(place.dsn, init=True).close()
        return cls(place.dsn)

    @classmethod
    def join(cls, address: str) -> Self:
        return cls(address)

    def close(self) -> None:
        self.connection.close()
        self._storage.close()

    def execute(self, statement: bytes, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        """Run one prepared statement in binary format and return its rows."""
        cursor = self.connection.cursor(binary=True)
        return cursor.execute(statement, parameters, prepare=True).fetchall()

    # ── appending ────────────────────────────────────────────────────────────────────────────────

    def appender(self, load: Load, callers: int) -> Operation:
        data = msgspec.json.encode(payload(load.size))
        streams = self._existing if load.existing else iter(new_stream, "")
        expected = ExpectedVersion.ANY if load.existing else ExpectedVersion.NO_STREAM

        def append() -> None:
            self._append(
                (StreamAppend(stream, expected, _encoded(data, load.events)),)
                for stream in islice(streams, callers)
            )

        return append

    def fill(self, stream: str, number: int) -> None:
        data = msgspec.json.encode(payload())
        for start in range(0, number, _PAGE):
            more = _encoded(data, min(_PAGE, number - start))
            self._append([(StreamAppend(stream, ExpectedVersion.ANY, more),)])

    def append_series(self, number: int, *, per_stream: int, per_commit: int) -> int:
        """Append *number* events, so many in a row to each new stream; return their number."""
        data = msgspec.json.encode(payload())
        for _ in range(number // per_commit):
            self._append(
                (StreamAppend(new_stream(), ExpectedVersion.ANY, _encoded(data, per_stream)),)
                for _ in range(per_commit // per_stream)
            )
        return number

    @cached_property
    def _existing(self) -> Iterator[str]:
        names = [new_stream() for _ in range(EXISTING)]
        data = msgspec.json.encode(payload())
        self._append(
            (StreamAppend(name, ExpectedVersion.NO_STREAM, _encoded(data, 1)),) for name in names
        )
        return cycle(names)

    def _append(self, group: Iterator[Append] | Sequence[Append]) -> None:
        rows = self.execute(self.statements.append, (_WAIT, False, *append_arguments(list(group))))
        assert all(row[0] == 0 for row in rows)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def reader(self, stream: str, length: int) -> Operation:
        parameters = (stream, *all_page(1, _PAGE))

        def read() -> None:
            rows = self.execute(self.statements.read_stream[_FORWARD], parameters)
            events = [(position, stream, *rest) for _, position, *rest in rows]
            assert len(_recorded(events, of_all=False)) == length

        return read

    def read_all(self) -> Measurement:
        return timed(self._read_everything)

    def _read_everything(self) -> int:
        read = position = 0
        while page := self._page_after(position):
            read += len(page)
            position = page[-1].position
        return read

    def _page_after(self, position: int) -> list[RecordedEvent]:
        rows = self.execute(self.statements.read_all[_FORWARD], all_page(position + 1, _PAGE))
        return _recorded(rows, of_all=True)

    def _claim(self) -> Claimed:
        owner = uuid4()
        claim = Claim(
            stream_id=ALL,
            subscription_name=f"bare-{owner}",
            start=0,
            owner=owner,
            owner_name="bare",
            lease=_LEASE,
        )
        claimed = self._storage.claim(claim, time.monotonic() + _LEASE)
        assert isinstance(claimed, Claimed)
        return claimed


def _encoded(data: bytes, number: int) -> tuple[EncodedEvent, ...]:
    return tuple(EncodedEvent(uuid7(), EVENT_TYPE, data) for _ in range(number))


def _recorded(rows: Iterable[Sequence[Any]], *, of_all: bool) -> list[RecordedEvent]:
    """Build events from rows as the store's own reads do; *of_all*: of all streams, else of one."""
    return [
        RecordedEvent(
            event_id=event_id,
            event_type=event_type,
            stream_id=stream_id,
            stream_version=stream_version,
            global_position=global_position,
            position=global_position if of_all else stream_version,
            data=_decode(data),
            metadata=None if metadata is None else _decode(metadata),
            causation_id=causation_id,
            correlation_id=correlation_id,
            created_at=utc(created_at),
        )
        for (
            global_position,
            stream_id,
            stream_version,
            event_id,
            event_type,
            data,
            metadata,
            causation_id,
            correlation_id,
            _format,
            created_at,
        ) in rows
    ]
