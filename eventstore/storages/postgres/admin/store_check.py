"""Invariants of a store, as queries that find violations.

Each query scans an index in order and compares neighbours with window functions. So neither the
server nor the client holds more than a few rows, whatever the size of the store.
"""

# ruff: noqa: S608 - the templates are constants, and values never become part of them

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from eventstore.storages.postgres.connecting.connection import GuardedConnection
from eventstore.storages.postgres.statements import NO_SEARCH_PATH

__all__ = ["Checked", "Finding", "Problem", "StoreCheck"]

_PAGE = 1_000


class Problem(StrEnum):
    """Kinds of damage to a store."""

    POSITIONS_MISSING = "positions_missing"
    """No event has these positions, and no delete was recorded."""
    POSITIONS_REPEATED = "positions_repeated"
    """More than one event, or an event and a recorded delete, have these positions."""
    VERSIONS_MISSING = "versions_missing"
    """A stream has neither event nor link at these versions."""
    VERSIONS_REPEATED = "versions_repeated"
    """A stream has more than one event or link at this version."""
    ORDER_DISAGREES = "order_disagrees"
    """The event at this version of a stream has a lower position than the one before it."""
    STREAM_MISSING = "stream_missing"
    """The event at this position, or a link to it, is in a stream that does not exist."""
    EVENT_MISSING = "event_missing"
    """The link at this version of a stream is to an event that does not exist."""
    EVENT_ID_REPEATED = "event_id_repeated"
    """The events at these two positions have the same id."""
    CHECKPOINT_AHEAD = "checkpoint_ahead"
    """The checkpoint of a subscription, *first*, is beyond its head, *last*."""
    PARKED_EVENT_MISSING = "parked_event_missing"
    """A subscription has parked an event that does not exist, at *first*."""
    PARKED_AHEAD = "parked_ahead"
    """A subscription has parked an event at *first*, beyond its checkpoint, *last*."""
    PROJECTION_SUBSCRIPTION_MISSING = "projection_subscription_missing"
    """The subscription of a projection, at version *first*, was deleted: its tables are stale."""
    SNAPSHOT_STREAM_MISSING = "snapshot_stream_missing"
    """The snapshot, of version *first*, is of a stream that does not exist."""
    SNAPSHOT_AHEAD = "snapshot_ahead"
    """The version of a snapshot, *first*, is beyond that of its stream, *last*."""
    SEQUENCE_BEHIND = "sequence_behind"
    """The sequence would give out *first*, but numbers up to *last* are in use."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One violation."""

    problem: Problem
    first: int
    """Position or version, depending on the problem."""
    last: int
    stream_id: str = "$all"
    subscription_name: str | None = None
    event_id: UUID | None = None
    sequence: str | None = None
    """Name of the sequence with its schema, quoted for SQL."""
    snapshot_type: str | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """How much was checked."""

    events: int
    streams: int
    subscriptions: int


class StoreCheck:
    """Verifies the store in one schema, in one snapshot. Appends continue meanwhile."""

    def __init__(self, schema: str) -> None:
        quoted = sql.Identifier(schema).as_string(None)
        self._checks = {
            problem: template.format(schema=quoted).encode()
            for problem, template in _CHECKS.items()
        }
        self._counts = _COUNTS.format(schema=quoted).encode()

    def run(
        self, connection: GuardedConnection, found: Callable[[Finding], object], deadline: float
    ) -> Checked:
        """Call *found* for every violation. Return how much was checked.

        Raises:
            psycopg.Error: As the driver raises it. Earlier findings were reported.
        """
        with connection.transaction(deadline) as raw:
            raw.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            raw.execute("SET LOCAL statement_timeout = 0")
            raw.execute(NO_SEARCH_PATH)
            raw.execute("SET LOCAL enable_seqscan = on")
            for problem, query in self._checks.items():
                for row in _streamed(raw, query):
                    found(Finding(problem, *row))
            counts = raw.execute(self._counts).fetchone()
            assert counts is not None, "counts are one row"
            return Checked(*counts)


