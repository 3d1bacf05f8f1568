"""Mutants of effects that happen exactly once."""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.places.changes import constant, remove
from tests.mutants.places.python_place import function
from tests.mutants.places.sql_place import sql_function

__all__ = ["SETTLING"]

_CALLERS = "tests/conformance/subscriptions/test_callers_checkpoints.py"
_EFFECTS = "tests/eventstore/postgres/test_effects.py"
_FAILOVER = "tests/acceptance/guarantees/test_failover.py"
_OWNERSHIP = "tests/conformance/port/test_ownership.py"
_PROCESSING = "tests/conformance/subscriptions/test_processing.py"
_TRANSACTIONAL = "tests/conformance/subscriptions/test_transactional.py"

SETTLING = (
    Mutant(
        name="effects-of-an-earlier-epoch",
        guarantee="G39",
        breaks="Whoever lost the subscription, and has it again, commits what it wrote before.",
        where=sql_function("move_fenced")
        .statement("UPDATE positions")
        .where()
        .conjunct(mentioning="epoch"),
        change=remove,
        killers=(f"{_EFFECTS}::test_a_fence_must_match_in_all_three",),
    ),
    Mutant(
        name="effects-of-another-owner",
        guarantee="G39",
        breaks="Another owner with the same number of epoch commits what it wrote.",
        where=sql_function("move_fenced")
        .statement("UPDATE positions")
        .where()
        .conjunct(mentioning="owner"),
        change=remove,
        killers=(f"{_EFFECTS}::test_a_fence_must_match_in_all_three",),
    ),
    Mutant(
        name="effects-twice",
        guarantee="G39",
        breaks="Events that another transaction has handled are handled again.",
        where=sql_function("move_fenced")
        .statement("UPDATE positions")
        .where()
        .conjunct(mentioning="p_most"),
        change=remove,
        killers=(f"{_EFFECTS}::test_what_was_handled_is_not_handled_again",),
    ),
    Mutant(
        name="effects-beyond-the-head",
        guarantee="G39",
        breaks="Effects of events that the database has lost commit, and count for those to come.",
        where=sql_function("move_fenced")
        .statement("UPDATE positions")
        .where()
        .conjunct(mentioning="head_of_subscription"),
        change=remove,
        killers=(
            f"{_EFFECTS}::test_a_caller_stores_no_checkpoint_of_events_that_the_database_lost",
        ),
    ),
    Mutant(
        name="lost-and-ended",
        guarantee="G39",
        breaks="A subscription whose events the database has lost stops.",
        where=sql_function("look_at_handled").phrase(
            "AND p_last <= head_of_subscription(p.subscription_id)"
        ),
        change=remove,
        killers=(f"{_EFFECTS}::test_events_that_the_database_lost_have_no_effects",),
    ),
    Mutant(
        name="checkpoint-of-a-later-transaction",
        guarantee="G39",
        breaks="A function commits, begins another transaction, and its effects may come twice.",
        where=sql_function("checkpoint_in_transaction").phrase(
            "p_transaction_id = pg_current_xact_id()::text::bigint"
        ),
        change=constant(True),
        killers=(
            f"{_TRANSACTIONAL}::test_a_function_that_ends_the_transaction_stops_the_subscription",
        ),
    ),
    Mutant(
        name="kept-above-what-was-set-back",
        guarantee="G39",
        breaks="After a failover that lost effects, the keeper stores the checkpoint behind them.",
        where=sql_function("move_positions")
        .statement("UPDATE positions")
        .where()
        .conjunct(mentioning="m.least"),
        change=remove,
        killers=(f"{_OWNERSHIP}::test_a_checkpoint_below_what_a_handler_stored_stays",),
    ),
    Mutant(
        name="set-back-unheard",
        guarantee="G39",
        breaks="The owner goes on behind effects that the database has lost.",
        where=sql_function("keep_subscriptions").phrase("AND r.checkpoint >= p.least"),
        change=remove,
        killers=(f"{_TRANSACTIONAL}::test_effects_that_the_database_lost_come_again",),
    ),
    Mutant(
        name="ended-and-tried-again",
        guarantee="G39",
        breaks="A function that committed by itself is called again, and its effects are twice.",
        where=function("_settled").condition(mentioning="committed"),
        change=constant(False),
        killers=(f"{_TRANSACTIONAL}::test_a_function_that_commits_and_raises_is_not_called_again",),
    ),
    Mutant(
        name="closed-and-tried-again",
        guarantee="G39",
        breaks="A function that commits and closes is called again, and its effects are twice.",
        where=function("HandlerConnection.was_closed").returned(),
        change=constant(False),
        killers=(
            f"{_TRANSACTIONAL}::test_a_function_that_ends_the_transaction_stops_the_subscription",
            f"{_TRANSACTIONAL}::test_a_function_that_closes_its_connection_has_failed",
        ),
    ),
    Mutant(
        name="done-and-failed",
        guarantee="G39",
        breaks="A batch whose commit was not answered counts as failed for ever.",
        where=function("_settled").condition(mentioning="last"),
        change=constant(False),
        killers=(
            f"{_EFFECTS}::test_what_was_handled_is_not_handled_again",
            f"{_CALLERS}::test_an_error_after_the_commit_takes_nothing_back",
        ),
    ),
    Mutant(
        name="fenced-and-committed",
        guarantee="G39",
        breaks="A function that swallows the error commits what another owner does, too.",
        where=sql_function("checkpoint_or_abort").condition(),
        change=constant(False),
        killers=(f"{_CALLERS}::test_who_was_fenced_commits_nothing",),
    ),
    Mutant(
        name="skip-without-effects",
        guarantee="G39",
        breaks="The events before a skipped one count as handled, and were rolled back.",
        where=function("DeliveryLoop.handler_failed").condition(mentioning="is_transactional"),
        change=constant(True),
        killers=(f"{_TRANSACTIONAL}::test_events_before_a_skipped_one_have_their_effects",),
    ),
    Mutant(
        name="acknowledged-without-effects",
        guarantee="G39",
        breaks="An acknowledgement stores a checkpoint without the effects.",
        where=function("SubscriptionHandle.ack").condition(mentioning="is_transactional"),
        change=constant(False),
        killers=(f"{_TRANSACTIONAL}::test_nobody_else_acknowledges",),
    ),
    Mutant(
        name="idle-for-ever",
        guarantee="G39",
        breaks="An owner that froze in its transaction keeps its locks.",
        where=sql_function("begin_handling").condition(),
        change=constant(False),
        killers=(f"{_TRANSACTIONAL}::test_the_connection_is_as_psycopg_makes_it",),
    ),
    Mutant(
        name="processed-by-two",
        guarantee="G39",
        breaks="What is appended for a batch is stored whoever has handled the batch.",
        where=function("ProcessingTransactions._process").condition(mentioning="rows"),
        change=constant(True),
        killers=(f"{_PROCESSING}::test_the_same_batch_is_processed_once",),
    ),
    Mutant(
        name="lost-and-handled",
        guarantee="G39",
        breaks="What a handler appends has the position of an event that the database has lost.",
        where=function("EffectTransactions.handle").condition(mentioning="before"),
        change=constant(False),
        killers=(
            f"{_EFFECTS}::test_what_a_handler_appends_takes_no_place_of_events_that_the_database_lost",
        ),
    ),
    Mutant(
        name="lost-and-appended",
        guarantee="G39",
        breaks="What is appended has the position of an event that the database has lost.",
        where=function("ProcessingTransactions._process").condition(mentioning="is_lost"),
        change=constant(False),
        killers=(f"{_OWNERSHIP}::test_events_beyond_the_head_are_not_processed",),
    ),
    Mutant(
        name="processed-unconfirmed",
        guarantee="G5",
        breaks="What a process manager appends is a success though no standby has it.",
        where=function("HandlerConnection.commit").condition(1),
        change=constant(False),
        killers=(f"{_FAILOVER}::test_what_a_process_manager_appends_counts_when_a_standby_has_it",),
    ),
    Mutant(
        name="refused-and-processed",
        guarantee="G39",
        breaks="A refused append stores the checkpoint.",
        where=function("ProcessingTransactions._process").condition(mentioning="Exception"),
        change=constant(False),
        killers=(f"{_PROCESSING}::test_a_refused_append_moves_nothing",),
    ),
)
