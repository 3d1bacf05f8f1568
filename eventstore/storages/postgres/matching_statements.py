"""The SQL of reads with a filter: a page of what matches, and how far it was looked for.

Templates as those of `page_statements`.
"""

# ruff: noqa: S608 - the templates are constants, and values never become part of them

from __future__ import annotations

from typing import NamedTuple, Self

from eventstore.model.event_filter import EventFilter
from eventstore.model.serializer import JsonSerializer
from eventstore.ports.reads import ReadDirection
from eventstore.storages.postgres.operators import AT_LEAST, AT_MOST, BELOW, EQUALS
from eventstore.storages.postgres.page_statements import (
    ALL_COLUMNS,
    HEAD,
    NOT_GONE,
    SIZE,
    STREAM_COLUMNS,
    STREAM_ID,
)

__all__ = ["Shape", "matching_in_all", "matching_in_stream"]


class Shape(NamedTuple):
    """The conditions that a filter has, whatever their values are."""

    event_types: bool
    stream_prefix: bool
    metadata: int
    """How many of its keys."""

    @classmethod
    def of(cls, event_filter: EventFilter) -> Self:
        return cls(
            bool(event_filter.event_types),
            bool(event_filter.stream_prefix),
            len(event_filter.metadata),
        )

    @property
    def condition(self) -> str:
        """What is said of an event e.

        The parameters are the types, the prefix, and each key with its values.
        """
        parts = [
            *[f"e.event_type {EQUALS} ANY (%b)"] * self.event_types,
            *[f"pg_catalog.starts_with({STREAM_ID}, %b)"] * self.stream_prefix,
        ]
        if self.metadata:
            keys = " AND ".join([_KEY] * self.metadata)
            parts.append(f"e.metadata IS NOT NULL AND ({_OTHER_FORMAT} OR {keys})")
        return " AND ".join(parts)


# For its reader to decide.
_OTHER_FORMAT = f"e.format OPERATOR(pg_catalog.<>) '{JsonSerializer.format}'"

# The scalar subquery converts once.
_KEY = "{schema}.metadata_matches(e.metadata, %b, (SELECT %b::pg_catalog.jsonb)) IS NOT FALSE"

_SIZE_AND_PLACE = f"e.global_position, {SIZE} AS size"

_SPANS = {
    ReadDirection.FORWARD: """
        s.start AS first, least(s.start OPERATOR(pg_catalog.+) %b, s.head) AS last
    """,
    ReadDirection.BACKWARD: """
        greatest(least(s.start, s.head) OPERATOR(pg_catalog.-) %b, 1) AS first,
        least(s.start, s.head) AS last
    """,
}
"""The positions that are looked at, from `start` on, none beyond the head."""

_ENDS = {
    ReadDirection.FORWARD: (
        "pg_catalog.max",
        "greatest(s.last, s.start OPERATOR(pg_catalog.-) 1)",
    ),
    ReadDirection.BACKWARD: ("pg_catalog.min", "s.first"),
}
"""Which position was looked at last: of those found if they ended the page, or of all."""


class _Way(NamedTuple):
    """How a read goes through the span that it looks at."""

    from_: str
    """How positions compare with the one where it begins."""
    begin: str
    up_to: str
    """How they compare with the one where it ends."""
    end: str
    order: str


_WAYS = {
    ReadDirection.FORWARD: _Way(AT_LEAST, "first", AT_MOST, "last", "ASC"),
    ReadDirection.BACKWARD: _Way(AT_MOST, "last", AT_LEAST, "first", "DESC"),
}


def matching_in_all(direction: ReadDirection, shape: Shape) -> str:
    """Return the query for a page of ``$all``.

    Its columns are the last position that was looked at, the head, a null, and those of an event,
    which are null in an empty page. The parameters are how many positions to look at but one, the
    start, those of the condition, the count, the bytes, and the count again.
    """
    start = f"""
        SELECT %b::pg_catalog.int8 AS start, {HEAD} AS head,
               NULL::pg_catalog.timestamptz AS deleted_at
         WHERE {{proven}}
    """
    is_within, order = _is_within(direction, "e.global_position"), _WAYS[direction].order
    found = f"""
        SELECT e.global_position AS place, false AS is_linked, {_SIZE_AND_PLACE}
          FROM {_looked_at(direction, "events", "global_position")} e
         WHERE {is_within} AND {NOT_GONE} AND {shape.condition}
         ORDER BY e.global_position {order} LIMIT %b
    """
    return _page(direction, start, found, ALL_COLUMNS)


