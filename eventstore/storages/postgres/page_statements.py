"""The SQL of reads: pages of a stream and of ``$all``, by position, with what is linked.

Templates as those of `statements`, which puts in the schema and the proof of the store.
"""

# ruff: noqa: S608 - the templates are constants, and values never become part of them

from __future__ import annotations

from datetime import datetime
from itertools import product
from typing import get_args

import msgspec

from eventstore.ports.reads import ReadDirection
from eventstore.ports.stored_events import EncodedEvent
from eventstore.storages.postgres.operators import AFTER, AT_LEAST, AT_MOST, BELOW, EQUALS

__all__ = [
    "ALL_COLUMNS",
    "END_OF_ALL",
    "END_OF_STREAM",
    "HEAD",
    "NOT_GONE",
    "PAGES",
    "READ_ALL_AFTER",
    "READ_PARKED",
    "READ_STREAM_AFTER",
    "SIZE",
    "STREAM_COLUMNS",
    "STREAM_ID",
    "read_all",
    "read_linked_stream",
    "read_stream",
]

# Not by store_head(): what a statement names itself it locks before it takes its snapshot.
HEAD = """
    greatest((SELECT pg_catalog.max(global_position) FROM {schema}.events),
             (SELECT pg_catalog.max(last_position) FROM {schema}.tombstones), 0)
"""


def _column(field: msgspec.structs.FieldInfo) -> str:
    """Return the SQL for a column of an event; times in UTC, whatever the session's time zone."""
    is_time = datetime in get_args(field.type)
    return f"e.{field.name}" + (f" AT TIME ZONE 'UTC' AS {field.name}" if is_time else "")


# The columns after the stream version in StoredEvent.
_REST = ", ".join(map(_column, msgspec.structs.fields(EncodedEvent)))

SIZE = """pg_catalog.octet_length(e.data)
    OPERATOR(pg_catalog.+) coalesce(pg_catalog.octet_length(e.metadata), 0)"""


PAGES = tuple(product(ReadDirection, (False, True)))
"""Direction of a page, and whether bytes end it, too."""


# The scalar subquery fixes the plan: a join might hash all streams.
STREAM_ID = f"""
    (SELECT s.stream_id FROM {{schema}}.streams s WHERE s.stream_no {EQUALS} e.stream_no)
"""


# Streams that were deleted for good, of which not everything is erased yet.
NOT_GONE = """
    e.stream_no OPERATOR(pg_catalog.<>) ALL (
      ARRAY(SELECT d.stream_no FROM {schema}.deletions d WHERE d.erased_at IS NULL))
"""

# A position that is sent anyway, and a name that is known, are not sent.
ALL_COLUMNS = f"e.global_position, {STREAM_ID}, e.stream_version, {_REST}"
STREAM_COLUMNS = f"e.source_id, e.source_version, e.global_position, e.place, {_REST}"


def _page(source: str, position: str, order: str, *, by_bytes: bool) -> str:
    """Return the FROM clause and all after it for a page of the events of *source*, named e.

    With *by_bytes*, the parameters of *source* and a number of bytes follow twice: the page ends
    with the event that reaches them. Few pages do, so their sum comes first.

    Args:
        source: A FROM clause and all after it, whose events are named e.
        position: The column by which it is sorted.
        order: ASC or DESC.
        by_bytes: Whether bytes end the page, too.
    """
    if not by_bytes:
        return source
    sizes = f"(SELECT e.{position} AS position, {SIZE} AS size {source}) s"
    return f"""
          FROM (SELECT e.* {source}) e
         LIMIT CASE WHEN (SELECT pg_catalog.sum(s.size) FROM {sizes}) {BELOW} %b THEN NULL ELSE (
            SELECT pg_catalog.count(*)
              FROM (SELECT pg_catalog.sum(s.size) OVER w OPERATOR(pg_catalog.-) s.size AS before
                      FROM {sizes}
                    WINDOW w AS (ORDER BY s.position {order} ROWS UNBOUNDED PRECEDING)) c
             WHERE c.before {BELOW} %b) END
    """


