"""What a function writes over its connection commits with the checkpoint, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.pq import TransactionStatus

from eventstore import (
    Config,
    Events,
    EventStore,
    ExpectedVersion,
    Retry,
    Skip,
    Subscription,
    SubscriptionLostError,
    SubscriptionState,
    UnexpectedAckError,
)
from eventstore.client.targets import registered_runtime
from tests.conformance.conftest import Connect, numbered
from tests.conformance.subscriptions.recording import Subscriber, numbers
from tests.support.waiting import PATIENCE, wait_until

ANY = ExpectedVersion.ANY
AT_ONCE = Retry(first=0, longest=0)
NAME = "ledger"

Write = Callable[[Events, Any], None]


@pytest.fixture(params=["postgres"])
def config(request: pytest.FixtureRequest, dsn: str, schema: str) -> Config:
    return Config(dsn, schema=schema, poll_interval=0.05, pool_size=4)


@pytest.fixture(autouse=True)
def _installed(config: Config) -> None:
    EventStore.connect(config, init=True, runtime=registered_runtime()).close()


class Table:
    """The rows that functions write, as somebody else sees them."""

    def __init__(self, connection: psycopg.Connection, dsn: str, schema: str) -> None:
        self._connection = connection
        self.dsn, self.schema = dsn, schema
        self.name = sql.Identifier(schema, "effects")
        self("CREATE TABLE {} (number bigint)")

    def made(self, statement: str) -> sql.Composed:
        return sql.SQL(statement).format(self.name)

    def __call__(self, statement: str) -> list[Any]:
        cursor = self._connection.execute(self.made(statement))
        return cursor.fetchall() if cursor.description else []

    def numbers(self) -> list[int]:
        return [number for (number,) in self("SELECT number FROM {} ORDER BY 1")]

    def write(self, events: Events, connection: Any) -> None:
        """Write the number of each event."""
        for number in numbers(events):
            self.insert(connection, number)

    def insert(self, connection: Any, number: int) -> None:
        connection.execute(sql.SQL("INSERT INTO {} VALUES (%s)").format(self.name), [number])


@pytest.fixture
def table(store: EventStore, dsn: str, schema: str) -> Iterator[Table]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield Table(connection, dsn, schema)


def stored_checkpoint(store: EventStore) -> int:
    return store.subscription_info("$all", NAME).checkpoint


def why_it_stopped(subscription: Subscription) -> str:
    with pytest.raises(SubscriptionLostError) as caught:
        subscription.join(PATIENCE)
    return str(caught.value)


def test_effects_and_checkpoint_are_stored_when_the_function_has_returned(
    store: EventStore, table: Table
) -> None:
    """G39: the checkpoint is the one of the row, and its owner has heard of it."""
    store.append_to_stream("order-1", ANY, numbered(1, 250))

    subscription = store.subscribe_to_all_streams(NAME, table.write, transactional=True)
    wait_until(lambda: subscription.checkpoint == 250)

    assert table.numbers() == list(range(1, 251))
    assert stored_checkpoint(store) == 250


def test_a_batch_holds_events_of_any_stream(store: EventStore, table: Table) -> None:
    """G18: unless the application wants it otherwise."""
    batches: list[list[int]] = []
    for number in range(1, 7):
        store.append_to_stream(f"order-{number % 3}", ANY, numbered(number, number))

    def keep(events: Events, connection: Any) -> None:
        batches.append(numbers(events))

    by_any = store.subscribe_to_all_streams(NAME, keep, transactional=True)
    wait_until(lambda: by_any.checkpoint == 6)
    assert batches == [[1, 2, 3, 4, 5, 6]]
    by_stream = store.subscribe_to_all_streams("other", keep, transactional=True, batch_by="stream")
    wait_until(lambda: by_stream.checkpoint == 6)
    assert batches[1:] == [[number] for number in range(1, 7)]


def test_an_error_of_the_function_takes_its_effects_back(store: EventStore, table: Table) -> None:
    """G39, G30: the batch comes again; each effect is there once."""
    failures = iter(range(3))

    def fail_at_first(events: Events, connection: Any) -> None:
        table.write(events, connection)
        if next(failures, None) is not None:
            assert table.numbers() == []
            raise KeyError("not yet")

    store.append_to_stream("order-1", ANY, numbered(1, 8))
    subscription = store.subscribe_to_all_streams(
        NAME, fail_at_first, transactional=True, on_error=AT_ONCE
    )
    wait_until(lambda: subscription.checkpoint == 8)
    assert table.numbers() == list(range(1, 9))


@pytest.mark.parametrize("wrong", ["value", "failed statement", "deferred constraint"])
def test_what_cannot_commit_is_a_failed_attempt(
    store: EventStore, table: Table, wrong: str
) -> None:
    """G39: an answer other than None, a swallowed error, a constraint that the commit checks."""
    if wrong == "deferred constraint":
        table("ALTER TABLE {} ADD UNIQUE (number) DEFERRABLE INITIALLY DEFERRED")
    attempts = iter(range(2))

    def wrong_at_first(events: Events, connection: Any) -> Any:
        table.write(events, connection)
        if next(attempts, None) is None:
            return None
        if wrong == "failed statement":
            with pytest.raises(psycopg.errors.DivisionByZero):
                connection.execute("SELECT 1 / 0")
        if wrong == "deferred constraint":
            table.write(events, connection)
        return 7 if wrong == "value" else None

    store.append_to_stream("order-1", ANY, numbered(1, 1))
    subscription = store.subscribe_to_all_streams(NAME, wrong_at_first, transactional=True)
    wait_until(lambda: subscription.checkpoint == 1)
    assert table.numbers() == [1]
    assert next(attempts, None) is None


def test_a_savepoint_is_the_functions_own(store: EventStore, table: Table) -> None:
    """G39: what is rolled back to it is gone, the rest commits."""

    def write(events: Events, connection: Any) -> None:
        table.insert(connection, 1)
        connection.execute("SAVEPOINT mine")
        table.insert(connection, 2)
        connection.execute("ROLLBACK TO mine")

    store.append_to_stream("order-1", ANY, numbered(1, 1))
    subscription = store.subscribe_to_all_streams(NAME, write, transactional=True)
    wait_until(lambda: subscription.checkpoint == 1)
    assert table.numbers() == [1]


def test_events_before_a_skipped_one_have_their_effects(store: EventStore, table: Table) -> None:
    """G39, G13: what the function did with them was rolled back, so they come again."""

    def skip_the_third(events: Events, connection: Any) -> None:
        table.write(events, connection)
        for event in events:
            if event.data["event"] == 3:
                raise Skip("not for us", event)

    store.append_to_stream("order-1", ANY, numbered(1, 8))
    subscription = store.subscribe_to_all_streams(NAME, skip_the_third, transactional=True)
    wait_until(lambda: subscription.checkpoint == 8)
    assert table.numbers() == [1, 2, 4, 5, 6, 7, 8]
    assert subscription.attempts == 0


def commit_and_close(connection: Any) -> None:
    """Do what psycopg does at the end of ``with connection:``."""
    connection.commit()
    connection.close()


ENDS: dict[str, Callable[[Any], Any]] = {
    "commit": lambda connection: connection.commit(),
    "rollback": lambda connection: connection.rollback(),
    "statement": lambda connection: connection.execute("COMMIT"),
    "commit and close": commit_and_close,
}


@pytest.mark.parametrize("begins_another", [False, True])
@pytest.mark.parametrize("end", ENDS)
def test_a_function_that_ends_the_transaction_stops_the_subscription(
    store: EventStore, table: Table, end: str, begins_another: bool
) -> None:
    """G39, G32: also if it begins another one; the checkpoint does not move."""

    def end_it(events: Events, connection: Any) -> None:
        table.write(events, connection)
        ENDS[end](connection)
        if begins_another:
            table.insert(connection, 100)  # raises if the connection was closed

    store.append_to_stream("order-1", ANY, numbered(1, 1))
    subscription = store.subscribe_to_all_streams(NAME, end_it, transactional=True)

    assert "its function ended the transaction" in why_it_stopped(subscription)
    info = store.subscription_info("$all", NAME)
    assert (info.state, info.checkpoint, info.owner) == (SubscriptionState.STOPPED, 0, None)
    assert table.numbers() == ([] if end == "rollback" else [1])


def test_a_function_that_commits_and_raises_is_not_called_again(
    store: EventStore, table: Table
) -> None:
    """G39: its effects would be there twice."""

    def commit_and_raise(events: Events, connection: Any) -> None:
        table.write(events, connection)
        connection.commit()
        raise KeyError("too late")

    store.append_to_stream("order-1", ANY, numbered(1, 1))
    subscription = store.subscribe_to_all_streams(NAME, commit_and_raise, transactional=True)
    assert "its function ended the transaction" in why_it_stopped(subscription)
    assert table.numbers() == [1]


def test_a_function_that_closes_its_connection_has_failed(store: EventStore, table: Table) -> None:
    """G39, G30: nothing was committed; it is no outage, which would be tried again for ever."""
    called: list[list[int]] = []

    def close(events: Events, connection: Any) -> None:
        called.append(numbers(events))
        table.write(events, connection)
        connection.close()

    store.append_to_stream("order-1", ANY, numbered(1, 1))
    subscription = store.subscribe_to_all_streams(
        NAME, close, transactional=True, on_error=Retry(first=0, longest=0, attempts=2)
    )
    assert "the handler closed its connection" in why_it_stopped(subscription)
    assert called == [[1], [1]]
    assert (table.numbers(), stored_checkpoint(store)) == ([], 0)


def test_nobody_else_acknowledges(store: EventStore, table: Table) -> None:
    """G39, G19: by an event, a batch or a position."""
    caught: list[str] = []

    def acknowledge(events: Events, connection: Any) -> None:
        for what in (events, events[0], 1):
            with pytest.raises(UnexpectedAckError) as refusal:
                events.subscription.ack(what)
            caught.append(str(refusal.value))
        with pytest.raises(UnexpectedAckError):
            events.subscription.nack(events[0], "skip", reason="not for us")
        raise KeyError("not handled")

    store.append_to_stream("order-1", ANY, numbered(1, 1))
    subscription = store.subscribe_to_all_streams(
        NAME, acknowledge, transactional=True, on_error=Retry(attempts=1)
    )
    why_it_stopped(subscription)
    assert len(caught) == 3
    assert all("by the transaction of its function" in text for text in caught)
    assert stored_checkpoint(store) == 0


SETTINGS = ("enable_seqscan", "jit", "plan_cache_mode", "search_path", "lock_timeout")


def test_the_connection_is_as_psycopg_makes_it(store: EventStore, table: Table) -> None:
    """G39: in a transaction under read committed; no setting is ours but the longest idleness."""
    table("ALTER TABLE {} ADD name text, ADD value text")
    statuses: list[TransactionStatus] = []
    names = (*SETTINGS, "transaction_isolation", "idle_in_transaction_session_timeout")

    def look(events: Events, connection: Any) -> None:
        statuses.append(connection.info.transaction_status)
        for name in names:
            insert = "INSERT INTO {} VALUES (1, %s, current_setting(%s))"
            connection.execute(sql.SQL(insert).format(table.name), [name, name])

    store.append_to_stream("order-1", ANY, numbered(1, 1))
    subscription = store.subscribe_to_all_streams(
        NAME, look, transactional=True, ack_timeout=2 * PATIENCE
    )
    wait_until(lambda: subscription.checkpoint == 1)
    found = dict(table("SELECT name, value FROM {}"))
    assert found.pop("transaction_isolation") == "read committed"
    assert found.pop("idle_in_transaction_session_timeout") == f"{2 * PATIENCE / 60:.0f}min"
    assert found == {name: table(f"SHOW {name}")[0][0] for name in SETTINGS}
    assert statuses == [TransactionStatus.INTRANS]


def test_progress_over_what_the_selector_leaves_out_is_stored(
    store: EventStore, table: Table
) -> None:
    """G39, G15: no function is called for it; a restart does not read it again."""
    store.append_to_stream("order-1", ANY, numbered(1, 20))
    subscription = store.subscribe_to_all_streams(
        NAME, table.write, transactional=True, selector=lambda event: event.data["event"] == 3
    )
    wait_until(lambda: subscription.checkpoint == 20)
    wait_until(lambda: stored_checkpoint(store) == 20)
    assert table.numbers() == [3]


def test_a_reset_delivers_to_the_function_again(store: EventStore, table: Table) -> None:
    """G39, G16: that is what it asks for; the owner goes on with a new fence."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = store.subscribe_to_all_streams(NAME, table.write, transactional=True)
    wait_until(lambda: subscription.checkpoint == 3)
    store.reset_subscription("$all", NAME, 2)
    wait_until(lambda: table.numbers() == [1, 2, 3, 3])
    wait_until(lambda: stored_checkpoint(store) == 3)