def matching_in_stream(direction: ReadDirection, shape: Shape) -> str:
    """Return the query for a page of a stream, with what is linked, also if it is deleted.

    Its columns are the last position that was looked at, the head, the time of deletion, and those
    of an event, which are null in an empty page. No row means that there is no stream. The
    parameters are how many positions to look at but one, the start, the stream's name, those of the
    condition and the count twice, then the count, the bytes, and the count again.
    """
    start = f"""
        SELECT %b::pg_catalog.int8 AS start, s.stream_no, s.deleted_at,
               greatest((SELECT pg_catalog.max(e.stream_version) FROM {{schema}}.events e
                          WHERE e.stream_no {EQUALS} s.stream_no),
                        (SELECT pg_catalog.max(l.stream_version) FROM {{schema}}.links l
                          WHERE l.stream_no {EQUALS} s.stream_no), s.version_floor) AS head
          FROM {{schema}}.streams s WHERE {{proven}} AND s.stream_id {EQUALS} %b LIMIT 1
    """
    own, linked = (
        _looked_at(direction, table, "stream_version", _OF_STREAM) for table in ("events", "links")
    )
    is_within, is_linked_within = (
        _is_within(direction, f"{row}.stream_version") for row in ("e", "l")
    )
    order = _WAYS[direction].order
    found = f"""
        SELECT e.* FROM (
          (SELECT e.stream_version AS place, false AS is_linked, {_SIZE_AND_PLACE}
             FROM {own} e WHERE {is_within} AND {shape.condition}
            ORDER BY e.stream_version {order} LIMIT %b)
          UNION ALL
          (SELECT l.stream_version, true, {_SIZE_AND_PLACE}
             FROM {linked} l CROSS JOIN LATERAL (
               SELECT e.* FROM {{schema}}.events e
                WHERE e.global_position {EQUALS} l.global_position AND {NOT_GONE} LIMIT 1) e
            WHERE {is_linked_within} AND {shape.condition}
            ORDER BY l.stream_version {order} LIMIT %b)) e
         ORDER BY e.place {order} LIMIT %b
    """
    return _page(direction, start, found, STREAM_COLUMNS)


_OF_STREAM = f"t.stream_no {EQUALS} (SELECT stream_no FROM span)"


def _looked_at(direction: ReadDirection, table: str, position: str, condition: str = "true") -> str:
    """Return the rows of *table* that are looked at, in order, and perhaps some behind them.

    By one bound and a number: with two bounds, a plan that was made while all was small sorts.
    """
    way = _WAYS[direction]
    return f"""
        (SELECT t.* FROM {{schema}}.{table} t
          WHERE {condition} AND t.{position} {way.from_} (SELECT {way.begin} FROM span)
          ORDER BY t.{position} {way.order} LIMIT (SELECT number FROM span))
    """


def _is_within(direction: ReadDirection, position: str) -> str:
    """Return the condition that *position* is not behind those that are looked at."""
    way = _WAYS[direction]
    return f"{position} {way.up_to} (SELECT {way.end} FROM span)"


def _page(direction: ReadDirection, start: str, found: str, columns: str) -> str:
    """Return the query for what is *found*, cut by its bytes.

    One statement without a volatile function: it sees the head and the events at one moment.
    """
    furthest, end = _ENDS[direction]
    return f"""
        WITH span AS MATERIALIZED (
          SELECT s.*, greatest(s.last OPERATOR(pg_catalog.-) s.first OPERATOR(pg_catalog.+) 1, 0)
                      AS number
            FROM (SELECT s.*, {_SPANS[direction]} FROM ({start} OFFSET 0) s OFFSET 0) s),
        found AS MATERIALIZED (
          SELECT f.*, pg_catalog.row_number() OVER w AS number,
                 pg_catalog.sum(f.size) OVER w AS total
            FROM ({found}) f
          WINDOW w AS (ORDER BY f.place {_WAYS[direction].order} ROWS UNBOUNDED PRECEDING)),
        cut AS MATERIALIZED (
          SELECT * FROM found WHERE number {EQUALS} 1 OR total {AT_MOST} %b),
        ended AS (
          SELECT pg_catalog.count(*) {BELOW} (SELECT pg_catalog.count(*) FROM found)
                 OR pg_catalog.count(*) {AT_LEAST} %b AS early, {furthest}(place) AS place FROM cut)
        SELECT s.up_to, s.head, s.deleted_at AT TIME ZONE 'UTC', e.*
          FROM (SELECT s.*, CASE WHEN c.early THEN c.place ELSE {end} END AS up_to
                  FROM span s CROSS JOIN ended c) s
          LEFT JOIN LATERAL (
            SELECT {columns} FROM cut c CROSS JOIN LATERAL (
              SELECT c.place, CASE WHEN c.is_linked THEN {STREAM_ID} END AS source_id,
                     CASE WHEN c.is_linked THEN e.stream_version END AS source_version, e.*
                FROM {{schema}}.events e
               WHERE e.global_position {EQUALS} c.global_position LIMIT 1) e
             ORDER BY c.number) e ON true
    """
