"""No call blocks longer than its deadline: not for a lock, and not on a network that is silent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest

from eventstore.model.config import Config
from eventstore.model.errors import OutcomeUnknownError, StorageUnavailableError
from eventstore.model.subscription import SubscriptionState
from eventstore.ports.ownership import Progress
from eventstore.ports.reads import ReadDirection
from eventstore.ports.storage import AppendSession
from eventstore.ports.stored_events import Committed
from eventstore.ports.stored_snapshots import EncodedSnapshot
from eventstore.storages.postgres import PostgresStorage
from tests.conformance.conftest import soon
from tests.conformance.port.conftest import User, events, part
from tests.eventstore.postgres.conftest import Psql
from tests.support.late_answers import expect_late_answers
from tests.support.proxy import Proxy
from tests.support.waiting import PATIENCE, wait_until

SHORT = 1.5


def shortly() -> float:
    return time.monotonic() + SHORT


@contextmanager
def taking_about(seconds: float) -> Iterator[None]:
    """Fail unless the block takes about that long, and does not hang."""
    started = time.monotonic()
    yield
    assert seconds / 4 <= time.monotonic() - started < seconds + PATIENCE


@contextmanager
def held(psql: Psql, statement: str) -> Iterator[None]:
    """Somebody else holds a lock meanwhile."""
    with psql.connection.transaction():
        psql(statement)
        yield


@pytest.fixture(autouse=True)
def _late_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    expect_late_answers(monkeypatch)


@pytest.fixture
def session(storage: PostgresStorage) -> AppendSession:
    return storage.append_session()


# ── locks ────────────────────────────────────────────────────────────────────────────────────────


def test_an_append_waits_for_the_lock_until_its_deadline(
    session: AppendSession, psql: Psql
) -> None:
    """G25: then it is certain that nothing was written, and the connection is kept."""
    session.append([(part("order-1", events(1)),)], soon())
    backend = psql("SELECT pid FROM pg_stat_activity WHERE query LIKE '%append_events%'")
    with (
        held(psql, "SELECT {}.lock_head(1000)"),
        taking_about(SHORT),
        pytest.raises(StorageUnavailableError) as refused,
    ):
        session.append([(part("order-1", events(1)),)], shortly())
    assert isinstance(refused.value.__cause__, psycopg.errors.LockNotAvailable)
    outcome = session.append([(part("order-1", events(1)),)], soon())[0]
    assert isinstance(outcome, Committed)
    assert outcome.results[0].last_version == 2
    assert psql("SELECT pid FROM pg_stat_activity WHERE query LIKE '%append_events%'")[0] in backend


def test_the_lock_timeout_of_the_session_comes_back(storage: PostgresStorage, psql: Psql) -> None:
    """G34: through a pooler the session may be somebody else's next."""
    psql("SET lock_timeout = '7s'")
    with psql.connection.transaction():
        psql(f"SELECT {{}}.append_events(5, false{', NULL' * 15})")
        psql("SELECT {}.pause_subscription(5, 'a', 'b', true)")
        assert psql("SHOW lock_timeout") == [("7s",)]
    assert psql("SHOW lock_timeout") == [("7s",)]


def test_a_lock_on_a_table_holds_an_append_up_no_longer(session: AppendSession, psql: Psql) -> None:
    """G25, G33: a migration that locks is waited for, until the deadline."""
    session.append([(part("order-1", events(1)),)], soon())
    with (
        held(psql, "LOCK TABLE {}.events IN ACCESS EXCLUSIVE MODE"),
        taking_about(SHORT),
        pytest.raises((StorageUnavailableError, OutcomeUnknownError)),
    ):
        session.append([(part("order-1", events(1)),)], shortly())


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(
            lambda s: s.set_paused("$all", "n", paused=True, deadline=shortly()), id="pause"
        ),
        pytest.param(lambda s: s.reset_subscription("$all", "n", 0, shortly()), id="reset"),
        pytest.param(lambda s: s.delete_subscription("$all", "n", shortly()), id="delete"),
    ],
)
def test_a_change_waits_for_a_row_until_its_deadline(
    user: User, psql: Psql, use: Callable[[PostgresStorage], None]
) -> None:
    """G25: nothing was changed then."""
    user.own("n")
    with (
        held(psql, "SELECT FROM {}.subscriptions, {}.positions FOR UPDATE"),
        taking_about(SHORT),
        pytest.raises(StorageUnavailableError),
    ):
        use(user.storage)  # type: ignore[arg-type]
    assert user.info("n").owner is not None
    assert not user.info("n").paused


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda s: s.record_snapshot("a", 1, snapshot(b"2"), shortly()), id="record"),
        pytest.param(lambda s: s.delete_snapshot("a", "T", shortly()), id="delete"),
    ],
)
def test_a_change_of_a_snapshot_waits_for_its_row_until_the_deadline(
    user: User, psql: Psql, use: Callable[[PostgresStorage], bool]
) -> None:
    """G25: nothing was changed then."""
    user.store("a")
    user.storage.record_snapshot("a", 1, snapshot(b"1"), soon())
    with (
        held(psql, "SELECT FROM {}.snapshots FOR UPDATE"),
        taking_about(SHORT),
        pytest.raises(StorageUnavailableError),
    ):
        use(user.storage)  # type: ignore[arg-type]
    assert psql("SELECT data FROM {}.snapshots") == [(b"1",)]


