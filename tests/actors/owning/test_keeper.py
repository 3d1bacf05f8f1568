"""The keeper over both storages: renewals, checkpoints, pauses, releases, a database away."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import psycopg
import pykka
import pytest

from eventstore.model.config import Config
from eventstore.model.subscription import SubscriptionState
from eventstore.model.subscription_info import SubscriptionInfo
from eventstore.ports.ownership import Claimed, Fence, Held, Kept, Progress, Standing
from eventstore.ports.storage import KeeperSession, Storage
from eventstore.storages.postgres import PostgresStorage
from eventstore.storages.postgres.connecting.kept_connection import KeptConnection
from eventstore.storages.postgres.subscription_rows import PostgresKeeperSession
from eventstore_actors.kernel.messages import Changed, Keep, Release, Renewed, Touched
from eventstore_actors.state.announcements import News
from tests.actors.seated import append, let_pass, start_keeper
from tests.support.pgserver import TestServer
from tests.support.rooms import LONG, Ear, Rooms, claim, rooms_over, soon, stop
from tests.support.waiting import AGES, wait_until

LEASE = 2.0
POLL = 0.1
ID = 1
"""Of the first subscription of a store."""


class CountingSession:
    """A session that notes how many fences each statement was about."""

    def __init__(self, real: KeeperSession, statements: list[int]) -> None:
        self._real = real
        self._statements = statements

    def keep(self, progress: Sequence[Progress], lease: float, deadline: float) -> list[Kept]:
        self._statements.append(len(progress))
        return self._real.keep(progress, lease, deadline)

    def release(self, progress: Sequence[Progress], deadline: float) -> Collection[Fence]:
        return self._real.release(progress, deadline)

    def look(self, position_ids: Sequence[int], deadline: float) -> dict[int, Standing]:
        return self._real.look(position_ids, deadline)

    def erase(self, deadline: float) -> bool:
        return self._real.erase(deadline)

    def close(self) -> None:
        self._real.close()


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, lease=LEASE, poll_interval=POLL)


@pytest.fixture
def rooms(config: Config) -> Iterator[Rooms]:
    with rooms_over(config) as rooms:
        yield rooms


def owned(storage: Storage, name: str = "shipping", *, lease: float = LEASE) -> Fence:
    claimed = claim(storage, name, lease=lease)
    assert isinstance(claimed, Claimed)
    return claimed.fence


def progress(fence: Fence, checkpoint: int = 0) -> Progress:
    return Progress(fence, checkpoint, SubscriptionState.LIVE, None, 0)


def row(rooms: Rooms, name: str = "shipping") -> SubscriptionInfo:
    return rooms.storage.subscription_info("$all", name, soon())


def test_a_lease_is_renewed_until_it_is_released(rooms: Rooms) -> None:
    """G16: nobody else gets it, though two leases pass."""
    keeper, subscription = start_keeper(rooms), Ear()
    fence = owned(rooms.storage)
    keeper.tell(Keep(ID, progress(fence), subscription.ref))

    until = time.monotonic() + 2 * LEASE
    while time.monotonic() < until:
        asked_at = time.monotonic()
        renewed = subscription.next(Renewed)
        assert renewed.kept == Kept(fence, owned=True, stored=True, checkpoint=0, paused=False)
        assert renewed.good_until > asked_at, "it is good when it is told"
        assert isinstance(claim(rooms.storage, lease=LEASE), Held)

    done = pykka.ThreadingFuture[bool]()
    keeper.tell(Release(ID, progress(fence), done))
    assert done.get(timeout=LONG) is True
    assert isinstance(claim(rooms.storage, lease=LEASE), Claimed)


def test_a_lease_is_good_from_the_moment_at_which_its_renewal_was_sent(rooms: Rooms) -> None:
    """G16, G27."""
    keeper, subscription = start_keeper(rooms), Ear()
    before = time.monotonic()
    keeper.tell(Keep(ID, progress(owned(rooms.storage)), subscription.ref))

    renewed = subscription.next(Renewed)

    assert before + LEASE <= renewed.good_until <= time.monotonic() + LEASE
    assert renewed.good_until == renewed.asked_at + LEASE


def test_the_progress_of_all_goes_into_one_statement(config: Config) -> None:
    """ACK-02: at most one every tenth of a second, however much is acknowledged."""
    statements: list[int] = []

    def count(storage: Storage) -> Storage:
        session = storage.keeper_session
        storage.keeper_session = lambda: CountingSession(session(), statements)  # type: ignore[method-assign]
        return storage

    with rooms_over(config, count) as rooms:
        head = append(rooms, 50)
        keeper, subscription = start_keeper(rooms), Ear()
        fences = [owned(rooms.storage, f"s-{number}") for number in range(5)]
        began = time.monotonic()
        for position in range(1, head + 1):
            for fence in fences:
                keeper.tell(Keep(ID, progress(fence, position), subscription.ref))
            let_pass(0.01)
        for number in range(5):
            wait_until(lambda number=number: row(rooms, f"s-{number}").checkpoint == head)  # type: ignore[misc]
        took = time.monotonic() - began

        assert len(statements) <= 2 + took / 0.1
        assert max(statements) == 5


def test_progress_is_stored_long_before_the_next_renewal(config: Config) -> None:
    """G13, G26: after a crash no more than the last moment comes again."""
    with rooms_over(replace(config, lease=600)) as rooms:
        append(rooms, 2)
        keeper, subscription = start_keeper(rooms), Ear()
        fence = owned(rooms.storage)
        for checkpoint in (1, 2):
            keeper.tell(Keep(ID, progress(fence, checkpoint), subscription.ref))
            wait_until(lambda checkpoint=checkpoint: row(rooms).checkpoint == checkpoint)  # type: ignore[misc]


def test_what_is_urgent_does_not_wait(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    head = append(rooms, 2)
    keeper, subscription = start_keeper(rooms), Ear()
    fence = owned(rooms.storage)
    keeper.tell(Keep(ID, progress(fence, 1), subscription.ref))
    assert subscription.next(Renewed).kept.checkpoint == 1
    monkeypatch.setattr("eventstore_actors.owning.keeper.COALESCING", AGES)

    keeper.tell(Keep(ID, progress(fence, head), subscription.ref, urgent=True))

    while subscription.next(Renewed).kept.checkpoint < head:
        pass


def test_an_older_progress_never_replaces_a_newer_one(rooms: Rooms) -> None:
    """G16: within an epoch the checkpoint never moves backwards."""
    append(rooms, 3)
    keeper, subscription = start_keeper(rooms), Ear()
    fence = owned(rooms.storage)

    keeper.tell(Keep(ID, progress(fence, 3), subscription.ref))
    assert subscription.next(Renewed).kept.checkpoint == 3
    keeper.tell(Keep(ID, progress(fence, 1), subscription.ref, urgent=True))

    assert subscription.next(Renewed).kept.checkpoint == 3


def test_releases_are_announced_and_renewals_are_not(rooms: Rooms) -> None:
    """G22, G27: a standby elsewhere need not poll; five hundred leases make no storm."""
    keeper, subscription = start_keeper(rooms), Ear()
    fence = owned(rooms.storage)
    keeper.tell(Keep(7, progress(fence), subscription.ref))
    for _ in range(2):
        subscription.next(Renewed)
    announcements = rooms.shared.announcements
    announcements.close()
    assert announcements.take() is None
    announcements.open()

    done = pykka.ThreadingFuture[bool]()
    keeper.tell(Release(7, progress(fence), done))

    assert done.get(timeout=LONG) is True
    announcements.close()
    assert announcements.take() == News(events=False, subscriptions=frozenset({7}))


class GatedSession(CountingSession):
    """Notes how many each release was about; the first one waits until it is let go."""

    def __init__(self, real: KeeperSession, releases: list[int], gate: threading.Event) -> None:
        super().__init__(real, [])
        self._releases = releases
        self._gate = gate

    def release(self, progress: Sequence[Progress], deadline: float) -> Collection[Fence]:
        self._releases.append(len(progress))
        assert self._gate.wait(LONG)
        return super().release(progress, deadline)


def test_all_releases_go_into_one_statement(config: Config) -> None:
    """G26: a process with five hundred subscriptions stops as fast as one with two."""
    releases, gate = list[int](), threading.Event()

    def gated(storage: Storage) -> Storage:
        session = storage.keeper_session
        storage.keeper_session = lambda: GatedSession(session(), releases, gate)  # type: ignore[method-assign]
        return storage

    with rooms_over(config, gated) as rooms:
        keeper = start_keeper(rooms)
        fences = [owned(rooms.storage, f"s-{number}", lease=LONG) for number in range(6)]
        answers = [pykka.ThreadingFuture[bool]() for _ in fences]
        for number, (fence, done) in enumerate(zip(fences, answers, strict=True)):
            keeper.tell(Release(number, progress(fence), done))
            wait_until(lambda: releases)
        gate.set()
        assert all(done.get(timeout=LONG) for done in answers)
        assert releases == [1, 5]


def test_what_is_announced_meanwhile_splits_no_releases(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G26: each release is announced, also to this keeper, while the next ones come."""
    monkeypatch.setattr("eventstore_actors.owning.keeper.GATHERING", 1.0)
    releases, gate = list[int](), threading.Event()
    gate.set()

    def counting(storage: Storage) -> Storage:
        session = storage.keeper_session
        storage.keeper_session = lambda: GatedSession(session(), releases, gate)  # type: ignore[method-assign]
        return storage

    with rooms_over(config, counting) as rooms:
        keeper, subscription = start_keeper(rooms), Ear()
        kept, *fences = [owned(rooms.storage, f"s-{number}", lease=LONG) for number in range(4)]
        keeper.tell(Keep(ID, progress(kept), subscription.ref))
        answers = [pykka.ThreadingFuture[bool]() for _ in fences]
        for number, (fence, done) in enumerate(zip(fences, answers, strict=True), ID + 1):
            keeper.tell(Release(number, progress(fence), done))
            keeper.tell(Touched(frozenset({ID})))
            subscription.next(Changed)
        assert all(done.get(timeout=LONG) for done in answers)
        assert releases == [3]


