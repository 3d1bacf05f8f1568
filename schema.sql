-- The event store's schema, version 1: tables, protection, the append, subscriptions.
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

-- One row per incarnation of a stream. A stream that is created again after a hard delete gets a new
-- number, and its subscriptions start over. The version is not stored: it is the greatest of the
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
CREATE TABLE :"schema".links (
  stream_no        bigint NOT NULL CONSTRAINT links_stream_no_fkey REFERENCES :"schema".streams,
  stream_version   bigint NOT NULL CONSTRAINT links_stream_version_positive CHECK (stream_version > 0),
  global_position  bigint NOT NULL CONSTRAINT links_global_position_fkey REFERENCES :"schema".events,
  CONSTRAINT links_pkey PRIMARY KEY (stream_no, stream_version),
  CONSTRAINT links_event_once_per_stream UNIQUE (global_position, stream_no)
);

-- Ranges of positions whose events were deleted. The head never falls below the greatest of them, so
-- that no position is assigned twice. deletion_no follows commit order: a process that sees a higher
-- one drops the events that it holds in memory.
CREATE TABLE :"schema".tombstones (
  last_position   bigint      CONSTRAINT tombstones_pkey PRIMARY KEY,
  first_position  bigint      NOT NULL,
  stream_id       text COLLATE "C" NOT NULL,
  deleted_at      timestamptz NOT NULL,
  deletion_no     bigint      NOT NULL CONSTRAINT tombstones_deletion_no_key UNIQUE,
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
  options            jsonb   NOT NULL DEFAULT '{}' -- what every claimant must agree on
                     CONSTRAINT subscriptions_options CHECK (jsonb_typeof(options) = 'object'),
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
  stream_no        bigint,                         -- the incarnation that checkpoint refers to
  checkpoint       bigint  NOT NULL CONSTRAINT positions_checkpoint CHECK (checkpoint >= 0),
  until            bigint,                         -- a partition that was replaced ends here
  owner            uuid,
  owner_name       text,
  owned_since      timestamptz,
  epoch            bigint  NOT NULL DEFAULT 0,
  CONSTRAINT positions_owner_complete CHECK (num_nulls(owner, owner_name, owned_since) IN (0, 3))
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

-- Numbers a deletion. Runs under the write lock, so the numbers follow commit order.
CREATE FUNCTION :"schema".number_deletion() RETURNS trigger
LANGUAGE plpgsql SET search_path = :"schema", pg_temp AS $$
BEGIN
  -- By the table's own name: after a renaming the search path leads elsewhere.
  EXECUTE format('SELECT max(deletion_no) FROM %I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME)
    INTO NEW.deletion_no;
  NEW.deletion_no := coalesce(NEW.deletion_no, 0) + 1;
  RETURN NEW;
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
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON :"schema".tombstones
  EXECUTE FUNCTION :"schema".refuse_change();
CREATE TRIGGER number_deletion BEFORE INSERT ON :"schema".tombstones
  FOR EACH ROW EXECUTE FUNCTION :"schema".number_deletion();
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
ALTER TABLE :"schema".tombstones ENABLE ALWAYS TRIGGER refuse_change,
                                 ENABLE ALWAYS TRIGGER number_deletion;
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
  v_floor bigint;
  v_head  bigint;
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
  SELECT coalesce(max(last_position), 0) INTO v_floor FROM tombstones;
  SELECT coalesce(max(global_position), v_floor) INTO v_head
    FROM events WHERE global_position > v_floor;
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

CREATE VIEW :"schema".recorded_events AS
SELECT e.global_position, s.stream_id, e.stream_version, e.created_at, e.event_type,
       :"schema".payload_as_jsonb(e.data) AS data,
       :"schema".payload_as_jsonb(e.metadata) AS metadata,
       e.event_id, e.causation_id, e.correlation_id
  FROM :"schema".events e JOIN :"schema".streams s USING (stream_no);


-- ── subscriptions ───────────────────────────────────────────────────────────────────────────────
-- The owner of a position may store its checkpoint. It holds the position by a lease, which it renews.
-- The fence is position_id, owner and epoch: whoever does not match all three changes nothing. The
-- fence keeps a stale owner out, not a clock. A takeover, a reset and a new incarnation of the stream
-- each raise the epoch.
--
-- Lock order: subscription, positions by id, leases by id. Renewals lock leases before positions, but
-- wait for neither.

-- Creates a subscription, unless it exists or would start beyond the head. Returns whether it was
-- created, and the head.
CREATE FUNCTION :"schema".create_subscription(
  p_stream_id text, p_name text, p_start bigint, OUT created boolean, OUT head bigint
) LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
DECLARE
  v_subscription_id bigint;
  v_position_id     bigint;
  v_stream          record;
BEGIN
  SELECT * INTO v_stream FROM stream_head(p_stream_id);
  head := v_stream.head;
  created := false;
  IF p_start > head THEN
    RETURN;
  END IF;
  INSERT INTO subscriptions (subscription_id, stream_id, subscription_name, start_from, created_at)
  OVERRIDING SYSTEM VALUE
  VALUES (next_number('subscriptions_subscription_id_seq',
                      (SELECT max(subscription_id) FROM subscriptions)),
          p_stream_id, p_name, p_start, clock_timestamp())
  ON CONFLICT (stream_id, subscription_name) DO NOTHING
  RETURNING subscription_id INTO v_subscription_id;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  created := true;
  INSERT INTO positions (position_id, subscription_id, stream_no, checkpoint)
  OVERRIDING SYSTEM VALUE
  VALUES (next_number('positions_position_id_seq', (SELECT max(position_id) FROM positions)),
          v_subscription_id, v_stream.stream_no, coalesce(p_start, v_stream.head))
  RETURNING position_id INTO v_position_id;
  INSERT INTO leases (position_id) VALUES (v_position_id);
END $$;

-- Takes over a subscription if it is free: it was released, or its lease expired by the server's clock,
-- or it is as the caller watched it: unchanged for a whole lease by the caller's clock.
--   p_create           create the subscription if it is missing
--   p_subscription_id  the subscription must have this id; null: any
--   p_start            a new one starts after this position; null: after the head
-- Returns no row if there is no subscription, or one with another id. A row without subscription_id:
-- none was created, because p_start is beyond the head. Does not wait for a locked row: then locked is
-- true and granted is false.
--   clock_set_back     the lease was renewed at a time yet to come: its expiry says nothing
CREATE FUNCTION :"schema".claim_subscription(
  p_wait_ms integer, p_stream_id text, p_name text,
  p_create boolean, p_subscription_id bigint, p_start bigint,
  p_owner uuid, p_owner_name text, p_lease double precision,
  p_watched_owner uuid, p_watched_epoch bigint, p_watched_renewal timestamptz,
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false
) RETURNS TABLE (
  granted boolean, created boolean, locked boolean, subscription_id bigint, position_id bigint,
  owner uuid, epoch bigint, checkpoint bigint, head bigint, paused boolean,
  owner_name text, owned_since timestamptz, renewed_at timestamptz, clock_set_back boolean
) LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
AS $$
#variable_conflict use_column
DECLARE
  v_subscription subscriptions;
  v_position     positions;
  v_lease        leases;
  v_stream       record;
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
    SELECT * INTO v_new FROM create_subscription(p_stream_id, p_name, p_start);
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

  SELECT * INTO v_position FROM positions p
   WHERE p.subscription_id = v_subscription.subscription_id AND p.partition = 0 AND p.until IS NULL
     FOR NO KEY UPDATE SKIP LOCKED;
  IF FOUND THEN
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
  SELECT * INTO v_stream FROM stream_head(p_stream_id);

  IF NOT v_locked AND (
       v_position.owner IS NULL OR v_position.owner = p_owner OR v_lease.expires_at <= v_now
       OR (v_position.owner, v_position.epoch, v_lease.renewed_at)
          = (p_watched_owner, p_watched_epoch, p_watched_renewal)) THEN
    UPDATE positions p
       SET owner = p_owner, owner_name = p_owner_name,
           epoch = p.epoch + CASE WHEN p.owner = p_owner THEN 0 ELSE 1 END,
           owned_since = CASE WHEN p.owner = p_owner THEN p.owned_since ELSE v_now END,
           stream_no = coalesce(v_stream.stream_no, p.stream_no),
           checkpoint = CASE WHEN p.stream_no <> v_stream.stream_no THEN 0 ELSE p.checkpoint END
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
                      v_position.owner, v_position.epoch, v_position.checkpoint, v_stream.head,
                      v_subscription.paused, v_position.owner_name, v_position.owned_since,
                      v_lease.renewed_at, coalesce(v_lease.renewed_at > v_now, false);
END $$;

-- Number and head of a subscribed stream. For "$all": null and p_store_head, which the caller read once.
CREATE FUNCTION :"schema".subscribed_head(
  p_stream_id text, p_store_head bigint, OUT stream_no bigint, OUT head bigint
) LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
BEGIN
  IF p_stream_id = '$all' THEN
    head := p_store_head;
  ELSE
    SELECT h.stream_no, h.head INTO stream_no, head FROM stream_head(p_stream_id) h;
  END IF;
END $$;

-- Ends the ownership of positions that the caller has locked.
CREATE FUNCTION :"schema".free_positions(p_ids bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
BEGIN
  UPDATE positions SET owner = NULL, owner_name = NULL, owned_since = NULL
   WHERE position_id = ANY (p_ids);
  UPDATE leases SET owner = NULL, renewed_at = NULL, expires_at = NULL
   WHERE position_id = ANY (p_ids);
END $$;

-- Stores these checkpoints in the positions that the caller has locked, if the fence matches. A stream
-- that was hard-deleted and created again is another one: its subscriptions start over. p_places: where
-- the rows are; null for those that are not locked.
CREATE FUNCTION :"schema".move_positions(
  p_places tid[], p_owners uuid[], p_epochs bigint[], p_checkpoints bigint[]
) RETURNS void LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
DECLARE
  v_head bigint := store_head();
  v_gone bigint[];
BEGIN
  WITH anew AS (
    UPDATE positions p
       SET stream_no = n.stream_no, checkpoint = 0, epoch = p.epoch + 1
      FROM unnest(p_places) m(place) JOIN positions r ON r.ctid = m.place
      JOIN subscriptions s USING (subscription_id)
     CROSS JOIN LATERAL subscribed_head(s.stream_id, v_head) n
     WHERE p.ctid = m.place AND p.stream_no <> n.stream_no
    RETURNING p.position_id)
  SELECT array_agg(position_id) INTO v_gone FROM anew;
  IF v_gone IS NOT NULL THEN
    PERFORM free_positions(v_gone);
  END IF;

  UPDATE positions p
     SET stream_no = coalesce(p.stream_no, n.stream_no),
         checkpoint = CASE WHEN m.checkpoint <= n.head THEN m.checkpoint ELSE p.checkpoint END
    FROM unnest(p_places, p_owners, p_epochs, p_checkpoints) m(place, owner, epoch, checkpoint)
    JOIN positions r ON r.ctid = m.place
    JOIN subscriptions s USING (subscription_id)
   CROSS JOIN LATERAL subscribed_head(s.stream_id, v_head) n
   WHERE p.ctid = m.place AND p.owner = m.owner AND p.epoch = m.epoch
     AND (m.checkpoint > p.checkpoint AND m.checkpoint <= n.head
          OR p.stream_no IS NULL AND n.stream_no IS NOT NULL);
END $$;

-- Renews the leases of a runtime and stores its checkpoints. Returns what the rows say afterwards:
--   item    place in the arrays
--   owned   false: the fence does not match, or the row is gone
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
  p_ids bigint[], p_owners uuid[], p_epochs bigint[],
  p_checkpoints bigint[], p_states text[], p_errors text[], p_attempts integer[],
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
         SELECT r.stream_no IS DISTINCT FROM coalesce(n.stream_no, r.stream_no)
                OR p.checkpoint > r.checkpoint AND p.checkpoint <= n.head AS moves
           FROM (SELECT * FROM positions WHERE position_id BETWEEN p.id AND p.id
                  ORDER BY position_id DESC LIMIT 1) r
           JOIN subscriptions s USING (subscription_id)
          CROSS JOIN LATERAL subscribed_head(s.stream_id, v_head) n
          WHERE r.owner = p.owner AND r.epoch = p.epoch) m ON true;
  IF true = ANY (v_moves) THEN
    SELECT array_agg(k.place ORDER BY p.item) INTO v_places
      FROM unnest(p_ids, v_moves) WITH ORDINALITY p(id, moves, item) LEFT JOIN LATERAL (
           SELECT r.ctid AS place FROM positions r
            WHERE p.moves AND r.position_id BETWEEN p.id AND p.id
            ORDER BY r.position_id DESC LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED) k ON true;
    PERFORM move_positions(v_places, p_owners, p_epochs, p_checkpoints);
  END IF;

  RETURN QUERY
    SELECT p.item, coalesce(r.owner = p.owner AND r.epoch = p.epoch, false),
           p.moves IS NOT TRUE OR p.place IS NOT NULL,
           coalesce(r.checkpoint, 0), coalesce(s.paused, false)
      FROM unnest(p_ids, p_owners, p_epochs, v_leases, v_moves, v_places)
             WITH ORDINALITY p(id, owner, epoch, lease, moves, place, item)
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
  p_ids bigint[], p_owners uuid[], p_epochs bigint[],
  p_checkpoints bigint[], p_states text[], p_errors text[], p_attempts integer[],
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
  PERFORM move_positions(v_places, p_owners, p_epochs, p_checkpoints);

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

-- Sets the checkpoint and fences the owner, unless p_position is beyond the head. Returns the id of the
-- subscription (null if there is none) and the head.
CREATE FUNCTION :"schema".reset_subscription(
  p_wait_ms integer, p_stream_id text, p_name text, p_position bigint,
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false,
  OUT subscription_id bigint, OUT head bigint
) LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
AS $$
#variable_conflict use_column
DECLARE
  v_stream record;
  v_locked bigint[];
BEGIN
  PERFORM begin_change(p_wait_ms, p_store_id, p_unsafe);
  SELECT s.subscription_id INTO reset_subscription.subscription_id FROM subscriptions s
   WHERE s.stream_id = p_stream_id AND s.subscription_name = p_name FOR SHARE;
  SELECT array_agg(k.position_id) INTO v_locked
    FROM (SELECT r.position_id FROM positions r
           WHERE r.subscription_id = reset_subscription.subscription_id
           ORDER BY r.position_id FOR NO KEY UPDATE) k;
  SELECT * INTO v_stream FROM stream_head(p_stream_id);
  head := v_stream.head;
  IF p_position <= head THEN
    UPDATE positions p
       SET stream_no = coalesce(v_stream.stream_no, p.stream_no), checkpoint = p_position,
           epoch = p.epoch + 1
     WHERE p.position_id = ANY (v_locked);
    PERFORM free_positions(v_locked);
    UPDATE leases SET last_error = NULL, attempts = 0 WHERE position_id = ANY (v_locked);
  END IF;
  PERFORM prove_store(p_store_id);
END $$;

-- Deletes a subscription. Ids are never reused, so this fences its owner. Returns the id, or null.
CREATE FUNCTION :"schema".delete_subscription(
  p_wait_ms integer, p_stream_id text, p_name text,
  p_store_id uuid DEFAULT NULL, p_unsafe boolean DEFAULT false
) RETURNS bigint LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
AS $$
DECLARE
  v_id bigint;
BEGIN
  PERFORM begin_change(p_wait_ms, p_store_id, p_unsafe);
  DELETE FROM subscriptions WHERE stream_id = p_stream_id AND subscription_name = p_name
  RETURNING subscription_id INTO v_id;
  PERFORM prove_store(p_store_id);
  RETURN v_id;
END $$;

-- Time at which the first event after a position was stored; null if there is none.
CREATE FUNCTION :"schema".stored_after(p_stream_no bigint, p_position bigint) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
BEGIN
  IF p_stream_no IS NULL THEN
    RETURN (SELECT coalesce(e.stored_at, e.created_at) FROM events e
             WHERE e.global_position > p_position ORDER BY e.global_position LIMIT 1);
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
       c.checkpoint, h.head,
       greatest(h.head - c.checkpoint, 0) AS lag_events,
       CASE WHEN h.head > c.checkpoint
            THEN coalesce(greatest(extract(epoch FROM clock_timestamp()
                   - :"schema".stored_after(h.stream_no, c.checkpoint)), 0), 0)
            ELSE 0 END::double precision AS lag_seconds,
       s.paused, l.last_error, l.attempts, s.created_at
  FROM :"schema".subscriptions s
  JOIN :"schema".positions p ON p.subscription_id = s.subscription_id
                            AND p.partition = 0 AND p.until IS NULL
  JOIN :"schema".leases l ON l.position_id = p.position_id
 CROSS JOIN LATERAL (
   SELECT clock_timestamp() BETWEEN l.renewed_at AND l.expires_at AS owned) v
 CROSS JOIN LATERAL :"schema".stream_head(s.stream_id) h
 CROSS JOIN LATERAL (
   SELECT CASE WHEN p.stream_no <> h.stream_no THEN 0 ELSE p.checkpoint END AS checkpoint) c;
