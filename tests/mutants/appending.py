"""Mutants of the server-side append and of the protection of what is stored."""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.places.changes import constant, remove, replace
from tests.mutants.places.python_place import function
from tests.mutants.places.sql_place import sql_function, sql_table, sql_trigger

__all__ = ["APPENDING"]

_APPEND = "tests/conformance/port/test_append.py"
_DEADLINES = "tests/eventstore/postgres/test_deadlines.py"
_GROUPS = "tests/eventstore/postgres/test_group_failures.py"
_ISOLATION = "tests/eventstore/postgres/test_isolation.py"
_ORDER = "tests/eventstore/postgres/test_order_under_load.py"
_PROTECTION = "tests/eventstore/postgres/test_protection.py"
_COSTS = "tests/eventstore/postgres/test_append_transactions.py"
_GONE = "tests/acceptance/guarantees/test_deletions.py"
_ROWS = "tests/conformance/port/test_subscription_rows.py"
_PROOF = "tests/eventstore/postgres/test_commit_proof.py"
_RENAMED = "tests/eventstore/postgres/test_renamed_schema.py"
_BEHIND = "tests/eventstore/postgres/test_sequences_behind.py"
_LINKING = "tests/conformance/test_linking.py"
_LINKED = "tests/conformance/subscriptions/test_linked_streams.py"
_DELETED = "tests/conformance/test_hard_deletes.py"
_REMOVED = "tests/eventstore/postgres/test_removed_events.py"

