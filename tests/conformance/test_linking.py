"""Links: events that appear in another stream too; see `EventStore.link_to_stream`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest

from eventstore import (
    DuplicateEventError,
    EventNotFoundError,
    EventStore,
    ExpectedVersion,
    LinkResult,
    RecordedEvent,
    StreamDeletedError,
    StreamNotFoundError,
    WrongExpectedVersionError,
)
from tests.conformance.conftest import numbered

ANY = ExpectedVersion.ANY


def stored(store: EventStore, stream_id: str, count: int) -> list[RecordedEvent]:
    store.append_to_stream(stream_id, ANY, numbered(1, count))
    return store.read_stream_forward(stream_id)


def places(events: list[RecordedEvent]) -> list[tuple[int, str, int]]:
    return [(each.position, each.stream_id, each.stream_version) for each in events]


def test_a_linked_event_keeps_all_but_its_place(store: EventStore) -> None:
    """LNK-02, API-07, API-08, SST-04, G35: in the order of the link, over several streams."""
    order, cart = stored(store, "order-1", 2), stored(store, "cart-1", 2)

    result = store.link_to_stream("customer-1", 0, [cart[1], order[0].event_id, order[1]])

    assert result == LinkResult(stream_id="customer-1", first_version=1, last_version=3)
    linked = store.read_stream_forward("customer-1")
    assert places(linked) == [(1, "cart-1", 2), (2, "order-1", 1), (3, "order-1", 2)]
    for event, source in zip(linked, [cart[1], order[0], order[1]], strict=True):
        assert {**fields(event), "position": source.position} == fields(source)
    assert len(store.read_all_streams_forward()) == 4
    assert store.read_stream_forward("order-1") == order


def fields(event: RecordedEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


def test_own_events_and_links_share_the_versions_of_a_stream(store: EventStore) -> None:
    """SST-05, G2, G35: appends and links take turns, and every read finds them in order."""
    source = stored(store, "order-1", 3)
    store.append_to_stream("both", 0, numbered(1, 2))
    store.link_to_stream("both", 2, source[:2])
    store.append_to_stream("both", 4, numbered(3, 3))
    store.link_to_stream("both", ANY, [source[2]])

    wanted = [
        (1, "both", 1),
        (2, "both", 2),
        (3, "order-1", 1),
        (4, "order-1", 2),
        (5, "both", 5),
        (6, "order-1", 3),
    ]
    assert places(store.read_stream_forward("both")) == wanted
    assert places(store.read_stream_forward("both", 2, 3)) == wanted[1:4]
    assert places(store.read_stream_backward("both")) == wanted[::-1]
    assert places(store.read_stream_backward("both", 5, 2)) == wanted[4:2:-1]
    assert places(list(store.stream_forward("both", batch_size=2))) == wanted
    assert places(list(store.stream_backward("both", 4, batch_size=3))) == wanted[3::-1]
    assert store.stream_info("both").stream_version == 6
    with pytest.raises(WrongExpectedVersionError) as refused:
        store.append_to_stream("both", 5, numbered(1, 1))
    assert refused.value.actual == 6


def test_a_link_of_a_link_is_one_to_the_original(store: EventStore) -> None:
    """G35: whatever it was read from."""
    stored(store, "order-1", 1)
    store.link_to_stream("first", ANY, store.read_stream_forward("order-1"))
    store.append_to_stream("first", ANY, numbered(2, 2))

    store.link_to_stream("second", ANY, store.read_stream_forward("first"))

    assert places(store.read_stream_forward("second")) == [(1, "order-1", 1), (2, "first", 2)]


def test_an_event_is_linked_to_several_streams(store: EventStore) -> None:
    """LNK-07."""
    source = stored(store, "order-1", 1)
    for name in ("a", "b", "c"):
        store.link_to_stream(name, 0, source)
        assert store.read_stream_forward(name)[0].event_id == source[0].event_id


def test_the_same_link_again_returns_the_first_result(store: EventStore) -> None:
    """LNK-06, G6: whatever is expected; another order or another run is refused."""
    source = stored(store, "order-1", 3)
    first = store.link_to_stream("linked", 0, source)

    again = store.link_to_stream("linked", 0, source)
    part = store.link_to_stream("linked", 7, source[1:])

    assert not first.repeated
    assert again == LinkResult(stream_id="linked", first_version=1, last_version=3, repeated=True)
    assert (part.first_version, part.last_version, part.repeated) == (2, 3, True)
    for other in (source[::-1], [source[0], source[2]]):
        with pytest.raises(DuplicateEventError, match="is already in stream 'linked'") as refused:
            store.link_to_stream("linked", ANY, other)
        assert refused.value.event_id == other[0].event_id
    assert store.stream_info("linked").stream_version == 3


def test_nothing_is_linked_if_one_event_cannot_be(store: EventStore) -> None:
    """LNK-03, LNK-04, SST-08, G35: unknown ids, and events that are in the stream already."""
    source = stored(store, "order-1", 2)
    unknown = uuid4()
    with pytest.raises(EventNotFoundError, match=str(unknown)) as missing:
        store.link_to_stream("linked", ANY, [source[0], unknown])
    assert missing.value.event_id == unknown
    store.link_to_stream("linked", ANY, source[:1])

    with pytest.raises(DuplicateEventError) as twice:
        store.link_to_stream("linked", ANY, [source[1], source[0]])
    with pytest.raises(DuplicateEventError) as own:
        store.link_to_stream("order-1", ANY, source)

    assert twice.value.event_id == own.value.event_id == source[0].event_id
    assert store.stream_info("linked").stream_version == 1
    assert store.stream_info("order-1").stream_version == 2
    with pytest.raises(StreamNotFoundError):
        store.stream_info("other")


@pytest.mark.parametrize("expected", [1, ExpectedVersion.STREAM_EXISTS])
def test_a_stream_at_another_version_is_not_linked_to(store: EventStore, expected: int) -> None:
    """SST-06: and a stream that is missing is created only where that is expected."""
    source = stored(store, "order-1", 1)
    with pytest.raises(WrongExpectedVersionError) as refused:
        store.link_to_stream("linked", expected, source)
    assert (refused.value.expected, refused.value.actual) == (expected, 0)
    assert store.stream_count() == 1


def test_of_several_that_link_the_same_at_once_all_get_one_result(store: EventStore) -> None:
    """LNK-05, G6: decided by a design that is idempotent; one of them wrote."""
    source = stored(store, "order-1", 5)
    with ThreadPoolExecutor(5) as pool:
        results = list(pool.map(lambda _: store.link_to_stream("linked", ANY, source), range(5)))
    assert [result.first_version for result in results] == [1] * 5
    assert sorted(result.repeated for result in results) == [False, True, True, True, True]
    assert store.stream_info("linked").stream_version == 5


def test_links_to_a_stream_that_was_deleted_are_refused(store: EventStore) -> None:
    source = stored(store, "order-1", 1)
    stored(store, "closed", 1)
    store.delete_stream("closed", ANY)
    with pytest.raises(StreamDeletedError):
        store.link_to_stream("closed", ANY, source)


@pytest.mark.parametrize(
    ("stream_id", "expected", "events", "message"),
    [
        ("$all", ANY, [UUID(int=1)], r"stream_id must not start with '\$'"),
        ("a", -3, [UUID(int=1)], "expected_version must be 0 or more"),
        ("a", ANY, [], "events must not be empty"),
        ("a", ANY, UUID(int=1), "events must be an iterable"),
        ("a", ANY, ["x"], "events must be a uuid.UUID, not str"),
        ("a", ANY, numbered(1, 1), "events must be stored ones, or their ids"),
        ("a", ANY, [uuid4() for _ in range(10_001)], "events are 10,001, at most 10,000"),
    ],
)
def test_what_is_no_link_is_refused(
    store: EventStore, stream_id: str, expected: int, events: Any, message: str
) -> None:
    """API-09."""
    with pytest.raises((TypeError, ValueError), match=message):
        store.link_to_stream(stream_id, expected, events)


def test_an_event_that_occurs_twice_in_a_link_is_refused(store: EventStore) -> None:
    source = stored(store, "order-1", 1)
    with pytest.raises(DuplicateEventError, match="is already in this link"):
        store.link_to_stream("linked", ANY, [source[0], source[0].event_id])
