"""The limit: the store's own statements from bare psycopg in one loop, without actors."""

from __future__ import annotations

import time
from uuid import uuid4

import msgspec
import psycopg
from psycopg.types.numeric import Int4, Int8
from uuid_utils.compat import uuid7

from benchmarks.load import ALL, EVENT_TYPE, PAYLOAD, new_stream
from eventstore import Config, ExpectedVersion, SubscriptionState
from eventstore.postgres import PostgresStorage
from eventstore.postgres.append import append_arguments
from eventstore.postgres.arrays import register_arrays
from eventstore.postgres.statements import Statements
from eventstore.storage import Append, Claimed, EncodedEvent, Progress, StreamAppend

__all__ = ["Bare"]

_WAIT = Int4(10_000)
_LEASE = 60.0


class Bare:
    """One connection, one thread, the statements of the store."""

    def __init__(self, dsn: str, schema: str) -> None:
        self._statements = Statements(schema)
        self._connection = psycopg.connect(dsn, autocommit=True)
        register_arrays(self._connection)
        self._storage = PostgresStorage(Config(dsn, schema=schema))
        self._keeper = self._storage.keeper_session()
        self._decode = msgspec.json.Decoder().decode

    def close(self) -> None:
        self._connection.close()
        self._storage.close()

    def append(self, commits: int, appends: int, events: int) -> None:
        """Make *commits*, each of *appends* to new streams, each of *events*."""
        data = msgspec.json.encode(PAYLOAD)
        for _ in range(commits):
            group: list[Append] = [
                (
                    StreamAppend(
                        new_stream(),
                        ExpectedVersion.NO_STREAM,
                        tuple(EncodedEvent(uuid7(), EVENT_TYPE, data) for _ in range(events)),
                    ),
                )
                for _ in range(appends)
            ]
            self._connection.execute(
                self._statements.append,
                (_WAIT, *append_arguments(group)),
                prepare=True,
                binary=True,
            ).fetchall()

    def read_stream(self, stream_id: str, count: int) -> int:
        """Read and decode a stream; return how many events it has."""
        rows = self._connection.execute(
            self._statements.read_stream_forward,
            (stream_id, Int8(1), Int8(count)),
            prepare=True,
            binary=True,
        ).fetchall()
        return sum(1 for row in rows if self._decode(row[7]) is not None)

    def read_all_with_checkpoints(self, page: int) -> int:
        """Read everything in pages and store how far that is after each; return the events."""
        claimed = self._claim()
        position = read = 0
        while rows := self._connection.execute(
            self._statements.read_all_after,
            (Int8(position), Int8(page), Int8(64 * 1024 * 1024)),
            prepare=True,
            binary=True,
        ).fetchall():
            for row in rows:
                self._decode(row[6])
            read += len(rows)
            position = rows[-1][0]
            progress = Progress(claimed.fence, position, SubscriptionState.LIVE, None, 0)
            self._keeper.keep([progress], _LEASE, time.monotonic() + _LEASE)
        return read

    def _claim(self) -> Claimed:
        owner = uuid4()
        claimed = self._storage.claim(
            ALL,
            f"bare-{owner}",
            start=0,
            owner=owner,
            owner_name="bare",
            lease=_LEASE,
            watched=None,
            deadline=time.monotonic() + _LEASE,
        )
        assert isinstance(claimed, Claimed)
        return claimed

    def commit_latency(self) -> float:
        """Return the milliseconds of one append of one event."""
        begun = time.perf_counter()
        self.append(1, 1, 1)
        return 1_000 * (time.perf_counter() - begun)
