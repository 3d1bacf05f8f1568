"""The protocol of leases under any history: runtimes, a row, and clocks that all go their own way.

What runs is the product: keepers, subscriptions and claimants of up to three runtimes, stepped by
hand, on a real storage. What the rules move is everything that a machine could move: which actor
handles its next message, how long a question is on its way, whether its answer arrives, and every
clock. The storage's clock jumps in both directions. The clocks of the runtimes are those of
`time.monotonic`, the only ones they decide by, so they jump forwards alone: a machine that slept,
or was slowed down; one stands still while the others go on. Wall clocks of runtimes decide nothing.

A runtime that no rule steps is frozen; its answers and its subscriber's acknowledgements come late.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from psycopg.conninfo import make_conninfo

from eventstore.model.config import Config
from eventstore.storages.memory import MemoryStorage
from eventstore.storages.postgres import PostgresStorage
from eventstore_actors.owning import keeper
from tests.support.clocks import OF_LEASES, TimedMemory, TimedPostgres, TimedStore, Watch
from tests.support.effort import examples
from tests.support.lease_machine import LEASE, POLL, LeaseMachine
from tests.support.rooms import soon

HISTORIES = settings(
    stateful_step_count=40,
    # To explain a history is to trace it line by line, again and again: a test may run out of time.
    phases=[Phase.reuse, Phase.generate, Phase.shrink],
)

AS_FOUND = settings(HISTORIES, phases=[Phase.generate], database=None)
"""A history that fails is shown as it is: to shorten it takes minutes on a server.

Nor is it kept, or the test in memory, to which the same name belongs, would take it for short.
"""

Leases = type[LeaseMachine]


@contextmanager
def leases_on(
    store: TimedStore, config: Config, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Leases]:
    """Return a machine whose histories all happen in *store*, each to a subscription of its own."""

    class Leases(LeaseMachine):
        pass

    # No time passes in a step: what is released is so at once.
    monkeypatch.setattr(keeper, "GATHERING", 0.0)
    Leases.config, Leases.store, Leases.watch = config, store, Watch(monkeypatch, OF_LEASES)
    Leases.keeper, Leases.appender = store.storage.keeper_session(), store.storage.append_session()
    yield Leases
    Leases.keeper.close()
    Leases.appender.close()


@pytest.fixture
def leases_in_postgresql(
    dsn: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Leases]:
    # No power fails here: commits that do not wait for the disk leave time for more histories.
    hasty = make_conninfo(dsn, options="-c synchronous_commit=off")
    config = replace(impatient(hasty, schema), allow_unsafe_durability=True)
    storage = PostgresStorage(config)
    storage.open(init=True, deadline=soon())
    try:
        with psycopg.connect(hasty, autocommit=True) as psql:
            store = TimedPostgres(storage, psql, schema)
            with leases_on(store, config, monkeypatch) as leases:
                yield leases
    finally:
        storage.close()


@pytest.fixture
def leases_in_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Leases]:
    config = impatient("memory:")
    storage = MemoryStorage(config)
    storage.open(init=True, deadline=soon())
    with leases_on(TimedMemory(storage, monkeypatch), config, monkeypatch) as leases:
        yield leases
    storage.close()


def impatient(dsn: str, schema: str = "eventstore") -> Config:
    return Config(dsn, schema=schema, lease=LEASE, poll_interval=POLL, pool_size=2)


def test_leases_in_postgresql_hold_whatever_the_clocks_say(leases_in_postgresql: Leases) -> None:
    """G13, G14, G15, G16, G27: also through crashes, resets, deletes, and answers that are lost."""
    run_state_machine_as_test(
        leases_in_postgresql, settings=settings(AS_FOUND, max_examples=examples(8))
    )


def test_leases_in_memory_hold_whatever_the_clocks_say(leases_in_memory: Leases) -> None:
    """G13, G14, G15, G16, G27: also through crashes, resets, deletes, and answers that are lost."""
    run_state_machine_as_test(
        leases_in_memory, settings=settings(HISTORIES, max_examples=examples(50))
    )


def test_what_a_read_that_outlasts_the_lease_found_waits_for_the_next_renewal(
    leases_in_memory: Leases,
) -> None:
    """G16: it may be the successor's by then."""
    history = leases_in_memory()
    history.begin(whole=False, clocks_jump=False)
    owner = history.some(0)
    owner.turn()
    history.append(1, {0})
    owner.line.trip = LEASE

    owner.step(owner.subscription)

    assert not owner.believes
    assert owner.delivered == [1, 2]
    history.turn(0)
    assert owner.delivered == [1, 2, 3]


def test_a_lease_is_renewed_three_times_however_often_pauses_are_looked_at(
    leases_in_memory: Leases,
) -> None:
    """G16: the looks come at other moments than the renewals, and do not put them off."""
    step = POLL / 4
    history = leases_in_memory()
    history.begin(whole=False, clocks_jump=False)
    history.turn(0)
    row = history.world.judge.row
    assert row is not None

    ages = []
    for _ in range(int(3 * LEASE / step)):
        history.pass_time(step)
        history.turn(0)
        assert row.renewed is not None
        ages.append(history.world.judge.now - row.renewed)

    assert max(ages) < LEASE / 3
