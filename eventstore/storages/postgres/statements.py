"""The SQL statements of a store, with the schema in each name. Values are passed as ``%b``.

Each statement proves that the schema still holds the store that was connected to: a schema may be
renamed, and another one made under its name.

Operators, functions and types are qualified with ``pg_catalog`` too. A session that is shared
through a pooler may have a foreign search path, with an operator ``=`` of its own.
"""

# ruff: noqa: S608 - the templates are constants, and values never become part of them

from __future__ import annotations

from datetime import datetime
from itertools import product
from typing import get_args
from uuid import UUID

import msgspec
from psycopg import sql

from eventstore.model.stream_listing import StreamOrder
from eventstore.ports.storage import ReadDirection
from eventstore.ports.stored_events import EncodedEvent

__all__ = ["NO_SEARCH_PATH", "Statements", "channel_of"]

NO_SEARCH_PATH = "SET LOCAL search_path = pg_catalog, pg_temp"
"""For one transaction: unqualified names mean ``pg_catalog``, whatever the session has set."""


def channel_of(schema: str) -> str:
    """Return the name of the channel on which the store in *schema* announces."""
    return f"{schema}_events"


class Statements:
    """The statements of the store in one schema."""

    def __init__(self, schema: str) -> None:
        """Make the statements for whichever store is in *schema*."""
        self._schema = schema
        self.identity = _composed(_IDENTITY, schema=schema)

        self.channel = channel_of(schema)
        self.listen = _composed("LISTEN {channel}", channel=self.channel)
        self.unlisten = _composed("UNLISTEN {channel}", channel=self.channel)
        self.listener_mark = _composed(f"SELECT {_LISTENER_MARK}", schema=schema)
        self.name_session = _NAME_SESSION
        self.others_listen = _composed(_OTHERS_LISTEN, schema=schema)
        self.notify = _NOTIFY
        self.queue_usage = b"SELECT pg_catalog.pg_notification_queue_usage()"

        self._make("true", "NULL, false")

    def bind(self, store_id: UUID, *, unsafe: bool) -> None:
        """Make the statements anew. The server refuses them in another store than *store_id*.

        Args:
            store_id: The store that was connected to.
            unsafe: Whether commits are only as durable as the session's settings make them.
        """
        self._make(*_proof(store_id, unsafe=unsafe))

    def _make(self, proven: str, proof: str) -> None:
        """Make the statements.

        Args:
            proven: A condition for those that read.
            proof: The last arguments of the functions that change something.
        """

        def made(template: str) -> bytes:
            text = template.replace("{proven}", proven).replace("{proof}", proof)
            return _composed(text, schema=self._schema)

        self.append = made(_APPEND)

        self.read_stream = {key: made(_read_stream(*key)) for key in _PAGES}
        self.read_all = {key: made(_read_all(*key)) for key in _PAGES}
        self.read_stream_after = made(_read_after(_IN_STREAM, "stream_version", _OF_STREAM))
        self.read_all_after = made(_read_after(_IN_ALL, "global_position"))
        self.stream_info = made(_STREAM_INFO)
        self.streams = {key: made(_streams(*key)) for key in _LISTINGS}
        self.stream_no = made(
            f"SELECT stream_no FROM {{schema}}.streams WHERE {{proven}} AND stream_id {_EQUALS} %b"
        )
        self.find_event = made(
            f"SELECT {_IN_ALL}, {_REST} FROM {{schema}}.events e"
            f" WHERE {{proven}} AND e.event_id {_EQUALS} %b"
        )
        self.stream_count = made(
            "SELECT pg_catalog.count(*) FROM {schema}.streams WHERE {proven} AND deleted_at IS NULL"
        )
        self.head = made(f"SELECT {_HEAD} WHERE {{proven}}")
        self.newest = made(_NEWEST)
        self.history_holds = made(f"SELECT {_HOLDS} FROM {_KNOWN} WHERE {{proven}}")

        self.claim = made(_CLAIM)
        self.keep = made(_called("keep_subscriptions", 9))
        self.release = made(_called("release_subscriptions", 8))
        self.look = made(_LOOK)
        self.subscriptions = made(
            f"{_STATUS} WHERE {{proven}} ORDER BY stream_id, subscription_name"
        )
        self.subscription_info = made(f"{_STATUS} {_OF_ONE}")
        self.pause = made(_called("pause_subscription", 4))
        self.reset = made(_called("reset_subscription", 4))
        self.delete = made(_called("delete_subscription", 3))


