-- The event store's schema, version 1: tables, protection, the append, snapshots, subscriptions, effects,
-- projections.
--
-- `eventstore init` installs it. By hand, into the schema of your choice:
--     psql -v ON_ERROR_STOP=1 --single-transaction -v schema=eventstore -f schema.sql
--
-- Everything lives in this one schema, so several stores can share a database. Each function sets its
-- own search_path and ignores the session's.


SET LOCAL search_path = pg_catalog, pg_temp;   -- names in views and checks are resolved now
SELECT set_config('eventstore.installing', :'schema', true);
DO $$
BEGIN
  IF to_regnamespace(quote_ident(current_setting('eventstore.installing'))) IS NULL THEN
    EXECUTE format('CREATE SCHEMA %I', current_setting('eventstore.installing'));
  END IF;
END $$;


-- ── tables ──────────────────────────────────────────────────────────────────────────────────────

-- A stream that is created again after a hard delete is another one and gets another number. The version is not stored: it is the greatest of the
-- version floor, the newest event and the newest link.
CREATE TABLE :"schema".streams (
  stream_no   bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT streams_pkey PRIMARY KEY,
  stream_id   text COLLATE "C" NOT NULL
              CONSTRAINT streams_stream_id_key UNIQUE
              CONSTRAINT streams_stream_id_size CHECK (octet_length(stream_id) BETWEEN 1 AND 1000)
              CONSTRAINT streams_stream_id_not_reserved CHECK (NOT starts_with(stream_id, '$')),
  created_at  timestamptz NOT NULL,
  deleted_at  timestamptz,
  version_floor bigint NOT NULL DEFAULT 0   -- raised by whoever removes the newest event or link
              CONSTRAINT streams_version_floor CHECK (version_floor >= 0)
);

-- No foreign key to streams: it would cost a third of the throughput, and append_events is the only
-- writer. EXTERNAL: payloads are read whole, and compress badly one by one.
CREATE TABLE :"schema".events (
  global_position  bigint      CONSTRAINT events_pkey PRIMARY KEY
                               CONSTRAINT events_global_position_positive CHECK (global_position > 0),
  stream_no        bigint      NOT NULL,
  stream_version   bigint      NOT NULL
                               CONSTRAINT events_stream_version_positive CHECK (stream_version > 0),
  created_at       timestamptz NOT NULL,
  stored_at        timestamptz,   -- time of storing; null if it is created_at
  event_id         uuid        NOT NULL CONSTRAINT events_event_id_key UNIQUE,
  causation_id     uuid,
  correlation_id   uuid,
  format           text COLLATE "C" NOT NULL DEFAULT 'json'   -- which serializer wrote the payloads
                   CONSTRAINT events_format_size CHECK (octet_length(format) BETWEEN 1 AND 100),
  event_type       text COLLATE "C" NOT NULL
                   CONSTRAINT events_event_type_size CHECK (octet_length(event_type) BETWEEN 1 AND 1000),
  data             bytea       NOT NULL,
  metadata         bytea,
  CONSTRAINT events_stream_version_key UNIQUE (stream_no, stream_version)
);
ALTER TABLE :"schema".events ALTER COLUMN data SET STORAGE EXTERNAL,
                             ALTER COLUMN metadata SET STORAGE EXTERNAL;

-- An event that also appears in another stream. A link takes a version of the stream it is in.
-- link_no follows commit order: a process that sees a higher one looks for what was linked. No foreign
-- key to streams: links stay for a while when the stream they are in is deleted for good.
CREATE TABLE :"schema".links (
  link_no          bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT links_link_no_key UNIQUE,
  stream_no        bigint NOT NULL,
  stream_version   bigint NOT NULL CONSTRAINT links_stream_version_positive CHECK (stream_version > 0),
  global_position  bigint NOT NULL CONSTRAINT links_global_position_fkey REFERENCES :"schema".events,
  CONSTRAINT links_pkey PRIMARY KEY (stream_no, stream_version),
  CONSTRAINT links_event_once_per_stream UNIQUE (global_position, stream_no)
);

-- The newest snapshot of each type of a stream: what its events up to a version come to. It belongs to one
-- incarnation and goes with it, so that a stream that is created again has none. Written without the write
-- lock: it takes no part in the order of events.
CREATE TABLE :"schema".snapshots (
  stream_no        bigint      NOT NULL CONSTRAINT snapshots_stream_no_fkey
                               REFERENCES :"schema".streams ON DELETE CASCADE,
  snapshot_type    text COLLATE "C" NOT NULL
                   CONSTRAINT snapshots_snapshot_type_size
                   CHECK (octet_length(snapshot_type) BETWEEN 1 AND 1000),
  stream_version   bigint      NOT NULL
                               CONSTRAINT snapshots_stream_version_positive CHECK (stream_version > 0),
  created_at       timestamptz NOT NULL,
  format           text COLLATE "C" NOT NULL
                   CONSTRAINT snapshots_format_size CHECK (octet_length(format) BETWEEN 1 AND 100),
  data             bytea       NOT NULL,
  metadata         bytea,
  CONSTRAINT snapshots_pkey PRIMARY KEY (stream_no, snapshot_type)
);

-- Streams that were deleted for good. With this row a stream is gone: nothing of it is read any more, and
-- its name is free. Its events and links are erased afterwards, a few at a time. deletion_no follows
-- commit order: a process that sees a higher one drops the events that it holds in memory.
CREATE TABLE :"schema".deletions (
  deletion_no  bigint      CONSTRAINT deletions_pkey PRIMARY KEY,
  stream_no    bigint      NOT NULL CONSTRAINT deletions_stream_no_key UNIQUE,
  stream_id    text COLLATE "C" NOT NULL,
  deleted_at   timestamptz NOT NULL,
  erased_at    timestamptz              -- null: not everything is erased yet
);
CREATE INDEX deletions_unerased_idx ON :"schema".deletions (deletion_no, stream_no)
  WHERE erased_at IS NULL;

-- Ranges of positions whose events were erased. The head never falls below the greatest of them, so
-- that no position is assigned twice.
CREATE TABLE :"schema".tombstones (
  last_position   bigint CONSTRAINT tombstones_pkey PRIMARY KEY,
  first_position  bigint NOT NULL,
  deletion_no     bigint NOT NULL CONSTRAINT tombstones_deletion_no_fkey
                  REFERENCES :"schema".deletions,
  CONSTRAINT tombstones_range CHECK (0 < first_position AND first_position <= last_position)
);

-- Every writer locks this one row; the lock gives the right to assign positions. The row is never
-- updated, so it cannot bloat, even while the server holds old snapshots.
CREATE TABLE :"schema".write_lock (
  one boolean CONSTRAINT write_lock_pkey PRIMARY KEY CONSTRAINT write_lock_one_row CHECK (one)
);
INSERT INTO :"schema".write_lock VALUES (true);

