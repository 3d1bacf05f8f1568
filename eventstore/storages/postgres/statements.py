"""The SQL statements of a store, with the schema in each name. Values are passed as ``%b``.

Each statement proves that the schema still holds the store that was connected to: a schema may be
renamed, and another one made under its name.

Operators, functions and types are qualified with ``pg_catalog`` too. A session that is shared
through a pooler may have a foreign search path, with an operator ``=`` of its own.
"""

# ruff: noqa: S608 - the templates are constants, and values never become part of them

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from uuid import UUID

from psycopg import sql

from eventstore.model.stream_listing import StreamOrder
from eventstore.ports.reads import ReadDirection
from eventstore.ports.stored_events import EncodedEvent
from eventstore.storages.postgres.caller_statements import (
    BOUND,
    CALLER_TRANSACTION,
    TRANSACTION_STATUS,
    WRITE_LOCK_HOLDER,
)
from eventstore.storages.postgres.effect_statements import BEGIN_BATCH, LOOK_AT_HANDLED
from eventstore.storages.postgres.matching_statements import (
    Shape,
    matching_in_all,
    matching_in_stream,
)
from eventstore.storages.postgres.operators import AFTER, AT_LEAST, AT_MOST, BELOW, EQUALS
from eventstore.storages.postgres.page_statements import (
    ALL_COLUMNS,
    END_OF_ALL,
    END_OF_STREAM,
    HEAD,
    NOT_GONE,
    PAGES,
    READ_ALL_AFTER,
    READ_PARKED,
    READ_STREAM_AFTER,
    read_all,
    read_linked_stream,
    read_stream,
)
from eventstore.storages.postgres.projection_statements import PROJECTIONS
from eventstore.storages.postgres.subscription_statements import (
    STORED_PROGRESS,
    SUBSCRIPTION_INFO,
    SUBSCRIPTIONS,
)

__all__ = ["LISTENS_TO_SEVERAL", "NO_SEARCH_PATH", "Channel", "Statements", "channel_of"]

NO_SEARCH_PATH = "SET LOCAL search_path = pg_catalog, pg_temp"
"""For one transaction: unqualified names mean ``pg_catalog``, whatever the session has set."""


def channel_of(schema: str) -> str:
    """Return the name of the channel on which the store in *schema* announces."""
    return f"{schema}_events"


class Channel:
    """The statements of one channel of notifications."""

    def __init__(self, name: str) -> None:
        self.channel = name
        self.listen = _composed("LISTEN {channel}", channel=name)
        self.unlisten = _composed("UNLISTEN {channel}", channel=name)
        self.name_session = _NAME_SESSION
        self.notify = _NOTIFY
        self.queue_usage = b"SELECT pg_catalog.pg_notification_queue_usage()"


