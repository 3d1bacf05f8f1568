"""What was measured to go wrong in other event stores on PostgreSQL, and that it does not here.

One row for each: who, what happens there, and the tests of ours that play the scenario. Those in
this folder were written for it; the others are promises of ours that had their tests already.
`tests/project/test_peers.py` holds that every one of them exists.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ROWS", "Row"]


class Row(NamedTuple):
    """A scenario."""

    who: str
    what: str
    tests: tuple[str, ...]
    note: str = ""
    """Why what happens there cannot happen here as it is, and what is tested instead."""


SKIPPED_EVENTS = "tests/acceptance/peers/test_skipped_events.py"
OWNERS = "tests/acceptance/peers/test_owners.py"
FENCES = "tests/acceptance/guarantees/test_fences.py"
RACING_APPENDS = "tests/acceptance/guarantees/test_racing_appends.py"
DELETES = "tests/acceptance/peers/test_deletes.py"
RAISING_USER_CODE = "tests/acceptance/guarantees/test_raising_user_code.py"
SILENT_STOPS = "tests/acceptance/peers/test_silent_stops.py"
GLOBAL_ORDER = "tests/acceptance/guarantees/test_global_order.py"
ORDER_UNDER_LOAD = "tests/eventstore/postgres/test_order_under_load.py"
RESTORE = "tests/acceptance/guarantees/test_restore.py"


def _named(file: str, name: str) -> tuple[str, ...]:
    return (f"{file}::{name}",)


ROWS = (
    Row(
        "commanded/eventstore 1.4.8",
        "a checkpoint timer that fires while a subscription is full loses events for ever",
        _named(
            SKIPPED_EVENTS,
            "test_checkpoints_stored_while_it_is_full_and_while_it_catches_up_skip_nothing",
        ),
    ),
    Row(
        "commanded/eventstore 1.4.8",
        "after the LISTEN backend was killed, an event waits for the next append",
        _named(
            SKIPPED_EVENTS,
            "test_an_event_appended_after_the_listening_backend_was_killed_needs_no_next_append",
        ),
    ),
    Row(
        "commanded/eventstore 1.4.8",
        "two owners at once, and the stale one moves the position back",
        _named(
            OWNERS,
            "test_an_ack_of_an_owner_whose_connections_were_cut_moves_nothing_after_a_takeover",
        )
        + _named(FENCES, "test_an_ack_that_reaches_the_database_after_the_takeover_does_not_count"),
    ),
    Row(
        "commanded/eventstore 1.4.8",
        "with two consumers the order of a key is broken",
        _named(
            OWNERS, "test_two_consumers_of_one_subscription_keep_the_order_of_every_key_in_flight"
        ),
        "A subscription has one consumer at a time; the second one waits and takes over.",
    ),
    Row(
        "commanded/eventstore 1.4.8",
        "two transactions over the same streams deadlock",
        _named(
            RACING_APPENDS,
            "test_appends_to_two_streams_in_changing_order_are_atomic_and_do_not_deadlock",
        ),
    ),
    Row(
        "commanded/eventstore 1.4.8",
        "an append that races a hard delete leaves orphans and a gap",
        _named(DELETES, "test_appends_that_race_a_hard_delete_leave_no_orphan_and_no_gap"),
        "The delete is plain SQL, as the schema foresees it; the API has none.",
    ),
    Row(
        "commanded/eventstore 1.4.8",
        "a busy loop when announced events are deleted before they are read",
        _named(
            DELETES, "test_announced_events_that_are_deleted_before_they_are_read_make_nobody_busy"
        ),
        "The delete is plain SQL, as the schema foresees it; the API has none.",
    ),
    Row(
        "commanded/eventstore 1.4.8",
        "a selector that raises, or a read that fails, ends a subscription silently",
        _named(RAISING_USER_CODE, "test_user_code_that_raises_harms_its_own_subscription_visibly")
        + _named(SILENT_STOPS, "test_a_read_that_fails_ends_no_subscription"),
    ),
    Row(
        "commanded/eventstore 1.4.8",
        "an acknowledgement of a locked row kills its caller",
        _named(OWNERS, "test_an_ack_while_the_row_of_the_subscription_is_locked_harms_nobody"),
    ),
    Row(
        "eventsourcing 9.5.6, DB functions",
        "a live subscription never sees some of what concurrent writers store",
        _named(
            GLOBAL_ORDER,
            "test_watchers_see_every_position_in_order_while_other_transactions_stay_open",
        )
        + _named(ORDER_UNDER_LOAD, "test_a_reader_that_follows_misses_nothing"),
    ),
    Row(
        "eventsource-py 0.8.1",
        "a third of the events of appends of several is lost",
        _named(
            GLOBAL_ORDER,
            "test_watchers_see_every_position_in_order_while_other_transactions_stay_open",
        ),
    ),
    Row(
        "python-event-sourcery 0.6.1",
        "an event still uncommitted right after the cursor is skipped",
        _named(
            SKIPPED_EVENTS, "test_an_event_uncommitted_right_behind_the_checkpoint_is_waited_for"
        ),
    ),
    Row(
        "Emmett (PostgreSQL)",
        "events of a stream arrive in the wrong order; a transaction idle in another database"
        " stalls every consumer",
        _named(
            GLOBAL_ORDER,
            "test_watchers_see_every_position_in_order_while_other_transactions_stay_open",
        ),
    ),
    Row(
        "Axon (JPA)",
        "an event is skipped if its transaction was open for longer than a gap may last",
        _named(
            SKIPPED_EVENTS,
            "test_transactions_that_stay_open_for_long_neither_hide_nor_delay_an_event",
        ),
    ),
    Row(
        "Marten before 2026-07",
        "a high-water mark that guesses at the gaps of a sequence skips events",
        _named(ORDER_UNDER_LOAD, "test_an_append_that_is_rolled_back_leaves_no_gap")
        + _named(GLOBAL_ORDER, "test_a_rolled_back_transaction_of_somebody_else_makes_no_gap"),
        "Positions come from no sequence, so there is no gap to guess at.",
    ),
    Row(
        "all PostgreSQL stores read by transaction id",
        "restored into a younger server, the order is broken",
        _named(RESTORE, "test_a_dump_in_a_younger_server_goes_on_where_it_was"),
    ),
)