def _streamed(raw: psycopg.Connection[Any], query: bytes) -> Iterator[tuple[Any, ...]]:
    with raw.cursor("verify") as cursor:
        cursor.itersize = _PAGE
        yield from cursor.execute(query)


_NAME_OF_STREAM = """
    coalesce((SELECT s.stream_id FROM {schema}.streams s WHERE s.stream_no = f.stream_no),
             'stream number ' || f.stream_no)
"""

# What is being erased is no damage.
_NOT_GONE = """
    NOT EXISTS (SELECT FROM {schema}.deletions d
                 WHERE d.stream_no = f.stream_no AND d.erased_at IS NULL)
"""

# A recorded delete is a range of positions; an event is a range of one.
_POSITIONS = """
    SELECT r.first, r.last, coalesce(max(r.last) OVER (
             ORDER BY r.first ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS previous
      FROM (SELECT global_position AS first, global_position AS last FROM {schema}.events
            UNION ALL SELECT first_position, last_position FROM {schema}.tombstones) r
"""

_VERSIONS = """
    SELECT v.stream_no, v.stream_version, lag(v.stream_version, 1, 0::bigint) OVER (
             PARTITION BY v.stream_no ORDER BY v.stream_version) AS previous
      FROM (SELECT stream_no, stream_version FROM {schema}.events
            UNION ALL SELECT stream_no, stream_version FROM {schema}.links) v
"""


_SEQUENCES = " UNION ALL ".join(
    f"""
    SELECT last_value + is_called::int AS next, tableoid::regclass::text AS sequence,
           (SELECT max({column}) FROM {{schema}}.{table}) AS newest
      FROM {{schema}}.{table}_{column}_seq
    """
    for table, column in (
        ("streams", "stream_no"),
        ("links", "link_no"),
        ("subscriptions", "subscription_id"),
        ("positions", "position_id"),
    )
)

_OF_SNAPSHOT = "NULL, NULL::uuid, NULL, f.snapshot_type"