class Statements(Channel):
    """The statements of the store in one schema, and of its channel."""

    def __init__(self, schema: str) -> None:
        """Make the statements for whichever store is in *schema*."""
        super().__init__(channel_of(schema))
        self._schema = schema
        self.identity = _composed(_IDENTITY, schema=schema)
        self.listener_mark = _composed(f"SELECT {_LISTENER_MARK}", schema=schema)
        self.others_listen = _composed(_OTHERS_LISTEN, schema=schema)

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

        self._made = made
        self._matching: dict[tuple[ReadDirection, Shape, bool], bytes] = {}

        self.append = made(_APPEND)
        self.append_in_transaction = made(_APPEND + BOUND)
        self.link_in_transaction = made(_called("link_events", 4) + BOUND)
        self.delete_in_transaction = made(_DELETE_STREAM + BOUND)
        self.caller_transaction = made(CALLER_TRANSACTION)
        self.write_lock_holder = made(WRITE_LOCK_HOLDER)
        self.transaction_status = TRANSACTION_STATUS
        self.link = made(_called("link_events", 4))
        self.delete_stream = made(_DELETE_STREAM)
        self.erase = made(_called("erase_events", 2))

        self.read_stream = {key: made(read_stream(*key)) for key in PAGES}
        self.read_linked_stream = {key: made(read_linked_stream(*key)) for key in PAGES}
        self.read_all = {key: made(read_all(*key)) for key in PAGES}
        self.read_stream_after = made(READ_STREAM_AFTER)
        self.read_all_after = made(READ_ALL_AFTER)
        self.end_of_all = made(END_OF_ALL)
        self.end_of_stream = made(END_OF_STREAM)
        self.stream_info = made(_STREAM_INFO)
        self.streams = {key: made(_streams(*key)) for key in _LISTINGS}
        self.stream_no = made(
            f"SELECT stream_no FROM {{schema}}.streams WHERE {{proven}} AND stream_id {EQUALS} %b"
        )
        self.find_event = made(
            f"SELECT {ALL_COLUMNS} FROM {{schema}}.events e"
            f" WHERE {{proven}} AND e.event_id {EQUALS} %b AND {NOT_GONE}"
        )
        self.stream_count = made(
            "SELECT pg_catalog.count(*) FROM {schema}.streams WHERE {proven} AND deleted_at IS NULL"
        )
        self.head = made(f"SELECT {HEAD} WHERE {{proven}}")
        self.newest = made(_NEWEST)
        self.besides = made(_BESIDES)
        self.linked = made(_LINKED)
        self.history_holds = made(f"SELECT {_HOLDS} FROM {_KNOWN} WHERE {{proven}}")

        self.record_snapshot = made(_RECORD_SNAPSHOT)
        self.read_snapshot = made(_READ_SNAPSHOT)
        self.delete_snapshot = made(_called("delete_snapshot", 3))

        self._make_subscriptions(made)
        self._make_parking(made)
        self._make_projecting(made)

    def _make_subscriptions(self, made: Callable[[str], bytes]) -> None:
        self.claim = made(_CLAIM)
        self.keep = made(_called("keep_subscriptions", 10))
        self.release = made(_called("release_subscriptions", 9))
        self.look = made(_LOOK)
        self.subscriptions = made(SUBSCRIPTIONS)
        self.subscription_info = made(SUBSCRIPTION_INFO)
        self.stored_progress = made(STORED_PROGRESS)
        self.begin_batch = made(BEGIN_BATCH)
        self.checkpoint_in_transaction = made(_called("checkpoint_in_transaction", 8))
        self.checkpoint_or_abort = made(_called("checkpoint_or_abort", 7) + BOUND)
        self.look_at_handled = made(LOOK_AT_HANDLED)
        self.pause = made(_called("pause_subscription", 4))
        self.reset = made(_called("reset_subscription", 4))
        self.delete = made(_called("delete_subscription", 4))

    def _make_parking(self, made: Callable[[str], bytes]) -> None:
        self.park = made(_called("park_events", 14))
        self.unpark = made(_called("unpark_events", 7))
        self.keep_parked = made(_called("keep_parked", 9))
        self.skip_replayed = made(_called("skip_replayed", 6))
        self.note_tries = made(_called("note_tries", 8))
        self.choose_parked = made(_called("choose_parked", 7))
        self.parked_keys = made(_PARKED_KEYS)
        self.read_parked = made(READ_PARKED)
        self.parked = made(_PARKED)

    def _make_projecting(self, made: Callable[[str], bytes]) -> None:
        self.projections = made(PROJECTIONS)
        self.begin_projection = made(_called("begin_projection", 5))
        self.create_projection = made(_called("create_projection", 7))
        self.switch_projection = made(_called("switch_projection", 4))
        self.rebuild_projection = made(_called("rebuild_projection", 6))
        self.drop_projection = made(_called("drop_projection", 4))

    def matching(self, direction: ReadDirection, shape: Shape, *, in_all: bool) -> bytes:
        """Return the query for a page of what matches a filter, of ``$all`` or of a stream."""
        key = direction, shape, in_all
        if key not in self._matching:
            query = matching_in_all if in_all else matching_in_stream
            self._matching[key] = self._made(query(direction, shape))
        return self._matching[key]


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
    found = f"SELECT FROM {{schema}}.store WHERE store_id {EQUALS} {store}"
    refused = "{schema}.refuse_store()"
    proven = f"(SELECT CASE WHEN EXISTS ({found}) THEN true ELSE {refused} END)"
    return proven, f"{store}, {unsafe}"


