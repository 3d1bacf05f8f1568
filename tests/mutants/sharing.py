"""Mutants of stores of several schemas: what they share, and what each has of its own."""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.places.changes import constant, remove, replace
from tests.mutants.places.python_place import function

__all__ = ["SHARING"]

_SCHEMAS = "tests/conformance/test_schemas.py"
_SUBSCRIBED = "tests/conformance/subscriptions/test_other_schemas.py"
_FAMILY = "tests/eventstore/postgres/test_family.py"
_SHARED = "tests/acceptance/guarantees/test_shared_connections.py"
_EARS = "tests/eventstore/postgres/test_store_ears.py"

SHARING = (
    Mutant(
        name="another-object-each-time",
        guarantee="G34",
        breaks="A schema is opened a second time, and its subscriptions are in use.",
        where=function("Schemas.store").call("_found"),
        change=replace("None"),
        killers=(f"{_SCHEMAS}::test_the_same_name_is_the_same_store",),
    ),
    Mutant(
        name="others-left-open",
        guarantee="G26",
        breaks="Closing the first store leaves threads and connections.",
        where=function("Schemas._leave").returned(mentioning="_others"),
        change=replace("[]"),
        killers=(f"{_SCHEMAS}::test_closing_the_first_closes_all",),
    ),
    Mutant(
        name="one-end-after-the-other",
        guarantee="G26",
        breaks="Each store takes its own stop_timeout to close.",
        where=function("Schemas.closing").call("stop_by"),
        change=remove,
        killers=(f"{_SUBSCRIBED}::test_all_stop_at_the_same_time",),
    ),
    Mutant(
        name="others-unheard",
        guarantee="G23",
        breaks="What is announced to one of several stores waits for a poll.",
        where=function("SharedEars._pass_on").condition(),
        change=constant(False),
        killers=(f"{_SUBSCRIBED}::test_an_event_of_another_process_is_told_before_the_next_poll",),
    ),
    Mutant(
        name="missed-while-deaf",
        guarantee="G20",
        breaks="What was announced before the session listened is not looked for.",
        where=function("StoreEars.note").assignment("_anew"),
        change=remove,
        killers=(f"{_EARS}::test_a_session_that_listens_anew_may_have_missed_something",),
    ),
    Mutant(
        name="hung-call-in-the-way",
        guarantee="G16",
        breaks="Statements that hang in two schemas cost all others their leases.",
        where=function("Reserve._may_connect").returned(mentioning="few"),
        change=replace("few"),
        killers=(
            f"{_FAMILY}::test_calls_that_hang_hold_up_no_other",
            f"{_SHARED}::test_statements_that_hang_cost_no_other_store_its_lease",
        ),
    ),
    Mutant(
        name="closed-and-still-reading",
        guarantee="G26",
        breaks="A call of a closed schema goes on over the connections of the others.",
        where=function("Share.close").iterated(),
        change=replace("()"),
        killers=(f"{_FAMILY}::test_closing_one_ends_its_calls_and_no_others",),
    ),
    Mutant(
        name="connection-to-append-kept",
        guarantee="G25",
        breaks="Each store that ever appended holds a connection for ever.",
        where=function("PostgresStorage.append_session").call("add", mentioning="unused"),
        change=remove,
        killers=(f"{_SHARED}::test_a_store_that_rests_has_no_connection_to_append",),
    ),
    Mutant(
        name="first-one-takes-all-along",
        guarantee="G24",
        breaks="A store whose first one has failed has no connection any more.",
        where=function("PostgresStorage.close").condition(0, mentioning="is_last"),
        change=constant(True),
        killers=(f"{_FAMILY}::test_a_storage_lives_on_without_the_first_one",),
    ),
)
