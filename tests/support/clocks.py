"""Clocks that a test moves: one of the storage, and one for each runtime.

The product is not changed. A runtime reads `time.monotonic` and nothing else; a `Watch` replaces
the module `time` in its modules. A store in PostgreSQL calls `clock_timestamp`; its functions get
a search path on which the test's function of that name comes first. A store in memory calls
`Moment.now`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, Protocol
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from eventstore.model.errors import SubscriptionNotFoundError
from eventstore.ports.storage import Storage
from eventstore.storages.memory import MemoryStorage
from eventstore.storages.memory.subscription_table import Moment
from eventstore.storages.postgres import PostgresStorage

OF_LEASES = (
    "delivering.delivery_loop",
    "delivering.outlets",
    "delivering.progress",
    "delivering.reading",
    "delivering.run_state",
    "delivering.subscription_actor",
    "kernel.timer",
    "owning.claim",
    "owning.keeper",
    "state.subscription_handle",
)
"""The modules that read the clock for leases and checkpoints."""

OF_RESTARTS = (
    "kernel.timer",
    "state.subscription_handle",
    "supervising.children",
    "supervising.services",
    "supervising.subscriptions",
    "supervising.supervisor",
)
"""The modules that read the clock for restarts."""

_ASK_THE_SERVER = ("claim_subscription", "keep_subscriptions", "look_at_subscriptions")

NOON = 1_700_000_000.0
"""The first time of a storage's clock, in seconds of Unix time."""


@dataclass(slots=True)
class Clock:
    """The clock of one runtime; it moves only when a test sets it."""

    now: float


class Watch:
    """Replaces the module `time` and shows the clock of the runtime that acts now."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, modules: Iterable[str]) -> None:
        self.worn = Clock(0.0)
        for name in modules:
            monkeypatch.setattr(importlib.import_module(f"eventstore_actors.{name}"), "time", self)

    def monotonic(self) -> float:
        return self.worn.now


class StoredRow(NamedTuple):
    """A subscription's row, read past the storage."""

    position_id: int
    checkpoint: int
    paused: bool
    epoch: int
    owner: UUID | None
    renewed_at: float | None
    expires_at: float | None


class TimedStore(Protocol):
    """A store whose clock is set by the test."""

    @property
    def storage(self) -> Storage: ...

    def set_clock(self, now: float) -> None: ...

    def row(self, stream_id: str, name: str) -> StoredRow | None: ...


class TimedMemory:
    """A store in memory."""

    def __init__(self, storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch) -> None:
        self.storage = storage
        self._now = NOON
        monkeypatch.setattr(Moment, "now", self._moment)

    def _moment(self) -> Moment:
        return Moment(datetime.fromtimestamp(self._now, UTC), self._now)

    def set_clock(self, now: float) -> None:
        self._now = now

    def row(self, stream_id: str, name: str) -> StoredRow | None:
        try:
            row = self.storage._opened().subscriptions.row(stream_id, name)
        except SubscriptionNotFoundError:
            return None
        held = row.held
        lease = (held.owner, held.renewed_at.timestamp(), held.expires) if held else (None,) * 3
        return StoredRow(row.subscription_id, row.checkpoint, row.paused, row.epoch, *lease)


class TimedPostgres:
    """A store in PostgreSQL whose functions read the time from a table."""

    def __init__(
        self, storage: PostgresStorage, psql: psycopg.Connection[tuple[object, ...]], schema: str
    ) -> None:
        self.storage = storage
        self._psql = psql
        self._schema = schema
        self._run("CREATE TABLE {}.clock AS SELECT to_timestamp(%s) AS now", NOON)
        self._run(
            "CREATE FUNCTION {}.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE"
            " SET search_path = {} AS 'SELECT now FROM clock'"
        )
        for function in _ASK_THE_SERVER:
            self._run(f"ALTER FUNCTION {{}}.{function} SET search_path = {{}}, pg_catalog, pg_temp")

    def set_clock(self, now: float) -> None:
        self._run("UPDATE {}.clock SET now = to_timestamp(%s)", now)

    def row(self, stream_id: str, name: str) -> StoredRow | None:
        found = self._run(
            "SELECT p.position_id, p.checkpoint, s.paused, p.epoch, p.owner,"
            " extract(epoch FROM l.renewed_at)::float8, extract(epoch FROM l.expires_at)::float8"
            " FROM {}.subscriptions s JOIN {}.positions p USING (subscription_id)"
            " JOIN {}.leases l USING (position_id)"
            " WHERE s.stream_id = %s AND s.subscription_name = %s",
            stream_id,
            name,
        ).fetchone()
        return None if found is None else StoredRow._make(found)

    def _run(self, statement: str, *values: object) -> psycopg.Cursor[tuple[object, ...]]:
        name = sql.Identifier(self._schema).as_string(None)
        return self._psql.execute(statement.replace("{}", name).encode(), values or None)
