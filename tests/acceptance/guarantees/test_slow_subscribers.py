"""A slow subscriber harms nobody: neither the others nor the memory of its process."""

from __future__ import annotations

from eventstore import EventData, EventStore, ExpectedVersion, SubscriptionState
from tests.acceptance.guarantees.conftest import Record, Start
from tests.support.recorder import Seen, Stuck

MIB = 1024 * 1024


def test_a_subscriber_that_stands_still_slows_no_other(store: EventStore, record: Record) -> None:
    """G22: a function that hangs, an actor that never acknowledges, and two that are quick."""
    stuck, full, quick_actor, quick_function = Stuck(), Seen(), Seen(), Seen()
    store.subscribe_to_all_streams("stuck", stuck)
    idle = store.subscribe_to_all_streams("full", record(full, acks=False), buffer_size=10)
    store.subscribe_to_all_streams("actor", record(quick_actor))
    store.subscribe_to_all_streams("function", quick_function.handle)
    try:
        for _ in range(40):
            events = [EventData("X", number) for number in range(50)]
            store.append_to_stream("s", ExpectedVersion.ANY, events)
        quick_actor.wait(2_000, timeout=60)
        quick_function.wait(2_000, timeout=60)
        assert quick_actor.positions == quick_function.positions == list(range(1, 2_001))
        assert full.positions == list(range(1, 11))
        assert idle.state is SubscriptionState.FULL
        assert len(stuck.positions) <= 100
    finally:
        stuck.released.set()


def test_memory_is_bounded_whatever_the_backlog_and_the_size_of_its_events(
    start: Start, observer: EventStore
) -> None:
    """G22, G18: a backlog of 120 MB, and as much again while they stand still."""
    (service,) = start()
    service.do("measure")
    before = service.wait("measured")["resident"]
    append_large(observer, 240)
    for number in range(2):
        service.do("subscribe", name=f"full-{number}", ack_every=0, buffer_bytes=2 * MIB)
    service.do("subscribe", name="quick", buffer_bytes=2 * MIB)
    service.until(lambda: len(service.delivered("quick")) == 240, timeout=60)
    append_large(observer, 120)
    service.until(lambda: len(service.delivered("quick")) == 360, timeout=60)
    service.do("measure")
    # Three subscriptions, what each is reading, and the newest events that they share.
    assert service.wait("measured", count=2)["resident"] - before < 100 * MIB
    for number in range(2):
        assert 1 <= len(service.delivered(f"full-{number}")) <= 4


def append_large(store: EventStore, count: int) -> None:
    """Append *count* events of half a megabyte."""
    for _ in range(0, count, 8):
        events = [EventData("Large", "x" * (MIB // 2)) for _ in range(8)]
        store.append_to_stream("large", ExpectedVersion.ANY, events)
