"""What a batch holds, and how much is in flight."""

from __future__ import annotations

import pytest

from eventstore import EventData, EventStore, ExpectedVersion, SubscriptionState
from tests.acceptance.guarantees.conftest import Record
from tests.support.recorder import Seen
from tests.support.waiting import wait_until

KIB = 1024


def append_mixed(store: EventStore, count: int) -> None:
    """Append runs of different lengths to three streams."""
    for number in range(count):
        events = [EventData("Mixed", number) for _ in range(1 + number % 5)]
        store.append_to_stream(f"s-{number % 3}", ExpectedVersion.ANY, events)


@pytest.mark.parametrize("backlog", [True, False])
def test_a_batch_holds_events_of_one_stream_in_order_and_of_limited_size(
    store: EventStore, record: Record, *, backlog: bool
) -> None:
    """G18, G14: by default; from a backlog and live."""
    seen = Seen()
    if backlog:
        append_mixed(store, 60)
    store.subscribe_to_all_streams("sub", record(seen), max_batch_size=3)
    if not backlog:
        append_mixed(store, 60)
    seen.wait(180)
    assert seen.positions == list(range(1, 181))
    for batch in seen.batches:
        assert 1 <= len(batch) <= 3
        assert len({event.stream_id for event in batch}) == 1
        assert batch.last_position == batch[-1].position


def test_a_batch_by_any_mixes_streams_up_to_its_size(store: EventStore, record: Record) -> None:
    """G18, G14."""
    seen = Seen()
    append_mixed(store, 60)
    store.subscribe_to_all_streams("sub", record(seen), batch_by="any", max_batch_size=50)
    seen.wait(180)
    assert seen.positions == list(range(1, 181))
    assert max(len(batch) for batch in seen.batches) <= 50
    assert max(len({event.stream_id for event in batch}) for batch in seen.batches) == 3


def test_no_more_events_than_the_buffer_holds_are_in_flight(
    store: EventStore, record: Record
) -> None:
    """G18: what an acknowledgement frees is sent at once."""
    seen, witness = Seen(), Seen()
    subscription = store.subscribe_to_all_streams(
        "sub", record(seen, acks=False), buffer_size=10, max_batch_size=4
    )
    store.subscribe_to_all_streams("witness", record(witness))
    append_mixed(store, 20)
    witness.wait(60)
    wait_until(lambda: subscription.state is SubscriptionState.FULL)
    assert seen.positions == list(range(1, 11))
    for acknowledged in (1, 4, 5, 14):
        subscription.ack(acknowledged)
        assert seen.wait(acknowledged + 10)[-1] == acknowledged + 10
    append_mixed(store, 1)
    witness.wait(61)
    assert seen.positions == list(range(1, 25))


def test_no_more_bytes_than_the_buffer_holds_are_in_flight_and_a_larger_event_goes_alone(
    store: EventStore, record: Record
) -> None:
    """G18, G22."""
    sizes = [100, 100, 100, 300, 10, 10, 100]
    seen, witness = Seen(), Seen()
    for size in sizes:
        event = EventData("Big", "x" * size * KIB)
        store.append_to_stream("s", ExpectedVersion.ANY, [event])
    subscription = store.subscribe_to_all_streams(
        "sub", record(seen, acks=False), buffer_bytes=250 * KIB
    )
    store.subscribe_to_all_streams("witness", record(witness))
    witness.wait(len(sizes))
    seen.wait(2)
    # The fourth is larger than the buffer: it waits until nothing else is in flight.
    for acknowledged, last in ((1, 3), (2, 3), (3, 4)):
        subscription.ack(acknowledged)
        seen.wait(last)
        store.append_to_stream("tick", ExpectedVersion.ANY, [EventData("Small", acknowledged)])
        witness.wait(len(sizes) + acknowledged)
        assert seen.positions == list(range(1, last + 1))
    subscription.ack(4)
    wait_until(lambda: seen.positions == list(range(1, 11)))


def test_a_batch_in_flight_is_not_sent_again_while_its_subscriber_lives(
    store: EventStore, record: Record
) -> None:
    """G18, G14: an acknowledgement may take its time."""
    seen, witness = Seen(), Seen()
    store.subscribe_to_all_streams("sub", record(seen, acks=False))
    store.subscribe_to_all_streams("witness", record(witness))
    for _ in range(30):
        append_mixed(store, 1)
    witness.wait(30)
    seen.wait(30)
    assert seen.positions == list(range(1, 31))