_IDENTITY = "SELECT store_id, pg_catalog.pg_is_in_recovery() FROM {schema}.store"

_APPEND = f"""
    SELECT status, first_version, first_position, version, used_id, stored_at AT TIME ZONE 'UTC'
      FROM {{schema}}.append_events(
        {_parameters(9 + len(EncodedEvent.__struct_fields__))}, {{proof}})
"""

_DELETE_STREAM = f"""
    SELECT status, version, deleted_at AT TIME ZONE 'UTC', subscriptions
      FROM {{schema}}.delete_stream({_parameters(4)}, {{proof}})
"""


_STREAM_INFO = f"""
    SELECT s.created_at AT TIME ZONE 'UTC', s.deleted_at AT TIME ZONE 'UTC', h.head
      FROM {{schema}}.streams s CROSS JOIN LATERAL {{schema}}.stream_head(s.stream_id) h
     WHERE {{proven}} AND s.stream_id {EQUALS} %b
"""

_LISTINGS = tuple(product(StreamOrder, (False, True)))
"""Order of the streams, and whether it is turned round."""


def _streams(order: StreamOrder, descending: bool) -> str:
    """Return the query for a page of streams.

    The parameters are what it begins behind, the first and the last id, a part of the id, a count.
    """
    key = {StreamOrder.STREAM_ID: "stream_id", StreamOrder.CREATION: "stream_no"}[order]
    behind, way = (BELOW, "DESC") if descending else (AFTER, "ASC")
    return f"""
    SELECT s.stream_id, s.created_at AT TIME ZONE 'UTC', s.deleted_at AT TIME ZONE 'UTC', h.head
      FROM (SELECT stream_id, stream_no, created_at, deleted_at FROM {{schema}}.streams
             WHERE {{proven}} AND {key} {behind} %b
               AND stream_id {AT_LEAST} %b AND stream_id {BELOW} %b
               AND pg_catalog.strpos(stream_id, %b) {AFTER} 0
             ORDER BY {key} {way} LIMIT %b) s
     CROSS JOIN LATERAL {{schema}}.stream_head(s.stream_id) h
     ORDER BY s.{key} {way}
    """


_RECORD_SNAPSHOT = f"""
    SELECT deleted_at AT TIME ZONE 'UTC', head, newest
      FROM {{schema}}.record_snapshot({_parameters(7)}, {{proof}})
"""

# As for a page of a stream, no row means that there is none; nulls, that it has no such snapshot.
_READ_SNAPSHOT = f"""
    SELECT s.deleted_at AT TIME ZONE 'UTC', s.stream_no, n.*
      FROM (SELECT stream_no, deleted_at FROM {{schema}}.streams
             WHERE {{proven}} AND stream_id {EQUALS} %b LIMIT 1) s
      LEFT JOIN LATERAL (
        SELECT n.stream_version, n.created_at AT TIME ZONE 'UTC' AS created_at, n.snapshot_type,
               n.format, n.data, n.metadata
          FROM {{schema}}.snapshots n
         WHERE n.stream_no {EQUALS} s.stream_no AND s.deleted_at IS NULL
           AND n.snapshot_type {EQUALS} %b LIMIT 1) n ON true
"""


# Sessions that listen to a store end their application name with this; every role can see it.
_LISTENER_MARK = """
    (SELECT ' listens:' OPERATOR(pg_catalog.||) pg_catalog."left"(store_id::pg_catalog.text, 13)
       FROM {schema}.store)
"""
_MARK_LENGTH = len(" listens:") + 13

