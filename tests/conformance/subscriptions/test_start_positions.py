"""Where a new subscription may start: nothing that does not exist yet counts as seen."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from eventstore import EventStore, ExpectedVersion, SubscriptionNotFoundError
from tests.conformance.conftest import numbered
from tests.conformance.subscriptions.recording import Handler

ANY = ExpectedVersion.ANY

BEYOND = pytest.mark.parametrize("beyond", [1, 300, 2**62])


@BEYOND
def test_a_start_beyond_the_head_of_a_stream_is_refused(store: EventStore, beyond: int) -> None:
    """F13, G15: the error names argument, head and value; no row is created, the name is free."""
    store.append_to_stream("other", ANY, numbered(1, 9))
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    handler, start = Handler(), 3 + beyond

    with pytest.raises(
        ValueError, match=rf"^start_from must be 0 to the head of 'order-1', 3: {start}$"
    ):
        store.subscribe_to_stream("order-1", "shipping", handler, start_from=start)

    assert store.subscriptions() == []
    store.subscribe_to_stream("order-1", "shipping", handler, start_from=3)
    store.append_to_stream("order-1", ANY, numbered(4, 4))
    assert handler.call() == [4]


@BEYOND
def test_a_start_beyond_the_head_of_the_store_is_refused(store: EventStore, beyond: int) -> None:
    """F13, G15."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))

    with pytest.raises(
        ValueError, match=rf"^start_from must be 0 to the head of '\$all', 3: {3 + beyond}$"
    ):
        store.subscribe_to_all_streams("shipping", Handler(), start_from=3 + beyond)

    assert store.subscriptions() == []


def test_a_start_in_a_stream_that_does_not_exist_is_refused(store: EventStore) -> None:
    """F13, G15: its head is 0, from where it may be waited for."""
    handler = Handler()
    with pytest.raises(ValueError, match=r"^start_from must be 0 to the head of 'order-1', 0: 1$"):
        store.subscribe_to_stream("order-1", "shipping", handler, start_from=1)
    with pytest.raises(SubscriptionNotFoundError):
        store.subscription_info("order-1", "shipping")

    store.subscribe_to_stream("order-1", "shipping", handler, start_from=0)
    store.append_to_stream("order-1", ANY, numbered(1, 1))
    assert handler.call() == [1]


def test_it_is_refused_in_the_words_of_a_reset(store: EventStore) -> None:
    """F13: the same error for the same mistake."""
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    store.subscribe_to_all_streams("billing", Handler())

    with pytest.raises(ValueError, match="head") as of_start:
        store.subscribe_to_all_streams("shipping", Handler(), start_from=4)
    with pytest.raises(ValueError, match="head") as of_reset:
        store.reset_subscription("$all", "billing", 4)

    assert str(of_start.value).removeprefix("start_from") == str(of_reset.value).removeprefix(
        "position"
    )


def test_an_existing_subscription_asks_for_no_start(store: EventStore) -> None:
    """F13: whatever is given, also what would be refused for a new one."""
    first, second = Handler(), Handler()
    store.append_to_stream("order-1", ANY, numbered(1, 3))
    store.subscribe_to_all_streams("shipping", first, start_from=2)
    assert first.call() == [3]
    store.unsubscribe_from_all_streams("shipping")

    store.subscribe_to_all_streams("shipping", second, start_from=2**62)

    store.append_to_stream("order-1", ANY, numbered(4, 4))
    assert second.call() == [4]


@pytest.mark.parametrize("head", [0, 3])
def test_the_head_and_the_current_position_are_never_beyond(store: EventStore, head: int) -> None:
    """F13, G13: nothing before them is told, everything after them is."""
    if head:
        store.append_to_stream("order-1", ANY, numbered(1, head))
    by_number, by_name = Handler(), Handler()
    store.subscribe_to_stream("order-1", "by number", by_number, start_from=head)
    store.subscribe_to_stream("order-1", "by name", by_name, start_from="current")

    store.append_to_stream("order-1", ANY, numbered(head + 1, head + 1))

    assert by_number.call() == by_name.call() == [head + 1]


def test_check_and_creation_are_one_moment(store: EventStore) -> None:
    """F13, G15: whoever starts at a position during appends misses nothing after it."""
    handlers: dict[int, Handler] = {}

    def subscribe(start: int) -> None:
        handler = Handler()
        try:
            store.subscribe_to_stream("order-1", f"from-{start}", handler, start_from=start)
        except ValueError:
            return
        handlers[start] = handler

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(subscribe, start) for start in range(20)]
        for number in range(1, 21):
            store.append_to_stream("order-1", ANY, numbered(number, number))
        for each in waiting:
            each.result()
    store.append_to_stream("order-1", ANY, numbered(21, 21))

    assert 0 in handlers
    for start, handler in handlers.items():
        told: list[int] = []
        while not told or told[-1] < 21:
            told += handler.call()
        assert told == list(range(start + 1, 22))
