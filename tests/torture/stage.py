"""Runs a torture: sets up, injects the faults, waits for calm, collects the evidence."""

from __future__ import annotations

import heapq
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from psycopg.conninfo import make_conninfo

from eventstore import CallerRuntime, Config, EventData, EventStore
from eventstore.storages.postgres import PostgresStorage
from tests.support.pgserver import TestServer
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until
from tests.torture.audit import (
    changes,
    closed_streams,
    deletions,
    install_audit,
    is_replaying,
    linked_events,
    parked_events,
    stored_events,
)
from tests.torture.deletions import requests
from tests.torture.evidence import OBSERVER, Evidence, Trouble, attempts, notes
from tests.torture.faults import OTHER_DATABASE, Injector
from tests.torture.journal import Journal, entries
from tests.torture.links import LINKED, RUINS, links
from tests.torture.marker import marking
from tests.torture.mutations import Mutation, install_mutation
from tests.torture.parking import PARKING, handled
from tests.torture.plan import ALL_KINDS, Fault, Kind
from tests.torture.processes import Crew, Process, Program, Ways
from tests.torture.server_faults import (
    SERVICE,
    SmallDisk,
    can_mount,
    grant_rights,
    install_clock,
)
from tests.torture.snapshots import looks
from tests.torture.subscribers import ROLES
from tests.torture.writers import STREAMS, Appender

__all__ = ["LEASE", "POLL", "possible_kinds", "torture"]

SCHEMA = "torture"
LEASE = 1.5
POLL = 0.2
_SETTINGS: dict[str, Any] = {
    "schema": SCHEMA,
    "poll_interval": POLL,
    "lease": LEASE,
    "pool_size": 4,
    "stop_timeout": 2.0,
    "connect_timeout": 3.0,
    "enable_hard_deletes": True,
}
_CALM = 2.0
"""Seconds for which the writers continue after the last fault."""
_VERIFYING = 60.0
"""Most seconds for the look for damage at the end."""


def torture(
    faults: Sequence[Fault],
    folder: Path,
    *,
    seed: int,
    writers: int = 3,
    readers: int = 3,
    settle: float = 60.0,
    mutation: Mutation | None = None,
) -> Evidence:
    """Run *faults* against a store with writers and readers, and return the evidence.

    Args:
        faults: The faults, by time, as `plan` draws them.
        folder: An empty folder for the journals.
        seed: Seed of the writers and readers.
        writers: Number of processes that append.
        readers: Number of processes with a runtime that subscribes in every role.
        settle: Most seconds to wait at the end until every subscription has caught up.
        mutation: The broken build to use; None: the real one.
    """
    with _stage(folder, seed, mutation) as stage:
        for program, count in ((Program.READER, readers), (Program.WRITER, writers)):
            for index in range(count):
                stage.crew.start(program, index)
        wait_until(lambda: all(p.is_ready for p in stage.crew.living(Program.READER)), timeout=30)
        with marking(stage.observer, seed):
            troubles = _hurt(stage, faults)
            calm_since = time.monotonic()
            _pass_by(_CALM)
        for writer in stage.crew.living(Program.WRITER):
            stage.crew.end(writer)
        _settle(stage, settle)
        stage.crew.look()
        for reader in stage.crew.living(Program.READER):
            stage.crew.end(reader)
        return _collect(stage, troubles, calm_since)


def possible_kinds() -> tuple[Kind, ...]:
    """Return the kinds of faults that this user may inject: a full disk needs one to mount."""
    return tuple(kind for kind in ALL_KINDS if kind is not Kind.DISK_FULL or can_mount())


def _hurt(injector: Injector, faults: Sequence[Fault]) -> list[Trouble]:
    """Begin and end every fault at its time, or as soon as the one before has begun or ended."""
    troubles: list[Trouble] = []
    order = itertools.count()
    due: list[tuple[float, int, Fault | Callable[[], Trouble]]]
    due = [(fault.at, next(order), fault) for fault in faults]
    began = time.monotonic()
    while due:
        at, _, what = heapq.heappop(due)
        _pass_by(began + at - time.monotonic())
        injector.crew.look()
        if isinstance(what, Fault):
            end = _begin(injector, what)
            until = time.monotonic() - began + what.seconds
            heapq.heappush(due, (until, next(order), end))
        else:
            troubles.append(what())
    return troubles


def _begin(injector: Injector, fault: Fault) -> Callable[[], Trouble]:
    """Begin a fault; return the function that ends it and describes it."""
    began, runtimes = time.monotonic(), injector.hurt_runtimes(fault)
    heal = injector.begin(fault)

    def end() -> Trouble:
        heal()
        return Trouble(fault.kind, began, time.monotonic(), runtimes)

    return end


def _pass_by(seconds: float) -> None:
    """Wait *seconds*; between faults there is nothing to observe."""
    threading.Event().wait(max(0.0, seconds))


def _settle(injector: Injector, timeout: float) -> None:
    """Wait until every subscription has caught up, and what was deleted is erased, or *timeout*.

    The verdict reports the rest.
    """

    def caught_up() -> bool:
        with injector.server.connect() as connection:
            is_erased = all(deletion.is_erased for deletion in deletions(connection, SCHEMA))
            replays = is_replaying(connection, SCHEMA, PARKING)
        subscriptions = injector.observer.subscriptions()
        is_behind = any(info.lag_events for info in subscriptions)
        return is_erased and not replays and not is_behind

    try:
        wait_until(caught_up, timeout)
        # So that only what fails for ever is parked at the end, and what comes after it.
        injector.observer.retry_parked("$all", PARKING)
        wait_until(caught_up, timeout)
    except TimeoutError:
        return