LISTENS_TO_SEVERAL = f" listens:{'several':*^13}"
"""The same of sessions that listen to several stores of a database; it may be any of them."""

_NAME_SESSION = b"SELECT pg_catalog.set_config('application_name', %b, false)"

_KNOWN = "(SELECT %b::pg_catalog.int8 AS position, %b::pg_catalog.uuid AS event_id) k"

_HOLDS = f"""
    EXISTS (SELECT FROM {{schema}}.events e
             WHERE e.global_position {EQUALS} k.position AND e.event_id {EQUALS} k.event_id)
        OR coalesce((SELECT t.first_position {AT_MOST} k.position FROM {{schema}}.tombstones t
                      WHERE t.last_position {AT_LEAST} k.position
                      ORDER BY t.last_position LIMIT 1), false)
"""

_NEWEST = f"""
    SELECT h.head, (SELECT e.event_id FROM {{schema}}.events e
                     WHERE e.global_position {EQUALS} h.head),
           coalesce((SELECT pg_catalog.max(deletion_no) FROM {{schema}}.deletions), 0), {_HOLDS}
      FROM {_KNOWN}, (SELECT {HEAD} AS head WHERE {{proven}}) h
"""

_LINKED = f"""
    SELECT l.link_no, s.stream_id, l.stream_version
      FROM (SELECT link_no, stream_no, stream_version FROM {{schema}}.links
             WHERE {{proven}} AND link_no {AFTER} %b ORDER BY link_no LIMIT %b) l
     CROSS JOIN LATERAL (SELECT stream_id FROM {{schema}}.streams s
                          WHERE s.stream_no {EQUALS} l.stream_no LIMIT 1) s
     ORDER BY l.link_no
"""

# Apart from the newest event, which is looked at after each commit.
_BESIDES = """
    SELECT EXISTS (SELECT FROM {schema}.deletions WHERE erased_at IS NULL),
           coalesce((SELECT pg_catalog.max(link_no) FROM {schema}.links), 0)
     WHERE {proven}
"""

_OTHERS_LISTEN = f"""
    SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a
                    WHERE a.datname {EQUALS} pg_catalog.current_database()
                      AND pg_catalog."right"(a.application_name, {_MARK_LENGTH})
                          {EQUALS} ANY (ARRAY[{_LISTENER_MARK}, '{LISTENS_TO_SEVERAL}'])
                      AND NOT a.pid {EQUALS} ANY (%b))
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
           clock_set_back, other_options, owner_died, tried, tries, projected
      FROM {{schema}}.claim_subscription({_parameters(13)}, {{proof}})
"""

_LOOK = """
    SELECT position_id, paused, epoch, owner, renewed_at AT TIME ZONE 'UTC', expired
      FROM {schema}.look_at_subscriptions(%b)
     WHERE {proven}
"""

_PARKED_KEYS = f"""
    SELECT key, pg_catalog.max(position) FILTER (WHERE is_marked), pg_catalog.count(*)
      FROM {{schema}}.parked
     WHERE {{proven}} AND subscription_id {EQUALS} %b AND skipped_at IS NULL
     GROUP BY key ORDER BY pg_catalog.min(position)
"""

# No row means that there is no such subscription; nulls, that nothing of it is parked.
_PARKED = f"""
    SELECT k.* FROM {{schema}}.subscriptions s LEFT JOIN LATERAL (
      SELECT k.key, k.position, k.global_position, k.reason, k.error, k.attempts,
             k.parked_at AT TIME ZONE 'UTC', k.failed_at AT TIME ZONE 'UTC', k.is_marked
        FROM {{schema}}.parked k
       WHERE k.subscription_id {EQUALS} s.subscription_id AND k.skipped_at IS NULL
         AND k.position {AFTER} %b
       ORDER BY k.position LIMIT %b) k ON true
     WHERE {{proven}} AND s.stream_id {EQUALS} %b AND s.subscription_name {EQUALS} %b
"""
