"""A ledger whose processes and whose server are killed again and again counts each event once."""

from __future__ import annotations

import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from eventstore import CallerRuntime, Config, EventStore
from tests.acceptance.guarantees.conftest import Settings, installed
from tests.support.ledger import NAME, TABLES, WAYS, append, entries
from tests.support.pgserver import TestServer
from tests.support.processes import Service
from tests.support.waiting import PATIENCE, wait_until

PROGRAM = "tests.support.ledger"
PATIENT = {"append_timeout": 60.0, "lease": 1.5}
PER_FAULT = 120
"""Events that are appended before each fault."""


class Ledger:
    """Two processes that book, the server that they write to, and what goes wrong with them."""

    def __init__(self, server: TestServer, schema: str, way: str, seed: int) -> None:
        self._server = server
        self._settings: Settings = {**installed(server.dsn, schema), **PATIENT}
        self._schema = schema
        # The tables of the application lie beside those of the store, in its schema.
        dsn = make_conninfo(self._settings["dsn"], options=f"-csearch_path={schema}")
        self._own = {**self._settings, "dsn": dsn, "way": way}
        with self.connect() as connection:
            connection.execute(TABLES.encode())
        self.rng = random.Random(seed)
        self.appended = 0
        self._services = [self._start(), self._start()]

    def _start(self) -> Service:
        return Service(self._own, program=PROGRAM)

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._own["dsn"], autocommit=True)

    def observer(self) -> EventStore:
        return EventStore.connect(Config(**self._settings), runtime=CallerRuntime)

    def append(self, store: EventStore, count: int) -> None:
        append(store, range(self.appended, self.appended + count))
        self.appended += count

    def kill_a_process(self) -> None:
        place = self.rng.randrange(2)
        self._services[place].kill9()
        self._services[place] = self._start()

    def kill_the_server(self) -> None:
        self._server.kill9_postmaster()
        self._server.start()

    def freeze_a_process(self) -> None:
        """Stop one for longer than its lease, and let it go on."""
        frozen = self.rng.choice(self._services)
        frozen.signal(signal.SIGSTOP)
        threading.Event().wait(2 * self._settings["lease"])
        frozen.signal(signal.SIGCONT)

    def close(self) -> None:
        for service in self._services:
            service.kill9()


@pytest.fixture(params=sorted(WAYS))
def ledger(
    request: pytest.FixtureRequest, private_server: TestServer, schema: str
) -> Iterator[Ledger]:
    ledger = Ledger(private_server, schema, request.param, seed=39)
    yield ledger
    ledger.close()


def assert_balanced(ledger: Ledger, store: EventStore) -> None:
    """Wait until everything is booked; then every event is there once, and the sum is 0."""
    newest = store.stream_info("$all").stream_version
    wait_until(
        lambda: store.subscription_info("$all", NAME).checkpoint == newest, timeout=10 * PATIENCE
    )
    with ledger.connect() as connection:
        found = connection.execute("SELECT * FROM entries").fetchall()
        found += [event.data for event in store.stream_all_forward(event_types=["Booked"])]
        differing = connection.execute(
            "SELECT account FROM accounts WHERE balance <>"
            " (SELECT sum(e.amount) FROM entries e WHERE e.account = accounts.account)"
        ).fetchall()
        total = connection.execute("SELECT sum(balance) FROM accounts").fetchone()
    moved = list(store.stream_all_forward(event_types=["Moved"]))
    assert len(moved) == ledger.appended
    assert Counter(map(tuple, found)) == Counter(entries(moved))
    assert sum(amount for _, _, amount in found) == 0
    assert (differing, total) == ([], (0,))


def endure(ledger: Ledger, faults: list[str], shortest: float, longest: float) -> None:
    """Let the ledger go through *faults*, with some seconds in between."""
    with ledger.observer() as store:
        for fault in faults:
            ledger.append(store, PER_FAULT)
            threading.Event().wait(ledger.rng.uniform(shortest, longest))
            getattr(ledger, fault)()
        assert_balanced(ledger, store)


def test_whoever_is_killed_or_frozen_each_effect_is_there_once(ledger: Ledger) -> None:
    """G39: the sum is 0."""
    endure(ledger, ["kill_a_process", "freeze_a_process", "kill_the_server"] * 2, 0.2, 1.0)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_kills_leave_each_effect_there_once(ledger: Ledger) -> None:
    """G39: of 6,000 events."""
    faults = ledger.rng.choices(["kill_a_process", "kill_the_server"], weights=[3, 1], k=50)
    endure(ledger, faults, 1.0, 5.0)
    assert ledger.appended >= 5_000
