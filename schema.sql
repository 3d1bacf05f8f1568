-- The event store's schema, version 1: tables, protection, the append, subscriptions.
--
-- `eventstore init` installs it. By hand, into the schema of your choice:
--     psql -v ON_ERROR_STOP=1 --single-transaction -v schema=eventstore -f schema.sql
--
-- Everything lives in that one schema, so that several stores share a database. Functions find
-- their tables by their own search_path and never by the session's.


SET LOCAL search_path = pg_catalog, pg_temp;   -- what views and checks mean is settled here
SELECT set_config('eventstore.installing', :'schema', true);
DO $$
BEGIN
  IF to_regnamespace(quote_ident(current_setting('eventstore.installing'))) IS NULL THEN
    EXECUTE format('CREATE SCHEMA %I', current_setting('eventstore.installing'));
  END IF;
END $$;


-- ── tables ──────────────────────────────────────────────────────────────────────────────────────

-- One row per incarnation of a stream: created again after a hard delete, it gets a new number, and
-- its old subscribers start over. Its version is that of its newest event or link, not stored here.
CREATE TABLE :"schema".streams (
  stream_no   bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT streams_pkey PRIMARY KEY,
  stream_id   text COLLATE "C" NOT NULL
              CONSTRAINT streams_stream_id_key UNIQUE
              CONSTRAINT streams_stream_id_size CHECK (octet_length(stream_id) BETWEEN 1 AND 1000)
              CONSTRAINT streams_stream_id_not_reserved CHECK (NOT starts_with(stream_id, '$')),
  created_at  timestamptz NOT NULL,
  deleted_at  timestamptz
);

-- No foreign key to streams: it would cost a third of the throughput, and append_events is the only
-- writer. Payloads are read whole and compress badly row by row, hence EXTERNAL.
CREATE TABLE :"schema".events (
  global_position  bigint      CONSTRAINT events_pkey PRIMARY KEY
                               CONSTRAINT events_global_position_positive CHECK (global_position > 0),
  stream_no        bigint      NOT NULL,
  stream_version   bigint      NOT NULL
                               CONSTRAINT events_stream_version_positive CHECK (stream_version > 0),
  created_at       timestamptz NOT NULL,
  event_id         uuid        NOT NULL CONSTRAINT events_event_id_key UNIQUE,
  causation_id     uuid,
  correlation_id   uuid,
  event_type       text COLLATE "C" NOT NULL
                   CONSTRAINT events_event_type_size CHECK (octet_length(event_type) BETWEEN 1 AND 1000),
  data             bytea       NOT NULL,
  metadata         bytea,
  CONSTRAINT events_stream_version_key UNIQUE (stream_no, stream_version)
);
ALTER TABLE :"schema".events ALTER COLUMN data SET STORAGE EXTERNAL,
                             ALTER COLUMN metadata SET STORAGE EXTERNAL;

-- An event that also appears in another stream. Links take versions of the stream they are in.
CREATE TABLE :"schema".links (
  stream_no        bigint NOT NULL CONSTRAINT links_stream_no_fkey REFERENCES :"schema".streams,
  stream_version   bigint NOT NULL CONSTRAINT links_stream_version_positive CHECK (stream_version > 0),
  global_position  bigint NOT NULL CONSTRAINT links_global_position_fkey REFERENCES :"schema".events,
  CONSTRAINT links_pkey PRIMARY KEY (stream_no, stream_version),
  CONSTRAINT links_event_once_per_stream UNIQUE (global_position, stream_no)
);

-- Runs of positions whose events were deleted. The greatest is the floor of the head: a deleted
-- tail is never given out again.
CREATE TABLE :"schema".tombstones (
  last_position   bigint      CONSTRAINT tombstones_pkey PRIMARY KEY,
  first_position  bigint      NOT NULL,
  stream_id       text COLLATE "C" NOT NULL,
  deleted_at      timestamptz NOT NULL,
  CONSTRAINT tombstones_range CHECK (0 < first_position AND first_position <= last_position)
);

-- The one row that every writer locks and nobody ever updates: it cannot bloat, whatever old
-- snapshots the server holds. Who has it may give out positions.
CREATE TABLE :"schema".write_lock (
  one boolean CONSTRAINT write_lock_pkey PRIMARY KEY CONSTRAINT write_lock_one_row CHECK (one)
);
INSERT INTO :"schema".write_lock VALUES (true);

