"""The library `eventsourcing`: its recorder for PostgreSQL in the default, safe mode."""

from __future__ import annotations

from collections import deque
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from typing import ClassVar, Self
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import msgspec
from psycopg.conninfo import conninfo_to_dict

from benchmarks.contenders.contender import InThreads, Load, Operation, Place
from benchmarks.contenders.load import EXISTING, payload
from benchmarks.measuring.measure import timed
from benchmarks.measuring.workload import Measurement

__all__ = ["EventSourcing"]

_PAGE = 1_000
_TOPIC = "benchmarks:Order.Placed"

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class EventSourcing(InThreads):
    """One application recorder with its pool; an aggregate is a stream."""

    name: ClassVar = "eventsourcing"

    def __init__(self, dsn: str) -> None:
        from eventsourcing.persistence import StoredEvent
        from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

        parts = conninfo_to_dict(dsn)
        self.address = dsn
        self._stored_event = StoredEvent
        self._datastore = PostgresDatastore(
            str(parts["dbname"]),
            str(parts["host"]),
            str(parts.get("port") or 5432),
            str(parts["user"]),
            str(parts.get("password") or ""),
            connect_timeout=30,  # how long 100 callers may wait for a connection; 5 by default
            pool_size=5,
            max_overflow=10,
        )
        self.recorder = PostgresApplicationRecorder(self._datastore)

    @classmethod
    def missing(cls) -> str | None:
        return None if find_spec("eventsourcing") else "skipped, eventsourcing is not installed"

    @classmethod
    def version(cls) -> str:
        return f"eventsourcing {version('eventsourcing')}"

    @classmethod
    def start(cls, place: Place) -> Self:
        started = cls(place.dsn)
        started.recorder.create_table()
        return started

    @classmethod
    def join(cls, address: str) -> Self:
        return cls(address)

    def close(self) -> None:
        self._datastore.close()

    # ── appending ────────────────────────────────────────────────────────────────────────────────

    def appender(self, load: Load) -> Operation:
        data = payload(load.size)
        if not load.existing:
            return lambda: self._insert(uuid4(), 1, load.events, data)
        streams = self._existing

        def append() -> None:
            # It has no "any version", so callers remember the version, which saves a query.
            stream, version = streams.popleft()
            self._insert(stream, version + 1, load.events, data)
            streams.append((stream, version + load.events))

        return append

    def _insert(self, stream: UUID, version: int, number: int, data: object) -> None:
        self.recorder.insert_events(
            [
                self._stored_event(stream, version + place, _TOPIC, _encode(data))
                for place in range(number)
            ]
        )

    @cached_property
    def _existing(self) -> deque[tuple[UUID, int]]:
        streams = [uuid4() for _ in range(EXISTING)]
        data = _encode(payload())
        self.recorder.insert_events([self._stored_event(s, 1, _TOPIC, data) for s in streams])
        return deque((stream, 1) for stream in streams)

    def fill(self, stream: str, number: int) -> None:
        for start in range(0, number, _PAGE):
            self._insert(_id(stream), start + 1, min(_PAGE, number - start), payload())

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def reader(self, stream: str, length: int) -> Operation:
        originator = _id(stream)

        def read() -> None:
            stored = self.recorder.select_events(originator)
            assert len([_decode(event.state) for event in stored]) == length

        return read

    def read_all(self) -> Measurement:
        return timed(self._read_everything)

    def _read_everything(self) -> int:
        read, position = 0, 1
        while page := self.recorder.select_notifications(position, _PAGE):
            read += len([_decode(notification.state) for notification in page])
            position = page[-1].id + 1
        return read


def _id(stream: str) -> UUID:
    return uuid5(NAMESPACE_URL, stream)