def _composed(template: str, **names: str) -> bytes:
    # A percent sign in a name is not the start of a parameter.
    quoted = {
        key: sql.Identifier(name).as_string(None).replace("%", "%%") for key, name in names.items()
    }
    return template.format(**quoted).encode()


def _parameters(count: int) -> str:
    return ", ".join(["%b"] * count)


def _called(function: str, parameters: int) -> str:
    """Return the call of a function that changes something."""
    return f"SELECT * FROM {{schema}}.{function}({_parameters(parameters)}, {{proof}})"


def _proof(store_id: UUID, *, unsafe: bool) -> tuple[str, str]:
    """Return the two arguments of `Statements._make` for one store.

    In another store the condition is an error. It depends on no row, so it is checked before one is
    read.
    """
    store = f"'{store_id}'::pg_catalog.uuid"
    found = f"SELECT FROM {{schema}}.store WHERE store_id {_EQUALS} {store}"
    refused = "{schema}.refuse_store()"
    proven = f"(SELECT CASE WHEN EXISTS ({found}) THEN true ELSE {refused} END)"
    return proven, f"{store}, {unsafe}"


_EQUALS = "OPERATOR(pg_catalog.=)"
_AT_LEAST = "OPERATOR(pg_catalog.>=)"
_AT_MOST = "OPERATOR(pg_catalog.<=)"
_AFTER = "OPERATOR(pg_catalog.>)"
_BELOW = "OPERATOR(pg_catalog.<)"

# Not by store_head(): what a statement names itself it locks before it takes its snapshot.
_HEAD = """
    greatest((SELECT pg_catalog.max(global_position) FROM {schema}.events),
             (SELECT pg_catalog.max(last_position) FROM {schema}.tombstones), 0)
"""

_IDENTITY = "SELECT store_id, pg_catalog.pg_is_in_recovery() FROM {schema}.store"

_APPEND = f"""
    SELECT status, first_version, first_position, version, used_id, stored_at AT TIME ZONE 'UTC'
      FROM {{schema}}.append_events(
        {_parameters(9 + len(EncodedEvent.__struct_fields__))}, {{proof}})
"""


def _column(field: msgspec.structs.FieldInfo) -> str:
    """Return the SQL for a column of an event; times in UTC, whatever the session's time zone."""
    is_time = datetime in get_args(field.type)
    return f"e.{field.name}" + (f" AT TIME ZONE 'UTC' AS {field.name}" if is_time else "")


# The columns after the stream id in StoredEvent.
_REST = ", ".join(["e.stream_version", *map(_column, msgspec.structs.fields(EncodedEvent))])

_SIZE = """pg_catalog.octet_length(e.data)
    OPERATOR(pg_catalog.+) coalesce(pg_catalog.octet_length(e.metadata), 0)"""


_PAGES = tuple(product(ReadDirection, (False, True)))
"""Direction of a page, and whether bytes end it, too."""


def _page(
    position: str, direction: ReadDirection, *, by_bytes: bool, condition: str = "true"
) -> str:
    """Return the FROM clause and all after it for a page of events, named e.

    The parameters are start and count. With *by_bytes*, start, count and a number of bytes follow
    twice: the page ends with the event that reaches them. Few pages do, so their sum comes first.
    """
    compare, order = {
        ReadDirection.FORWARD: (_AT_LEAST, "ASC"),
        ReadDirection.BACKWARD: (_AT_MOST, "DESC"),
    }[direction]
    page = f"""
          FROM {{schema}}.events e
         WHERE {condition} AND e.{position} {compare} %b
         ORDER BY e.{position} {order} LIMIT %b
    """
    if not by_bytes:
        return page
    sizes = f"(SELECT e.{position} AS position, {_SIZE} AS size {page}) s"
    return f"""
          FROM (SELECT e.* {page}) e
         LIMIT CASE WHEN (SELECT pg_catalog.sum(s.size) FROM {sizes}) {_BELOW} %b THEN NULL ELSE (
            SELECT pg_catalog.count(*)
              FROM (SELECT pg_catalog.sum(s.size) OVER w OPERATOR(pg_catalog.-) s.size AS before
                      FROM {sizes}
                    WINDOW w AS (ORDER BY s.position {order} ROWS UNBOUNDED PRECEDING)) c
             WHERE c.before {_BELOW} %b) END
    """