-- One row with a random id: it proves that two connections mean the same store.
CREATE TABLE :"schema".store (
  one       boolean NOT NULL DEFAULT true
            CONSTRAINT store_pkey PRIMARY KEY CONSTRAINT store_one_row CHECK (one),
  store_id  uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO :"schema".store DEFAULT VALUES;

-- Rows are updated in place all the time: room on the page keeps those updates out of the indexes.
CREATE TABLE :"schema".subscriptions (
  subscription_id    bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT subscriptions_pkey PRIMARY KEY,
  stream_id          text COLLATE "C" NOT NULL     -- "$all": every stream
                     CONSTRAINT subscriptions_stream_id_size
                     CHECK (octet_length(stream_id) BETWEEN 1 AND 1000),
  subscription_name  text COLLATE "C" NOT NULL
                     CONSTRAINT subscriptions_name_size
                     CHECK (octet_length(subscription_name) BETWEEN 1 AND 1000),
  stream_no          bigint,                       -- the incarnation that checkpoint counts in
  checkpoint         bigint  NOT NULL CONSTRAINT subscriptions_checkpoint CHECK (checkpoint >= 0),
  start_from         bigint,                       -- the first one, if asked for: may be to come
  paused             boolean NOT NULL DEFAULT false,
  owner              uuid,                         -- with epoch and subscription_id: the fence
  owner_name         text,
  epoch              bigint  NOT NULL DEFAULT 0,
  owned_since        timestamptz,
  renewed_at         timestamptz,
  expires_at         timestamptz,
  state              text    NOT NULL DEFAULT 'waiting',
  last_error         text,
  attempts           integer NOT NULL DEFAULT 0,
  created_at         timestamptz NOT NULL,
  CONSTRAINT subscriptions_name_key UNIQUE (stream_id, subscription_name),
  CONSTRAINT subscriptions_owner_complete CHECK (
    num_nulls(owner, owner_name, owned_since, renewed_at, expires_at) IN (0, 5))
) WITH (fillfactor = 50);

-- A row per version that was ever installed here. Code of a schema version between compatible_with
-- and version may use this schema, so that old and new code run side by side while it changes.
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

-- A hard delete names itself with a setting that is good for one transaction in one schema, so that
-- none can stay behind in a session.
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
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON :"schema".write_lock
  EXECUTE FUNCTION :"schema".refuse_change();


-- ── appending ───────────────────────────────────────────────────────────────────────────────────

-- Waits for the write lock, at most p_wait_ms, and returns the head: the newest position, which
-- nobody else can move until this transaction ends. Everything that gives out or takes away
-- positions starts here, hence in one order, hence without deadlocks.
--
-- The lock and the head are two statements in a VOLATILE function on purpose: each sees what was
-- committed before it. In one statement, or in an older snapshot, the head would be from before
-- the wait.
CREATE FUNCTION :"schema".lock_head(p_wait_ms integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
DECLARE
  v_floor bigint;
  v_head  bigint;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'the event store writes under read committed only, not under %',
      current_setting('transaction_isolation') USING ERRCODE = 'ES010';
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

-- Finds the streams and says of each, in order, whether it is as expected: 0 it is, 2 it is at
-- another version, 3 it was deleted. A missing stream has no number and version 0.
--
-- LATERAL ... LIMIT 1 forces the index. A plain join is planned as a hash of the whole table while
-- that is small, and that plan stays.
CREATE FUNCTION :"schema".check_streams(
  p_stream_ids text[], p_expected bigint[],
  OUT stream_nos bigint[], OUT versions bigint[], OUT statuses integer[]
) LANGUAGE plpgsql STABLE SET search_path = :"schema", pg_temp AS $$
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
               0) AS version
        FROM unnest(p_stream_ids, p_expected) WITH ORDINALITY p(stream_id, expected, item)
        LEFT JOIN LATERAL (
          SELECT * FROM streams WHERE streams.stream_id = p.stream_id LIMIT 1) s ON true) i;
END $$;

