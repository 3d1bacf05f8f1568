"""A batch is settled by what its row says, whoever else has changed it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from eventstore.model.errors import StorageUnavailableError
from eventstore.ports.effects import Batch, Settled, Settlement
from eventstore.ports.ownership import Claimed, Fence
from eventstore.ports.waits import BLOCKING, run_blocking
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User
from tests.eventstore.postgres.conftest import Psql

LEVELS = ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")
Handle = Callable[..., Settled]


@pytest.fixture
def claimed(user: User) -> Claimed:
    user.store("order-1", 9)
    return user.own()


@pytest.fixture
def handle(user: User, psql: Psql, claimed: Claimed) -> Handle:
    """Handle events 4 to 6 after the first three; each writes a row."""
    psql("CREATE TABLE {}.effects (number bigint)")
    user.keep(claimed.fence, 3)

    def handle(
        meanwhile: Callable[[Any], object] = lambda _: None, batch: Batch | None = None
    ) -> Settled:
        async def write(connection: Any) -> None:
            connection.execute(f"INSERT INTO {psql.schema}.effects VALUES (1)".encode())
            meanwhile(connection)

        batch = batch or Batch(claimed.fence, 3, 3, 6)
        return run_blocking(user.storage.handle(batch, write, 10.0, BLOCKING))

    return handle


@pytest.fixture
def effects(psql: Psql) -> Callable[[], int]:
    return lambda: psql("SELECT count(*)::int FROM {}.effects")[0][0]


def test_effects_and_checkpoint_are_stored_together(
    user: User, handle: Handle, effects: Callable[[], int]
) -> None:
    """G39."""
    seen: list[tuple[int, int]] = []
    settled = handle(lambda _: seen.append((effects(), user.info().checkpoint)))
    assert seen == [(0, 3)]
    assert settled == Settled(Settlement.DONE, 6)
    assert (effects(), user.info().checkpoint) == (1, 6)


def test_another_owner_fences_what_was_not_committed(
    user: User, psql: Psql, handle: Handle, effects: Callable[[], int]
) -> None:
    """G39, G16: who took over while the function ran, and after its lease."""

    def take_over(_: object) -> None:
        psql("UPDATE {}.leases SET expires_at = now()")
        user.own()

    assert handle(take_over).how is Settlement.FENCED
    assert (effects(), user.info().checkpoint) == (0, 3)


@pytest.mark.parametrize(
    "stale",
    [
        lambda fence: replace(fence, position_id=fence.position_id + 1),
        lambda fence: replace(fence, owner=uuid4()),
        lambda fence: replace(fence, epoch=fence.epoch - 1),
    ],
)
def test_a_fence_must_match_in_all_three(
    user: User,
    claimed: Claimed,
    handle: Handle,
    effects: Callable[[], int],
    callers: psycopg.Connection,
    stale: Callable[[Fence], Fence],
) -> None:
    """G39, G16: else nothing is stored, neither here nor by a caller."""
    batch = Batch(stale(claimed.fence), 3, 3, 6)
    assert handle(batch=batch).how is Settlement.FENCED
    assert not run_blocking(user.storage.checkpoint(batch, callers, soon(), BLOCKING))
    assert (effects(), user.info().checkpoint) == (0, 3)


@pytest.mark.parametrize("position", [0, 3, 9])
def test_a_reset_fences_what_was_not_committed(
    user: User, handle: Handle, effects: Callable[[], int], position: int
) -> None:
    """G39, G16: wherever it set the checkpoint."""
    reset = user.storage.reset_subscription
    settled = handle(lambda _: reset("$all", "shipping", position, soon()))
    assert settled.how is Settlement.FENCED
    assert (effects(), user.info().checkpoint) == (0, position)


def test_a_deleted_subscription_fences(
    user: User, handle: Handle, effects: Callable[[], int]
) -> None:
    """G39, G16."""
    delete = user.storage.delete_subscription
    assert handle(lambda _: delete("$all", "shipping", soon())).how is Settlement.FENCED
    assert effects() == 0


@pytest.mark.parametrize(
    ("checkpoint", "how"),
    [
        (2, Settlement.FENCED),
        (3, Settlement.DONE),
        (4, Settlement.PARTLY),
        (5, Settlement.PARTLY),
        (6, Settlement.DONE),
        (7, Settlement.DONE),
    ],
)
def test_what_was_handled_is_not_handled_again(
    psql: Psql, handle: Handle, effects: Callable[[], int], checkpoint: int, how: Settlement
) -> None:
    """G39: a transaction of before that committed late, or a database that was set back."""
    move = f"UPDATE {{}}.positions SET checkpoint = {checkpoint}"
    settled = handle(lambda _: psql(move))
    stored = 6 if checkpoint == 3 else checkpoint
    assert settled == Settled(how, stored)
    assert effects() == (checkpoint == 3)


@pytest.mark.parametrize("stream_id", ["$all", "order-1"])
def test_events_that_the_database_lost_have_no_effects(
    user: User, handle: Handle, effects: Callable[[], int], stream_id: str
) -> None:
    """G39, G15: a standby that was behind is promoted; other events will have their positions."""
    fence = user.own("other", stream_id).fence
    assert handle(batch=Batch(fence, 0, 0, 10)).how is Settlement.FENCED
    assert (effects(), user.info("other", stream_id).checkpoint) == (0, 0)
    assert handle(batch=Batch(fence, 0, 0, 9)).how is Settlement.DONE


@pytest.mark.parametrize("stream_id", ["$all", "order-1"])
def test_what_a_handler_appends_takes_no_place_of_events_that_the_database_lost(
    user: User, handle: Handle, effects: Callable[[], int], stream_id: str
) -> None:
    """G39, G15: it is not called; else the checkpoint would pass its own events."""
    batch = Batch(user.own("other", stream_id).fence, 0, 0, 10)
    settled = handle(lambda _: user.store("order-1", 2), batch)
    assert settled == Settled(Settlement.FENCED, 0)
    assert (effects(), user.info("other", stream_id).head) == (0, 9)


def test_a_caller_stores_no_checkpoint_of_events_that_the_database_lost(
    user: User, claimed: Claimed, callers: psycopg.Connection
) -> None:
    """G39, G15: its transaction is aborted, and the subscription is lost."""
    batch = Batch(claimed.fence, 0, 0, 10)
    assert not run_blocking(user.storage.checkpoint(batch, callers, soon(), BLOCKING))
    settled = run_blocking(user.storage.settle(batch, KeyError(), BLOCKING))
    assert settled == Settled(Settlement.FENCED, 0)


def test_a_lost_connection_before_the_commit_is_a_failure(
    user: User, psql: Psql, handle: Handle, effects: Callable[[], int]
) -> None:
    """G39, G25: the row says that nothing was stored."""

    def kill(connection: Any) -> None:
        psql(f"SELECT pg_terminate_backend({connection.info.backend_pid}, 10000)")

    with pytest.raises(StorageUnavailableError):
        handle(kill)
    assert (effects(), user.info().checkpoint) == (0, 3)
    assert handle().how is Settlement.DONE


def test_a_transaction_that_is_idle_for_too_long_is_ended(
    user: User, psql: Psql, claimed: Claimed, effects: Callable[[], int], handle: Handle
) -> None:
    """G39, G27: a frozen owner keeps no lock; its successor goes on."""

    async def freeze(connection: Any) -> None:
        connection.execute(f"INSERT INTO {psql.schema}.effects VALUES (1)".encode())
        alive = f"SELECT FROM pg_stat_activity WHERE pid = {connection.info.backend_pid}"
        while psql(alive):
            pass

    with pytest.raises(StorageUnavailableError):
        run_blocking(user.storage.handle(Batch(claimed.fence, 3, 3, 6), freeze, 0.2, BLOCKING))
    assert effects() == 0


@pytest.fixture
def callers(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn) as connection:
        yield connection


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("when", ["before the snapshot", "after the snapshot"])
def test_the_fence_holds_under_every_isolation_level(
    user: User, psql: Psql, claimed: Claimed, callers: psycopg.Connection, level: str, when: str
) -> None:
    """G39, G16: a snapshot of before the takeover does not hide it."""
    fence = claimed.fence

    def take_over() -> None:
        psql("UPDATE {}.leases SET expires_at = now()")
        user.own()

    if when == "before the snapshot":
        take_over()
    callers.execute(f"SET TRANSACTION ISOLATION LEVEL {level}".encode())
    callers.execute("SELECT 1")
    if when == "after the snapshot":
        take_over()
    store = f"SELECT {psql.schema}.checkpoint_in_transaction(1000, %s, %s, %s, 0, 0, 6, NULL)"
    place = (fence.position_id, fence.owner, fence.epoch)
    try:
        row = callers.execute(store.encode(), place).fetchone()
        assert row == (False,)
        callers.commit()
    except psycopg.errors.SerializationFailure:
        assert level != "READ COMMITTED"
        assert when == "after the snapshot"
        callers.rollback()
    assert user.info().checkpoint == 0


@pytest.mark.parametrize("level", LEVELS)
def test_a_renewal_disturbs_no_transaction(
    user: User, psql: Psql, claimed: Claimed, callers: psycopg.Connection, level: str
) -> None:
    """G39, G16: under every isolation level, and it waits for none."""
    fence = claimed.fence
    callers.execute(f"SET TRANSACTION ISOLATION LEVEL {level}".encode())
    callers.execute("SELECT 1")
    assert user.keep(fence, 0).owned
    store = f"SELECT {psql.schema}.checkpoint_in_transaction(1000, %s, %s, %s, 0, 0, 6, NULL)"
    place = (fence.position_id, fence.owner, fence.epoch)
    assert callers.execute(store.encode(), place).fetchone() == (True,)
    kept = user.keep(fence, 0)
    assert (kept.owned, kept.checkpoint) == (True, 0)
    callers.commit()
    assert user.info().checkpoint == 6