def _read_stream(direction: ReadDirection, by_bytes: bool) -> str:
    """Return the query for a page of a stream.

    The first column is the stream's time of deletion. A row of nulls is an empty page; no row means
    that there is no stream. LATERAL ... LIMIT fixes the plan: events by the index, in order.
    """
    of_stream = f"e.stream_no {_EQUALS} s.stream_no AND s.deleted_at IS NULL"
    page = _page("stream_version", direction, by_bytes=by_bytes, condition=of_stream)
    return f"""
        SELECT s.deleted_at AT TIME ZONE 'UTC', e.*
          FROM (SELECT stream_no, stream_id, deleted_at FROM {{schema}}.streams
                 WHERE {{proven}} AND stream_id {_EQUALS} %b LIMIT 1) s
          LEFT JOIN LATERAL (
            SELECT e.global_position, {_REST} {page}
          ) e ON true
    """


# The scalar subquery fixes the plan: a join might hash all streams.
_STREAM_ID = f"""
    (SELECT s.stream_id FROM {{schema}}.streams s WHERE s.stream_no {_EQUALS} e.stream_no)
"""


# The columns before those. A position that is sent anyway, and a name that is known, are not sent.
_IN_ALL = f"e.global_position, {_STREAM_ID}"
_IN_STREAM = "e.global_position"


def _read_all(direction: ReadDirection, by_bytes: bool) -> str:
    page = _page("global_position", direction, by_bytes=by_bytes, condition="{proven}")
    return f"""
        SELECT {_IN_ALL}, {_REST} {page}
    """


def _read_after(columns: str, position: str, condition: str = "true") -> str:
    """Return the query for a page of limited size: the last parameter bounds its bytes.

    The first event is read whatever its size. Sizes are known without reading the payloads, and are
    summed over narrow rows. Few pages are too large, so their sum comes first. ROWS: positions
    differ, so no peers need to be found.
    """
    page = f"""
          FROM {{schema}}.events e
         WHERE {condition} AND e.{position} {_AFTER} %b
         ORDER BY e.{position} LIMIT %b
    """
    sizes = f"(SELECT e.{position} AS position, {_SIZE} AS size {page}) s"
    return f"""
        SELECT {columns}, {_REST}
          FROM (SELECT e.* {page}) e
         WHERE {{proven}}
         LIMIT CASE WHEN (SELECT pg_catalog.sum(s.size) FROM {sizes}) {_AT_MOST} %b THEN NULL ELSE (
            SELECT pg_catalog.max(c.number)
              FROM (SELECT pg_catalog.row_number() OVER w AS number,
                           pg_catalog.sum(s.size) OVER w AS total
                      FROM {sizes}
                    WINDOW w AS (ORDER BY s.position ROWS UNBOUNDED PRECEDING)) c
             WHERE c.number {_EQUALS} 1 OR c.total {_AT_MOST} %b) END
    """


_OF_STREAM = f"""
    e.stream_no {_EQUALS} (
        SELECT s.stream_no FROM {{schema}}.streams s
         WHERE s.stream_id {_EQUALS} %b AND s.deleted_at IS NULL)
"""

_STREAM_INFO = f"""
    SELECT s.created_at AT TIME ZONE 'UTC', s.deleted_at AT TIME ZONE 'UTC', h.head
      FROM {{schema}}.streams s CROSS JOIN LATERAL {{schema}}.stream_head(s.stream_id) h
     WHERE {{proven}} AND s.stream_id {_EQUALS} %b
"""

_LISTINGS = tuple(product(StreamOrder, (False, True)))
"""Order of the streams, and whether it is turned round."""