def _in_all(compare: str, order: str) -> str:
    """Return the source of a page of ``$all``; its parameters are start and count."""
    return f"""
          FROM {{schema}}.events e
         WHERE {{proven}} AND e.global_position {compare} %b AND {NOT_GONE}
         ORDER BY e.global_position {order} LIMIT %b
    """


def _in_stream(compare: str, order: str) -> str:
    """Return the source of a page of the stream `s.number`: its events and the linked ones.

    Both come by an index, in order, and are merged. An event has its place in the stream as
    `place`; a linked one also has its own stream and version, as `source_id` and `source_version`.
    The parameters are start and count, start and count again, and count.
    """
    return f"""
          FROM (
            (SELECT NULL::pg_catalog.text AS source_id, NULL::pg_catalog.int8 AS source_version,
                    e.stream_version AS place, e.*
               FROM {{schema}}.events e
              WHERE e.stream_no {EQUALS} s.number AND e.stream_version {compare} %b
              ORDER BY e.stream_version {order} LIMIT %b)
            UNION ALL
            (SELECT {STREAM_ID}, e.stream_version, l.stream_version, e.*
               FROM {{schema}}.links l CROSS JOIN LATERAL (
                 SELECT e.* FROM {{schema}}.events e
                  WHERE e.global_position {EQUALS} l.global_position AND {NOT_GONE} LIMIT 1) e
              WHERE l.stream_no {EQUALS} s.number AND l.stream_version {compare} %b
              ORDER BY l.stream_version {order} LIMIT %b)) e
         ORDER BY e.place {order} LIMIT %b
    """


_WAYS = {
    ReadDirection.FORWARD: (AT_LEAST, "ASC"),
    ReadDirection.BACKWARD: (AT_MOST, "DESC"),
}


# LIMIT 1 fixes the plan: first the stream, then its events by the index, in order.
_STREAM = f"""
    (SELECT stream_no AS number, version_floor
       FROM {{schema}}.streams WHERE {{proven}} AND stream_id {EQUALS} %b LIMIT 1) s
"""
_PLAIN_STREAM = f"""
    (SELECT o.is_other, CASE WHEN o.is_other IS NULL THEN o.stream_no END AS number
       FROM (SELECT s.stream_no, CASE WHEN s.deleted_at IS NOT NULL OR EXISTS (
                      SELECT FROM {{schema}}.links l WHERE l.stream_no {EQUALS} s.stream_no)
                    THEN true END AS is_other
               FROM {{schema}}.streams s
              WHERE {{proven}} AND s.stream_id {EQUALS} %b LIMIT 1) o) s
"""
_OPEN_STREAM = f"""
    (SELECT deleted_at, CASE WHEN deleted_at IS NULL THEN stream_no END AS number
       FROM {{schema}}.streams WHERE {{proven}} AND stream_id {EQUALS} %b LIMIT 1) s
"""


def read_stream(direction: ReadDirection, by_bytes: bool) -> str:
    """Return the query for a page of a stream that is open and has no links, as nearly all are.

    The first column is true if it is not such a stream: then `read_linked_stream` is the query. A
    row of nulls is an empty page; no row means that there is no stream.
    """
    compare, order = _WAYS[direction]
    own = f"""
          FROM {{schema}}.events e
         WHERE e.stream_no {EQUALS} s.number AND e.stream_version {compare} %b
         ORDER BY e.stream_version {order} LIMIT %b
    """
    page = _page(own, "stream_version", order, by_bytes=by_bytes)
    return f"""
        SELECT s.is_other, e.*
          FROM {_PLAIN_STREAM} LEFT JOIN LATERAL (
            SELECT e.global_position, e.stream_version, {_REST} {page}) e ON true
    """


def read_linked_stream(direction: ReadDirection, by_bytes: bool) -> str:
    """Return the query for a page of any stream.

    The first column is the stream's time of deletion. A row of nulls is an empty page; no row means
    that there is no stream.
    """
    compare, order = _WAYS[direction]
    page = _page(_in_stream(compare, order), "place", order, by_bytes=by_bytes)
    return f"""
        SELECT s.deleted_at AT TIME ZONE 'UTC', e.*
          FROM {_OPEN_STREAM} LEFT JOIN LATERAL (SELECT {STREAM_COLUMNS} {page}) e ON true
    """