APPENDING = (
    Mutant(
        name="no-write-lock",
        guarantee="G4",
        breaks="Two appends at once find the same head, and give out the same positions.",
        where=sql_function("lock_head").statement("PERFORM 1 FROM write_lock").phrase("FOR UPDATE"),
        change=remove,
        killers=(f"{_APPEND}::test_concurrent_appends_of_several_streams_stay_gapless",),
    ),
    Mutant(
        name="head-with-a-hole",
        guarantee="G3",
        breaks="Every append leaves a position out.",
        where=sql_function("lock_head").statement("RETURN"),
        change=replace("{} + 1"),
        killers=(f"{_APPEND}::test_events_get_their_places_in_stream_and_store",),
    ),
    Mutant(
        name="head-without-floor",
        guarantee="G3",
        breaks="The positions of a deleted tail are given out again.",
        where=sql_function("lock_head").call("coalesce", mentioning="last_position"),
        change=constant(0),
        killers=(f"{_ORDER}::test_a_deleted_tail_is_never_given_out_again",),
    ),
    Mutant(
        name="any-isolation",
        guarantee="G4",
        breaks="In an older snapshot the head is from before the wait for the lock.",
        where=sql_function("lock_head").condition(mentioning="'transaction_isolation'"),
        change=constant(False),
        killers=(f"{_ORDER}::test_another_isolation_than_read_committed_is_refused",),
    ),
    Mutant(
        name="endless-wait-for-the-lock",
        guarantee="G25",
        breaks="A deadline that passes while an append waits leaves its outcome unknown.",
        where=sql_function("lock_head").statement("PERFORM set_config"),
        change=remove,
        killers=(f"{_DEADLINES}::test_an_append_waits_for_the_lock_until_its_deadline",),
    ),
    Mutant(
        name="version-at-least",
        guarantee="G2",
        breaks="Who expects an older version overwrites a decision made since.",
        where=sql_function("check_streams")
        .when(mentioning="i.expected")
        .alternative(mentioning="i.version"),
        change=replace("i.expected BETWEEN 0 AND i.version"),
        killers=(f"{_APPEND}::test_another_version_is_refused_with_the_one_found",),
    ),
    Mutant(
        name="stream-exists-unchecked",
        guarantee="G2",
        breaks="STREAM_EXISTS creates the stream.",
        where=sql_function("check_streams")
        .when(mentioning="i.expected")
        .alternative(mentioning="-2")
        .conjunct(mentioning="i.stream_no"),
        change=remove,
        killers=(f"{_APPEND}::test_a_refused_append_leaves_no_stream_behind",),
    ),
    Mutant(
        name="deleted-stream-appended-to",
        guarantee="G12",
        breaks="A deleted stream takes events again.",
        where=sql_function("check_streams").when(mentioning="i.deleted"),
        change=constant(False),
        killers=(
            f"{_PROTECTION}::test_a_stream_marked_as_deleted_is_neither_read_nor_appended_to",
        ),
    ),
    Mutant(
        name="repetition-refused",
        guarantee="G6",
        breaks="An append that is repeated after a lost answer is told a wrong version.",
        where=sql_function("append_events")
        .condition(mentioning="p_look")
        .alternative(mentioning="v_statuses"),
        change=remove,
        killers=(f"{_APPEND}::test_the_same_append_again_returns_the_first_result",),
    ),
    Mutant(
        name="asked-look-left-out",
        guarantee="G6",
        breaks="A used id is an error of the whole commit, also where it is looked up first.",
        where=sql_function("append_events")
        .condition(mentioning="p_look")
        .alternative(mentioning="p_look"),
        change=remove,
        killers=(f"{_GROUPS}::test_a_used_id_fails_no_neighbour_that_is_as_expected",),
    ),
    Mutant(
        name="repetition-in-part",
        guarantee="G6",
        breaks="An append of a stored event and a new one counts as stored: the new one is lost.",
        where=sql_function("check_event_ids")
        .call("coalesce")
        .argument(0)
        .conjunct(mentioning="p.events"),
        change=remove,
        killers=(f"{_APPEND}::test_any_other_use_of_a_stored_id_is_refused",),
    ),
    Mutant(
        name="repetition-in-another-stream",
        guarantee="G6",
        breaks="Events stored in another stream count as stored in this one.",
        where=sql_function("check_event_ids").column("is_run").conjunct(mentioning="e.stream_no"),
        change=remove,
        killers=(f"{_APPEND}::test_any_other_use_of_a_stored_id_is_refused",),
    ),
    Mutant(
        name="repetition-with-a-gap",
        guarantee="G6",
        breaks="Events with others between them count as one append, with a wrong result.",
        where=sql_function("check_event_ids").column("is_run"),
        change=replace("bool_and(e.stream_no = p_stream_nos[p.item])"),
        killers=(
            f"{_APPEND}::test_any_other_use_of_a_stored_id_is_refused",
            f"{_APPEND}::test_events_with_something_between_are_not_one_append",
        ),
    ),
    Mutant(
        name="repetition-with-others-between",
        guarantee="G6",
        breaks="Events of two appends, with others between, get a result that is not theirs.",
        where=sql_function("check_event_ids")
        .column("is_run")
        .conjunct(mentioning="e.global_position"),
        change=remove,
        killers=(f"{_APPEND}::test_events_with_something_between_are_not_one_append",),
    ),
    Mutant(
        name="used-id-overlooked",
        guarantee="G6",
        breaks="A used id is not refused as such.",
        where=sql_function("check_event_ids").when(mentioning="i.used_id"),
        change=constant(False),
        killers=(f"{_APPEND}::test_any_other_use_of_a_stored_id_is_refused",),
    ),
    Mutant(
        name="other-content-repeated",
        guarantee="G6",
        breaks="The same id with other data counts as stored: the other data is lost.",
        where=sql_function("append_events").condition(mentioning="ANY"),
        change=constant(False),
        killers=(f"{_APPEND}::test_a_stored_id_with_other_content_is_told_apart",),
    ),
    Mutant(
        name="append-in-part",
        guarantee="G9",
        breaks="Of an append to several streams the part that fits is stored alone.",
        where=sql_function("check_event_ids").when(mentioning="a.refused"),
        change=constant(False),
        killers=(f"{_APPEND}::test_several_streams_stand_or_fall_together",),
    ),
    Mutant(
        name="gap-of-a-refused-append",
        guarantee="G1",
        breaks="A refused append takes positions with it.",
        where=sql_function("append_events").condition(mentioning="i"),
        change=constant(True),
        killers=(f"{_APPEND}::test_a_refused_append_fails_none_of_its_commit",),
    ),
    Mutant(
        name="refused-events-stored",
        guarantee="G1",
        breaks="Events of a refused append are inserted, too, and fail the whole commit.",
        where=sql_function("append_events").statement("INSERT INTO events").where(),
        change=constant(True),
        killers=(f"{_APPEND}::test_a_refused_append_fails_none_of_its_commit",),
    ),
    Mutant(
        name="stream-of-a-refused-append",
        guarantee="G1",
        breaks="A refused append leaves an empty stream behind, if a neighbour is stored.",
        where=sql_function("create_streams")
        .condition(mentioning="p_statuses")
        .conjunct(mentioning="p_statuses"),
        change=remove,
        killers=(f"{_GROUPS}::test_a_refused_append_among_others_leaves_no_stream_behind",),
    ),
    Mutant(
        name="used-id-fails-its-group",
        guarantee="G7",
        breaks="One used id in a group is an error of the whole commit.",
        where=function("PostgresAppendSession.append.send").condition(),
        change=constant(True),
        killers=(f"{_GROUPS}::test_a_used_id_fails_no_neighbour_that_is_as_expected",),
    ),
    Mutant(
        name="event-ids-not-unique",
        guarantee="G6",
        breaks="The same event is stored twice.",
        where=sql_table("events").constraint("events_event_id_key"),
        change=remove,
        killers=(f"{_PROTECTION}::test_an_event_id_is_stored_once",),
    ),
    Mutant(
        name="version-floor-ignored-by-an-append",
        guarantee="G3",
        breaks="A stream whose newest event was removed gives its version out again.",
        where=sql_function("check_streams").call("greatest").argument(mentioning="version_floor"),
        change=constant(0),
        killers=(f"{_REMOVED}::test_a_removed_version_is_never_given_out_again",),
    ),
    Mutant(
        name="version-floor-ignored-by-a-head",
        guarantee="G3",
        breaks="Without its newest event a stream shows an older version than appends expect.",
        where=sql_function("stream_head").call("greatest").argument(mentioning="v_floor"),
        change=constant(0),
        killers=(f"{_REMOVED}::test_a_removed_version_is_never_given_out_again",),
    ),
    Mutant(
        name="unknown-event-linked",
        guarantee="G35",
        breaks="A link leaves out the events that do not exist.",
        where=sql_function("link_events").condition(mentioning="v_unknown"),
        change=constant(False),
        killers=(f"{_LINKING}::test_nothing_is_linked_if_one_event_cannot_be",),
    ),
    Mutant(
        name="own-event-linked",
        guarantee="G35",
        breaks="An event is linked to the stream that it was appended to.",
        where=sql_function("link_events").column("is_own"),
        change=constant(False),
        killers=(f"{_LINKING}::test_nothing_is_linked_if_one_event_cannot_be",),
    ),
    Mutant(
        name="links-not-looked-for",
        guarantee="G35",
        breaks="A subscription learns of a link with the next event of its stream only.",
        where=function("Looks._look").keyword("link_no"),
        change=constant(0),
        killers=(f"{_LINKED}::test_a_link_of_another_store_is_delivered",),
    ),
    Mutant(
        name="memory-hides-a-link",
        guarantee="G35",
        breaks="A subscription that read the newest event from memory misses the link after it.",
        where=function("SubscriptionReader.read").boolean("or").part(mentioning="announced"),
        change=constant(False),
        killers=(f"{_LINKED}::test_old_and_new_links_come_in_the_order_of_the_stream",),
    ),
    Mutant(
        name="linked-version-given-out-again",
        guarantee="G35",
        breaks="A stream whose newest link was erased gives its version out again.",
        where=sql_function("erase_events").statement("UPDATE streams"),
        change=remove,
        killers=(f"{_DELETED}::test_links_to_its_events_are_gone_and_their_versions_stay_used",),
    ),
    Mutant(
        name="deletions-without-a-number",
        guarantee="G13",
        breaks="A second deletion has the number of the first, and is refused.",
        where=sql_function("delete_stream").call("coalesce", mentioning="deletion_no"),
        change=constant(0),
        killers=(f"{_REMOVED}::test_each_deletion_has_a_higher_number",),
    ),
    Mutant(
        name="deletion-number-not-read",
        guarantee="G13",
        breaks="A process that holds deleted events in memory is not told to forget them.",
        where=function("Looks._look").keyword("deletion_no"),
        change=constant(0),
        killers=(f"{_REMOVED}::test_each_deletion_has_a_higher_number",),
    ),
    Mutant(
        name="format-not-stored",
        guarantee="G10",
        breaks="A payload is stored as JSON, whatever its serializer wrote.",
        where=sql_function("append_events")
        .statement("INSERT INTO events")
        .call("coalesce", mentioning="p.format"),
        change=replace("'json'"),
        killers=(f"{_APPEND}::test_the_format_of_a_payload_is_kept",),
    ),
    Mutant(
        name="time-of-the-caller-as-the-time-of-the-store",
        guarantee="G32",
        breaks="An event with a time of long ago shows a lag of as long.",
        where=sql_function("append_events")
        .statement("INSERT INTO events")
        .phrase("CASE WHEN p.created_at IS NOT NULL THEN v_now END"),
        change=constant(None),
        killers=(f"{_ROWS}::test_the_lag_is_the_age_of_the_oldest_event_to_come",),
    ),
    Mutant(
        name="events-updated",
        guarantee="G8",
        breaks="An UPDATE changes what was stored.",
        where=sql_trigger("refuse_update", on="events").phrase("UPDATE OR"),
        change=remove,
        killers=(f"{_PROTECTION}::test_a_change_of_what_was_stored_is_refused",),
    ),
    Mutant(
        name="hard-delete-left-behind",
        guarantee="G8",
        breaks="The permission of one hard delete is good for every later one of its session.",
        where=sql_function("refuse_delete").condition(),
        change=replace(
            "current_setting('eventstore.hard_delete', true) LIKE TG_TABLE_SCHEMA || ':%'"
        ),
        killers=(f"{_PROTECTION}::test_a_hard_delete_names_itself_for_one_transaction",),
    ),
    Mutant(
        name="lock-row-deleted",
        guarantee="G8",
        breaks="The row that every writer locks can be taken away.",
        where=sql_trigger("refuse_change", on="write_lock").phrase("UPDATE OR DELETE OR"),
        change=remove,
        killers=(f"{_PROTECTION}::test_a_change_of_what_was_stored_is_refused",),
    ),
    Mutant(
        name="identity-changed",
        guarantee="G8",
        breaks="The id that tells one store from another can be changed.",
        where=sql_trigger("refuse_change", on="store").phrase("UPDATE OR DELETE OR"),
        change=remove,
        killers=(f"{_PROTECTION}::test_a_change_of_what_was_stored_is_refused",),
    ),
    Mutant(
        name="path-of-the-session",
        guarantee="G34",
        breaks="Temporary tables of the session shadow the store's.",
        where=sql_function("append_events").setting("search_path"),
        change=replace('pg_temp, :"schema"'),
        killers=(f"{_ISOLATION}::test_a_search_path_with_tables_of_the_same_name_is_never_used",),
    ),
    Mutant(
        name="version-given-out-twice",
        guarantee="G3",
        breaks="The version of an event that was deleted for good is given to the next one.",
        where=sql_function("check_streams").call("greatest").argument(mentioning="version_floor"),
        change=replace("0"),
        killers=(f"{_GONE}::test_a_version_whose_event_or_link_is_gone_is_never_given_out_again",),
    ),
    Mutant(
        name="as-durable-as-the-session",
        guarantee="G5",
        breaks="With synchronous_commit off a success is reported before it is on the disk.",
        where=sql_function("secure_commit").condition(mentioning="'synchronous_commit'"),
        change=constant(False),
        killers=(f"{_PROOF}::test_a_weaker_level_of_the_session_is_raised_for_each_commit",),
    ),
    Mutant(
        name="whichever-store",
        guarantee="G34",
        breaks="An append lands in another store, which got the name while the append waited.",
        where=sql_function("append_events").statement("PERFORM refuse_store"),
        change=remove,
        killers=(f"{_RENAMED}::test_an_append_that_waits_during_a_renaming_lands_nowhere_else",),
    ),
    Mutant(
        name="number-of-the-sequence",
        guarantee="G29",
        breaks="After logical replication a new stream is refused: its number is in use.",
        where=sql_function("next_number").condition(),
        change=constant(False),
        killers=(f"{_BEHIND}::test_new_streams_get_numbers_that_nobody_has",),
    ),
    Mutant(
        name="looked-for-ever",
        guarantee="G6",
        breaks="After one duplicate id every append looks for its ids first.",
        where=function("PostgresAppendSession.append").assigned("_looks", mentioning="max"),
        change=replace("self._looks"),
        killers=(
            f"{_COSTS}::test_a_duplicate_id_takes_two_transaction_ids_and_the_next_99_commits_one",
        ),
    ),
)
