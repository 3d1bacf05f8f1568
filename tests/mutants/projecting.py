"""Mutants of projections: versions that are created, switched, rebuilt and dropped."""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.places.changes import constant, remove, replace
from tests.mutants.places.python_place import function
from tests.mutants.places.sql_place import sql_function

__all__ = ["PROJECTING"]

_PROJECTIONS = "tests/conformance/subscriptions/test_projections.py"
_BESIDE = "tests/conformance/subscriptions/test_projections_beside_others.py"

PROJECTING = (
    Mutant(
        name="projection-created-by-two",
        guarantee="G39",
        breaks="Two processes that start a version at once both create its tables.",
        where=sql_function("begin_projection").phrase("FOR UPDATE", 0),
        change=remove,
        killers=(
            f"{_PROJECTIONS}::test_of_two_that_start_at_once_one_creates_and_the_other_waits",
        ),
    ),
    Mutant(
        name="projection-ended-by-its-function",
        guarantee="G39",
        breaks="A function that commits by itself counts as done, whatever it did afterwards.",
        where=sql_function("go_on_with_projection").statement("RETURN"),
        change=replace("RETURN true"),
        killers=(f"{_PROJECTIONS}::test_a_function_that_ends_the_transaction_is_an_error",),
    ),
    Mutant(
        name="projection-switched-behind",
        guarantee="G39",
        breaks="Readers are led to a version that has not caught up.",
        where=function("_check_caught_up").condition(),
        change=constant(False),
        killers=(f"{_PROJECTIONS}::test_a_switch_to_what_is_behind_is_refused",),
    ),
    Mutant(
        name="projection-run-without-its-subscription",
        guarantee="G39",
        breaks="A version whose subscription was deleted counts every event once more.",
        where=function("_check_subscribed").condition(),
        change=constant(False),
        killers=(f"{_PROJECTIONS}::test_a_version_whose_subscription_was_deleted_is_not_run",),
    ),
    Mutant(
        name="projection-rebuilt-from-where-it-was",
        guarantee="G39",
        breaks="A rebuilt version misses the events that it had handled before.",
        where=sql_function("rebuild_projection").statement("PERFORM set_back"),
        change=remove,
        killers=(f"{_PROJECTIONS}::test_a_rebuild_counts_each_event_once_again",),
    ),
    Mutant(
        name="projection-dropped-under-readers",
        guarantee="G39",
        breaks="The current version is dropped, though nobody forced it.",
        where=function("_check_free").condition(),
        change=constant(False),
        killers=(f"{_PROJECTIONS}::test_a_dropped_version_is_gone",),
    ),
    Mutant(
        name="projection-emptied-beside-its-handler",
        guarantee="G39",
        breaks="A batch that commits while its table is emptied row by row counts twice.",
        where=sql_function("begin_batch").statement("PERFORM FROM projection_versions"),
        change=remove,
        killers=(f"{_BESIDE}::test_tables_that_are_emptied_row_by_row_miss_no_batch",),
    ),
    Mutant(
        name="projection-begun-after-its-drop",
        guarantee="G39",
        breaks="A version is claimed by its name, so one that was dropped would begin anew.",
        where=function("Subscriptions._seat").keyword("subscription_id"),
        change=replace("None"),
        killers=(f"{_BESIDE}::test_what_is_dropped_before_it_runs_does_not_begin_anew",),
    ),
    Mutant(
        name="projection-reset-without-its-tables",
        guarantee="G39",
        breaks="A reset or delete by the name of its subscription counts everything twice.",
        where=sql_function("is_projected").statement("RETURN"),
        change=replace("RETURN false"),
        killers=(f"{_BESIDE}::test_its_subscription_changes_with_its_tables_alone",),
    ),
    Mutant(
        name="projection-current-while-empty",
        guarantee="G39",
        breaks="A new version is current at once where the current one was dropped.",
        where=sql_function("begin_projection").statement("begin_projection.has_versions"),
        change=replace("begin_projection.has_versions := v_current IS NOT NULL"),
        killers=(f"{_BESIDE}::test_a_new_version_does_not_replace_a_current_one_that_was_dropped",),
    ),
)
