"""Mutants of appends in transactions of callers."""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.places.changes import constant, remove
from tests.mutants.places.python_place import function
from tests.mutants.places.sql_place import sql_function

__all__ = ["JOINING"]

_JOINED = "tests/conformance/test_caller_transactions.py"
_ANNOUNCER = "tests/actors/announcing/test_announcer.py"

JOINING = (
    Mutant(
        name="used-id-that-aborts",
        guarantee="G37",
        breaks="A used event id is a violated constraint, which aborts the caller's transaction.",
        where=function("PostgresCallerTransaction.append").literal(True),
        change=constant(False),
        killers=(f"{_JOINED}::test_a_used_id_leaves_the_transaction_usable",),
    ),
    Mutant(
        name="unbounded-transaction",
        guarantee="G37",
        breaks="A process that froze in its transaction blocks all appends for ever.",
        where=sql_function("bound_transaction").statement("PERFORM set_config"),
        change=remove,
        killers=(f"{_JOINED}::test_the_transaction_is_bounded_unless_it_is_bounded_more",),
    ),
    Mutant(
        name="longer-bound-that-was-set",
        guarantee="G37",
        breaks="A caller who allows its transaction less time gets more.",
        where=sql_function("bound_transaction").condition(),
        change=constant(True),
        killers=(f"{_JOINED}::test_the_transaction_is_bounded_unless_it_is_bounded_more",),
    ),
    Mutant(
        name="any-isolation-of-a-caller",
        guarantee="G37",
        breaks="The isolation level is found out by the append, which aborts the transaction.",
        where=function("_joined").condition(mentioning="isolation"),
        change=constant(False),
        killers=(f"{_JOINED}::test_a_transaction_that_takes_no_events_is_refused_and_goes_on",),
    ),
    Mutant(
        name="unsent-commit-of-autocommit",
        guarantee="G37",
        breaks="In autocommit events are stored at once, and the caller's rows are not.",
        where=function("_refuse_if").condition(),
        change=constant(False),
        killers=(f"{_JOINED}::test_a_transaction_that_takes_no_events_is_refused_and_goes_on",),
    ),
    Mutant(
        name="waits-for-itself",
        guarantee="G25",
        breaks="A thread waits for its own transaction until the deadline.",
        where=function("Joins.check_not_inside").condition(mentioning="in_progress"),
        change=constant(False),
        killers=(f"{_JOINED}::test_a_thread_does_not_wait_for_its_own_transaction",),
    ),
    Mutant(
        name="later-transaction-in-its-place",
        guarantee="G37",
        breaks="After the commit, the next transaction of the connection keeps its thread out.",
        where=function("Joins.check_not_inside").condition(mentioning="in_progress"),
        change=constant(True),
        killers=(f"{_JOINED}::test_a_thread_does_not_wait_for_its_own_transaction",),
    ),
    Mutant(
        name="nameless-holder",
        guarantee="G37",
        breaks="Who waits for the write lock in vain does not hear for whom.",
        where=sql_function("write_lock_holder").statement("SELECT"),
        change=remove,
        killers=(f"{_JOINED}::test_who_waits_in_vain_hears_who_holds_the_lock",),
    ),
    Mutant(
        name="commit-of-a-caller-unheard",
        guarantee="G23",
        breaks="Events of a caller's transaction are delivered by the next poll.",
        where=function("Announcer._look").condition(mentioning="any"),
        change=constant(False),
        killers=(f"{_ANNOUNCER}::test_a_transaction_of_a_caller_is_news_once_it_has_committed",),
    ),
    Mutant(
        name="rollback-of-a-caller-heard",
        guarantee="G22",
        breaks="Each rolled back transaction has everybody look for events.",
        where=function("Announcer._look").condition(mentioning="any"),
        change=constant(True),
        killers=(f"{_ANNOUNCER}::test_a_transaction_that_was_rolled_back_is_no_news",),
    ),
)
