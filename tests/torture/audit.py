"""The audit table in the database: every change of a checkpoint or an owner, and its author.

The times are those of the real clock, also while the one of the leases was set back.
"""

from __future__ import annotations

import time

import psycopg
from psycopg import sql

from tests.torture.deletions import Deletion
from tests.torture.evidence import Change, StoredEvent
from tests.torture.parking import Parked

__all__ = [
    "changes",
    "closed_streams",
    "deletions",
    "install_audit",
    "is_replaying",
    "linked_events",
    "parked_events",
    "stored_events",
]

_INSTALL = """
CREATE SCHEMA {audit};
CREATE TABLE {audit}.changes (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text, process text, epoch_before bigint, epoch bigint, owner_before uuid, owner uuid,
  checkpoint_before bigint, checkpoint bigint, idle double precision,
  at double precision);
CREATE TABLE {audit}.renewals (position_id bigint PRIMARY KEY, at timestamptz NOT NULL);
CREATE FUNCTION {audit}.note_renewal() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO {audit}.renewals VALUES (NEW.position_id, pg_catalog.clock_timestamp())
  ON CONFLICT (position_id) DO UPDATE SET at = excluded.at;
  RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER UPDATE OF renewed_at ON {schema}.leases FOR EACH ROW
  WHEN (NEW.renewed_at IS NOT NULL) EXECUTE FUNCTION {audit}.note_renewal();
CREATE FUNCTION {audit}.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO {audit}.changes (name, process, epoch_before, epoch, owner_before, owner,
                               checkpoint_before, checkpoint, idle, at)
  VALUES ((SELECT subscription_name FROM {schema}.subscriptions s
            WHERE s.subscription_id = NEW.subscription_id),
          regexp_replace(current_setting('application_name'), '-listen$', ''),
          OLD.epoch, NEW.epoch, OLD.owner, NEW.owner, OLD.checkpoint, NEW.checkpoint,
          (SELECT extract(epoch FROM pg_catalog.clock_timestamp() - r.at) FROM {audit}.renewals r
            WHERE r.position_id = NEW.position_id),
          extract(epoch FROM pg_catalog.clock_timestamp()));
  RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER UPDATE ON {schema}.positions FOR EACH ROW
  WHEN ((OLD.epoch, OLD.owner, OLD.checkpoint)
        IS DISTINCT FROM (NEW.epoch, NEW.owner, NEW.checkpoint))
  EXECUTE FUNCTION {audit}.note();
CREATE TABLE {audit}.deletions (deletion_no bigint PRIMARY KEY, at double precision);
CREATE FUNCTION {audit}.note_deletion() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO {audit}.deletions
  VALUES (NEW.deletion_no, extract(epoch FROM pg_catalog.clock_timestamp()));
  RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER INSERT ON {schema}.deletions
  FOR EACH ROW EXECUTE FUNCTION {audit}.note_deletion();
"""

_EVENTS = """
SELECT e.global_position, s.stream_id, e.stream_version, e.event_id::text
  FROM {schema}.events e LEFT JOIN {schema}.streams s USING (stream_no)
 ORDER BY e.global_position
"""

_LINKED = """
SELECT l.stream_version, e.event_id::text
  FROM {schema}.links l LEFT JOIN {schema}.events e USING (global_position)
  JOIN {schema}.streams s ON s.stream_no = l.stream_no WHERE s.stream_id = %s
 ORDER BY l.stream_version
"""

_DELETIONS = """
SELECT d.stream_id, a.at - %s, coalesce(
         (SELECT array_agg(ARRAY[t.first_position, t.last_position] ORDER BY t.first_position)
            FROM {schema}.tombstones t WHERE t.deletion_no = d.deletion_no), '{{}}'),
       d.erased_at IS NOT NULL
  FROM {schema}.deletions d JOIN {audit}.deletions a USING (deletion_no) ORDER BY d.deletion_no
"""

_CLOSED = "SELECT stream_id FROM {schema}.streams WHERE deleted_at IS NOT NULL"

_PARKED = """
SELECT k.position, extract(epoch FROM k.skipped_at)::double precision - %s FROM {schema}.parked k
  JOIN {schema}.subscriptions s USING (subscription_id) WHERE s.subscription_name = %s
"""

_TO_COME = """
SELECT EXISTS (SELECT FROM {schema}.parked k
  JOIN {schema}.subscriptions s USING (subscription_id)
 WHERE s.subscription_name = %s AND k.is_marked AND k.skipped_at IS NULL)
"""

_CHANGES = """
SELECT name, process, epoch_before, epoch, owner_before::text, owner::text, checkpoint_before,
       checkpoint, idle, at - %s
  FROM {audit}.changes ORDER BY number
"""


def _of(text: str, schema: str) -> sql.Composed:
    names = {"schema": sql.Identifier(schema), "audit": sql.Identifier(f"{schema}_audit")}
    return sql.SQL(text).format(**names)


def install_audit(connection: psycopg.Connection, schema: str) -> None:
    connection.execute(_of(_INSTALL, schema))


def stored_events(connection: psycopg.Connection, schema: str) -> list[StoredEvent]:
    """Return every stored event, in order, without using a function of the store."""
    return [StoredEvent(*row) for row in connection.execute(_of(_EVENTS, schema)).fetchall()]


def linked_events(
    connection: psycopg.Connection, schema: str, stream_id: str
) -> list[tuple[int, str]]:
    """Return version and id of every event that is linked to a stream, in order.

    A link to no event has no id.
    """
    return connection.execute(_of(_LINKED, schema), [stream_id]).fetchall()


def parked_events(connection: psycopg.Connection, schema: str, name: str) -> list[Parked]:
    """Return what a subscription has parked, and what of it was skipped."""
    rows = connection.execute(_of(_PARKED, schema), [_ahead(), name]).fetchall()
    return [Parked(*row) for row in rows]


def is_replaying(connection: psycopg.Connection, schema: str, name: str) -> bool:
    """Return whether parked events of a subscription are still to be delivered again."""
    row = connection.execute(_of(_TO_COME, schema), [name]).fetchone()
    return row is not None and bool(row[0])


def changes(connection: psycopg.Connection, schema: str) -> list[Change]:
    """Return the changes, oldest first, with times on the clock of the journals."""
    rows = connection.execute(_of(_CHANGES, schema), [_ahead()]).fetchall()
    return [Change(*row) for row in rows]


def deletions(connection: psycopg.Connection, schema: str) -> list[Deletion]:
    """Return the deletions for good, in their order, with times on the clock of the journals."""
    rows = connection.execute(_of(_DELETIONS, schema), [_ahead()]).fetchall()
    return [
        Deletion(stream_id, at, [(first, last) for first, last in ranges], is_erased)
        for stream_id, at, ranges, is_erased in rows
    ]


def closed_streams(connection: psycopg.Connection, schema: str) -> list[str]:
    """Return the streams that are deleted, but not for good."""
    return [stream_id for (stream_id,) in connection.execute(_of(_CLOSED, schema)).fetchall()]


def _ahead() -> float:
    """Return by how many seconds the real clock is ahead of the one of the journals."""
    return time.time() - time.monotonic()