def test_who_was_fenced_is_told_once_and_forgotten(rooms: Rooms) -> None:
    """G16: another one of the runtime is not concerned."""
    append(rooms, 1)
    keeper, subscription, other = start_keeper(rooms), Ear(), Ear()
    fence = owned(rooms.storage)
    keeper.tell(Keep(ID, progress(fence), subscription.ref))
    keeper.tell(Keep(ID, progress(owned(rooms.storage, "other")), other.ref))
    subscription.next(Renewed)

    rooms.storage.reset_subscription("$all", "shipping", 1, soon())

    while (renewed := subscription.next(Renewed)).kept.owned:
        pass
    assert renewed.kept.fence == fence
    other.so_far()
    other.next(Renewed)
    other.next(Renewed)
    assert subscription.so_far() == []


def test_a_change_that_is_announced_is_looked_at_at_once(config: Config) -> None:
    """G16: a reset elsewhere ends the ownership here before the next renewal."""
    with rooms_over(replace(config, lease=3_600)) as rooms:
        keeper, subscription = start_keeper(rooms), Ear()
        keeper.tell(Keep(ID, progress(owned(rooms.storage)), subscription.ref))
        subscription.next(Renewed)
        rooms.storage.reset_subscription("$all", "shipping", 0, soon())

        keeper.tell(Touched(frozenset({ID})))

        while subscription.next(Renewed).kept.owned:
            pass