def _streams(order: StreamOrder, descending: bool) -> str:
    """Return the query for a page of streams.

    The parameters are what it begins behind, the first and the last id, a part of the id, a count.
    """
    key = {StreamOrder.STREAM_ID: "stream_id", StreamOrder.CREATION: "stream_no"}[order]
    behind, way = (_BELOW, "DESC") if descending else (_AFTER, "ASC")
    return f"""
    SELECT s.stream_id, s.created_at AT TIME ZONE 'UTC', s.deleted_at AT TIME ZONE 'UTC', h.head
      FROM (SELECT stream_id, stream_no, created_at, deleted_at FROM {{schema}}.streams
             WHERE {{proven}} AND {key} {behind} %b
               AND stream_id {_AT_LEAST} %b AND stream_id {_BELOW} %b
               AND pg_catalog.strpos(stream_id, %b) {_AFTER} 0
             ORDER BY {key} {way} LIMIT %b) s
     CROSS JOIN LATERAL {{schema}}.stream_head(s.stream_id) h
     ORDER BY s.{key} {way}
    """


# Sessions that listen to a store end their application name with this; every role can see it.
_LISTENER_MARK = """
    (SELECT ' listens:' OPERATOR(pg_catalog.||) pg_catalog."left"(store_id::pg_catalog.text, 13)
       FROM {schema}.store)
"""
_MARK_LENGTH = len(" listens:") + 13

_NAME_SESSION = b"SELECT pg_catalog.set_config('application_name', %b, false)"

_KNOWN = "(SELECT %b::pg_catalog.int8 AS position, %b::pg_catalog.uuid AS event_id) k"

_HOLDS = f"""
    EXISTS (SELECT FROM {{schema}}.events e
             WHERE e.global_position {_EQUALS} k.position AND e.event_id {_EQUALS} k.event_id)
        OR coalesce((SELECT t.first_position {_AT_MOST} k.position FROM {{schema}}.tombstones t
                      WHERE t.last_position {_AT_LEAST} k.position
                      ORDER BY t.last_position LIMIT 1), false)
"""

_NEWEST = f"""
    SELECT h.head, (SELECT e.event_id FROM {{schema}}.events e
                     WHERE e.global_position {_EQUALS} h.head),
           coalesce((SELECT pg_catalog.max(deletion_no) FROM {{schema}}.tombstones), 0), {_HOLDS}
      FROM {_KNOWN}, (SELECT {_HEAD} AS head WHERE {{proven}}) h
"""

_OTHERS_LISTEN = f"""
    SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a
                    WHERE a.datname {_EQUALS} pg_catalog.current_database()
                      AND pg_catalog."right"(a.application_name, {_MARK_LENGTH})
                          {_EQUALS} {_LISTENER_MARK}
                      AND NOT a.pid {_EQUALS} ANY (%b))
"""

# A commit that only notifies need not wait for the disk. All notifying commits of a server take one
# lock; the wait for it is bounded, because its holder may wait for a standby.
_NOTIFY = b"""
    SELECT pg_catalog.set_config('synchronous_commit', 'off', true),
           pg_catalog.set_config('lock_timeout', %b, true), pg_catalog.pg_notify(%b, %b)
"""

_CLAIM = f"""
    SELECT granted, created, locked, subscription_id, position_id, owner, epoch, checkpoint, head,
           paused, owner_name, owned_since AT TIME ZONE 'UTC', renewed_at AT TIME ZONE 'UTC',
           clock_set_back
      FROM {{schema}}.claim_subscription({_parameters(12)}, {{proof}})
"""

_LOOK = """
    SELECT position_id, paused, epoch, owner, renewed_at AT TIME ZONE 'UTC', expired
      FROM {schema}.look_at_subscriptions(%b)
     WHERE {proven}
"""

_STATUS = """
    SELECT subscription_id, stream_id, subscription_name, owner,
           owned_since AT TIME ZONE 'UTC', epoch, state, checkpoint, head, lag_events,
           lag_seconds, paused, last_error, attempts, created_at AT TIME ZONE 'UTC'
      FROM {schema}.subscription_status
"""

_OF_ONE = f"WHERE {{proven}} AND stream_id {_EQUALS} %b AND subscription_name {_EQUALS} %b"