-- Looks up the event ids and judges the appends whole: 1 the same append was stored before (same
-- ids, stream and order, consecutive), 4 an id is stored elsewhere, 5 this item fits but another one
-- of its append does not. Other statuses stay. first_versions and first_positions are those of what
-- was stored before.
CREATE FUNCTION :"schema".check_event_ids(
  p_append integer[], p_counts integer[], p_stream_nos bigint[],
  p_item integer[], p_nth integer[], p_event_ids uuid[],
  INOUT statuses integer[],
  OUT first_versions bigint[], OUT first_positions bigint[], OUT used_ids uuid[]
) LANGUAGE plpgsql STABLE SET search_path = :"schema", pg_temp AS $$
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

-- Creates the missing streams of what will be stored, and returns every item's stream number.
CREATE FUNCTION :"schema".create_streams(
  p_stream_ids text[], p_counts integer[], p_statuses integer[], p_created timestamptz[],
  p_now timestamptz, p_stream_nos bigint[]
) RETURNS bigint[] LANGUAGE plpgsql VOLATILE SET search_path = :"schema", pg_temp AS $$
DECLARE
  v_stream_nos bigint[] := p_stream_nos;
BEGIN
  IF array_position(p_stream_nos, NULL) IS NULL THEN
    RETURN p_stream_nos;
  END IF;
  FOR i IN 1 .. cardinality(p_stream_ids) LOOP
    IF p_stream_nos[i] IS NULL AND p_statuses[i] = 0 AND p_counts[i] > 0 THEN
      v_stream_nos[i] := nextval('streams_stream_no_seq');
    END IF;
  END LOOP;
  INSERT INTO streams (stream_no, stream_id, created_at) OVERRIDING SYSTEM VALUE
  SELECT p.stream_no, p.stream_id, coalesce(p.created_at, p_now)
    FROM unnest(v_stream_nos, p_stream_nos, p_stream_ids, p_created)
           p(stream_no, existing_no, stream_id, created_at)
   WHERE p.existing_no IS NULL AND p.stream_no IS NOT NULL;
  RETURN v_stream_nos;
END $$;

-- Stores several appends in one commit, each standing or falling on its own and as a whole.
--
-- An append is one or more items; an item is one stream of it, with its events, or with none if the
-- stream is only checked. Streams and event ids must be distinct within a call.
--   per item:  p_append     number of the append it belongs to
--              p_expected   version the stream must be at, -1 any, -2 it exists
--              p_counts     how many events
--              p_stream_created  created_at of the stream if it is new, null: now
--   per event: p_item, p_nth     its item, and its place in there: 1, 2, 3 ...
--              p_created         null: now
--
-- Returns a row per item, in order:
--   status          0 stored                            first_version, first_position: where
--                   1 stored before, by the same append first_version, first_position: where
--                   2 wrong version                     version: the one found
--                   3 the stream was deleted
--                   4 an event id is used elsewhere     used_id: which
--                   5 fits, but its append was refused for another item
--   version         of the stream before this call; the one found for a stream only checked
--   stored_at       what events without p_created carry
CREATE FUNCTION :"schema".append_events(
  p_wait_ms integer,
  p_append integer[], p_stream_ids text[], p_expected bigint[], p_counts integer[],
  p_stream_created timestamptz[],
  p_item integer[], p_nth integer[], p_event_ids uuid[], p_event_types text[],
  p_data bytea[], p_metadata bytea[], p_causation_ids uuid[], p_correlation_ids uuid[],
  p_created timestamptz[]
) RETURNS TABLE (
  status integer, first_version bigint, first_position bigint, version bigint, used_id uuid,
  stored_at timestamptz
) LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET jit = off           -- costs 10 ms per commit
  SET plan_cache_mode = force_generic_plan    -- else planned anew by every call: 70 us
  SET enable_seqscan = off    -- the plan stays when tables that were small have grown
  SET lock_timeout = 0    -- restores the caller's when lock_head has set its own
AS $$
DECLARE
  v_head       bigint := lock_head(p_wait_ms);
  v_now        timestamptz := clock_timestamp();   -- after the lock: times follow positions
  v_look       boolean;
  v_statuses   integer[];
  v_stream_nos bigint[];
  v_targets    bigint[];     -- v_stream_nos and the numbers of new streams
  v_versions   bigint[];     -- of each item's stream, before it
  v_positions  bigint[];     -- the newest before each item
  v_total      bigint;       -- events that will be stored
  v_first_versions  bigint[];
  v_first_positions bigint[];
  v_used_ids   uuid[];
  v_constraint text;
