"""Mutants of the server-side append and of the protection of what is stored."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["APPENDING"]

_SCHEMA = "schema.sql"

_APPEND = "tests/conformance/port/test_append.py"
_DEADLINES = "tests/eventstore/postgres/test_deadlines.py"
_GROUPS = "tests/eventstore/postgres/test_group_failures.py"
_ISOLATION = "tests/eventstore/postgres/test_isolation.py"
_LISTENING = "tests/conformance/port/test_listening.py"
_ORDER = "tests/eventstore/postgres/test_order_under_load.py"
_PROTECTION = "tests/eventstore/postgres/test_protection.py"

APPENDING = (
    Mutant(
        name="no-write-lock",
        guarantee="G4",
        breaks="Two appends at once find the same head, and give out the same positions.",
        file=_SCHEMA,
        before="PERFORM 1 FROM write_lock WHERE one FOR UPDATE;",
        after="PERFORM 1 FROM write_lock WHERE one;",
        killers=(f"{_APPEND}::test_concurrent_appends_of_several_streams_stay_gapless",),
    ),
    Mutant(
        name="head-with-a-hole",
        guarantee="G3",
        breaks="Every append leaves a position out.",
        file=_SCHEMA,
        before="  RETURN v_head;",
        after="  RETURN v_head + 1;",
        killers=(f"{_APPEND}::test_events_get_their_places_in_stream_and_store",),
    ),
    Mutant(
        name="head-without-floor",
        guarantee="G3",
        breaks="The positions of a deleted tail are given out again.",
        file=_SCHEMA,
        before="SELECT coalesce(max(last_position), 0) INTO v_floor FROM tombstones;",
        after="v_floor := 0;",
        killers=(f"{_ORDER}::test_a_deleted_tail_is_never_given_out_again",),
    ),
    Mutant(
        name="any-isolation",
        guarantee="G4",
        breaks="In an older snapshot the head is from before the wait for the lock.",
        file=_SCHEMA,
        before="IF current_setting('transaction_isolation') <> 'read committed' THEN",
        after="IF false THEN",
        killers=(f"{_ORDER}::test_another_isolation_than_read_committed_is_refused",),
    ),
    Mutant(
        name="endless-wait-for-the-lock",
        guarantee="G25",
        breaks="A deadline that passes while an append waits leaves its outcome unknown.",
        file=_SCHEMA,
        before="PERFORM set_config('lock_timeout', greatest(p_wait_ms, 1) || 'ms', true);",
        after="",
        killers=(f"{_DEADLINES}::test_an_append_waits_for_the_lock_until_its_deadline",),
    ),
    Mutant(
        name="version-at-least",
        guarantee="G2",
        breaks="Who expects an older version overwrites a decision made since.",
        file=_SCHEMA,
        before="WHEN i.expected = i.version OR",
        after="WHEN i.expected BETWEEN 0 AND i.version OR",
        killers=(f"{_APPEND}::test_another_version_is_refused_with_the_one_found",),
    ),
    Mutant(
        name="stream-exists-unchecked",
        guarantee="G2",
        breaks="STREAM_EXISTS creates the stream.",
        file=_SCHEMA,
        before="OR i.expected = -2 AND i.stream_no IS NOT NULL THEN 0",
        after="OR i.expected = -2 THEN 0",
        killers=(f"{_APPEND}::test_a_refused_append_leaves_no_stream_behind",),
    ),
    Mutant(
        name="deleted-stream-appended-to",
        guarantee="G12",
        breaks="A deleted stream takes events again.",
        file=_SCHEMA,
        before="CASE WHEN i.deleted THEN 3",
        after="CASE WHEN false THEN 3",
        killers=(
            f"{_PROTECTION}::test_a_stream_marked_as_deleted_is_neither_read_nor_appended_to",
        ),
    ),
    Mutant(
        name="repetition-refused",
        guarantee="G6",
        breaks="An append that is repeated after a lost answer is told a wrong version.",
        file=_SCHEMA,
        before="v_look := v_statuses && ARRAY[2, 3];",
        after="v_look := false;",
        killers=(f"{_APPEND}::test_the_same_append_again_returns_the_first_result",),
    ),
    Mutant(
        name="repetition-in-part",
        guarantee="G6",
        breaks="An append of a stored event and a new one counts as stored: the new one is lost.",
        file=_SCHEMA,
        before="coalesce(stored.events = p.events AND stored.is_run, false)",
        after="coalesce(stored.is_run, false)",
        killers=(f"{_APPEND}::test_any_other_use_of_a_stored_id_is_refused",),
    ),
    Mutant(
        name="repetition-in-another-stream",
        guarantee="G6",
        breaks="Events stored in another stream count as stored in this one.",
        file=_SCHEMA,
        before="bool_and(e.stream_no = p_stream_nos[p.item])",
        after="true",
        killers=(f"{_APPEND}::test_any_other_use_of_a_stored_id_is_refused",),
    ),
    Mutant(
        name="repetition-with-a-gap",
        guarantee="G6",
        breaks="Events with others between them count as one append, with a wrong result.",
        file=_SCHEMA,
        before="""
             AND min(e.stream_version - p.nth) = max(e.stream_version - p.nth)
             AND min(e.global_position - p.nth) = max(e.global_position - p.nth) AS is_run""",
        after=" AS is_run",
        killers=(
            f"{_APPEND}::test_any_other_use_of_a_stored_id_is_refused",
            f"{_APPEND}::test_events_with_something_between_are_not_one_append",
        ),
    ),
    Mutant(
        name="repetition-with-others-between",
        guarantee="G6",
        breaks="Events of two appends, with others between, get a result that is not theirs.",
        file=_SCHEMA,
        before="""
             AND min(e.global_position - p.nth) = max(e.global_position - p.nth) AS is_run""",
        after=" AS is_run",
        killers=(f"{_APPEND}::test_events_with_something_between_are_not_one_append",),
    ),
    Mutant(
        name="used-id-overlooked",
        guarantee="G6",
        breaks="A used id is not refused as such.",
        file=_SCHEMA,
        before="WHEN i.used_id IS NOT NULL THEN 4",
        after="WHEN false THEN 4",
        killers=(f"{_APPEND}::test_any_other_use_of_a_stored_id_is_refused",),
    ),
    Mutant(
        name="append-in-part",
        guarantee="G9",
        breaks="Of an append to several streams the part that fits is stored alone.",
        file=_SCHEMA,
        before="WHEN i.status = 0 AND a.refused THEN 5",
        after="WHEN false THEN 5",
        killers=(f"{_APPEND}::test_several_streams_stand_or_fall_together",),
    ),
    Mutant(
        name="gap-of-a-refused-append",
        guarantee="G1",
        breaks="A refused append takes positions with it.",
        file=_SCHEMA,
        before="      IF v_statuses[i] = 0 THEN\n",
        after="      IF true THEN\n",
        killers=(f"{_APPEND}::test_a_refused_append_fails_none_of_its_commit",),
    ),
    Mutant(
        name="refused-events-stored",
        guarantee="G1",
        breaks="Events of a refused append are inserted, too, and fail the whole commit.",
        file=_SCHEMA,
        before="       WHERE v_statuses[p.item] = 0;",
        after="       WHERE true;",
        killers=(f"{_APPEND}::test_a_refused_append_fails_none_of_its_commit",),
    ),
    Mutant(
        name="stream-of-a-refused-append",
        guarantee="G1",
        breaks="A refused append leaves an empty stream behind, if a neighbour is stored.",
        file=_SCHEMA,
        before="IF p_stream_nos[i] IS NULL AND p_statuses[i] = 0 AND p_counts[i] > 0 THEN",
        after="IF p_stream_nos[i] IS NULL AND p_counts[i] > 0 THEN",
        killers=(f"{_GROUPS}::test_a_refused_append_among_others_leaves_no_stream_behind",),
    ),
    Mutant(
        name="used-id-fails-its-group",
        guarantee="G7",
        breaks="One used id in a group is an error of the whole commit.",
        file=_SCHEMA,
        before="IF v_look OR v_constraint <> 'events_event_id_key' THEN",
        after="IF true THEN",
        killers=(f"{_GROUPS}::test_a_used_id_fails_no_neighbour_that_is_as_expected",),
    ),
    Mutant(
        name="event-ids-not-unique",
        guarantee="G6",
        breaks="The same event is stored twice.",
        file=_SCHEMA,
        before="NOT NULL CONSTRAINT events_event_id_key UNIQUE,",
        after="NOT NULL,",
        killers=(f"{_PROTECTION}::test_an_event_id_is_stored_once",),
    ),
    Mutant(
        name="no-announcement",
        guarantee="G23",
        breaks="An append wakes nobody.",
        file=_SCHEMA,
        before="PERFORM pg_notify(current_schema || '_events', (v_head + v_total)::text);",
        after="NULL;",
        killers=(f"{_LISTENING}::test_an_append_wakes_a_listener_with_the_new_head",),
    ),
    Mutant(
        name="announcement-of-the-old-head",
        guarantee="G23",
        breaks="An append announces what was there before it.",
        file=_SCHEMA,
        before="(v_head + v_total)::text",
        after="v_head::text",
        killers=(f"{_LISTENING}::test_an_append_wakes_a_listener_with_the_new_head",),
    ),
    Mutant(
        name="events-updated",
        guarantee="G8",
        breaks="An UPDATE changes what was stored.",
        file=_SCHEMA,
        before='CREATE TRIGGER refuse_update BEFORE UPDATE OR TRUNCATE ON :"schema".events',
        after='CREATE TRIGGER refuse_update BEFORE TRUNCATE ON :"schema".events',
        killers=(f"{_PROTECTION}::test_a_change_of_what_was_stored_is_refused",),
    ),
    Mutant(
        name="hard-delete-left-behind",
        guarantee="G8",
        breaks="The permission of one hard delete is good for every later one of its session.",
        file=_SCHEMA,
        before="IS NOT DISTINCT FROM TG_TABLE_SCHEMA || ':' || pg_current_xact_id() THEN",
        after="LIKE TG_TABLE_SCHEMA || ':%' THEN",
        killers=(f"{_PROTECTION}::test_a_hard_delete_names_itself_for_one_transaction",),
    ),
    Mutant(
        name="lock-row-deleted",
        guarantee="G8",
        breaks="The row that every writer locks can be taken away.",
        file=_SCHEMA,
        before="""BEFORE UPDATE OR DELETE OR TRUNCATE ON :"schema".write_lock""",
        after="""BEFORE TRUNCATE ON :"schema".write_lock""",
        killers=(f"{_PROTECTION}::test_a_change_of_what_was_stored_is_refused",),
    ),
    Mutant(
        name="path-of-the-session",
        guarantee="G34",
        breaks="Temporary tables of the session shadow the store's.",
        file=_SCHEMA,
        before="""  SET search_path = :"schema", pg_temp
  SET jit = off""",
        after="""  SET search_path = pg_temp, :"schema"
  SET jit = off""",
        killers=(f"{_ISOLATION}::test_a_search_path_with_tables_of_the_same_name_is_never_used",),
    ),
)
