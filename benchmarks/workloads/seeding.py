"""Fills a store quickly: the server writes the events exactly as appends would have."""

from __future__ import annotations

import psycopg
from psycopg import sql

from benchmarks.contenders.load import EVENT_TYPE

__all__ = ["RARE_TENANT", "RARE_TYPE", "seed"]

RARE_TYPE = "OrderCancelled"
"""Type of one event in a hundred, or in as many as is asked for."""

RARE_TENANT = "rare"
"""Tenant in the metadata of these events, if events have metadata."""

_STREAMS = """
    INSERT INTO {schema}.streams (stream_id, created_at)
    SELECT {prefix} || n, clock_timestamp() FROM generate_series(1, {streams}::bigint) n
"""

# Ids grow with the positions, as ids made from time do, and sort before present ones.
_EVENTS = """
    INSERT INTO {schema}.events
           (global_position, stream_no, stream_version, created_at, event_id, event_type, metadata,
            data)
    SELECT g, s.first + {stream}, {version} + 1, clock_timestamp(),
           ('00000000-0000-7000-8000-' || lpad(to_hex(g), 12, '0'))::uuid,
           CASE g % {rare_every} WHEN 0 THEN {rare} ELSE {common} END, {metadata},
           convert_to('{{"sku":"A-4711","quantity":3,"price":19.9,"customer":"c-'
                      || lpad(g::text, 8, '0') || '","note":"xxxxxxxxxxxxxxxxxxxxxx"}}', 'UTF8')
      FROM generate_series(1, {events}::bigint) g,
           (SELECT min(stream_no) AS first FROM {schema}.streams) s
"""


_PLACES = {
    False: ("(g - 1) / {per_stream}", "(g - 1) % {per_stream}"),
    True: ("(g - 1) % {streams}", "(g - 1) / {streams}"),
}
"""Stream and version of event g, both from 0: in a row, or interleaved."""

_METADATA = (
    "convert_to('{{\"tenant\":\"' || CASE g % {rare_every} WHEN 0 THEN {tenant} ELSE 'common' END"
    " || '\"}}', 'UTF8')"
)


def seed(
    dsn: str,
    events: int,
    *,
    per_stream: int,
    interleaved: bool = False,
    rare_every: int = 100,
    with_metadata: bool = False,
    prefix: str = "seed-",
    schema: str = "eventstore",
) -> None:
    """Fill an empty store with *events* of about 100 bytes, *per_stream* per stream.

    The streams are called *prefix* and 1, 2, 3 … Afterwards the server knows the statistics of
    what it holds, and has cleaned up.

    Args:
        dsn: Where the store is.
        events: Their number.
        per_stream: Events of each stream.
        interleaved: The streams take turns; else the events of each are consecutive.
        rare_every: One in so many has another type.
        with_metadata: Each has a tenant, and these have another one.
        prefix: Of the ids of streams.
        schema: Of the store.
    """
    stream, version = _PLACES[interleaved]

    def made(template: str) -> sql.Composed:
        return sql.SQL(template).format(
            schema=sql.Identifier(schema),
            prefix=sql.Literal(prefix),
            events=sql.Literal(events),
            streams=sql.Literal(-(-events // per_stream)),
            per_stream=sql.Literal(per_stream),
            rare_every=sql.Literal(rare_every),
            tenant=sql.Literal(RARE_TENANT),
            rare=sql.Literal(RARE_TYPE),
            common=sql.Literal(EVENT_TYPE),
        )

    with psycopg.connect(dsn, autocommit=True) as connection:
        with connection.transaction():
            head = connection.execute(made("SELECT {schema}.lock_head(10000)")).fetchone()
            assert head == (0,), f"the store holds events up to {head}"
            connection.execute(made(_STREAMS))
            events_made = _EVENTS.replace("{stream}", stream).replace("{version}", version)
            metadata = _METADATA if with_metadata else "NULL"
            connection.execute(made(events_made.replace("{metadata}", metadata)))
        for table in ("streams", "events"):
            connection.execute(made(f"VACUUM ANALYZE {{schema}}.{table}"))
