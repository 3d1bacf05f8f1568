"""Injects the planned faults: begins each one, and returns the function that ends it."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import psycopg
from psycopg.conninfo import make_conninfo

from eventstore import EventStore, EventStoreError
from tests.support.pgserver import TestServer
from tests.support.proxy import Proxy
from tests.torture.plan import Fault, Kind
from tests.torture.processes import PREFIX, Crew, Process, Program
from tests.torture.row_of_deletions import delete_subscriptions
from tests.torture.server_faults import (
    SmallDisk,
    fill_disk,
    forge_notifications,
    refuse_writes,
    revoke_rights,
    set_clock_back,
    set_for_sessions,
    switch_durability_off,
    take_connections,
)
from tests.torture.subscribers import ROLES, Role

__all__ = ["OTHER_DATABASE", "Injector"]

OTHER_DATABASE = "other"

Heal = Callable[[], None]


def _nothing() -> None:
    """Heal a fault that is over at once."""


@dataclass(frozen=True, slots=True)
class Injector:
    """Injects faults into the server, the network and the processes."""

    server: TestServer
    proxy: Proxy
    listening_proxy: Proxy
    """Before the connections that some processes listen on."""
    crew: Crew
    observer: EventStore
    disk: SmallDisk | None
    """None: this user may not mount one."""

    def hurt_runtimes(self, fault: Fault) -> frozenset[int]:
        """Return the places of the runtimes that a fault will keep from working."""
        places = frozenset(process.index for process in self.crew.living(Program.READER))
        match fault.kind:
            case Kind.KILL_RUNTIME | Kind.FREEZE_RUNTIME | Kind.ROLL_RUNTIME:
                return frozenset({self._victim(Program.READER, fault).index})
            case Kind.DELAY | Kind.BLACK_HOLE | Kind.HALF_OPEN | Kind.RESET:
                return frozenset(place for place in places if self.crew.is_remote(place))
            case (
                Kind.RESTART_SERVER
                | Kind.CUT_ALL
                | Kind.CUT_POOLS
                | Kind.CUT_SOME
                | Kind.NOT_DURABLE
                | Kind.READ_ONLY
                | Kind.ISOLATION
                | Kind.TIME_LIMITS
                | Kind.REVOKE
                | Kind.NO_CONNECTIONS
            ):
                return places
            case _:
                return frozenset()

    def begin(self, fault: Fault) -> Heal:
        """Begin a fault; return the function that ends it."""
        match fault.kind:
            case Kind.CUT_LISTENERS:
                self.server.terminate_backends(f"{PREFIX}%-listen")
            case Kind.CUT_POOLS:
                self._terminate(self._backends() - self._backends("-listen"))
            case Kind.CUT_SOME:
                rng = random.Random(fault.dice)
                self._terminate(pid for pid in sorted(self._backends()) if rng.random() < 0.5)
            case Kind.CUT_ALL:
                self.server.terminate_backends(f"{PREFIX}%")
            case Kind.KILL_RUNTIME:
                self.crew.replace(self._victim(Program.READER, fault))
            case Kind.KILL_WRITER:
                self.crew.replace(self._victim(Program.WRITER, fault))
            case Kind.RESTART_SERVER:
                self.server.restart("immediate")
            case Kind.RESET:
                self.proxy.reset()
            case _:
                return self._begin_lasting(fault)
        return _nothing

    def _begin_lasting(self, fault: Fault) -> Heal:
        match fault.kind:
            case Kind.FREEZE_RUNTIME:
                return _freeze(self._victim(Program.READER, fault))
            case Kind.ROLL_RUNTIME:
                return self._roll(self._victim(Program.READER, fault))
            case Kind.DELAY:
                self.proxy.delay(0.02 + 0.2 * fault.dice)
                return lambda: self.proxy.delay(0.0)
            case Kind.BLACK_HOLE:
                self.proxy.swallow()
                return self.proxy.pass_on
            case Kind.HALF_OPEN:
                self.proxy.swallow(after_bytes_to_server=int(20_000 * fault.dice))
                return self.proxy.pass_on
            case Kind.FOREIGN_SAME:
                return _idle_transaction(self.server.dsn)
            case Kind.FOREIGN_OTHER:
                return _idle_transaction(make_conninfo(self.server.dsn, dbname=OTHER_DATABASE))
            case Kind.PAUSE:
                return self._pause(fault)
            case Kind.CUT_LISTENING:
                self.listening_proxy.swallow()
                return self.listening_proxy.pass_on
            case _:
                return self._begin_on_server(fault)

    def _begin_on_server(self, fault: Fault) -> Heal:
        server, schema = self.server, self.crew.schema
        match fault.kind:
            case Kind.RESET_SUBSCRIPTION:
                self._reset_subscription(fault)
            case Kind.DELETE_SUBSCRIPTIONS:
                return delete_subscriptions(self.observer, self.crew.config)
            case Kind.CLOCK_BACK:
                set_clock_back(server, schema, 3_600 * fault.dice)
            case Kind.FORGERY:
                return forge_notifications(server, schema, fault.dice)
            case Kind.REVOKE:
                return revoke_rights(server, schema)
            case Kind.NO_CONNECTIONS:
                return take_connections(server)
            case Kind.DISK_FULL:
                assert self.disk is not None
                return fill_disk(self.disk)
            case _:
                return self._change_settings(fault)
        return _nothing

    def _change_settings(self, fault: Fault) -> Heal:
        server = self.server
        match fault.kind:
            case Kind.NOT_DURABLE:
                return switch_durability_off(server)
            case Kind.READ_ONLY:
                return refuse_writes(server)
            case Kind.ISOLATION:
                level = "serializable" if fault.dice < 0.5 else "repeatable read"
                return set_for_sessions(
                    server, sorted(self._backends()), default_transaction_isolation=level
                )
            case Kind.TIME_LIMITS:
                limits = {"idle_session_timeout": "300ms", "lock_timeout": "1ms"}
                return set_for_sessions(server, sorted(self._backends()), **limits)
            case _:
                raise AssertionError(f"unknown fault: {fault.kind}")

    def _victim(self, program: Program, fault: Fault) -> Process:
        living = self.crew.living(program)
        return living[int(fault.dice * len(living))]

    def _roll(self, victim: Process) -> Heal:
        """Start a successor of *victim*; the end of *victim* ends the fault."""
        self.crew.start(victim.program, victim.index)
        return lambda: self.crew.end_oldest(victim.program, victim.index)

    def _backends(self, ending: str = "") -> set[int]:
        return set(self.server.backends(f"{PREFIX}%{ending}"))

    def _terminate(self, pids: Iterable[int]) -> None:
        with self.server.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) pid", [list(pids)]
            )

    def _pause(self, fault: Fault) -> Heal:
        role = ROLES[int(fault.dice * len(ROLES))]
        key = (role.stream_id, role.name)
        with suppress(EventStoreError):
            self.observer.pause_subscription(*key)
        return lambda: _until_done(lambda: self.observer.resume_subscription(*key))

    def _reset_subscription(self, fault: Fault) -> None:
        """Set a subscription back by up to a hundred events, or twice if there are fewer."""
        role = ROLES[int(fault.dice * len(ROLES))]
        with suppress(EventStoreError):
            self._set_back(role, fault.dice)

    def _set_back(self, role: Role, dice: float) -> None:
        checkpoint = self.observer.subscription_info(role.stream_id, role.name).checkpoint
        for back in (100, 200):
            position = max(0, checkpoint - int(back * dice))
            self.observer.reset_subscription(role.stream_id, role.name, position)


def _until_done(call: Callable[[], None]) -> None:
    """Repeat *call* for half a minute, since other faults may keep the server from answering."""
    deadline = time.monotonic() + 30.0
    while True:
        try:
            return call()
        except EventStoreError:
            if time.monotonic() >= deadline:
                raise


def _freeze(process: Process) -> Heal:
    process.signal(signal.SIGSTOP)
    return lambda: process.signal(signal.SIGCONT)


def _idle_transaction(dsn: str) -> Heal:
    """Hold a transaction id and a snapshot, as a forgotten session or a dump would."""
    connection = psycopg.connect(dsn)
    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    connection.execute("SELECT pg_current_xact_id()")

    def end() -> None:
        with suppress(psycopg.OperationalError):  # the server was restarted
            connection.rollback()
        connection.close()

    return end