BEGIN
  SELECT * INTO v_stream_nos, v_versions, v_statuses FROM check_streams(p_stream_ids, p_expected);

  -- Event ids are looked up only after a refusal or a duplicate key: looking first costs a tenth.
  v_look := v_statuses && ARRAY[2, 3];
  LOOP
    IF v_look THEN
      SELECT * INTO v_statuses, v_first_versions, v_first_positions, v_used_ids
        FROM check_event_ids(p_append, p_counts, v_stream_nos, p_item, p_nth, p_event_ids, v_statuses);
    END IF;

    -- Places are counted over what stands, so a refused append leaves no gap.
    v_total := 0;
    FOR i IN 1 .. coalesce(cardinality(p_counts), 0) LOOP
      v_positions[i] := v_head + v_total;
      IF v_statuses[i] = 0 THEN
        v_total := v_total + p_counts[i];
      END IF;
    END LOOP;
    EXIT WHEN v_total = 0;

    BEGIN
      v_targets := create_streams(
        p_stream_ids, p_counts, v_statuses, p_stream_created, v_now, v_stream_nos);
      INSERT INTO events (global_position, stream_no, stream_version, created_at, event_id,
                          causation_id, correlation_id, event_type, data, metadata)
      SELECT v_positions[p.item] + p.nth, v_targets[p.item], v_versions[p.item] + p.nth,
             coalesce(p.created_at, v_now), p.event_id,
             p.causation_id, p.correlation_id, p.event_type, p.data, p.metadata
        FROM unnest(p_item, p_nth, p_created, p_event_ids, p_causation_ids, p_correlation_ids,
                    p_event_types, p_data, p_metadata)
             p(item, nth, created_at, event_id, causation_id, correlation_id,
               event_type, data, metadata)
       WHERE v_statuses[p.item] = 0;
      EXIT;
    EXCEPTION WHEN unique_violation THEN
      GET STACKED DIAGNOSTICS v_constraint = CONSTRAINT_NAME;
      IF v_look OR v_constraint <> 'events_event_id_key' THEN
        RAISE;
      END IF;
      v_look := true;
    END;
  END LOOP;

  IF v_total > 0 THEN
    PERFORM pg_notify(current_schema || '_events', (v_head + v_total)::text);
  END IF;
  RETURN QUERY
    SELECT v_statuses[i],
           CASE WHEN v_statuses[i] = 0 THEN v_versions[i] + 1 ELSE v_first_versions[i] END,
           CASE WHEN v_statuses[i] = 0 THEN v_positions[i] + 1 ELSE v_first_positions[i] END,
           v_versions[i], v_used_ids[i], v_now
      FROM generate_subscripts(p_stream_ids, 1) i;
END $$;


-- ── reading ─────────────────────────────────────────────────────────────────────────────────────

-- The newest position ever given out, or 0.
CREATE FUNCTION :"schema".store_head() RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = :"schema", pg_temp AS $$
BEGIN
  RETURN greatest((SELECT max(global_position) FROM events),
                  (SELECT max(last_position) FROM tombstones), 0);
END $$;

-- A stream's number and version; null and 0 if it does not exist. For "$all": null, and the head.
CREATE FUNCTION :"schema".stream_head(p_stream_id text, OUT stream_no bigint, OUT head bigint)
LANGUAGE plpgsql STABLE SET search_path = :"schema", pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
  IF p_stream_id = '$all' THEN
    head := store_head();
  ELSE
    SELECT s.stream_no INTO stream_head.stream_no FROM streams s WHERE s.stream_id = p_stream_id;
    head := greatest((SELECT max(e.stream_version) FROM events e
                       WHERE e.stream_no = stream_head.stream_no),
                     (SELECT max(l.stream_version) FROM links l
                       WHERE l.stream_no = stream_head.stream_no), 0);
  END IF;
END $$;

-- A payload for people: JSON as jsonb, what jsonb does not take as a string, the rest escaped.
-- Never fails; null if it is too long even for that.
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
-- A subscription belongs to who may write its checkpoint: a lease that is renewed, guarded by a
-- fence of three, subscription_id and owner and epoch. Whoever does not match all three changes
-- nothing; that, and no clock, is what keeps a stale owner out. Taking over, resetting and a new
-- incarnation of the stream each raise the epoch.

-- Bounds the waits of the calling function, which has SET lock_timeout, for locks on rows.
CREATE FUNCTION :"schema".bound_waits(p_wait_ms integer) RETURNS void LANGUAGE sql VOLATILE AS $$
  SELECT set_config('lock_timeout', greatest(p_wait_ms, 1) || 'ms', true);