def snapshot(data: bytes) -> EncodedSnapshot:
    return EncodedSnapshot("T", "json", data, None)


def test_a_lease_that_somebody_locked_costs_no_other_its_lease(user: User, psql: Psql) -> None:
    """G16, G22: it is left out of the answer, the others are renewed."""
    first, second, third = (user.own(name) for name in ("first", "second", "third"))
    user.store("order-1", 5)
    progress = [
        Progress(c.fence, 5, SubscriptionState.LIVE, None, 0) for c in (first, second, third)
    ]
    locked = f"SELECT FROM {{}}.leases WHERE position_id = {second.fence.position_id} FOR UPDATE"
    with held(psql, locked):
        kept = user.keeper.keep(progress, 10.0, soon())
        assert [each.fence for each in kept] == [first.fence, third.fence]
    assert [each.checkpoint for each in user.keeper.keep(progress, 10.0, soon())] == [5, 5, 5]


def test_a_position_that_somebody_locked_costs_nobody_a_lease(user: User, psql: Psql) -> None:
    """G16, G22: it is renewed as the others are; its checkpoint has to be sent again."""
    first, second, third = (user.own(name) for name in ("first", "second", "third"))
    user.store("order-1", 5)
    progress = [
        Progress(c.fence, 5, SubscriptionState.LIVE, None, 0) for c in (first, second, third)
    ]
    locked = f"SELECT FROM {{}}.positions WHERE position_id = {second.fence.position_id} FOR UPDATE"
    with held(psql, locked):
        kept = user.keeper.keep(progress, 10.0, soon())
        assert [each.owned for each in kept] == [True, True, True]
        assert [each.stored for each in kept] == [True, False, True]
    assert [user.info(name).checkpoint for name in ("first", "second", "third")] == [5, 0, 5]
    assert [each.checkpoint for each in user.keeper.keep(progress, 10.0, soon())] == [5, 5, 5]


def test_a_locked_table_of_subscriptions_is_unavailable(user: User, psql: Psql) -> None:
    """G25: then nothing was renewed, and the call ends at its deadline."""
    owned = user.own()
    progress = [Progress(owned.fence, 0, SubscriptionState.LIVE, None, 0)]
    with (
        held(psql, "LOCK TABLE {}.leases IN ACCESS EXCLUSIVE MODE"),
        taking_about(SHORT),
        pytest.raises(StorageUnavailableError) as refused,
    ):
        user.keeper.keep(progress, 10.0, shortly())
    assert isinstance(refused.value.__cause__, psycopg.errors.LockNotAvailable)


# ── a silent network ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def proxy(dsn: str) -> Iterator[Proxy]:
    with Proxy(dsn) as proxy:
        yield proxy


@pytest.fixture
def far(proxy: Proxy, config: Config, storage: PostgresStorage) -> Iterator[User]:
    """A user of the same store behind the proxy, connected already."""
    behind = PostgresStorage(replace(config, dsn=proxy.dsn))
    behind.open(init=False, deadline=soon())
    user = User(behind)
    user.store("order-1")
    user.keeper.look([1], soon())
    yield user
    user.close()
    behind.close()


