"""A function that stores its checkpoint in a transaction of its own has effects exactly once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from eventstore import (
    Config,
    Events,
    EventStore,
    ExpectedVersion,
    Retry,
    Subscription,
    SubscriptionLostError,
    UnexpectedAckError,
)
from eventstore.client.targets import registered_runtime
from eventstore.model.subscriber_messages import Receiver
from tests.conformance.conftest import numbered
from tests.conformance.subscriptions.recording import Subscriber, numbers
from tests.support.waiting import wait_until

ANY = ExpectedVersion.ANY
NAME = "ledger"
LEVELS = list(psycopg.IsolationLevel)[1:]
"""Without READ UNCOMMITTED, which is the same as the next."""


@pytest.fixture
def config(dsn: str, schema: str) -> Config:
    return Config(dsn, schema=schema, poll_interval=0.05, pool_size=4)


@pytest.fixture
def store(config: Config) -> Iterator[EventStore]:
    with EventStore.connect(config, init=True, runtime=registered_runtime()) as store:
        yield store


class Own:
    """A connection of the application, and a table that its functions write to."""

    def __init__(self, dsn: str, schema: str) -> None:
        self.dsn = f"{dsn} options=-csearch_path={schema}"
        self.connection = self.connect()
        with self.connect() as connection:
            connection.execute("CREATE TABLE effects (number bigint)")

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.dsn)

    def write(self, events: Events) -> None:
        for number in numbers(events):
            self.connection.execute("INSERT INTO effects VALUES (%s)", [number])

    def book(self, events: Events) -> None:
        """Do it as it should be done."""
        with self.connection.transaction():
            self.write(events)
            events.checkpoint(self.connection)

    def numbers(self) -> list[int]:
        with self.connect() as connection:
            rows = connection.execute("SELECT number FROM effects ORDER BY 1")
            return [number for (number,) in rows]


@pytest.fixture
def own(store: EventStore, dsn: str, schema: str) -> Iterator[Own]:
    own = Own(dsn, schema)
    yield own
    own.connection.close()


def subscribe(store: EventStore, subscriber: Receiver, **options: Any) -> Subscription:
    return store.subscribe_to_all_streams(NAME, subscriber, transactional="caller", **options)


def stored_checkpoint(store: EventStore) -> int:
    return store.subscription_info("$all", NAME).checkpoint


@pytest.mark.parametrize("level", LEVELS)
def test_effects_and_checkpoint_commit_together(
    store: EventStore, own: Own, level: psycopg.IsolationLevel
) -> None:
    """G39: under every isolation level; the cursor is enough."""
    own.connection.isolation_level = level
    before: list[tuple[int, list[int]]] = []

    def book(events: Events) -> None:
        with own.connection.transaction(), own.connection.cursor() as cursor:
            own.write(events)
            events.checkpoint(cursor)
            before.append((stored_checkpoint(store), own.numbers()))

    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = subscribe(store, book)
    wait_until(lambda: subscription.checkpoint == 3)
    assert before == [(0, [])]
    assert (stored_checkpoint(store), own.numbers()) == (3, [1, 2, 3])


@pytest.mark.parametrize("commits", [True, False])
def test_a_checkpoint_that_is_not_stored_is_a_failed_attempt(
    store: EventStore, own: Own, commits: bool
) -> None:
    """G39, G30: whether it was forgotten or rolled back; the batch comes again."""
    may_succeed = threading.Event()

    def book(events: Events) -> None:
        if may_succeed.is_set():
            own.book(events)
        elif commits:
            own.connection.commit()
        else:
            own.write(events)
            events.checkpoint(own.connection)
            own.connection.rollback()

    store.append_to_stream("order-1", ANY, numbered(1, 2))
    subscription = subscribe(store, book, on_error=Retry(first=0.02, longest=0.02))
    wait_until(lambda: subscription.last_error is not None)
    assert "call events.checkpoint(connection) last, and commit" in str(subscription.last_error)
    may_succeed.set()
    wait_until(lambda: subscription.checkpoint == 2)
    assert own.numbers() == [1, 2]


def test_an_error_after_the_commit_takes_nothing_back(store: EventStore, own: Own) -> None:
    """G39: the row says that the batch was handled."""
    calls: list[list[int]] = []

    def book(events: Events) -> None:
        calls.append(numbers(events))
        own.book(events)
        raise KeyError("too late")

    store.append_to_stream("order-1", ANY, numbered(1, 2))
    subscription = subscribe(store, book)
    wait_until(lambda: subscription.checkpoint == 2)
    assert (calls, own.numbers(), subscription.attempts) == ([[1, 2]], [1, 2], 0)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("when", ["before the snapshot", "after the snapshot"])
def test_who_was_fenced_commits_nothing(
    store: EventStore, own: Own, level: psycopg.IsolationLevel, when: str
) -> None:
    """G39, G16: also if the function swallows the error, as its transaction is aborted."""
    own.connection.isolation_level = level
    caught: list[Exception] = []

    def book(events: Events) -> None:
        if caught:
            own.book(events)
            return
        if when == "after the snapshot":
            own.write(events)
        store.reset_subscription("$all", NAME, 0)
        if when == "before the snapshot":
            own.write(events)
        try:
            events.checkpoint(own.connection)
        except Exception as error:  # noqa: BLE001 - what it must not do
            caught.append(error)
        own.connection.commit()

    store.append_to_stream("order-1", ANY, numbered(1, 2))
    subscription = subscribe(store, book)
    wait_until(lambda: subscription.checkpoint == 2)
    assert own.numbers() == [1, 2]
    by_snapshot = when == "after the snapshot" and level != psycopg.IsolationLevel.READ_COMMITTED
    assert isinstance(caught[0], SubscriptionLostError) is not by_snapshot


def test_what_was_handled_is_not_handled_again(store: EventStore, own: Own) -> None:
    """G39: after a commit whose answer was lost, by whoever stored it."""
    calls: list[list[int]] = []

    def book(events: Events) -> None:
        calls.append(numbers(events))
        with own.connect() as somebody:
            somebody.execute("UPDATE positions SET checkpoint = 3")
        own.book(events)

    store.append_to_stream("order-1", ANY, numbered(1, 3))
    subscription = subscribe(store, book)
    wait_until(lambda: subscription.checkpoint == 3)
    assert (calls, own.numbers(), subscription.attempts) == ([[1, 2, 3]], [], 0)


def test_the_transaction_is_bounded(store: EventStore, own: Own) -> None:
    """G39, G27: a frozen process keeps the row from its successor for so long at most."""
    found: list[Any] = []

    def book(events: Events) -> None:
        with own.connection.transaction():
            events.checkpoint(own.connection)
            show = "SHOW idle_in_transaction_session_timeout"
            found.append(own.connection.execute(show).fetchone())

    store.append_to_stream("order-1", ANY, numbered(1, 1))
    subscription = subscribe(store, book)
    wait_until(lambda: subscription.checkpoint == 1)
    assert found == [("10s",)]


def test_nobody_else_acknowledges(store: EventStore, own: Own) -> None:
    """G39, G19."""
    refused: list[str] = []

    def book(events: Events) -> None:
        with pytest.raises(UnexpectedAckError) as refusal:
            events.subscription.ack(events)
        refused.append(str(refusal.value))
        own.book(events)

    store.append_to_stream("order-1", ANY, numbered(1, 1))
    subscription = subscribe(store, book)
    wait_until(lambda: subscription.checkpoint == 1)
    assert len(refused) == 1


def test_a_checkpoint_is_refused_outside_of_a_transaction(store: EventStore, own: Own) -> None:
    """G39: it would commit alone."""
    refused: list[str] = []

    def book(events: Events) -> None:
        with own.connect() as connection:
            connection.autocommit = True
            with pytest.raises(ValueError, match="in autocommit, outside") as found:
                events.checkpoint(connection)
        refused.append(str(found.value))
        own.book(events)

    store.append_to_stream("order-1", ANY, numbered(1, 1))
    subscription = subscribe(store, book)
    wait_until(lambda: subscription.checkpoint == 1)
    assert len(refused) == 1


def test_other_subscriptions_store_no_checkpoint(store: EventStore, own: Own) -> None:
    """G39: what would be stored twice is refused."""
    refused: list[str] = []

    def handle(events: Events) -> None:
        with pytest.raises(ValueError, match="transactional='caller'") as found:
            events.checkpoint(own.connection)
        refused.append(str(found.value))

    store.append_to_stream("order-1", ANY, numbered(1, 1))
    subscription = store.subscribe_to_all_streams(NAME, handle)
    wait_until(lambda: subscription.checkpoint == 1)
    assert len(refused) == 1


def test_an_actor_is_refused(store: EventStore, subscriber: Subscriber) -> None:
    """G39: nobody would know when it has handled a batch."""
    with pytest.raises(TypeError, match="transactional needs a function, not an actor"):
        subscribe(store, subscriber.ref)


def test_a_store_in_memory_is_refused() -> None:
    """G39: it has no transactions."""
    with (
        EventStore.connect("memory:", runtime=registered_runtime()) as store,
        pytest.raises(ValueError, match=r"transactional needs a store in PostgreSQL, .*memory:"),
    ):
        subscribe(store, lambda _: None)