$$;

-- Tells every process at once that a subscription changed hands or was changed from outside.
CREATE FUNCTION :"schema".announce_subscription(p_subscription_id bigint) RETURNS void
LANGUAGE sql VOLATILE SET search_path = :"schema", pg_temp AS $$
  SELECT pg_notify(current_schema || '_events', 's' || p_subscription_id);
$$;

-- Finds or creates a subscription and takes it over if it is free: released, or its lease ran out
-- by this clock, or it is still as the caller watched it, unchanged for a lease by its own clock.
-- p_start is where a new one starts: after this position, or after the head if null.
CREATE FUNCTION :"schema".claim_subscription(
  p_wait_ms integer, p_stream_id text, p_name text, p_start bigint,
  p_owner uuid, p_owner_name text, p_lease double precision,
  p_watched_owner uuid, p_watched_epoch bigint, p_watched_renewal timestamptz
) RETURNS TABLE (
  granted boolean, created boolean, subscription_id bigint, owner uuid, epoch bigint,
  checkpoint bigint, head bigint, paused boolean,
  owner_name text, owned_since timestamptz, renewed_at timestamptz
) LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
AS $$
#variable_conflict use_column
DECLARE
  v_row     subscriptions;
  v_stream  record;
  v_now     timestamptz;
  v_created boolean := false;
BEGIN
  PERFORM bound_waits(p_wait_ms);
  LOOP
    SELECT * INTO v_row FROM subscriptions s
     WHERE s.stream_id = p_stream_id AND s.subscription_name = p_name FOR UPDATE;
    EXIT WHEN FOUND;
    SELECT * INTO v_stream FROM stream_head(p_stream_id);
    INSERT INTO subscriptions
           (stream_id, subscription_name, stream_no, checkpoint, start_from, created_at)
    VALUES (p_stream_id, p_name, v_stream.stream_no, coalesce(p_start, v_stream.head), p_start,
            clock_timestamp())
    ON CONFLICT (stream_id, subscription_name) DO NOTHING;
    v_created := FOUND;
  END LOOP;

  -- Both after the row is locked: nobody else moves the row on while we look at the stream.
  v_now := clock_timestamp();
  SELECT * INTO v_stream FROM stream_head(p_stream_id);

  IF v_row.owner IS NULL OR v_row.owner = p_owner OR v_row.expires_at <= v_now
     OR (v_row.owner, v_row.epoch, v_row.renewed_at)
        = (p_watched_owner, p_watched_epoch, p_watched_renewal) THEN
    UPDATE subscriptions s
       SET owner = p_owner, owner_name = p_owner_name,
           epoch = s.epoch + CASE WHEN s.owner = p_owner THEN 0 ELSE 1 END,
           owned_since = CASE WHEN s.owner = p_owner THEN s.owned_since ELSE v_now END,
           renewed_at = v_now, expires_at = v_now + make_interval(secs => p_lease),
           stream_no = coalesce(v_stream.stream_no, s.stream_no),
           checkpoint = CASE WHEN s.stream_no <> v_stream.stream_no THEN 0 ELSE s.checkpoint END
     WHERE s.subscription_id = v_row.subscription_id
    RETURNING * INTO v_row;
  END IF;
  RETURN QUERY SELECT v_row.owner = p_owner, v_created, v_row.subscription_id, v_row.owner,
                      v_row.epoch, v_row.checkpoint, v_stream.head, v_row.paused,
                      v_row.owner_name, v_row.owned_since, v_row.renewed_at;
END $$;

-- Stores what a runtime knows of its subscriptions, and renews their leases or, with p_lease null,
-- ends the ownership. Returns what their rows say then: item is the place in the arrays; owned is
-- false where the fence does not match or the row is gone.
--
-- Rows are locked in the order of their ids, so that two calls cannot deadlock. With p_skip_locked a
-- row that somebody else has locked is passed over and left out of the answer: it must not cost the
-- others their lease.
CREATE FUNCTION :"schema".keep_subscriptions(
  p_wait_ms integer, p_skip_locked boolean, p_lease double precision,
  p_ids bigint[], p_owners uuid[], p_epochs bigint[],
  p_checkpoints bigint[], p_states text[], p_errors text[], p_attempts integer[]
) RETURNS TABLE (item bigint, owned boolean, checkpoint bigint, paused boolean)
LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
AS $$
#variable_conflict use_column
DECLARE
  v_locked bigint[];
  v_head   bigint;
  v_now    timestamptz;