-- One row with a random id. It proves that two connections lead to the same store.
CREATE TABLE :"schema".store (
  one       boolean NOT NULL DEFAULT true
            CONSTRAINT store_pkey PRIMARY KEY CONSTRAINT store_one_row CHECK (one),
  store_id  uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO :"schema".store DEFAULT VALUES;

-- What a subscription is. Its progress is in positions, its owner's lease in leases. These are three
-- tables because different transactions change them, and none of these may wait for the lock of another:
-- subscribing and pausing, a handler that stores its checkpoint, and the renewal of a lease.
CREATE TABLE :"schema".subscriptions (
  subscription_id    bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT subscriptions_pkey PRIMARY KEY,
  stream_id          text COLLATE "C" NOT NULL     -- "$all": all streams
                     CONSTRAINT subscriptions_stream_id_size
                     CHECK (octet_length(stream_id) BETWEEN 1 AND 1000),
  subscription_name  text COLLATE "C" NOT NULL
                     CONSTRAINT subscriptions_name_size
                     CHECK (octet_length(subscription_name) BETWEEN 1 AND 1000),
  start_from         bigint,                       -- started after it; null: after the head
  options            jsonb   DEFAULT '{}'         -- what every claimant must agree on; null: it is
                     CONSTRAINT                    -- what the next one says
                     subscriptions_options CHECK (jsonb_typeof(options) = 'object'),
  paused             boolean NOT NULL DEFAULT false,
  created_at         timestamptz NOT NULL,
  CONSTRAINT subscriptions_name_key UNIQUE (stream_id, subscription_name)
);

-- Progress and owner of a subscription, or of one of its partitions. Changed only by claim, release,
-- reset and checkpoint. The fence is position_id, owner and epoch.
-- fillfactor: rows are updated often; free space on the page keeps these updates out of the indexes.
CREATE TABLE :"schema".positions (
  position_id      bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT positions_pkey PRIMARY KEY,
  subscription_id  bigint  NOT NULL CONSTRAINT positions_subscription_id_fkey
                   REFERENCES :"schema".subscriptions ON DELETE CASCADE,
  partition        integer NOT NULL DEFAULT 0      -- an ordinary subscription is partition 0
                   CONSTRAINT positions_partition CHECK (partition >= 0),
  checkpoint       bigint  NOT NULL CONSTRAINT positions_checkpoint CHECK (checkpoint >= 0),
  until            bigint,                         -- a partition that was replaced ends here
  owner            uuid,
  owner_name       text,
  owned_since      timestamptz,
  epoch            bigint  NOT NULL DEFAULT 0,
  owner_died       boolean NOT NULL DEFAULT false, -- the owner before this one released nothing
  tried            bigint,                         -- after that: the event that was handed out alone,
  tries            integer NOT NULL DEFAULT 0,     -- and how often it was, or has failed
  CONSTRAINT positions_owner_complete CHECK (num_nulls(owner, owner_name, owned_since) IN (0, 3)),
  CONSTRAINT positions_tries CHECK ((tried IS NULL) = (tries = 0))
) WITH (fillfactor = 50);
CREATE INDEX positions_subscription_id_idx ON :"schema".positions (subscription_id);
CREATE UNIQUE INDEX positions_partition_key ON :"schema".positions (subscription_id, partition)
  WHERE until IS NULL;

-- The lease of each owner. Renewals change this table and lock no position, so an owner keeps its lease
-- while a handler's transaction has its position locked.
CREATE TABLE :"schema".leases (
  position_id  bigint  CONSTRAINT leases_pkey PRIMARY KEY
               CONSTRAINT leases_position_id_fkey REFERENCES :"schema".positions ON DELETE CASCADE,
  owner        uuid,
  epoch        bigint  NOT NULL DEFAULT 0,
  renewed_at   timestamptz,
  expires_at   timestamptz,
  state        text    NOT NULL DEFAULT 'waiting',
  last_error   text,
  attempts     integer NOT NULL DEFAULT 0,
  CONSTRAINT leases_owner_complete CHECK (num_nulls(owner, renewed_at, expires_at) IN (0, 3))
) WITH (fillfactor = 50);

-- Events that a subscription has put aside: its function gave them up, or they come after such an event
-- with the same key. Changed by the owner of the position under its fence, by retry and skip under the
-- lock of the position, and by reset, delete and hard delete. Payloads stay in events.
CREATE TABLE :"schema".parked (
  subscription_id  bigint NOT NULL CONSTRAINT parked_subscription_id_fkey
                   REFERENCES :"schema".subscriptions ON DELETE CASCADE,
  key              text COLLATE "C" NOT NULL,      -- order is kept among events with the same key
  position         bigint NOT NULL,                -- in what is subscribed to
  global_position  bigint NOT NULL,
  reason           text NOT NULL,
  error            text,                           -- null: it was never handled
  attempts         integer NOT NULL,
  parked_at        timestamptz NOT NULL,
  failed_at        timestamptz,                    -- the last time
  is_marked        boolean NOT NULL DEFAULT false, -- the owner is to deliver it again
  skipped_at       timestamptz,                    -- it is never delivered again
  skip_reason      text,
  CONSTRAINT parked_pkey PRIMARY KEY (subscription_id, position),
  CONSTRAINT parked_skipped CHECK ((skipped_at IS NULL) = (skip_reason IS NULL))
) WITH (fillfactor = 50);  -- so that marking a row changes no index
CREATE INDEX parked_key_idx ON :"schema".parked (subscription_id, key, position)
  WHERE skipped_at IS NULL;
CREATE INDEX parked_stream_idx ON :"schema".parked (key);
CREATE INDEX parked_global_position_idx ON :"schema".parked (global_position);

-- Read models that a subscription keeps up to date. Readers use the tables of the current version; others
-- are built beside it. Whoever changes a projection, or one of its versions, locks this row first.
CREATE TABLE :"schema".projections (
  projection_name  text COLLATE "C" CONSTRAINT projections_pkey PRIMARY KEY
                   CONSTRAINT projections_name_size
                   CHECK (octet_length(projection_name) BETWEEN 1 AND 1000),
  current_version  integer,                        -- null: none is
  switched_at      timestamptz,
  CONSTRAINT projections_switched CHECK ((current_version IS NULL) = (switched_at IS NULL))
);

-- With this row the tables of a version were created. Its subscription began in the same transaction, and
-- ends with the row; if somebody deletes it by hand, nobody knows any more which events are in the tables.
-- Handlers hold the row while they write, so whoever empties the tables waits for them, and they for him.
CREATE TABLE :"schema".projection_versions (
  projection_name  text COLLATE "C" CONSTRAINT projection_versions_name_fkey
                   REFERENCES :"schema".projections,
  version          integer     CONSTRAINT projection_versions_positive CHECK (version > 0),
  subscription_id  bigint      CONSTRAINT projection_versions_subscription_id_fkey
                               REFERENCES :"schema".subscriptions ON DELETE SET NULL,
  created_at       timestamptz NOT NULL,
  CONSTRAINT projection_versions_pkey PRIMARY KEY (projection_name, version)
);
CREATE INDEX projection_versions_subscription_id_idx
  ON :"schema".projection_versions (subscription_id);
ALTER TABLE :"schema".projections ADD CONSTRAINT projections_current_version_fkey
  FOREIGN KEY (projection_name, current_version) REFERENCES :"schema".projection_versions;

-- One row per schema version that was ever installed here. Code for any version from compatible_with to
-- version may use the schema, so that old and new code run side by side during a migration.
CREATE TABLE :"schema".schema_version (
  version          integer     CONSTRAINT schema_version_pkey PRIMARY KEY,
  compatible_with  integer     NOT NULL,
  installed_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO :"schema".schema_version (version, compatible_with) VALUES (1, 1);


-- ── protection ──────────────────────────────────────────────────────────────────────────────────

CREATE FUNCTION :"schema".refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = :"schema", pg_temp AS $$
BEGIN
  RAISE EXCEPTION '% of % is refused: what was stored never changes', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'ES001', HINT = 'Append an event that says what is different now.';
END $$;

-- Refuses a DELETE outside of a hard delete. A hard delete identifies itself by a setting that is valid
-- for one transaction in one schema, so that it has no effect when it stays set in a session.
CREATE FUNCTION :"schema".refuse_delete() RETURNS trigger
LANGUAGE plpgsql SET search_path = :"schema", pg_temp AS $$
BEGIN
  IF current_setting('eventstore.hard_delete', true)
     IS NOT DISTINCT FROM TG_TABLE_SCHEMA || ':' || pg_current_xact_id() THEN
    RETURN NULL;
  END IF;
  RAISE EXCEPTION 'DELETE of % is refused: what was stored never changes', TG_TABLE_NAME
    USING ERRCODE = 'ES001',
          HINT = 'Append an event that says what is different now, or delete the stream as a whole'
                 ' with the hard delete of the event store.';
END $$;

CREATE TRIGGER refuse_update BEFORE UPDATE OR TRUNCATE ON :"schema".events
  EXECUTE FUNCTION :"schema".refuse_change();
CREATE TRIGGER refuse_delete BEFORE DELETE ON :"schema".events
  EXECUTE FUNCTION :"schema".refuse_delete();
CREATE TRIGGER refuse_update BEFORE UPDATE OR TRUNCATE ON :"schema".links
  EXECUTE FUNCTION :"schema".refuse_change();
CREATE TRIGGER refuse_delete BEFORE DELETE ON :"schema".links
  EXECUTE FUNCTION :"schema".refuse_delete();
CREATE TRIGGER refuse_update BEFORE UPDATE OF stream_no, stream_id, created_at OR TRUNCATE
  ON :"schema".streams EXECUTE FUNCTION :"schema".refuse_change();
CREATE TRIGGER refuse_delete BEFORE DELETE ON :"schema".streams
  EXECUTE FUNCTION :"schema".refuse_delete();
CREATE TRIGGER refuse_change BEFORE DELETE OR TRUNCATE
  OR UPDATE OF deletion_no, stream_no, stream_id, deleted_at ON :"schema".deletions
  EXECUTE FUNCTION :"schema".refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON :"schema".tombstones
  EXECUTE FUNCTION :"schema".refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON :"schema".write_lock
  EXECUTE FUNCTION :"schema".refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON :"schema".store
  EXECUTE FUNCTION :"schema".refuse_change();

-- ALWAYS: also in a session with session_replication_role = replica. Logical replication applies the
-- changes of rows and fires no statement's trigger.
ALTER TABLE :"schema".events ENABLE ALWAYS TRIGGER refuse_update,
                             ENABLE ALWAYS TRIGGER refuse_delete;
ALTER TABLE :"schema".links ENABLE ALWAYS TRIGGER refuse_update,
                            ENABLE ALWAYS TRIGGER refuse_delete;
ALTER TABLE :"schema".streams ENABLE ALWAYS TRIGGER refuse_update,
                              ENABLE ALWAYS TRIGGER refuse_delete;
ALTER TABLE :"schema".deletions ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE :"schema".tombstones ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE :"schema".write_lock ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE :"schema".store ENABLE ALWAYS TRIGGER refuse_change;


-- ── proof ───────────────────────────────────────────────────────────────────────────────────────
-- Every function that changes something proves what its commit relies on. Session, role, database and
-- server may be set to anything, and a pooler may have lent the session to others.

-- The schema whose tables the functions use. Another one than theirs if the schema was renamed, because
-- the search path of a function names its schema.
CREATE FUNCTION :"schema".home_schema() RETURNS name
LANGUAGE plpgsql STABLE SET search_path = :"schema", pg_temp AS $$
BEGIN
  RETURN current_schema();
END $$;

-- Refuses a call that is meant for another store than the one in this schema.
CREATE FUNCTION :"schema".refuse_store() RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'the store in schema % is not the one that was connected to', current_schema()
    USING ERRCODE = 'ES012',
          HINT = 'The schema was renamed or made anew. Connect again to use the store that is there.';
END $$;

-- Checks that this is the store p_store_id. Null: whichever.
--
-- Called at the end of a change: a name may lead to another schema after a wait for a lock.
CREATE FUNCTION :"schema".prove_store(p_store_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF p_store_id IS NOT NULL AND NOT EXISTS (SELECT FROM store WHERE store_id = p_store_id) THEN
    PERFORM refuse_store();
  END IF;
END $$;

-- Makes the commit of this transaction wait for the disk, and for the standbys that the server waits for.
-- Makes sure that the client hears of a cancelled wait for a standby, which is a mere warning.
--   p_unsafe  only the latter: the commit is as durable as the session's settings make it
CREATE FUNCTION :"schema".secure_commit(p_unsafe boolean) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF current_setting('client_min_messages') = 'error' THEN
    PERFORM set_config('client_min_messages', 'warning', true);
  END IF;
  IF p_unsafe THEN
    RETURN;
  END IF;
  IF current_setting('fsync') = 'off' THEN
    RAISE EXCEPTION 'the server runs with fsync off and would lose events in a crash'
      USING ERRCODE = 'ES013', HINT = 'Config(allow_unsafe_durability=True) accepts that.';
  END IF;
  IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
END $$;

-- Begins a change of subscriptions: proves store and durability, and limits the lock waits of the calling
-- function. That one has SET lock_timeout, which restores it.
CREATE FUNCTION :"schema".begin_change(p_wait_ms integer, p_store_id uuid, p_unsafe boolean)
RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM set_config('lock_timeout', greatest(p_wait_ms, 1) || 'ms', true);
  PERFORM secure_commit(p_unsafe);
  PERFORM prove_store(p_store_id);
END $$;

-- Returns the next number of an identity column, above p_newest, the highest one in use. After logical
-- replication the sequence is behind.
CREATE FUNCTION :"schema".next_number(p_sequence regclass, p_newest bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_number bigint := nextval(p_sequence);
BEGIN
  -- Numbers are drawn, not set: others draw at the same time.
  IF v_number <= p_newest THEN
    SELECT max(nextval(p_sequence)) INTO v_number FROM generate_series(v_number, p_newest);
  END IF;
  RETURN v_number;
END $$;


-- ── appending ───────────────────────────────────────────────────────────────────────────────────

-- Takes the write lock, waiting at most p_wait_ms, and returns the head: the newest position. No other
-- transaction can change it until this one ends. Everything that assigns or deletes positions starts here,
-- so locks are taken in one order and cannot deadlock.
--
-- Lock and head are two statements in a VOLATILE function, so that each sees what was committed before
-- it. In a single statement, or with an older snapshot, the head would be from before the wait.
CREATE FUNCTION :"schema".lock_head(p_wait_ms integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
DECLARE
  v_head bigint;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'the event store writes under read committed only, not under %',
      current_setting('transaction_isolation')
      USING ERRCODE = 'ES010', HINT = 'Set default_transaction_isolation for the role or database.';
  END IF;
  PERFORM set_config('lock_timeout', greatest(p_wait_ms, 1) || 'ms', true);
  PERFORM 1 FROM write_lock WHERE one FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'table write_lock has no row' USING ERRCODE = 'ES011',
      HINT = 'The schema is damaged: insert the row (true), or restore it from a backup.';
  END IF;
  -- One statement: an event that is erased meanwhile, which needs no lock, leaves its tombstone.
  SELECT coalesce((SELECT max(e.global_position) FROM events e WHERE e.global_position > t.newest),
                  t.newest)
    INTO v_head FROM (SELECT coalesce(max(last_position), 0) AS newest FROM tombstones) t;
  RETURN v_head;
END $$;

-- Looks up the streams. Returns one status per stream, in order: 0 at the expected version, 2 at
-- another version, 3 deleted. A missing stream has no number and version 0.
--
-- unnest in the select list: in FROM, each array would be copied into a tuplestore of 16 kB. With ten of
-- them a call grows the heap and gives it back, which costs 40 us of page faults per append.
--
-- LATERAL ... LIMIT 1 forces the index. While the table is small, a plain join would be planned as a
-- hash of the whole table, and the cached plan would stay when the table has grown.
CREATE FUNCTION :"schema".check_streams(
  p_stream_ids text[], p_expected bigint[],
  OUT stream_nos bigint[], OUT versions bigint[], OUT statuses integer[]
) LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
BEGIN
  SELECT array_agg(i.stream_no ORDER BY i.item),
         array_agg(i.version ORDER BY i.item),
         array_agg(CASE WHEN i.deleted THEN 3
                        WHEN i.expected = i.version OR i.expected = -1
                          OR i.expected = -2 AND i.stream_no IS NOT NULL THEN 0
                        ELSE 2 END ORDER BY i.item)
    INTO stream_nos, versions, statuses
    FROM (
      SELECT p.item, p.expected, s.stream_no, s.deleted_at IS NOT NULL AS deleted,
             greatest(
               (SELECT e.stream_version FROM events e WHERE e.stream_no = s.stream_no
                 ORDER BY e.stream_version DESC LIMIT 1),
               (SELECT l.stream_version FROM links l WHERE l.stream_no = s.stream_no
                 ORDER BY l.stream_version DESC LIMIT 1),
               s.version_floor, 0) AS version
        FROM (SELECT unnest(p_stream_ids) AS stream_id, unnest(p_expected) AS expected,
                     generate_subscripts(p_stream_ids, 1) AS item) p
        LEFT JOIN LATERAL (
          SELECT * FROM streams WHERE streams.stream_id = p.stream_id LIMIT 1) s ON true) i;
END $$;

-- Looks up the event ids and decides each append as a whole. Sets the status of an item to 1 if the
-- same append was stored before (same ids, stream and order, consecutive), 4 if an id is stored
-- elsewhere, 5 if the item fits but another item of its append does not. Other statuses stay.
-- first_versions and first_positions say where a repeated append was stored.
CREATE FUNCTION :"schema".check_event_ids(
  p_append integer[], p_counts integer[], p_stream_nos bigint[],
  p_item integer[], p_nth integer[], p_event_ids uuid[],
  INOUT statuses integer[],
  OUT first_versions bigint[], OUT first_positions bigint[], OUT used_ids uuid[]
) LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
BEGIN
  WITH stored AS (
    SELECT p.item, count(*) AS events, (array_agg(p.event_id ORDER BY p.nth))[1] AS event_id,
           min(e.stream_version) AS first_version, min(e.global_position) AS first_position,
           bool_and(e.stream_no = p_stream_nos[p.item])
             AND min(e.stream_version - p.nth) = max(e.stream_version - p.nth)
             AND min(e.global_position - p.nth) = max(e.global_position - p.nth) AS is_run
      FROM unnest(p_item, p_nth, p_event_ids) p(item, nth, event_id)
     CROSS JOIN LATERAL (SELECT * FROM events WHERE events.event_id = p.event_id LIMIT 1) e
     GROUP BY p.item
  ), items AS (
    SELECT p.item, p.append, p.status, p.events, stored.first_version, stored.first_position,
           stored.event_id AS used_id,
           p.events = 0 OR coalesce(stored.events = p.events AND stored.is_run, false) AS repeats
      FROM unnest(p_append, statuses, p_counts) WITH ORDINALITY p(append, status, events, item)
      LEFT JOIN stored USING (item)
  ), appends AS (
    SELECT append, bool_and(repeats) AND sum(events) > 0 AS repeats,
           bool_or(status <> 0 OR used_id IS NOT NULL) AS refused
      FROM items GROUP BY append
  )
  SELECT array_agg(CASE WHEN a.repeats THEN 1
                        WHEN i.used_id IS NOT NULL THEN 4
                        WHEN i.status = 0 AND a.refused THEN 5
                        ELSE i.status END ORDER BY i.item),
         array_agg(i.first_version ORDER BY i.item),
         array_agg(i.first_position ORDER BY i.item),
         array_agg(i.used_id ORDER BY i.item)
    INTO statuses, first_versions, first_positions, used_ids
    FROM items i JOIN appends a USING (append);
END $$;

-- Compares the events of repeated items with what is stored. Where an event has another type, format or
-- other data, the item gets status 6, and its used_id is the first such event. Nothing else is compared:
-- an honest retry has a trace and a time of its own.
CREATE FUNCTION :"schema".check_contents(
  p_item integer[], p_nth integer[], p_event_ids uuid[], p_event_types text[], p_data bytea[],
  p_formats text[],
  INOUT statuses integer[], INOUT used_ids uuid[]
) LANGUAGE plpgsql STABLE SET search_path = :"schema", pg_temp AS $$
DECLARE
  v_other record;
BEGIN
  FOR v_other IN
    SELECT p.item, p.event_id
      FROM unnest(p_item, p_nth, p_event_ids, p_event_types, p_data, p_formats)
             p(item, nth, event_id, event_type, data, format)
     CROSS JOIN LATERAL (SELECT * FROM events WHERE events.event_id = p.event_id LIMIT 1) e
     WHERE statuses[p.item] = 1
       AND (e.event_type <> p.event_type OR e.format <> coalesce(p.format, 'json')
            OR e.data <> p.data)
     ORDER BY p.item, p.nth DESC
  LOOP
    statuses[v_other.item] := 6;
    used_ids[v_other.item] := v_other.event_id;
  END LOOP;
END $$;

-- Creates the missing streams of the items that will be stored. Returns the stream number of each item.
CREATE FUNCTION :"schema".create_streams(
  p_look boolean, p_stream_ids text[], p_counts integer[], p_statuses integer[],
  p_created timestamptz[], p_now timestamptz, p_stream_nos bigint[]
) RETURNS bigint[] LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
DECLARE
  v_stream_nos bigint[] := p_stream_nos;
  v_newest     bigint   := 0;
BEGIN
  IF array_position(p_stream_nos, NULL) IS NULL THEN
    RETURN p_stream_nos;
  END IF;
  IF p_look THEN
    SELECT max(stream_no) INTO v_newest FROM streams;
  END IF;
  FOR i IN 1 .. cardinality(p_stream_ids) LOOP
    IF p_stream_nos[i] IS NULL AND p_statuses[i] = 0 AND p_counts[i] > 0 THEN
      v_stream_nos[i] := next_number('streams_stream_no_seq', v_newest);
    END IF;
  END LOOP;
  INSERT INTO streams (stream_no, stream_id, created_at) OVERRIDING SYSTEM VALUE
  SELECT p.stream_no, p.stream_id, coalesce(p.created_at, p_now)
    FROM (SELECT unnest(v_stream_nos) AS stream_no, unnest(p_stream_nos) AS existing_no,
                 unnest(p_stream_ids) AS stream_id, unnest(p_created) AS created_at) p
   WHERE p.existing_no IS NULL AND p.stream_no IS NOT NULL;
  RETURN v_stream_nos;
END $$;

-- Stores several appends in one commit. Each append is atomic and independent of the others.
--
-- An append has one or more items. An item is one stream with its events, or without events if the
-- stream is only checked. Streams and event ids must be distinct within a call.
--   per item:  p_append     number of the append it belongs to
--              p_expected   version the stream must be at, -1 any, -2 it exists
--              p_counts     how many events
--              p_stream_created  created_at of the stream if it is new; null: now
--   per event: p_item, p_nth     its item, and its place in the item: 1, 2, 3 ...
--              p_formats         null: json
--              p_created         null: now
--
-- p_look: look up event ids and stream numbers first. Without it the call is a fifth faster, but a duplicate
-- id violates events_event_id_key, or a sequence that is behind streams_pkey, and nothing is stored: call
-- again with p_look.
--
-- Returns a row per item, in order:
--   status          0 stored                            first_version, first_position: where
--                   1 repeated: stored before           first_version, first_position: where
--                   2 wrong version                     version: the present one
--                   3 the stream was deleted
--                   4 an event id is used elsewhere     used_id: which
--                   5 fits, but its append was refused for another item
--                   6 repeated, but an event has another type or other data
--                                                       first_version, first_position, used_id
--   version         of the stream before this call
--   stored_at       created_at of events without p_created
--
-- p_store_id and p_unsafe: see prove_store and secure_commit.
CREATE FUNCTION :"schema".append_events(
  p_wait_ms integer, p_look boolean,
  p_append integer[], p_stream_ids text[], p_expected bigint[], p_counts integer[],
  p_stream_created timestamptz[],
  p_item integer[], p_nth integer[], p_event_ids uuid[], p_event_types text[],
  p_data bytea[], p_metadata bytea[], p_causation_ids uuid[], p_correlation_ids uuid[],
  p_formats text[], p_created timestamptz[],
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false
) RETURNS TABLE (
  status integer, first_version bigint, first_position bigint, version bigint, used_id uuid,
  stored_at timestamptz
) LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET jit = off           -- costs 10 ms per commit
  SET plan_cache_mode = force_generic_plan    -- else every call plans again: 70 us
  SET enable_seqscan = off    -- the cached plan must fit large tables too
  SET lock_timeout = 0    -- restores the caller's, which lock_head changes
AS $$
DECLARE
  v_head       bigint := lock_head(p_wait_ms);
  v_now        timestamptz := clock_timestamp();   -- after the lock, so times follow positions
  v_statuses   integer[];
  v_stream_nos bigint[];
  v_targets    bigint[];     -- v_stream_nos and the numbers of new streams
  v_versions   bigint[];     -- of each item's stream, before this call
  v_positions  bigint[];     -- the newest position before each item
  v_total      bigint := 0;  -- events that will be stored
  v_first_versions  bigint[];
  v_first_positions bigint[];
  v_used_ids   uuid[];
BEGIN
  -- A call costs more than a look at what it would find.
  IF current_setting('client_min_messages') = 'error' OR current_setting('fsync') = 'off'
     OR current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
    PERFORM secure_commit(p_unsafe);
  END IF;
  SELECT * INTO v_stream_nos, v_versions, v_statuses FROM check_streams(p_stream_ids, p_expected);

  -- A refused append may repeat one that was stored.
  IF p_look OR v_statuses && ARRAY[2, 3] THEN
    SELECT * INTO v_statuses, v_first_versions, v_first_positions, v_used_ids
      FROM check_event_ids(p_append, p_counts, v_stream_nos, p_item, p_nth, p_event_ids, v_statuses);
    IF 1 = ANY (v_statuses) THEN
      SELECT * INTO v_statuses, v_used_ids
        FROM check_contents(p_item, p_nth, p_event_ids, p_event_types, p_data, p_formats,
                            v_statuses, v_used_ids);
    END IF;
  END IF;

  -- Positions count stored items only, so a refused append leaves no gap.
  FOR i IN 1 .. coalesce(cardinality(p_counts), 0) LOOP
    v_positions[i] := v_head + v_total;
    IF v_statuses[i] = 0 THEN
      v_total := v_total + p_counts[i];
    END IF;
  END LOOP;

  IF v_total > 0 THEN
    v_targets := create_streams(
      p_look, p_stream_ids, p_counts, v_statuses, p_stream_created, v_now, v_stream_nos);
    INSERT INTO events (global_position, stream_no, stream_version, created_at, stored_at, event_id,
                        causation_id, correlation_id, format, event_type, data, metadata)
    SELECT v_positions[p.item] + p.nth, v_targets[p.item], v_versions[p.item] + p.nth,
           coalesce(p.created_at, v_now), CASE WHEN p.created_at IS NOT NULL THEN v_now END,
           p.event_id, p.causation_id, p.correlation_id, coalesce(p.format, 'json'),
           p.event_type, p.data, p.metadata
      FROM (SELECT unnest(p_item) AS item, unnest(p_nth) AS nth, unnest(p_created) AS created_at,
                   unnest(p_event_ids) AS event_id, unnest(p_causation_ids) AS causation_id,
                   unnest(p_correlation_ids) AS correlation_id, unnest(p_formats) AS format,
                   unnest(p_event_types) AS event_type, unnest(p_data) AS data,
                   unnest(p_metadata) AS metadata) p
     WHERE v_statuses[p.item] = 0;
  END IF;
  -- As prove_store does it.
  IF p_store_id IS NOT NULL AND NOT EXISTS (SELECT FROM store WHERE store_id = p_store_id) THEN
    PERFORM refuse_store();
  END IF;

  RETURN QUERY
    SELECT v_statuses[i],
           CASE WHEN v_statuses[i] = 0 THEN v_versions[i] + 1 ELSE v_first_versions[i] END,
           CASE WHEN v_statuses[i] = 0 THEN v_positions[i] + 1 ELSE v_first_positions[i] END,
           v_versions[i], v_used_ids[i], v_now
      FROM (SELECT generate_subscripts(p_stream_ids, 1) AS i) items;
END $$;


-- ── linking and deleting ────────────────────────────────────────────────────────────────────────

-- Links events to a stream, all or none: they take its next versions, in the order of p_event_ids, which
-- must be distinct. p_expected is that of append_events. Returns one row:
--   status   0 linked                                            first_version: where
--            1 repeated: linked before, all in a row             first_version: where
--            2 wrong version
--            3 the stream was deleted
--            4 an event is in the stream already                 used_id: which
--            7 an event does not exist                           used_id: which
--   version  of the stream before this call
CREATE FUNCTION :"schema".link_events(
  p_wait_ms integer, p_stream_id text, p_expected bigint, p_event_ids uuid[],
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false,
  OUT status integer, OUT first_version bigint, OUT version bigint, OUT used_id uuid
) LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET plan_cache_mode = force_generic_plan
  SET enable_seqscan = off    -- the cached plan must fit large tables too
  SET lock_timeout = 0        -- restores the caller's, which lock_head changes
AS $$
DECLARE
  v_stream_no bigint;
  v_positions bigint[];
  v_unknown   uuid;
  v_is_run    boolean;
  v_gone      bigint[];
BEGIN
  PERFORM lock_head(p_wait_ms);
  PERFORM secure_commit(p_unsafe);
  v_gone := gone_streams();
  SELECT c.stream_nos[1], c.versions[1], c.statuses[1] INTO v_stream_no, version, status
    FROM check_streams(ARRAY[p_stream_id], ARRAY[p_expected]) c;

  SELECT array_agg(i.global_position ORDER BY i.item),
         (array_agg(i.event_id ORDER BY i.item) FILTER (WHERE i.global_position IS NULL))[1],
         (array_agg(i.event_id ORDER BY i.item) FILTER (WHERE i.is_own OR i.place IS NOT NULL))[1],
         min(i.place),
         count(i.place) = count(*) AND min(i.place - i.item) = max(i.place - i.item)
    INTO v_positions, v_unknown, used_id, first_version, v_is_run
    FROM (SELECT p.item, p.event_id, e.global_position, e.stream_no = v_stream_no AS is_own,
                 (SELECT l.stream_version FROM links l
                   WHERE l.global_position = e.global_position AND l.stream_no = v_stream_no) AS place
            FROM unnest(p_event_ids) WITH ORDINALITY p(event_id, item)
            LEFT JOIN LATERAL (
              SELECT * FROM events WHERE events.event_id = p.event_id LIMIT 1) e
              ON e.stream_no <> ALL (v_gone)) i;

  IF v_unknown IS NOT NULL THEN
    status := 7;
    used_id := v_unknown;
  ELSIF v_is_run THEN
    status := 1;
  ELSIF used_id IS NOT NULL THEN
    status := 4;
  ELSIF status = 0 THEN
    IF v_stream_no IS NULL THEN
      v_stream_no := next_number('streams_stream_no_seq', (SELECT max(stream_no) FROM streams));
      INSERT INTO streams (stream_no, stream_id, created_at) OVERRIDING SYSTEM VALUE
      VALUES (v_stream_no, p_stream_id, clock_timestamp());
    END IF;
    -- What follows is above every number in use, also if the sequence was behind.
    PERFORM next_number('links_link_no_seq', (SELECT max(link_no) FROM links));
    INSERT INTO links (stream_no, stream_version, global_position)
    SELECT v_stream_no, version + p.item, p.global_position
      FROM unnest(v_positions) WITH ORDINALITY p(global_position, item);
    first_version := version + 1;
  END IF;
  PERFORM prove_store(p_store_id);
END $$;

-- Deletes a stream. Without p_hard it is closed: it can be neither read nor appended to, its name stays in
-- use, and its events stay in "$all" and where they are linked. With p_hard it is gone, and so are its
-- events everywhere; erase_events erases them later. Returns one row:
--   status         0 deleted, 2 wrong version, 3 it was closed before, 8 there is no such stream
--   version        of the stream
--   deleted_at     when it was deleted
--   subscriptions  ids of those that start over
CREATE FUNCTION :"schema".delete_stream(
  p_wait_ms integer, p_stream_id text, p_expected bigint, p_hard boolean,
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false,
  OUT status integer, OUT version bigint, OUT deleted_at timestamptz, OUT subscriptions bigint[]
) LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET enable_seqscan = off
  SET lock_timeout = 0
AS $$
#variable_conflict use_column
DECLARE
  v_stream_no bigint;
BEGIN
  PERFORM lock_head(p_wait_ms);
  PERFORM secure_commit(p_unsafe);
  SELECT c.stream_nos[1], c.versions[1], c.statuses[1]
    INTO v_stream_no, delete_stream.version, delete_stream.status
    FROM check_streams(ARRAY[p_stream_id], ARRAY[p_expected]) c;
  IF v_stream_no IS NULL THEN
    status := 8;
  ELSIF status = 0 AND p_hard THEN
    PERFORM allow_hard_delete();
    INSERT INTO deletions (deletion_no, stream_no, stream_id, deleted_at)
    VALUES (1 + coalesce((SELECT max(deletion_no) FROM deletions), 0),
            v_stream_no, p_stream_id, clock_timestamp());
    DELETE FROM streams s WHERE s.stream_no = v_stream_no;
    subscriptions := start_over(p_stream_id);
    -- Appends wait for this: what somebody else has locked is left to erase_events.
    DELETE FROM parked d
     USING (SELECT k.subscription_id, k.position FROM parked k WHERE k.key = p_stream_id
               FOR UPDATE SKIP LOCKED) k
     WHERE d.subscription_id = k.subscription_id AND d.position = k.position;
  ELSIF status = 0 THEN
    UPDATE streams s SET deleted_at = clock_timestamp() WHERE s.stream_no = v_stream_no;
  END IF;
  SELECT s.deleted_at INTO delete_stream.deleted_at FROM streams s WHERE s.stream_no = v_stream_no;
  PERFORM prove_store(p_store_id);
END $$;

-- Allows this transaction to delete rows of this store.
CREATE FUNCTION :"schema".allow_hard_delete() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
BEGIN
  PERFORM set_config('eventstore.hard_delete', current_schema() || ':' || pg_current_xact_id(), true);
END $$;

-- Lets the subscriptions to a stream that is gone begin at the first event of the next stream of that
-- name, and fences their owners. Returns their ids.
CREATE FUNCTION :"schema".start_over(p_stream_id text) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
DECLARE
  v_ids       bigint[];
  v_positions bigint[];
BEGIN
  SELECT array_agg(s.subscription_id) INTO v_ids FROM subscriptions s WHERE s.stream_id = p_stream_id;
  IF v_ids IS NOT NULL THEN
    SELECT array_agg(k.position_id) INTO v_positions
      FROM (SELECT p.position_id FROM positions p WHERE p.subscription_id = ANY (v_ids)
             ORDER BY p.position_id FOR NO KEY UPDATE) k;
    UPDATE positions SET checkpoint = 0, epoch = epoch + 1
     WHERE position_id = ANY (v_positions);
    PERFORM free_positions(v_positions);
    DELETE FROM parked WHERE subscription_id = ANY (v_ids);
  END IF;
  RETURN v_ids;
END $$;

-- Erases at most p_rows events and links of one stream that is gone, without the write lock. Returns how
-- many, and whether more may be left. What another transaction erases is passed over.
CREATE FUNCTION :"schema".erase_events(
  p_wait_ms integer, p_rows integer,
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false,
  OUT erased integer, OUT more boolean
) LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET enable_seqscan = off
  SET lock_timeout = 0
AS $$
DECLARE
  v_deletion  deletions;
  v_positions bigint[];
BEGIN
  PERFORM begin_change(p_wait_ms, p_store_id, p_unsafe);
  erased := 0;
  SELECT * INTO v_deletion FROM deletions d WHERE d.erased_at IS NULL
   ORDER BY d.deletion_no LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
  more := FOUND;
  IF more THEN
    PERFORM allow_hard_delete();
    DELETE FROM links l WHERE l.stream_no = v_deletion.stream_no AND l.stream_version IN (
      SELECT o.stream_version FROM links o WHERE o.stream_no = v_deletion.stream_no
       ORDER BY o.stream_version LIMIT p_rows);
    GET DIAGNOSTICS erased = ROW_COUNT;

    v_positions := ARRAY(SELECT e.global_position FROM events e
                          WHERE e.stream_no = v_deletion.stream_no
                          ORDER BY e.stream_version LIMIT p_rows - erased);
    UPDATE streams s SET version_floor = greatest(s.version_floor, l.newest)
      FROM (SELECT stream_no, max(stream_version) AS newest FROM links
             WHERE global_position = ANY (v_positions) GROUP BY stream_no) l
     WHERE s.stream_no = l.stream_no;
    DELETE FROM links WHERE global_position = ANY (v_positions);
    DELETE FROM events WHERE global_position = ANY (v_positions);
    DELETE FROM parked WHERE global_position = ANY (v_positions);
    INSERT INTO tombstones (first_position, last_position, deletion_no)
    SELECT min(r.position), max(r.position), v_deletion.deletion_no
      FROM (SELECT p.position, p.position - row_number() OVER (ORDER BY p.position) AS run
              FROM unnest(v_positions) p(position)) r
     GROUP BY r.run;
    erased := erased + cardinality(v_positions);
    IF erased < p_rows THEN
      UPDATE deletions SET erased_at = clock_timestamp() WHERE deletion_no = v_deletion.deletion_no;
    END IF;
  END IF;
  PERFORM prove_store(p_store_id);
END $$;


-- ── transactions of callers ─────────────────────────────────────────────────────────────────────

-- Bounds the transaction of a caller, which holds the write lock by now: how long its session may be idle in
-- it and, since PostgreSQL 17, how long it may last from here on. A client that froze must not keep the
-- lock. A shorter time that is set stays, and so does whatever is set for later transactions.
CREATE FUNCTION :"schema".bound_transaction(p_timeout_ms integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
DECLARE
  v_name text;
  v_time interval;
BEGIN
  FOREACH v_name IN ARRAY ARRAY['idle_in_transaction_session_timeout', 'transaction_timeout'] LOOP
    v_time := current_setting(v_name, true)::interval;   -- null before PostgreSQL 17
    IF v_time = interval '0' OR v_time > p_timeout_ms * interval '1 millisecond' THEN
      PERFORM set_config(v_name, p_timeout_ms || 'ms', true);
    END IF;
  END LOOP;
  RETURN true;
END $$;

-- The transaction that holds the write lock; null if there is none. The lock writes its id into the row.
CREATE FUNCTION :"schema".write_lock_holder(
  OUT pid integer, OUT application_name text, OUT state text, OUT began_at timestamptz
) LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 10   -- somebody may have locked the whole table
AS $$
BEGIN
  SELECT a.pid, a.application_name, a.state, a.xact_start
    INTO write_lock_holder.pid, write_lock_holder.application_name, write_lock_holder.state, began_at
    FROM write_lock w
    JOIN pg_locks l ON l.transactionid = w.xmax AND l.mode = 'ExclusiveLock' AND l.granted
    JOIN pg_stat_activity a ON a.pid = l.pid;
END $$;


-- ── reading ─────────────────────────────────────────────────────────────────────────────────────

-- VOLATILE, although they only read: after a wait for the lock of a table the snapshot of the caller may
-- be from before, and a table that was written anew would look empty.

-- The newest position that was ever assigned; 0 if there is none.
CREATE FUNCTION :"schema".store_head() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
BEGIN
  RETURN greatest((SELECT max(global_position) FROM events),
                  (SELECT max(last_position) FROM tombstones), 0);
END $$;

-- The streams that are gone and not erased yet. Whoever reads events without their stream leaves out these.
CREATE FUNCTION :"schema".gone_streams() RETURNS bigint[]
LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
BEGIN
  RETURN ARRAY(SELECT stream_no FROM deletions WHERE erased_at IS NULL);
END $$;

-- Number and version of a stream; null and 0 if it does not exist. For "$all": null and the store's head.
CREATE FUNCTION :"schema".stream_head(p_stream_id text, OUT stream_no bigint, OUT head bigint)
LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  v_floor bigint;
BEGIN
  IF p_stream_id = '$all' THEN
    head := store_head();
  ELSE
    SELECT s.stream_no, s.version_floor INTO stream_head.stream_no, v_floor
      FROM streams s WHERE s.stream_id = p_stream_id;
    head := greatest((SELECT max(e.stream_version) FROM events e
                       WHERE e.stream_no = stream_head.stream_no),
                     (SELECT max(l.stream_version) FROM links l
                       WHERE l.stream_no = stream_head.stream_no), v_floor, 0);
  END IF;
END $$;

-- A payload for people: JSON as jsonb, other text as a string, other bytes escaped. Never fails; null
-- if the payload is too long for jsonb.
CREATE FUNCTION :"schema".payload_as_jsonb(p_payload bytea) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN convert_from(p_payload, 'UTF8')::jsonb;
EXCEPTION WHEN others THEN
  BEGIN
    RETURN to_jsonb(convert_from(p_payload, 'UTF8'));
  EXCEPTION WHEN others THEN
    BEGIN
      RETURN to_jsonb(encode(p_payload, 'escape'));
    EXCEPTION WHEN others THEN
      RETURN NULL;
    END;
  END;
END $$;

-- Whether metadata has, under a key, one of the scalars of an array. Null if it is no object that jsonb can
-- hold. Never fails. It runs for every event that a read with a filter looks at: without a search path of its
-- own, which would double its cost, so that everything in it is qualified.
CREATE FUNCTION :"schema".metadata_matches(p_metadata bytea, p_key text, p_values jsonb)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  v_metadata pg_catalog.jsonb;
BEGIN
  v_metadata := pg_catalog.convert_from(p_metadata, 'UTF8')::pg_catalog.jsonb;
  -- In an array of its own: an array that is found must not count as a part of p_values.
  RETURN CASE WHEN pg_catalog.jsonb_typeof(v_metadata) OPERATOR(pg_catalog.=) 'object' THEN
    v_metadata OPERATOR(pg_catalog.?) p_key
    AND p_values OPERATOR(pg_catalog.@>) pg_catalog.jsonb_build_array(v_metadata OPERATOR(pg_catalog.->) p_key)
  END;
EXCEPTION WHEN others THEN
  RETURN NULL;
END $$;

CREATE VIEW :"schema".recorded_events AS
SELECT e.global_position, s.stream_id, e.stream_version, e.created_at, e.event_type,
       :"schema".payload_as_jsonb(e.data) AS data,
       :"schema".payload_as_jsonb(e.metadata) AS metadata,
       e.event_id, e.causation_id, e.correlation_id
  FROM :"schema".events e JOIN :"schema".streams s USING (stream_no);


-- ── snapshots ───────────────────────────────────────────────────────────────────────────────────

-- Records the snapshot of a stream at a version, unless a newer one of its type is there. Recorded again
-- for the same version, it replaces the first one; the very same one changes nothing.
--
-- Returns no row if the stream does not exist.
--   deleted_at  of the stream; not null: nothing was recorded
--   head        version of the stream; below p_stream_version: nothing was recorded
--   newest      version of the snapshot that is there now
CREATE FUNCTION :"schema".record_snapshot(
  p_wait_ms integer, p_stream_id text, p_snapshot_type text, p_stream_version bigint,
  p_format text, p_data bytea, p_metadata bytea,
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false
) RETURNS TABLE (deleted_at timestamptz, head bigint, newest bigint)
LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
  SET enable_seqscan = off    -- the cached plan must fit large tables too
AS $$
#variable_conflict use_column
DECLARE
  v_stream_no bigint;
BEGIN
  PERFORM begin_change(p_wait_ms, p_store_id, p_unsafe);
  SELECT s.stream_no, s.deleted_at, h.head INTO v_stream_no, deleted_at, head
    FROM streams s CROSS JOIN LATERAL stream_head(s.stream_id) h WHERE s.stream_id = p_stream_id;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  IF deleted_at IS NULL AND p_stream_version <= head THEN
    INSERT INTO snapshots AS n (stream_no, snapshot_type, stream_version, created_at, format, data,
                                metadata)
    VALUES (v_stream_no, p_snapshot_type, p_stream_version, clock_timestamp(), p_format, p_data,
            p_metadata)
    ON CONFLICT ON CONSTRAINT snapshots_pkey DO UPDATE
       SET stream_version = EXCLUDED.stream_version, created_at = EXCLUDED.created_at,
           format = EXCLUDED.format, data = EXCLUDED.data, metadata = EXCLUDED.metadata
     WHERE n.stream_version < EXCLUDED.stream_version
        OR n.stream_version = EXCLUDED.stream_version
           AND (n.format, n.data, n.metadata)
               IS DISTINCT FROM (EXCLUDED.format, EXCLUDED.data, EXCLUDED.metadata);
    SELECT n.stream_version INTO newest FROM snapshots n
     WHERE n.stream_no = v_stream_no AND n.snapshot_type = p_snapshot_type;
  END IF;
  PERFORM prove_store(p_store_id);
  RETURN NEXT;
END $$;

-- Deletes the snapshot of one type of a stream. Returns whether there was one.
CREATE FUNCTION :"schema".delete_snapshot(
  p_wait_ms integer, p_stream_id text, p_snapshot_type text,
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false
) RETURNS boolean LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
  SET enable_seqscan = off
AS $$
DECLARE
  v_found boolean;
BEGIN
  PERFORM begin_change(p_wait_ms, p_store_id, p_unsafe);
  DELETE FROM snapshots n USING streams s
   WHERE s.stream_id = p_stream_id AND n.stream_no = s.stream_no AND n.snapshot_type = p_snapshot_type;
  v_found := FOUND;
  PERFORM prove_store(p_store_id);
  RETURN v_found;
END $$;


-- ── subscriptions ───────────────────────────────────────────────────────────────────────────────
-- The owner of a position may store its checkpoint. It holds the position by a lease, which it renews.
-- The fence is position_id, owner and epoch: whoever does not match all three changes nothing. The
-- fence keeps a stale owner out, not a clock. A takeover, a reset and the hard delete of the
-- stream each raise the epoch.
--
-- Lock order: subscription, positions by id, leases by id. Renewals lock leases before positions, but
-- wait for neither.

-- Creates a subscription, unless it exists or would start beyond the head. Returns whether it was
-- created, and the head.
CREATE FUNCTION :"schema".create_subscription(
  p_stream_id text, p_name text, p_start bigint, p_options jsonb DEFAULT NULL,
  OUT created boolean, OUT head bigint
) LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
DECLARE
  v_subscription_id bigint;
  v_position_id     bigint;
BEGIN
  SELECT h.head INTO head FROM stream_head(p_stream_id) h;
  created := false;
  IF p_start > head THEN
    RETURN;
  END IF;
  INSERT INTO subscriptions
         (subscription_id, stream_id, subscription_name, start_from, options, created_at)
  OVERRIDING SYSTEM VALUE
  VALUES (next_number('subscriptions_subscription_id_seq',
                      (SELECT max(subscription_id) FROM subscriptions)),
          p_stream_id, p_name, p_start, p_options, clock_timestamp())
  ON CONFLICT (stream_id, subscription_name) DO NOTHING
  RETURNING subscription_id INTO v_subscription_id;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  created := true;
  INSERT INTO positions (position_id, subscription_id, checkpoint)
  OVERRIDING SYSTEM VALUE
  VALUES (next_number('positions_position_id_seq', (SELECT max(position_id) FROM positions)),
          v_subscription_id, coalesce(p_start, head))
  RETURNING position_id INTO v_position_id;
  INSERT INTO leases (position_id) VALUES (v_position_id);
END $$;

-- Takes over a subscription if it is free: it was released, or its lease expired by the server's clock,
-- or it is as the caller watched it: unchanged for a whole lease by the caller's clock.
--   p_create           create the subscription if it is missing
--   p_subscription_id  the subscription must have this id; null: any
--   p_start            a new one starts after this position; null: after the head
--   p_options          must be those that are stored; else they are returned, and nothing is granted
-- That of a projection is claimed by its id alone: by its name, projected is true, and nothing is granted.
-- Returns no row if there is no subscription, or one with another id. A row without subscription_id:
-- none was created, because p_start is beyond the head. Does not wait for a locked row: then locked is
-- true and granted is false.
--   clock_set_back     the lease was renewed at a time yet to come: its expiry says nothing
--   owner_died         the owner before did not release it; tried and tries are what it was trying
CREATE FUNCTION :"schema".claim_subscription(
  p_wait_ms integer, p_stream_id text, p_name text,
  p_create boolean, p_subscription_id bigint, p_start bigint,
  p_owner uuid, p_owner_name text, p_lease double precision,
  p_watched_owner uuid, p_watched_epoch bigint, p_watched_renewal timestamptz, p_options jsonb,
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false
) RETURNS TABLE (
  granted boolean, created boolean, locked boolean, subscription_id bigint, position_id bigint,
  owner uuid, epoch bigint, checkpoint bigint, head bigint, paused boolean,
  owner_name text, owned_since timestamptz, renewed_at timestamptz, clock_set_back boolean,
  other_options jsonb, owner_died boolean, tried bigint, tries integer, projected boolean
) LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
AS $$
#variable_conflict use_column
DECLARE
  v_subscription subscriptions;
  v_position     positions;
  v_lease        leases;
  v_new          record;
  v_now          timestamptz;
  v_created      boolean := false;
  v_locked       boolean := false;
BEGIN
  PERFORM begin_change(p_wait_ms, p_store_id, p_unsafe);
  LOOP
    SELECT * INTO v_subscription FROM subscriptions s
     WHERE s.stream_id = p_stream_id AND s.subscription_name = p_name;
    EXIT WHEN FOUND;
    IF NOT p_create THEN
      RETURN;
    END IF;
    SELECT * INTO v_new FROM create_subscription(p_stream_id, p_name, p_start, p_options);
    v_created := v_new.created;
    IF p_start > v_new.head THEN
      head := v_new.head;
      RETURN NEXT;
      RETURN;
    END IF;
  END LOOP;
  IF v_subscription.subscription_id <> p_subscription_id THEN
    RETURN;
  END IF;
  projected := is_projected(v_subscription.subscription_id);
  IF p_create AND projected THEN
    subscription_id := v_subscription.subscription_id;
    RETURN NEXT;
    RETURN;
  END IF;
  IF v_subscription.options IS NULL THEN
    -- Before the position is locked. Somebody else may have been faster.
    UPDATE subscriptions s SET options = coalesce(s.options, p_options)
     WHERE s.subscription_id = v_subscription.subscription_id
    RETURNING * INTO v_subscription;
    IF NOT FOUND THEN
      RETURN;
    END IF;
  END IF;
  IF v_subscription.options <> p_options THEN
    subscription_id := v_subscription.subscription_id;
    other_options := v_subscription.options;
    RETURN NEXT;
    RETURN;
  END IF;

  SELECT * INTO v_position FROM positions p
   WHERE p.subscription_id = v_subscription.subscription_id AND p.partition = 0 AND p.until IS NULL
     FOR NO KEY UPDATE SKIP LOCKED;
  IF FOUND THEN
    -- A reset may have come between, and somebody who said otherwise: then this is to be asked again.
    v_locked := NOT EXISTS (
      SELECT FROM subscriptions s
       WHERE s.subscription_id = v_subscription.subscription_id AND s.options = p_options);
    SELECT * INTO v_lease FROM leases l WHERE l.position_id = v_position.position_id
       FOR NO KEY UPDATE;
  ELSE
    v_locked := true;
    SELECT * INTO v_position FROM positions p
     WHERE p.subscription_id = v_subscription.subscription_id AND p.partition = 0 AND p.until IS NULL;
    IF NOT FOUND THEN
      RETURN;
    END IF;
    SELECT * INTO v_lease FROM leases l WHERE l.position_id = v_position.position_id;
  END IF;

  -- Clock and stream are read after the lock: no other transaction moves the position meanwhile.
  v_now := clock_timestamp();
  SELECT h.head INTO claim_subscription.head FROM stream_head(p_stream_id) h;

  IF NOT v_locked AND (
       v_position.owner IS NULL OR v_position.owner = p_owner OR v_lease.expires_at <= v_now
       OR (v_position.owner, v_position.epoch, v_lease.renewed_at)
          = (p_watched_owner, p_watched_epoch, p_watched_renewal)) THEN
    UPDATE positions p
       SET owner = p_owner, owner_name = p_owner_name,
           -- If the answer was lost, this comes again.
           owner_died = CASE WHEN p.owner = p_owner THEN p.owner_died ELSE p.owner IS NOT NULL END,
           epoch = p.epoch + CASE WHEN p.owner = p_owner THEN 0 ELSE 1 END,
           owned_since = CASE WHEN p.owner = p_owner THEN p.owned_since ELSE v_now END
     WHERE p.position_id = v_position.position_id
    RETURNING * INTO v_position;
    UPDATE leases l
       SET owner = p_owner, epoch = v_position.epoch,
           renewed_at = v_now, expires_at = v_now + make_interval(secs => p_lease)
     WHERE l.position_id = v_position.position_id
    RETURNING * INTO v_lease;
  END IF;
  -- What keeps the caller waiting is the lock, and no owner whose lease ran out.
  IF v_locked AND v_lease.expires_at <= v_now THEN
    v_position.owner_name := NULL;
    v_position.owned_since := NULL;
  END IF;
  PERFORM prove_store(p_store_id);
  RETURN QUERY SELECT v_position.owner IS NOT DISTINCT FROM p_owner AND NOT v_locked,
                      v_created, v_locked, v_subscription.subscription_id, v_position.position_id,
                      v_position.owner, v_position.epoch, v_position.checkpoint, head,
                      v_subscription.paused, v_position.owner_name, v_position.owned_since,
                      v_lease.renewed_at, coalesce(v_lease.renewed_at > v_now, false), NULL::jsonb,
                      v_position.owner_died, v_position.tried, v_position.tries, projected;
END $$;

-- Head of a subscribed stream. For "$all": p_store_head, which the caller read once.
CREATE FUNCTION :"schema".subscribed_head(p_stream_id text, p_store_head bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
BEGIN
  IF p_stream_id = '$all' THEN
    RETURN p_store_head;
  END IF;
  RETURN (SELECT h.head FROM stream_head(p_stream_id) h);
END $$;

-- Head of what a subscription reads; null: it is gone.
CREATE FUNCTION :"schema".head_of_subscription(p_subscription_id bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
BEGIN
  RETURN (SELECT h.head FROM subscriptions s CROSS JOIN LATERAL stream_head(s.stream_id) h
           WHERE s.subscription_id = p_subscription_id);
END $$;

-- Ends the ownership of positions that the caller has locked.
CREATE FUNCTION :"schema".free_positions(p_ids bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
BEGIN
  UPDATE positions SET owner = NULL, owner_name = NULL, owned_since = NULL,
                       owner_died = false, tried = NULL, tries = 0
   WHERE position_id = ANY (p_ids);
  UPDATE leases SET owner = NULL, renewed_at = NULL, expires_at = NULL
   WHERE position_id = ANY (p_ids);
END $$;

-- Stores these checkpoints in the positions that the caller has locked, if the fence matches. p_places:
-- where the rows are; null for those that are not locked. p_leasts: what handlers have stored in their
-- transactions; a lower checkpoint was set back with their effects, and stays.
CREATE FUNCTION :"schema".move_positions(
  p_places tid[], p_owners uuid[], p_epochs bigint[], p_checkpoints bigint[], p_leasts bigint[]
) RETURNS void LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
DECLARE
  v_head bigint := store_head();
BEGIN
  UPDATE positions p SET checkpoint = m.checkpoint
    FROM unnest(p_places, p_owners, p_epochs, p_checkpoints, p_leasts)
           m(place, owner, epoch, checkpoint, least)
    JOIN positions r ON r.ctid = m.place
    JOIN subscriptions s USING (subscription_id)
   WHERE p.ctid = m.place AND p.owner = m.owner AND p.epoch = m.epoch
     AND m.checkpoint > p.checkpoint AND p.checkpoint >= m.least
     AND m.checkpoint <= subscribed_head(s.stream_id, v_head);
END $$;

-- Renews the leases of a runtime and stores its checkpoints. Returns what the rows say afterwards:
--   item    place in the arrays
--   owned   false: the fence does not match, the checkpoint is below p_leasts, or the row is gone
--   stored  false: another transaction has locked the position; send the checkpoint again
--
-- Waits for no row, only for a lock on a table. A lease that another transaction has locked is not
-- renewed and is missing from the answer; the other leases are renewed.
--
-- While somebody holds an old snapshot, the dead versions of a row stay, and a search by id passes all of
-- them: after 20,000 checkpoints one took four times as long. The newest version is mostly the last of its
-- entries in the index, so each search begins at the end (with an equality the server would not heed the
-- order), and a row that is locked is found again by its place.
CREATE FUNCTION :"schema".keep_subscriptions(
  p_wait_ms integer, p_lease double precision,
  p_ids bigint[], p_owners uuid[], p_epochs bigint[], p_checkpoints bigint[], p_leasts bigint[],
  p_states text[], p_errors text[], p_attempts integer[],
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false
) RETURNS TABLE (item bigint, owned boolean, stored boolean, checkpoint bigint, paused boolean)
LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
  SET plan_cache_mode = force_generic_plan    -- else most calls plan again: 0.5 ms
  SET enable_seqscan = off    -- the cached plan must fit large tables too
AS $$
#variable_conflict use_column
DECLARE
  v_leases  tid[];        -- where the lease of each item is; null: somebody has locked it
  v_moves   boolean[];    -- whether the position of each item is to be moved
  v_places  tid[];        -- where it is then; null: somebody has locked it
  v_head    bigint := store_head();
  v_now     timestamptz;
BEGIN
  PERFORM begin_change(p_wait_ms, p_store_id, p_unsafe);
  SELECT array_agg(k.place ORDER BY p.item) INTO v_leases
    FROM unnest(p_ids) WITH ORDINALITY p(id, item) LEFT JOIN LATERAL (
         SELECT l.ctid AS place FROM leases l WHERE l.position_id BETWEEN p.id AND p.id
          ORDER BY l.position_id DESC LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED) k ON true;
  v_now := clock_timestamp();
  UPDATE leases l
     SET state = p.state, last_error = p.last_error, attempts = p.attempts,
         renewed_at = v_now, expires_at = v_now + make_interval(secs => p_lease)
    FROM unnest(v_leases, p_owners, p_epochs, p_states, p_errors, p_attempts)
           p(place, owner, epoch, state, last_error, attempts)
   WHERE l.ctid = p.place AND l.owner = p.owner AND l.epoch = p.epoch;

  SELECT array_agg(m.moves ORDER BY p.item) INTO v_moves
    FROM unnest(p_ids, p_owners, p_epochs, p_checkpoints)
           WITH ORDINALITY p(id, owner, epoch, checkpoint, item) LEFT JOIN LATERAL (
         SELECT p.checkpoint > r.checkpoint
                AND p.checkpoint <= subscribed_head(s.stream_id, v_head) AS moves
           FROM (SELECT * FROM positions WHERE position_id BETWEEN p.id AND p.id
                  ORDER BY position_id DESC LIMIT 1) r
           JOIN subscriptions s USING (subscription_id)
          WHERE r.owner = p.owner AND r.epoch = p.epoch) m ON true;
  IF true = ANY (v_moves) THEN
    SELECT array_agg(k.place ORDER BY p.item) INTO v_places
      FROM unnest(p_ids, v_moves) WITH ORDINALITY p(id, moves, item) LEFT JOIN LATERAL (
           SELECT r.ctid AS place FROM positions r
            WHERE p.moves AND r.position_id BETWEEN p.id AND p.id
            ORDER BY r.position_id DESC LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED) k ON true;
    PERFORM move_positions(v_places, p_owners, p_epochs, p_checkpoints, p_leasts);
  END IF;

  RETURN QUERY
    SELECT p.item,
           coalesce(r.owner = p.owner AND r.epoch = p.epoch AND r.checkpoint >= p.least, false),
           p.moves IS NOT TRUE OR p.place IS NOT NULL,
           coalesce(r.checkpoint, 0), coalesce(s.paused, false)
      FROM unnest(p_ids, p_owners, p_epochs, p_leasts, v_leases, v_moves, v_places)
             WITH ORDINALITY p(id, owner, epoch, least, lease, moves, place, item)
      LEFT JOIN LATERAL (
           SELECT * FROM positions WHERE position_id BETWEEN p.id AND p.id
            ORDER BY position_id DESC LIMIT 1) r ON true
      LEFT JOIN subscriptions s USING (subscription_id)
     WHERE r.position_id IS NULL OR p.lease IS NOT NULL;
END $$;

-- Reads the rows of these positions without locking or writing anything. A position without an owner
-- counts as expired.
CREATE FUNCTION :"schema".look_at_subscriptions(p_ids bigint[]) RETURNS TABLE (
  position_id bigint, paused boolean, epoch bigint, owner uuid, renewed_at timestamptz,
  expired boolean
) LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET enable_seqscan = off
AS $$
BEGIN
  RETURN QUERY
    SELECT p.position_id, s.paused, p.epoch, p.owner, l.renewed_at,
           coalesce(l.expires_at <= clock_timestamp(), true)
      FROM positions p JOIN subscriptions s USING (subscription_id)
      JOIN leases l ON l.position_id = p.position_id
     WHERE p.position_id = ANY (p_ids);
END $$;

-- Stores the checkpoints of subscriptions and ends their ownership. Returns the places in the arrays of
-- those that are settled: released, or no longer the caller's.
--
-- No row is waited for: a position that another transaction has locked is missing from the answer.
CREATE FUNCTION :"schema".release_subscriptions(
  p_wait_ms integer,
  p_ids bigint[], p_owners uuid[], p_epochs bigint[], p_checkpoints bigint[], p_leasts bigint[],
  p_states text[], p_errors text[], p_attempts integer[],
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false
) RETURNS SETOF bigint LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
AS $$
DECLARE
  v_locked   bigint[];
  v_places   tid[];        -- where these are; null for the others
  v_released bigint[];
BEGIN
  PERFORM begin_change(p_wait_ms, p_store_id, p_unsafe);
  SELECT array_agg(k.position_id), array_agg(k.place ORDER BY p.item) INTO v_locked, v_places
    FROM unnest(p_ids) WITH ORDINALITY p(id, item) LEFT JOIN LATERAL (
         SELECT r.position_id, r.ctid AS place FROM positions r WHERE r.position_id = p.id
            FOR NO KEY UPDATE SKIP LOCKED) k ON true;
  PERFORM move_positions(v_places, p_owners, p_epochs, p_checkpoints, p_leasts);

  SELECT array_agg(r.position_id) INTO v_released
    FROM unnest(p_ids, p_owners, p_epochs) p(id, owner, epoch)
    JOIN positions r ON r.position_id = p.id AND r.owner = p.owner AND r.epoch = p.epoch
   WHERE r.position_id = ANY (v_locked);
  PERFORM free_positions(v_released);
  UPDATE leases l
     SET state = p.state, last_error = p.last_error, attempts = p.attempts
    FROM unnest(p_ids, p_states, p_errors, p_attempts) p(id, state, last_error, attempts)
   WHERE l.position_id = p.id AND l.position_id = ANY (v_released);

  RETURN QUERY
    SELECT p.item FROM unnest(p_ids) WITH ORDINALITY p(id, item)
     WHERE p.id = ANY (v_locked) OR NOT EXISTS (SELECT FROM positions r WHERE r.position_id = p.id);
END $$;

-- Pauses or resumes a subscription. Returns its id, or null if there is none.
CREATE FUNCTION :"schema".pause_subscription(
  p_wait_ms integer, p_stream_id text, p_name text, p_paused boolean,
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false
) RETURNS bigint LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
AS $$
DECLARE
  v_id bigint;
BEGIN
  PERFORM begin_change(p_wait_ms, p_store_id, p_unsafe);
  UPDATE subscriptions SET paused = p_paused
   WHERE stream_id = p_stream_id AND subscription_name = p_name
  RETURNING subscription_id INTO v_id;
  PERFORM prove_store(p_store_id);
  RETURN v_id;
END $$;

-- Sets the checkpoint of a subscription that the caller has locked, fences the owner, and forgets the options.
-- Drops what is parked after p_position: returns how many events, with the lowest and the highest position.
CREATE FUNCTION :"schema".set_back(
  p_id bigint, p_position bigint, OUT dropped bigint, OUT first_dropped bigint, OUT last_dropped bigint
) LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
DECLARE
  v_locked bigint[];
BEGIN
  SELECT array_agg(k.position_id) INTO v_locked
    FROM (SELECT r.position_id FROM positions r WHERE r.subscription_id = p_id
           ORDER BY r.position_id FOR NO KEY UPDATE) k;
  UPDATE positions p
     SET checkpoint = p_position, epoch = p.epoch + 1
   WHERE p.position_id = ANY (v_locked);
  UPDATE subscriptions s SET options = NULL WHERE s.subscription_id = p_id;
  PERFORM free_positions(v_locked);
  UPDATE leases SET last_error = NULL, attempts = 0 WHERE position_id = ANY (v_locked);
  WITH gone AS (
    DELETE FROM parked k WHERE k.subscription_id = p_id AND k.position > p_position
    RETURNING k.position, k.skipped_at)
  SELECT count(*), min(g.position), max(g.position)
    INTO dropped, first_dropped, last_dropped FROM gone g WHERE g.skipped_at IS NULL;
END $$;

-- Whether a subscription belongs to a version of a projection, whose tables change together with it.
CREATE FUNCTION :"schema".is_projected(p_id bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
BEGIN
  RETURN EXISTS (SELECT FROM projection_versions v WHERE v.subscription_id = p_id);
END $$;

-- Sets a subscription back, unless p_position is beyond the head or it belongs to a projection; see set_back.
-- Returns its id (null if there is none), the head, whether it belongs to one, and what set_back returns.
CREATE FUNCTION :"schema".reset_subscription(
  p_wait_ms integer, p_stream_id text, p_name text, p_position bigint,
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false,
  OUT id bigint, OUT head bigint, OUT projected boolean,
  OUT dropped bigint, OUT first_dropped bigint, OUT last_dropped bigint
) LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
AS $$
BEGIN
  PERFORM begin_change(p_wait_ms, p_store_id, p_unsafe);
  SELECT s.subscription_id INTO id FROM subscriptions s
   WHERE s.stream_id = p_stream_id AND s.subscription_name = p_name FOR NO KEY UPDATE;
  -- First: a hard delete sets stream and positions back.
  PERFORM FROM positions r WHERE r.subscription_id = id ORDER BY r.position_id FOR NO KEY UPDATE;
  SELECT h.head INTO head FROM stream_head(p_stream_id) h;
  projected := is_projected(id);
  IF p_position <= head AND NOT projected THEN
    SELECT b.* INTO dropped, first_dropped, last_dropped FROM set_back(id, p_position) b;
  END IF;
  PERFORM prove_store(p_store_id);
END $$;

-- Deletes a subscription, unless events are parked and p_drop_parked is false, or it belongs to a projection.
-- Ids are never reused, so this fences its owner. Returns the id (null if there is none), whether it was
-- deleted, whether it belongs to one, and how many events were parked, with the lowest and the highest
-- position of them.
CREATE FUNCTION :"schema".delete_subscription(
  p_wait_ms integer, p_stream_id text, p_name text, p_drop_parked boolean,
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false,
  OUT id bigint, OUT deleted boolean, OUT projected boolean,
  OUT parked_events bigint, OUT first_parked bigint, OUT last_parked bigint
) LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
  SET enable_seqscan = off
AS $$
BEGIN
  PERFORM begin_change(p_wait_ms, p_store_id, p_unsafe);
  -- Whoever parks has the row locked, too: no event is parked between the look and the delete.
  SELECT s.subscription_id INTO id FROM subscriptions s
   WHERE s.stream_id = p_stream_id AND s.subscription_name = p_name FOR UPDATE;
  SELECT count(*), min(k.position), max(k.position) INTO parked_events, first_parked, last_parked
    FROM parked k WHERE k.subscription_id = id AND k.skipped_at IS NULL;
  projected := is_projected(id);
  deleted := (p_drop_parked OR parked_events = 0) AND NOT projected;
  IF deleted THEN
    DELETE FROM subscriptions s WHERE s.subscription_id = id;
  END IF;
  PERFORM prove_store(p_store_id);
END $$;

-- ── parked events ───────────────────────────────────────────────────────────────────────────────
-- Everything here locks the position of the subscription first, so that the owner, who parks and
-- replays, and whoever retries and skips see one another's changes.

-- Locks a position that the caller owns. Returns its subscription; null: the fence does not match.
CREATE FUNCTION :"schema".lock_owned_position(
  p_position_id bigint, p_owner uuid, p_epoch bigint
) RETURNS bigint LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
BEGIN
  RETURN (SELECT p.subscription_id FROM positions p
           WHERE p.position_id = p_position_id AND p.owner = p_owner AND p.epoch = p_epoch
             FOR NO KEY UPDATE);
END $$;

-- Puts events aside and moves the checkpoint beyond them, both or none. An event that is parked already, as
-- the answer was lost, counts once. What was deleted meanwhile is passed over.
--   p_checkpoint  the caller's; everything up to it is acknowledged or parked with these
--   p_follow      they were not handled: they come after a parked event with their key
--   p_most        most parked events, and p_most_per_key of one key; null: they are not counted
-- Returns 0 done, 1 the fence does not match or the checkpoint is beyond the head, 2 a key that they
-- follow is not parked any more, 3 too many are parked, 4 too many of one key. Nothing is changed unless it
-- is done.
CREATE FUNCTION :"schema".park_events(
  p_wait_ms integer, p_position_id bigint, p_owner uuid, p_epoch bigint, p_checkpoint bigint,
  p_follow boolean, p_most bigint, p_most_per_key bigint,
  p_keys text[], p_positions bigint[], p_global_positions bigint[],
  p_reason text, p_error text, p_attempts integer,
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false
) RETURNS integer LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
  SET enable_seqscan = off
AS $$
DECLARE
  v_now   timestamptz := clock_timestamp();
  v_id    bigint;
  v_gone  bigint[];
  v_there bigint[];
  v_more  text[];
BEGIN
  -- The owner goes on from here as soon as it has the answer: what the server lost then, with the checkpoint,
  -- would be passed over by its next one.
  PERFORM begin_change(p_wait_ms, p_store_id, p_unsafe);
  -- The foreign key locks it anyway: before the position, as who deletes the subscription does.
  PERFORM FROM subscriptions s
   WHERE s.subscription_id = (SELECT p.subscription_id FROM positions p
                               WHERE p.position_id = p_position_id)
     FOR KEY SHARE;
  v_id := lock_owned_position(p_position_id, p_owner, p_epoch);
  IF v_id IS NULL OR p_checkpoint > head_of_subscription(v_id) THEN
    PERFORM prove_store(p_store_id);
    RETURN 1;
  END IF;
  v_gone := gone_streams();
  -- Locked in the order of erase_events, so that none is erased before its row is there to go with it.
  v_there := ARRAY(
    SELECT e.global_position FROM events e
     WHERE e.global_position = ANY (p_global_positions) AND e.stream_no <> ALL (v_gone)
     ORDER BY e.global_position FOR KEY SHARE);
  IF p_follow AND EXISTS (
      SELECT FROM (SELECT DISTINCT n.key FROM unnest(p_keys, p_global_positions) n(key, global_position)
                    WHERE n.global_position = ANY (v_there)) n
       -- LIMIT fixes the plan: each key by the index. A join might go through all that is parked for each.
       WHERE (SELECT true FROM parked k
               WHERE k.subscription_id = v_id AND k.key = n.key AND k.skipped_at IS NULL LIMIT 1) IS NULL)
  THEN
    RETURN 2;
  END IF;
  IF p_most IS NOT NULL THEN
    v_more := ARRAY(
      SELECT n.key
        FROM unnest(p_keys, p_positions, p_global_positions) n(key, position, global_position)
       WHERE n.global_position = ANY (v_there)
         AND (SELECT true FROM parked k
               WHERE k.subscription_id = v_id AND k.position = n.position LIMIT 1) IS NULL);
    IF cardinality(v_more) + (SELECT count(*) FROM parked k
                               WHERE k.subscription_id = v_id AND k.skipped_at IS NULL) > p_most THEN
      RETURN 3;
    ELSIF EXISTS (
        SELECT FROM (SELECT n.key, count(*) AS more FROM unnest(v_more) n(key) GROUP BY n.key) n
         WHERE n.more + (SELECT count(*) FROM parked k
                          WHERE k.subscription_id = v_id AND k.key = n.key AND k.skipped_at IS NULL)
               > p_most_per_key) THEN
      RETURN 4;
    END IF;
  END IF;
  INSERT INTO parked AS k (subscription_id, key, position, global_position, reason, error, attempts,
                           parked_at, failed_at)
  SELECT v_id, n.key, n.position, n.global_position, p_reason, p_error, p_attempts, v_now,
         CASE WHEN NOT p_follow THEN v_now END
    FROM unnest(p_keys, p_positions, p_global_positions) n(key, position, global_position)
   WHERE n.global_position = ANY (v_there)
      ON CONFLICT (subscription_id, position) DO UPDATE
     SET reason = excluded.reason, error = excluded.error, attempts = excluded.attempts,
         failed_at = excluded.failed_at
   WHERE k.skipped_at IS NULL AND NOT p_follow;
  UPDATE positions p SET checkpoint = p_checkpoint
   WHERE p.position_id = p_position_id AND p.checkpoint < p_checkpoint;
  PERFORM prove_store(p_store_id);
  RETURN 0;
END $$;

-- Removes the events of each key up to a position, which were delivered. Returns the keys of which others
-- are parked; null: the fence does not match.
--   p_ended  keys that were read to their end: what is left of them and exists no more is removed, too
CREATE FUNCTION :"schema".unpark_events(
  p_wait_ms integer, p_position_id bigint, p_owner uuid, p_epoch bigint,
  p_keys text[], p_positions bigint[], p_ended text[],
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false
) RETURNS text[] LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
  SET enable_seqscan = off
AS $$
DECLARE
  v_id   bigint;
  v_gone bigint[];
  v_left text[];
BEGIN
  PERFORM begin_change(p_wait_ms, p_store_id, p_unsafe);
  v_id := lock_owned_position(p_position_id, p_owner, p_epoch);
  -- One by one: a join might go through all that is parked for each.
  FOR i IN 1 .. cardinality(p_keys) LOOP
    DELETE FROM parked k
     WHERE k.subscription_id = v_id AND k.key = p_keys[i] AND k.position <= p_positions[i]
       AND k.is_marked AND k.skipped_at IS NULL;
  END LOOP;
  v_gone := gone_streams();
  FOR i IN 1 .. cardinality(p_ended) LOOP
    DELETE FROM parked k
     WHERE k.subscription_id = v_id AND k.key = p_ended[i] AND k.is_marked AND k.skipped_at IS NULL
       AND (SELECT true FROM events e
             WHERE e.global_position = k.global_position AND e.stream_no <> ALL (v_gone) LIMIT 1) IS NULL;
  END LOOP;
  v_left := ARRAY(
    SELECT n.key FROM unnest(p_keys) n(key)
     WHERE (SELECT true FROM parked k
             WHERE k.subscription_id = v_id AND k.key = n.key AND k.skipped_at IS NULL LIMIT 1));
  IF cardinality(v_left) = cardinality(p_keys) THEN
    -- Not waited for: if the server loses it, they are delivered once more, before the others of their keys.
    -- Once a key is free, the owner goes on with what comes after it.
    PERFORM set_config('synchronous_commit', 'off', true);
  END IF;
  PERFORM prove_store(p_store_id);
  RETURN CASE WHEN v_id IS NOT NULL THEN v_left END;
END $$;

-- Leaves the events of a key parked whose first one, at p_position, failed again. Returns whether the
-- fence matches.
CREATE FUNCTION :"schema".keep_parked(
  p_wait_ms integer, p_position_id bigint, p_owner uuid, p_epoch bigint,
  p_key text, p_position bigint, p_reason text, p_error text, p_attempts integer,
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false
) RETURNS boolean LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
  SET enable_seqscan = off
AS $$
DECLARE
  v_id bigint;
BEGIN
  PERFORM begin_change(p_wait_ms, p_store_id, p_unsafe);
  v_id := lock_owned_position(p_position_id, p_owner, p_epoch);
  -- Once: if the answer is lost and this comes again, it is marked no more.
  UPDATE parked k
     SET reason = p_reason, error = p_error, attempts = k.attempts + p_attempts,
         failed_at = clock_timestamp()
   WHERE k.subscription_id = v_id AND k.position = p_position AND k.is_marked AND k.skipped_at IS NULL;
  UPDATE parked k SET is_marked = false
   WHERE k.subscription_id = v_id AND k.key = p_key AND k.is_marked;
  PERFORM prove_store(p_store_id);
  RETURN v_id IS NOT NULL;
END $$;

-- Gives up the event at p_position, which was delivered again and skipped by its handler. Returns whether the
-- fence matches.
CREATE FUNCTION :"schema".skip_replayed(
  p_wait_ms integer, p_position_id bigint, p_owner uuid, p_epoch bigint, p_position bigint, p_reason text,
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false
) RETURNS boolean LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
  SET enable_seqscan = off
AS $$
DECLARE
  v_id bigint;
BEGIN
  PERFORM begin_change(p_wait_ms, p_store_id, p_unsafe);
  v_id := lock_owned_position(p_position_id, p_owner, p_epoch);
  UPDATE parked k SET skipped_at = clock_timestamp(), skip_reason = p_reason
   WHERE k.subscription_id = v_id AND k.position = p_position AND k.skipped_at IS NULL;
  PERFORM prove_store(p_store_id);
  RETURN v_id IS NOT NULL;
END $$;

-- Notes which event the owner hands out alone next, and stores the checkpoint before it: whoever dies of
-- the event has stored its attempt. Returns whether the fence matches, and the database has not lost what it
-- had: the stored checkpoint is at least p_least, and the new one not beyond the head.
--   p_tried  null: none
CREATE FUNCTION :"schema".note_tries(
  p_wait_ms integer, p_position_id bigint, p_owner uuid, p_epoch bigint, p_checkpoint bigint,
  p_least bigint, p_tried bigint, p_tries integer,
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false
) RETURNS boolean LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
AS $$
DECLARE
  v_id    bigint;
  v_noted boolean;
BEGIN
  PERFORM begin_change(p_wait_ms, p_store_id, p_unsafe);
  v_id := lock_owned_position(p_position_id, p_owner, p_epoch);
  UPDATE positions p
     SET checkpoint = greatest(p.checkpoint, p_checkpoint), tried = p_tried, tries = p_tries
   WHERE p.position_id = p_position_id AND p.subscription_id = v_id
     AND p.checkpoint >= p_least AND p_checkpoint <= head_of_subscription(v_id);
  v_noted := FOUND;
  PERFORM prove_store(p_store_id);
  RETURN v_noted;
END $$;

-- Chooses parked events, the oldest first, and has the owner deliver them again, or skips them for good.
--   p_key          of this key alone; null: of any
--   p_limit        at most so many; null: all
--   p_skip_reason  skip them; null: deliver them again
--   p_dry_run      change nothing
-- Returns the subscription, null if there is none, and the number of events.
CREATE FUNCTION :"schema".choose_parked(
  p_wait_ms integer, p_stream_id text, p_name text, p_key text, p_limit bigint, p_skip_reason text,
  p_dry_run boolean,
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false,
  OUT id bigint, OUT events bigint
) LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
  SET enable_seqscan = off
AS $$
DECLARE
  v_positions bigint[];
BEGIN
  PERFORM begin_change(p_wait_ms, p_store_id, p_unsafe);
  SELECT s.subscription_id INTO id FROM subscriptions s
   WHERE s.stream_id = p_stream_id AND s.subscription_name = p_name FOR SHARE;
  PERFORM FROM positions p WHERE p.subscription_id = id ORDER BY p.position_id FOR NO KEY UPDATE;
  v_positions := ARRAY(
    SELECT k.position FROM parked k
     WHERE k.subscription_id = id AND k.skipped_at IS NULL AND (p_key IS NULL OR k.key = p_key)
     ORDER BY k.position LIMIT p_limit);
  events := cardinality(v_positions);
  IF NOT p_dry_run AND p_skip_reason IS NULL THEN
    UPDATE parked k SET is_marked = true
     WHERE k.subscription_id = id AND k.position = ANY (v_positions) AND NOT k.is_marked;
  ELSIF NOT p_dry_run THEN
    UPDATE parked k SET skipped_at = clock_timestamp(), skip_reason = p_skip_reason
     WHERE k.subscription_id = id AND k.position = ANY (v_positions);
  END IF;
  PERFORM prove_store(p_store_id);
END $$;

-- Time at which the first event after a position was stored; null if there is none any more.
CREATE FUNCTION :"schema".stored_after(p_stream_no bigint, p_position bigint) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
DECLARE
  v_gone bigint[] := gone_streams();
BEGIN
  IF p_stream_no IS NULL THEN
    RETURN (SELECT coalesce(e.stored_at, e.created_at) FROM events e
             WHERE e.global_position > p_position AND e.stream_no <> ALL (v_gone)
             ORDER BY e.global_position LIMIT 1);
  END IF;
  RETURN (
    SELECT f.stored_at FROM (
      (SELECT e.stream_version, coalesce(e.stored_at, e.created_at) AS stored_at FROM events e
        WHERE e.stream_no = p_stream_no AND e.stream_version > p_position
        ORDER BY e.stream_version LIMIT 1)
      UNION ALL
      (SELECT l.stream_version, coalesce(e.stored_at, e.created_at) FROM links l
         JOIN events e USING (global_position)
        WHERE l.stream_no = p_stream_no AND l.stream_version > p_position
          AND e.stream_no <> ALL (v_gone)
        ORDER BY l.stream_version LIMIT 1)
      ORDER BY stream_version LIMIT 1) f);
END $$;

-- All subscriptions at one moment. Without an owner whose lease is valid, the state is waiting or stopped.
-- A lease that was renewed at a time yet to come is not valid: the clock was set back since, and an
-- owner that lives renews it soon.
CREATE VIEW :"schema".subscription_status AS
SELECT s.subscription_id, s.stream_id, s.subscription_name,
       CASE WHEN v.owned THEN p.owner_name END AS owner,
       CASE WHEN v.owned THEN p.owned_since END AS owned_since,
       p.epoch,
       CASE WHEN v.owned OR l.state = 'stopped' THEN l.state ELSE 'waiting' END AS state,
       p.checkpoint, h.head,
       CASE WHEN n.stored_at IS NULL THEN 0 ELSE h.head - p.checkpoint END AS lag_events,
       coalesce(greatest(extract(epoch FROM clock_timestamp() - n.stored_at), 0), 0)
         ::double precision AS lag_seconds,
       k.parked, k.parked_oldest_seconds,
       s.paused, s.options, l.last_error, l.attempts, s.created_at
  FROM :"schema".subscriptions s
  JOIN :"schema".positions p ON p.subscription_id = s.subscription_id
                            AND p.partition = 0 AND p.until IS NULL
  JOIN :"schema".leases l ON l.position_id = p.position_id
 CROSS JOIN LATERAL (
   SELECT clock_timestamp() BETWEEN l.renewed_at AND l.expires_at AS owned) v
 CROSS JOIN LATERAL :"schema".stream_head(s.stream_id) h
 CROSS JOIN LATERAL (   -- null: everything is acknowledged, or what is not was deleted
   SELECT CASE WHEN h.head > p.checkpoint
               THEN :"schema".stored_after(h.stream_no, p.checkpoint) END AS stored_at) n
  -- They are behind the checkpoint: none of them is counted in the lag. By an outer join, so that who does
  -- not ask for them need not count them.
  LEFT JOIN LATERAL (
   SELECT count(*) AS parked,
          coalesce(greatest(extract(epoch FROM clock_timestamp() - min(a.parked_at)), 0), 0)
            ::double precision AS parked_oldest_seconds
     FROM :"schema".parked a
    WHERE a.subscription_id = s.subscription_id AND a.skipped_at IS NULL) k ON true;


-- ── effects of handlers ─────────────────────────────────────────────────────────────────────────
-- What a handler writes and the checkpoint of its events commit together or not at all. The checkpoint is
-- stored last in the transaction, so that its row is locked for a moment only.

-- Begins the transaction of a handler, and returns its id. The session may be idle in it for p_idle_ms at
-- most: a process that froze must not keep its locks. A shorter time that is set stays.
CREATE FUNCTION :"schema".begin_handling(p_idle_ms integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
DECLARE
  v_time interval := current_setting('idle_in_transaction_session_timeout');
BEGIN
  IF v_time = interval '0' OR v_time > p_idle_ms * interval '1 millisecond' THEN
    PERFORM set_config('idle_in_transaction_session_timeout', p_idle_ms || 'ms', true);
  END IF;
  RETURN pg_current_xact_id()::text::bigint;
END $$;

-- Does so for a handler that has the events of a position. If that is of a version of a projection, it holds
-- the version: whoever rebuilds or drops it waits until the handler has committed, and the next one waits
-- for him. Else a function that empties the tables row by row would miss what the handler writes meanwhile.
CREATE FUNCTION :"schema".begin_batch(p_wait_ms integer, p_idle_ms integer, p_position_id bigint)
RETURNS bigint LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
  SET enable_seqscan = off
AS $$
BEGIN
  PERFORM set_config('lock_timeout', greatest(p_wait_ms, 1) || 'ms', true);
  PERFORM FROM projection_versions v JOIN positions p USING (subscription_id)
    WHERE p.position_id = p_position_id FOR SHARE OF v;
  RETURN begin_handling(p_idle_ms);
END $$;

-- Moves a checkpoint within the transaction of the caller. Returns false, and changes nothing, unless the
-- fence matches and the checkpoint is from p_least to p_most: where the owner left it. If it is above,
-- another transaction of the owner has moved it; if it is below, or the new one is beyond the head, the
-- database was set back.
CREATE FUNCTION :"schema".move_fenced(
  p_id bigint, p_owner uuid, p_epoch bigint, p_least bigint, p_most bigint, p_checkpoint bigint
) RETURNS boolean LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
BEGIN
  UPDATE positions SET checkpoint = p_checkpoint
   WHERE position_id = p_id AND owner = p_owner AND epoch = p_epoch
     AND checkpoint BETWEEN p_least AND p_most
     AND p_checkpoint <= head_of_subscription(subscription_id);
  RETURN FOUND;
END $$;

-- Stores the checkpoint of events in the transaction that wrote their effects; see move_fenced. Also
-- returns false if this is not the transaction p_transaction_id; null: whichever.
CREATE FUNCTION :"schema".checkpoint_in_transaction(
  p_wait_ms integer, p_id bigint, p_owner uuid, p_epoch bigint,
  p_least bigint, p_most bigint, p_checkpoint bigint, p_transaction_id bigint,
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false
) RETURNS boolean LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
  SET plan_cache_mode = force_generic_plan
  SET enable_seqscan = off    -- the cached plan must fit large tables too
AS $$
DECLARE
  v_stored boolean;
BEGIN
  PERFORM begin_change(p_wait_ms, p_store_id, p_unsafe);
  v_stored := coalesce(p_transaction_id = pg_current_xact_id()::text::bigint, true)
              AND move_fenced(p_id, p_owner, p_epoch, p_least, p_most, p_checkpoint);
  PERFORM prove_store(p_store_id);
  RETURN v_stored;
END $$;

-- Does so in a transaction of the application's own, or aborts it: what it wrote must not commit.
CREATE FUNCTION :"schema".checkpoint_or_abort(
  p_wait_ms integer, p_id bigint, p_owner uuid, p_epoch bigint,
  p_least bigint, p_most bigint, p_checkpoint bigint,
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false
) RETURNS void LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
BEGIN
  IF NOT checkpoint_in_transaction(
       p_wait_ms, p_id, p_owner, p_epoch, p_least, p_most, p_checkpoint, NULL, p_store_id, p_unsafe) THEN
    RAISE EXCEPTION 'the events belong to another owner, or were handled before'
      USING ERRCODE = 'ES020', HINT = 'Roll the transaction back.';
  END IF;
END $$;

-- Reads what became of events that a handler had, up to p_last: whether the fence matches and the events
-- are there, the checkpoint, and whether p_transaction_id has committed (null: not asked). No row: the
-- position is gone.
CREATE FUNCTION :"schema".look_at_handled(
  p_id bigint, p_owner uuid, p_epoch bigint, p_last bigint, p_transaction_id bigint
) RETURNS TABLE (owned boolean, checkpoint bigint, committed boolean) LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
    SELECT coalesce(p.owner = p_owner AND p.epoch = p_epoch
                    AND p_last <= head_of_subscription(p.subscription_id), false), p.checkpoint,
           coalesce(pg_xact_status(p_transaction_id::text::xid8) = 'committed', false)
      FROM positions p WHERE p.position_id = p_id;
END $$;


-- ── projections ─────────────────────────────────────────────────────────────────────────────────
-- A change of a projection and what the application does to its tables commit together or not at all: the
-- change begins here, then the application's function runs, and the change is stored last. Lock order:
-- projection, version, the application's tables, subscription, positions. A handler locks version, tables
-- and position in this order, too.

-- Begins the transaction of a change, which may be idle for p_idle_ms at most, and locks the projection.
-- Returns the transaction's id and what is stored.
--   p_alone          no handler of the version may run until the transaction ends
--   is_there         the version was created
--   has_versions     the projection has this one or another
--   subscription_id  of the version; null: that is gone
-- No function restores lock_timeout after this one: what the application's function wants to lock, it also
-- waits for no longer than p_wait_ms. Whoever comes behind it waits, too.
CREATE FUNCTION :"schema".begin_projection(
  p_wait_ms integer, p_idle_ms integer, p_name text, p_version integer, p_alone boolean,
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false,
  OUT transaction_id bigint, OUT is_there boolean, OUT is_current boolean, OUT has_versions boolean,
  OUT subscription_id bigint, OUT checkpoint bigint
) LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
AS $$
#variable_conflict use_column
DECLARE
  v_current integer;
BEGIN
  begin_projection.transaction_id := begin_handling(p_idle_ms);
  PERFORM begin_change(p_wait_ms, p_store_id, p_unsafe);
  LOOP
    INSERT INTO projections (projection_name) VALUES (p_name) ON CONFLICT DO NOTHING;
    SELECT p.current_version INTO v_current FROM projections p
     WHERE p.projection_name = p_name FOR UPDATE;
    EXIT WHEN FOUND;   -- else it was dropped meanwhile
  END LOOP;
  IF p_alone THEN
    PERFORM FROM projection_versions v
      WHERE v.projection_name = p_name AND v.version = p_version FOR UPDATE;
  END IF;
  begin_projection.is_current := v_current IS NOT DISTINCT FROM p_version;
  begin_projection.has_versions := EXISTS (
    SELECT FROM projection_versions v WHERE v.projection_name = p_name);
  begin_projection.is_there := EXISTS (
    SELECT FROM projection_versions v WHERE v.projection_name = p_name AND v.version = p_version);
  SELECT subscription_id, r.checkpoint
    INTO begin_projection.subscription_id, begin_projection.checkpoint
    FROM projection_versions v JOIN positions r USING (subscription_id)
   WHERE v.projection_name = p_name AND v.version = p_version
     AND r.partition = 0 AND r.until IS NULL;
  PERFORM prove_store(p_store_id);
END $$;

-- Goes on with a change. Returns false if the transaction is not the one that began it, as the
-- application's function has ended that.
CREATE FUNCTION :"schema".go_on_with_projection(
  p_wait_ms integer, p_transaction_id bigint, p_store_id uuid, p_unsafe boolean
) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM begin_change(p_wait_ms, p_store_id, p_unsafe);
  RETURN p_transaction_id = pg_current_xact_id()::text::bigint;
END $$;

-- Stores that a version was created, with a subscription to all streams that starts as for
-- create_subscription.
--   p_current  it becomes the current version
-- Returns whether this is the right transaction, whether the subscription was created, its id, and the head.
CREATE FUNCTION :"schema".create_projection(
  p_wait_ms integer, p_transaction_id bigint, p_name text, p_version integer,
  p_start bigint, p_options jsonb, p_current boolean,
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false,
  OUT done boolean, OUT created boolean, OUT id bigint, OUT head bigint
) LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
AS $$
DECLARE
  v_name text := p_name || '@' || p_version;
BEGIN
  done := go_on_with_projection(p_wait_ms, p_transaction_id, p_store_id, p_unsafe);
  IF NOT done THEN
    RETURN;
  END IF;
  SELECT s.created, s.head INTO created, head
    FROM create_subscription('$all', v_name, p_start, p_options) s;
  IF created THEN
    INSERT INTO projection_versions (projection_name, version, subscription_id, created_at)
    SELECT p_name, p_version, s.subscription_id, s.created_at FROM subscriptions s
     WHERE s.stream_id = '$all' AND s.subscription_name = v_name
    RETURNING subscription_id INTO id;
    IF p_current THEN
      UPDATE projections SET current_version = p_version, switched_at = clock_timestamp()
       WHERE projection_name = p_name;
    END IF;
  END IF;
  PERFORM prove_store(p_store_id);
END $$;

-- Makes a version the current one. Returns whether this is the right transaction.
CREATE FUNCTION :"schema".switch_projection(
  p_wait_ms integer, p_transaction_id bigint, p_name text, p_version integer,
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false
) RETURNS boolean LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
AS $$
BEGIN
  IF NOT go_on_with_projection(p_wait_ms, p_transaction_id, p_store_id, p_unsafe) THEN
    RETURN false;
  END IF;
  UPDATE projections SET current_version = p_version, switched_at = clock_timestamp()
   WHERE projection_name = p_name;
  PERFORM prove_store(p_store_id);
  RETURN true;
END $$;

-- Has a version handle everything from its start again: sets its subscription back, or creates it anew if
-- it is gone. Returns whether this is the right transaction, whether the subscription of that name is the
-- version's own, its id, and the head. If it is not, or p_start is beyond the head, nothing changes.
CREATE FUNCTION :"schema".rebuild_projection(
  p_wait_ms integer, p_transaction_id bigint, p_name text, p_version integer,
  p_start bigint, p_options jsonb,
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false,
  OUT done boolean, OUT own boolean, OUT id bigint, OUT head bigint
) LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
AS $$
DECLARE
  v_name text := p_name || '@' || p_version;
BEGIN
  done := go_on_with_projection(p_wait_ms, p_transaction_id, p_store_id, p_unsafe);
  IF NOT done THEN
    RETURN;
  END IF;
  SELECT s.created, s.head INTO own, head
    FROM create_subscription('$all', v_name, p_start, p_options) s;
  SELECT s.subscription_id INTO id FROM subscriptions s
   WHERE s.stream_id = '$all' AND s.subscription_name = v_name FOR NO KEY UPDATE;
  own := own OR EXISTS (SELECT FROM projection_versions v WHERE v.projection_name = p_name
                         AND v.version = p_version AND v.subscription_id = id);
  IF own AND coalesce(p_start <= head, true) THEN
    PERFORM set_back(id, coalesce(p_start, head));
    -- An owner with others must not go on: what it handles would not be what the caller asked for.
    UPDATE subscriptions SET options = p_options WHERE subscription_id = id;
    UPDATE projection_versions v SET subscription_id = id
     WHERE v.projection_name = p_name AND v.version = p_version;
  END IF;
  PERFORM prove_store(p_store_id);
END $$;

-- Forgets a version and its subscription, and the projection with its last version. Returns whether this
-- is the right transaction, and the subscription, null if that was gone.
CREATE FUNCTION :"schema".drop_projection(
  p_wait_ms integer, p_transaction_id bigint, p_name text, p_version integer,
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false,
  OUT done boolean, OUT id bigint
) LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
AS $$
BEGIN
  done := go_on_with_projection(p_wait_ms, p_transaction_id, p_store_id, p_unsafe);
  IF NOT done THEN
    RETURN;
  END IF;
  UPDATE projections SET current_version = NULL, switched_at = NULL
   WHERE projection_name = p_name AND current_version = p_version;
  DELETE FROM projection_versions WHERE projection_name = p_name AND version = p_version
  RETURNING subscription_id INTO id;
  DELETE FROM subscriptions WHERE subscription_id = id;
  DELETE FROM projections p WHERE p.projection_name = p_name
     AND NOT EXISTS (SELECT FROM projection_versions v WHERE v.projection_name = p_name);
  PERFORM prove_store(p_store_id);
END $$;