# The columns are those of Finding, after its problem.
_CHECKS = {
    Problem.POSITIONS_MISSING: f"""
        SELECT f.previous + 1, f.first - 1 FROM ({_POSITIONS}) f WHERE f.first > f.previous + 1
    """,
    Problem.POSITIONS_REPEATED: f"""
        SELECT f.first, least(f.last, f.previous) FROM ({_POSITIONS}) f
         WHERE f.first <= f.previous
    """,
    Problem.VERSIONS_MISSING: f"""
        SELECT f.previous + 1, f.stream_version - 1, {_NAME_OF_STREAM}
          FROM ({_VERSIONS}) f
         WHERE f.stream_version > f.previous + 1
           AND f.stream_version > 1 + coalesce(
             (SELECT s.version_floor FROM {{schema}}.streams s WHERE s.stream_no = f.stream_no), 0)
           AND {_NOT_GONE}
    """,
    Problem.VERSIONS_REPEATED: f"""
        SELECT f.stream_version, f.stream_version, {_NAME_OF_STREAM}
          FROM ({_VERSIONS}) f WHERE f.stream_version = f.previous
    """,
    Problem.ORDER_DISAGREES: f"""
        SELECT f.stream_version, f.stream_version, {_NAME_OF_STREAM}
          FROM (SELECT stream_no, stream_version, global_position,
                       lag(global_position) OVER (
                         PARTITION BY stream_no ORDER BY stream_version) AS previous
                  FROM {{schema}}.events) f
         WHERE f.global_position <= f.previous
    """,
    Problem.STREAM_MISSING: f"""
        SELECT f.global_position, f.global_position, {_NAME_OF_STREAM}
          FROM (SELECT stream_no, global_position FROM {{schema}}.events
                UNION ALL SELECT stream_no, global_position FROM {{schema}}.links) f
         WHERE NOT EXISTS (SELECT FROM {{schema}}.streams s WHERE s.stream_no = f.stream_no)
           AND {_NOT_GONE}
    """,
    Problem.EVENT_MISSING: f"""
        SELECT f.stream_version, f.stream_version, {_NAME_OF_STREAM}
          FROM {{schema}}.links f
         WHERE NOT EXISTS (
           SELECT FROM {{schema}}.events e WHERE e.global_position = f.global_position)
    """,
    Problem.EVENT_ID_REPEATED: """
        SELECT f.previous, f.global_position, '$all', NULL, f.event_id
          FROM (SELECT event_id, global_position,
                       lag(event_id) OVER w AS previous_id, lag(global_position) OVER w AS previous
                  FROM {schema}.events WINDOW w AS (ORDER BY event_id, global_position)) f
         WHERE f.event_id = f.previous_id
    """,
    Problem.CHECKPOINT_AHEAD: """
        SELECT p.checkpoint, h.head, s.stream_id, s.subscription_name
          FROM {schema}.subscriptions s JOIN {schema}.positions p USING (subscription_id)
         CROSS JOIN LATERAL {schema}.stream_head(s.stream_id) h
         WHERE p.checkpoint > h.head
         ORDER BY s.stream_id, s.subscription_name
    """,
    Problem.PARKED_EVENT_MISSING: """
        SELECT k.position, k.position, s.stream_id, s.subscription_name
          FROM {schema}.subscriptions s JOIN {schema}.parked k USING (subscription_id)
         WHERE NOT EXISTS (
           SELECT FROM {schema}.events e WHERE e.global_position = k.global_position)
         ORDER BY s.stream_id, s.subscription_name, k.position
    """,
    Problem.PARKED_AHEAD: """
        SELECT k.position, p.checkpoint, s.stream_id, s.subscription_name
          FROM {schema}.subscriptions s JOIN {schema}.parked k USING (subscription_id)
         CROSS JOIN LATERAL (SELECT max(checkpoint) AS checkpoint FROM {schema}.positions
                              WHERE subscription_id = s.subscription_id) p
         WHERE k.position > p.checkpoint
         ORDER BY s.stream_id, s.subscription_name, k.position
    """,
    Problem.PROJECTION_SUBSCRIPTION_MISSING: """
        SELECT v.version, v.version, '$all', v.projection_name || '@' || v.version
          FROM {schema}.projection_versions v WHERE v.subscription_id IS NULL
         ORDER BY v.projection_name, v.version
    """,
    Problem.SNAPSHOT_STREAM_MISSING: f"""
        SELECT f.stream_version, f.stream_version, {_NAME_OF_STREAM}, {_OF_SNAPSHOT}
          FROM {{schema}}.snapshots f
         WHERE NOT EXISTS (SELECT FROM {{schema}}.streams s WHERE s.stream_no = f.stream_no)
         ORDER BY f.stream_no, f.snapshot_type
    """,
    Problem.SNAPSHOT_AHEAD: f"""
        SELECT f.stream_version, h.head, s.stream_id, {_OF_SNAPSHOT}
          FROM {{schema}}.snapshots f JOIN {{schema}}.streams s USING (stream_no)
         CROSS JOIN LATERAL {{schema}}.stream_head(s.stream_id) h
         WHERE f.stream_version > h.head
         ORDER BY s.stream_id, f.snapshot_type
    """,
    Problem.SEQUENCE_BEHIND: f"""
        SELECT f.next, f.newest, '$all', NULL, NULL::uuid, f.sequence FROM ({_SEQUENCES}) f
         WHERE f.next <= f.newest
    """,
}

_COUNTS = """
    SELECT (SELECT count(*) FROM {schema}.events), (SELECT count(*) FROM {schema}.streams),
           (SELECT count(*) FROM {schema}.subscriptions)
"""