BEGIN
  PERFORM bound_waits(p_wait_ms);
  IF p_skip_locked THEN
    SELECT array_agg(l.subscription_id) INTO v_locked
      FROM (SELECT s.subscription_id FROM subscriptions s WHERE s.subscription_id = ANY (p_ids)
             ORDER BY s.subscription_id FOR UPDATE SKIP LOCKED) l;
  ELSE
    SELECT array_agg(l.subscription_id) INTO v_locked
      FROM (SELECT s.subscription_id FROM subscriptions s WHERE s.subscription_id = ANY (p_ids)
             ORDER BY s.subscription_id FOR UPDATE) l;
  END IF;
  v_now := clock_timestamp();
  v_head := store_head();

  -- A stream that was deleted for good and created again is another one: start over, and fence.
  UPDATE subscriptions s
     SET stream_no = n.stream_no, checkpoint = 0, epoch = s.epoch + 1, owner = NULL,
         owner_name = NULL, owned_since = NULL, renewed_at = NULL, expires_at = NULL
    FROM subscriptions r CROSS JOIN LATERAL stream_head(r.stream_id) n
   WHERE r.subscription_id = ANY (v_locked) AND r.stream_id <> '$all'
     AND s.subscription_id = r.subscription_id AND s.stream_no <> n.stream_no;

  UPDATE subscriptions s
     SET stream_no = coalesce(s.stream_no, n.stream_no),
         checkpoint = CASE WHEN p.checkpoint > s.checkpoint AND p.checkpoint <= n.head
                           THEN p.checkpoint ELSE s.checkpoint END,
         state = p.state, last_error = p.last_error, attempts = p.attempts,
         renewed_at = v_now,
         expires_at = coalesce(v_now + make_interval(secs => p_lease), s.expires_at)
    FROM unnest(p_ids, p_owners, p_epochs, p_checkpoints, p_states, p_errors, p_attempts)
           p(id, owner, epoch, checkpoint, state, last_error, attempts)
    JOIN subscriptions r ON r.subscription_id = p.id
   CROSS JOIN LATERAL (
      SELECT NULL::bigint, v_head WHERE r.stream_id = '$all'
      UNION ALL SELECT * FROM stream_head(r.stream_id) WHERE r.stream_id <> '$all') n(stream_no, head)
   WHERE s.subscription_id = p.id AND s.subscription_id = ANY (v_locked)
     AND s.owner = p.owner AND s.epoch = p.epoch;

  IF p_lease IS NULL THEN
    UPDATE subscriptions s
       SET owner = NULL, owner_name = NULL, owned_since = NULL, renewed_at = NULL, expires_at = NULL
      FROM unnest(p_ids, p_owners, p_epochs) p(id, owner, epoch)
     WHERE s.subscription_id = p.id AND s.subscription_id = ANY (v_locked)
       AND s.owner = p.owner AND s.epoch = p.epoch;
    PERFORM announce_subscription(id) FROM unnest(v_locked) l(id);
  END IF;

  RETURN QUERY
    SELECT p.item, coalesce(s.owner = p.owner AND s.epoch = p.epoch, false),
           coalesce(s.checkpoint, 0), coalesce(s.paused, false)
      FROM unnest(p_ids, p_owners, p_epochs) WITH ORDINALITY p(id, owner, epoch, item)
      LEFT JOIN subscriptions s ON s.subscription_id = p.id
     WHERE s.subscription_id IS NULL OR s.subscription_id = ANY (v_locked);
END $$;

-- Pauses or resumes; returns the subscription's id, or null if there is none.
CREATE FUNCTION :"schema".pause_subscription(
  p_wait_ms integer, p_stream_id text, p_name text, p_paused boolean
) RETURNS bigint LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
AS $$
DECLARE
  v_id bigint;
BEGIN
  PERFORM bound_waits(p_wait_ms);
  UPDATE subscriptions SET paused = p_paused
   WHERE stream_id = p_stream_id AND subscription_name = p_name
  RETURNING subscription_id INTO v_id;
  PERFORM announce_subscription(v_id) WHERE v_id IS NOT NULL;
  RETURN v_id;
