"""Mutants of connections: deadlines, lost and stale ones, servers that will not do."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["CONNECTING"]

_APPEND = "eventstore/storages/postgres/append_session.py"
_CONNECTION = "eventstore/storages/postgres/connecting/connection.py"
_CONNECTOR = "eventstore/storages/postgres/connecting/connector.py"
_DEADLINE = "eventstore/storages/postgres/connecting/watchdog.py"
_POOL = "eventstore/storages/postgres/connecting/pool.py"

_GUARDS = "tests/eventstore/postgres/test_watchdog.py"
_ISOLATION = "tests/eventstore/postgres/test_isolation.py"
_LOST = "tests/eventstore/postgres/test_lost_connections.py"
_POOLING = "tests/eventstore/postgres/test_pool.py"
_DEADLINES = "tests/eventstore/postgres/test_deadlines.py"

CONNECTING = (
    Mutant(
        name="cancelled-wait-for-standbys",
        guarantee="G5",
        breaks="An append that no standby has is a success.",
        file=_APPEND,
        before="            if connection.doubtful:\n",
        after="            if False:\n",
        killers=(
            "tests/eventstore/postgres/test_group_failures.py::test_a_success_with_a_warning_is_unknown",
        ),
    ),
    Mutant(
        name="lost-answer-called-unsent",
        guarantee="G25",
        breaks="An append whose answer was lost is called unstored.",
        file=_APPEND,
        before="            if reaction_to(error) is Reaction.LOST:\n",
        after="            if False:\n",
        killers=(f"{_DEADLINES}::test_an_append_into_a_black_hole_is_unknown_at_its_deadline",),
    ),
    Mutant(
        name="killed-backend-called-unsent",
        guarantee="G25",
        breaks="An append whose backend was killed is called unstored.",
        file="eventstore/storages/postgres/connecting/sqlstates.py",
        before='"57P01": Reaction.LOST,',
        after='"57P01": Reaction.RETRY,',
        killers=(
            "tests/eventstore/postgres/test_sqlstates.py::test_every_kind_of_error_has_its_reaction",
        ),
    ),
    Mutant(
        name="sent-after-the-deadline",
        guarantee="G25",
        breaks="A statement is sent for a caller who has given up.",
        file=_CONNECTION,
        before="        if time.monotonic() >= deadline:\n",
        after="        if False:\n",
        killers=(f"{_POOLING}::test_what_comes_too_late_is_not_sent_and_costs_no_connection",),
    ),
    Mutant(
        name="pool-gives-up-growing",
        guarantee="G25",
        breaks="After an outage who waits for a connection waits until its deadline.",
        file=_POOL,
        before="        pool.check()\n",
        after="        pass\n",
        killers=(f"{_POOLING}::test_a_server_that_comes_back_serves_who_waits",),
    ),
    Mutant(
        name="keeps-what-others-need",
        guarantee="G25",
        breaks="Idle connections stay open while the server refuses the writer's.",
        file="eventstore/storages/postgres/connecting/precedence.py",
        before="            self._give_back()\n",
        after="            pass\n",
        killers=(f"{_POOLING}::test_a_writer_that_is_refused_gets_what_the_pool_can_spare",),
    ),
    Mutant(
        name="interrupted-for-ever",
        guarantee="G25",
        breaks="Each Ctrl-C of a waiting read costs the pool a connection.",
        file=_POOL,
        before="                self._abandon(pool)\n",
        after="",
        killers=(f"{_POOLING}::test_who_is_interrupted_costs_nobody_else_a_place",),
    ),
    Mutant(
        name="dead-idle-connection",
        guarantee="G25",
        breaks="After a restart of the server each idle connection costs an error.",
        file=_CONNECTION,
        before="return time.monotonic() > self._used_at + _FRESH and self._guard.has_news()",
        after="return False",
        killers=(
            f"{_POOLING}::test_connections_that_died_idle_are_replaced_without_an_error_or_a_pause",
        ),
    ),
    Mutant(
        name="stays-with-a-standby",
        guarantee="G25",
        breaks="A connection to a server that takes writes no more is kept.",
        file=_CONNECTION,
        before="case Reaction.LOST | Reaction.RECONNECT:",
        after="case Reaction.LOST:",
        killers=(f"{_LOST}::test_a_server_that_takes_no_writes_any_more_is_left",),
    ),
    Mutant(
        name="any-server-will-do",
        guarantee="G25",
        breaks="Of several servers a standby is taken.",
        file=_CONNECTOR,
        before='"target_session_attrs": "read-write",',
        after='"target_session_attrs": "any",',
        killers=(f"{_ISOLATION}::test_a_standby_is_not_written_to",),
    ),
    Mutant(
        name="forgetful-server",
        guarantee="G5",
        breaks="A server without fsync is accepted, and loses what it confirmed.",
        file=_CONNECTOR,
        before='            if value == "off":\n',
        after="            if False:\n",
        killers=(f"{_ISOLATION}::test_a_server_that_forgets_is_refused",),
    ),
    Mutant(
        name="connect-without-deadline",
        guarantee="G25",
        breaks="A connect into a black hole takes as long as it takes.",
        file=_CONNECTOR,
        before="        self._done.wait(timeout)\n",
        after="        self._done.wait()\n",
        killers=(f"{_DEADLINES}::test_connecting_into_a_black_hole_ends_at_the_deadline",),
    ),
    Mutant(
        name="call-without-deadline",
        guarantee="G25",
        breaks="A call on a black-holed connection never ends.",
        file=_DEADLINE,
        before="                return self._deadline\n            self._shut_down()\n",
        after="                return self._deadline\n",
        killers=(f"{_GUARDS}::test_a_call_that_is_late_loses_its_socket",),
    ),
    Mutant(
        name="deadline-of-another-call",
        guarantee="G25",
        breaks="The deadline of a call that has ended hits the next one.",
        file=_DEADLINE,
        before="            self._deadline = None\n            return not self.expired\n",
        after="            return not self.expired\n",
        killers=(f"{_GUARDS}::test_an_idle_socket_is_never_hit",),
    ),
    Mutant(
        name="lost-connection-is-an-error",
        guarantee="G25",
        breaks="A read whose connection was cut fails, though there is time to repeat it.",
        file="eventstore/storages/postgres/connecting/repeating.py",
        before="_PASSING = {Reaction.LOST, Reaction.RETRY, Reaction.RECONNECT}",
        after="_PASSING = {Reaction.RETRY, Reaction.RECONNECT}",
        killers=(f"{_LOST}::test_reads_and_keeping_go_on_over_killed_connections",),
    ),
    Mutant(
        name="kept-for-ever",
        guarantee="G25",
        breaks="The writer never gets another connection than its first.",
        file="eventstore/storages/postgres/connecting/kept_connection.py",
        before="if self._connection is None or self._connection.is_stale():",
        after="if self._connection is None:",
        killers=(f"{_LOST}::test_reads_and_keeping_go_on_over_killed_connections",),
    ),
    Mutant(
        name="closed-and-lent",
        guarantee="G26",
        breaks="A call under way goes on after the store was closed.",
        file=_POOL,
        before="        for raw in tuple(self._lent):\n",
        after="        for raw in ():\n",
        killers=(f"{_POOLING}::test_closing_cuts_off_what_is_in_use",),
    ),
)
