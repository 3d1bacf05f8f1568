"""Mutants of connections: deadlines, lost and stale ones, servers that will not do."""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.places.changes import attribute, constant, remove, replace
from tests.mutants.places.python_place import function, variable

__all__ = ["CONNECTING"]

_GUARDS = "tests/eventstore/postgres/test_watchdog.py"
_ISOLATION = "tests/eventstore/postgres/test_isolation.py"
_LOST = "tests/eventstore/postgres/test_lost_connections.py"
_POOLING = "tests/eventstore/postgres/test_pool.py"
_SERVICE = "tests/eventstore/postgres/test_service_pool.py"
_LOG_INS = "tests/eventstore/postgres/test_log_ins.py"
_SERVERS = "tests/eventstore/postgres/test_servers.py"
_PROOF = "tests/eventstore/postgres/test_commit_proof.py"
_ROLES = "tests/eventstore/postgres/test_role_settings.py"
_SERVER = "tests/acceptance/guarantees/test_server_settings.py"
_DEADLINES = "tests/eventstore/postgres/test_deadlines.py"

CONNECTING = (
    Mutant(
        name="cancelled-wait-for-standbys",
        guarantee="G5",
        breaks="An append that no standby has is a success.",
        where=function("PostgresAppendSession._call").condition(),
        change=constant(False),
        killers=(f"{_SERVER}::test_a_cancelled_wait_for_a_standby_is_no_success",),
    ),
    Mutant(
        name="every-warning-a-doubt",
        guarantee="G5",
        breaks="Whatever the server warns of, a stored append is called unknown.",
        where=function("leaves_unconfirmed").returned(),
        change=constant(True),
        killers=(f"{_PROOF}::test_a_warning_of_the_server_makes_no_append_doubtful",),
    ),
    Mutant(
        name="isolation-of-the-role",
        guarantee="G4",
        breaks="A role whose transactions are serializable cannot append.",
        where=variable("_SETTINGS").entry("default_transaction_isolation"),
        change=constant("serializable"),
        killers=(f"{_ROLES}::test_a_stricter_default_isolation_stops_no_append",),
    ),
    Mutant(
        name="lost-answer-called-unsent",
        guarantee="G25",
        breaks="An append whose answer was lost is called unstored.",
        where=function("PostgresAppendSession.append").condition(mentioning="LOST"),
        change=constant(False),
        killers=(f"{_DEADLINES}::test_an_append_into_a_black_hole_is_unknown_at_its_deadline",),
    ),
    Mutant(
        name="denied-counts-as-broken",
        guarantee="G25",
        breaks="A right that is missing for a moment stops the runtime.",
        where=variable("_REACTIONS").entry("42501"),
        change=attribute("REFUSE"),
        killers=(
            "tests/eventstore/postgres/test_sqlstates.py::test_every_kind_of_error_has_its_reaction",
        ),
    ),
    Mutant(
        name="hammers-at-the-door",
        guarantee="G25",
        breaks="A server that refused the log-in is asked again at once, by everybody.",
        where=function("Refusals.check").condition(),
        change=constant(False),
        killers=(
            f"{_LOG_INS}::test_the_pauses_grow_up_to_a_bound_and_end_with_a_log_in",
            f"{_LOG_INS}::test_many_who_want_in_cost_few_log_ins",
        ),
    ),
    Mutant(
        name="log-in-without-its-code",
        guarantee="G25",
        breaks="A wrong password is a lost connection, tried until the deadline.",
        where=function("_be").call("_set_verbosity"),
        change=remove,
        killers=(f"{_LOG_INS}::test_the_code_is_found_in_any_language",),
    ),
    Mutant(
        name="threads-without-end",
        guarantee="G25",
        breaks="A resolver that hangs takes a thread with every attempt.",
        where=function("Attempts.enter").condition(),
        change=constant(False),
        killers=(
            f"{_SERVERS}::test_a_resolver_that_never_answers_costs_a_bounded_number_of_threads",
        ),
    ),
    Mutant(
        name="killed-backend-called-unsent",
        guarantee="G25",
        breaks="An append whose backend was killed is called unstored.",
        where=variable("_REACTIONS").entry("57P01"),
        change=attribute("RETRY"),
        killers=(
            "tests/eventstore/postgres/test_sqlstates.py::test_every_kind_of_error_has_its_reaction",
        ),
    ),
    Mutant(
        name="sent-after-the-deadline",
        guarantee="G25",
        breaks="A statement is sent for a caller who has given up.",
        where=function("GuardedConnection.fetch").condition(mentioning="monotonic"),
        change=constant(False),
        killers=(f"{_POOLING}::test_what_comes_too_late_is_not_sent_and_costs_no_connection",),
    ),
    Mutant(
        name="pool-gives-up-growing",
        guarantee="G25",
        breaks="After an outage who waits for a connection waits until its deadline.",
        where=function("_grow_again").call("check"),
        change=remove,
        killers=(f"{_POOLING}::test_a_server_that_comes_back_serves_who_waits",),
    ),
    Mutant(
        name="keeps-what-others-need",
        guarantee="G25",
        breaks="Idle connections stay open while the server refuses the writer's.",
        where=function("Precedence.refused").call("_give_back"),
        change=remove,
        killers=(f"{_POOLING}::test_a_writer_that_is_refused_gets_what_the_pool_can_spare",),
    ),
    Mutant(
        name="interrupted-for-ever",
        guarantee="G25",
        breaks="Each Ctrl-C of a waiting read costs the pool a connection.",
        where=function("Pool._borrow").call("_abandon"),
        change=remove,
        killers=(f"{_POOLING}::test_who_is_interrupted_costs_nobody_else_a_place",),
    ),
    Mutant(
        name="readers-before-the-writer",
        guarantee="G25",
        breaks="Readers take the connections that the writer needs.",
        where=function("Pool._connect").condition(mentioning="others_first"),
        change=constant(False),
        killers=(f"{_POOLING}::test_readers_let_the_writer_connect_first",),
    ),
    Mutant(
        name="pool-warns-aloud",
        guarantee="G32",
        breaks="A program that did not ask for a log is warned of every failed connect.",
        where=function("take_over_log").call("addFilter"),
        change=remove,
        killers=(f"{_POOLING}::test_the_log_is_silent_until_it_is_asked",),
    ),
    Mutant(
        name="log-of-other-pools-swallowed",
        guarantee="G32",
        breaks="What the pools of the application log is hidden.",
        where=function("_passes").condition(mentioning="any"),
        change=constant(False),
        killers=(f"{_POOLING}::test_the_log_of_other_pools_is_left_alone",),
    ),
    Mutant(
        name="failure-without-its-reason",
        guarantee="G25",
        breaks="Who gets no connection is told nothing of it, though the server refuses.",
        where=function("Pool._unserved").condition(mentioning="failure"),
        change=constant(False),
        killers=(f"{_POOLING}::test_who_waits_in_vain_is_told_why",),
    ),
    Mutant(
        name="pool-of-another-store",
        guarantee="G34",
        breaks="Reads go to another store than appends, through a pool that was given.",
        where=function("StoreIdentity.prove").condition(mentioning="store_id"),
        change=constant(False),
        killers=(f"{_SERVICE}::test_another_store_is_refused",),
    ),
    Mutant(
        name="dead-idle-connection",
        guarantee="G25",
        breaks="After a restart of the server each idle connection costs an error.",
        where=function("GuardedConnection.is_stale").returned(mentioning="_FRESH"),
        change=constant(False),
        killers=(
            f"{_POOLING}::test_connections_that_died_idle_are_replaced_without_an_error_or_a_pause",
        ),
    ),
    Mutant(
        name="stays-with-a-standby",
        guarantee="G25",
        breaks="A connection to a server that takes writes no more is kept.",
        where=function("GuardedConnection.fetch")
        .pattern(mentioning="RECONNECT")
        .part(mentioning="RECONNECT"),
        change=remove,
        killers=(f"{_LOST}::test_a_server_that_takes_no_writes_any_more_is_left",),
    ),
    Mutant(
        name="any-server-will-do",
        guarantee="G25",
        breaks="Of several servers a standby is taken.",
        where=variable("_DEFAULTS").entry("target_session_attrs"),
        change=constant("any"),
        killers=(f"{_ISOLATION}::test_a_standby_is_not_written_to",),
    ),
    Mutant(
        name="forgetful-server",
        guarantee="G5",
        breaks="A server without fsync is accepted, and loses what it confirmed.",
        where=function("Connector._check").condition(mentioning="off"),
        change=constant(False),
        killers=(f"{_SERVER}::test_a_server_that_no_longer_reaches_the_disk_is_refused",),
    ),
    Mutant(
        name="connect-without-deadline",
        guarantee="G25",
        breaks="A connect whose name is not resolved takes as long as it takes.",
        where=function("Attempt.result").call("wait").part(),
        change=remove,
        killers=(
            f"{_SERVERS}::test_a_resolver_that_never_answers_costs_a_bounded_number_of_threads",
        ),
    ),
    Mutant(
        name="call-without-deadline",
        guarantee="G25",
        breaks="A call on a black-holed connection never ends.",
        where=function("Guard.check").call("_shut_down"),
        change=remove,
        killers=(f"{_GUARDS}::test_a_call_that_is_late_loses_its_socket",),
    ),
    Mutant(
        name="deadline-of-another-call",
        guarantee="G25",
        breaks="The deadline of a call that has ended hits the next one.",
        where=function("Guard.disarm").assignment("_deadline"),
        change=remove,
        killers=(f"{_GUARDS}::test_an_idle_socket_is_never_hit",),
    ),
    Mutant(
        name="lost-connection-is-an-error",
        guarantee="G25",
        breaks="A read whose connection was cut fails, though there is time to repeat it.",
        where=variable("_PASSING").assigned("_PASSING").part(mentioning="LOST"),
        change=remove,
        killers=(f"{_LOST}::test_a_read_is_repeated_whose_connection_turns_out_to_be_cut",),
    ),
    Mutant(
        name="kept-for-ever",
        guarantee="G25",
        breaks="The writer never gets another connection than its first.",
        where=function("KeptConnection._connected")
        .condition(mentioning="is_stale")
        .part(mentioning="is_stale"),
        change=remove,
        killers=(f"{_LOST}::test_reads_and_keeping_go_on_over_killed_connections",),
    ),
    Mutant(
        name="closed-and-lent",
        guarantee="G26",
        breaks="A call under way goes on after the store was closed.",
        where=function("Pool.close").iterated(mentioning="_lent"),
        change=replace("()"),
        killers=(f"{_POOLING}::test_closing_cuts_off_what_is_in_use",),
    ),
)