END $$;

-- Sets the checkpoint and fences the owner, unless p_position is beyond the head. Returns the
-- subscription's id, or null if there is none, and the head.
CREATE FUNCTION :"schema".reset_subscription(
  p_wait_ms integer, p_stream_id text, p_name text, p_position bigint,
  OUT subscription_id bigint, OUT head bigint
) LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
AS $$
#variable_conflict use_column
DECLARE
  v_stream record;
BEGIN
  PERFORM bound_waits(p_wait_ms);
  SELECT s.subscription_id INTO reset_subscription.subscription_id FROM subscriptions s
   WHERE s.stream_id = p_stream_id AND s.subscription_name = p_name FOR UPDATE;
  SELECT * INTO v_stream FROM stream_head(p_stream_id);
  head := v_stream.head;
  UPDATE subscriptions s
     SET stream_no = coalesce(v_stream.stream_no, s.stream_no), checkpoint = p_position,
         epoch = s.epoch + 1, owner = NULL, owner_name = NULL, owned_since = NULL,
         renewed_at = NULL, expires_at = NULL, last_error = NULL, attempts = 0
   WHERE s.subscription_id = reset_subscription.subscription_id AND p_position <= v_stream.head;
  PERFORM announce_subscription(reset_subscription.subscription_id) WHERE FOUND;
END $$;

-- Forgets a subscription, which fences its owner: ids are never used again. Returns the id, or null.
CREATE FUNCTION :"schema".delete_subscription(
  p_wait_ms integer, p_stream_id text, p_name text
) RETURNS bigint LANGUAGE plpgsql VOLATILE
  SET search_path = :"schema", pg_temp
  SET lock_timeout = 0
AS $$
DECLARE
  v_id bigint;
BEGIN
  PERFORM bound_waits(p_wait_ms);
  DELETE FROM subscriptions WHERE stream_id = p_stream_id AND subscription_name = p_name
  RETURNING subscription_id INTO v_id;
  PERFORM announce_subscription(v_id) WHERE v_id IS NOT NULL;
  RETURN v_id;
END $$;

-- When the first event after a position was created; null if there is none.
CREATE FUNCTION :"schema".created_after(p_stream_no bigint, p_position bigint) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = :"schema", pg_temp AS $$
BEGIN
  IF p_stream_no IS NULL THEN
    RETURN (SELECT e.created_at FROM events e WHERE e.global_position > p_position
             ORDER BY e.global_position LIMIT 1);
  END IF;
  RETURN (
    SELECT f.created_at FROM (
      (SELECT e.stream_version, e.created_at FROM events e
        WHERE e.stream_no = p_stream_no AND e.stream_version > p_position
        ORDER BY e.stream_version LIMIT 1)
      UNION ALL
      (SELECT l.stream_version, e.created_at FROM links l JOIN events e USING (global_position)
        WHERE l.stream_no = p_stream_no AND l.stream_version > p_position
        ORDER BY l.stream_version LIMIT 1)
      ORDER BY stream_version LIMIT 1) f);
END $$;

-- Every subscription as of one moment. Without a living owner it is waiting, or stopped.
CREATE VIEW :"schema".subscription_status AS
SELECT s.subscription_id, s.stream_id, s.subscription_name,
       CASE WHEN s.expires_at > clock_timestamp() THEN s.owner_name END AS owner,
       CASE WHEN s.expires_at > clock_timestamp() THEN s.owned_since END AS owned_since,
       s.epoch,
       CASE WHEN s.expires_at > clock_timestamp() OR s.state = 'stopped' THEN s.state
            ELSE 'waiting' END AS state,
       c.checkpoint, h.head,
       greatest(h.head - c.checkpoint, 0) AS lag_events,
       CASE WHEN h.head > c.checkpoint
            THEN coalesce(greatest(extract(epoch FROM clock_timestamp()
                   - :"schema".created_after(h.stream_no, c.checkpoint)), 0), 0)
            ELSE 0 END::double precision AS lag_seconds,
       s.paused, s.last_error, s.attempts, s.created_at
  FROM :"schema".subscriptions s
 CROSS JOIN LATERAL :"schema".stream_head(s.stream_id) h
 CROSS JOIN LATERAL (
   SELECT CASE WHEN s.stream_no <> h.stream_no THEN 0 ELSE s.checkpoint END AS checkpoint) c;
