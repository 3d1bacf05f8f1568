"""A transaction, of whoever it is, has locked the row of a subscription that somebody claims."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from eventstore import (
    Config,
    EventData,
    EventStore,
    ExpectedVersion,
    SubscriptionInUseError,
    SubscriptionState,
)
from eventstore.client.targets import storage_for
from eventstore.ports.ownership import Claimed, Held
from eventstore_actors.owning.claim import Claimant
from tests.acceptance.guarantees.conftest import Record, Settings, Start, wait_for_checkpoint
from tests.support.recorder import Seen
from tests.support.rooms import claim, soon
from tests.support.waiting import wait_until

NAME = "sub"


def append(store: EventStore, count: int) -> None:
    store.append_to_stream("s", ExpectedVersion.ANY, [EventData("X", n) for n in range(count)])


class Locking:
    """A transaction that has moved the one subscription of a store to another checkpoint."""

    def __init__(self, connection: psycopg.Connection, schema: str) -> None:
        self._connection = connection
        self._positions = sql.Identifier(schema, "positions")

    def lock(self, checkpoint: int) -> None:
        moved = sql.SQL("UPDATE {} SET checkpoint = %s").format(self._positions)
        assert self._connection.execute(moved, [checkpoint]).rowcount == 1

    def end(self) -> None:
        self._connection.commit()


@pytest.fixture
def locking(settings: Settings) -> Iterator[Locking]:
    with psycopg.connect(settings["dsn"]) as connection:
        yield Locking(connection, settings["schema"])
        connection.rollback()


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One item per claim that was made in this process."""
    made: list[None] = []
    real = Claimant._claim

    def counted(self: Claimant) -> Claimed | Held:
        made.append(None)
        return real(self)

    monkeypatch.setattr(Claimant, "_claim", counted)
    return made


def free(store: EventStore, record: Record) -> None:
    """Leave a subscription that nobody owns."""
    store.subscribe_to_all_streams(NAME, record(Seen())).unsubscribe()


def test_who_claims_a_locked_row_waits_and_takes_over_when_the_transaction_ends(
    store: EventStore, record: Record, locking: Locking, claims: list[None]
) -> None:
    """G27: and goes on behind the checkpoint that the transaction stored."""
    seen = Seen()
    free(store, record)
    append(store, 5)
    locking.lock(checkpoint=3)

    subscription = store.subscribe_to_all_streams(NAME, record(seen))

    assert subscription.state is SubscriptionState.WAITING
    claims.clear()
    wait_until(lambda: len(claims) >= 3)
    assert seen.messages == []
    locking.end()
    assert seen.wait(2) == [4, 5]


def test_who_will_not_wait_is_told_that_a_transaction_has_locked_the_row(
    store: EventStore, record: Record, locking: Locking
) -> None:
    """G17: nobody owns it; the refusal leaves nothing behind."""
    seen = Seen()
    free(store, record)
    append(store, 1)
    locking.lock(checkpoint=0)
    with pytest.raises(SubscriptionInUseError, match="a transaction that has locked its row"):
        store.subscribe_to_all_streams(NAME, record(seen), when_owned="error")
    locking.end()
    store.subscribe_to_all_streams(NAME, record(seen), when_owned="error")
    assert seen.wait(1) == [1]


def test_a_dead_owner_is_not_named_as_the_reason_when_a_transaction_has_locked_the_row(
    store: EventStore, settings: Settings, record: Record, locking: Locking
) -> None:
    """G17: nobody waits for somebody who is gone."""
    storage = storage_for(Config(**settings))
    storage.open(init=False, deadline=soon())
    try:
        assert isinstance(claim(storage, NAME, lease=0.01), Claimed)
    finally:
        storage.close()
    locking.lock(checkpoint=0)
    wait_until(lambda: store.subscription_info("$all", NAME).owner is None)
    with pytest.raises(SubscriptionInUseError, match="a transaction that has locked its row"):
        store.subscribe_to_all_streams(NAME, record(Seen()), when_owned="error")
    locking.end()
    store.subscribe_to_all_streams(NAME, record(Seen()), when_owned="error")


def test_a_dead_owners_row_is_taken_over_when_the_transaction_that_locks_it_ends(
    start: Start,
    settings: Settings,
    observer: EventStore,
    record: Record,
    locking: Locking,
    claims: list[None],
) -> None:
    """G16, G27: its lease ran out before, and nobody else could renew it."""
    (owner,) = start()
    append(observer, 5)
    owner.do("subscribe", name=NAME, ack_every=0).wait_delivered(NAME, 5)
    owner.do("ack", name=NAME, position=2).wait("acked")
    wait_for_checkpoint(observer, 2)
    seen = Seen()
    with EventStore.connect(Config(**settings)) as standby:
        standby.subscribe_to_all_streams(NAME, record(seen))
        locking.lock(checkpoint=3)
        owner.kill9()
        wait_until(lambda: observer.subscription_info("$all", NAME).owner is None)
        claims.clear()
        wait_until(lambda: len(claims) >= 3)
        assert seen.messages == []
        locking.end()
        assert seen.wait(2) == [4, 5]
    assert observer.subscription_info("$all", NAME).owner is None