@pytest.mark.parametrize("deleted", [False, True])
def test_a_pause_or_an_end_elsewhere_is_seen_within_the_poll_interval(
    config: Config, *, deleted: bool
) -> None:
    """G20: by a read; nothing announces it here, and the next renewal is an age away."""
    with rooms_over(replace(config, lease=3_600)) as rooms:
        keeper, subscription = start_keeper(rooms), Ear()
        keeper.tell(Keep(ID, progress(owned(rooms.storage)), subscription.ref))
        subscription.next(Renewed)

        if deleted:
            rooms.storage.delete_subscription("$all", "shipping", soon())
            while subscription.next(Renewed).kept.owned:
                pass
        else:
            rooms.storage.set_paused("$all", "shipping", paused=True, deadline=soon())
            while not subscription.next(Renewed).kept.paused:
                pass


def test_the_lease_of_a_dead_subscription_is_not_renewed(rooms: Rooms) -> None:
    """G21, G24."""
    keeper, subscription = start_keeper(rooms), Ear()
    keeper.tell(Keep(ID, progress(owned(rooms.storage)), subscription.ref))
    subscription.next(Renewed)

    subscription.ref.stop(timeout=LONG)

    wait_until(lambda: isinstance(claim(rooms.storage, lease=LEASE), Claimed))