def read_all(direction: ReadDirection, by_bytes: bool) -> str:
    compare, order = _WAYS[direction]
    page = _page(_in_all(compare, order), "global_position", order, by_bytes=by_bytes)
    return f"""
        SELECT {ALL_COLUMNS} {page}
    """


def _read_after(source: str, position: str, columns: str) -> str:
    """Return the query for a page of limited size: the last parameter bounds its bytes.

    The first event is read whatever its size. Sizes are known without reading the payloads, and are
    summed over narrow rows. Few pages are too large, so their sum comes first. ROWS: positions
    differ, so no peers need to be found.
    """
    sizes = f"(SELECT e.{position} AS position, {SIZE} AS size {source}) s"
    return f"""
        SELECT {columns}
          FROM (SELECT e.* {source}) e
         LIMIT CASE WHEN (SELECT pg_catalog.sum(s.size) FROM {sizes}) {AT_MOST} %b THEN NULL ELSE (
            SELECT pg_catalog.max(c.number)
              FROM (SELECT pg_catalog.row_number() OVER w AS number,
                           pg_catalog.sum(s.size) OVER w AS total
                      FROM {sizes}
                    WINDOW w AS (ORDER BY s.position ROWS UNBOUNDED PRECEDING)) c
             WHERE c.number {EQUALS} 1 OR c.total {AT_MOST} %b) END
    """


READ_STREAM_AFTER = f"""
    SELECT e.*
      FROM {_STREAM} CROSS JOIN LATERAL (
        {_read_after(_in_stream(AFTER, "ASC"), "place", STREAM_COLUMNS)}) e
"""

# One statement without a volatile function: it sees both at one moment.
END_OF_ALL = f"""
    SELECT {HEAD} WHERE NOT EXISTS (SELECT {_in_all(AFTER, "ASC")})
"""

END_OF_STREAM = f"""
    SELECT greatest(
             (SELECT pg_catalog.max(e.stream_version) FROM {{schema}}.events e
               WHERE e.stream_no {EQUALS} s.number),
             (SELECT pg_catalog.max(l.stream_version) FROM {{schema}}.links l
               WHERE l.stream_no {EQUALS} s.number), s.version_floor)
      FROM {_STREAM} WHERE NOT EXISTS (SELECT {_in_stream(AFTER, "ASC")})
"""

READ_ALL_AFTER = _read_after(_in_all(AFTER, "ASC"), "global_position", ALL_COLUMNS)

# The marked events of keys, key by key, by position. Of the first key, after a position. Sizes are
# summed as the events come. LIMIT in each key fixes the plan: by the index. What
# exists no more does not count, or a page of it would look like the end.
READ_PARKED = f"""
    SELECT e.place, {ALL_COLUMNS}
      FROM (
        SELECT e.*, pg_catalog.row_number() OVER w AS rank, pg_catalog.sum({SIZE}) OVER w AS total
          FROM (
            SELECT n.number, e.*
              FROM ROWS FROM (pg_catalog.unnest(%b::pg_catalog.text[]))
                   WITH ORDINALITY n(key, number)
             CROSS JOIN LATERAL (
               SELECT k.position AS place, e.*
                 FROM {{schema}}.parked k CROSS JOIN LATERAL (
                   SELECT e.* FROM {{schema}}.events e
                    WHERE e.global_position {EQUALS} k.global_position AND {NOT_GONE} LIMIT 1) e
                WHERE {{proven}} AND k.subscription_id {EQUALS} %b AND k.key {EQUALS} n.key
                  AND k.position {AFTER} CASE WHEN n.number {EQUALS} 1 THEN %b ELSE 0 END
                  AND k.is_marked AND k.skipped_at IS NULL
                ORDER BY k.position LIMIT %b) e
             ORDER BY n.number, e.place LIMIT %b) e
        WINDOW w AS (ORDER BY e.number, e.place ROWS UNBOUNDED PRECEDING)) e
     WHERE e.rank {EQUALS} 1 OR e.total {AT_MOST} %b
     ORDER BY e.rank
"""
