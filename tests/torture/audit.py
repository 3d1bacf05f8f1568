"""The audit table in the database: every change of a checkpoint or an owner, and its author.

The times are those of the real clock, also while the one of the leases was set back.
"""

from __future__ import annotations

import time

import psycopg
from psycopg import sql

from tests.torture.evidence import Change, StoredEvent

__all__ = ["changes", "install_audit", "stored_events"]

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
"""

_EVENTS = """
SELECT e.global_position, s.stream_id, e.stream_version, e.event_id::text
  FROM {schema}.events e LEFT JOIN {schema}.streams s USING (stream_no)
 ORDER BY e.global_position
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


def changes(connection: psycopg.Connection, schema: str) -> list[Change]:
    """Return the changes, oldest first, with times on the clock of the journals."""
    ahead = time.time() - time.monotonic()
    rows = connection.execute(_of(_CHANGES, schema), [ahead]).fetchall()
    return [Change(*row) for row in rows]
