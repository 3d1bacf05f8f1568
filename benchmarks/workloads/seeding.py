"""Fills a store quickly: the server writes the events exactly as appends would have."""

from __future__ import annotations

import psycopg
from psycopg import sql

from benchmarks.contenders.load import EVENT_TYPE

__all__ = ["RARE_TYPE", "seed"]

RARE_TYPE = "OrderCancelled"
"""Type of one event in a hundred."""

_STREAMS = """
    INSERT INTO {schema}.streams (stream_id, created_at)
    SELECT {prefix} || n, clock_timestamp() FROM generate_series(1, {streams}::bigint) n
"""

# Ids grow with the positions, as ids made from time do, and sort before present ones.
_EVENTS = """
    INSERT INTO {schema}.events
           (global_position, stream_no, stream_version, created_at, event_id, event_type, data)
    SELECT g, s.first + (g - 1) / {per_stream}, (g - 1) % {per_stream} + 1, clock_timestamp(),
           ('00000000-0000-7000-8000-' || lpad(to_hex(g), 12, '0'))::uuid,
           CASE g % 100 WHEN 0 THEN {rare} ELSE {common} END,
           convert_to('{{"sku":"A-4711","quantity":3,"price":19.9,"customer":"c-'
                      || lpad(g::text, 8, '0') || '","note":"xxxxxxxxxxxxxxxxxxxxxx"}}', 'UTF8')
      FROM generate_series(1, {events}::bigint) g,
           (SELECT min(stream_no) AS first FROM {schema}.streams) s
"""


def seed(
    dsn: str, events: int, *, per_stream: int, prefix: str = "seed-", schema: str = "eventstore"
) -> None:
    """Fill an empty store with *events* of about 100 bytes, *per_stream* consecutive per stream.

    The streams are called *prefix* and 1, 2, 3 … Afterwards the server knows the statistics of
    what it holds, and has cleaned up.
    """

    def made(template: str) -> sql.Composed:
        return sql.SQL(template).format(
            schema=sql.Identifier(schema),
            prefix=sql.Literal(prefix),
            events=sql.Literal(events),
            streams=sql.Literal(-(-events // per_stream)),
            per_stream=sql.Literal(per_stream),
            rare=sql.Literal(RARE_TYPE),
            common=sql.Literal(EVENT_TYPE),
        )

    with psycopg.connect(dsn, autocommit=True) as connection:
        with connection.transaction():
            head = connection.execute(made("SELECT {schema}.lock_head(10000)")).fetchone()
            assert head == (0,), f"the store holds events up to {head}"
            connection.execute(made(_STREAMS))
            connection.execute(made(_EVENTS))
        for table in ("streams", "events"):
            connection.execute(made(f"VACUUM ANALYZE {{schema}}.{table}"))