def test_an_append_into_a_black_hole_is_unknown_at_its_deadline(far: User, proxy: Proxy) -> None:
    """G25: it was sent, so nobody can know; and the next one gets through on a new connection."""
    proxy.swallow()
    with taking_about(SHORT), pytest.raises(OutcomeUnknownError, match="deadline"):
        far.appender.append([(part("order-1", events(1)),)], shortly())
    proxy.pass_on()
    assert far.store("order-1").results[0].last_version == 2


def test_an_append_whose_answer_is_lost_is_found_again(far: User, proxy: Proxy) -> None:
    """G6, G25: the server got it and stored it; the same ids return the first result."""
    append = (part("order-1", events(2)),)
    proxy.swallow(after_bytes_to_server=1_000_000)
    with pytest.raises(OutcomeUnknownError):
        far.appender.append([append], shortly())
    proxy.pass_on()
    again = far.appender.append([append], soon())[0]
    assert isinstance(again, Committed)
    assert again.repeated
    assert again.results[0].last_version == 3


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(
            lambda u: u.storage.read_all(1, 9, ReadDirection.FORWARD, shortly()), id="read"
        ),
        pytest.param(lambda u: u.storage.subscriptions(shortly()), id="list"),
        pytest.param(lambda u: u.keeper.look([1], shortly()), id="keeper"),
    ],
)
def test_nothing_else_blocks_in_a_black_hole(
    far: User, proxy: Proxy, use: Callable[[User], object]
) -> None:
    """G25: neither on a connection that is there already nor on a new one."""
    proxy.swallow()
    for _ in range(2):
        with (
            taking_about(SHORT),
            pytest.raises(StorageUnavailableError, match="before the deadline"),
        ):
            use(far)
    proxy.pass_on()


def test_a_pool_that_is_still_connecting_does_not_claim_to_be_in_use(
    far: User, proxy: Proxy
) -> None:
    """G25: who waited less than connecting takes is told the truth."""
    proxy.swallow()
    with pytest.raises(StorageUnavailableError, match="before the deadline"):
        far.storage.read_all(1, 9, ReadDirection.FORWARD, time.monotonic() + 0.05)
    proxy.pass_on()


def test_an_answer_that_came_as_the_deadline_passed_is_the_answer(storage: PostgresStorage) -> None:
    """G25: a refused lock proves that nothing was written, though the socket was shut down."""
    connection = storage._family.connector.connect(soon())
    connection._guard.late = True
    with pytest.raises(psycopg.errors.DivisionByZero):
        connection.execute(b"SELECT 1 / 0", (), soon())
    with pytest.raises(psycopg.errors.DivisionByZero), connection.transaction(soon()) as raw:
        raw.execute("SELECT 1 / 0")
    connection.close()


def test_connecting_into_a_black_hole_ends_at_the_deadline(
    config: Config, storage: PostgresStorage, proxy: Proxy
) -> None:
    """G25: even where the driver's own limit has whole seconds only."""
    proxy.swallow()
    behind = PostgresStorage(replace(config, dsn=proxy.dsn))
    with (
        taking_about(SHORT),
        pytest.raises(StorageUnavailableError, match="before the deadline"),
    ):
        behind.open(init=False, deadline=shortly())
    behind.close()
    proxy.cut()


def test_closing_gives_up_connecting(
    config: Config, storage: PostgresStorage, proxy: Proxy
) -> None:
    """G26: nobody waits for a server that does not answer."""
    proxy.swallow()
    behind = PostgresStorage(replace(config, dsn=proxy.dsn))
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(behind.subscriptions, time.monotonic() + 60)
        wait_until(lambda: "eventstore-connect" in {t.name for t in threading.enumerate()})
        behind.close()
        with pytest.raises(StorageUnavailableError):
            reading.result(PATIENCE)
    proxy.cut()


def test_a_listener_in_a_black_hole_connects_anew(far: User, proxy: Proxy, user: User) -> None:
    """G23, G25: it cannot know that it is deaf, so it looks at every timeout."""
    listener = far.storage.head_listener()
    assert listener.wait(PATIENCE).head == 1
    proxy.swallow()
    user.store("order-1")
    with pytest.raises(StorageUnavailableError):
        listener.wait(0.1)
    proxy.pass_on()
    heard = listener.wait(PATIENCE)
    assert (heard.head, heard.reconnected) == (2, True)
    listener.close()