# ── setting up ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Stage(Injector):
    folder: Path


@contextmanager
def _stage(folder: Path, seed: int, mutation: Mutation | None) -> Iterator[_Stage]:
    """Set up a server, a proxy before it, a store and a crew, for the time of the block."""
    with ExitStack() as stack:
        server = TestServer()
        # A table space can be given back only after the server has ended.
        space = stack.enter_context(ExitStack())
        stack.enter_context(server)
        config = Config(dsn=make_conninfo(server.dsn, application_name=OBSERVER), **_SETTINGS)
        EventStore.connect(config, runtime=CallerRuntime, init=True).close()
        with server.connect() as connection:
            connection.execute(f"CREATE DATABASE {OTHER_DATABASE}")
            install_clock(connection, SCHEMA)
            install_audit(connection, SCHEMA)
            if mutation is not None:
                install_mutation(connection, SCHEMA, mutation)
            grant_rights(connection, SCHEMA)
        disk = None
        if can_mount():
            disk = SmallDisk(server, SCHEMA)
            space.callback(disk.close)
        observer = stack.enter_context(EventStore.connect(config, runtime=CallerRuntime))
        _create_streams(observer, folder)
        near = make_conninfo(server.dsn, user=SERVICE)
        proxy = stack.enter_context(Proxy(near))
        listening_proxy = stack.enter_context(Proxy(near))
        elsewhere = make_conninfo(near, dbname=OTHER_DATABASE)
        ways = Ways(near, proxy.dsn, listening_proxy.dsn, elsewhere)
        crew = Crew(folder, seed, _SETTINGS, ways)
        stack.callback(crew.kill_all)
        yield _Stage(server, proxy, listening_proxy, crew, observer, disk, folder)


def _create_streams(observer: EventStore, folder: Path) -> None:
    """Create every stream, so that an append may expect it to exist."""
    journal = Journal(folder / "setup.jsonl")
    appender = Appender(observer, journal, random.Random(0))
    groups = [(stream, 0, [EventData("Begun", {})]) for stream in STREAMS]
    appender.append(groups, 1, threading.Event())
    journal.close()


# ── collecting ───────────────────────────────────────────────────────────────────────────────────


def _collect(stage: _Stage, troubles: Sequence[Trouble], calm_since: float) -> Evidence:
    processes = stage.crew.all
    readers = [p for p in processes if p.program is Program.READER]
    writers = [list(p.entries()) for p in processes if p.program is Program.WRITER]
    with stage.server.connect() as connection:
        stored, audit = stored_events(connection, SCHEMA), changes(connection, SCHEMA)
        linked = linked_events(connection, SCHEMA, LINKED)
        ruins, gone = linked_events(connection, SCHEMA, RUINS), deletions(connection, SCHEMA)
        closed = closed_streams(connection, SCHEMA)
        parked = parked_events(connection, SCHEMA, PARKING)
    return Evidence(
        stored=stored,
        attempts=[
            attempt
            for journal in [entries(stage.folder / "setup.jsonl"), *writers]
            for attempt in attempts(journal)
        ],
        subscriptions={role.name: role.stream_id for role in ROLES},
        notes={
            (process.name, name): about
            for process in readers
            for name, about in notes(process.entries()).items()
        },
        changes=audit,
        checkpoints={
            info.subscription_name: info.checkpoint
            for info in stage.observer.subscriptions()
            if info.subscription_name != PARKING
        },
        calm_since=calm_since,
        lease=LEASE,
        poll_interval=POLL,
        runtimes=frozenset(process.index for process in readers),
        links=[link for journal in writers for link in links(journal)],
        linked=linked,
        ruins=ruins,
        requests=[request for journal in writers for request in requests(journal)],
        deletions=gone,
        closed=closed,
        looks=[look for journal in writers for look in looks(journal)],
        handled=[event for process in readers for event in handled(process.entries())],
        parked=parked,
        damage=_damage(stage.observer.config),
        troubles=[_until_replaced(trouble, readers) for trouble in troubles],
        incidents=[*stage.crew.incidents, *stage.crew.crashes()],
    )


def _damage(config: Config) -> list[str]:
    found: list[str] = []
    storage = PostgresStorage(config)
    try:
        storage.open(init=False, deadline=time.monotonic() + config.connect_timeout)
        storage.verify(lambda finding: found.append(f"{finding}"), time.monotonic() + _VERIFYING)
    finally:
        storage.close()
    return found


def _until_replaced(trouble: Trouble, readers: Sequence[Process]) -> Trouble:
    """Extend the kill or the replacement of a runtime until its successor is ready."""
    if trouble.kind not in (Kind.KILL_RUNTIME, Kind.ROLL_RUNTIME):
        return trouble
    ready = [p.ready_at for p in readers if p.index in trouble.runtimes]
    later = [moment for moment in ready if moment is not None and moment > trouble.began]
    return replace(trouble, ended=max(trouble.ended, min(later, default=trouble.ended)))