def test_a_stopped_keeper_has_stored_what_it_was_told(rooms: Rooms) -> None:
    """G26."""
    head = append(rooms, 3)
    keeper, subscription = start_keeper(rooms), Ear()
    fence = owned(rooms.storage)
    keeper.tell(Keep(ID, progress(fence), subscription.ref))
    subscription.next(Renewed)
    keeper.tell(Keep(ID, progress(fence, head), subscription.ref))

    stop(keeper)

    assert row(rooms).checkpoint == head


def test_a_killed_connection_delays_and_loses_nothing(dsn: str, schema: str) -> None:
    """G24, G25."""
    config = Config(dsn, schema=schema, lease=LEASE, poll_interval=POLL)
    with rooms_over(config) as rooms:
        head = append(rooms, 1)
        keeper, subscription = start_keeper(rooms), Ear()
        fence = owned(rooms.storage)
        keeper.tell(Keep(ID, progress(fence), subscription.ref))
        subscription.next(Renewed)

        kill_keeper(rooms)
        keeper.tell(Keep(ID, progress(fence, head), subscription.ref))

        wait_until(lambda: row(rooms).checkpoint == head)
        assert keeper.is_alive()


def kill_keeper(rooms: Rooms) -> None:
    """End the keeper's backend, as an administrator may."""
    assert isinstance(rooms.storage, PostgresStorage)
    (session,) = (
        each for each in rooms.storage._sessions if isinstance(each, PostgresKeeperSession)
    )
    assert isinstance(session._connection, KeptConnection)
    connection = session._connection._connection
    assert connection is not None
    with psycopg.connect(rooms.storage.dsn, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.raw.info.backend_pid])


def test_a_row_that_is_locked_delays_no_other(dsn: str, schema: str) -> None:
    """G22: and is renewed soon after it is free, not a third of a lease later."""
    config = Config(dsn, schema=schema, lease=4 * AGES, poll_interval=POLL)
    with rooms_over(config) as rooms, psycopg.connect(dsn) as locking:
        head = append(rooms, 1)
        keeper, subscription = start_keeper(rooms), Ear()
        fence, other = owned(rooms.storage), owned(rooms.storage, "other")
        table = psycopg.sql.Identifier(schema, "positions")
        lock = psycopg.sql.SQL("SELECT FROM {} ORDER BY position_id LIMIT 1 FOR UPDATE").format(
            table
        )
        locking.execute(lock)
        for each in (fence, other):
            keeper.tell(Keep(ID, progress(each, head), subscription.ref))
        while subscription.next(Renewed).kept.fence != other:
            pass
        assert row(rooms).checkpoint == 0

        locking.commit()

        wait_until(lambda: row(rooms).checkpoint == head)


def test_it_goes_on_by_itself_when_the_server_is_back() -> None:
    """G25: releases are answered meanwhile; what is to be stored waits."""
    with TestServer() as server, rooms_over(Config(server.dsn, lease=LEASE)) as rooms:
        head = append(rooms, 1)
        keeper, subscription = start_keeper(rooms), Ear()
        fence = owned(rooms.storage, lease=LONG)
        other = owned(rooms.storage, "other")
        keeper.tell(Keep(ID, progress(fence), subscription.ref))
        subscription.next(Renewed)

        server.stop("immediate")
        keeper.tell(Keep(ID, progress(fence, head), subscription.ref))
        done = pykka.ThreadingFuture[bool]()
        keeper.tell(Release(ID, progress(other), done))
        assert done.get(timeout=LONG) is False
        let_pass(LEASE)
        assert keeper.is_alive()
        server.start()

        while subscription.next(Renewed).kept.checkpoint < head:
            pass