def test_effects_that_the_database_lost_come_again(connect: Connect, table: Table) -> None:
    """G39: after a failover that lost transactions, also if no event is new."""
    store = connect(lease=1.0)  # a renewal notices it
    store.append_to_stream("order-1", ANY, numbered(1, 9))
    subscription = store.subscribe_to_all_streams(NAME, table.write, transactional=True)
    wait_until(lambda: subscription.checkpoint == 9)
    with psycopg.connect(table.dsn) as connection:
        connection.execute(table.made("DELETE FROM {} WHERE number > 4"))
        connection.execute(f"UPDATE {table.schema}.positions SET checkpoint = 4".encode())
    wait_until(lambda: table.numbers() == list(range(1, 10)))
    assert stored_checkpoint(store) == 9


# ── what is refused ──────────────────────────────────────────────────────────────────────────────


def test_an_actor_is_refused(store: EventStore, subscriber: Subscriber) -> None:
    """G39: nothing of it would run in the transaction."""
    with pytest.raises(TypeError, match="transactional needs a function, not an actor"):
        store.subscribe_to_all_streams(NAME, subscriber.ref, transactional=True)
    assert store.subscriptions() == []


@pytest.mark.usefixtures("for_threads")
def test_a_function_of_events_alone_is_refused(store: EventStore) -> None:
    """G39: before anything is delivered."""
    with pytest.raises(TypeError, match=r"subscriber takes \(events, connection\)"):
        store.subscribe_to_all_streams(NAME, lambda events: None, transactional=True)
    assert store.subscriptions() == []


def test_a_store_in_memory_is_refused() -> None:
    """G39: it has no transactions."""
    with (
        EventStore.connect("memory:", runtime=registered_runtime()) as store,
        pytest.raises(ValueError, match=r"transactional needs a store in PostgreSQL, .*memory:"),
    ):
        store.subscribe_to_all_streams(NAME, lambda _events, _connection: None, transactional=True)
